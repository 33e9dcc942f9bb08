"""The parsers that meet foreign bytes, each with files to start from."""

from __future__ import annotations

import base64
import gzip
import io
import json
import tarfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509 import load_pem_x509_certificates

from mlflow_governance.audit import tiles
from mlflow_governance.audit import verifier as offline
from mlflow_governance.core import canonical
from mlflow_governance.core.manifest import Manifest
from mlflow_governance.errors import GovernanceError, VerificationError
from mlflow_governance.evidence import (
    advisories,
    attestation,
    bundle,
    certificate,
    envelope,
    in_toto_files,
    keyless,
    keys,
    predicate,
    sbom,
    signature,
    timestamp,
)
from mlflow_governance.evidence.examiner import default_verifiers
from mlflow_governance.evidence.interface import EvidenceItem
from mlflow_governance.evidence.keys import PublicKey
from mlflow_governance.evidence.layout import ROOT, LayoutVerifier
from mlflow_governance.evidence.trust import TrustPolicy
from mlflow_governance.ledger import checkpoint
from mlflow_governance.ledger.cosignature import cosign, cosigned, witness_key
from mlflow_governance.ledger.note import Ed25519Signer, split
from mlflow_governance.ledger.proof import InclusionProof
from mlflow_governance.ledger.witnessing import Request
from mlflow_governance.policy import bundle as policy_bundle
from mlflow_governance.serving import revocations
from mlflow_governance.submission import statements
from tests.golden.sets import ADVISORIES, SETS, GoldenSet, golden_sets
from tests.sigstore import certificates
from tests.unit.audit import evidence
from tests.unit.evidence import bom_builders, builders, layout_builders, record_builders

_REPOSITORY = SETS.parents[1]
_VECTORS = SETS.parent / "vectors" / "model-signing"


@dataclass(frozen=True)
class Target:
    """A parser, and files it reads. ``run`` lets our own errors pass and no others."""

    name: str
    parse: Callable[[bytes], object]
    seeds: Callable[[], Iterable[bytes]]

    def run(self, data: bytes) -> None:
        with suppress(GovernanceError):
            self.parse(data)


@cache
def _set() -> GoldenSet:
    return golden_sets()[-1]


def _files(*patterns: str) -> Callable[[], list[bytes]]:
    def read() -> list[bytes]:
        folder = _set().folder
        found = sorted(path for pattern in patterns for path in folder.glob(pattern))
        return [path.read_bytes() for path in found]

    return read


def _payloads(*patterns: str) -> Callable[[], list[bytes]]:
    """What is signed in files of the set."""

    def read() -> list[bytes]:
        documents = (json.loads(data) for data in _files(*patterns)())
        enclosed = (found.get("dsseEnvelope", found) for found in documents)
        return [base64.b64decode(found["payload"]) for found in enclosed if "payload" in found]

    return read


@cache
def _scratch() -> Path:
    return Path(mkdtemp(prefix="fuzz-"))


def _file(data: bytes, name: str = "input") -> Path:
    path = _scratch() / name
    path.touch(mode=0o600)
    path.write_bytes(data)
    return path


# --- what is signed may be foreign as well: a trusted signer, or one whose key was stolen -------


def _statement(data: bytes) -> None:
    found = attestation.parse_statement(data)
    predicate.check(found.predicate_type, found.predicate)


def _signed_statement(data: bytes) -> None:
    """Every verifier over a statement that a trusted key signed."""
    signed = envelope.sign(data, envelope.IN_TOTO, [builders.key()])
    case = builders.case(("attestations/a.intoto.json", signed))
    for verifier in _verifiers():
        with suppress(GovernanceError):
            canonical.encode(dict(verifier.verify(case)))


_RECORDS = {
    predicate.CHANGE_TICKET: record_builders.ticket_body,
    predicate.SLO: record_builders.slo_body,
    predicate.EVALUATION: record_builders.evaluation_body,
    predicate.REPRODUCTION: record_builders.reproduction_body,
}


def _records(data: bytes) -> None:
    """Several statements of one type beside each other, by two signers; and none breaks another."""
    document = canonical.decode_object(data)
    kind, bodies = document.get("kind"), document.get("bodies")
    if not isinstance(kind, str) or kind not in _RECORDS or not isinstance(bodies, list):
        return
    by = [builders.key(), builders.key("lab")]
    pairs = [(body, by[n % 2]) for n, body in enumerate(bodies[:8]) if isinstance(body, dict)]
    policy = builders.trust(builders.signer(), builders.signer("lab"))
    items = record_builders.attached(kind, *pairs)
    turned = [(f"{9 - number}{name}", signed) for number, (name, signed) in enumerate(items)]
    for verifier in _verifiers():
        proved: list[bytes] = []
        for attached in (items, turned):
            with suppress(GovernanceError):
                facts = verifier.verify(builders.case(*attached, policy=policy))
                proved.append(canonical.encode(dict(facts)))
        if len(proved) == 1 or len(set(proved)) > 1:
            raise AssertionError("the order of the files changes the facts")


def _record_seeds() -> list[bytes]:
    near = {"metric": "loss", "difference": 0.1, "limit": 0.2}
    others: dict[str, list[dict[str, Any]]] = {
        predicate.CHANGE_TICKET: [record_builders.ticket_body("rejected")],
        predicate.SLO: [record_builders.slo_body(record_builders.objective(measured=0.5))],
        predicate.EVALUATION: [record_builders.evaluation_body({"f1": 1}, record_builders.part())],
        predicate.REPRODUCTION: [record_builders.reproduction_body("sha256:" + "0" * 64,
                                                                   tolerance=near)],
    }  # fmt: skip
    return [
        json.dumps({"kind": kind, "bodies": [make(), *others[kind], make()]}).encode()
        for kind, make in _RECORDS.items()
    ]


@cache
def _verifiers() -> tuple[Any, ...]:
    return default_verifiers(_set().folder / ADVISORIES)


def _signed_model(data: bytes) -> None:
    enclosed = envelope.sign(data, envelope.IN_TOTO, [builders.key()])
    signature.verify_signature(builders.case((signature.ITEM, bundle.wrap(enclosed, "hint"))))


def _signed_layout(data: bytes) -> None:
    """A layout by its owner, or a link by the functionary of the step it names."""
    items = dict(_pipeline())
    name, by = ROOT, "owner"
    with suppress(ValueError, AttributeError, TypeError, IndexError, RecursionError):
        step = json.loads(data).get("name")
        if step in layout_builders.BY:
            by = layout_builders.BY[step][0]
            name = layout_builders.link_name(step, layout_builders.keyid(by))
    message = envelope.pae(envelope.IN_TOTO, data)
    value = bytes.fromhex(layout_builders.person(by).sign(message).signature)
    items[name] = json.dumps({
        "payload": base64.b64encode(data).decode(),
        "payloadType": envelope.IN_TOTO,
        "signatures": [
            {"keyid": layout_builders.keyid(by), "sig": base64.b64encode(value).decode()}
        ],
    }).encode()  # fmt: skip
    LayoutVerifier().verify(layout_builders.case_of(items))


@cache
def _pipeline() -> dict[str, bytes]:
    return layout_builders.evidence()


def _pipeline_payloads() -> list[bytes]:
    return [base64.b64decode(json.loads(data)["payload"]) for data in _pipeline().values()]


def _layout(data: bytes) -> None:
    in_toto_files.functionaries(in_toto_files.read_layout(EvidenceItem(ROOT, data)))


def _revocations(data: bytes) -> None:
    signed = envelope.sign(data, revocations.PAYLOAD_TYPE, [builders.key()])
    revocations.verify_list(signed, builders.trust(), builders.NOW)


# --- keys, certificates, time stamps, Sigstore -------------------------------------------------


def _chain(data: bytes) -> None:
    """A leaf, and the same certificate above the real one."""
    root = certificate.load_roots((_set().folder / "root.pem").read_bytes())
    whom = certificate.Identity("lab@example.com")
    for chain in ([data], [*_ders()[:1], data], [data, *_ders()[1:]]):
        with suppress(VerificationError):
            certificate.verify_chain(certificate.load_chain(chain), root, whom, _set().at)


@cache
def _ders() -> list[bytes]:
    (data,) = _files("model-signature-certificate/*.sig")()
    entries = json.loads(data)["verificationMaterial"]["x509CertificateChain"]["certificates"]
    return [base64.b64decode(entry["rawBytes"]) for entry in entries]


def _stamp(data: bytes) -> None:
    authority = timestamp.load_authority("tsa", (_set().folder / "tsa.pem").read_bytes())
    timestamp.stamped_at([data], _stamped()[0], [authority])


@cache
def _stamped() -> tuple[bytes, bytes]:
    """A signature, and the time stamp over it."""
    (data,) = _files("model-signature-stamped/*.sig")()
    enclosed = bundle.parse(data)
    return enclosed.signatures[0].value, enclosed.material.stamps[0]


def _keyless(data: bytes) -> None:
    root = (_set().folder / "trusted_root.json").read_bytes()
    identity, issuer = _keyless_signer()
    for attempt in (
        lambda: keyless.verify_keyless(data, identity, issuer, root),
        lambda: keyless.verify_keyless_blob(data, b"\0" * 32, identity, issuer, root),
    ):
        with suppress(GovernanceError):
            attempt()


def _trusted_root(data: bytes) -> None:
    (signed,) = _files("model-signature-keyless/*.sig")()
    keyless.verify_keyless(signed, *_keyless_signer(), data)


@cache
def _keyless_signer() -> tuple[str, str]:
    (named,) = [s.by for s in _set().trust.signers if s.name == "trainer"]
    return named.identity, named.issuer  # type: ignore[union-attr]


def _cosign_keys() -> list[bytes]:
    """A key file of cosign whose work factors are small; the password is not its own."""
    kdf = {"name": "scrypt", "params": {"N": 2, "r": 1, "p": 1}, "salt": "AAAA"}
    cipher = {"name": "nacl/secretbox", "nonce": base64.b64encode(b"\0" * 24).decode()}
    text = json.dumps({"kdf": kdf, "cipher": cipher, "ciphertext": "AAAA"})
    body = base64.encodebytes(text.encode())
    kinds = (b"ENCRYPTED SIGSTORE PRIVATE KEY", b"ENCRYPTED COSIGN PRIVATE KEY")
    plain = certificates.private_pem(certificates.p256())
    return [
        *(b"-----BEGIN %b-----\n%b-----END %b-----\n" % (kind, body, kind) for kind in kinds),
        plain,
    ]


def _keyless_seeds() -> list[bytes]:
    return [
        *_files("model-signature-keyless/*.sig")(),
        (_VECTORS / "v1.1.0-sigstore" / "model.sig").read_bytes(),
    ]


# --- documents ---------------------------------------------------------------------------------


def _canonical(data: bytes) -> None:
    value = canonical.decode(data)
    again = canonical.encode(value)
    if canonical.encode(canonical.decode(again)) != again:
        raise AssertionError("the canonical form is not stable")


def _manifest(data: bytes) -> None:
    document = canonical.decode(data)
    signature.manifest_file(Manifest.from_document(document))


def _cyclonedx(data: bytes) -> None:
    sbom.check_document(canonical.decode_object(data))


def _boms() -> list[bytes]:
    found = bom_builders.bom(bom_builders.library("leftpad", "1.0"))
    return [json.dumps(found | {"specVersion": version}).encode() for version in ("1.6", "1.7")]


def _advisory(data: bytes) -> None:
    folder = _scratch() / "osv"
    folder.mkdir(exist_ok=True)
    (folder / "a.json").write_bytes(data)
    index = advisories.load(folder)
    for name in ("leftpad", "numpy"):
        list(index.matching(name, "1.0"))


_WITNESS_SIGNER = Ed25519Signer("w.example", Ed25519PrivateKey.from_private_bytes(b"w" * 32))
_WITNESS = witness_key(_WITNESS_SIGNER)
_JUNIT = (
    b'<?xml version="1.0"?><testsuites><testsuite name="s" tests="2" failures="1">'
    b'<testcase classname="a" name="good"/><testcase classname="a" name="bad">'
    b'<failure message="no"/></testcase></testsuite></testsuites>'
)
_RESULT = b'{"result": "PASSED", "configuration": [{"name": "suite.yaml"}]}'


def _junit(data: bytes) -> None:
    for name in ("r.xml", "r.json"):
        with suppress(GovernanceError):
            statements.test_result(_file(data, name))


def _rego(data: bytes) -> None:
    policy_bundle.from_files({"accept.rego": data})


def _archive(data: bytes) -> None:
    policy_bundle.load(_file(data, "bundle.tar.gz"))


def _archives() -> list[bytes]:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for name, data in {".manifest": b'{"roots": [""]}', "a/data.json": b'{"x": 1}'}.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return [gzip.compress(made.getvalue(), mtime=0), made.getvalue()]


def _regos() -> list[bytes]:
    return [path.read_bytes() for path in sorted((_REPOSITORY / "policies").glob("**/*.rego"))][:4]


def _trust(data: bytes) -> None:
    TrustPolicy.parse(data, _set().folder)


def _verifier(parse: Callable[[bytes], object]) -> Callable[[bytes], object]:
    """A part of the auditors' verifier, which has errors of its own: exit codes 1 and 2."""

    def run(data: bytes) -> None:
        try:
            parse(data)
        except (offline.DoesNotVerifyError, offline.NotCheckedError) as error:
            raise VerificationError(str(error)) from error

    return run


@cache
def _story() -> evidence.Story:
    return evidence.told()


@cache
def _bundle() -> evidence.Files:
    return _story().collect()


class _InMemory(offline.Archive):
    """Files that were never zipped."""

    def __init__(self, files: evidence.Files) -> None:
        self.files, self.names = files, set(files)

    def read(self, name: str, limit: int = 0) -> bytes:
        return self.files[name] if name in self.names else offline.refuse(name, "is missing")


def _evidence(data: bytes) -> None:
    """A document in place of each that a registry may sign without its ledger."""
    story = _story()
    for name in ("openings.json", "approvals.json"):
        files = {**_bundle(), name: data}
        made = story.manifest(files)
        files |= {"manifest.json": made, "manifest.dsse": story.sign(made)}
        keys = [offline.Key(story.vkey)]
        with suppress(offline.DoesNotVerifyError, offline.NotCheckedError):
            offline.Bundle(_InMemory(files), keys, story.registry_pem()).verify()


def _entry(data: bytes) -> None:
    """An entry that the ledger itself holds, among others: whatever a registry might record."""
    story = evidence.told(registry=_story().registry)
    story.ledger.append(data)
    story.mine.append(len(story.ledger.rows) - 1)
    story.export(entries=story.mine[:-1])
    files = story.bundle()
    offline.Bundle(_InMemory(files), [offline.Key(story.vkey)], story.registry_pem()).verify()


def _note(data: bytes) -> None:
    offline.Note(data, "note").signers([offline.Key(_story().vkey)])


def _proof(data: bytes) -> None:
    proof = offline.Proof(data, "proof")
    proof.verify(b'{"index":3,"reason":null}', offline.Note(proof.checkpoint, "proof"))


def _entries(data: bytes) -> None:
    for entry in offline.split_bundle(data, "tile"):
        offline.place_of(entry)


def _zip(data: bytes) -> None:
    path = _file(data, "evidence.zip")
    offline.Bundle(offline.Archive(str(path)), [offline.Key(_story().vkey)], None).verify()


def _verified_stamp(data: bytes) -> None:
    roots = load_pem_x509_certificates(_files("tsa.pem")()[0])
    offline.verify_stamp(data, _stamped()[0], roots[1:], "stamp")


_STATEMENTS = ("*/*.intoto.json",)
_SIGNATURES = ("model-signature-*/*.sig", "provenance-bundle/*")

TARGETS = {
    target.name: target
    for target in (
        Target("dsse-envelope", envelope.parse, _files(*_STATEMENTS)),
        Target("sigstore-bundle", bundle.parse, _files(*_SIGNATURES)),
        Target(
            "cosign-signature", lambda data: bundle.parse_beside(data, b"[]"), _files("cosign-*/*")
        ),
        Target("statement", _statement, _payloads(*_STATEMENTS)),
        Target("signed-statement", _signed_statement, _payloads(*_STATEMENTS)),
        Target("records", _records, _record_seeds),
        Target("model-statement", _signed_model, _payloads("model-signature-p*/*.sig")),
        Target("trust-policy", _trust, _files("trust.yaml")),
        Target("layout", _layout, _files("layout*/*.layout")),
        Target(
            "link",
            lambda data: in_toto_files.read_link(EvidenceItem("layout/a.link", data)),
            _files("layout*/*.link"),
        ),
        Target("signed-layout", _signed_layout, _pipeline_payloads),
        Target(
            "private-key",
            lambda data: keys.load_private_key(_file(data, "k.pem"), b"hello"),
            _cosign_keys,
        ),
        Target("public-key", PublicKey.from_pem, lambda: [builders.key().public.pem.encode()]),
        Target("time-stamp", _stamp, lambda: [_stamped()[1]]),
        Target(
            "time-stamp-authority",
            lambda data: timestamp.load_authority("tsa", data),
            _files("tsa.pem"),
        ),
        Target("certificate", _chain, lambda: list(_ders())),
        Target("trusted-roots", certificate.load_roots, _files("root.pem")),
        Target("keyless-bundle", _keyless, _keyless_seeds),
        Target("sigstore-root", _trusted_root, _files("trusted_root.json")),
        Target("cyclonedx", _cyclonedx, _boms),
        Target("osv-advisory", _advisory, _files("advisories/*.json")),
        Target("manifest", _manifest, _files("manifest.json")),
        Target("canonical-json", _canonical, _files("manifest.json", "expected.json")),
        Target("test-report", _junit, lambda: [_JUNIT, _RESULT]),
        Target("policy", _rego, _regos),
        Target("policy-bundle", _archive, _archives),
        Target("revocation-list", _revocations, _payloads("revocations/*")),
        Target("checkpoint", checkpoint.parse, _files("ledger/*.checkpoint")),
        Target(
            "witness-request",
            lambda data: Request.parse(data).checkpoint(),
            lambda: [b"old 0\n\n" + note for note in _files("ledger/*.checkpoint")()],
        ),
        Target(
            "cosignatures",
            lambda data: cosigned(data, [_WITNESS]),
            lambda: [
                note + cosign(split(note)[0], _WITNESS_SIGNER, 1).encode()
                for note in _files("ledger/*.checkpoint")()
            ],
        ),
        Target(
            "ledger-proof",
            lambda data: InclusionProof.parse(data.decode("utf-8", "replace")),
            _files("ledger/*.tlog-proof"),
        ),
        Target("verifier-note", _verifier(_note), lambda: [_bundle()["ledger/checkpoint"]]),
        Target(
            "verifier-key",
            _verifier(lambda data: offline.Key(data.decode("utf-8", "replace"))),
            lambda: [_story().vkey.encode()],
        ),
        Target(
            "verifier-proof",
            _verifier(_proof),
            lambda: [_bundle()["ledger/proofs/3.tlog-proof"]],
        ),
        Target("verifier-tile", _verifier(_entries), lambda: [tiles.bundle([b"{}", b""] * 9)]),
        Target("verifier-stamp", _verifier(_verified_stamp), lambda: [_stamped()[1]]),
        Target(
            "verifier-policy",
            _verifier(lambda data: offline.policy_digest(data, "policy")),
            lambda: [evidence.policy().archive()],
        ),
        Target("verifier-zip", _verifier(_zip), lambda: [evidence.zipped(_story().bundle())]),
        Target(
            "verifier-evidence",
            _evidence,
            lambda: [_bundle()["openings.json"], _bundle()["approvals.json"]],
        ),
        Target(
            "verifier-entry",
            _verifier(_entry),
            lambda: [_bundle()[f"ledger/entries/{index}.json"] for index in (3, 7, 8)],
        ),
    )
}
"""One more parser is one more line here."""
