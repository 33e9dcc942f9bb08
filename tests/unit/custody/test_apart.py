"""Every purpose has a key of its own, and nobody else reads or exchanges it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from mlflow_governance.bootstrap import policy_keys, prepare_home
from mlflow_governance.cli.main import cli
from mlflow_governance.core.dossier import Status
from mlflow_governance.custody import apart
from mlflow_governance.custody import ledger as custody
from mlflow_governance.custody.files import require_private
from mlflow_governance.errors import ConfigurationError
from mlflow_governance.evidence.examiner import default_verifiers
from mlflow_governance.evidence.keys import generate_key_pair
from mlflow_governance.evidence.live import LiveExaminer
from tests.unit.custody.builders import Site, fill, site
from tests.unit.evidence.builders import MANIFEST


@pytest.fixture
def place(tmp_path: Path) -> Site:
    made = site(tmp_path)
    fill(made.server())
    return made


def trust(place: Site, public: str, purpose: str = "signature") -> None:
    key = "".join(f"      {line}\n" for line in public.splitlines())
    place.settings.trust_file.write_text(
        f"version: 1\nsigners:\n  - name: ci\n    for: [{purpose}]\n    key: |\n{key}"
    )


def test_ledger_and_registry_are_not_one_key_in_two_files(place: Site) -> None:
    keys = place.home / "keys"
    for suffix in ("pem", "pub"):
        shutil.copy(keys / f"ledger.{suffix}", keys / f"registry.{suffix}")

    with pytest.raises(ConfigurationError, match="use the same key"):
        place.server()


def test_a_reference_to_a_file_that_is_another_key_already_is_refused(place: Site) -> None:
    place.configure("registry_key: keys/ledger.pem\n")
    (place.home / "keys" / "registry.pub").unlink()

    with pytest.raises(ConfigurationError, match="use the same key"):
        place.server()


def test_a_retired_ledger_key_does_not_become_the_registry_s(place: Site) -> None:
    history = place.rotate()
    keys = place.home / "keys"
    retired = custody.retired_place(keys / "ledger.pem", history.keys[0])
    retired.replace(keys / "registry.pem")
    (keys / "registry.pub").write_bytes(history.keys[0].pem)

    with pytest.raises(ConfigurationError, match="use the same key"):
        place.server()


@pytest.mark.parametrize("name", ["ledger.pub", "registry.pub"])
def test_no_signer_has_a_key_of_the_installation(place: Site, name: str) -> None:
    trust(place, (place.home / "keys" / name).read_text())

    with pytest.raises(ConfigurationError, match="'ci' sign evidence"):
        place.server()


def test_nor_a_key_the_ledger_had(place: Site) -> None:
    old = place.rotate().keys[0]
    trust(place, old.pem.decode())

    with pytest.raises(ConfigurationError, match="with the ledger's key"):
        place.server()


def certificate(key: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "ca")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=9))
        .sign(key, None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256())
    )
    return made.public_bytes(form.Encoding.PEM)


def test_a_certificate_over_a_key_of_the_installation_is_that_key(place: Site) -> None:
    pem = (place.home / "keys" / "registry.pem").read_bytes()
    key = form.load_pem_private_key(pem, None)
    assert isinstance(key, ed25519.Ed25519PrivateKey)
    (place.home / "ca.pem").write_bytes(certificate(key))
    place.settings.trust_file.write_text(
        "version: 1\nsigners:\n  - name: lab\n    for: [signature]\n    certificate:\n"
        "      identity: lab@acme.example\n      roots: {file: ca.pem}\n"
    )

    with pytest.raises(ConfigurationError, match="'lab' sign evidence with the registry's key"):
        place.server()


def test_an_edited_trust_file_trusts_nobody_as_long_as_it_names_a_key_of_ours(place: Site) -> None:
    settings = place.settings
    examiner = LiveExaminer(
        settings.trust_file,
        default_verifiers(settings.advisories),
        lambda policy: apart.refuse_own(policy, apart.own_keys(settings)),
    )
    assert "problem" not in examiner.trust_document

    trust(place, (place.home / "keys" / "registry.pub").read_text(), "signature, policy")

    assert "with the registry's key" in str(examiner.trust_document["problem"])
    outcomes = examiner.examine(MANIFEST, "churn", [], datetime.now(UTC))
    assert {outcome.status for outcome in outcomes.values()} == {Status.ERROR}
    with pytest.raises(ConfigurationError, match="with the registry's key"):
        policy_keys(settings)


def test_trust_add_refuses_a_key_of_ours(place: Site) -> None:
    before = place.settings.trust_file.read_bytes()
    where = ["--for", "signature", "--home", str(place.home)]
    for name in ("ledger.pub", "registry.pub"):
        done = CliRunner().invoke(
            cli,
            ["trust", "add", "ci", *where, "--key", str(place.home / "keys" / name)],
        )
        assert isinstance(done.exception, ConfigurationError)
    assert place.settings.trust_file.read_bytes() == before


def open_to_the_group(path: Path) -> Path:
    path.chmod(0o640)
    return path


def open_to_all(path: Path) -> Path:
    path.chmod(0o604)
    return path


def linked(path: Path) -> Path:
    elsewhere = path.with_name("elsewhere")
    path.rename(elsewhere)
    path.symlink_to(elsewhere)
    return path


def in_an_open_folder(path: Path) -> Path:
    path.parent.chmod(0o770)
    return path


def in_an_open_home(path: Path) -> Path:
    path.parent.parent.chmod(0o777)
    return path


@pytest.mark.parametrize(
    ("damage", "said", "mend"),
    [
        (open_to_the_group, "open to other users", "chmod 600 {path}"),
        (open_to_all, "open to other users", "chmod 600 {path}"),
        (linked, "is a link", "cp --remove-destination {path.parent}/elsewhere {path}"),
        (in_an_open_folder, "other users may write", "chmod go-w {path.parent}"),
        (in_an_open_home, "other users may write", "chmod go-w {path.parent.parent}"),
    ],
)
@pytest.mark.parametrize("name", ["ledger.pem", "registry.pem", "decision-log.salt", "flask.key"])
def test_secrets_that_are_not_private_stop_the_start_with_the_command_that_mends_them(
    place: Site, name: str, damage: Callable[[Path], Path], said: str, mend: str
) -> None:
    path = place.home / "keys" / name
    if not path.exists():
        path.touch(0o600)
    path = damage(path)

    with pytest.raises(ConfigurationError, match=said) as caught:
        prepare_home(place.settings)
    assert mend.format(path=path) in caught.value.advice
    path.parent.chmod(0o700)
    path.parent.parent.chmod(0o700)


def test_a_retired_key_is_kept_private_too(place: Site) -> None:
    history = place.rotate()
    custody.retired_place(place.home / "keys" / "ledger.pem", history.keys[0]).chmod(0o644)

    with pytest.raises(ConfigurationError, match="retired is open"):
        place.server()


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root gives files away")
def test_a_key_of_another_user_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    generate_key_pair(tmp_path / "k.pem")
    os.chown(tmp_path / "k.pem", 12345, -1)

    with pytest.raises(ConfigurationError, match="uid 12345") as caught:
        require_private(tmp_path / "k.pem")
    assert caught.value.advice == f"chown 0 {tmp_path}/k.pem"


def test_what_is_no_file_is_no_key(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent"):
        with pytest.raises(ConfigurationError):
            require_private(path)
