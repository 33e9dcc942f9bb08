"""Makes a set: every kind of file that a release signs or accepts, by keys that are then gone."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from mlflow_governance.core import canonical, moment
from mlflow_governance.evidence import attestation, bundle, envelope, keys, predicate, signature
from mlflow_governance.evidence.keys import PrivateKey, PublicKey
from mlflow_governance.ledger import merkle
from mlflow_governance.ledger.proof import InclusionProof
from mlflow_governance.serving import revocations
from mlflow_governance.submission.keyless import KeylessKey
from tests.golden.sets import ADVISORIES, MANIFEST, Golden, GoldenSet
from tests.sigstore import certificates, tsa
from tests.sigstore.certificates import CODE_SIGNING, Wish
from tests.sigstore.private import PrivateSigstore
from tests.unit.evidence import bom_builders, builders, layout_builders, record_builders
from tests.unit.ledger import builders as ledger_builders

MODEL = builders.MODEL
MODEL_MANIFEST = builders.MANIFEST
TRAINER = "trainer@example.com"
LAB = "lab@example.com"
HOUR = timedelta(hours=1)

Item = tuple[str, bytes]


@dataclass
class _Making:
    """A set that is being made: where, when, with which keys, and what is in it so far."""

    folder: Path
    secrets: Path
    made: datetime
    at: datetime
    signers: list[dict[str, Any]] = field(default_factory=list)
    cases: list[dict[str, Any]] = field(default_factory=list)

    def add(self, name: str, verified_by: str, *items: Item, model: str = MODEL) -> None:
        """A case; its files are named after it."""
        files = {}
        for number, (attached, data) in enumerate(items):
            ending = attached.rpartition("/")[2].partition(".")[2] or attached
            part = f"-{number}" if len(items) > 1 else ""
            files[attached] = f"{name}/{name}{part}.{ending}"
            path = self.folder / files[attached]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        self.cases.append(
            {"name": name, "verified_by": verified_by, "model": model, "items": files}
        )

    def key(self, name: str, kind: object, *purposes: str, **more: Any) -> PrivateKey:
        """A new key, and the entry of ``trust.yaml`` that trusts it."""
        path = self.secrets / f"{name}.pem"
        path.write_bytes(certificates.private_pem(kind))  # type: ignore[arg-type]
        path.chmod(0o600)
        made = keys.load_private_key(path)
        self.trust(name, {"key": made.public.pem}, *purposes, **more)
        return made

    def trust(self, name: str, by: Mapping[str, Any], *purposes: str, **more: Any) -> None:
        self.signers.append({"name": name, **by, "for": list(purposes), **more})


def make_set(folder: Path) -> Iterator[str]:
    """Write a set; gives the name of each case once it verified.

    Raises:
        RuntimeError: a tool is missing, or something that was made does not verify.
    """
    made = datetime.now(UTC).replace(microsecond=0)
    with TemporaryDirectory() as secrets:
        making = _Making(folder, Path(secrets), made, made + HOUR)
        (folder / ADVISORIES).mkdir(parents=True)
        for part in _PARTS:
            part(making)
    trust = {"version": 1, "signers": making.signers, **_others(making)}
    (folder / "trust.yaml").write_text(yaml.safe_dump(trust, sort_keys=False))
    (folder / MANIFEST).write_bytes(canonical.encode(MODEL_MANIFEST.to_document()))
    document = {"release": folder.name, "at": moment.to_text(making.at), "cases": making.cases}
    _write(folder, document)
    for entry, case in zip(making.cases, GoldenSet(folder).cases, strict=True):
        entry["facts"] = Golden.verify(case)
        yield case.name
    _write(folder, document)


def _write(folder: Path, document: Mapping[str, Any]) -> None:
    (folder / "expected.json").write_text(json.dumps(document, indent=1) + "\n", "utf-8")


def _others(making: _Making) -> dict[str, Any]:
    return {
        "thresholds": [
            {"for": ["test-result"], "models": ["twice-*"], "of": ["pipeline", "reviewer"],
             "least": 2},
        ],
        "timestamping": [{"name": "tsa", "chain": {"file": "tsa.pem"}}],
    }  # fmt: skip


# --- signatures of the model ------------------------------------------------------------------


def _keys(making: _Making) -> None:
    for curve in (ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()):
        name = curve.name.removeprefix("sec").removesuffix("r1")
        key = making.key(name, ec.generate_private_key(curve), "signature")
        signed = signature.sign_model(MODEL_MANIFEST, MODEL, key)
        making.add(f"model-signature-{name}", "signature", (signature.ITEM, signed))


def _stamped(making: _Making) -> None:
    """A key withdrawn since, and a time stamp that says that it signed before."""
    authority = tsa.Tsa(tsa.authority())
    (making.folder / "tsa.pem").write_bytes(certificates.pem(*authority.holder.chain))
    withdrawn = {"at": moment.to_text(making.made), "reason": "its laptop was stolen"}
    key = making.key("retired", certificates.p256(), "signature", withdrawn=withdrawn)
    payload = signature.signature_payload(MODEL_MANIFEST, MODEL)
    enclosed = envelope.sign(payload, envelope.IN_TOTO, [key])
    value = base64.b64decode(json.loads(enclosed)["signatures"][0]["sig"])
    stamp = authority.stamp(value, making.made - HOUR)
    signed = bundle.wrap(enclosed, bundle.cosign_hint(key.public), stamp)
    making.add("model-signature-stamped", "signature", (signature.ITEM, signed))


def _certified(making: _Making) -> None:
    authority = certificates.root("Example root")
    issuing = certificates.below(
        authority, Wish("Issuing", ca=True, path_length=0, digital_signature=False)
    )
    sans = (x509.RFC822Name(LAB),)
    lab = certificates.below(issuing, Wish("Lab", sans=sans, usages=(CODE_SIGNING,)))
    (making.folder / "root.pem").write_bytes(certificates.pem(authority.certificate))
    by = {"certificate": {"roots": {"file": "root.pem"}, "identity": LAB}}
    making.trust("lab", by, "signature")
    path = making.secrets / "lab.pem"
    path.write_bytes(certificates.private_pem(lab.key))
    path.chmod(0o600)
    signed = json.loads(signature.sign_model(MODEL_MANIFEST, MODEL, keys.load_private_key(path)))
    chain = [
        {"rawBytes": base64.b64encode(certificates.der(one)).decode()} for one in lab.chain[:-1]
    ]
    signed["verificationMaterial"] = {
        "x509CertificateChain": {"certificates": chain}, "tlogEntries": [],
    }  # fmt: skip
    making.add(
        "model-signature-certificate", "signature", (signature.ITEM, canonical.encode(signed))
    )


def _keyless(making: _Making) -> None:
    payload = signature.signature_payload(MODEL_MANIFEST, MODEL)
    with PrivateSigstore(making.secrets / "sigstore") as sigstore:
        token = making.secrets / "token"
        token.write_text(sigstore.token(TRAINER))
        signed = KeylessKey(sigstore.client_trust_config, token).sign_dsse(payload)
        issuer = sigstore.issuer
        shutil.copy(sigstore.trusted_root, making.folder / "trusted_root.json")
    by = {"issuer": issuer, "identity": TRAINER, "root": {"file": "trusted_root.json"}}
    making.trust("trainer", {"keyless": by}, "signature")
    making.add("model-signature-keyless", "signature", (signature.ITEM, signed))


def _cosign(making: _Making) -> None:
    """What the real cosign writes, and its older forms, which it no longer does."""
    command = builders.cosign()
    if command is None:
        raise RuntimeError("cosign is missing: make tools")
    work = making.secrets / "cosign"
    work.mkdir()
    (work / MANIFEST).write_bytes(signature.manifest_file(MODEL_MANIFEST))
    (work / "signing.json").write_text(
        '{"mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json"}'
    )
    environment = {"PATH": "/usr/bin", "HOME": str(work), "COSIGN_PASSWORD": "secret"}
    for arguments in (
        ("generate-key-pair",),
        ("sign-blob", "--signing-config", "signing.json", "--key", "cosign.key", "--yes",
         "--bundle", "out.json", MANIFEST),
    ):  # fmt: skip
        subprocess.run([command, *arguments], cwd=work, env=environment, check=True,
                       capture_output=True, timeout=60)  # fmt: skip
    public = PublicKey.from_pem((work / "cosign.pub").read_bytes())
    making.trust("cosign", {"key": public.pem}, "signature")
    new = (work / "out.json").read_bytes()
    value = json.loads(new)["messageSignature"]["signature"]
    old = {
        "base64Signature": value,
        "cert": base64.b64encode(public.pem.encode()).decode(),
        "rekorBundle": None,
    }
    making.add("cosign-bundle", "signature", ("manifest.json.sigstore.json", new))
    making.add("cosign-old-bundle", "signature", ("manifest.json.bundle", canonical.encode(old)))
    making.add("cosign-sig", "signature", ("manifest.json.sig", value.encode()))


# --- statements -------------------------------------------------------------------------------

_BY_PIPELINE = ("provenance", "test-result", "canary", "dataset", "sbom", "model-card",
                "vulnerability-scan")  # fmt: skip


def _attest(kind: str, body: Mapping[str, Any], by: Sequence[PrivateKey]) -> bytes:
    document = attestation.statement(MODEL, MODEL_MANIFEST.digest, kind, body)
    return envelope.sign(canonical.encode(document), envelope.IN_TOTO, by)


def _statements(making: _Making) -> None:
    pipeline = making.key("pipeline", certificates.p256(), *_BY_PIPELINE)
    reviewer = making.key("reviewer", ed25519.Ed25519PrivateKey.generate(), "test-result")
    bom = bom_builders.bom(bom_builders.library("leftpad", "1.0"))
    bodies = {
        "provenance": (predicate.SLSA_PROVENANCE, builders.PROVENANCE_BODY),
        "test_result": (predicate.TEST_RESULT, builders.results_body()),
        "canary": (predicate.CANARY, builders.canary_body(at=making.made)),
        "dataset": (predicate.DATASET, _DATASETS),
        "vulnerability_scan": (predicate.VULNERABILITY_SCAN, _scan(making.made)),
    }
    for kind, (uri, body) in bodies.items():
        signed = _attest(uri, body, [pipeline])
        making.add(kind.replace("_", "-"), kind, (f"attestations/{kind}.intoto.json", signed))
    twice = _attest(predicate.TEST_RESULT, builders.results_body("WARNED"), [pipeline, reviewer])
    making.add("test-result-threshold", "test_result", ("attestations/t.intoto.json", twice),
               model="twice-signed")  # fmt: skip
    signed = _attest(predicate.CYCLONEDX, bom, [pipeline])
    bom_builders.write_advisory(making.folder / ADVISORIES, bom_builders.advisory())
    for kind in ("sbom", "vulnerabilities", "model_card"):
        card = [("model_card.md", bom_builders.CARD_TEXT)] if kind == "model_card" else []
        making.add(kind.replace("_", "-"), kind, ("attestations/sbom.intoto.json", signed), *card)
    enclosed = bundle.wrap(
        _attest(predicate.SLSA_PROVENANCE, builders.PROVENANCE_BODY, [pipeline]),
        bundle.cosign_hint(pipeline.public),
    )
    making.add("provenance-bundle", "provenance", ("attestations/p.intoto.json", enclosed))


_DATASETS = {
    "datasets": [{"name": "train", "digest": "sha256:" + "a" * 64, "source": "s3://b/train"}]
}


def _scan(finished: datetime) -> dict[str, Any]:
    found = {"id": "CVE-2026-0001", "severity": [{"method": "nvd", "score": "high"}]}
    return {
        "scanner": {
            "uri": "pkg:github/aquasecurity/trivy@244fd47e07d1004f0aed9",
            "version": "0.19.2",
            "db": {"uri": "pkg:github/aquasecurity/trivy-db", "version": "v1",
                   "lastUpdate": moment.to_text(finished - HOUR)},
            "result": [found],
        },
        "metadata": {
            "scanStartedOn": moment.to_text(finished - HOUR),
            "scanFinishedOn": moment.to_text(finished),
        },
    }  # fmt: skip


def _records(making: _Making) -> None:
    """What others say of a model that is to serve or serves."""
    purposes = ("change-ticket", "slo", "evaluation", "reproduction")
    bridge = making.key("bridge", certificates.p256(), *purposes)
    at = making.made
    halves = [record_builders.part("18-25"), record_builders.part("26-40", {"auc": 0.88})]
    bodies = {
        "change_ticket": (predicate.CHANGE_TICKET, record_builders.ticket_body(at=at)),
        "slo": (predicate.SLO, record_builders.slo_body(at=at)),
        "evaluation": (
            predicate.EVALUATION, record_builders.evaluation_body(None, *halves, at=at),
        ),
        "reproduction": (predicate.REPRODUCTION, record_builders.reproduction_body(at=at)),
    }  # fmt: skip
    for kind, (uri, body) in bodies.items():
        signed = _attest(uri, body, [bridge])
        making.add(kind.replace("_", "-"), kind, (f"attestations/{kind}.intoto.json", signed))


def _registry(making: _Making) -> None:
    """What the registry itself signs."""
    registry = making.key("registry", certificates.p256(), "registry")
    now = moment.to_text(making.made)
    bodies = {
        "summary": (predicate.VSA, {
            "verifier": {"id": "https://registry.example.org"},
            "timeVerified": now,
            "resourceUri": "models:/churn/3",
            "policy": {"digest": {"sha256": "b" * 64}},
            "inputAttestations": [{"digest": {"sha256": "c" * 64}}],
            "verificationResult": "PASSED",
            "verifiedLevels": ["MLFLOW_GOVERNANCE_APPROVED"],
        }),
        "release": (predicate.RELEASE, {
            "model": {"name": MODEL, "version": 3, "uid": "u1"},
            "digest": MODEL_MANIFEST.digest,
            "files": MODEL_MANIFEST.to_document(),
            "stage": "Approved",
            "released_at": now,
            "released_by": "ann",
            "decision_id": "d1",
            "dossier_digest": "sha256:" + "d" * 64,
            "policy_digest": "sha256:" + "b" * 64,
        }),
        "package-release": (predicate.PACKAGE_RELEASE, {
            "purl": "pkg:mlflow/churn@3", "releaseId": "3",
        }),
    }  # fmt: skip
    for name, (uri, body) in bodies.items():
        signed = _attest(uri, body, [registry])
        making.add(name, "statement", (f"attestations/{name}.intoto.json", signed))
    blocked = revocations.Revocation(MODEL_MANIFEST.digest, "Revoked", making.made)
    signed = revocations.make_list([blocked], 812, making.made, 24 * HOUR, registry)
    making.add("revocations", "revocations", ("revocations.json", signed))


def _layouts(making: _Making) -> None:
    expires = (making.made + timedelta(days=30)).strftime("%Y-%m-%dT%H:%M:%SZ")
    making.trust("owner", {"key": layout_builders.public("owner").pem}, "layout")
    for name, dsse in (("layout", True), ("layout-metablock", False)):
        plan = layout_builders.layout(expires=expires)
        items = layout_builders.evidence(plan, dsse=dsse)
        making.add(name, "layout", *items.items())


def _ledger(making: _Making) -> None:
    ledger = ledger_builders.small_ledger(5)
    index, entry = ledger.entries[2]
    leaves = ledger.leaves
    path = tuple(
        merkle.range_root(leaves[part.start : part.stop])
        for part in merkle.inclusion_ranges(index, len(leaves))
    )
    proof = InclusionProof(index, path, ledger.notes[-1]).encode()
    (making.folder / "ledger.pub").write_text(ledger.key.encode() + "\n")
    making.add("ledger", "ledger", ("entry.json", entry), ("entry.tlog-proof", proof.encode()),
               ("checkpoint", ledger.notes[-1].encode()))  # fmt: skip


_PARTS: Sequence[Callable[[_Making], None]] = (
    _keys, _stamped, _certified, _keyless, _cosign, _statements, _records, _registry, _layouts,
    _ledger,
)  # fmt: skip
"""One more kind of file is one more function here."""
