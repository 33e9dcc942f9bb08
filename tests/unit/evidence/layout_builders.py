"""A pipeline of four steps, its layout and its links, signed by real functionaries."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from securesystemslib.formats import encode_canonical
from securesystemslib.signer import CryptoSigner

from mlflow_governance.core import digest
from mlflow_governance.core.manifest import FileEntry, Manifest
from mlflow_governance.evidence import envelope
from mlflow_governance.evidence.authority import KeyHolder
from mlflow_governance.evidence.interface import Case
from mlflow_governance.evidence.keys import PublicKey
from mlflow_governance.evidence.layout import ROOT, link_name
from mlflow_governance.evidence.trust import Signer
from tests.unit.evidence.builders import EVERYTHING, case, trust

Document = dict[str, Any]
MODEL_FILES = {"MLmodel": b"abc", "data/weights.bin": b"1234"}
CLOSED = ["DISALLOW", "*"]


def manifest(files: Mapping[str, bytes]) -> Manifest:
    """The manifest of a model with these files."""
    return Manifest.of(
        [FileEntry(name, len(d), digest.hex_of(digest.of_bytes(d))) for name, d in files.items()]
    )


@cache
def private(name: str) -> ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey:
    """A functionary's or owner's key, made once in a run; some have EC and some Ed25519 keys."""
    curves = {"train": ec.SECP256R1(), "owner": ec.SECP256R1(), "package": ec.SECP384R1()}
    if name in curves:
        return ec.generate_private_key(curves[name])
    return ed25519.Ed25519PrivateKey.generate()


def person(name: str) -> CryptoSigner:
    """The key as in-toto signs with it."""
    return CryptoSigner(private(name))


def keyid(name: str) -> str:
    """The id in-toto gives the key."""
    return str(person(name).public_key.keyid)


def key_entry(name: str, **changes: Any) -> Document:
    """The key as layouts hold it."""
    return {"keyid": keyid(name), **person(name).public_key.to_dict(), **changes}


def public(name: str) -> PublicKey:
    """The key as a trust policy holds it."""
    key = private(name).public_key()
    return PublicKey.from_pem(
        key.public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)
    )


def owner(name: str = "owner", **changes: Any) -> Signer:
    """A signer trusted for layouts, among all else."""
    return Signer(name, KeyHolder(public(name)), **{"purposes": EVERYTHING, **changes})


def signed(document: Mapping[str, Any], *by: str, dsse: bool = True) -> bytes:
    """A document in one of in-toto's two forms, signed by these people."""
    if not dsse:
        message = encode_canonical(document).encode()
        signatures = [person(name).sign(message).to_dict() for name in by]
        return json.dumps({"signed": document, "signatures": signatures}).encode()
    payload = json.dumps(document).encode()
    message = envelope.pae(envelope.IN_TOTO, payload)
    return json.dumps(
        {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": envelope.IN_TOTO,
            "signatures": [
                {
                    "keyid": keyid(name),
                    "sig": base64.b64encode(
                        bytes.fromhex(person(name).sign(message).signature)
                    ).decode(),
                }
                for name in by
            ],
        }
    ).encode()


def artifacts(files: Mapping[str, bytes], prefix: str = "") -> Document:
    """Names and digests as links hold them."""
    return {prefix + n: {"sha256": digest.hex_of(digest.of_bytes(d))} for n, d in files.items()}


def link(name: str, materials: Document, products: Document, **changes: Any) -> Document:
    """What a functionary signs after a step."""
    return {
        "_type": "link",
        "name": name,
        "materials": materials,
        "products": products,
        "byproducts": {"return-value": 0, "stdout": "", "stderr": ""},
        "command": ["python", f"{name}.py"],
        "environment": {},
        **changes,
    }


RAW, TRAIN = artifacts({"raw.csv": b"1,2"}), artifacts({"data/train.csv": b"1"})
WEIGHTS, METRICS = artifacts({"out/model.bin": b"w"}), artifacts({"out/metrics.json": b"{}"})
PRODUCTS = artifacts(MODEL_FILES, "model/")

LINKS: dict[str, Document] = {
    "prepare": link("prepare", RAW, TRAIN),
    "train": link("train", TRAIN, WEIGHTS),
    "evaluate": link("evaluate", WEIGHTS, METRICS),
    "package": link("package", {**WEIGHTS, **METRICS}, PRODUCTS),
}
BY: dict[str, Sequence[str]] = {
    "prepare": ["prepare"],
    "train": ["train"],
    "evaluate": ["evaluate", "second evaluator"],
    "package": ["package"],
}


def from_step(pattern: str, name: str) -> list[str]:
    """A rule: these are what that step made."""
    return ["MATCH", pattern, "WITH", "PRODUCTS", "FROM", name]


RULES: dict[str, tuple[list[list[str]], list[list[str]]]] = {
    "prepare": ([["ALLOW", "raw.csv"], CLOSED], [["CREATE", "data/train.csv"], CLOSED]),
    "train": ([from_step("data/*", "prepare"), CLOSED], [["CREATE", "out/model.bin"], CLOSED]),
    "evaluate": ([from_step("out/*", "train"), CLOSED], [["CREATE", "out/metrics.json"], CLOSED]),
    "package": (
        [from_step("out/model.bin", "train"), from_step("out/metrics.json", "evaluate"), CLOSED],
        [["CREATE", "model/*"], CLOSED],
    ),
}


def step(name: str, **changes: Any) -> Document:
    """A step of the layout."""
    materials, products = RULES[name]
    return {
        "_type": "step",
        "name": name,
        "expected_materials": materials,
        "expected_products": products,
        "pubkeys": [keyid(person_) for person_ in BY[name]],
        "expected_command": [],
        "threshold": len(BY[name]),
        **changes,
    }


def layout(*steps: Document, **changes: Any) -> Document:
    """The layout of these steps; of all four as they should be when none is given."""
    people = [name for names in BY.values() for name in names]
    return {
        "_type": "layout",
        "readme": "",
        "expires": "2027-01-01T00:00:00Z",
        "keys": {keyid(name): key_entry(name) for name in people},
        "steps": list(steps) or [step(name) for name in RULES],
        "inspect": [],
        **changes,
    }


def evidence(
    root: Document | None = None,
    links: Mapping[str, Document] | None = None,
    *,
    by: Mapping[str, Sequence[str]] | None = None,
    dsse: bool = True,
) -> dict[str, bytes]:
    """The items of a pipeline; ``links`` and ``by`` replace those of the steps they name."""
    signers = {**BY, **(by or {})}
    items = {ROOT: signed(root or layout(), "owner", dsse=dsse)}
    for name, document in {**LINKS, **(links or {})}.items():
        for who in signers[name]:
            items[link_name(name, keyid(who))] = signed(document, who, dsse=dsse)
    return items


def case_of(items: Mapping[str, bytes], *owners: Signer, **changes: Any) -> Case:
    """A case with these items, about the model the pipeline made."""
    chosen = {"manifest": manifest(MODEL_FILES), "policy": trust(*(owners or [owner()])), **changes}
    return case(*items.items(), **chosen)
