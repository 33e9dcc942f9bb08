"""Data sets as MLflow recorded them with a run: digest, source, context, and why they are used."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from mlflow_governance.errors import InvalidRequest
from mlflow_governance.evidence.dataset import LEGAL_BASES, PERSONAL_DATA

CONTEXT_TAG = "mlflow.data.context"
_TAG = "governance."
_WORDS = {"legal_basis": LEGAL_BASES, "personal_data": PERSONAL_DATA}
_LOCATIONS = ("uri", "url", "path", "delta_table_name")  # by kind of MLflow's dataset source
_MAX_TEXT = 4096


@dataclass(frozen=True)
class Dataset:
    """Data a model was trained on; an empty text stands for what nobody said.

    ``digest`` is ``mlflow:…`` as logged, or ``sha256:…`` of the bytes.
    """

    name: str
    digest: str
    source: str = ""
    """Where it lies; no credentials."""
    context: str = ""
    """What the run used it for: training, eval, …"""
    profile: str = ""
    purpose: str = ""
    legal_basis: str = ""
    personal_data: str = ""
    retention: str = ""

    def to_document(self) -> dict[str, str]:
        """The data set as a dataset statement has it."""
        return {key: value for key, value in asdict(self).items() if value}


def of_inputs(inputs: Iterable[Any]) -> tuple[Dataset, ...]:
    """The data sets of a run's ``DatasetInput`` records, each use of one once.

    The tags ``governance.purpose``, ``governance.legal_basis`` and ``governance.personal_data``
    of an input say why the data may be used.

    Raises:
        InvalidRequest: a tag says a word nobody knows.
    """
    return tuple(dict.fromkeys(_of_input(entry) for entry in inputs))


def without_credentials(uri: str) -> str:
    """A location fit to be published: no user, password, query or fragment.

    Empty when it cannot be taken apart, for then nobody knows what it holds.
    """
    try:
        parts = urlsplit(uri)
    except ValueError:
        return ""
    if not parts.netloc:
        return uri[:_MAX_TEXT]
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", ""))[:_MAX_TEXT]


def _of_input(entry: Any) -> Dataset:
    logged = entry.dataset
    tags = {tag.key: tag.value.strip() for tag in entry.tags}
    return Dataset(
        name=logged.name,
        digest=f"mlflow:{logged.digest}",
        source=_source(logged.source),
        context=tags.get(CONTEXT_TAG, "")[:64],
        profile=(logged.profile or "")[:65536],
        purpose=tags.get(_TAG + "purpose", "")[:_MAX_TEXT],
        legal_basis=_word(tags, "legal_basis", logged.name),
        personal_data=_word(tags, "personal_data", logged.name),
    )


def _word(tags: Mapping[str, str], field: str, name: str) -> str:
    value = tags.get(_TAG + field, "")
    if value and value not in _WORDS[field]:
        raise InvalidRequest(
            f"the input {name!r} of the run is tagged {_TAG}{field}={value[:60]!r}",
            advice=f"Known words: {', '.join(_WORDS[field])}. model_card.yaml may say it instead.",
        )
    return value


def _source(text: str | None) -> str:
    try:
        document = json.loads(text or "")
    except (ValueError, RecursionError):
        return ""
    if not isinstance(document, dict):
        return ""
    found = (document.get(key) for key in _LOCATIONS)
    return next((without_credentials(v) for v in found if v and isinstance(v, str)), "")
