"""Building, signing, verifying and showing a bundle at the command line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric import rsa

from mlflow_governance.cli.main import cli
from mlflow_governance.core.resources import folder
from mlflow_governance.errors import (
    ConfigurationError,
    InvalidRequest,
    Unavailable,
    VerificationError,
)
from mlflow_governance.evidence.keys import generate_key_pair
from mlflow_governance.policy import bundle as bundles
from tests.unit.policy import https_server

POLICIES = folder("policies")
DIGEST = bundles.load(POLICIES).digest


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home folder as the first start leaves it."""
    made = tmp_path / "home"
    for name in ("ledger", "registry"):
        generate_key_pair(made / "keys" / f"{name}.pem", algorithm="ed25519")
    (made / "trust.yaml").write_text("version: 1\nsigners: []\n")
    return made


@pytest.fixture
def key(tmp_path: Path) -> Path:
    generate_key_pair(tmp_path / "security.pem")
    return tmp_path / "security.pem"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["policy", *map(str, arguments)])


def trust(home: Path, public: Path, name: str = "security", *more: str) -> None:
    arguments = ["trust", "add", name, "--key", str(public), "--for", "policy", *more]
    done = CliRunner().invoke(cli, [*arguments, "--home", str(home)])
    assert done.exception is None, done.exception


def built(place: Path, *more: object) -> Path:
    path = place / "b.tar.gz"
    done = run("build", "--bundle", POLICIES, "-o", path, *more)
    assert (done.output, done.exception) == (f"{DIGEST}\n", None)
    return path


def signed(place: Path, key: Path) -> Path:
    return built(place, "--key", key, "--key-id", "security")


def test_two_builds_have_the_same_bytes_wherever_the_folder_is(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(POLICIES, elsewhere)
    first = built(tmp_path).read_bytes()
    (elsewhere / "NOTES.md").write_text("of no weight")

    assert run("build", "--bundle", elsewhere, "-o", tmp_path / "c.tar.gz").output == f"{DIGEST}\n"
    assert (tmp_path / "c.tar.gz").read_bytes() == first
    assert not any(name.startswith("tests/") for name in bundles.read(tmp_path / "c.tar.gz"))


def test_what_was_built_is_built_again_from_itself(tmp_path: Path) -> None:
    path = built(tmp_path)

    run("build", "--bundle", path, "-o", tmp_path / "again.tar.gz")

    assert (tmp_path / "again.tar.gz").read_bytes() == path.read_bytes()


def test_what_was_built_with_a_key_is_signed(tmp_path: Path, key: Path, home: Path) -> None:
    path = signed(tmp_path, key)

    assert run("verify", path, "--key", key.with_suffix(".pub")).output == (
        f"{DIGEST} is signed by security.pub\n"
    )
    assert isinstance(run("verify", path, "--home", home).exception, VerificationError)
    trust(home, key.with_suffix(".pub"))
    assert run("verify", path, "--home", home).output == f"{DIGEST} is signed by security\n"


def test_a_file_is_signed_in_place_and_stays_readable(tmp_path: Path, key: Path) -> None:
    path = built(tmp_path)

    for _ in range(2):  # the second signature replaces the first
        done = run("sign", "--bundle", path, "--key", key, "--key-id", "security")
        assert done.output == f"{path}: {DIGEST} signed by security\n"

    assert run("verify", path, "--key", key.with_suffix(".pub")).exit_code == 0
    assert path.stat().st_mode & 0o777 == 0o644
    assert bundles.load(path).digest == DIGEST


def test_a_folder_is_signed_with_all_that_is_in_it(tmp_path: Path, key: Path) -> None:
    mine = tmp_path / "mine"
    shutil.copytree(POLICIES, mine)
    assert run("sign", "--bundle", mine, "--key", key, "--key-id", "s").exception is None
    assert run("verify", mine, "--key", key.with_suffix(".pub")).exception is None

    (mine / "README.md").write_text("something else")

    done = run("verify", mine, "--key", key.with_suffix(".pub"))
    assert isinstance(done.exception, VerificationError)


def test_an_rsa_key_signs_bundles_and_is_trusted_for_nothing_else(
    tmp_path: Path, home: Path
) -> None:
    key, path = rsa.generate_private_key(65537, 2048), tmp_path / "rsa.pem"
    path.write_bytes(
        key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
    )
    path.chmod(0o600)
    public = key.public_key().public_bytes(
        form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo
    )
    (tmp_path / "rsa.pub").write_bytes(public)
    bundle = signed(tmp_path, path)

    trust(home, tmp_path / "rsa.pub")

    assert run("verify", bundle, "--home", home).output == f"{DIGEST} is signed by security\n"
    for purposes in ("signature", "policy,signature"):
        arguments = ["trust", "add", "x", "--key", str(tmp_path / "rsa.pub"), "--for", purposes]
        done = CliRunner().invoke(cli, [*arguments, "--home", str(home)])
        assert isinstance(done.exception, ConfigurationError)
    path.chmod(0o644)
    done = run("sign", "--bundle", bundle, "--key", path, "--key-id", "security")
    assert isinstance(done.exception, ConfigurationError)


def test_an_expired_signer_does_not_count(tmp_path: Path, key: Path, home: Path) -> None:
    bundle = signed(tmp_path, key)
    trust(home, key.with_suffix(".pub"), "security", "--until", "2026-01-02T00:00:00Z")

    done = run("verify", bundle, "--home", home)

    assert isinstance(done.exception, VerificationError)
    assert "expired" in done.exception.message


def test_a_withdrawn_signer_does_not_count(tmp_path: Path, key: Path, home: Path) -> None:
    bundle = signed(tmp_path, key)
    trust(home, key.with_suffix(".pub"))
    CliRunner().invoke(
        cli, ["trust", "withdraw", "security", "--reason", "gone", "--home", str(home)]
    )

    done = run("verify", bundle, "--home", home)

    assert isinstance(done.exception, VerificationError)
    assert "gone" in done.exception.message


@pytest.mark.parametrize("pattern", ["churn-*", "?", "[!a]"])
def test_a_signer_trusted_for_some_models_signs_no_policy_of_all(
    tmp_path: Path, key: Path, home: Path, pattern: str
) -> None:
    bundle = signed(tmp_path, key)
    trust(home, key.with_suffix(".pub"), "security", "--models", pattern)

    assert isinstance(run("verify", bundle, "--home", home).exception, VerificationError)


def test_a_signer_trusted_for_evidence_signs_no_policy(
    tmp_path: Path, key: Path, home: Path
) -> None:
    bundle = signed(tmp_path, key)
    public = str(key.with_suffix(".pub"))
    arguments = ["trust", "add", "security", "--key", public, "--for", "signature,sbom,registry"]
    CliRunner().invoke(cli, [*arguments, "--home", str(home)])

    assert isinstance(run("verify", bundle, "--home", home).exception, VerificationError)


def test_the_scope_is_signed_and_asked_for(tmp_path: Path, key: Path) -> None:
    public = key.with_suffix(".pub")
    path = built(tmp_path, "--key", key, "--key-id", "s", "--scope", "registry")

    assert run("verify", path, "--key", public, "--scope", "registry").exception is None
    assert isinstance(run("verify", path, "--key", public).exception, VerificationError)


def test_half_a_key_is_no_key(tmp_path: Path, key: Path) -> None:
    for half in (["--key", key], ["--key-id", "security"]):
        done = run("build", "--bundle", POLICIES, "-o", tmp_path / "b", *half)
        assert isinstance(done.exception, InvalidRequest)
    assert not (tmp_path / "b").exists()


def test_the_home_says_where_its_policies_come_from(tmp_path: Path, key: Path, home: Path) -> None:
    assert "signer: not asked for" in run("show", "--home", home).output

    signed(home, key)
    (home / "config.yaml").write_text("policies: b.tar.gz\npolicy_signed: true\n")
    trust(home, key.with_suffix(".pub"))
    shown = run("show", "--home", home).output

    assert f"from:   {home / 'b.tar.gz'}\ndigest: {DIGEST}\nsigner: security\n" in shown
    document = json.loads(run("show", "--json", "--home", home).output)
    assert document["signer"] == "security"
    assert set(document["gates"]) == {"accept", "promote", "download", "alias", "withdraw"}
    # One that only an allowed dossier shows: an empty one is asked fewer checks.
    assert document["gates"]["download"] >= 5


def test_a_home_that_asks_for_a_signature_takes_nothing_unsigned(home: Path) -> None:
    built(home)
    (home / "config.yaml").write_text("policies: b.tar.gz\npolicy_signed: true\n")

    for command in (["show"], ["check"], ["build", "-o", home / "c.tar.gz"]):
        done = run(*command, "--home", home)
        assert isinstance(done.exception, VerificationError)


@pytest.mark.parametrize(
    "text",
    [
        "policies: s3://bucket/b.tar.gz",
        "policies: http://bundles.example/b.tar.gz",
        "policies: 7",
        "policies: https://h/b\npolicy_ca_file: absent.pem",
        "policies: https://h/b\npolicy_token_variable: NOT_SET_ANYWHERE",
        "policy_signed: maybe",
    ],
)
def test_settings_that_cannot_be_kept_are_refused(home: Path, text: str) -> None:
    (home / "config.yaml").write_text(text)

    assert isinstance(run("show", "--home", home).exception, ConfigurationError)


def test_policies_from_a_web_server_are_shown_with_their_signer_and_when_they_are_kept_ones(
    tmp_path: Path, key: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trust(home, key.with_suffix(".pub"))
    body = signed(tmp_path, key).read_bytes()
    monkeypatch.setenv("BUNDLE_TOKEN", "s3cret")
    with https_server.serving(https_server.sends(body), tmp_path / "tls") as server:
        (home / "config.yaml").write_text(
            f"policies: {server.url}\n"
            f"policy_ca_file: {server.ca_file}\n"
            "policy_token_variable: BUNDLE_TOKEN\n"
        )
        assert json.loads(run("show", "--json", "--home", home).output)["stale"] == ""
        assert server.asked[0]["Authorization"] == "Bearer s3cret"
        server.act = https_server.sends(b"", 503)

        shown = run("show", "--home", home).output
        assert "the kept copy: the policy bundle cannot be fetched" in shown
        assert "signer: security" in shown
        found = CliRunner().invoke(cli, ["doctor", "--home", str(home)]).output
        assert f"policy: {DIGEST} on regorus" in found
        assert ", signed by security" in found
        assert "warning  policy: the kept copy" in found


def test_policies_from_an_image_are_found_beside_the_settings(home: Path) -> None:
    (home / "config.yaml").write_text("policies: oci:image:latest\n")

    done = run("show", "--home", home)

    assert isinstance(done.exception, Unavailable)
    assert str(home / "image") in done.exception.message
