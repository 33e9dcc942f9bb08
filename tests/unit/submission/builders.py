"""A model directory and what MLflow knows about it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mlflow_governance.core.digest import of_bytes
from mlflow_governance.submission.bom import Described
from mlflow_governance.submission.facts import Dataset, Facts

DIGEST = of_bytes(b"model")
CARD = """\
purpose: Flag tumours that look malignant.
audience: [Pathologists, as a second opinion.]
limits: One hospital, one kind of tissue.
risks: [A missed tumour delays treatment., Staff may stop looking.]
safeguards: [A pathologist reads every result., Training twice a year.]
risk_tier: high
owner: alice
"""


def write(folder: Path, name: str, data: str | bytes) -> Path:
    """A file below a folder."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def facts(**changes: Any) -> Facts:
    """What a scikit-learn model of a usual run brings along."""
    values: dict[str, Any] = {
        "flavors": ("python_function", "sklearn"),
        "requirements": ("scikit-learn==1.0", "requests"),
        "run_id": "r1",
        "started": 1_700_000_000_000,
        "finished": 1_700_000_060_000,
        "commit": "a" * 40,
        "repository": "https://example.org/r.git",
        "entry_point": "train.py",
        "parameters": {"C": "1"},
        "metrics": {"auc": 0.912345678, "accuracy": 0.97},
        "datasets": (Dataset("churn", "mlflow:abcd1234"),),
    }
    return Facts(**values | changes)


def described(**changes: Any) -> Described:
    """The model a document is about."""
    values: dict[str, Any] = {
        "name": "churn",
        "digest": DIGEST,
        "card": {},
        "card_digest": of_bytes(b"card"),
        "owner": "alice",
        "risk_tier": "high",
    }
    return Described(**values | changes)
