"""Model cards for the Hugging Face Hub: a README.md with YAML front matter.

The Hub knows licence, language, tags, task, data sets, base models, results and CO2. What it has
no field for goes under the key ``mlflow_governance``, so that a card comes back as it went; texts
such as purpose and limits are sections of the page. :mod:`.hub_import` reads it.
https://huggingface.co/docs/hub/model-cards
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

from mlflow_governance.evidence import strict_yaml
from mlflow_governance.submission.card.author import HUGGING_FACE, AuthorCard, Footprint, Metric
from mlflow_governance.submission.card.build import measured
from mlflow_governance.submission.card.read import spdx
from mlflow_governance.submission.card.render import markdown, plain
from mlflow_governance.submission.card.write import stated, to_document
from mlflow_governance.submission.facts import Facts

OWN_KEY = "mlflow_governance"
IN_PAGE = ("purpose", "audience", "limits", "human_oversight", "monitoring", "annex_iv")
"""Fields of the card that are sections of the page."""

NOT_STATED = "not stated"
"""The data set of a result that names none; the Hub wants one."""

HUB_DATASETS = "https://huggingface.co/datasets/"
REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?")


def export_readme(name: str, author: AuthorCard, facts: Facts) -> str:
    """The card as README.md of a model repository."""
    front = _front(name, author, facts)
    head = f"---\n{strict_yaml.dump(front)}---\n\n" if front else ""
    return f"{head}{markdown(name, '', author, facts)}"


def _front(name: str, author: AuthorCard, facts: Facts) -> dict[str, Any]:
    results = [m for m in measured(author, facts) if m.value is not None and math.isfinite(m.value)]
    names = {metric.name for metric in [*results, *author.metrics]}
    sources = [use.source for use in author.data]
    return stated(
        {
            **_licence(author.licence),
            "language": list(author.language),
            "tags": list(author.tags),
            "pipeline_tag": author.task,
            # By source, not by name: a set called "churn" here is none called "churn" on the Hub.
            "datasets": [
                s.removeprefix(HUB_DATASETS) for s in sources if s.startswith(HUB_DATASETS)
            ],
            "base_model": [model for text in author.base_models if (model := hub_model(text))],
            "metrics": sorted(names),
            "co2_eq_emissions": _emissions(author.environmental),
            "model-index": [_index(name, author.task, results)] if results else [],
            OWN_KEY: _own(author),
        }
    )


def hub_model(base_model: str) -> str:
    """``organisation/name`` of a base model on the Hub; empty for one from elsewhere."""
    if not base_model.startswith(HUGGING_FACE):
        return ""
    return base_model.removeprefix(HUGGING_FACE).partition("@")[0]


def _own(author: AuthorCard) -> dict[str, Any]:
    """What neither the Hub's own keys nor the page say again word for word."""
    document = to_document(author)
    for field in (*IN_PAGE, "language", "tags", "task"):
        document.pop(field, None)
    if _licence(author.licence).keys() == {"license"}:
        document.pop("licence")
    if all(hub_model(text) == text.removeprefix(HUGGING_FACE) for text in author.base_models):
        document.pop("base_models", None)
    return document


def _licence(expression: str) -> dict[str, str]:
    """The Hub has one licence, in lower case; whatever is more than that is ``other``."""
    if not expression:
        return {}
    word = expression.lower()
    if " " not in expression and spdx(word) == expression and not word.startswith("licenseref-"):
        return {"license": word}
    return {"license": "other", "license_name": expression.removeprefix("LicenseRef-")}


def _emissions(entries: Sequence[Footprint]) -> dict[str, Any]:
    """Grams of CO2 equivalent; the Hub has no place for energy."""
    told = [entry for entry in entries if entry.co2_kg is not None]
    if not told:
        return {}
    first = told[0]
    return stated(
        {
            "emissions": round(sum(entry.co2_kg or 0.0 for entry in told) * 1000, 6),
            "training_type": {"training": "pre-training"}.get(first.activity, first.activity),
            "geographical_location": first.region,
            "hardware_used": first.hardware,
            "source": first.note,
        }
    )


def _index(name: str, task: str, results: Sequence[Metric]) -> dict[str, Any]:
    by_dataset: dict[str, list[Metric]] = {}
    for metric in results:
        by_dataset.setdefault(metric.dataset, []).append(metric)
    return {
        "name": plain(name),
        "results": [
            {
                "task": {"type": task or "other"},
                "dataset": {"type": "other", "name": plain(dataset) or NOT_STATED},
                "metrics": [{"type": plain(m.name), "value": m.value} for m in metrics],
            }
            for dataset, metrics in by_dataset.items()
        ],
    }
