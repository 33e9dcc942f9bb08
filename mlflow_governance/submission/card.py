"""The model card: what the author writes and what MLflow knows, as CycloneDX and as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, StrictUndefined

from mlflow_governance.core.digest import Digest
from mlflow_governance.errors import InvalidRequest
from mlflow_governance.submission.facts import Facts

_MAX_BYTES = 256 * 1024
_TIERS = ("low", "medium", "high")


@dataclass(frozen=True)
class AuthorCard:
    """``model_card.yaml``. Texts may be one text or a list of texts.

    ``safeguards`` are matched to ``risks`` by position; a single one answers them all.
    """

    purpose: tuple[str, ...] = ()
    audience: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()
    risks: tuple[str, ...] = ()
    safeguards: tuple[str, ...] = ()
    owner: str = ""
    risk_tier: str = ""
    """low, medium or high. The registry may demand more, never less."""


def read_card(path: Path | None) -> AuthorCard:
    """The author's card; an absent one is empty, and the accept gate will say so.

    Raises:
        InvalidRequest: the file cannot be read or says what no card says.
    """
    if path is None:
        return AuthorCard()
    try:
        data = path.read_bytes()
        document = yaml.safe_load(data) if len(data) <= _MAX_BYTES else None
    except (OSError, yaml.YAMLError, ValueError, RecursionError) as error:
        raise InvalidRequest(f"the model card {path} cannot be read: {error}") from error
    known = {field.name for field in fields(AuthorCard)}
    if not isinstance(document, dict) or set(document) - known:
        raise InvalidRequest(
            f"the model card {path} is not usable",
            advice=f"It is a YAML mapping with: {', '.join(sorted(known))}.",
        )
    if document.get("risk_tier", "low") not in _TIERS:
        raise InvalidRequest(f"the risk tier is one of {', '.join(_TIERS)}")
    texts: dict[str, Any] = {
        name: _texts(document.get(name)) for name in known - {"owner", "risk_tier"}
    }
    owner = ", ".join(_texts(document.get("owner")))
    return AuthorCard(owner=owner, risk_tier=document.get("risk_tier", ""), **texts)


def _texts(value: object) -> tuple[str, ...]:
    entries = value if isinstance(value, list) else [value]
    if any(isinstance(entry, list | dict) for entry in entries):
        raise InvalidRequest(
            "the model card nests its texts", advice="Write a text, or a list of texts."
        )
    return tuple(str(entry).strip() for entry in entries if entry and str(entry).strip())


def model_card(author: AuthorCard, facts: Facts, dataset_refs: Sequence[str]) -> dict[str, Any]:
    """The ``modelCard`` object of CycloneDX 1.6."""
    considerations: dict[str, Any] = {
        "useCases": list(author.purpose),
        "users": list(author.audience),
        "technicalLimitations": list(author.limits),
        "ethicalConsiderations": [
            {"name": risk, "mitigationStrategy": safeguard} for risk, safeguard in _answered(author)
        ],
    }
    metrics = [
        {"type": name, "value": f"{value:.6g}"} for name, value in sorted(facts.metrics.items())
    ]
    return {
        "modelParameters": {"datasets": [{"ref": ref} for ref in dataset_refs]},
        "quantitativeAnalysis": {"performanceMetrics": metrics},
        "considerations": {key: value for key, value in considerations.items() if value},
    }


def _answered(author: AuthorCard) -> list[tuple[str, str]]:
    if len(author.safeguards) == 1:
        return [(risk, author.safeguards[0]) for risk in author.risks]
    padded = [*author.safeguards, *[""] * len(author.risks)]
    return list(zip(author.risks, padded, strict=False))


_TEMPLATE = """\
# {{ name }}

Content `{{ digest }}`{% if author.owner %}, owned by {{ author.owner }}{% endif %}
{%- if author.risk_tier %}, risk tier {{ author.risk_tier }}{% endif %}.

{% for heading, texts in sections %}
## {{ heading }}

{% for text in texts %}
- {{ text }}
{% else %}
_not stated_
{% endfor %}

{% endfor %}
"""


def markdown(name: str, model: Digest, author: AuthorCard, facts: Facts) -> str:
    """The card for people. Text of the author is escaped: it may not bring HTML along."""
    sections = [
        ("Purpose", author.purpose),
        ("Audience", author.audience),
        ("Limits", author.limits),
        ("Risks and safeguards", [f"{r}: {s or 'no safeguard'}" for r, s in _answered(author)]),
        ("Metrics", [f"{k}: {v:.6g}" for k, v in sorted(facts.metrics.items())]),
        ("Data", [f"{d.name} ({d.digest})" for d in facts.datasets]),
        ("Format", facts.flavors),
    ]
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(_TEMPLATE).render(
        name=name, digest=model, author=author, sections=sections
    )
