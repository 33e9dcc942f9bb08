"""What a release carries, read with the stock client and proved with the exported trust policy."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import mlflow
import pytest

from mlflow_governance.core import canonical, digest
from mlflow_governance.evidence import envelope
from mlflow_governance.evidence.attestation import RELEASE, VSA, Statement, parse_statement
from mlflow_governance.evidence.hashing import hash_directory
from mlflow_governance.evidence.predicate import Purpose
from mlflow_governance.evidence.trust import TrustPolicy
from tests.integration.world import World

ROOT = "models:/shipped/1/governance/shipped/v1"


@pytest.fixture(scope="module")
def released(world: World) -> str:
    return world.approved("shipped", seed=40)


@pytest.fixture(scope="module")
def trust(world: World) -> TrustPolicy:
    """The trust policy as a consumer gets it."""
    world.here("rita", "trust", "export", "-o", "exported-trust.yaml")
    return TrustPolicy.load(world.folder / "exported-trust.yaml")


def fetched(world: World, path: str, folder: Path) -> Path:
    with world.speaking_as("rita"):
        return Path(mlflow.artifacts.download_artifacts(f"{ROOT}/{path}", dst_path=str(folder)))


def proved(trust: TrustPolicy, data: bytes, name: str = "shipped") -> Statement:
    enclosed = envelope.parse(data)
    trust.verify(enclosed, Purpose.REGISTRY, name, datetime.now(UTC))
    return parse_statement(enclosed.payload)


def test_the_release_files_are_read_with_the_stock_client(
    world: World, released: str, tmp_path: Path
) -> None:
    manifest = json.loads(fetched(world, "release/release_manifest.json", tmp_path).read_text())
    notes = fetched(world, "release/release_notes.md", tmp_path).read_text()
    links = json.loads(fetched(world, "release/dashboards_links.json", tmp_path).read_text())
    snapshot = fetched(world, "release/policy_snapshot", tmp_path)

    assert manifest["model"]["name"] == "shipped"
    assert (manifest["stage"], manifest["submitter"]) == ("Approved", "alice")
    assert {(a["person"], a["role"]) for a in manifest["approvals"]} == {
        ("sam", "security"),
        ("pia", "product"),
    }
    assert "sam for security" in notes
    assert links == {}
    assert (snapshot / "registry" / "config" / "data.json").is_file()


def test_the_manifest_is_signed_by_the_registry_and_names_every_file(
    world: World, released: str, trust: TrustPolicy, tmp_path: Path
) -> None:
    readable = json.loads(fetched(world, "release/release_manifest.json", tmp_path).read_text())
    signed = fetched(world, "release/release_manifest.json.sig", tmp_path).read_bytes()

    statement = proved(trust, signed)

    assert statement.predicate_type == RELEASE
    assert canonical.encode(statement.predicate) == canonical.encode(readable)
    stored = hash_directory(world.artifacts / world.location(released))
    assert statement.is_about(stored.digest)
    assert readable["digest"] == world.tags("shipped")["governance.digest"] == stored.digest
    assert readable["files"] == stored.to_document()


def test_the_policy_snapshot_is_the_policy_that_decided(
    world: World, released: str, tmp_path: Path
) -> None:
    manifest = json.loads(fetched(world, "release/release_manifest.json", tmp_path).read_text())
    snapshot = fetched(world, "release/policy_snapshot", tmp_path)

    printed = world.here("rita", "policy", "check", "--bundle", str(snapshot))

    assert f"the bundle is usable: {manifest['policy_digest']}" in printed


def test_every_decision_left_a_summary_signed_by_the_registry(
    world: World, released: str, trust: TrustPolicy, tmp_path: Path
) -> None:
    folder = fetched(world, "decisions", tmp_path)

    summaries = [proved(trust, path.read_bytes()) for path in sorted(folder.iterdir())]

    assert {s.predicate_type for s in summaries} == {VSA}
    levels = {level for s in summaries for level in s.predicate["verifiedLevels"]}
    assert levels == {
        f"MLFLOW_GOVERNANCE_{stage}" for stage in ("CANDIDATE", "STAGING", "APPROVED")
    }
    found = digest.parse(world.tags("shipped")["governance.digest"])
    assert all(s.is_about(found) for s in summaries)


def test_a_later_canary_stands_beside_the_release(
    world: World, released: str, tmp_path: Path
) -> None:
    folder = fetched(world, "attestations", tmp_path)

    assert [path.name.split("-")[0] for path in folder.iterdir()] == ["canary"]


def test_the_inclusion_of_the_release_in_the_ledger_is_proved_offline(
    world: World, released: str, tmp_path: Path
) -> None:
    entry = next(
        e for e in world.show("shipped")["timeline"] if e["after"].get("stage") == "Approved"
    )
    home = ("--home", str(world.server.home))
    database = ("--backend-store-uri", world.server.backend)
    proof, text = tmp_path / "proof.txt", tmp_path / "entry.json"
    index = str(entry["index"])
    world.here("admin", "ledger", "prove", index, "-o", str(proof), *home, *database)
    answer = world.ask("rita", "GET", f"/api/2.0/mlflow-governance/ledger/proof?index={index}")
    text.write_text(answer.json()["entry"])

    printed = world.here("rita", "ledger", "check", str(proof), "--against", str(text), *home)

    assert "included in the ledger" in printed
