"""Signatures of webhooks, as Standard Webhooks 1.0.0 writes them (symmetric scheme, ``v1``).

The content signed is ``{id}.{timestamp}.{body}`` over the bytes as sent; the signature is
``v1,<base64 of HMAC-SHA256>``, several of them separated by one space while a secret is being
rotated. MLflow's own webhooks sign the same content under other header names, so one verifier
serves both (:data:`STANDARD`, :data:`MLFLOW`).

The ``standardwebhooks`` package reads only the clock of the process, wants text where HTTP gives
bytes and lets malformed headers out as ``ValueError``; the tests hold this module to its answers.
"""

from __future__ import annotations

import base64
import hmac
import re
import secrets as random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from mlflow_governance.errors import ConfigurationError, VerificationError

REPLAY_WINDOW_SECONDS = 300
"""How far the sender's clock may be from ours, either way."""

_MIN_SECRET, _MAX_SECRET = 24, 64  # bytes, "Signature scheme": 192 bits at least, 512 at most
_MAX_HEADER = 4096  # characters: far above any rotation, far below what costs time to compare
# No full stop: it separates the parts of the signed content ("to prevent certain attacks").
_ID = re.compile(r"[A-Za-z0-9_\-]{1,128}")
_ADVICE = 'Make one with: echo "whsec_$(openssl rand -base64 32)"'
_TIMESTAMP = re.compile(r"[0-9]{1,11}")


@dataclass(frozen=True, slots=True)
class Scheme:
    """The header names of one sender."""

    id_header: str
    timestamp_header: str
    signature_header: str


STANDARD = Scheme("webhook-id", "webhook-timestamp", "webhook-signature")
"""Standard Webhooks 1.0.0, section "Webhook headers"."""

MLFLOW = Scheme("x-mlflow-delivery-id", "x-mlflow-timestamp", "x-mlflow-signature")
"""MLflow's own webhooks. Their secret is plain text; its UTF-8 bytes are the key."""


def new_secret() -> str:
    """A fresh secret, ``whsec_`` and the base64 of 32 random bytes."""
    return "whsec_" + base64.b64encode(random.token_bytes(32)).decode("ascii")


def keys_of(text: str) -> tuple[bytes, ...]:
    """The keys in one or more secrets separated by white space, the current one first.

    Raises:
        ConfigurationError: none at all, or one that is not ``whsec_<base64 of 24 to 64 bytes>``.
    """
    keys = tuple(_key_of(word) for word in text.split())
    if not keys:
        raise ConfigurationError("a webhook needs a secret", advice=_ADVICE)
    return keys


def sign(
    keys: Sequence[bytes], message_id: str, at: datetime, body: bytes, *, scheme: Scheme = STANDARD
) -> dict[str, str]:
    """The three headers of one attempt, with one signature a key.

    Args:
        keys: from :func:`keys_of`; two while the receiver changes from one to the other.
        message_id: the same on every retry; the receiver's idempotency key.
        at: the moment of this attempt, with a time zone.
        body: the bytes as they will be sent.
        scheme: the header names.
    """
    if not keys or not _ID.fullmatch(message_id):
        raise ValueError("signing needs a key and an id of letters, digits, '_' and '-'")
    timestamp = str(int(at.timestamp()))
    signatures = (_mac(key, message_id, timestamp, body) for key in keys)
    return {
        scheme.id_header: message_id,
        scheme.timestamp_header: timestamp,
        scheme.signature_header: " ".join(
            "v1," + base64.b64encode(mac).decode("ascii") for mac in signatures
        ),
    }


def verify(
    keys: Sequence[bytes],
    headers: Mapping[str, str],
    body: bytes,
    *,
    now: datetime,
    scheme: Scheme = STANDARD,
) -> str:
    """Prove that a holder of one of the keys sent these bytes just now; returns the message id.

    A repeat inside the window verifies again: the caller remembers the ids it acted upon.

    Raises:
        VerificationError: a header is missing or malformed, the timestamp is more than
            :data:`REPLAY_WINDOW_SECONDS` away, or no signature matches any key.
    """
    named = {name.lower(): value for name, value in headers.items()}
    message_id = _header(named, scheme.id_header, _ID)
    timestamp = _header(named, scheme.timestamp_header, _TIMESTAMP)
    drift = int(timestamp) - now.timestamp()
    if abs(drift) > REPLAY_WINDOW_SECONDS:
        raise VerificationError(
            f"the webhook's timestamp is {abs(drift):.0f} s {'ahead' if drift > 0 else 'old'}; "
            f"at most {REPLAY_WINDOW_SECONDS} s are accepted",
            advice="Compare the clocks of sender and receiver; a late repeat is sent afresh.",
        )
    offered = _signatures(named.get(scheme.signature_header, ""))
    expected = [_mac(key, message_id, timestamp, body) for key in keys]
    if not any(hmac.compare_digest(ours, theirs) for ours in expected for theirs in offered):
        raise VerificationError(
            "no signature of the webhook matches its bytes",
            advice="Give sender and receiver the same secret; both keep old and new meanwhile.",
        )
    return message_id


def _key_of(secret: str) -> bytes:
    prefix, _, encoded = secret.partition("_")
    try:
        key = base64.b64decode(encoded, validate=True) if prefix == "whsec" else b""
    except ValueError:  # binascii.Error, or a character beyond ASCII
        key = b""
    if not _MIN_SECRET <= len(key) <= _MAX_SECRET:
        # The secret itself stays out of the message, which ends up in logs.
        raise ConfigurationError(
            f"a webhook secret is not whsec_<base64 of {_MIN_SECRET} to {_MAX_SECRET} bytes>",
            advice=_ADVICE,
        )
    return key


def _mac(key: bytes, message_id: str, timestamp: str, body: bytes) -> bytes:
    return hmac.digest(key, f"{message_id}.{timestamp}.".encode("ascii") + body, "sha256")


def _header(named: Mapping[str, str], name: str, form: re.Pattern[str]) -> str:
    value = named.get(name, "")
    if not form.fullmatch(value):
        raise VerificationError(f"the webhook has no usable {name} header")
    return value


def _signatures(header: str) -> list[bytes]:
    """Every well-formed ``v1`` signature; others belong to schemes this verifier has no key for."""
    if len(header) > _MAX_HEADER:
        raise VerificationError("the webhook's signature header is too long")
    found = []
    for word in header.split(" "):
        version, _, text = word.partition(",")
        if version != "v1":
            continue
        try:
            found.append(base64.b64decode(text, validate=True))
        except ValueError:  # binascii.Error, or a character beyond ASCII
            continue
    return found
