"""Signed bundles: whoever is trusted, over exactly these files, and nothing else."""

from __future__ import annotations

import base64
import json
from datetime import timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from mlflow_governance.errors import ConfigurationError, GovernanceError, VerificationError
from mlflow_governance.policy import signing
from mlflow_governance.policy.bundle import MANIFEST, SIGNATURES, from_files
from mlflow_governance.policy.file_hash import file_hash
from mlflow_governance.policy.signing import SigningKey, TrustedKey
from tests.unit.policy.builders import shipped
from tests.unit.policy.signed import (
    NOW,
    private,
    private_pem,
    public_pem,
    signed_files,
    signer,
    trusted,
)

BUNDLE = shipped()
FILES = signed_files(BUNDLE)
KEYS = [trusted()]


def claims_of(files: dict[str, bytes]) -> dict[str, Any]:
    payload = json.loads(files[SIGNATURES])["signatures"][0].split(".")[1]
    document: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=="))
    return document


def with_claims(claims: object, **header: Any) -> dict[str, bytes]:
    """The files with other claims, truly signed by the trusted key."""
    payload = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
    pem = private_pem(private())
    token = jwt.PyJWS().encode(payload, pem, "ES256", {"kid": "security", **header})
    return with_token(token)


def with_token(*tokens: object, **more: object) -> dict[str, bytes]:
    return {**FILES, SIGNATURES: json.dumps({"signatures": tokens, **more}).encode()}


def refuses(files: dict[str, bytes], word: str, keys: list[TrustedKey] | None = None) -> None:
    with pytest.raises(VerificationError, match=word):
        signing.verify(files, keys or KEYS, NOW)


@pytest.mark.parametrize("algorithm", ["ES256", "ES384", "ES512", "EdDSA", "RS256"])
def test_what_was_signed_verifies_with_keys_of_every_kind(algorithm: str) -> None:
    files = signed_files(BUNDLE, signer(algorithm))

    assert signing.verify(files, [trusted(algorithm)], NOW) == "security"
    assert jwt.get_unverified_header(json.loads(files[SIGNATURES])["signatures"][0]) == {
        "alg": algorithm,
        "kid": "security",
        "typ": "JWT",
    }


@pytest.mark.parametrize("algorithm", ["RS384", "RS512", "PS256", "PS384", "PS512"])
def test_every_algorithm_of_a_trusted_rsa_key_verifies(algorithm: str) -> None:
    pem = private_pem(private("RS256"))
    token = jwt.PyJWS().encode(json.dumps(claims_of(FILES)).encode(), pem, algorithm)

    assert signing.verify(with_token(token), [trusted("RS256")], NOW) == "security"


def test_the_signature_does_not_change_the_digest() -> None:
    assert from_files(FILES).digest == BUNDLE.digest


def test_signing_is_over_the_revision_too() -> None:
    manifest = json.loads(FILES[MANIFEST]) | {"revision": "another"}

    refuses({**FILES, MANIFEST: json.dumps(manifest).encode()}, "not what was signed")


def test_the_spelling_of_json_does_not_matter_as_in_opa() -> None:
    manifest = json.dumps(json.loads(FILES[MANIFEST]), indent=4).encode()

    assert signing.verify({**FILES, MANIFEST: manifest}, KEYS, NOW) == "security"


def test_who_is_not_signed_is_told_how_to_sign() -> None:
    files = {name: data for name, data in FILES.items() if name != SIGNATURES}

    with pytest.raises(VerificationError, match="not signed") as error:
        signing.verify(files, KEYS, NOW)
    assert "mlflow-governance policy sign" in error.value.advice


def test_nobody_is_trusted_until_named() -> None:
    with pytest.raises(VerificationError, match="nobody who is trusted") as error:
        signing.verify(FILES, [], NOW)
    assert "--for policy" in error.value.advice


def test_a_stranger_under_the_name_of_a_trusted_one_is_refused() -> None:
    stranger = signer("ES256", "stranger")
    posing = SigningKey("security", stranger.pem, stranger.make)

    refuses(signed_files(BUNDLE, posing), "nobody who is trusted")


def test_a_key_id_that_names_one_is_not_answered_by_another() -> None:
    both = [trusted(), trusted("ES256", "other")]
    posing = SigningKey("other", signer().pem, signer().make)

    refuses(signed_files(BUNDLE, posing), "nobody who is trusted", both)


@pytest.mark.parametrize("key_id", ["default", "", "who knows"])
def test_a_key_id_that_names_nobody_is_answered_by_whose_key_it_is(key_id: str) -> None:
    anonymous = SigningKey(key_id, signer().pem, signer().make)
    both = [trusted("ES256", "other"), trusted()]

    assert signing.verify(signed_files(BUNDLE, anonymous), both, NOW) == "security"


def test_a_signer_with_a_problem_does_not_count_and_the_problem_is_told() -> None:
    refuses(FILES, "was withdrawn", [trusted(problem="the key of security was withdrawn")])


def test_a_newer_entry_of_the_same_key_counts_beside_an_expired_one() -> None:
    keys = [trusted(problem="expired"), trusted()]

    assert signing.verify(FILES, keys, NOW) == "security"


def test_no_algorithm_but_those_of_the_key_counts() -> None:
    payload = json.dumps(claims_of(FILES)).encode()
    public = public_pem(private()).encode()
    header = base64.urlsafe_b64encode(b'{"alg":"none"}').rstrip(b"=").decode()
    body = base64.urlsafe_b64encode(payload).rstrip(b"=").decode()
    secret = base64.urlsafe_b64encode(public).rstrip(b"=").decode()

    refuses(with_token(f"{header}.{body}."), "nobody")
    refuses(with_token(jwt.PyJWS().encode(payload, "s" * 64, "HS256")), "nobody")
    refuses(with_token(f"{header}.{body}.{secret}"), "nobody")
    refuses(with_token(jwt.PyJWS().encode(payload, private_pem(private("RS256")), "RS256")), "nobo")


def test_the_public_key_as_a_shared_secret_signs_nothing() -> None:
    import hashlib
    import hmac

    def part(data: bytes) -> bytes:
        return base64.urlsafe_b64encode(data).rstrip(b"=")

    told = part(b'{"alg":"HS256"}') + b"." + part(json.dumps(claims_of(FILES)).encode())
    mac = hmac.new(public_pem(private()).encode(), told, hashlib.sha256).digest()

    refuses(with_token((told + b"." + part(mac)).decode()), "nobody")


@pytest.mark.parametrize(
    "key",
    [
        rsa.generate_private_key(65537, 1024),
        ec.generate_private_key(ec.SECP256K1()),
    ],
)
def test_weak_and_unusual_keys_are_refused(key: Any) -> None:
    with pytest.raises(ConfigurationError, match="does not sign policies"):
        signing.verify(FILES, [TrustedKey("weak", public_pem(key))], NOW)
    with pytest.raises(ConfigurationError):
        signing.verify(FILES, [TrustedKey("junk", "no key")], NOW)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda files: files.append({**files[0]}), "twice"),
        (lambda files: files.append({**files[0], "hash": "00"}), "twice"),
        (lambda files: files.pop(), "was not signed"),
        (lambda files: files.append({**files[0], "name": "more.rego"}), "not in the bundle"),
        (lambda files: files[0].update(hash="0" * 64), "not what was signed"),
        (lambda files: files[0].update(hash=None), "not what was signed"),
        (lambda files: files[0].update(algorithm="MD5"), "not SHA-256"),
        (lambda files: files[0].pop("algorithm"), "not SHA-256"),
        (lambda files: files[0].update(name=7), "twice, or not"),
        (lambda files: files.append("text"), "names no files"),
        (lambda files: files.clear(), "was not signed"),
    ],
)
def test_a_truly_signed_list_of_other_files_is_refused(change: Any, word: str) -> None:
    claims = claims_of(FILES)
    change(claims["files"])

    refuses(with_claims(claims), word)


@pytest.mark.parametrize("claims", [{}, {"files": None}, {"files": {}}, [], "text", b"{", b"\xff"])
def test_claims_of_another_form_are_refused(claims: object) -> None:
    with pytest.raises(VerificationError):
        signing.verify(with_claims(claims), KEYS, NOW)


def test_a_claim_made_twice_is_refused() -> None:
    body = json.dumps(claims_of(FILES))

    refuses(with_claims(f'{body[:-1]},"files":[]}}'.encode()), "same key twice")


def test_the_scope_must_be_the_one_asked_for() -> None:
    scoped = signed_files(BUNDLE, scope="registry")

    assert signing.verify(scoped, KEYS, NOW, "registry") == "security"
    refuses(scoped, "it is for 'registry'")
    with pytest.raises(VerificationError, match="not for 'registry'"):
        signing.verify(FILES, KEYS, NOW, "registry")


def test_a_signature_that_says_when_it_counts_is_held_to_that() -> None:
    hour, instant = timedelta(hours=1), claims_of(FILES)

    for claim, at in (("exp", NOW + hour), ("nbf", NOW - hour)):
        assert signing.verify(with_claims({**instant, claim: at.timestamp()}), KEYS, NOW)
    for claim, late in (("exp", NOW - hour), ("nbf", NOW + hour)):
        refuses(with_claims({**instant, claim: late.timestamp()}), "does not count now")
    refuses(with_claims({**instant, "exp": "tomorrow"}), "does not count now")


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"[]",
        b"{}",
        b'{"signatures": []}',
        b'{"signatures": "a.b.c"}',
        b'{"signatures": [7]}',
        b'{"signatures": ["a.b"]}',
        b'{"signatures": ["a.b.c.d"]}',
        b'{"signatures": ["...."]}',
        '{"signatures": ["ä.b.c"]}'.encode(),
        b'{"signatures": ["=.b.c"]}',
        b'{"signatures": ["e30.b.c"]}',
        b'{"signatures": ["' + b"a" * (signing.MAX_SIGNATURE_BYTES + 1) + b'"]}',
    ],
)
def test_what_is_no_signature_is_refused(document: bytes) -> None:
    with pytest.raises(VerificationError):
        signing.verify({**FILES, SIGNATURES: document}, KEYS, NOW)


def test_two_signatures_and_foreign_verifiers_are_refused_as_by_opa() -> None:
    token = json.loads(FILES[SIGNATURES])["signatures"][0]

    assert signing.verify(with_token(token, plugin="_default"), KEYS, NOW) == "security"
    refuses(with_token(token, token), "exactly one")
    refuses(with_token(token, plugin="vault"), "verifier")


def test_a_header_that_demands_what_nobody_knows_is_refused() -> None:
    claims = claims_of(FILES)

    refuses(with_claims(claims, crit=["b64"], b64=False), "nobody")
    refuses(with_claims(claims, crit=["unheard-of"]), "nobody")


# ---- properties

_NAMES = sorted(name for name in FILES if name != SIGNATURES)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_changed_byte_is_refused(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(_NAMES))
    at = data.draw(st.integers(0, len(FILES[name]) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda value: value != FILES[name][at]))
    changed = FILES[name][:at] + bytes([byte]) + FILES[name][at + 1 :]
    structured = name.split("/")[-1] in (MANIFEST, "data.json")
    if structured and same_json(changed, FILES[name]):
        return  # what the JSON means is signed, as in OPA

    with pytest.raises(VerificationError):
        signing.verify({**FILES, name: changed}, KEYS, NOW)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_any_changed_byte_of_the_signature_is_refused(data: st.DataObject) -> None:
    token = json.loads(FILES[SIGNATURES])["signatures"][0]
    at = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(st.characters(codec="utf-8").filter(lambda value: value != token[at]))
    changed = token[:at] + other + token[at + 1 :]
    # The last digit of base64 has bits that stand for nothing.
    if at == len(token) - 1 and decoded(changed) == decoded(token):
        return

    with pytest.raises(VerificationError):
        signing.verify(with_token(changed), KEYS, NOW)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(_NAMES), st.sampled_from(["remove", "add", "rename", "swap"]), st.data())
def test_a_removed_added_or_renamed_file_is_refused(
    name: str, act: str, data: st.DataObject
) -> None:
    files = dict(FILES)
    if act == "remove":
        del files[name]
    elif act == "add":
        files[data.draw(st.text(min_size=1).filter(lambda text: text not in files))] = b"x"
    elif act == "rename":
        files[f"registry/{name}"] = files.pop(name)
    else:
        other = data.draw(st.sampled_from([n for n in _NAMES if n != name]))
        files[name], files[other] = files[other], files[name]

    with pytest.raises(VerificationError):
        signing.verify(files, KEYS, NOW)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200) | st.text(alphabet='e30.[]{}"a:,', max_size=60).map(str.encode))
def test_foreign_bytes_raise_nothing_but_our_errors(data: bytes) -> None:
    token = base64.urlsafe_b64encode(data).rstrip(b"=").decode()
    for document in (data, json.dumps({"signatures": [f"{token}.{token}.{token}"]}).encode()):
        with pytest.raises(GovernanceError):
            signing.verify({**FILES, SIGNATURES: document}, KEYS, NOW)


def test_nested_headers_are_bounded() -> None:
    deep = base64.urlsafe_b64encode(b'{"a":' + b"[" * 100_000).rstrip(b"=").decode()

    refuses(with_token(f"{deep}.e30.e30"), "cannot be read")


def same_json(one: bytes, other: bytes) -> bool:
    try:
        return file_hash("data.json", one) == file_hash("data.json", other)
    except GovernanceError:
        return False


def decoded(token: str) -> bytes | None:
    try:
        return base64.b64decode(token.split(".")[2] + "==", altchars=b"-_", validate=True)
    except ValueError:
        return None
