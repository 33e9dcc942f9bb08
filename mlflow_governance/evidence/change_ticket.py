"""Whether a change was approved, and for when: tickets of a system of change management.

The predicate is ``urn:mlflow-governance:change-ticket:v1``, signed by whoever is trusted to say
what stands in that system (a bridge, a release manager).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from mlflow_governance.core import canonical, moment
from mlflow_governance.evidence import instant
from mlflow_governance.evidence.attestation import find_statements
from mlflow_governance.evidence.instant import Dated
from mlflow_governance.evidence.interface import Case, Kind
from mlflow_governance.evidence.predicate import CHANGE_TICKET, Purpose

APPROVED = "approved"


class ChangeTicketVerifier:
    """Proves the state of the change ticket: the newest word of anybody trusted for it.

    Facts: ``id``, ``system``, ``state`` (requested, approved, rejected, cancelled or closed),
    ``from`` and ``to`` (the window, from ≤ to), ``url`` (null where none is given), ``at``,
    ``signers``.

    An approval counts only when as many as a threshold asks for approved the same (ticket,
    window, address); until then the word before it stands. A ticket that is not approved counts
    on one word, and whatever is older is over: an approval of another ticket must be said anew.
    """

    kind = Kind.CHANGE_TICKET

    def verify(self, case: Case) -> Mapping[str, Any]:
        """The facts of the newest ticket.

        Raises:
            EvidenceMissing: there is no ticket.
            VerificationError: none counts, one is from the future, or fewer approved one than a
                threshold asks for.
        """
        approvals: dict[bytes, set[str]] = {}
        found = instant.dated(find_statements(case, CHANGE_TICKET), case.now)
        for (at, _, encoded), signers in _newest_first(found):
            ticket = canonical.decode_object(encoded)
            if ticket["state"] != APPROVED:
                return _facts(ticket, at, signers)
            names = approvals.setdefault(encoded, set())
            names.update(signers)
            if instant.enough(case, Purpose.CHANGE_TICKET, names):
                return _facts(ticket, at, names)
        most = max(approvals.values(), key=len)
        case.trust.require(Purpose.CHANGE_TICKET, case.model_name, most)
        raise AssertionError("unreachable: nobody approved enough, and it was enough")


_Word = tuple[datetime, bool, bytes]
"""When, whether it stops the change, and what."""


def _newest_first(found: Iterable[Dated]) -> list[tuple[_Word, set[str]]]:
    """What was said, each with all who said it then.

    Of two words at one instant the one that stops counts, whoever attached which first.
    """
    said: dict[_Word, set[str]] = {}
    for at, entry in found:
        ticket = _ticket(entry.statement.predicate)
        word = (at, ticket["state"] != APPROVED, canonical.encode(ticket))
        said.setdefault(word, set()).update(entry.signers)
    return sorted(said.items(), key=lambda one: one[0], reverse=True)


def _ticket(body: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": body["id"],
        "system": body["system"],
        "state": body["state"],
        **{word: moment.to_text(moment.parse(body["window"][word])) for word in ("from", "to")},
        "url": body.get("url"),
    }


def _facts(ticket: Mapping[str, Any], at: datetime, signers: Iterable[str]) -> dict[str, Any]:
    return {**ticket, "at": moment.to_text(at), "signers": sorted(signers)}
