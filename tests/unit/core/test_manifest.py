import pytest

from mlflow_governance.core.manifest import FileEntry, Manifest, is_evidence
from mlflow_governance.errors import VerificationError

A = FileEntry("MLmodel", 3, "a" * 64)
B = FileEntry("data/weights.bin", 5, "b" * 64)


def test_the_digest_binds_file_names() -> None:
    renamed = [FileEntry("x-MLmodel", A.size, A.sha256), B]

    assert Manifest.of([A, B]).digest != Manifest.of(renamed).digest


def test_the_order_of_files_does_not_matter() -> None:
    assert Manifest.of([A, B]).digest == Manifest.of([B, A]).digest


def test_an_empty_model_is_refused() -> None:
    with pytest.raises(VerificationError, match="no file"):
        Manifest.of([])


def test_a_file_named_twice_is_refused() -> None:
    with pytest.raises(VerificationError, match="twice"):
        Manifest.of([A, FileEntry("MLmodel", 4, "c" * 64)])


@pytest.mark.parametrize(
    "name", ["", "/etc/passwd", "../x", "a/../b", "a//b", "./a", "a/", "a\\b", "a\0b", ".."]
)
def test_unsafe_names_are_refused(name: str) -> None:
    with pytest.raises(VerificationError, match="unsafe file name"):
        Manifest.of([FileEntry(name, 1, "a" * 64)])


def test_differences_name_each_file() -> None:
    before = Manifest.of([A, B])
    after = Manifest.of([FileEntry("MLmodel", 3, "c" * 64), FileEntry("new", 1, "d" * 64)])

    assert before.differences(after) == [
        "file changed: MLmodel",
        "file missing: data/weights.bin",
        "file added: new",
    ]


def test_a_manifest_reads_back_from_its_document() -> None:
    manifest = Manifest.of([A, B])

    assert Manifest.from_document(manifest.to_document()) == manifest


@pytest.mark.parametrize(
    "document",
    [
        *(None, [{}], [1], "x", [{"name": "../x", "size": 1, "sha256": ""}]),
        [{"name": None, "size": 1, "sha256": ""}],
        [{"name": "x", "size": "1", "sha256": ""}, {"name": "x", "size": 1, "sha256": ""}],
        [{"name": "x", "size": 1, "sha256": []}],
    ],
)
def test_a_malformed_stored_manifest_is_refused(document: object) -> None:
    with pytest.raises(VerificationError):
        Manifest.from_document(document)


def test_only_the_evidence_folder_itself_is_evidence() -> None:
    assert is_evidence("governance/evidence/model.sig")
    assert not is_evidence("governance-notes.txt")
    assert not is_evidence("data/governance/x")
