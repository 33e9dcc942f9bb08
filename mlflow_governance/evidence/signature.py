"""Who signed exactly these files: OpenSSF Model Signing v1.0, or cosign over the manifest.

OpenSSF Model Signing is a Sigstore bundle over the names and digests of every file. It is held
stricter than the specification and its stock library, because each of these let something
through: the files signed must be exactly the files there (what the signature says to ignore is
not listened to), exactly one signature, at least one file, no symlinks, no name that leaves the
directory. The root digest in the subject does not bind file names (6.5.1), so it is checked and
then not relied on.

The manifest in its canonical form is a file as well, and its SHA-256 is the digest of the model.
So ``cosign sign-blob manifest.json`` signs the model; what is verified is the registry's own
manifest, never a file that was brought along.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mlflow_governance.core import canonical
from mlflow_governance.core.manifest import EVIDENCE_FOLDER, Manifest, refuse_unsafe_name
from mlflow_governance.errors import ConfigurationError, EvidenceMissing, VerificationError
from mlflow_governance.evidence import bundle, envelope
from mlflow_governance.evidence.attestation import STATEMENT_TYPE, Statement, parse_statement
from mlflow_governance.evidence.interface import Case, EvidenceItem, Kind
from mlflow_governance.evidence.keys import PrivateKey
from mlflow_governance.evidence.predicate import MODEL_SIGNATURE, Purpose
from mlflow_governance.evidence.trust import Signer

ITEM = "model.sig"
MANIFEST_ITEM = "manifest.json"
_FOLDER = "signatures/"
_BESIDE = tuple(f"{MANIFEST_ITEM}{suffix}" for suffix in (".sigstore.json", ".bundle", ".sig"))

_HEX = re.compile(r"[0-9a-f]{64}")
_MAX_NAMED = 20


class SignatureVerifier:
    """Proves who signed exactly these files.

    Facts: ``signer`` and ``key_id`` (name and authority of the first), ``signers`` (names of
    all), ``resources`` (how many files).
    """

    kind = Kind.SIGNATURE

    def verify(self, case: Case) -> Mapping[str, Any]:
        """See :func:`verify_signature`."""
        return verify_signature(case)


def signature_payload(manifest: Manifest, model_name: str) -> bytes:
    """The in-toto Statement of OpenSSF Model Signing about these files, canonical JSON."""
    return canonical.encode(_statement(manifest, model_name))


def sign_model(
    manifest: Manifest,
    model_name: str,
    key: PrivateKey,
    proofs: bundle.Proofs = bundle.NOTHING,
) -> bytes:
    """The bundle to keep as ``governance/evidence/model.sig``, JSON.

    Args:
        manifest: the files.
        model_name: how the model is called, which is informative.
        key: who signs.
        proofs: a certificate chain, a time stamp.

    Raises:
        ConfigurationError: an Ed25519 key; the specification knows P-256, P-384 and P-521.
    """
    if not key.public.algorithm.startswith("ecdsa-"):
        raise ConfigurationError(
            "OpenSSF Model Signing v1.0 needs an EC key",
            advice="Make one: mlflow-governance keys new PATH",
        )
    payload = signature_payload(manifest, model_name)
    # Model Signing names a key by the SHA-256 of its PEM, and its stock verifier insists.
    hint = hashlib.sha256(key.public.pem.encode("ascii")).hexdigest()
    return bundle.seal(payload, key, hint, proofs)


def manifest_file(manifest: Manifest) -> bytes:
    """``manifest.json``: the canonical manifest, whose SHA-256 is the model's digest."""
    return canonical.encode(manifest.to_document())


def is_signature(name: str) -> bool:
    """True for the names under which a signature of the model is attached."""
    return name == ITEM or name in _BESIDE or name.startswith(_FOLDER)


def verify_signature(case: Case) -> Mapping[str, Any]:
    """Who signed the files of the manifest: ``{signer, key_id, signers, resources}``.

    Several signatures may be attached; those of nobody trusted are left out, as long as one
    counts and as many as a threshold of the trust policy asks for.

    Raises:
        EvidenceMissing: the model is not signed.
        VerificationError: no signature counts: malformed, of nobody trusted, or over other
            files; then the message names them.
    """
    items = _items(case)
    signers: list[Signer] = []
    problems: list[VerificationError] = []
    for item in items:
        try:
            signers += _verify(case, item)
        except VerificationError as error:
            problems.append(error)
    if not signers:
        if len(problems) == 1:
            raise problems[0]
        told = "; ".join(f"{i.name}: {e.message}" for i, e in zip(items, problems, strict=True))
        raise VerificationError(told, advice=problems[0].advice)
    names = sorted({signer.name for signer in signers})
    case.trust.require(Purpose.SIGNATURE, case.model_name, names)
    return {
        "signer": signers[0].name,
        "key_id": signers[0].by.id,
        "signers": names,
        "resources": len(case.manifest.files),
    }


def recognise(case: Case) -> set[str]:
    """Who trusted made the one item of a case, a signature over these files.

    Raises:
        VerificationError: nobody, or it is none; says why.
    """
    (item,) = case.items
    return {signer.name for signer in _verify(case, item)}


def _verify(case: Case, item: EvidenceItem) -> tuple[Signer, ...]:
    if not bundle.is_bundle(item.data):
        if item.name == ITEM:
            raise VerificationError(f"{ITEM} is not a bundle of OpenSSF Model Signing")
        beside = bundle.parse_beside(item.data, manifest_file(case.manifest))
        return case.trust.verify(beside, Purpose.SIGNATURE, case.model_name, case.now)
    enclosed = bundle.parse(item.data)
    if enclosed.payload_type != envelope.IN_TOTO:
        raise VerificationError(f"the payload of {item.name} is not {envelope.IN_TOTO}")
    found = case.trust.verify(enclosed, Purpose.SIGNATURE, case.model_name, case.now)
    _compare(_Signed(item.name).resources(parse_statement(enclosed.payload)), case.manifest)
    return found


def _items(case: Case) -> list[EvidenceItem]:
    found = [item for item in case.items if is_signature(item.name)]
    if not found:
        raise EvidenceMissing(
            "the model is not signed",
            advice="Sign it: mlflow-governance submit MODEL --key KEY.pem",
        )
    names = [item.name for item in found]
    for name in names:
        if names.count(name) > 1:
            raise VerificationError(f"{name} is attached more than once")
    return sorted(found, key=lambda item: (item.name != ITEM, item.name))


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


@dataclass(frozen=True)
class _Signed:
    """Reads what a signature of a given file name is over."""

    item: str

    def resources(self, statement: Statement) -> dict[str, str]:
        """Name to SHA-256 of every file the statement signs."""
        item = self.item
        if statement.predicate_type != MODEL_SIGNATURE:
            raise VerificationError(f"{item} is not of the type {MODEL_SIGNATURE}")
        self._refuse_serialization(statement.predicate.get("serialization"))
        resources = statement.predicate.get("resources")
        if not isinstance(resources, list) or not resources:
            raise VerificationError(f"{item} signs no file")
        for entry in resources:
            self._refuse_resource(entry)
        if [subject.digest for subject in statement.subjects] != [{"sha256": _root(resources)}]:
            raise VerificationError(f"{item} contradicts itself: the root digest is of other files")
        signed = {entry["name"]: entry["digest"] for entry in resources}
        if len(signed) != len(resources):
            raise VerificationError(f"{item} names a file twice")
        return signed

    def _refuse_serialization(self, value: object) -> None:
        known = {"method": "files", "hash_type": "sha256", "allow_symlinks": False}
        if not isinstance(value, dict) or any(
            value.get(word) != wanted or type(value.get(word)) is not type(wanted)
            for word, wanted in known.items()
        ):
            raise VerificationError(
                f"{self.item} was not made over whole files with SHA-256, symlinks off"
            )

    def _refuse_resource(self, entry: object) -> None:
        if not isinstance(entry, dict) or entry.get("algorithm") != "sha256":
            raise VerificationError(f"{self.item} has a resource that is not a SHA-256 digest")
        name, value = entry.get("name"), entry.get("digest")
        if not isinstance(name, str) or not isinstance(value, str) or not _HEX.fullmatch(value):
            raise VerificationError(f"{self.item} has a resource without a sound name and digest")
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
