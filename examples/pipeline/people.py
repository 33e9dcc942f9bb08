"""The people of the pipeline, and their keys."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from cryptography.hazmat.primitives.serialization import load_pem_private_key
from securesystemslib.signer import CryptoSigner

from mlflow_governance.evidence.keys import generate_key_pair

PEOPLE: dict[str, Literal["ecdsa-p256", "ed25519"]] = {
    "owner": "ed25519",
    "data-engineer": "ed25519",
    "trainer": "ecdsa-p256",
    "evaluator-1": "ed25519",
    "evaluator-2": "ecdsa-p256",
    "release-engineer": "ecdsa-p256",
}


def make_keys(folder: Path) -> None:
    """A key pair for each, made on the spot. In earnest everybody makes their own."""
    for name, algorithm in PEOPLE.items():
        generate_key_pair(folder / f"{name}.pem", algorithm=algorithm)


def signer(folder: Path, name: str) -> CryptoSigner:
    """The key as in-toto signs with it."""
    return CryptoSigner(load_pem_private_key((folder / f"{name}.pem").read_bytes(), None))
