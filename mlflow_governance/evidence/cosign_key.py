"""The private key files of cosign: scrypt (RFC 7914) and NaCl secretbox around a DER key."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any

from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from mlflow_governance.core import canonical
from mlflow_governance.errors import InvalidRequest

_PEM = re.compile(
    rb"\s*-----BEGIN (ENCRYPTED (?:SIGSTORE|COSIGN) PRIVATE KEY)-----\s"
    rb"([A-Za-z0-9+/=\s]*)-----END \1-----\s*"
)
# The file says how much work opening it takes; cosign itself writes N 32768 or 65536, r 8, p 1.
_MAX_N, _MAX_R, _MAX_P = 2**17, 8, 4


def is_cosign(data: bytes) -> bool:
    """True when these bytes claim to be a key file of cosign."""
    return b"-----BEGIN ENCRYPTED SIGSTORE" in data or b"-----BEGIN ENCRYPTED COSIGN" in data


def decrypt(data: bytes, password: bytes) -> bytes:
    """The DER private key in a key file of cosign.

    Raises:
        ValueError: malformed, work factors out of bounds, or the wrong password.
    """
    from nacl.exceptions import CryptoError
    from nacl.secret import SecretBox

    found = _PEM.fullmatch(data)
    if found is None:
        raise ValueError("not exactly one cosign key")
    try:
        document = canonical.decode_object(_base64(found[2]))
        kdf, cipher = document["kdf"], document["cipher"]
        if kdf["name"] != "scrypt" or cipher["name"] != "nacl/secretbox":
            raise ValueError("unknown key derivation or cipher")
        secret = _scrypt(kdf["params"], _base64(kdf["salt"])).derive(password)
        return SecretBox(secret).decrypt(_base64(document["ciphertext"]), _base64(cipher["nonce"]))
    except (KeyError, TypeError, AttributeError, InvalidRequest) as error:
        raise ValueError("malformed cosign key") from error
    except CryptoError as error:
        raise ValueError("wrong password or damaged key") from error


def _scrypt(params: dict[str, Any], salt: bytes) -> Scrypt:
    n, r, p = params["N"], params["r"], params["p"]
    whole = all(type(number) is int for number in (n, r, p))
    if not whole or not (2 <= n <= _MAX_N and 1 <= r <= _MAX_R and 1 <= p <= _MAX_P):
        raise ValueError("the scrypt work factors are out of bounds")
    return Scrypt(salt=salt, length=32, n=n, r=r, p=p)


def _base64(text: str | bytes) -> bytes:
    data = text.encode("ascii") if isinstance(text, str) else b"".join(text.split())
    try:
        return base64.b64decode(data, validate=True)
    except binascii.Error as error:
        raise ValueError("not base64") from error
