"""The data the model was made from, by digest, and on what ground it is processed.

One place is believed: a signed statement of the type ``urn:mlflow-governance:dataset:v1`` with
the predicate ``{datasets: [{name, digest, context?, purpose?, legal_basis?, personal_data?}]}``;
``attestations/predicates/`` has the schema. A digest is ``sha256:<64 hex>`` over the bytes, or
``mlflow:<digest>`` as MLflow computed it, which is short and made from a sample; policy can tell
them apart.

Legal bases are the words of GDPR article 6(1), and of LGPD article 7 those it has besides.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from mlflow_governance.core import moment
from mlflow_governance.errors import VerificationError
from mlflow_governance.evidence import attestation, instant
from mlflow_governance.evidence.attestation import DATASET, Purpose, VerifiedStatement
from mlflow_governance.evidence.interface import Case, Kind

LEGAL_BASES = (
    *("consent", "contract", "legal_obligation", "vital_interests", "public_task"),
    *("legitimate_interests", "research", "legal_claims", "health_protection"),
    "credit_protection",
)
PERSONAL_DATA = ("none", "pseudonymised", "personal", "special_category")

_STATED_ONCE = ("purpose", "legal_basis", "personal_data")


class DatasetVerifier:
    """Proves which datasets a trusted signer says the model was made from.

    Facts: ``{datasets: [{name, digest, purpose, legal_basis, personal_data, context}], at}``,
    sorted, null where nobody said it. Statements of several signers are joined: a digest has one
    purpose, legal basis and kind of personal data under every name, and one entry for each
    context. ``at`` is the instant since which as many as a threshold asks for named the data, of
    the data set whose record is oldest; null where that is not known of one of them.
    """

    kind = Kind.DATASET

    def verify(self, case: Case) -> Mapping[str, Any]:
        """The datasets attested.

        Raises:
            EvidenceMissing: there is no dataset statement.
            VerificationError: none counts, two contradict each other about the same data, or
                fewer signers name some of it than a threshold asks for.
        """
        found = attestation.find_statements(case, DATASET)
        named: dict[str, list[_Word]] = {}
        for each in found:
            word = (instant.of(each, each.statement.predicate.get("at"), case.now), each.signers)
            for digest in digests([each]):
                named.setdefault(digest, []).append(word)
        named_by = {frozenset(name for _, by in words for name in by) for words in named.values()}
        for names in named_by:
            case.trust.require(Purpose.DATASET, case.model_name, names)
        contexts: dict[tuple[str, str], set[str]] = {}
        said: dict[str, _Said] = {}
        for entry, where in _entries(found):
            known = contexts.setdefault((entry["name"], entry["digest"]), set())
            known.update({entry.get("context", "").strip()} - {""})
            of_digest = said.setdefault(entry["digest"], {field: {} for field in _STATED_ONCE})
            for field, values in of_digest.items():
                if value := entry.get(field, "").strip():
                    values.setdefault(value, where)
        stated = {digest: _stated(digest, fields) for digest, fields in said.items()}
        return {
            "datasets": [
                {"name": name, "digest": digest, **stated[digest], "context": context}
                for (name, digest), known in sorted(contexts.items())
                for context in (sorted(known) or (None,))
            ],
            "at": _oldest(case, named.values()),
        }


_Word = tuple[datetime | None, tuple[str, ...]]
"""When somebody named a data set, and who."""
_Said = dict[str, dict[str, str]]
"""Field → each value it was given → where."""


def digests(found: Iterable[VerifiedStatement]) -> set[str]:
    """The digests dataset statements name."""
    return {entry["digest"] for entry, _ in _entries(found)}


def _oldest(case: Case, named: Iterable[list[_Word]]) -> str | None:
    # Most data sets share their words: each statement names many.
    since = [instant.since(case, Purpose.DATASET, words) for words in set(map(tuple, named))]
    known = [at for at in since if at is not None]
    return moment.to_text(min(known)) if len(known) == len(since) else None


def _entries(found: Iterable[VerifiedStatement]) -> Iterator[tuple[Mapping[str, str], str]]:
    """Every entry, and which statement has it under which name."""
    for each in found:
        for entry in each.statement.predicate["datasets"]:
            yield entry, f"{entry['name'][:120]} in {each.item_name}"


def _stated(digest: str, said: _Said) -> dict[str, str | None]:
    """What is said of the data with this digest; saying nothing contradicts nothing."""
    for field, values in said.items():
        if len(values) > 1:
            told = "; ".join(f"{value[:60]!r} ({where})" for value, where in values.items())
            raise VerificationError(
                f"the data set {digest} has several values of {field}: {told[:900]}",
                advice="Leave one: submit the model again with mlflow-governance submit.",
            )
    return {field: next(iter(values), None) for field, values in said.items()}
