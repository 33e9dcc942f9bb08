"""Rekor v2: a Merkle tree (RFC 6962) of signatures with signed checkpoints (C2SP signed note)."""

from __future__ import annotations

import base64
import hashlib
import threading
from collections.abc import Sequence
from typing import Any

import rfc8785
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric import ed25519


class Rekor:
    """A log of ``hashedrekord`` 0.0.2 entries."""

    def __init__(self, origin: str) -> None:
        self.key = ed25519.Ed25519PrivateKey.generate()
        self.origin = origin
        raw = self.key.public_key().public_bytes(form.Encoding.Raw, form.PublicFormat.Raw)
        self.log_id = hashlib.sha256(origin.encode() + b"\n\x01" + raw).digest()
        self._leaves: list[bytes] = []
        self._lock = threading.Lock()

    def add(self, request: dict[str, Any]) -> dict[str, Any]:
        """``POST /api/v2/log/entries``."""
        asked = request["hashedRekordRequestV002"]
        data = {"algorithm": "SHA2_256", "digest": asked["digest"]}
        body = rfc8785.dumps(
            {
                "apiVersion": "0.0.2",
                "kind": "hashedrekord",
                "spec": {"hashedRekordV002": {"data": data, "signature": asked["signature"]}},
            }
        )
        with self._lock:
            self._leaves.append(hashlib.sha256(b"\0" + body).digest())
            leaves = list(self._leaves)
        index = str(len(leaves) - 1)
        return {
            "logIndex": index,
            "logId": {"keyId": _b64(self.log_id)},
            "kindVersion": {"kind": "hashedrekord", "version": "0.0.2"},
            "integratedTime": "0",
            "inclusionPromise": None,
            "inclusionProof": {
                "logIndex": index,
                "rootHash": _b64(_root(leaves)),
                "treeSize": str(len(leaves)),
                "hashes": [_b64(one) for one in _path(len(leaves) - 1, leaves)],
                "checkpoint": {"envelope": self._checkpoint(leaves)},
            },
            "canonicalizedBody": _b64(body),
        }

    def _checkpoint(self, leaves: Sequence[bytes]) -> str:
        note = f"{self.origin}\n{len(leaves)}\n{_b64(_root(leaves))}\n"
        signature = _b64(self.log_id[:4] + self.key.sign(note.encode()))
        return f"{note}\n\N{EM DASH} {self.origin} {signature}\n"


def _root(leaves: Sequence[bytes]) -> bytes:
    if len(leaves) == 1:
        return leaves[0]
    split = _split(leaves)
    return hashlib.sha256(b"\1" + _root(leaves[:split]) + _root(leaves[split:])).digest()


def _path(index: int, leaves: Sequence[bytes]) -> list[bytes]:
    if len(leaves) == 1:
        return []
    split = _split(leaves)
    if index < split:
        return [*_path(index, leaves[:split]), _root(leaves[split:])]
    return [*_path(index - split, leaves[split:]), _root(leaves[:split])]


def _split(leaves: Sequence[bytes]) -> int:
    return 1 << ((len(leaves) - 1).bit_length() - 1)


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()
