from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from mlflow_governance.errors import (
    ConfigurationError,
    GovernanceError,
    InvalidRequest,
    Unavailable,
    VerificationError,
)
from mlflow_governance.evidence.keyless import verify_keyless
from mlflow_governance.submission import keyless
from mlflow_governance.submission.keyless import TOKEN_VARIABLE, KeylessKey
from tests.sigstore.private import PrivateSigstore

TRAINER = "trainer@example.com"
STATEMENT = json.dumps(
    {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "churn", "digest": {"sha256": "ab" * 32}}],
        "predicateType": "https://example.com/p/v1",
        "predicate": {},
    },
    indent=3,
).encode()


@pytest.fixture
def sigstore(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PrivateSigstore]:
    for variable in ("GITHUB_ACTIONS", "GITLAB_CI", "CIRCLECI", "BUILDKITE", TOKEN_VARIABLE):
        monkeypatch.delenv(variable, raising=False)
    with PrivateSigstore(tmp_path / "sigstore") as running:
        yield running


def signer(sigstore: PrivateSigstore, token: str | None = None) -> KeylessKey:
    variables = {TOKEN_VARIABLE: sigstore.token(TRAINER) if token is None else token}
    return KeylessKey(sigstore.client_trust_config, environment=variables)


def certificate_of(bundle: bytes) -> Any:
    return json.loads(bundle)["verificationMaterial"]["certificate"]


def test_the_bytes_given_are_the_bytes_signed(sigstore: PrivateSigstore) -> None:
    bundle = signer(sigstore).sign_dsse(STATEMENT)
    proof = verify_keyless(bundle, TRAINER, sigstore.issuer, sigstore.trusted_root)
    assert proof.payload == STATEMENT
    document = json.loads(bundle)
    assert document["mediaType"] == "application/vnd.dev.sigstore.bundle.v0.3+json"


def test_the_token_may_be_in_a_file(sigstore: PrivateSigstore, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(sigstore.token(TRAINER) + "\n")
    key = KeylessKey(sigstore.client_trust_config, token, {TOKEN_VARIABLE: "not looked at"})
    assert verify_keyless(key.sign_dsse(STATEMENT), TRAINER, sigstore.issuer, sigstore.trusted_root)


def test_the_identity_of_a_ci_job_is_found(
    sigstore: PrivateSigstore, monkeypatch: pytest.MonkeyPatch
) -> None:
    workload = "https://example.com/team/train@main"
    monkeypatch.setenv("GITLAB_CI", "true")
    monkeypatch.setenv("SIGSTORE_ID_TOKEN", sigstore.token(workload))
    bundle = KeylessKey(sigstore.client_trust_config, environment={}).sign_dsse(STATEMENT)
    assert verify_keyless(bundle, workload, sigstore.issuer, sigstore.trusted_root)


def test_one_certificate_serves_until_it_expires(sigstore: PrivateSigstore) -> None:
    sigstore.fulcio.lifetime = timedelta(seconds=1)
    key = signer(sigstore)
    first = certificate_of(key.sign_dsse(STATEMENT))
    time.sleep(2.1)
    sigstore.fulcio.lifetime = timedelta(minutes=10)
    second, third = (certificate_of(key.sign_dsse(STATEMENT)) for _ in range(2))
    assert first != second == third


def test_without_an_identity_the_ways_to_give_one_are_named(sigstore: PrivateSigstore) -> None:
    with pytest.raises(InvalidRequest, match="no identity") as caught:
        signer(sigstore, "").sign_dsse(STATEMENT)
    assert "--identity-token" in caught.value.advice
    assert TOKEN_VARIABLE in caught.value.advice


@pytest.mark.parametrize(
    "claims", [{"exp": 1}, {"aud": "somebody else"}, {"nbf": 2**33}, {"sub": None}]
)
def test_a_token_of_no_use_is_refused_before_it_is_sent(
    sigstore: PrivateSigstore, claims: dict[str, Any]
) -> None:
    token = sigstore.token(TRAINER, **claims)
    with pytest.raises(InvalidRequest, match="of no use") as caught:
        signer(sigstore, token).sign_dsse(STATEMENT)
    assert token not in str(caught.value)


@pytest.mark.parametrize("token", ["junk", "a.b.c", "é", "x" * 100_000])
def test_a_token_that_is_none_is_refused(sigstore: PrivateSigstore, token: str) -> None:
    with pytest.raises(InvalidRequest, match="of no use") as caught:
        signer(sigstore, token).sign_dsse(STATEMENT)
    assert "x" * 300 not in str(caught.value)


def test_a_token_file_that_cannot_be_read_is_named(
    sigstore: PrivateSigstore, tmp_path: Path
) -> None:
    huge = tmp_path / "huge"
    huge.write_bytes(b"x" * (64 * 1024 + 1))
    for path, told in ((tmp_path / "absent", "cannot be read"), (huge, "over")):
        with pytest.raises(ConfigurationError, match=told):
            KeylessKey(sigstore.client_trust_config, path).sign_dsse(STATEMENT)


@pytest.mark.parametrize(
    ("payload", "kind"),
    [
        (b"", keyless.IN_TOTO),
        (b"{}", keyless.IN_TOTO),
        (STATEMENT.replace(b"ab", b"zz"), "text/plain"),
        (STATEMENT.replace(b"Statement/v1", b"Statement/v9"), keyless.IN_TOTO),
    ],
)
def test_only_in_toto_statements_are_signed(
    sigstore: PrivateSigstore, payload: bytes, kind: str
) -> None:
    with pytest.raises(InvalidRequest):
        signer(sigstore).sign_dsse(payload, kind)


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b" " * (2 * 1024 * 1024 + 1)])
def test_a_trust_config_that_cannot_be_read_is_named(
    sigstore: PrivateSigstore, tmp_path: Path, content: bytes
) -> None:
    config = tmp_path / "config.json"
    config.write_bytes(content)
    key = KeylessKey(config, environment={TOKEN_VARIABLE: sigstore.token(TRAINER)})
    with pytest.raises(ConfigurationError, match="trust config"):
        key.sign_dsse(STATEMENT)


def test_a_trusted_root_alone_is_not_enough_to_sign(sigstore: PrivateSigstore) -> None:
    key = KeylessKey(sigstore.trusted_root, environment={TOKEN_VARIABLE: sigstore.token(TRAINER)})
    with pytest.raises(ConfigurationError, match="trust config"):
        key.sign_dsse(STATEMENT)


def test_a_certificate_that_no_ct_log_promised_is_not_used(sigstore: PrivateSigstore) -> None:
    sigstore.fulcio.logged = False
    with pytest.raises(VerificationError, match="not what the trust config trusts"):
        signer(sigstore).sign_dsse(STATEMENT)


def with_service(sigstore: PrivateSigstore, folder: Path, service: str, url: str) -> Path:
    document = json.loads(sigstore.client_trust_config.read_bytes())
    document["signingConfig"][service][0]["url"] = url
    config = folder / "changed.json"
    config.write_text(json.dumps(document))
    return config


@pytest.mark.parametrize("service", ["caUrls", "rekorTlogUrls", "tsaUrls"])
def test_a_service_that_is_away_is_unavailable(
    sigstore: PrivateSigstore, tmp_path: Path, service: str
) -> None:
    config = with_service(sigstore, tmp_path, service, "http://127.0.0.1:1")
    key = KeylessKey(config, environment={TOKEN_VARIABLE: sigstore.token(TRAINER)})
    with pytest.raises(Unavailable):
        key.sign_dsse(STATEMENT)


def test_a_service_that_never_answers_is_left(
    sigstore: PrivateSigstore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keyless, "_DEADLINE", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        config = with_service(sigstore, tmp_path, "caUrls", url)
        key = KeylessKey(config, environment={TOKEN_VARIABLE: sigstore.token(TRAINER)})
        with pytest.raises(Unavailable, match="did not sign within"):
            key.sign_dsse(STATEMENT)


def test_the_token_is_in_no_error_nor_in_the_keys_picture(sigstore: PrivateSigstore) -> None:
    token = sigstore.token(TRAINER)
    key = signer(sigstore, token)
    sigstore.stop()
    with pytest.raises(GovernanceError) as caught:
        key.sign_dsse(STATEMENT)
    assert token not in str(caught.value)
    assert token not in repr(key)
