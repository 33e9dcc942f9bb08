"""Evidence that comes after registration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import pytest

from mlflow_governance.core.dossier import Outcome
from mlflow_governance.core.manifest import Manifest
from mlflow_governance.errors import Conflict, Denied
from mlflow_governance.evidence.attestation import SLSA_PROVENANCE, TEST_RESULT
from mlflow_governance.evidence.inspection import Inspection
from mlflow_governance.evidence.interface import MAX_ITEMS, EvidenceItem, Kind
from mlflow_governance.evidence.predicate import OPENVEX
from mlflow_governance.workflows.accept import settle
from mlflow_governance.workflows.attach import attach
from mlflow_governance.workflows.delete import delete_version
from mlflow_governance.workflows.ports import Request
from tests.unit.evidence.builders import attest
from tests.unit.workflows.builders import ALICE, FolderArtifacts, InProcessRegistry, SetOutcomes


@dataclass
class Submitted(FolderArtifacts):
    """What the submitter left beside the model."""

    items: tuple[EvidenceItem, ...] = ()

    def evidence(self, location: str) -> list[EvidenceItem]:
        return list(self.items)


@pytest.fixture
def registry(tmp_path: Path) -> InProcessRegistry:
    registry = InProcessRegistry(tmp_path)
    registry.artifacts = Submitted(registry.artifacts.root)
    registry.ports = replace(registry.ports, artifacts=registry.artifacts)
    return registry


def statement(name: str, kind: str) -> EvidenceItem:
    return EvidenceItem(f"attestations/{name}.intoto.json", attest(kind, {"name": name}))


def test_a_submitter_with_much_to_show_leaves_room_for_a_verdict(
    registry: InProcessRegistry,
) -> None:
    assert isinstance(registry.artifacts, Submitted)
    registry.artifacts.items = tuple(
        statement(f"mine-{n}", TEST_RESULT if n % 2 else SLSA_PROVENANCE) for n in range(MAX_ITEMS)
    )
    ref = registry.accepted("churn")

    with pytest.raises(Conflict, match="as much evidence as is read"):
        attach(registry.ports, Request(ALICE, ref), statement("more", SLSA_PROVENANCE))
    for n in range(MAX_ITEMS):
        attach(registry.ports, Request(ALICE, ref), statement(f"verdict-{n}", TEST_RESULT))
    with pytest.raises(Conflict, match="as much evidence as is read"):
        attach(registry.ports, Request(ALICE, ref), statement("one-more", TEST_RESULT))


@pytest.mark.parametrize("kind", [TEST_RESULT, OPENVEX])
def test_a_new_submission_does_not_take_away_what_others_said(
    registry: InProcessRegistry, kind: str
) -> None:
    ref = registry.register("churn")
    said = statement("said", kind)
    registry.outcomes.spoiled[Kind.SBOM] = Outcome.missing("none")
    settle(registry.ports, Request(ALICE, ref))
    attach(registry.ports, Request(ALICE, ref), said)
    assert isinstance(registry.artifacts, Submitted)
    registry.artifacts.items = (EvidenceItem(said.name, b"{}"),)

    settle(registry.ports, Request(ALICE, ref))

    with registry.ports.store.read() as reading:
        found = reading.version(ref)
        assert found is not None
        assert said.data in [item.data for item in reading.evidence(found.uid)]


class Keeping(SetOutcomes):
    """An examiner that says which items it was given."""

    seen: list[EvidenceItem]

    def examine(
        self,
        manifest: Manifest,
        model_name: str,
        items: Sequence[EvidenceItem],
        now: datetime,
        inspection: Inspection | None = None,
    ) -> dict[Kind, Outcome]:
        self.seen = list(items)
        return super().examine(manifest, model_name, items, now, inspection)


def test_a_verdict_follows_the_content_into_a_version_registered_anew(
    registry: InProcessRegistry,
) -> None:
    examiner = Keeping()
    registry.ports = replace(registry.ports, examiner=examiner)
    first = registry.accepted("churn", location="shared")
    failed = statement("failed", TEST_RESULT)
    attach(registry.ports, Request(ALICE, first), failed)
    attach(registry.ports, Request(ALICE, first), statement("origin", SLSA_PROVENANCE))

    registry.accepted("churn", 2, location="shared")

    assert [item.data for item in examiner.seen] == [failed.data]


def test_a_version_is_not_deleted_from_under_a_verdict(registry: InProcessRegistry) -> None:
    ref = registry.accepted("churn")
    attach(registry.ports, Request(ALICE, ref), statement("failed", TEST_RESULT))

    with pytest.raises(Denied, match="would be forgotten"):
        delete_version(registry.ports, Request(ALICE, ref), lambda: None)
