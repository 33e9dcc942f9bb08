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
        "page_digest": of_bytes(b"page"),
        "owner": "alice",
        "risk_tier": "high",
    }
    return Described(**values | changes)


FULL_CARD = """\
purpose: Rank customers for a call.
audience: [The retention team.]
limits: [Not for business customers., "Not *before* 2020 <b>"]
risks:
  - {risk: The old are called less., safeguard: Checked monthly., severity: high}
  - A customer is called twice.
owner: [alice, bob]
risk_tier: medium
licence: apache-2.0 or MIT
base_models: [hf:org/base@abc123, pkg:pypi/some-model@1.0]
base_model_terms:
  - {name: hf:org/base@abc123, licence: apache-2.0, use: inference}
task: tabular-classification
approach: supervised
language: ["no", en]
tags: [churn]
data:
  - name: churn
    purpose: Rank customers.
    legal_basis: legitimate_interests
    personal_data: pseudonymised
    source: https://huggingface.co/datasets/org/churn
    licence: CC-BY-4.0
    retention: 24 months
  - name: elsewhere
metrics:
  - {name: auc, target: ">= 0.9"}
  - {name: recall, value: 0.5, dataset: hospital}
fairness:
  - {group: Above 65, harms: Called less., mitigation: Checked., benefits: None., results: 2 %}
environmental:
  - {activity: training, energy_kwh: 1.5, co2_kg: 0.4, provider: Grid, energy_source: wind}
  - {co2_kg: 0.1, hardware: a laptop, region: Porto, note: estimated}
monitoring: Drift, weekly.
human_oversight: A person decides.
annex_iv:
  general_description: [One., Two.]
  risk_management: Article 9.
"""
"""A card that says everything."""
