"""Real keys, real models and real statements for the tests of this room."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mlflow_governance.core import digest
from mlflow_governance.core.manifest import FileEntry, Manifest
from mlflow_governance.evidence import envelope, keys
from mlflow_governance.evidence.attestation import statement
from mlflow_governance.evidence.authority import KeyHolder
from mlflow_governance.evidence.interface import Case, EvidenceItem
from mlflow_governance.evidence.keys import PrivateKey
from mlflow_governance.evidence.predicate import Purpose
from mlflow_governance.evidence.trust import Signer, TrustPolicy

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
MODEL = "churn"
EVERYTHING = frozenset(Purpose)
MANIFEST = Manifest.of(
    [
        FileEntry("MLmodel", 3, digest.hex_of(digest.of_bytes(b"abc"))),
        FileEntry("data/weights.bin", 4, digest.hex_of(digest.of_bytes(b"1234"))),
    ]
)


def key(name: str = "pipeline", algorithm: keys.Algorithm = "ecdsa-p256") -> PrivateKey:
    """A key made once in a run; another name is another key."""
    return _made_once(name, algorithm)


@cache
def _made_once(name: str, algorithm: keys.Algorithm) -> PrivateKey:
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"{name}.pem"
        keys.generate_key_pair(path, algorithm=algorithm)
        return keys.load_private_key(path)


def signer(name: str = "pipeline", private: PrivateKey | None = None, **changes: Any) -> Signer:
    """A signer trusted for everything, unless told otherwise."""
    return replace(Signer(name, KeyHolder((private or key(name)).public), EVERYTHING), **changes)


def trust(*signers: Signer) -> TrustPolicy:
    """A trust policy in these signers; in ``pipeline`` when none is given."""
    return TrustPolicy(signers or (signer(),))


def attest(
    predicate_type: str,
    predicate: Mapping[str, Any],
    *,
    by: Sequence[PrivateKey] = (),
    manifest: Manifest = MANIFEST,
) -> bytes:
    """A signed statement about a model."""
    document = statement(MODEL, manifest.digest, predicate_type, predicate)
    return envelope.sign(json.dumps(document).encode(), envelope.IN_TOTO, by or [key()])


def case(
    *items: tuple[str, bytes],
    policy: TrustPolicy | None = None,
    manifest: Manifest = MANIFEST,
    model_name: str = MODEL,
    now: datetime = NOW,
) -> Case:
    """A case with these items attached."""
    attached = tuple(EvidenceItem(name, data) for name, data in items)
    return Case(manifest, model_name, attached, policy or trust(), now)


def write_model(folder: Path, files: Mapping[str, bytes]) -> Path:
    """Files below a new directory."""
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def cosign() -> str | None:
    """The real cosign, where there is one: $COSIGN, the PATH, or .tools/bin of the checkout."""
    local = Path(__file__).parents[3] / ".tools" / "bin" / "cosign"
    named = os.environ.get("COSIGN") or shutil.which("cosign")
    return named or (str(local) if local.is_file() else None)


PROVENANCE_BODY: dict[str, Any] = {
    "buildDefinition": {
        "buildType": "https://example.com/train/v1",
        "externalParameters": {"config": "train.yaml"},
        "resolvedDependencies": [
            {"uri": "git+https://example.com/r", "digest": {"sha1": "a" * 40}}
        ],
    },
    "runDetails": {
        "builder": {"id": "https://example.com/builder"},
        "metadata": {"invocationId": "run-1"},
    },
}


def results_body(result: str = "PASSED", **more: Any) -> dict[str, Any]:
    """A test-result predicate."""
    return {"result": result, "configuration": [{"name": "suite.yaml"}], **more}


def canary_body(result: str = "PROCEED", at: datetime = NOW - HOUR) -> dict[str, Any]:
    """A canary predicate over the hour before ``at``."""
    return {
        "result": result,
        "at": at.isoformat(),
        "window": {"from": (at - HOUR).isoformat(), "to": at.isoformat()},
        "metrics": {"auc": 0.91},
    }
