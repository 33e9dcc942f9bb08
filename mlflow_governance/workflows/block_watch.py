"""Keeps the list of blocked digests to what the ledger says was withdrawn.

That a digest is not on the list is what lets its bytes be handed out under any name, and a row
that is missing proves nothing at use. So the worker replays what was withdrawn and compares. What
somebody took off the list is put back, and that it was missing is an alarm.
"""

from __future__ import annotations

from mlflow_governance.core.digest import Digest
from mlflow_governance.core.event import Act
from mlflow_governance.core.stage import Stage
from mlflow_governance.ledger.replay import Replay
from mlflow_governance.workflows.ports import Ports, Reading
from mlflow_governance.workflows.proven import alarm

_ACTS = (
    Act.VERSION_REGISTERED, Act.VERSION_TRANSITIONED, Act.VERSION_REVOKED, Act.VERSION_DELETED,
)  # fmt: skip
_STEP = 2000
"""Entries read at once; the first look reads all there are."""


class BlockWatch:
    """Looks again and again, each time at what is new in the ledger. For one thread.

    Args:
        ports: everything a workflow needs.
    """

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        self._told = Replay()

    def look(self) -> list[Digest]:
        """Compare the list with the ledger; returns what was missing and is blocked again."""
        while True:
            with self._ports.store.read() as reading:
                if self._follow(reading) < _STEP:
                    missing = self._missing(reading)
                    break
        for digest, stage in missing:
            self._block(digest, stage)
        return [digest for digest, _ in missing]

    def _follow(self, reading: Reading) -> int:
        entries = reading.entries_of(_ACTS, start=self._told.size, limit=_STEP)
        for index, data in entries:
            self._told.apply(index, data)
        self._told.problems.clear()  # for the validator, which reads all of it
        self._told.decisions.clear()
        return len(entries)

    def _missing(self, reading: Reading) -> list[tuple[Digest, Stage]]:
        blocked = {digest: stage for digest, stage, _ in reading.blocked()}
        return [
            (Digest(digest), Stage(stage))
            for digest, stage in self._told.blocked().items()
            # Revoked weighs more: a list that says so is no weaker than the ledger.
            if blocked.get(Digest(digest)) not in (stage, Stage.REVOKED.value)
        ]

    def _block(self, digest: Digest, stage: Stage) -> None:
        with self._ports.store.begin() as uow:
            while self._follow(uow) == _STEP:
                """Restored since, perhaps, by an entry that was not read yet."""
            if digest not in self._told.blocked():
                return
            uow.block(digest, stage, self._ports.clock())
        found = f"{digest} was withdrawn ({stage}) and was not blocked; it is blocked again"
        alarm(self._ports, {"digest": digest}, found)
