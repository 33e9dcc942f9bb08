"""The policy in force, and what people said of another one, as far as the ledger proves it."""

from __future__ import annotations

from typing import Any

from mlflow_governance.core import canonical, moment
from mlflow_governance.core.digest import Digest
from mlflow_governance.core.event import Act
from mlflow_governance.errors import LedgerError
from mlflow_governance.ledger.entry import opens
from mlflow_governance.workflows.policy_ports import Proposal
from mlflow_governance.workflows.ports import Reading, Store

_STEP = 50
_MANY = 5000
"""Entries about proposals that are looked through; a proposal is weeks old, not years."""
_Entry = tuple[int, bytes]


def require_in_force(store: Store, reading: Reading, said: Digest | None) -> None:
    """Refuse a policy that the database calls in force and the ledger does not.

    Args:
        store: proves entries.
        reading: the moment.
        said: what the database says; None: nothing.

    Raises:
        LedgerError: the newest entry that brought a policy into force names another, or none.
    """
    entry = _newest_change(reading)
    told = None if entry is None else canonical.decode_object(entry[1])["after"]["policy_digest"]
    if told != said:
        raise _alarm(f"{said or 'no policy'} is called in force, and the ledger says {told}")
    if entry is not None:
        store.prove([entry])


def _newest_change(reading: Reading) -> _Entry | None:
    wanted = _STEP
    while True:  # refusals are among them
        entries = reading.entries_of([Act.POLICY_CHANGED], newest=wanted)
        for entry in reversed(entries):
            if canonical.decode_object(entry[1])["allowed"]:
                return entry
        if len(entries) < wanted:
            return None
        wanted *= 4


def require_words(store: Store, reading: Reading, proposal: Proposal) -> None:
    """Refuse a proposal, or words about it, that the ledger does not prove.

    Raises:
        LedgerError: the ledger tells other words, or of another proposal.
    """
    entries = [
        (index, data, entry)
        for index, data in reading.entries_of(
            [Act.POLICY_PROPOSED, Act.POLICY_APPROVED], newest=_MANY
        )
        if (entry := canonical.decode_object(data))["allowed"]
        and entry["facts"]["proposal"] == proposal.uid
    ]
    told = [entry for _, _, entry in entries]
    sealed = reading.sealed(entry["actor"] for entry in told)
    stand_ins, erasures = reading.stand_ins({e["actor"] for e in told} - sealed.keys())
    store.prove([*((index, data) for index, data, _ in entries), *erasures])
    people = [_name(entry, sealed) or stand_ins.get(entry["actor"]) for entry in told]
    made = [e for e in told if e["act"] == Act.POLICY_PROPOSED]
    if len(made) != 1 or _shown(made[0]) != (
        proposal.digest, proposal.before, proposal.archive_digest,
    ):  # fmt: skip
        raise _alarm(f"nobody proposed {proposal.digest} as it stands")
    if people[told.index(made[0])] != proposal.person:
        raise _alarm(f"somebody else proposed {proposal.digest}")
    standing = {
        person: (entry["facts"]["role"], entry["facts"]["decision"], entry["at"])
        for person, entry in zip(people, told, strict=True)
        if entry["act"] == Act.POLICY_APPROVED
    }
    counted = {
        word.person: (word.role, word.decision, moment.to_text(word.at))
        for word in reading.words_of(proposal.uid)
    }
    if counted != standing:
        raise _alarm(f"the words that count about {proposal.digest} are not those that were said")


def _shown(entry: dict[str, Any]) -> tuple[str, str, str]:
    facts = entry["facts"]
    return facts["proposed"], entry["before"]["policy_digest"], facts["archive_digest"]


def _name(entry: dict[str, Any], sealed: dict[str, tuple[bytes, str]]) -> str | None:
    if entry["actor"] not in sealed:
        return None
    salt, name = sealed[entry["actor"]]
    return name if opens(entry["actor"], salt, name) else None


def _alarm(message: str) -> LedgerError:
    return LedgerError(
        f"the ledger does not prove what the registry holds of its policy: {message}",
        advice="Nothing is decided on it. Find out what was changed: mlflow-governance validate",
        found=message,
    )
