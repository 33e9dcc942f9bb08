"""A verdict made from remembered facts is the one made from nothing, whatever happened between."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from mlflow_governance.core.actor import Actor
from mlflow_governance.core.digest import of_bytes
from mlflow_governance.core.dossier import Gate, Outcome
from mlflow_governance.core.model_ref import VersionRef
from mlflow_governance.core.stage import Stage
from mlflow_governance.errors import GovernanceError
from mlflow_governance.evidence.interface import Kind
from mlflow_governance.store.unit_of_work import SqlStore
from mlflow_governance.workflows.admit import Door, permits
from mlflow_governance.workflows.approve import approve
from mlflow_governance.workflows.judge import examine, standing, weigh
from mlflow_governance.workflows.ports import Request
from mlflow_governance.workflows.promote import transition
from mlflow_governance.workflows.withdraw import withdraw
from tests.unit.workflows.builders import ALICE, EVE, NOBODY, PIA, SAM, InProcessRegistry

_PEOPLE = (ALICE, EVE, NOBODY)
_VERSIONS = st.integers(0, 2)
_DOORS: tuple[Door, ...] = ("registry", "artifact")
_ON_THE_WAY = st.sampled_from([Stage.CANDIDATE, Stage.STAGING, Stage.APPROVED, Stage.DEPRECATED])


class Verdicts(RuleBasedStateMachine):
    """Random acts; after each, both verdicts about every version, person and door."""

    @initialize()
    def start(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.registry = InProcessRegistry(Path(self.folder.name))
        # The clock stands still: whatever is remembered for a moment is remembered here.
        self.now = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)
        self.registry.ports = replace(self.registry.ports, clock=lambda: self.now)
        self.refs: list[VersionRef] = []
        for number, content in enumerate(("one", "two", "one"), 1):
            self.registry.model(f"place-{number}", content)
            self.refs.append(self.registry.register("churn", number, location=f"place-{number}"))

    def teardown(self) -> None:
        if hasattr(self, "registry"):
            self.registry.sessions.dispose()
            self.folder.cleanup()

        self.release(0)
        self.move(1, Stage.CANDIDATE)

    @rule(index=_VERSIONS, stage=_ON_THE_WAY)
    def move(self, index: int, stage: Stage) -> None:
        with suppress(GovernanceError):
            transition(self.registry.ports, Request(ALICE, self.refs[index]), stage)

    @rule(index=_VERSIONS)
    def release(self, index: int) -> None:
        ref, ports = self.refs[index], self.registry.ports
        with suppress(GovernanceError):
            for stage in (Stage.CANDIDATE, Stage.STAGING):
                transition(ports, Request(ALICE, ref), stage)
            approve(ports, Request(SAM, ref, "fine"), "security", "approve")
            approve(ports, Request(PIA, ref, "fine"), "product", "approve")
            transition(ports, Request(ALICE, ref), Stage.APPROVED)

    @rule(index=_VERSIONS, stage=st.sampled_from([Stage.QUARANTINED, Stage.REVOKED]))
    def withdraw(self, index: int, stage: Stage) -> None:
        with suppress(GovernanceError):
            withdraw(self.registry.ports, Request(SAM, self.refs[index], "why"), stage)

    @rule(index=_VERSIONS)
    def restore(self, index: int) -> None:
        record = self.registry.record(self.refs[index])
        with suppress(GovernanceError):
            back = record.quarantined_from or record.stage
            transition(self.registry.ports, Request(SAM, record.ref, "cleared"), back)

    @rule(kind=st.sampled_from(list(Kind)))
    def trust_is_withdrawn(self, kind: Kind) -> None:
        self.registry.outcomes.spoiled = {kind: Outcome.failed("nobody trusts that key any more")}

    @rule()
    def trust_returns(self) -> None:
        self.registry.outcomes.spoiled = {}

    @rule(seconds=st.floats(0.1, 3.0))
    def time_passes(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    @rule(index=_VERSIONS)
    def policy_is_replaced(self, index: int) -> None:
        accepted = (of_bytes(b"an older bundle"),) if index else ()
        self.registry.with_rules(accepted_policy_digests=accepted)

    @invariant()
    def remembered_and_fresh_verdicts_are_the_same(self) -> None:
        if not hasattr(self, "refs"):
            return
        for ref in self.refs:
            for person in _PEOPLE:
                for door in _DOORS:
                    request = Request(person, ref)
                    remembered = permits(self.registry.ports, request, door)
                    assert remembered == self._fresh(request, door), (ref, person, door)

    def _fresh(self, request: Request, door: Door) -> bool:
        """The verdict of a registry that remembers nothing."""
        store = SqlStore(self.registry.sessions, ledger_signer=self.registry.signer)
        ports = replace(self.registry.ports, store=store)
        with store.read() as reading:
            found = standing(reading, request.ref)
        evidence = examine(ports, found.record)
        action = {"door": door}
        return weigh(ports, Gate.DOWNLOAD, request, action, found, evidence).decision.allow


TestVerdicts = Verdicts.TestCase
TestVerdicts.settings = settings(
    max_examples=15,
    stateful_step_count=10,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)


def test_a_stranger_is_never_let_in_by_what_was_remembered_for_another(tmp_path: Path) -> None:
    registry = InProcessRegistry(tmp_path)
    ref = registry.accepted("churn")
    stranger = Actor("rita", (), authenticated=True)

    assert permits(registry.ports, Request(EVE, ref), "registry")
    assert not permits(registry.ports, Request(stranger, ref), "registry")
