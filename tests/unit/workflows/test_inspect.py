"""Files are read once a content, and again when the rules change."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from mlflow_governance.core.digest import Digest, of_bytes
from mlflow_governance.core.dossier import Gate
from mlflow_governance.core.manifest import Manifest
from mlflow_governance.core.stage import Stage
from mlflow_governance.errors import Unavailable, VerificationError
from mlflow_governance.evidence.inspection import CodeVerdict, Inspection
from mlflow_governance.store.task_queue import SqlTaskQueue
from mlflow_governance.workflows.judge import judge
from mlflow_governance.workflows.perform import perform
from mlflow_governance.workflows.ports import Request
from mlflow_governance.workflows.promote import rejudge, transition
from tests.unit.workflows.builders import ALICE, FolderArtifacts, InProcessRegistry


@dataclass
class Read(FolderArtifacts):
    """Counts what is read, by rules that can change."""

    rules: str = "one"
    read: list[str] = field(default_factory=list)
    changed: bool = False

    @property
    def scanner(self) -> Digest:
        return of_bytes(self.rules.encode())

    def inspect(self, location: str, manifest: Manifest) -> Inspection:
        if self.changed:
            raise VerificationError("MLmodel changed while it was read")
        self.read.append(location)
        return Inspection(self.scanner, CodeVerdict.CLEAN)


@pytest.fixture
def registry(tmp_path: Path) -> InProcessRegistry:
    from dataclasses import replace

    made = InProcessRegistry(tmp_path)
    made.artifacts = Read(made.artifacts.root)
    made.ports = replace(made.ports, artifacts=made.artifacts)
    return made


def known(registry: InProcessRegistry, name: str = "churn") -> Inspection | None:
    from mlflow_governance.core.model_ref import VersionRef

    digest = registry.record(VersionRef(name, 1)).digest
    assert digest is not None
    with registry.ports.store.read() as reading:
        return reading.inspection(digest)


def test_registration_reads_the_files_and_the_same_content_is_not_read_again(registry):
    registry.accepted("churn", location="one")
    registry.model("two", "weights of churn 1")
    registry.accepted("copy", location="two")

    assert registry.artifacts.read == ["one"]
    assert known(registry) == known(registry, "copy") is not None


def test_newer_rules_read_again_before_a_promotion_and_when_judged_again(registry):
    ref = registry.accepted("churn")
    registry.artifacts.rules = "two"
    transition(registry.ports, Request(ALICE, ref), Stage.STAGING)
    assert known(registry).scanner == of_bytes(b"two")

    registry.artifacts.rules = "three"
    rejudge(registry.ports, Request(ALICE, ref))
    assert known(registry).scanner == of_bytes(b"three")
    assert len(registry.artifacts.read) == 3


def test_asking_how_it_would_be_judged_reads_no_file_and_leaves_no_task(registry):
    ref = registry.accepted("churn")
    registry.artifacts.rules = "two"
    for limit in (2**20, 1):  # small enough to read at once; too large
        registry.with_rules(sync_limit_bytes=limit)
        action = {"from": "Candidate", "to": "Staging", "reason": ""}
        judge(registry.ports, Gate.PROMOTE, Request(ALICE, ref), action)

    assert len(registry.artifacts.read) == 1
    assert "inspect" not in {t.kind for t in SqlTaskQueue(registry.sessions).claim(10, 60)}


def test_a_large_model_is_read_by_the_worker(registry):
    ref = registry.accepted("churn")
    registry.artifacts.rules = "two"
    registry.with_rules(sync_limit_bytes=1)
    transition(registry.ports, Request(ALICE, ref), Stage.STAGING)
    assert known(registry).scanner == of_bytes(b"one")

    queue = SqlTaskQueue(registry.sessions)
    for task in queue.claim(10, 60):
        perform(registry.ports, task)
    assert known(registry).scanner == of_bytes(b"two")


def test_files_out_of_reach_leave_a_judgement_to_what_is_known(registry, monkeypatch):
    ref = registry.accepted("churn")
    transition(registry.ports, Request(ALICE, ref), Stage.STAGING)
    registry.artifacts.rules = "two"

    def away(location: str, manifest: Manifest) -> Inspection:
        raise Unavailable("the storage does not answer")

    monkeypatch.setattr(registry.artifacts, "inspect", away)
    assert rejudge(registry.ports, Request(ALICE, ref)).decision.allow
    assert known(registry).scanner == of_bytes(b"one")


def test_files_that_change_while_they_are_read_are_no_inspection(registry):
    registry.artifacts.changed = True
    ref = registry.register("churn")
    judgement = registry.settle(ref)

    assert not judgement.decision.allow
    assert "changed while it was read" in str(judgement.decision.to_document())
    assert registry.record(ref).stage is Stage.NONE
