"""What an erasure put in the place of what, and how its ledger entry proves that.

An entry names documents by digest and people by commitment, and it never changes. When a person
is erased, documents that named them are replaced by redacted ones, and the texts behind
commitments are deleted. Both stand in a table, and the entry ``person.erased`` holds one digest
over all of them: nobody can pass another change off as an erasure, neither add to one nor take
from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from mlflow_governance.core import canonical
from mlflow_governance.core.digest import Digest, of_bytes
from mlflow_governance.core.event import Act


class Redaction(NamedTuple):
    """One replacement.

    ``before`` is the digest of a document or the commitment to a text, ``after`` the digest of
    the redacted document, the pseudonym that stands for a name, or empty for words that are gone.
    """

    before: str
    after: str


def commit(redactions: Iterable[Redaction]) -> Digest:
    """SHA-256 of the RFC 8785 form of the sorted list of ``[before, after]``."""
    return of_bytes(canonical.encode([list(pair) for pair in sorted(redactions)]))


def proves(entry: Mapping[str, Any], redactions: Iterable[Redaction]) -> bool:
    """True when these are exactly the replacements a ledger entry tells of."""
    facts = entry.get("facts")
    return (
        entry.get("act") == Act.PERSON_ERASED
        and entry.get("allowed") is True
        and isinstance(facts, dict)
        and facts.get("replaced") == commit(redactions)
    )
