"""The ledger changes its key: the checkpoint both keys sign, and whose word counts from where.

::

    registry.example.org/ledger
    1204
    <root>
    ledger.rekeyed registry.example.org/ledger+4be4d1c2+AbXQ…

    — registry.example.org/ledger <the key until now>
    — registry.example.org/ledger <the key from now on>

The fourth line is an extension line of the checkpoint and names the new key in full, so whoever
knows the first key of a ledger learns every later one from these notes alone. The last of the
entries the note counts is ``ledger.rekeyed`` and names the same key. A key's word counts for the
sizes up to the note that hands over from it, and not for one entry more: who steals it afterwards
can sign nothing new with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from mlflow_governance.errors import ConfigurationError, LedgerError
from mlflow_governance.ledger import checkpoint as checkpoints
from mlflow_governance.ledger import note as notes
from mlflow_governance.ledger.checkpoint import Checkpoint
from mlflow_governance.ledger.note import NoteKey, NoteSigner

_LINE = "ledger.rekeyed "
_ADVICE = "Keep the database as it is and compare it with a backup and the exported checkpoints."


class Handover(NamedTuple):
    """What a note says of a change of keys: after these entries, this key."""

    at: Checkpoint
    key: NoteKey


def make(at: Checkpoint, before: NoteSigner, after: NoteSigner) -> str:
    """The checkpoint signed by both keys.

    Raises:
        ConfigurationError: they are one key, or sign under different names.
    """
    if before.key == after.key or before.key.name != after.key.name:
        raise ConfigurationError("a ledger is handed over to another key of the same name")
    return notes.sign(f"{at.text()}{_LINE}{after.key.encode()}\n", before, after)


def read(note: str | bytes) -> Handover | None:
    """The change of keys a checkpoint tells of, with no signature verified; None for any other.

    Raises:
        LedgerError: it is not a checkpoint, or names a key that is none.
    """
    text, _ = notes.split(note)
    told = [line for line in text.split("\n")[3:] if line.startswith(_LINE)]
    if not told:
        return None
    try:
        (line,) = told
        key = NoteKey.parse(line.removeprefix(_LINE))
    except (ValueError, ConfigurationError) as error:
        raise LedgerError("the checkpoint hands the ledger over to no key") from error
    return Handover(checkpoints.parse(note), key)


def tells(note: str) -> bool:
    """False for a note that is certainly no handover, at little cost."""
    return f"\n{_LINE}" in note


def succeeded(note: str, key: NoteKey) -> Checkpoint:
    """What the head of a ledger says that this key goes on signing.

    Raises:
        LedgerError: the key did not sign it, or handed the ledger over with it.
    """
    said = read(note) if tells(note) else None
    if said is not None and said.key != key:
        raise LedgerError(
            f"the ledger was handed over to the key {_name(said.key)}, and {_name(key)} is here",
            advice="Give this process the key: ledger_key in config.yaml, and start it again.",
        )
    return checkpoints.verify(note, key)


@dataclass(frozen=True)
class KeyHistory:
    """The keys of a ledger, oldest first: a :class:`~mlflow_governance.ledger.note.LedgerKey`.

    ``keys`` are those we were told of or that the notes told of, ``handovers`` the notes that are
    proved: ``handovers[i]`` ends ``keys[i]`` and begins ``keys[i + 1]``.

    Raises:
        ConfigurationError: no key, one twice, or keys of different ledgers.
    """

    keys: tuple[NoteKey, ...]
    handovers: tuple[Handover, ...] = ()

    def __post_init__(self) -> None:
        if not self.keys or len({key.name for key in self.keys}) != 1:
            raise ConfigurationError("the keys of a ledger are one or more, of one name")
        if len({key.public for key in self.keys}) != len(self.keys):
            raise ConfigurationError("a key of the ledger is there twice")

    @classmethod
    def parse(cls, text: str) -> KeyHistory:
        """Read verifier keys, one a line, oldest first.

        Raises:
            ConfigurationError: that is not what they are.
        """
        return cls(tuple(NoteKey.parse(line) for line in text.splitlines() if line.strip()))

    def encode(self) -> str:
        """The verifier keys, one a line, oldest first."""
        return "".join(f"{key.encode()}\n" for key in self.keys)

    @property
    def name(self) -> str:
        """The origin of the ledger."""
        return self.keys[0].name

    @property
    def newest(self) -> NoteKey:
        """The key that signs now."""
        return self.keys[-1]

    @property
    def proved(self) -> bool:
        """True when the handover to each key but the first is proved."""
        return len(self.handovers) + 1 == len(self.keys)

    def following(self, notes: Iterable[str]) -> KeyHistory:
        """This history with every handover these notes prove; others of them are passed over.

        Raises:
            LedgerError: a key was handed over twice, or to another one than we were told of.
        """
        found = list(_handovers(notes))
        history = self
        while heirs := list(history._heirs(found)):
            if len(set(heirs)) > 1:
                raise LedgerError(
                    f"the key {_name(history.keys[len(history.handovers)])} handed the ledger "
                    "over twice: it is forked",
                    advice=_ADVICE,
                )
            history = history._with(heirs[0])
        return history

    def proofs(self, notes: Iterable[str]) -> dict[Handover, str]:
        """The notes, of these, that prove the handovers of this history."""
        return {found: note for found, note in _handovers(notes) if found in self.handovers}

    def open(self, note: str | bytes) -> str:
        """The text of a checkpoint signed by a key whose word counts for its size.

        Raises:
            LedgerError: it is not.
        """
        if not self.proved:
            old, new = self.keys[len(self.handovers) : len(self.handovers) + 2]
            raise LedgerError(
                f"the checkpoint with which {_name(old)} handed over to {_name(new)} is missing",
                advice="Put it back into the folder of checkpoints; a backup has it.",
            )
        size = checkpoints.parse(note).size
        if read(note) not in (None, *self.handovers):
            raise LedgerError(f"the note of {size} entries hands the ledger over without proof")
        lines = {(name, line[:4]) for name, line in notes.split(note)[1]}
        signed = [key for key in self.keys if (key.name, key.key_id) in lines]
        counting = [key for key in self._of(size) if key in signed]
        if not counting and signed:
            raise LedgerError(
                f"the note of {size} entries is signed with {_name(signed[0])}, whose word does "
                "not count for that size",
                advice=_ADVICE,
            )
        texts = [notes.open_note(note, key) for key in counting or (self.newest,)]
        return texts[0]

    def open_head(self, note: str | bytes) -> str:
        """The text of a head: :meth:`open`, and signed by the newest key.

        Raises:
            LedgerError: it is not, or is of fewer entries than were handed over to that key.
        """
        text = self.open(note)
        size, last = (
            checkpoints.parse(note).size,
            self.handovers[-1].at.size if self.handovers else 0,
        )
        if size < last:
            raise LedgerError(
                f"the ledger ends at {size} entries, and {last} were handed over to "
                f"{_name(self.newest)}",
                advice=_ADVICE,
            )
        notes.open_note(note, self.newest)
        return text

    def proves(self, note: str) -> bool:
        """True for a note that hands the ledger over in this history."""
        return any(found in self.handovers for found, _ in _handovers([note]))

    def _of(self, size: int) -> Iterator[NoteKey]:
        begins = [0, *(handover.at.size for handover in self.handovers)]
        ends = [*begins[1:], size]
        for key, begin, end in zip(self.keys, begins, ends, strict=True):
            if begin <= size <= end:
                yield key

    def _heirs(self, found: Iterable[tuple[Handover, str]]) -> Iterator[Handover]:
        """The handovers, of those found, that the last proved key made, and its heir confirmed."""
        done = len(self.handovers)
        giver, begin = self.keys[done], self.handovers[-1].at.size if done else 0
        for handover, note in found:
            if handover.at.size <= begin or handover.at.origin != self.name:
                continue
            try:
                giver.open(note)
                handover.key.open(note)
            except LedgerError:
                continue  # whoever wrote it has not both keys; as a checkpoint it is refused
            yield handover

    def _with(self, handover: Handover) -> KeyHistory:
        place = len(self.handovers) + 1
        told = self.keys[place : place + 1]
        if told and told[0] != handover.key:
            raise LedgerError(
                f"the ledger was handed over to {_name(handover.key)} and not to "
                f"{_name(told[0])}, as is known here",
                advice=_ADVICE,
            )
        try:
            keys = self.keys if told else (*self.keys, handover.key)
            return replace(self, keys=keys, handovers=(*self.handovers, handover))
        except ConfigurationError as error:
            raise LedgerError(f"a handover of the ledger: {error.message}") from error


def facts(before: NoteKey, after: NoteKey) -> dict[str, str]:
    """What the entry ``ledger.rekeyed`` says: the new key in full, the id of the one before."""
    return {"key": after.encode(), "former": before.key_id.hex()}


def require_entries(history: KeyHistory, told: Iterable[tuple[int, Mapping[str, Any]]]) -> None:
    """Hold the handovers to the entries ``ledger.rekeyed``, one each.

    Args:
        history: proved.
        told: index and facts of every such entry of the ledger, ascending.

    Raises:
        LedgerError: an entry without its handover, or the other way round.
    """
    pairs = zip(history.keys, history.handovers, strict=False)
    wanted = {h.at.size - 1: facts(before, h.key) for before, h in pairs}
    found = dict(told)
    for index in sorted(wanted.keys() | found.keys()):
        if wanted.get(index) != found.get(index):
            raise LedgerError(
                f"entry {index} and the checkpoints do not tell of the same change of the "
                "ledger's key",
                advice=_ADVICE,
                index=index,
            )


def _handovers(notes: Iterable[str]) -> Iterator[tuple[Handover, str]]:
    for note in filter(tells, notes):
        with suppress(LedgerError):  # no checkpoint at all; named where every note is verified
            if (handover := read(note)) is not None:
                yield handover, note


def _name(key: NoteKey) -> str:
    return f"{key.name}+{key.key_id.hex()}"
