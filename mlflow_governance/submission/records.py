"""What others say of a model in service: tickets, objectives, evaluations, reproductions.

Each is a predicate of ours, begun by a JSON file, by options, or by both; an option stands above
the file. ``at`` is now where neither says it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from mlflow_governance.core import moment
from mlflow_governance.errors import InvalidRequest, VerificationError
from mlflow_governance.evidence import predicate
from mlflow_governance.evidence.hashing import hash_directory

TYPES: Mapping[str, str] = {
    "change-ticket": predicate.CHANGE_TICKET,
    "slo": predicate.SLO,
    "evaluation": predicate.EVALUATION,
    "reproduction": predicate.REPRODUCTION,
}
"""What can be said, and the type of predicate that says it."""

Document = dict[str, Any]


def body(
    what: str, begun: Mapping[str, Any], options: Mapping[str, Any], now: datetime
) -> Document:
    """A predicate, held to its schema.

    Args:
        what: one of :data:`TYPES`.
        begun: what a file says already.
        options: by their names on the command line, see ``attest``; ``--metric`` has a list. What
            is None or empty was not given.
        now: the instant where none is said.

    Raises:
        InvalidRequest: an option of something else, or what they make does not fit the schema.
    """
    given = {name: value for name, value in options.items() if value}
    known, add = _OPTIONS[what]
    if foreign := sorted(set(given) - set(known)):
        raise InvalidRequest(
            f"{foreign[0]} says nothing of a {what}",
            advice=f"Of a {what}: {', '.join(known) or 'give --file'}.",
        )
    document = {"at": moment.to_text(now), **begun}
    document |= add(document, given)
    try:
        predicate.check(TYPES[what], document)
    except VerificationError as error:
        raise InvalidRequest(
            f"this {what} cannot be signed: {error.message}",
            advice="Say what is missing by options or in --file; the schema is "
            f"attestations/predicates/{what}.schema.json",
        ) from error
    return document


def _ticket(begun: Mapping[str, Any], given: Mapping[str, Any]) -> Document:
    said: Document = {name.removeprefix("--"): text for name, text in given.items()}
    window = {side: _instant(said.pop(side)) for side in ("from", "to") if side in said}
    if window:
        said["window"] = {**_object(begun, "window"), **window}
    return said


def _slo(begun: Mapping[str, Any], given: Mapping[str, Any]) -> Document:
    return {}


def _evaluation(begun: Mapping[str, Any], given: Mapping[str, Any]) -> Document:
    metrics = {**_object(begun, "metrics"), **_metrics(given.get("--metric", ()))}
    if "--dataset" not in given:
        return {"metrics": metrics}
    name, _, digest = given["--dataset"].partition("@")
    return {"metrics": metrics, "dataset": {"name": name, **({"digest": digest} if digest else {})}}


def _reproduction(begun: Mapping[str, Any], given: Mapping[str, Any]) -> Document:
    if "--rebuilt" in given and "--from-directory" in given:
        raise InvalidRequest(
            "say what was rebuilt in one way", advice="Give --rebuilt, or --from-directory."
        )
    rebuilt = given.get("--rebuilt", "")
    if "--from-directory" in given:
        rebuilt = _digest(given["--from-directory"])
    return {
        **({"rebuiltDigest": rebuilt} if rebuilt else {}),
        **({"builder": {"id": given["--builder"]}} if "--builder" in given else {}),
    }


_OPTIONS: Mapping[
    str, tuple[tuple[str, ...], Callable[[Mapping[str, Any], Mapping[str, Any]], Document]]
] = {
    "change-ticket": (("--id", "--system", "--state", "--from", "--to", "--url"), _ticket),
    "slo": ((), _slo),
    "evaluation": (("--dataset", "--metric"), _evaluation),
    "reproduction": (("--rebuilt", "--from-directory", "--builder"), _reproduction),
}


def _object(begun: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = begun.get(name, {})
    return found if isinstance(found, dict) else {}


def _instant(text: str) -> str:
    return moment.to_text(moment.parse(text))


def _metrics(texts: Sequence[str]) -> dict[str, float]:
    found: dict[str, float] = {}
    for text in texts:
        name, _, number = text.rpartition("=")
        try:
            value = float(number)
        except ValueError:
            value = math.nan
        if not name or not math.isfinite(value) or name in found:
            raise InvalidRequest(
                f"{text[:120]!r} is not a metric, or is there twice",
                advice="Write --metric NAME=NUMBER, such as --metric auc=0.91",
            )
        found[name] = value
    return found


def _digest(folder: Path) -> str:
    try:
        return hash_directory(folder).digest
    except VerificationError as error:
        raise InvalidRequest(f"{folder}: {error.message}", advice=error.advice) from error
