"""Runs the vectors of others through our verifiers, and says where and why we differ."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from zipfile import ZipFile

from mlflow_governance.core.manifest import Manifest
from mlflow_governance.errors import GovernanceError, VerificationError
from mlflow_governance.evidence import attestation, bundle, hashing, keyless, signature
from mlflow_governance.evidence.authority import CertificateHolder, IdentityHolder, KeyHolder
from mlflow_governance.evidence.interface import Case, EvidenceItem
from mlflow_governance.evidence.keys import PublicKey
from mlflow_governance.evidence.predicate import Purpose
from mlflow_governance.evidence.trust import Signer, TrustPolicy

VECTORS = Path(__file__).parent
_MODELS = VECTORS / "model-signing"
_NOW = datetime(2026, 11, 21, tzinfo=UTC)
"""The signing certificates of these vectors are valid from 2025 to 2035."""


@dataclass(frozen=True)
class Result:
    """What a vector's authors expect, and what each of our ways to look at it says.

    ``ours`` is empty where it verified, and otherwise our refusal.
    """

    name: str
    valid: bool
    ours: Mapping[str, str]

    @property
    def differs(self) -> bool:
        return any((not said) != self.valid for said in self.ours.values())


def _said(attempt: Callable[[], object]) -> str:
    """Empty when it verifies, else the refusal; anything but our own errors comes through."""
    try:
        attempt()
    except GovernanceError as error:
        return error.message
    return ""


# --- OpenSSF Model Signing --------------------------------------------------------------------

SIGNER = "stefanb@us.ibm.com"
ISSUER = "https://sigstore.verify.ibm.com/oauth2"


@cache
def model_trust() -> TrustPolicy:
    """The key, the root and the identity that the maintainers' test signatures are of."""
    keys = _MODELS / "keys"
    holders = {
        "key": KeyHolder(PublicKey.from_pem((keys / "signing-key-pub.pem").read_bytes())),
        "certificate": CertificateHolder(
            (keys / "ca-cert.pem").read_text("ascii"), "intermediate-ca"
        ),
        "identity": IdentityHolder(ISSUER, SIGNER),
    }
    purposes = frozenset({Purpose.SIGNATURE})
    return TrustPolicy(tuple(Signer(name, by, purposes) for name, by in holders.items()))


def _verify_model(data: bytes, files: Manifest) -> None:
    item = EvidenceItem(signature.ITEM, data)
    signature.verify_signature(Case(files, "model", (item,), model_trust(), _NOW))


def _files(folder: Path, *without: str) -> Manifest:
    """The model in a vector's folder: the maintainers keep the signature among its files."""
    found = hashing.hash_directory(folder)
    return Manifest.of([f for f in found.files if f.name not in (signature.ITEM, *without)])


def released_signatures() -> Iterator[Result]:
    """Signatures made by the releases of model-signing, over all files and over those signed."""
    for path in sorted(_MODELS.glob("v*/model.sig")):
        data, folder = path.read_bytes(), path.parent
        chosen = {"all files": _files(folder), "files signed": _files(folder, "ignore-me")}
        ours = {
            word: _said(partial(_verify_model, data, manifest)) for word, manifest in chosen.items()
        }
        yield Result(folder.name, True, ours)


def specification() -> Iterator[Result]:
    """The vectors of the specification, verified over the files they are about."""
    files = _files(_MODELS / "v1.1.0-elliptic-key", "ignore-me")
    others = _files(_MODELS / "v1.1.0-sigstore", "ignore-me")
    for path in sorted((_MODELS / "specification").glob("*/*.bundle.json")):
        data = path.read_bytes()
        kind = path.parent.name
        signed = [_said(partial(_verify_model, data, manifest)) for manifest in (files, others)]
        name = f"{kind}/{path.name.removesuffix('.bundle.json')}"
        yield Result(name, kind == "valid", {"files signed": min(signed, key=len)})


# --- sigstore-conformance ---------------------------------------------------------------------

_IDENTITY = (
    "https://github.com/sigstore-conformance/extremely-dangerous-public-oidc-beacon/.github/"
    "workflows/extremely-dangerous-oidc-beacon.yml@refs/heads/main"
)
_GITHUB = "https://token.actions.githubusercontent.com"


def sigstore() -> Iterator[Result]:
    """Every case of sigstore-conformance, by the reader of its kind and through a trust policy."""
    with TemporaryDirectory() as place, ZipFile(VECTORS / "sigstore-conformance.zip") as archive:
        archive.extractall(place)
        root = Path(place) / "bundle-verify"
        for folder in sorted(path for path in root.iterdir() if path.is_dir()):
            yield _conformance(folder)


def _conformance(folder: Path) -> Result:
    given = {path.name: path.read_bytes() for path in folder.iterdir()}
    artifact = given.get("artifact", (folder.parent / "a.txt").read_bytes())
    data = given["bundle.sigstore.json"]
    identity = given.get("identity", _IDENTITY.encode()).decode().strip()
    issuer = given.get("issuer", _GITHUB.encode()).decode().strip()
    trusted = given.get("trusted_root.json")
    ours = {}
    if "key.pub" not in given:
        ours["keyless"] = _said(lambda: _keyless(data, artifact, (identity, issuer), trusted))
    ours["trust policy"] = _said(lambda: _trusted(data, artifact, _authority(
        given.get("key.pub"), (identity, issuer), trusted)))  # fmt: skip
    return Result(folder.name, not folder.name.endswith("_fail"), ours)


def _authority(
    key: bytes | None, who: tuple[str, str], root: bytes | None
) -> KeyHolder | IdentityHolder:
    if key is not None:
        return KeyHolder(PublicKey.from_pem(key))
    return IdentityHolder(who[1], who[0], (root or b"").decode("utf-8"))


def _keyless(data: bytes, artifact: bytes, who: tuple[str, str], root: bytes | None) -> None:
    if bundle.is_bundle(data):
        _about(keyless.verify_keyless(data, *who, root).payload, artifact)
    else:
        keyless.verify_keyless_blob(data, hashlib.sha256(artifact).digest(), *who, root)


def _trusted(data: bytes, artifact: bytes, by: KeyHolder | IdentityHolder) -> None:
    policy = TrustPolicy((Signer("signer", by, frozenset({Purpose.SIGNATURE})),))
    if not bundle.is_bundle(data):
        signed = bundle.parse_beside(data, artifact)
        policy.verify(signed, Purpose.SIGNATURE, "model", _NOW)
        return
    enclosed = bundle.parse(data)
    policy.verify(enclosed, Purpose.SIGNATURE, "model", _NOW)
    _about(enclosed.payload, artifact)


def _about(payload: bytes, artifact: bytes) -> None:
    found = attestation.parse_statement(payload)
    if not found.is_about(f"sha256:{hashlib.sha256(artifact).hexdigest()}"):
        raise VerificationError("it is about another subject")


if __name__ == "__main__":
    for run in (specification, released_signatures, sigstore):
        for result in run():
            print(json.dumps([result.differs, result.name, result.valid, dict(result.ours)]))
