"""in-toto metadata (specification 1.0): layouts and links, read without trusting them.

Both forms that in-toto writes are read: the classic Metablock, signed over canonical JSON of what
is in it, and DSSE. What this module lets through is what the library would not refuse by itself:
JSON with one meaning, no key of OpenPGP (its signatures have a reader of their own), no key under
two names (it would count twice), no name with ``..`` or a backslash (rules compare text), no
artifact without a SHA-256 (two empty digests are equal).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from mlflow_governance.core import canonical, digest
from mlflow_governance.core.manifest import refuse_unsafe_name
from mlflow_governance.errors import InvalidRequest, VerificationError
from mlflow_governance.evidence import envelope, predicate
from mlflow_governance.evidence.interface import EvidenceItem
from mlflow_governance.evidence.keys import PublicKey

MAX_LAYOUT_BYTES = 1024 * 1024
MAX_LINK_BYTES = 4 * 1024 * 1024

_MAX_MESSAGE = 500
_HEX = re.compile(r"(?:[0-9a-f]{2}){4,1024}")
_RSA_BITS = range(2048, 8193)
_CURVES = {
    "ecdsa-sha2-nistp256": "secp256r1",
    "ecdsa-sha2-nistp384": "secp384r1",
    "ecdsa-sha2-nistp521": "secp521r1",
}


@dataclass(frozen=True, slots=True)
class SignedFile:
    """A layout or link: what is signed, by which bytes, and the library's own object for it."""

    name: str
    document: Mapping[str, Any]
    signed: bytes = field(repr=False)
    signatures: tuple[bytes, ...] = field(repr=False)
    library: Any = field(repr=False)

    def is_signed_by(self, key: PublicKey) -> bool:
        """True when one of the signatures was made by this key; key ids are not looked at."""
        for signature in self.signatures:
            try:
                key.verify(signature, self.signed)
            except VerificationError:
                continue
            return True
        return False


def read_layout(item: EvidenceItem) -> SignedFile:
    """A layout that asks for nothing to be run.

    Raises:
        VerificationError: not a layout, beyond the bounds, or with inspections.
    """
    file = _read(item, MAX_LAYOUT_BYTES)
    commands = file.document.get("inspect")
    if isinstance(commands, list) and commands:
        raise VerificationError(
            f"{item.name} asks to run commands ({len(commands)} inspections); nothing is run",
            advice="Make a layout without inspections and have its owner sign it.",
        )
    _refuse_misfit(file, "layouts/layout.schema.json")
    return file


def read_link(item: EvidenceItem) -> SignedFile:
    """A link.

    Raises:
        VerificationError: not a link, beyond the bounds, or with names that leave their folder.
    """
    file = _read(item, MAX_LINK_BYTES)
    if file.document.get("_type") == "layout":
        raise VerificationError(f"{item.name} is a layout of its own; sublayouts are not followed")
    _refuse_misfit(file, "layouts/link.schema.json")
    for artifact in (*file.document["materials"], *file.document["products"]):
        try:
            refuse_unsafe_name(artifact)
        except VerificationError as error:
            raise VerificationError(f"{item.name}: {error.message}") from error
    return file


def functionaries(layout: SignedFile) -> dict[str, str]:
    """Key id in the layout to our own name of the key, ``sha256:<hex>`` over its DER form.

    Raises:
        VerificationError: a key that cannot be used, under two names, or under a wrong one.
    """
    found: dict[str, str] = {}
    for key_id, entry in layout.document["keys"].items():
        if entry["keyid"] != key_id:
            raise VerificationError(f"{layout.name} has a key under two ids: {key_id}")
        found[key_id] = _fingerprint(layout.name, entry)
    if len(set(found.values())) != len(found):
        raise VerificationError(f"{layout.name} has one key under two ids; it would count twice")
    return found


@contextmanager
def refusing(what: str) -> Iterator[None]:
    """Turn whatever the library raises over foreign data into a refusal.

    Raises:
        VerificationError: the library raised.
    """
    from in_toto import exceptions
    from securesystemslib.exceptions import Error

    raised: tuple[type[Exception], ...] = (
        exceptions.InvalidMetadata,
        exceptions.RuleVerificationError,
        exceptions.SignatureVerificationError,
        exceptions.ThresholdVerificationError,
        Error,
        UnsupportedAlgorithm,
        LookupError,
        ValueError,
        TypeError,
        AttributeError,
        RecursionError,
    )
    try:
        yield
    except raised as error:
        lines = str(error).splitlines() or [type(error).__name__]
        raise VerificationError(f"{what}: {lines[0][:_MAX_MESSAGE]}") from error


def _read(item: EvidenceItem, limit: int) -> SignedFile:
    document = _decode(item.name, item.data, limit)
    if ("payload" in document) == ("signed" in document):
        raise VerificationError(f"{item.name} is neither a Metablock nor a DSSE envelope")
    return (_dsse if "payload" in document else _metablock)(item, document, limit)


def _dsse(item: EvidenceItem, document: Mapping[str, Any], limit: int) -> SignedFile:
    from in_toto.models.metadata import Envelope
    from securesystemslib.signer import Signature  # type: ignore[attr-defined]

    enclosed = envelope.from_document(document)
    if enclosed.payload_type != envelope.IN_TOTO:
        raise VerificationError(f"the payload of {item.name} is not {envelope.IN_TOTO}")
    by_id = {s.key_id: Signature(s.key_id, s.value.hex()) for s in enclosed.signatures}
    if len(by_id) != len(enclosed.signatures):
        raise VerificationError(f"{item.name} has two signatures of one key id")
    return SignedFile(
        item.name,
        _decode(item.name, enclosed.payload, limit),
        envelope.pae(enclosed.payload_type, enclosed.payload),
        tuple(signature.value for signature in enclosed.signatures),
        # Made of what was decoded here: the library's own base64 reads some texts differently.
        Envelope(enclosed.payload, enclosed.payload_type, by_id),
    )


def _metablock(item: EvidenceItem, document: Mapping[str, Any], limit: int) -> SignedFile:
    from in_toto.models.metadata import Metablock

    values = _hex_signatures(item.name, document)
    # The library changes the document it is given: it gets one of its own.
    with refusing(f"{item.name} is malformed"):
        library = Metablock.from_dict(_decode(item.name, item.data, limit))
        message = library.signed.signable_bytes
    return SignedFile(item.name, document["signed"], message, values, library)


def _decode(name: str, data: bytes, limit: int) -> dict[str, Any]:
    try:
        return canonical.decode_object(data, max_bytes=limit)
    except InvalidRequest as error:
        raise VerificationError(f"{name} is malformed: {error.message}") from error


def _hex_signatures(name: str, document: Mapping[str, Any]) -> tuple[bytes, ...]:
    entries = document.get("signatures")
    if not isinstance(entries, list) or not 1 <= len(entries) <= envelope.MAX_SIGNATURES:
        raise VerificationError(f"{name} has not 1 to {envelope.MAX_SIGNATURES} signatures")
    if not isinstance(document["signed"], dict) or set(document) != {"signed", "signatures"}:
        raise VerificationError(f"{name} is not a Metablock")
    values: list[bytes] = []
    for entry in entries:
        # Exactly these two: with other_headers the library takes it for a signature of OpenPGP.
        if not isinstance(entry, dict) or set(entry) != {"keyid", "sig"}:
            raise VerificationError(f"{name} has a signature of a kind that is not supported")
        if not all(isinstance(text, str) and _HEX.fullmatch(text) for text in entry.values()):
            raise VerificationError(f"{name} has a signature that is not short hexadecimal")
        values.append(bytes.fromhex(entry["sig"]))
    return tuple(values)


def _refuse_misfit(file: SignedFile, schema: str) -> None:
    problems = predicate.schema_problems(schema, file.document)
    if problems:
        raise VerificationError(f"{file.name} is malformed: {'; '.join(problems)}")


def _fingerprint(name: str, entry: Mapping[str, Any]) -> str:
    public, scheme = entry["keyval"]["public"], entry["scheme"]
    try:
        if scheme == "ed25519":
            key: object = ed25519.Ed25519PublicKey.from_public_bytes(bytes.fromhex(public))
        else:
            key = form.load_pem_public_key(public.encode("utf-8"))
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise VerificationError(f"{name} has a key that cannot be read") from error
    sound = (
        isinstance(key, ed25519.Ed25519PublicKey)
        or (isinstance(key, ec.EllipticCurvePublicKey) and _CURVES.get(scheme) == key.curve.name)
        or (
            isinstance(key, rsa.RSAPublicKey)
            and scheme.startswith("rsa")
            and key.key_size in _RSA_BITS
        )
    )
    if not sound or not isinstance(
        key, ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey | rsa.RSAPublicKey
    ):
        raise VerificationError(f"{name} has a key that is not of the kind it says: {scheme}")
    return digest.of_bytes(
        key.public_bytes(form.Encoding.DER, form.PublicFormat.SubjectPublicKeyInfo)
    )
