"""Ways to damage a file, and which places of a file nobody signed."""

from __future__ import annotations

import base64
import binascii
import json
import random
from collections.abc import Iterator
from typing import Any

from cryptography import x509
from hypothesis import strategies as st

_ODD = (None, True, 0, -1, 2**53, 1.5, "", "\0", "x" * 2000, [], {}, [[]], [None], {"": None})
_EXHAUSTIVE_BELOW = 128


def flipped_bits(data: bytes, at_most: int, seed: str) -> Iterator[bytes]:
    """Each bit turned for a small file; else one bit in each of many bytes, always the same."""
    bits: range | list[int] = range(len(data) * 8)
    if len(data) >= _EXHAUSTIVE_BELOW:
        chosen = random.Random(seed)
        places = chosen.sample(range(len(data)), min(at_most, len(data)))
        bits = [place * 8 + chosen.randrange(8) for place in places]
    for bit in bits:
        yield data[: bit // 8] + bytes([data[bit // 8] ^ 1 << bit % 8]) + data[bit // 8 + 1 :]


@st.composite
def damaged(draw: st.DrawFn, data: bytes) -> bytes:
    """The file with bytes changed, cut, doubled or put in; or another JSON value somewhere."""
    start = draw(st.integers(0, len(data)))
    end = draw(st.integers(start, min(len(data), start + 200)))
    foreign = draw(st.binary(max_size=16))
    ways = {
        "replace": data[:start] + foreign + data[end:],
        "cut": data[:start],
        "remove": data[:start] + data[end:],
        "double": data[:end] + data[start:end] + data[end:],
        "repeat": data + data,
    }
    way = draw(st.sampled_from([*ways, "value", "value", "member"]))
    if way in ways:
        return ways[way]
    try:
        document = json.loads(data)
    except ValueError:
        return ways["replace"]
    places = list(_places(document))
    holder, key = draw(st.sampled_from(places))
    if way == "value":
        holder[key] = draw(st.sampled_from(_ODD))
    else:
        del holder[key]
    return json.dumps(document).encode()


def json_damaged(data: bytes, chosen: random.Random) -> bytes:
    """The file with another JSON value in one place, or one member fewer.

    Raises:
        ValueError: it is not JSON, or has no such place.
    """
    document = json.loads(data)
    places = list(_places(document)) if isinstance(document, dict | list) else []
    if not places:
        raise ValueError("no place to damage")
    holder, key = chosen.choice(places)
    others, other = chosen.choice(places)
    if (way := chosen.randrange(3)) == 0:
        holder[key] = chosen.choice(_ODD)
    elif way == 1:
        holder[key] = json.loads(json.dumps(others[other]))
    else:
        del holder[key]
    return json.dumps(document).encode()


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    keys = list(value) if isinstance(value, dict) else range(len(value))
    for key in keys:
        yield value, key
        if isinstance(value[key], dict | list) and value[key]:
            yield from _places(value[key])


# --- what nobody signed -----------------------------------------------------------------------

UNSIGNED = {
    "signatures[].keyid": "a hint which key to try first (DSSE 1.0.2, envelope)",
    "dsseEnvelope.signatures[].keyid": "the same, in a bundle",
    "verificationMaterial.publicKey": "that there is a key is read, the hint in it is not: "
    "who is trusted is said in trust.yaml",
    "verificationMaterial.tlogEntries": "beside a key or a chain no log is asked",
    "verificationMaterial.timestampVerificationData": "beside a key that is not withdrawn nobody "
    "asks when it signed; of a time stamp that is asked for, the status and the frame of CMS "
    "around what the authority signed",
    "signed._type": "of in-toto's older form the library checks what it read, and fills in "
    "this and empty members where they are left out",
    "signed.steps[]._type": "the same",
    "cert": "in cosign's old form: who is trusted is said in trust.yaml",
    "rekorBundle": "in cosign's old form: an entry that could not be checked offline",
}
"""Places of JSON files that may change without changing what is proved, and why.

Beside them: white space between JSON's tokens, the spelling of its texts and numbers, base64's
second alphabet, members that the format does not define (readers must pass over them), a signature
given twice, an empty member of in-toto left out, and in the frame of a certificate the count of
unused bits of its signature.
"""

_ENTRY = "verificationMaterial.tlogEntries[]."
UNSIGNED_KEYLESS = {
    "dsseEnvelope.signatures[].keyid": "a hint, as above",
    f"{_ENTRY}integratedTime": "a log of Rekor v2 gives none: a time stamp says when it was",
    f"{_ENTRY}logIndex": "the proof has an index of its own, and that one counts",
    f"{_ENTRY}logId.keyId": "a hint which log it is; its key is found by the four bytes in the "
    "checkpoint",
    f"{_ENTRY}inclusionProof.checkpoint.envelope": "the name in a signature line, and lines of "
    "witnesses; what is above them is signed",
    "verificationMaterial.timestampVerificationData": "the status and the frame of CMS, as above",
}
"""The same for a bundle of Sigstore, where the log's entry and the time stamp are proof."""


def signed_part(data: bytes, like: bytes) -> object:
    """A file reduced to what is signed or compared; ``like`` is the file it was made from."""
    try:
        document, model = json.loads(data), json.loads(like)
    except ValueError:
        return data.strip()  # cosign's .sig, a checkpoint or a proof: a line end may be lost
    keyless = "certificate" in model.get("verificationMaterial", {})
    return _reduced(document, model, "", UNSIGNED_KEYLESS if keyless else UNSIGNED)


def _reduced(value: Any, model: Any, path: str, unsigned: dict[str, str]) -> Any:
    if path in unsigned:
        return None
    if isinstance(value, dict) and isinstance(model, dict):
        inner = f"{path}." if path else ""
        kept = {
            key: _reduced(member, model[key], inner + key, unsigned)
            for key, member in value.items()
            if key in model
        }
        return {key: member for key, member in kept.items() if member not in (None, {}, [], "")}
    if isinstance(value, list) and isinstance(model, list) and model:
        last = len(model) - 1
        kept_all = [
            _reduced(member, model[min(place, last)], f"{path}[]", unsigned)
            for place, member in enumerate(value)
        ]
        return [m for place, m in enumerate(kept_all) if m not in kept_all[:place]]
    return _bytes_of(value, path)


def _bytes_of(value: Any, path: str) -> Any:
    if not isinstance(value, str):
        return value
    try:
        plain = value.replace("-", "+").replace("_", "/")
        data = base64.b64decode(plain)  # as readers do that pass over foreign letters
    except (binascii.Error, ValueError):
        return value
    return _certificate(data) if path.endswith("rawBytes") else data


def _certificate(data: bytes) -> object:
    """What is signed of a certificate, and the signature (RFC 5280, 4.1)."""
    try:
        read = x509.load_der_x509_certificate(data)
        return read.tbs_certificate_bytes, read.signature
    except ValueError:
        return data
