"""Content digests: ``sha256:`` and 64 lower-case hexadecimal digits."""

from __future__ import annotations

import hashlib
import re
import secrets
from typing import NewType

from mlflow_governance.errors import InvalidRequest

Digest = NewType("Digest", str)

_FORM = re.compile(r"sha256:[0-9a-f]{64}")


def of_bytes(data: bytes) -> Digest:
    """The digest of some bytes."""
    return Digest("sha256:" + hashlib.sha256(data).hexdigest())


def parse(text: object) -> Digest:
    """Check the form of a digest that came from outside.

    Raises:
        InvalidRequest: it is not ``sha256:<64 hex>``.
    """
    if not isinstance(text, str) or not _FORM.fullmatch(text):
        raise InvalidRequest(f"not a digest of the form sha256:<64 hex digits>: {str(text)[:80]!r}")
    return Digest(text)


def hex_of(digest: Digest) -> str:
    """The 64 hexadecimal digits, as in-toto subjects write them."""
    return digest.removeprefix("sha256:")


def new_salt() -> str:
    """128 random bits in hexadecimal: with them in a document, its digest gives nothing away."""
    return secrets.token_hex(16)
