"""The life cycle against a small reference model, whatever people do in whatever order."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from mlflow_governance.core.actor import Actor
from mlflow_governance.core.dossier import Outcome
from mlflow_governance.core.model_ref import VersionRef
from mlflow_governance.core.stage import Stage
from mlflow_governance.errors import Conflict, Denied, InvalidRequest
from mlflow_governance.evidence.interface import Kind
from mlflow_governance.workflows.admit import admit
from mlflow_governance.workflows.approve import approve
from mlflow_governance.workflows.ports import Request
from mlflow_governance.workflows.promote import transition
from mlflow_governance.workflows.withdraw import withdraw
from tests.unit.workflows.agreement import replay_disagreements
from tests.unit.workflows.builders import ALICE, EVE, NOBODY, PIA, ROOT, SAM, InProcessRegistry

_ACTORS = st.sampled_from([ALICE, SAM, PIA, EVE, ROOT, NOBODY])
_VERSIONS = st.integers(0, 2)


@dataclass
class Expected:
    """What the reference model knows of one version; versions 0 and 2 have the same content."""

    content: str
    stage: Stage = Stage.NONE
    origin: Stage | None = None
    approvals: dict[str, str] = field(default_factory=dict)


class LifeCycle(RuleBasedStateMachine):
    """Random acts by random people; the registry and the reference model never disagree."""

    @initialize()
    def start(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.registry = InProcessRegistry(Path(self.folder.name))
        self.canary = True
        self.expected: dict[VersionRef, Expected] = {}
        for number, content in enumerate(("one", "two", "one")):
            self.registry.model(f"place-{number}", content)
            ref = self.registry.register("churn", number + 1, location=f"place-{number}")
            self.expected[ref] = Expected(content)

    def teardown(self) -> None:
        if hasattr(self, "registry"):
            self.registry.sessions.dispose()
            self.folder.cleanup()

    def _blocked(self, version: Expected) -> bool:
        return any(
            other.content == version.content
            and other.stage in (Stage.QUARANTINED, Stage.REVOKED)
            and other in self.hashed
            for other in self.expected.values()
        )

    @property
    def hashed(self) -> list[Expected]:
        return [
            expected
            for ref, expected in self.expected.items()
            if self.registry.record(ref).digest is not None
        ]

    def _at(self, index: int) -> tuple[VersionRef, Expected]:
        return list(self.expected.items())[index]

    @rule(index=_VERSIONS, actor=_ACTORS)
    def ask_for_candidate(self, index: int, actor: Actor) -> None:
        ref, version = self._at(index)
        may = version.stage is Stage.NONE and not self._blocked(version)
        self._transition(ref, version, actor, Stage.CANDIDATE, may)

    @rule(index=_VERSIONS, actor=_ACTORS)
    def ask_for_staging(self, index: int, actor: Actor) -> None:
        ref, version = self._at(index)
        may = version.stage is Stage.CANDIDATE and not self._blocked(version)
        self._transition(ref, version, actor, Stage.STAGING, may)

    @rule(index=_VERSIONS, actor=_ACTORS)
    def ask_for_approved(self, index: int, actor: Actor) -> None:
        ref, version = self._at(index)
        may = (
            version.stage is Stage.STAGING
            and not self._blocked(version)
            and self.canary
            and actor.authenticated
            and set(version.approvals.values()) == {"security", "product"}
        )
        self._transition(ref, version, actor, Stage.APPROVED, may)

    @rule(index=_VERSIONS)
    def ask_for_deprecated(self, index: int) -> None:
        ref, version = self._at(index)
        may = version.stage is Stage.APPROVED and not self._blocked(version)
        self._transition(ref, version, PIA, Stage.DEPRECATED, may)

    def _transition(
        self, ref: VersionRef, version: Expected, actor: Actor, target: Stage, may: bool
    ) -> None:
        before = self.registry.entries()
        if version.stage is target:
            transition(self.registry.ports, Request(actor, ref), target)
            assert self.registry.entries() == before, (
                "a transition to the same stage writes nothing"
            )
            return
        try:
            transition(self.registry.ports, Request(actor, ref, ""), target)
            allowed = True
        except (Denied, InvalidRequest, Conflict):
            allowed = False
        assert allowed == may, f"{ref} {version} → {target} by {actor}"
        if allowed:
            version.stage = target

    @rule(index=_VERSIONS, actor=_ACTORS, role=st.sampled_from(["security", "product"]))
    def say_yes(self, index: int, actor: Actor, role: str) -> None:
        ref, version = self._at(index)
        may = (
            actor.authenticated
            and role in actor.roles
            and actor is not ALICE
            and version.stage in (Stage.CANDIDATE, Stage.STAGING, Stage.APPROVED)
        )
        try:
            approve(self.registry.ports, Request(actor, ref, "looks right"), role, "approve")
            allowed = True
        except Denied:
            allowed = False
        assert allowed == may
        if allowed:
            version.approvals[actor.person] = role

    @rule(index=_VERSIONS, actor=_ACTORS, to=st.sampled_from([Stage.REVOKED, Stage.QUARANTINED]))
    def take_away(self, index: int, actor: Actor, to: Stage) -> None:
        ref, version = self._at(index)
        if version.stage is to:
            return
        may = (
            version.stage is not Stage.REVOKED
            and actor.authenticated
            and (actor.admin or bool({"security", "product"} & set(actor.roles)))
        )
        try:
            withdraw(self.registry.ports, Request(actor, ref, "an incident"), to)
            allowed = True
        except Denied:
            allowed = False
        assert allowed == may
        if allowed:
            version.origin = version.stage if to is Stage.QUARANTINED else None
            version.stage = to

    @rule(index=_VERSIONS)
    def give_back(self, index: int) -> None:
        ref, version = self._at(index)
        if version.stage is not Stage.QUARANTINED or version.origin is None:
            return
        withdraw(self.registry.ports, Request(SAM, ref, "it was nothing"), version.origin)
        version.stage, version.origin = version.origin, None

    @rule(works=st.booleans())
    def the_canary_changes(self, works: bool) -> None:
        self.canary = works
        bad = {Kind.CANARY: Outcome.missing("no canary ran")}
        self.registry.outcomes.spoiled = {} if works else bad

    @invariant()
    def registry_mlflow_and_ledger_agree_with_the_model(self) -> None:
        for ref, version in getattr(self, "expected", {}).items():
            record = self.registry.record(ref)
            assert record.stage is version.stage
            assert self.registry.mlflow_stage(ref) == version.stage.value
            with self.registry.ports.store.read() as reading:
                moves = [
                    entry["after"]["stage"]
                    for entry in reading.timeline(record.uid)
                    if entry["allowed"] and entry["after"].get("stage")
                ]
            assert moves[-1] == version.stage.value, "the ledger tells another story"

    @invariant()
    def the_replayed_ledger_is_the_state(self) -> None:
        if hasattr(self, "registry"):
            assert replay_disagreements(self.registry.sessions) == []

    @invariant()
    def nobody_gets_withdrawn_or_unreleased_bytes(self) -> None:
        for ref, version in getattr(self, "expected", {}).items():
            released = version.stage in (Stage.STAGING, Stage.APPROVED, Stage.DEPRECATED)
            may = released and not self._blocked(version)
            try:
                admit(self.registry.ports, Request(PIA, ref), "registry")
                given = True
            except Denied:
                given = False
            assert given == may


TestLifeCycle = LifeCycle.TestCase
TestLifeCycle.settings = settings(
    max_examples=15,
    stateful_step_count=14,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
