"""How a model did on named data, as a whole and for the groups in it (fairness).

The predicate is ``urn:mlflow-governance:evaluation:v1``. Which number is good is for policy: a
higher score is better, a higher loss is not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from mlflow_governance.core import canonical, moment
from mlflow_governance.errors import VerificationError
from mlflow_governance.evidence import instant
from mlflow_governance.evidence.attestation import find_statements
from mlflow_governance.evidence.instant import Dated
from mlflow_governance.evidence.interface import Case, Kind
from mlflow_governance.evidence.predicate import EVALUATION, Purpose

MAX_NUMBERS = 20_000
"""In the facts; each goes through policy at every decision."""

_Place = tuple[str, str, str]
"""Attribute, group, metric. No attribute and group: the whole data set. No metric: the size."""


@dataclass
class _Record:
    """What one signer says of one data set, statement by statement, the newest last."""

    dataset: dict[str, str | None] = field(default_factory=dict)
    numbers: dict[_Place, tuple[datetime, float]] = field(default_factory=dict)

    def add(self, at: datetime, body: Mapping[str, Any], item: str) -> None:
        # The name it had first: renaming it must not take a number out of a policy's sight.
        self.dataset = self.dataset or {
            "name": body["dataset"]["name"],
            "digest": body["dataset"].get("digest"),
        }
        for place, number in _numbers(body):
            known = self.numbers.get(place)
            if known is not None and known[0] == at and known[1] != number:
                raise VerificationError(
                    f"{item}: of {' '.join(filter(None, place))[:200]!r} in "
                    f"{body['dataset']['name'][:120]!r} one signer says two things at one instant",
                    advice="Have it evaluated again: mlflow-governance attest NAME/VERSION "
                    "evaluation",
                )
            self.numbers[place] = (at, number)

    def to_fact(self) -> dict[str, Any]:
        metrics: dict[str, float] = {}
        slices: dict[tuple[str, str], dict[str, Any]] = {}
        for (attribute, group, metric), (_, number) in sorted(self.numbers.items()):
            if not attribute:
                metrics[metric] = number
                continue
            of_group = slices.setdefault(
                (attribute, group),
                {"attribute": attribute, "group": group, "size": 0, "metrics": {}},
            )
            if metric:
                of_group["metrics"][metric] = number
            else:
                of_group["size"] = int(number)
        oldest = min(at for at, _ in self.numbers.values())
        return {
            "dataset": self.dataset, "metrics": metrics, "slices": list(slices.values()),
            "at": moment.to_text(oldest),
        }  # fmt: skip


class EvaluationVerifier:
    """Proves how the model did on each data set somebody trusted evaluated it on.

    Facts: ``evaluations``, sorted, each ``{dataset, metrics, slices, at, signers,
    enough_signers}``; ``at``, the oldest of theirs; ``signers``, all of theirs. ``dataset`` is
    ``{name, digest}``, the digest null where none is given; ``metrics`` is ``{name: number}``;
    ``slices`` are ``{attribute, group, size, metrics}``, sorted.

    Nothing is averaged and nothing outweighs anything: each data set (by digest; by name where
    there is none) has an entry for each signer's numbers, one where several say the same. Of one
    signer the newest of each number counts, and what a later statement does not say again stays
    said. So a bad number is shed by who found it measuring it again, not by another data set,
    another signer, or a shorter statement: a policy should ask that *every* evaluation, and every
    slice in it, is good enough. ``at`` is of the oldest number. ``enough_signers`` says whether as
    many evaluated this data set as a threshold asks for.
    """

    kind = Kind.EVALUATION

    def verify(self, case: Case) -> Mapping[str, Any]:
        """The facts of all evaluations.

        Raises:
            EvidenceMissing: nobody evaluated it.
            VerificationError: no statement counts, fewer signed than a threshold asks for, one
                is from the future, a signer contradicts itself, or there are too many numbers.
        """
        records = _records(instant.dated(find_statements(case, EVALUATION), case.now))
        if sum(len(record.numbers) for record in records.values()) > MAX_NUMBERS:
            raise VerificationError(f"the evaluations hold more than {MAX_NUMBERS} numbers")
        by_dataset: dict[str, set[str]] = {}
        for signer, dataset in records:
            by_dataset.setdefault(dataset, set()).add(signer)
        entries: dict[bytes, dict[str, Any]] = {}
        for (signer, dataset), record in sorted(records.items()):
            agreed = instant.enough(case, Purpose.EVALUATION, by_dataset[dataset])
            fact = {**record.to_fact(), "enough_signers": agreed}
            entry = entries.setdefault(canonical.encode(fact), {**fact, "signers": []})
            entry["signers"].append(signer)
        evaluations = sorted(entries.values(), key=_order)
        return {
            "evaluations": evaluations,
            "at": min(entry["at"] for entry in evaluations),
            "signers": sorted({signer for signer, _ in records}),
        }


def _records(found: Iterable[Dated]) -> dict[tuple[str, str], _Record]:
    """By signer and data set."""
    records: dict[tuple[str, str], _Record] = {}
    for at, entry in sorted(found, key=lambda one: (one[0], one[1].item_name)):
        body = entry.statement.predicate
        named = body["dataset"]
        dataset = named.get("digest") or f"name:{named['name']}"
        for signer in entry.signers:
            records.setdefault((signer, dataset), _Record()).add(at, body, entry.item_name)
    return records


def _numbers(body: Mapping[str, Any]) -> Iterator[tuple[_Place, float]]:
    for metric, number in body["metrics"].items():
        yield ("", "", metric), number
    for part in body.get("slices", []):
        yield (part["attribute"], part["group"], ""), part["size"]
        for metric, number in part["metrics"].items():
            yield (part["attribute"], part["group"], metric), number


def _order(entry: Mapping[str, Any]) -> tuple[str, str, str, list[str]]:
    named = entry["dataset"]
    return named["name"], named["digest"] or "", entry["at"], entry["signers"]
