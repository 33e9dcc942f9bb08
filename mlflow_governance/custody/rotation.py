"""Handing the ledger over to another key, such that a crash anywhere leaves one valid state.

1. The new key is made, or its place noted: nobody uses it yet.
2. One transaction: the entry ``ledger.rekeyed`` under the old key, the head signed by both. From
   its commit on the new key signs, wherever it was found; the old one is refused.
3. The home folder follows: checkpoint, public keys, file names. The next start does what is left.

Servers that run meanwhile find the new key when they next write. One on another host, which has
not got it, refuses to write and says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mlflow_governance.config import Settings
from mlflow_governance.core import digest, moment
from mlflow_governance.core.actor import Actor
from mlflow_governance.core.event import Act, Event
from mlflow_governance.custody import apart, ledger
from mlflow_governance.custody.ledger import LedgerSigner
from mlflow_governance.errors import ConfigurationError, InvalidRequest
from mlflow_governance.evidence.key_reference import is_reference
from mlflow_governance.evidence.keys import generate_key_pair
from mlflow_governance.ledger.handover import KeyHistory
from mlflow_governance.store.ledger import SqlLedger
from mlflow_governance.workflows.ports import Store


@dataclass(frozen=True)
class Rotation:
    """Who changes the key, why, and to which: ``to`` is a file or a reference, "" makes one."""

    actor: Actor
    reason: str
    to: str = ""
    destroy: bool = False


def rotate_ledger(
    settings: Settings, store: Store, recorded: SqlLedger, wanted: Rotation
) -> KeyHistory:
    """Hand the ledger over; returns its keys, the new one last.

    Args:
        settings: of the installation.
        store: writes with the key until now.
        recorded: the same database for readers.
        wanted: who, why and to which key.

    Raises:
        InvalidRequest: no reason is given.
        ConfigurationError: the new key is unsafe, or in use for something else.
        LedgerError: the ledger is not the one that was signed last.
        Unavailable: a device or the database does not answer.
    """
    if not wanted.reason.strip():
        raise InvalidRequest("a change of the ledger's key has a reason")
    with ledger.locked(settings):
        history = ledger.finish(settings, recorded.handovers())
        heir = _heir(settings, wanted.to)
        _refuse_used(settings, history, heir)
        if wanted.to:
            ledger.point_to(settings, str(heir.place))
        event = Event(
            act=Act.LEDGER_REKEYED,
            person=wanted.actor.person,
            at=moment.now(),
            reason=wanted.reason,
        )
        with store.begin() as uow:
            uow.hand_over(event, heir)
        history = ledger.finish(settings, recorded.handovers())
        if wanted.destroy and isinstance(settings.ledger_key, Path):
            ledger.retired_place(settings.ledger_key, history.keys[-2]).unlink(missing_ok=True)
    return history


def _heir(settings: Settings, to: str) -> LedgerSigner:
    if to:
        return ledger.open_signer(settings, to if is_reference(to) else Path(to).resolve())
    if not isinstance(settings.ledger_key, Path):
        raise ConfigurationError(
            f"the ledger's key is {settings.ledger_key}, where no key is made from here",
            advice="Make one there and name it: "
            "mlflow-governance keys rotate ledger --to REFERENCE --reason WHY",
        )
    place = ledger.next_place(settings)
    # One that is there was never handed over to: else it would have been moved just now.
    for leftover in (place, place.with_suffix(".pub")):
        leftover.unlink(missing_ok=True)
    generate_key_pair(place, algorithm="ed25519")
    return ledger.open_signer(settings, place)


def _refuse_used(settings: Settings, history: KeyHistory, heir: LedgerSigner) -> None:
    if heir.key in history.keys:
        when = "signs" if heir.key == history.newest else "signed"
        raise ConfigurationError(
            f"the key {heir.place} {when} the ledger already",
            advice="Make another: mlflow-governance keys new PATH --algorithm ed25519",
        )
    key_id = digest.of_bytes(heir.key.spki)
    if key_id in apart.own_keys(settings):
        raise ConfigurationError(
            "the ledger and the registry would use the same key",
            advice="Make another: mlflow-governance keys new PATH --algorithm ed25519",
        )
    apart.refuse_own(apart.trust_policy(settings), {key_id: "the ledger's new key"})
