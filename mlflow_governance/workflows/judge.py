"""One judgement: verify evidence, build the dossier, ask policy. Nothing is written here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from mlflow_governance.core.decision import Decision
from mlflow_governance.core.digest import Digest, new_salt, of_bytes
from mlflow_governance.core.dossier import Dossier, Gate, Outcome
from mlflow_governance.core.model_ref import VersionRef
from mlflow_governance.core.stage import WITHDRAWN
from mlflow_governance.errors import Conflict, Denied, NotFound
from mlflow_governance.evidence.interface import Kind
from mlflow_governance.policy.decide import decide
from mlflow_governance.policy.interface import PolicyInForce
from mlflow_governance.workflows.policy import POLICY
from mlflow_governance.workflows.ports import (
    ApprovalRecord,
    Ports,
    Reading,
    Request,
    VersionRecord,
)
from mlflow_governance.workflows.proven import (
    Account,
    account,
    alarmed,
    proven_approvals,
    proven_record,
)

_OTHER_POLICY = "ENG-REVISION"


@dataclass(frozen=True)
class Judgement:
    """A decision together with what it was made from."""

    request: Request
    record: VersionRecord
    dossier: Dossier
    decision: Decision
    policy: PolicyInForce
    """What decided."""
    trust_digest: Digest | None = None
    """The trust policy the evidence was proved against."""

    @property
    def evidence(self) -> dict[Kind, Outcome]:
        """The outcomes by kind."""
        return {Kind(kind): outcome for kind, outcome in self.dossier.evidence.items()}

    def refuse(self, headline: str) -> Denied:
        """The error for a denial: every failed check with its mend."""
        return Denied(
            self.decision.explain(headline),
            decision_id=self.decision.decision_id,
            reasons=[reason.to_document() for reason in self.decision.reasons],
        )


def load(reading: Reading, ref: VersionRef) -> VersionRecord:
    """The governed version.

    Raises:
        NotFound: the registry has never accepted responsibility for it, which is a no.
    """
    record = reading.version(ref)
    if record is None:
        raise NotFound(
            f"{ref} is not a governed version",
            advice=f"If MLflow knows it, adopt it: mlflow-governance judge {ref}",
        )
    return record


@dataclass(frozen=True)
class Examined:
    """Outcomes by kind, and the files they were found in, ``{name, digest}`` each."""

    outcomes: Mapping[Kind, Outcome]
    files: tuple[Mapping[str, str], ...] = ()


def examine(ports: Ports, record: VersionRecord) -> Examined:
    """Run every verifier over the evidence of a version, now."""
    if record.digest is None:
        unknown = Outcome.missing("the model's files have not been hashed yet")
        return Examined(dict.fromkeys(Kind, unknown))
    with ports.store.read() as reading:
        own = reading.evidence(record.uid)
        # A verdict is about bytes: registering them again leaves no FAILED behind.
        known = {item.data for item in own}
        items = [*own, *(v for v in reading.verdicts(record.digest) if v.data not in known)]
        manifest = reading.manifest(record.digest)
        inspection = reading.inspection(record.digest)
    if manifest is None:
        lost = Outcome.error("the registry lost this model's manifest")
        return Examined(dict.fromkeys(Kind, lost))
    found = ports.examiner.examine(manifest, record.ref.name, items, ports.clock(), inspection)
    files = tuple({"name": item.name, "digest": of_bytes(item.data)} for item in items)
    return Examined(found, files)


@dataclass(frozen=True)
class Standing:
    """What the store says about a version at one moment."""

    record: VersionRecord
    blocked: bool
    approvals: tuple[ApprovalRecord, ...]
    policy: Digest | None
    """The bundle in force; None before the very first start."""


def standing(reading: Reading, ref: VersionRef, *, approvals: bool = True) -> Standing:
    """Read a version with its block and its approvals, all from the same moment.

    Args:
        reading: the moment.
        ref: the version.
        approvals: False where they say nothing, as about a download.

    Raises:
        NotFound: the version is not governed.
    """
    record = load(reading, ref)
    blocked = record.digest is not None and reading.is_blocked(record.digest)
    given = tuple(reading.approvals(record.uid)) if approvals else ()
    return Standing(record, blocked, given, reading.in_force(POLICY))


def judge(
    ports: Ports,
    gate: Gate,
    request: Request,
    action: Mapping[str, Any],
    evidence: Mapping[Kind, Outcome] | None = None,
) -> Judgement:
    """Ask one gate about one version, from what stands in the store now.

    Args:
        ports: everything a workflow needs.
        gate: which question.
        request: who asks, about which version.
        action: what is asked, as policy sees it.
        evidence: outcomes already proved for this judgement; None examines.

    Raises:
        NotFound: the version is not governed.
        LedgerError: the ledger does not prove what stands in the store about it.
    """
    with ports.store.read() as reading:
        found = standing(reading, request.ref)
        told = account(reading, found.record)
    if action.get("to") not in WITHDRAWN:  # what takes it out of use needs no proof
        found = _proven(ports, found, told)
    trust = ports.examiner.trust_digest
    examined = examine(ports, found.record) if evidence is None else Examined(evidence)
    if ports.examiner.trust_digest != trust:
        # Facts proved with a key must not be kept as proved under a policy that dropped it.
        raise Conflict("the trust policy changed while this was being decided", advice="Repeat it.")
    return replace(weigh(ports, gate, request, action, found, examined), trust_digest=trust)


def _proven(ports: Ports, found: Standing, told: Account) -> Standing:
    with alarmed(ports, found.record):
        record = proven_record(ports.store, found.record, told)
        approvals = proven_approvals(ports.store, found.record, found.approvals, told)
    return replace(found, record=record, approvals=approvals)


def weigh(  # noqa: PLR0913  (a decision has that many sides)
    ports: Ports,
    gate: Gate,
    request: Request,
    action: Mapping[str, Any],
    found: Standing,
    examined: Examined,
    *,
    now: datetime | None = None,
) -> Judgement:
    """Build the dossier and ask policy; nothing is read any more. ``now``: by default the clock."""
    policy = ports.policy.at(found.policy)
    judgement = _weighed(ports, gate, request, action, found, examined, now, policy)
    if _OTHER_POLICY not in judgement.decision.checks:
        return judgement
    # The policy server serves another bundle already: perhaps the one that is to come.
    newer = ports.policy.refresh()
    if newer.digest == policy.digest:
        return judgement
    return _weighed(ports, gate, request, action, found, examined, now, newer)


def _weighed(  # noqa: PLR0913
    ports: Ports,
    gate: Gate,
    request: Request,
    action: Mapping[str, Any],
    found: Standing,
    examined: Examined,
    now: datetime | None,
    policy: PolicyInForce,
) -> Judgement:
    at = now or ports.clock()
    accepted = {policy.digest, *ports.rules.accepted_policy_digests}
    if gate is Gate.DOWNLOAD:  # what is released is served on; nothing goes further by it
        accepted |= policy.still_accepted(at)
    dossier = Dossier(
        gate=gate,
        actor=request.actor,
        action=action,
        subject=found.record.subject(blocked=found.blocked),
        evidence={kind.value: outcome for kind, outcome in examined.outcomes.items()},
        attached=examined.files,
        approvals=tuple(approval.to_document() for approval in found.approvals),
        runtime={
            "policy_digest": policy.digest,
            "accepted_policy_digests": sorted(accepted),
        },
        now=at,
        salt=new_salt(),
    )
    decision = decide(policy.engine, dossier)
    if ports.watch is not None:
        ports.watch(dossier, decision)
    return Judgement(request, found.record, dossier, decision, policy)
