"""The instant of a statement, which decides what is newest and what is too old.

A signer says it (``at``). Where somebody trusted proves when the statement was signed, it is never
later than that. A time stamp alone gives no instant: whoever holds an old statement can have a new
stamp for it today. A certificate that was issued for minutes does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from mlflow_governance.core import moment
from mlflow_governance.errors import InvalidRequest, VerificationError
from mlflow_governance.evidence.attestation import VerifiedStatement
from mlflow_governance.evidence.interface import Case
from mlflow_governance.evidence.predicate import Purpose

CLOCK_SKEW = timedelta(minutes=5)
"""How far ahead of ours the clock of a signer may be."""

Dated = tuple[datetime, VerifiedStatement]


def dated(found: Iterable[VerifiedStatement], now: datetime) -> list[Dated]:
    """Each statement with its instant, of predicates that must say one in ``at``.

    Raises:
        VerificationError: one says none, or one in the future: it would outlive newer ones.
    """
    return [(_strict(entry, now), entry) for entry in found]


def _strict(entry: VerifiedStatement, now: datetime) -> datetime:
    try:
        said = moment.parse(entry.statement.predicate["at"])
    except InvalidRequest as error:
        raise VerificationError(f"{entry.item_name}: {error.message}") from error
    if said > now + CLOCK_SKEW:
        raise VerificationError(
            f"{entry.item_name}: it is from the future, {moment.to_text(said)}",
            advice="Set the clock of who signed it, then sign it again: mlflow-governance attest; "
            "nothing of this kind counts until that instant is past.",
        )
    return _bounded(said, entry)


def of(entry: VerifiedStatement, said: object, now: datetime) -> datetime | None:
    """The instant of a statement of a type that need not say one.

    Args:
        entry: the statement.
        said: what stands where an instant may stand; what is none, or in the future, says nothing.
        now: the instant of the question.
    """
    try:
        at = moment.parse(said) if isinstance(said, str) else None
    except InvalidRequest:
        at = None
    if at is not None and at <= now + CLOCK_SKEW:
        return _bounded(at, entry)
    return entry.proof.earliest if entry.proof and entry.proof.issued else None


def _bounded(said: datetime, entry: VerifiedStatement) -> datetime:
    return min(said, entry.proof.latest) if entry.proof else said


def since(
    case: Case, purpose: Purpose, words: Iterable[tuple[datetime | None, Sequence[str]]]
) -> datetime | None:
    """The newest instant since which as many have said it as a threshold asks for.

    Args:
        case: whom to trust, about which model.
        purpose: what they said.
        words: when and by whom it was said; a word without an instant is older than all others.

    Returns:
        None where it takes a word nobody knows the instant of.
    """
    names: set[str] = set()
    known = [(at, by) for at, by in words if at is not None]
    for at, by in sorted(known, key=lambda word: word[0], reverse=True):
        names |= set(by)
        if enough(case, purpose, names):
            return at
    return None


def enough(case: Case, purpose: Purpose, names: Iterable[str]) -> bool:
    """True when these are as many signers as a threshold asks for."""
    try:
        case.trust.require(purpose, case.model_name, names)
    except VerificationError:
        return False
    return True


def text(at: datetime | None) -> str | None:
    """The instant as a fact."""
    return moment.to_text(at) if at else None
