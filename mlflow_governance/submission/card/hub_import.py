"""Reading a README.md of the Hugging Face Hub as an author's card."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from mlflow_governance.errors import InvalidRequest
from mlflow_governance.evidence import strict_yaml
from mlflow_governance.evidence.model_card import ANNEX_IV
from mlflow_governance.submission.card import prose
from mlflow_governance.submission.card.author import HUGGING_FACE, AuthorCard
from mlflow_governance.submission.card.hugging_face import (
    HUB_DATASETS,
    NOT_STATED,
    OWN_KEY,
    REPOSITORY,
)
from mlflow_governance.submission.card.read import from_document, one, spdx

MAX_BYTES = 1024 * 1024

_FRONT = re.compile(r"\ufeff?---[ \t]*\r?\n(.*?)^---[ \t]*$", re.DOTALL | re.MULTILINE)
_MAX_TEXT = 4096
_MAX_TEXTS = 100
_HEADINGS: Mapping[str, tuple[str, ...]] = {
    "purpose": ("purpose", "intended use", "intended uses", "uses", "direct use"),
    "audience": ("audience", "users", "intended users"),
    "limits": ("limits", "limitations", "out-of-scope use", "intended uses limitations"),
    "risks": ("risks", "bias risks and limitations", "ethical considerations", "bias"),
    "safeguards": ("safeguards", "recommendations"),
    "human_oversight": ("human oversight",),
    "monitoring": ("monitoring",),
}
_FIELD_OF = {heading: name for name, headings in _HEADINGS.items() for heading in headings}
_POINT_OF = {prose.heading_key(title): point for point, title in ANNEX_IV.items()}


@dataclass
class Imported:
    """A card read from the Hub's form, and what found no place in it."""

    card: AuthorCard = field(default_factory=AuthorCard)
    left_out: list[str] = field(default_factory=list)


def import_readme(data: bytes) -> Imported:
    """Read a README.md.

    Raises:
        InvalidRequest: it is too large or no text, or its front matter is not usable.
    """
    if len(data) > MAX_BYTES:
        raise InvalidRequest(f"the page has {len(data)} bytes; at most {MAX_BYTES} are read")
    try:
        page = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"the page is not UTF-8: {error}") from error
    found = _FRONT.match(page)
    front = _mapping(strict_yaml.load(found[1].encode()) if found else None, "the front matter")
    own = _mapping(front.pop(OWN_KEY, None), OWN_KEY)
    imported = Imported()
    document = {
        **_of_page(page[found.end() :] if found else page, imported, own),
        **_of_front(front, imported),
        **own,
    }
    document["metrics"] = _metrics(front, own, imported)
    imported.card = from_document(document, "README.md")
    return imported


def _mapping(value: object, what: str) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidRequest(f"{what} of the page is not a mapping")
    return value


def _of_front(front: Mapping[str, Any], imported: Imported) -> dict[str, Any]:
    known = {
        *("license", "license_name", "language", "tags", "pipeline_tag", "datasets"),
        *("base_model", "metrics", "model-index", "co2_eq_emissions"),
    }
    imported.left_out += sorted(str(key)[:100] for key in set(front) - known)
    models = _words(front.get("base_model"))
    usable = [model for model in models if REPOSITORY.fullmatch(model)]
    imported.left_out += [f"base_model {m[:100]}" for m in models if m not in usable]
    return {
        "licence": _licence(front),
        "language": _words(front.get("language")),
        "tags": _words(front.get("tags")),
        "task": next(iter(_words(front.get("pipeline_tag"))), None),
        "base_models": [HUGGING_FACE + model for model in usable],
        "data": [
            {"name": name, "source": HUB_DATASETS + name}
            for name in dict.fromkeys(_words(front.get("datasets")))
        ],
        "environmental": _footprint(front.get("co2_eq_emissions")),
    }


def _licence(front: Mapping[str, Any]) -> str | None:
    """An SPDX expression; the Hub's own words become ``LicenseRef-…``, several an ``AND``."""
    words = _words(front.get("license"))
    names = _words(front.get("license_name"))
    if words in (["other"], ["unknown"]) and names:
        words = names[:1]
    spelt = [spdx(word) or f"LicenseRef-{_slug(word)}" for word in words]
    return " AND ".join(spelt) or None


def _slug(word: str) -> str:
    return re.sub(r"[^A-Za-z0-9.]+", "-", word).strip("-")[:100] or "other"


def _words(value: object) -> list[str]:
    """One text or a list of texts, as the Hub writes them; anything else is left out."""
    entries = value if isinstance(value, list) else [value]
    texts = (one(entry) for entry in entries if isinstance(entry, str))
    return [text[:_MAX_TEXT] for text in texts if text][:_MAX_TEXTS]


def _footprint(value: object) -> list[dict[str, Any]]:
    said = value if isinstance(value, dict) else {"emissions": value}
    grams = _number(said.get("emissions"))
    if grams is None or not 0 <= grams <= 1e15:
        return []
    kind = next(iter(_words(said.get("training_type"))), "")
    texts = {"region": "geographical_location", "hardware": "hardware_used", "note": "source"}
    return [
        {
            "activity": "fine-tuning" if kind == "fine-tuning" else "training",
            "co2_kg": round(grams / 1000, 9),
            **{ours: next(iter(_words(said.get(theirs))), None) for ours, theirs in texts.items()},
        }
    ]


def _metrics(front: Mapping[str, Any], own: Mapping[str, Any], imported: Imported) -> Any:
    """The author's metrics, then results he does not have, then metrics only named."""
    given = own.get("metrics") or []
    if not isinstance(given, list) or not all(map(_is_metric, given)):
        return given  # which the schema refuses
    entries = [dict(entry) for entry in given]
    known = {(entry.get("name"), entry.get("dataset") or ""): entry for entry in entries}
    seen: set[tuple[str, str]] = set()
    for name, dataset, value in _results(front.get("model-index")):
        if value is None or (name, dataset) in seen:
            imported.left_out.append(f"result {name[:100]}")
            continue
        seen.add((name, dataset))
        if (name, dataset) not in known:
            known[name, dataset] = {"name": name, "dataset": dataset}
            entries.append(known[name, dataset])
        known[name, dataset].setdefault("value", value)
    named = {entry.get("name") for entry in entries}
    words = dict.fromkeys(word[:256] for word in _words(front.get("metrics")))
    return [*entries, *({"name": word} for word in words if word not in named)]


def _is_metric(entry: object) -> bool:
    words = (entry.get("name"), entry.get("dataset")) if isinstance(entry, dict) else (0,)
    return all(word is None or isinstance(word, str) for word in words)


def _results(index: object) -> Iterator[tuple[str, str, float | None]]:
    """Name, data set and value of every result of a model index; None where it is no number."""
    for model in _mappings(index):
        for result in _mappings(model.get("results")):
            dataset = _dataset(result.get("dataset"))
            for metric in _mappings(result.get("metrics")):
                name = next(iter(_words([metric.get("type"), metric.get("name")])), "")[:256]
                if name:
                    yield name, dataset, _number(metric.get("value"))


def _dataset(value: object) -> str:
    said = value if isinstance(value, dict) else {}
    name = next(iter(_words([said.get("name"), said.get("type")])), NOT_STATED)
    parts = _words([said.get("config"), said.get("split")])
    return "" if name == NOT_STATED else name + (f" ({', '.join(parts)})" if parts else "")


def _mappings(value: object) -> Iterable[Mapping[str, Any]]:
    return (entry for entry in value if isinstance(entry, dict)) if isinstance(value, list) else ()


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _of_page(page: str, imported: Imported, own: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {"annex_iv": {}}
    for heading, texts in prose.sections(page).items():
        point, name = _POINT_OF.get(heading), _FIELD_OF.get(heading)
        fitting = [text for text in texts if len(text) <= _MAX_TEXT][:_MAX_TEXTS]
        if texts and (len(fitting) < len(texts) or not (point or name)) and not own:
            imported.left_out.append(f"text below {heading[:100]!r}")
        if point:
            found["annex_iv"].setdefault(point, []).extend(fitting)
        elif name and name not in own:
            found[name] = [*found.get(name, []), *fitting][:_MAX_TEXTS]
    if "risks" in own:
        found.pop("safeguards", None)
    return found
