"""Reading ``model_card.yaml``: strictly, held to its schema, with the mending word."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from mlflow_governance.core import canonical, resources
from mlflow_governance.errors import InvalidRequest
from mlflow_governance.evidence import strict_yaml
from mlflow_governance.submission.card.author import (
    AuthorCard,
    DataUse,
    Fairness,
    Footprint,
    Metric,
    Terms,
)

SCHEMA = "model_card.schema.json"
_MAX_PROBLEMS = 5
_ADVICE = f"attestations/{SCHEMA} describes it; mlflow-governance card init writes one to begin."
_REFERENCE = re.compile(r"LicenseRef-[A-Za-z0-9.-]{1,100}")
_Record = TypeVar("_Record", DataUse, Fairness, Footprint, Metric, Terms)


def read_card(path: Path | None) -> AuthorCard:
    """The author's card; an absent one is empty, and the accept gate will say so.

    Raises:
        InvalidRequest: the file cannot be read or says what no card says.
    """
    if path is None:
        return AuthorCard()
    try:
        with path.open("rb") as file:
            data = file.read(strict_yaml.MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        raise InvalidRequest(f"the model card {path} cannot be read: {error}") from error
    return parse_card(data, str(path))


def parse_card(data: bytes, name: str = "model_card.yaml") -> AuthorCard:
    """The card some bytes hold; ``name`` is what messages call them.

    Raises:
        InvalidRequest: not a model card; says where, and which word was meant.
    """
    try:
        document = strict_yaml.load(data)
    except InvalidRequest as error:
        raise InvalidRequest(f"the model card {name}: {error.message}", advice=_ADVICE) from error
    return from_document(document, name)


def from_document(document: object, name: str = "model_card.yaml") -> AuthorCard:
    """The card a JSON value stands for.

    Raises:
        InvalidRequest: it does not fit the schema, or contradicts itself.
    """
    problems = list(islice(_problems(document), _MAX_PROBLEMS))
    if problems or not isinstance(document, dict):
        raise InvalidRequest(
            f"the model card {name} is not usable: {'; '.join(problems)}", advice=_ADVICE
        )
    card = _card({key: value for key, value in document.items() if value is not None})
    _check_names(card, name)
    return _with_licences(card, name)


def _card(document: Mapping[str, Any]) -> AuthorCard:
    lists = ("purpose", "audience", "limits", "language", "tags", "monitoring", "human_oversight")
    annex = document.get("annex_iv", {})
    return AuthorCard(
        **{name: texts(document.get(name)) for name in lists},
        **_risks(document),
        owner=", ".join(texts(document.get("owner"))),
        risk_tier=document.get("risk_tier", ""),
        licence=one(document.get("licence")),
        base_models=texts(document.get("base_models")),
        base_model_terms=_records(Terms, document.get("base_model_terms")),
        task=one(document.get("task")),
        approach=document.get("approach", ""),
        data=_records(DataUse, document.get("data")),
        metrics=_records(Metric, document.get("metrics")),
        fairness=_records(Fairness, document.get("fairness")),
        environmental=_records(Footprint, document.get("environmental")),
        annex_iv={point: texts(value) for point, value in annex.items() if texts(value)},
    )


def one(value: str | None) -> str:
    """A text as one paragraph: no line ends, no blanks in a row."""
    return " ".join((value or "").split())


def texts(value: str | Sequence[str | None] | None) -> tuple[str, ...]:
    """One text or several, without the empty ones."""
    entries = [value] if isinstance(value, str) else value or []
    return tuple(text for text in map(one, entries) if text)


def _risks(document: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Risks, safeguards and severities by position.

    Raises:
        InvalidRequest: safeguards are given in both places, so that nobody knows which counts.
    """
    given = document.get("risks")
    safeguards = texts(document.get("safeguards"))
    entries = [given] if isinstance(given, str) else given or []
    if safeguards and any(isinstance(entry, dict) for entry in entries):
        raise InvalidRequest(
            "the model card gives safeguards twice: in risks, and in safeguards",
            advice="Write each safeguard into its risk.",
        )
    stated = [entry if isinstance(entry, dict) else {"risk": entry} for entry in entries]
    stated = [entry for entry in stated if one(entry["risk"])]
    risks = tuple(one(entry["risk"]) for entry in stated)
    if not safeguards:
        safeguards = tuple(one(entry.get("safeguard")) for entry in stated)
    severities = tuple(entry.get("severity") or "" for entry in stated)
    card = AuthorCard(risks=risks, safeguards=safeguards, severities=severities)
    return {
        "risks": risks,
        "safeguards": tuple(risk.safeguard for risk in card.answered) if risks else safeguards,
        "severities": severities,
    }


def _records(
    kind: type[_Record], entries: Sequence[Mapping[str, Any]] | None
) -> tuple[_Record, ...]:
    return tuple(kind(**_stated(entry)) for entry in entries or ())


def _stated(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: one(value) if isinstance(value, str) else value
        for key, value in entry.items()
        if value is not None
    }


def _check_names(card: AuthorCard, name: str) -> None:
    keys: dict[str, list[object]] = {
        "data": [use.name for use in card.data],
        "base_model_terms": [terms.name for terms in card.base_model_terms],
        "metrics": [(metric.name, metric.dataset) for metric in card.metrics],
    }
    for heading, found in keys.items():
        twice = [key for key, count in Counter(found).items() if count > 1 or not key]
        if twice:
            raise InvalidRequest(f"the model card {name} has {heading} twice: {twice[0]!r}")
    for terms in card.base_model_terms:
        if terms.name not in card.base_models:
            raise InvalidRequest(
                f"the model card {name} has terms of {terms.name!r}, which is no base model of it",
                advice="Name it under base_models as well.",
            )


def _with_licences(card: AuthorCard, name: str) -> AuthorCard:
    """The card with its licence expressions as SPDX spells them."""
    data = tuple(
        replace(use, licence=_expression(use.licence, f"{name}, data {use.name}"))
        for use in card.data
    )
    terms = tuple(
        replace(entry, licence=_expression(entry.licence, f"{name}, base model {entry.name}"))
        for entry in card.base_model_terms
    )
    return replace(card, licence=_expression(card.licence, name), data=data, base_model_terms=terms)


def _expression(text: str, where: str) -> str:
    if text and (found := spdx(text)) is not None and _words(found) == _words(text):
        return found
    if text:
        raise InvalidRequest(
            f"the model card {where}: {text[:120]!r} is no SPDX licence expression",
            advice="Write an identifier of https://spdx.org/licenses, or LicenseRef-NAME.",
        )
    return ""


def spdx(text: str) -> str | None:
    """A licence expression as SPDX spells it, aliases resolved; None when it is none."""
    from license_expression import ExpressionError

    licensing = _licensing()
    try:
        parsed = licensing.parse(text)
        unknown = licensing.unknown_license_keys(parsed)
    except (ExpressionError, ValueError, TypeError, AttributeError, RecursionError):
        return None
    if parsed is None or any(not _REFERENCE.fullmatch(str(key)) for key in unknown):
        return None
    return str(parsed.render("{symbol.key}"))


def _words(expression: str) -> list[str]:
    return re.findall(r"[a-z0-9.+-]+", expression.casefold())


def _problems(document: object) -> Iterator[str]:
    try:
        for error in _validator().iter_errors(document):
            where = ".".join(map(str, error.instance_path))[:120]
            unexpected = getattr(error.kind, "unexpected", None)
            wanted = _wanted().get(getattr(error.kind, "pattern", ""))
            if unexpected:
                text = _meant(unexpected, error.schema_path)
            elif wanted:
                text = f"{str(error.instance)[:120]!r} is not {wanted}"
            else:
                text = error.message[:200]
            yield f"{where}: {text}" if where else text
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        yield f"not a JSON value: {error}"


def _meant(unexpected: Sequence[str], path: Sequence[str | int]) -> str:
    """Name the words that were probably meant instead of unknown ones."""
    schema: Any = _schema()
    for step in path[:-1]:
        schema = schema[step]
    known = sorted(schema["properties"])
    parts = []
    for word in unexpected[:_MAX_PROBLEMS]:
        close = get_close_matches(word[:64], known, n=1)
        parts.append(
            f"{word[:64]!r} is unknown" + (f", did you mean {close[0]!r}?" if close else "")
        )
    return "; ".join(parts) + f" (known: {', '.join(known)})"


@cache
def _wanted() -> dict[str, str]:
    """What is wanted, in words, by the patterns of the schema."""
    found: dict[str, str] = {}
    pending: list[Any] = [_schema()]
    while pending:
        node = pending.pop()
        if isinstance(node, dict):
            pending.extend(node.values())
            if isinstance(node.get("pattern"), str):
                found[node["pattern"]] = node["description"]
        elif isinstance(node, list):
            pending.extend(node)
    return found


@cache
def _licensing() -> Any:
    from license_expression import get_spdx_licensing

    return get_spdx_licensing()  # reads its list of 2,000 licences anew on every call


@cache
def _schema() -> dict[str, Any]:
    return canonical.decode_object((resources.folder("attestations") / SCHEMA).read_bytes())


@cache
def _validator() -> Any:
    import jsonschema_rs

    return jsonschema_rs.validator_for(_schema())
