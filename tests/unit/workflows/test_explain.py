"""Any past decision, made again, is the same to the bit; what is not is an alarm."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from mlflow_governance.cli.main import cli
from mlflow_governance.core import canonical
from mlflow_governance.core.digest import of_bytes
from mlflow_governance.core.dossier import Dossier, Gate, Outcome
from mlflow_governance.core.model_ref import VersionRef
from mlflow_governance.core.stage import Stage
from mlflow_governance.errors import Denied, NotFound, VerificationError
from mlflow_governance.evidence.interface import Kind
from mlflow_governance.policy.bundle import Bundle, from_files
from mlflow_governance.policy.decide import decide
from mlflow_governance.policy.embedded import EmbeddedEngine
from mlflow_governance.policy.interface import EngineError
from mlflow_governance.store.decisions import SqlDecisions
from mlflow_governance.store.unit_of_work import SqlReading
from mlflow_governance.workflows.admit import admit
from mlflow_governance.workflows.approve import approve
from mlflow_governance.workflows.explain import Again, Explanation, explain
from mlflow_governance.workflows.ports import Request
from mlflow_governance.workflows.promote import transition
from tests.unit.policy.builders import configured, shipped
from tests.unit.workflows.builders import ALICE, NOBODY, PIA, SAM, InProcessRegistry
from tests.unit.workflows.homes import home_of
from tests.unit.workflows.past import relaxed

HAND = (("the shelf", shipped()),)


@pytest.fixture(autouse=True)
def nothing_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a bundle is found is what the tests below are about."""
    monkeypatch.setattr(SqlReading, "policy_archive", lambda self, digest: None, raising=False)


@pytest.fixture
def registry(tmp_path: Path) -> InProcessRegistry:
    """A released version, and a refused download of another."""
    registry = InProcessRegistry(tmp_path)
    ref = registry.accepted("churn")
    transition(registry.ports, Request(ALICE, ref), Stage.STAGING)
    approve(registry.ports, Request(SAM, ref, "fine"), "security", "approve")
    approve(registry.ports, Request(PIA, ref, "fine"), "product", "approve")
    transition(registry.ports, Request(ALICE, ref), Stage.APPROVED)
    registry.accepted("young")
    with pytest.raises(Denied):
        admit(registry.ports, Request(NOBODY, VersionRef("young", 1)), "registry")
    return registry


def run(registry: InProcessRegistry, statement: str, **values: Any) -> None:
    import sqlalchemy as sa

    with registry.sessions.engine.begin() as connection:
        connection.execute(sa.text(statement), values)


def rows(registry: InProcessRegistry) -> list[Any]:
    decisions = SqlDecisions(registry.sessions)
    return list(decisions.rows(-1, decisions.last()))


def explained(registry: InProcessRegistry, number: int, hand: Any = HAND) -> Explanation:
    with registry.ports.store.read() as reading:
        return explain(reading, rows(registry)[number], hand)


def told(registry: InProcessRegistry, decision_id: str, *more: str) -> Result:
    url, home = str(registry.sessions.engine.url), str(home_of(registry))
    return CliRunner().invoke(
        cli, ["explain", decision_id, "--backend-store-uri", url, "--home", home, *more]
    )


def test_every_decision_of_a_life_is_made_again_to_the_bit(registry: InProcessRegistry) -> None:
    found = [explained(registry, number) for number in range(len(rows(registry)))]

    assert len(found) >= 5
    assert {f.again for f in found} == {Again.SAME}
    assert all(not f.differences and not f.notes for f in found)
    assert {f.recorded.dossier.gate for f in found} == {Gate.ACCEPT, Gate.PROMOTE, Gate.DOWNLOAD}


def test_the_release_keeps_the_bundle_it_was_decided_with(registry: InProcessRegistry) -> None:
    released = next(
        n for n, row in enumerate(rows(registry)) if b'"to":"Approved"' in (row.dossier or b"")
    )

    found = explained(registry, released, ())

    assert found.again is Again.SAME
    assert found.bundle_from == "the release"


def test_what_the_registry_kept_is_preferred_and_must_be_what_it_says(
    registry: InProcessRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: dict[str, bytes] = {shipped().digest: shipped().archive()}
    monkeypatch.setattr(
        SqlReading, "policy_archive", lambda self, digest: kept.get(digest), raising=False
    )
    assert explained(registry, 0, ()).bundle_from == "the registry"

    for spoiled in (configured(blocking_cvss=1.0).archive(), b"", b"no archive"):
        kept[shipped().digest] = spoiled
        with pytest.raises(VerificationError, match="polic"):
            explained(registry, 0, HAND)


def test_without_its_bundle_a_decision_is_told_and_not_made_again(
    registry: InProcessRegistry,
) -> None:
    found = explained(registry, -1, (("elsewhere", configured(blocking_cvss=1.0)),))

    assert found.again is Again.NOT
    assert shipped().digest in found.notes[0]
    assert "--bundle" in found.notes[0]


def forge(registry: InProcessRegistry, number: int, change: Callable[[Any], None]) -> str:
    """Whoever can write to the database changes a decision and the digest beside it."""
    row = rows(registry)[number]
    document = json.loads(row.document)
    change(document)
    data = canonical.encode(document)
    run(
        registry,
        "UPDATE governance_decisions SET document = :d, digest = :h, allow = :a "
        "WHERE decision_id = :i",
        d=data, h=of_bytes(data), a=document["allow"], i=row.decision_id,
    )  # fmt: skip
    return str(row.decision_id)


def test_a_forged_decision_is_told_by_the_ledger(registry: InProcessRegistry) -> None:
    decision_id = forge(registry, -1, lambda d: d.update(allow=True, reasons=[]))

    with pytest.raises(VerificationError, match="the ledger names sha256:"):
        explained(registry, -1)
    result = told(registry, decision_id)
    assert isinstance(result.exception, VerificationError)
    assert result.exception.exit_code == 3
    assert "INTEGRITY ALARM" in str(result.exception)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda d: d.update(allow=True, reasons=[]), "allow: recorded true, now false"),
        (lambda d: d["checks"].update({"DLD-002": True}), "checks.DLD-002: recorded true"),
        (lambda d: d["checks"].pop("DLD-001"), "checks.DLD-001: recorded nothing, now true"),
        (lambda d: d["reasons"][0].update(message="because"), "reasons: recorded"),
        (lambda d: d.update(details={"x": 1}), "details.x: recorded 1, now nothing"),
        (lambda d: d.update(extra=1), "extra: recorded 1, now nothing"),
        (lambda d: d.update(modes={"DLD-002": "warn"}), "modes.DLD-002"),
        (lambda d: d.update(obligations=[{"type": "x"}]), "obligations"),
    ],
)
def test_a_record_that_was_never_decided_is_found_by_deciding_again(
    registry: InProcessRegistry,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[Any], None],
    named: str,
) -> None:
    # Even if the ledger had been written with it.
    decision_id = forge(registry, -1, change)
    from mlflow_governance.workflows import explain as module

    monkeypatch.setattr(module, "_in_ledger", lambda reading, row: 7)

    found = explained(registry, -1)

    assert found.again is Again.DIFFERENT
    assert any(named in difference for difference in found.differences)
    assert isinstance(told(registry, decision_id).exception, VerificationError)


def test_a_decision_the_ledger_does_not_know_is_an_alarm(registry: InProcessRegistry) -> None:
    row = rows(registry)[0]
    dossier = Dossier.from_encoded(row.dossier)
    engine = EmbeddedEngine(shipped())
    with registry.ports.store.begin() as uow:
        uow.add_decision(decide(engine, dossier), dossier.encoded, dossier.subject.uid)

    with pytest.raises(VerificationError, match="no entry about it"):
        explained(registry, -1)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE governance_decisions SET document = '{}'",
        "UPDATE governance_blobs SET data = '{}'",
        "UPDATE governance_decisions SET allow = NOT allow",
    ],
)
def test_changed_bytes_are_an_alarm(registry: InProcessRegistry, statement: str) -> None:
    run(registry, statement)

    result = told(registry, rows(registry)[0].decision_id)

    assert isinstance(result.exception, VerificationError)
    assert "INTEGRITY ALARM" in str(result.exception)


class Server:
    """A policy server, as far as a decision shows: it answers, or it does not."""

    name = "opa opa.example:8181"

    def __init__(self, bundle: Bundle, error: EngineError | None = None, name: str = "") -> None:
        self._inner, self._error = EmbeddedEngine(bundle), error
        self.name = name or self.name

    @property
    def policy_digest(self) -> Any:
        return self._inner.policy_digest

    def evaluate(self, gate: Gate, document: bytes) -> Any:
        if self._error is not None:
            raise self._error
        return self._inner.evaluate(gate, document)


@pytest.mark.parametrize("name", ["opa opa.example:8181", "regorus 0.12.0"])
def test_another_engine_or_version_is_named_and_has_to_agree(
    registry: InProcessRegistry, name: str
) -> None:
    registry.ask(Server(shipped(), name=name))
    registry.accepted("by-server")

    found = explained(registry, -1)

    assert found.again is Again.SAME
    assert found.notes[0].startswith(f"decided by {name}, made again by regorus ")
    assert name in told(registry, rows(registry)[-1].decision_id).stdout


def test_a_server_that_answered_otherwise_is_an_alarm(registry: InProcessRegistry) -> None:
    class Lying(Server):
        policy_digest = shipped().digest

    registry.ask(Lying(configured(tolerated_severities=[], blocking_cvss=1.0)))
    registry.accepted("lied")

    found = explained(registry, -1)

    assert found.again is Again.DIFFERENT
    assert "allow: recorded false, now true" in found.differences
    assert found.notes  # and by which server


@pytest.mark.parametrize("code", ["ENG-UNREACHABLE", "ENG-TIMEOUT", "ENG-HTTP-503", "ENG-ERROR"])
def test_an_error_from_outside_is_told_as_what_it_was(
    registry: InProcessRegistry, code: str
) -> None:
    registry.ask(Server(shipped(), EngineError(code, "the cable was cut")))
    registry.accepted("unlucky")

    found = explained(registry, -1)

    assert found.again is Again.NOT
    assert code in found.notes[0]
    assert "the cable was cut" in found.notes[0]
    result = told(registry, rows(registry)[-1].decision_id)
    assert result.exit_code == 0
    assert "not re-executed" in result.stdout
    assert "the cable was cut" in result.stdout


def test_an_error_of_the_rules_is_made_again(tmp_path: Path) -> None:
    registry = InProcessRegistry(tmp_path)
    source = b'package registry.accept\ndecision := {"allow": false} if not input.gate\n'
    broken = from_files({**shipped().files, "registry/accept/accept.rego": source})
    registry.ask(EmbeddedEngine(broken))
    registry.accepted("undefined")

    found = explained(registry, -1, (("here", broken),))

    assert found.recorded.document["reasons"][0]["code"] == "ENG-UNDEFINED"
    assert found.again is Again.SAME
    registry = InProcessRegistry(tmp_path / "there")
    registry.ask(Server(broken))
    registry.accepted("undefined-there")
    assert explained(registry, -1, (("here", broken),)).again is Again.NOT


def test_a_decision_from_before_there_were_modes_is_the_same(
    registry: InProcessRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow_governance.workflows import explain as module

    def without(document: Any) -> None:
        for name in ("modes", "waived", "shadow"):
            del document[name]

    forge(registry, 0, without)
    monkeypatch.setattr(module, "_in_ledger", lambda reading, row: 7)

    assert explained(registry, 0).again is Again.SAME


def test_the_explanation_says_who_what_when_and_why(registry: InProcessRegistry) -> None:
    result = told(registry, rows(registry)[-1].decision_id)

    assert result.exit_code == 0
    for words in (
        "download denied", "anonymous", "not logged in", "young/1", "Candidate", "ledger entry",
        "DLD-002   failed", "subject.stage = \"Candidate\"", "re-executed: the same answer",
        "bundle from ",
    ):  # fmt: skip
        assert words in result.stdout, words
    document = json.loads(told(registry, rows(registry)[-1].decision_id, "--json").stdout)
    assert document["again"] == "the same answer"
    (failed,) = [check for check in document["checks"] if not check["passed"]]
    assert failed["facts"] == "Candidate"


def test_a_waiver_and_a_mode_are_shown_apart(tmp_path: Path) -> None:
    registry = InProcessRegistry(tmp_path)
    bundle = relaxed()
    registry.ask(EmbeddedEngine(bundle))
    failing = (Kind.SIGNATURE, Kind.CANARY, Kind.DATASET)
    registry.outcomes.spoiled = dict.fromkeys(failing, Outcome.missing("there is none"))
    registry.accepted("relaxed")

    found = explained(registry, -1, (("here", bundle),))

    assert found.again is Again.SAME
    checks = {check["code"]: check for check in found.to_document()["checks"]}
    assert {code: check["mode"] for code, check in checks.items()} == {
        "A-1": "enforce", "A-2": "warn", "A-3": "shadow", "A-4": "enforce",
    }  # fmt: skip
    assert checks["A-4"]["waiver"]["waiver"] == "W-9"
    assert checks["A-2"]["said"]["message"] == "not proved: there is none"
    assert checks["A-3"]["facts"]["status"] == "missing"


def test_nobody_knows_a_decision_that_never_was(registry: InProcessRegistry) -> None:
    assert isinstance(told(registry, "nothing").exception, NotFound)
