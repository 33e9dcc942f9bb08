"""OpenSSF Model Signing v1.0: a Sigstore bundle over the names and digests of every file.

Stricter than the specification and its stock library, because each of these let something
through: the files signed must be exactly the files there (what the signature says to ignore is
not listened to), exactly one signature, at least one file, no symlinks, no name that leaves the
directory. The root digest in the subject does not bind file names (6.5.1), so it is checked and
then not relied on.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from mlflow_governance.core import canonical
from mlflow_governance.core.manifest import EVIDENCE_FOLDER, Manifest, refuse_unsafe_name
from mlflow_governance.errors import ConfigurationError, EvidenceMissing, VerificationError
from mlflow_governance.evidence import bundle, envelope
from mlflow_governance.evidence.attestation import STATEMENT_TYPE, Statement, parse_statement
from mlflow_governance.evidence.interface import Case, Kind
from mlflow_governance.evidence.keys import PrivateKey
from mlflow_governance.evidence.predicate import MODEL_SIGNATURE, Purpose

ITEM = "model.sig"

_HEX = re.compile(r"[0-9a-f]{64}")
_MAX_NAMED = 20


class SignatureVerifier:
    """Proves who signed exactly these files.

    Facts: ``signer`` (name), ``key_id``, ``resources`` (how many files).
    """

    kind = Kind.SIGNATURE

    def verify(self, case: Case) -> Mapping[str, Any]:
        """See :func:`verify_signature`."""
        return verify_signature(case)


def sign_model(manifest: Manifest, model_name: str, key: PrivateKey) -> bytes:
    """The bundle to keep as ``governance/evidence/model.sig``, JSON.

    Raises:
        ConfigurationError: an Ed25519 key; the specification knows P-256, P-384 and P-521.
    """
    if not key.public.algorithm.startswith("ecdsa-"):
        raise ConfigurationError(
            "OpenSSF Model Signing v1.0 needs an EC key",
            advice="Make one: mlflow-governance keys new PATH",
        )
    payload = canonical.encode(_statement(manifest, model_name))
    # Model Signing names a key by the SHA-256 of its PEM, and its stock verifier insists.
    hint = hashlib.sha256(key.public.pem.encode("ascii")).hexdigest()
    return bundle.wrap(envelope.sign(payload, envelope.IN_TOTO, [key]), hint)


def verify_signature(case: Case) -> Mapping[str, Any]:
    """Check the item ``model.sig`` against the manifest: ``{signer, key_id, resources}``.

    Raises:
        EvidenceMissing: the model is not signed.
        VerificationError: the signature is malformed, of nobody trusted, or over other files;
            then the message names them.
    """
    enclosed = bundle.parse(_item(case))
    if enclosed.payload_type != envelope.IN_TOTO:
        raise VerificationError(f"the payload of {ITEM} is not {envelope.IN_TOTO}")
    if len(enclosed.signatures) != 1:
        raise VerificationError(f"{ITEM} has {len(enclosed.signatures)} signatures; one is allowed")
    signer = case.trust.verify(enclosed, Purpose.SIGNATURE, case.model_name, case.now)[0]
    signed = _resources(parse_statement(enclosed.payload))
    _compare(signed, case.manifest)
    return {"signer": signer.name, "key_id": signer.key.key_id, "resources": len(signed)}


def _item(case: Case) -> bytes:
    found = [item.data for item in case.items if item.name == ITEM]
    if not found:
        raise EvidenceMissing(
            "the model is not signed",
            advice="Sign it: mlflow-governance submit MODEL --key KEY.pem",
        )
    if len(found) > 1:
        raise VerificationError(f"{ITEM} is attached more than once")
    return found[0]


def _statement(manifest: Manifest, model_name: str) -> dict[str, Any]:
    resources = [
        {"name": file.name, "algorithm": "sha256", "digest": file.sha256} for file in manifest.files
    ]
    return {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": model_name, "digest": {"sha256": _root(resources)}}],
        "predicateType": MODEL_SIGNATURE,
        "predicate": {
            "resources": resources,
            "serialization": {
                "method": "files",
                "hash_type": "sha256",
                "allow_symlinks": False,
                "ignore_paths": [EVIDENCE_FOLDER],
            },
        },
    }


def _resources(statement: Statement) -> dict[str, str]:
    """Name to SHA-256 of every file the statement signs."""
    if statement.predicate_type != MODEL_SIGNATURE:
        raise VerificationError(f"{ITEM} is not of the type {MODEL_SIGNATURE}")
    _refuse_serialization(statement.predicate.get("serialization"))
    resources = statement.predicate.get("resources")
    if not isinstance(resources, list) or not resources:
        raise VerificationError(f"{ITEM} signs no file")
    for entry in resources:
        _refuse_resource(entry)
    if [subject.digest for subject in statement.subjects] != [{"sha256": _root(resources)}]:
        raise VerificationError(f"{ITEM} contradicts itself: the root digest is of other files")
    signed = {entry["name"]: entry["digest"] for entry in resources}
    if len(signed) != len(resources):
        raise VerificationError(f"{ITEM} names a file twice")
    return signed


def _refuse_serialization(value: object) -> None:
    known = {"method": "files", "hash_type": "sha256", "allow_symlinks": False}
    if not isinstance(value, dict) or any(
        value.get(word) != wanted or type(value.get(word)) is not type(wanted)
        for word, wanted in known.items()
    ):
        raise VerificationError(f"{ITEM} was not made over whole files with SHA-256, symlinks off")


def _refuse_resource(entry: object) -> None:
    if not isinstance(entry, dict) or entry.get("algorithm") != "sha256":
        raise VerificationError(f"{ITEM} has a resource that is not a SHA-256 digest")
    name, value = entry.get("name"), entry.get("digest")
    if not isinstance(name, str) or not isinstance(value, str) or not _HEX.fullmatch(value):
        raise VerificationError(f"{ITEM} has a resource without a sound name and digest")
    refuse_unsafe_name(name)


def _root(resources: list[dict[str, str]]) -> str:
    """SHA-256 over the digests in their order (specification 6.5.1)."""
    return hashlib.sha256(b"".join(bytes.fromhex(r["digest"]) for r in resources)).hexdigest()


def _compare(signed: Mapping[str, str], manifest: Manifest) -> None:
    there = {file.name: file.sha256 for file in manifest.files}
    both = signed.keys() & there.keys()
    changed = [
        *(f"file changed: {name}" for name in sorted(both) if signed[name] != there[name]),
        *(f"file missing: {name}" for name in sorted(signed.keys() - both)),
        *(f"file added: {name}" for name in sorted(there.keys() - both)),
    ]
    if changed:
        more = len(changed) - _MAX_NAMED
        listed = changed[:_MAX_NAMED] + ([f"and {more} more"] if more > 0 else [])
        raise VerificationError(f"the model is not what was signed: {'; '.join(listed)}")
