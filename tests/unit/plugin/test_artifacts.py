"""The bytes of models as the registry reads them: links, pipes and floods are not followed."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from mlflow_governance.errors import Denied, NotFound, VerificationError
from mlflow_governance.evidence.interface import MAX_ITEM_BYTES
from mlflow_governance.plugin.artifacts import ServerArtifacts
from mlflow_governance.plugin.places import normalise
from mlflow_governance.workflows.ports import Attachment
from tests.unit.plugin.builders import Governed

PLACE = "1/models/m-1/artifacts"
EVIDENCE = "governance/evidence"


@pytest.fixture
def artifacts(governed: Governed) -> ServerArtifacts:
    governed.model(PLACE)
    return ServerArtifacts()


def _evidence(governed: Governed, name: str = "", data: bytes = b"{}") -> Path:
    path = governed.artifacts / PLACE / EVIDENCE / name
    (path.parent if name else path).mkdir(parents=True, exist_ok=True)
    if name:
        path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("spelled", "meant"),
    [
        ("1/models/m-1", "1/models/m-1"),
        ("/1/models/m-1/", "1/models/m-1"),
        ("1//models///m-1", "1/models/m-1"),
        ("1/./models/x/../m-1", "1/models/m-1"),
        ("../../1/models/m-1", "1/models/m-1"),
        ("", ""),
        ("/", ""),
        ("..", ""),
        ("1/models/m%2D1", "1/models/m%2D1"),
        ("1/%2e%2e/m-1", "1/%2e%2e/m-1"),
        ("1/modèls", "1/modèls"),
        ("1/mode\u0300ls", "1/mode\u0300ls"),
    ],
)
def test_a_path_has_one_spelling_and_none_above_the_root(spelled: str, meant: str) -> None:
    assert normalise(spelled) == meant
    assert normalise(meant) == meant


def test_a_model_is_located_by_its_path_below_the_destination(artifacts: ServerArtifacts) -> None:
    assert artifacts.locate(f"mlflow-artifacts:/{PLACE}") == PLACE
    assert artifacts.locate(f"mlflow-artifacts:/{PLACE}/") == PLACE


@pytest.mark.parametrize("uri", ["/etc", "file:///etc", "relative/path"])
def test_the_servers_own_disk_is_no_place_for_a_model(artifacts: ServerArtifacts, uri: str) -> None:
    with pytest.raises(Denied, match="outside the artifact destination"):
        artifacts.locate(uri)


def test_evidence_is_read_by_its_name_below_the_folder(
    governed: Governed, artifacts: ServerArtifacts
) -> None:
    _evidence(governed, "model.sig", b"signature")
    _evidence(governed, "attestations/sbom.intoto.json", b"{}")

    found = {item.name: item.data for item in artifacts.evidence(PLACE)}

    assert found == {"model.sig": b"signature", "attestations/sbom.intoto.json": b"{}"}
    assert artifacts.size(PLACE) == sum(
        (governed.artifacts / PLACE / name).stat().st_size for name in ("MLmodel", "model.bin")
    )
    assert "governance" not in str(artifacts.manifest(PLACE).to_document())


def test_no_evidence_is_an_empty_list_and_no_model_is_not_found(
    artifacts: ServerArtifacts,
) -> None:
    assert artifacts.evidence(PLACE) == []
    assert artifacts.size("1/models/m-none/artifacts") == 0
    with pytest.raises(NotFound):
        artifacts.manifest("1/models/m-none/artifacts")


@pytest.mark.parametrize("where", ["model.sig", "attestations", "", "../../governance"])
def test_a_link_on_the_way_to_evidence_is_refused_by_name(
    governed: Governed, artifacts: ServerArtifacts, tmp_path: Path, where: str
) -> None:
    outside = tmp_path / "outside"
    (outside / "evidence").mkdir(parents=True)
    (outside / "passwd").write_text("root:x:0:0")
    (outside / "evidence" / "passwd").write_text("root:x:0:0")
    root = governed.artifacts / PLACE
    link = Path(os.path.normpath(root / EVIDENCE / where)) if where else root / EVIDENCE
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(outside / "passwd" if where == "model.sig" else outside)

    with pytest.raises(VerificationError, match="symlink") as refusal:
        artifacts.evidence(PLACE)

    assert link.name in refusal.value.message


@pytest.mark.parametrize("name", ["link", "data/link", "loop"])
def test_a_link_in_the_model_is_refused_by_name(
    governed: Governed, artifacts: ServerArtifacts, name: str
) -> None:
    link = governed.artifacts / PLACE / name
    link.parent.mkdir(exist_ok=True)
    link.symlink_to("." if name == "loop" else "/etc/passwd")

    for reading in (artifacts.size, artifacts.manifest):
        with pytest.raises(VerificationError, match=f"symlink.*{name}"):
            reading(PLACE)


def test_a_dangling_link_is_refused_like_any_other(
    governed: Governed, artifacts: ServerArtifacts
) -> None:
    (governed.artifacts / PLACE / "gone").symlink_to("/nowhere/at/all")

    with pytest.raises(VerificationError, match=r"symlink.*gone"):
        artifacts.size(PLACE)


@pytest.mark.parametrize("below", ["", EVIDENCE])
def test_nobody_waits_for_the_other_end_of_a_pipe(
    governed: Governed, artifacts: ServerArtifacts, below: str
) -> None:
    folder = governed.artifacts / PLACE / below
    folder.mkdir(parents=True, exist_ok=True)
    os.mkfifo(folder / "pipe")
    started = time.monotonic()

    with pytest.raises(VerificationError, match=r"special file.*pipe"):
        artifacts.evidence(PLACE) if below else artifacts.manifest(PLACE)

    assert time.monotonic() - started < 1


def test_a_huge_file_is_refused_by_name_without_being_read(
    governed: Governed, artifacts: ServerArtifacts
) -> None:
    with _evidence(governed, "sbom.cdx.json").open("wb") as file:
        file.truncate(200 * 1024 * 1024)
    started = time.monotonic()

    with pytest.raises(VerificationError, match=r"sbom\.cdx\.json has 209715200 bytes"):
        artifacts.evidence(PLACE)

    assert time.monotonic() - started < 1


def test_files_are_bounded_together_too(governed: Governed, artifacts: ServerArtifacts) -> None:
    for number in range(3):
        with _evidence(governed, f"{number}.json").open("wb") as file:
            file.truncate(MAX_ITEM_BYTES)

    with pytest.raises(VerificationError, match="of all"):
        artifacts.evidence(PLACE)


def test_a_flood_of_files_is_refused(governed: Governed, artifacts: ServerArtifacts) -> None:
    for number in range(1000):
        _evidence(governed, f"{number}.json")

    with pytest.raises(VerificationError, match="more than 64 files"):
        artifacts.evidence(PLACE)


@pytest.mark.parametrize("name", ["a\\b", "x/" * 300 + "y" * 200 + "/" + "z" * 250])
def test_an_unusable_name_is_refused(
    governed: Governed, artifacts: ServerArtifacts, name: str
) -> None:
    _evidence(governed, name)

    with pytest.raises(VerificationError, match=r"unsafe file name|characters"):
        artifacts.evidence(PLACE)


def test_a_name_that_is_not_utf8_is_refused(governed: Governed, artifacts: ServerArtifacts) -> None:
    folder = os.fsencode(_evidence(governed))
    os.close(os.open(folder + b"/\xff.json", os.O_CREAT | os.O_WRONLY, 0o600))

    with pytest.raises(VerificationError, match="unsafe file name"):
        artifacts.evidence(PLACE)


def test_attaching_twice_leaves_the_newer_bytes(
    governed: Governed, artifacts: ServerArtifacts
) -> None:
    for data in (b"old", b"new"):
        artifacts.attach(
            PLACE, "governance/churn/v1", [Attachment("decisions/accept-1.vsa.json", data)]
        )

    path = governed.artifacts / PLACE / "governance/churn/v1/decisions/accept-1.vsa.json"
    assert path.read_bytes() == b"new"
