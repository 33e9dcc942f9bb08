"""A registry's past, made up: decisions as a year of work leaves them behind.

Every decision is what the bundle says of its dossier: few dossiers are decided, and many written
that differ from them in what the rules do not look at. (A replay with the same bundle shows it.)
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from benchmarks.databases import batches
from mlflow_governance.core import canonical
from mlflow_governance.core.actor import Actor
from mlflow_governance.core.decision import Decision
from mlflow_governance.core.digest import Digest, of_bytes
from mlflow_governance.core.dossier import Dossier, Gate, Outcome, Subject
from mlflow_governance.core.model_ref import VersionRef
from mlflow_governance.core.stage import Stage
from mlflow_governance.policy.bundle import Bundle
from mlflow_governance.policy.decide import decide
from mlflow_governance.policy.embedded import EmbeddedEngine
from mlflow_governance.store.migrate import upgrade
from mlflow_governance.store.sessions import engine_for
from mlflow_governance.store.tables import blobs, decisions

NEWEST = datetime(2026, 11, 21, 3, 4, 5, tzinfo=UTC)
"""The instant of the last decision."""
_MODEL = of_bytes(b"model")
_BATCH = 1000
_EVERY = timedelta(minutes=5)


@dataclass(frozen=True)
class History:
    """How much there is, and of what.

    Args:
        decisions: how many.
        models: how many different names.
        components: vulnerabilities each dossier lists; what makes it large and slow.
        seed: the same seed gives the same history.
    """

    decisions: int
    models: int = 40
    components: int = 3
    seed: int = 1

    def write(self, url: str, bundle: Bundle) -> None:
        """Create the tables and fill them."""
        upgrade(url)
        engine = engine_for(url)
        try:
            with engine.begin() as connection:
                for rows in batches(self.rows(bundle), _BATCH):
                    kept = [{"digest": r["dossier_digest"], "data": r.pop("dossier")} for r in rows]
                    connection.execute(sa.insert(blobs), kept)
                    connection.execute(sa.insert(decisions), rows)
        finally:
            engine.dispose()

    def rows(self, bundle: Bundle) -> Iterator[dict[str, Any]]:
        """Rows of the table of decisions, oldest first, each with its dossier."""
        asked = [(made, decide(engine, made)) for engine in [EmbeddedEngine(bundle)]
                 for made in questions(bundle.digest, self.components)]  # fmt: skip
        chance = random.Random(self.seed)
        first = NEWEST - _EVERY * (self.decisions - 1)
        for number in range(self.decisions):
            made, decision = chance.choice(asked)
            ref = VersionRef(f"model-{chance.randrange(self.models):03}", number + 1)
            uid = uuid.UUID(int=chance.getrandbits(128)).hex
            yield _row(
                replace(
                    made,
                    subject=replace(made.subject, ref=ref, uid=uid),
                    now=first + _EVERY * number,
                ),
                decision,
                uuid.UUID(int=chance.getrandbits(128)).hex,
            )


def _row(made: Dossier, decision: Decision, decision_id: str) -> dict[str, Any]:
    # What a person reads names the version; reasons and fixes are not what is measured.
    own = replace(decision, dossier_digest=made.digest, decision_id=decision_id)
    document = canonical.encode(own.to_document())
    return {
        "decision_id": decision_id,
        "version_uid": made.subject.uid,
        "gate": made.gate.value,
        "allow": own.allow,
        "document": document,
        "digest": of_bytes(document),
        "dossier_digest": made.digest,
        "dossier": made.encoded,
    }


def questions(policy: Digest, components: int) -> list[Dossier]:
    """Good and bad dossiers of the gates a registry asks most."""
    found = []
    for evidence in _findings(components):
        for gate, stage, action in _STEPS:
            found.append(_dossier(gate, stage, action, evidence, policy))
    return found


_STEPS: Sequence[tuple[Gate, Stage, dict[str, Any]]] = (
    (Gate.ACCEPT, Stage.NONE, {"from": "None", "to": "Candidate"}),
    (Gate.PROMOTE, Stage.CANDIDATE, {"from": "Candidate", "to": "Staging", "reason": "tests"}),
    (Gate.PROMOTE, Stage.STAGING, {"from": "Staging", "to": "Approved", "reason": "green"}),
    (Gate.DOWNLOAD, Stage.CANDIDATE, {"door": "registry"}),
    (Gate.ALIAS, Stage.APPROVED, {"alias": "champion", "from_version": 2, "to_version": 3}),
    (Gate.WITHDRAW, Stage.APPROVED, {"from": "Approved", "to": "Revoked", "reason": "leaks"}),
)


def _findings(components: int) -> Iterator[dict[str, Outcome]]:
    good = _evidence(components, score=3.1)
    yield good
    yield good | {"signature": Outcome.missing("no signature is attached")}
    yield good | {"canary": Outcome.failed("the canary ended with ROLLBACK")}
    yield _evidence(components, score=6.5)
    yield _evidence(components, score=9.8)


def _evidence(components: int, score: float) -> dict[str, Outcome]:
    listed = [
        {
            "id": f"CVE-2026-{number}",
            "severity": "medium" if score < 7 else "critical",
            "cvss": score if number == 0 else 3.0,
            "component": f"library-{number} 1.{number}",
            "kev": False,
            "epss": 0.01,
        }
        for number in range(components)
    ]
    return {
        "signature": Outcome.passed(signer="ci", keyid="k1"),
        "provenance": Outcome.passed(builder="https://ci.example/main", run="42"),
        "test_result": Outcome.passed(result="PASSED", signer="ci"),
        "sbom": Outcome.passed(components=components, pins_checked=True, unresolved=[]),
        "vulnerabilities": Outcome.passed(vulnerabilities=listed),
        "model_card": Outcome.passed(complete=True, risk_tier="high"),
        "dataset": Outcome.passed(name="churn-2026-10", digest=_MODEL),
        "canary": Outcome.passed(result="PROCEED", signer="canary"),
        "malware": Outcome.passed(verdict="clean", findings=[]),
        "licences": Outcome.passed(licences=[]),
        "layout": Outcome.missing("no layout is attached"),
    }


def _dossier(
    gate: Gate,
    stage: Stage,
    action: dict[str, Any],
    evidence: dict[str, Outcome],
    policy: Digest,
) -> Dossier:
    approval = {
        "decision": "approve",
        "model_digest": _MODEL,
        "policy_digest": policy,
        "at": "2024-01-01T00:00:00.000000Z",
    }
    people = {"sam": "security", "pia": "product"}
    return Dossier(
        gate=gate,
        actor=Actor("ann", ("product", "security"), authenticated=True),
        action=action,
        subject=Subject(VersionRef("m", 1), "0f" * 16, stage, _MODEL, "dora", False, policy),
        evidence=evidence,
        attached=({"name": "model.sig", "digest": _MODEL},),
        approvals=tuple({"person": p, "role": r, **approval} for p, r in people.items()),
        runtime={"policy_digest": policy, "accepted_policy_digests": [policy]},
        now=NEWEST,
    )
