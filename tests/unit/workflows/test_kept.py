"""What others attached is not lost when a model is submitted again."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from mlflow_governance.core.dossier import Outcome
from mlflow_governance.evidence.interface import EvidenceItem, Kind
from mlflow_governance.workflows.attach import attach
from mlflow_governance.workflows.ports import Request
from tests.unit.workflows.builders import ALICE, FolderArtifacts, InProcessRegistry

SCAN = EvidenceItem("attestations/scan.intoto.json", b'{"found": "something grave"}')


@dataclass
class Submitted(FolderArtifacts):
    """What the submitter left beside the model."""

    left: list[EvidenceItem] = field(default_factory=list)

    def evidence(self, location: str) -> list[EvidenceItem]:
        return self.left


@pytest.fixture
def registry(tmp_path: Path) -> InProcessRegistry:
    from dataclasses import replace

    made = InProcessRegistry(tmp_path)
    made.artifacts = Submitted(made.artifacts.root)
    made.ports = replace(made.ports, artifacts=made.artifacts)
    made.outcomes.spoiled[Kind.SBOM] = Outcome.missing("not there yet")  # it stays at None
    return made


def test_what_was_attached_is_kept_beside_a_file_of_its_name(registry):
    ref = registry.register("churn")
    registry.settle(ref)
    attach(registry.ports, Request(ALICE, ref), SCAN)

    registry.artifacts.left = [EvidenceItem(SCAN.name, b"{}")]
    registry.settle(ref)

    with registry.ports.store.read() as reading:
        kept = reading.evidence(registry.record(ref).uid)
    assert SCAN.data in {item.data for item in kept}
    assert len(kept) == 2
