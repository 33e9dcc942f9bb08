from __future__ import annotations

import io
import json
import os
import shutil
import tarfile
from pathlib import Path

import pytest

from mlflow_governance.core import canonical, digest
from mlflow_governance.core.resources import folder
from mlflow_governance.errors import ConfigurationError
from mlflow_governance.policy import bundle as bundles
from mlflow_governance.policy.bundle import Bundle, from_files, load
from tests.unit.policy.builders import CONFIG, shipped

REGO = "registry/accept/accept.rego"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder("policies"), tmp_path / "policies"))


def changed(**files: bytes | None) -> dict[str, bytes]:
    kept = {**shipped().files, **files}
    return {name: data for name, data in kept.items() if data is not None}


def refused(files: dict[str, bytes], why: str) -> None:
    with pytest.raises(ConfigurationError, match=why):
        from_files(files)


def packed(tmp_path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    path = tmp_path / "bundle.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        for member, data in members:
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def test_the_digest_is_over_names_and_contents_of_what_decides() -> None:
    files = shipped().files
    entries = [{"name": n, "sha256": digest.of_bytes(d)[7:]} for n, d in sorted(files.items())]

    assert shipped().digest == digest.of_bytes(canonical.encode(entries))
    assert set(files) >= {".manifest", "dossier.schema.json", CONFIG, REGO}
    assert not any(name.startswith("tests/") or name.endswith(".md") for name in files)


def test_tests_documentation_and_the_revision_do_not_change_the_digest(copy: Path) -> None:
    (copy / "README.md").write_text("other words")
    shutil.rmtree(copy / "tests")
    manifest = json.loads((copy / ".manifest").read_text())
    (copy / ".manifest").write_text(json.dumps(manifest | {"revision": "elsewhere"}))

    assert load(copy).digest == shipped().digest


@pytest.mark.parametrize("name", [REGO, CONFIG, ".manifest", "dossier.schema.json"])
def test_anything_that_decides_changes_the_digest(copy: Path, name: str) -> None:
    text = (copy / name).read_text()
    (copy / name).write_text(
        text.replace("mlflow-governance", "x").replace("0.5", "0.6").replace("Policies", "x")
    )

    assert load(copy).digest != shipped().digest


def test_an_archive_is_reproducible_and_is_the_same_policy(tmp_path: Path) -> None:
    path = tmp_path / "bundle.tar.gz"
    path.write_bytes(shipped().archive())

    assert shipped().archive() == path.read_bytes()
    assert load(path) == shipped()
    with tarfile.open(path) as tar:
        manifest = json.load(tar.extractfile(".manifest"))  # type: ignore[arg-type]
    assert manifest["revision"] == shipped().digest


def test_names_as_opa_build_writes_them_are_understood(tmp_path: Path) -> None:
    members = [(tarfile.TarInfo("/" + n), d) for n, d in shipped().files.items()]

    assert load(packed(tmp_path, *members)).digest == shipped().digest


@pytest.mark.parametrize(
    "document",
    [{"accept": 5}, {"accept": {}}, {"accept": {"decision": {"allow": True}}}, {"lib": {"x": 1}}],
)
def test_data_where_a_rule_stands_is_refused(document: dict[str, object]) -> None:
    refused(changed(**{"registry/data.json": json.dumps(document).encode()}), "would hide rules")


def test_data_above_a_package_is_refused() -> None:
    refused(changed(**{"data.json": b'{"registry": 5}', CONFIG: None}), "would hide rules")


def test_data_set_twice_is_refused() -> None:
    refused(changed(**{"registry/data.json": b'{"config": {"waivers": []}}'}), "a second time")


def test_data_and_packages_outside_the_roots_are_refused() -> None:
    refused(changed(**{"data.json": b'{"system": {"x": 1}}'}), "outside the roots")
    refused(changed(**{"registry/x.rego": b"package system.log\n"}), "outside the roots")


@pytest.mark.parametrize(
    "name",
    ["../x.rego", "/x.rego", "a//x.rego", "a/./x.rego", ".x.rego", "a\\x.rego", "x\n.rego",
     "é.rego", "a b.rego", "-x.rego", ""],
)  # fmt: skip
def test_a_file_name_with_a_second_reading_is_refused(name: str) -> None:
    refused(changed(**{name: b"package registry.x\n"}), "more than one reading")


@pytest.mark.parametrize("name", ["registry/data.yaml", "policy.wasm", "registry/x.json", "x.sh"])
def test_a_file_only_one_engine_would_read_is_refused(name: str) -> None:
    refused(changed(**{name: b"{}"}), "not every engine would read it")


def test_a_test_among_the_policies_is_refused() -> None:
    refused(changed(**{"registry/x_test.rego": b"package registry.x\n"}), "tests stand in tests/")


def test_names_that_differ_in_case_are_refused() -> None:
    refused(
        changed(**{REGO.replace("accept.", "Accept."): b"package registry.x\n"}), "only in case"
    )


def test_no_rego_is_refused() -> None:
    refused({".manifest": b'{"roots": ["registry"], "rego_version": 1}'}, "holds no Rego")


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"\xff", "not UTF-8"),
        (b"package registry.x\n\0", "NUL"),
        (b"\xef\xbb\xbfpackage registry.x\n", "byte order mark"),
        (b"x := 1\n", "package clause"),
        (b'package registry["accept"]\n', "package clause"),
        (b"package registry.x\n" + b"#" * bundles.MAX_FILE_BYTES, "bytes"),
    ],
)
def test_a_module_that_can_be_misread_is_refused(data: bytes, why: str) -> None:
    refused(changed(**{"registry/x.rego": data}), why)


@pytest.mark.parametrize(
    ("manifest", "why"),
    [
        (None, "has no .manifest"),
        (b"[]", "not a JSON object"),
        (b"{", "not valid JSON"),
        (b'{"rego_version": 1}', "no roots"),
        (b'{"roots": [""], "rego_version": 1}', "no roots"),
        (b'{"roots": ["registry"]}', "rego_version 1"),
        (b'{"roots": ["a"], "roots": ["registry"], "rego_version": 1}', "same key twice"),
    ],
)
def test_a_manifest_that_leaves_a_choice_is_refused(manifest: bytes | None, why: str) -> None:
    refused(changed(**{".manifest": manifest}), why)


def test_too_many_files_are_refused() -> None:
    many = {f"registry/x{i}.rego": b"package registry.x\n" for i in range(bundles.MAX_FILES)}
    refused(changed(**many), "more than 500 files")


def test_symbolic_links_are_refused(copy: Path) -> None:
    (copy / "registry" / "more").symlink_to(copy / "tests")

    with pytest.raises(ConfigurationError, match="symbolic link"):
        load(copy)


def test_a_pipe_is_refused_rather_than_waited_for(copy: Path) -> None:
    os.mkfifo(copy / "registry" / "x.rego")

    with pytest.raises(ConfigurationError, match="not a regular file"):
        load(copy)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE])
def test_an_archive_with_a_link_or_device_is_refused(tmp_path: Path, kind: bytes) -> None:
    member = tarfile.TarInfo("registry/x.rego")
    member.type, member.linkname = kind, "/etc/passwd"

    with pytest.raises(ConfigurationError, match="link, a device"):
        load(packed(tmp_path, (member, b"")))


def test_an_archive_with_a_file_twice_is_refused(tmp_path: Path) -> None:
    twice = [(tarfile.TarInfo(REGO), b"package registry.accept\n")] * 2

    with pytest.raises(ConfigurationError, match="twice"):
        load(packed(tmp_path, *twice))


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    zeros = b"\0" * (3 * bundles.MAX_TOTAL_BYTES)

    with pytest.raises(ConfigurationError, match="unpacks to more"):
        load(packed(tmp_path, (tarfile.TarInfo("x.rego"), zeros)))


@pytest.mark.parametrize("data", [b"", b"not an archive", b"\x1f\x8b\x08\0garbage"])
def test_bytes_that_are_no_archive_are_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "bundle.tar.gz"
    path.write_bytes(data)

    with pytest.raises(ConfigurationError):
        load(path)


@pytest.mark.parametrize("length", range(0, 6000, 487))
def test_a_truncated_archive_is_refused(tmp_path: Path, length: int) -> None:
    path = tmp_path / "bundle.tar.gz"
    path.write_bytes(shipped().archive()[:length])

    with pytest.raises(ConfigurationError):
        load(path)


def test_a_missing_folder_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load(tmp_path / "nothing")


def test_a_bundle_cannot_be_changed() -> None:
    bundle: Bundle = shipped()

    with pytest.raises(TypeError):
        bundle.files["x"] = b""  # type: ignore[index]
