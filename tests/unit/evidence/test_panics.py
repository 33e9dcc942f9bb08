"""A library in Rust that gives up is one that says no."""

from __future__ import annotations

import base64
import json

import pytest

from mlflow_governance.errors import ConfigurationError, VerificationError
from mlflow_governance.evidence import certificate, keyless, panics, timestamp
from tests.golden.sets import golden_sets
from tests.sigstore import certificates, tsa


class PanicException(BaseException):
    """As PyO3 makes it."""


def test_a_panic_is_an_error_like_any_other() -> None:
    with pytest.raises(panics.Panicked, match="gave up: unwrap"), panics.contained():
        raise PanicException("unwrap")


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, ValueError])
def test_everything_else_comes_through(error: type[BaseException]) -> None:
    with pytest.raises(error), panics.contained():
        raise error


def test_a_real_panic_over_a_root_is_a_refusal() -> None:
    """The name in an authority's certificate is not UTF-8: OpenSSL refuses, the library panics."""
    folder = golden_sets()[0].folder
    (signed,) = (folder / "model-signature-keyless").iterdir()
    root = (folder / "trusted_root.json").read_bytes()
    broken = _with_a_broken_name(root)
    (trainer,) = [s.by for s in golden_sets()[0].trust.signers if s.name == "trainer"]

    with pytest.raises(VerificationError, match="gave up"):
        keyless.verify_keyless(signed.read_bytes(), trainer.identity, trainer.issuer, broken)


def _with_a_broken_name(root: bytes) -> bytes:
    document = json.loads(root)
    for authority in document["timestampAuthorities"]:
        for entry in authority["certChain"]["certificates"]:
            der = base64.b64decode(entry["rawBytes"])
            entry["rawBytes"] = base64.b64encode(der.replace(b"TSA", b"T\xffA")).decode()
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    "change",
    [(b"\x2a\x86\x48\xce\x3d\x02\x01", b"\x2a\x86\x48\xce\x3d\x02\x03"), (b"TSA", b"T\xffA")],
    ids=["a key of an unknown kind", "a name that is not UTF-8"],
)
def test_an_authority_for_time_that_cannot_be_read_is_a_configuration_error(
    change: tuple[bytes, bytes],
) -> None:
    pem = b"".join(_pem(certificates.der(one).replace(*change)) for one in tsa.authority().chain)

    with pytest.raises(ConfigurationError, match="not a time stamp authority"):
        timestamp.load_authority("tsa", pem)


def test_a_root_of_an_unknown_version_is_a_configuration_error() -> None:
    der = certificates.der(certificates.root().certificate)
    # [0] { INTEGER 2 }: version 3
    pem = _pem(der.replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x7e", 1))

    with pytest.raises(ConfigurationError, match="not PEM certificates"):
        certificate.load_roots(pem)


def _pem(der: bytes) -> bytes:
    body = base64.encodebytes(der)
    return b"-----BEGIN CERTIFICATE-----\n" + body + b"-----END CERTIFICATE-----\n"
