"""The ledger's public keys for a process that lives through a change of them."""

from __future__ import annotations

from collections.abc import Iterable

from mlflow_governance.config import Settings
from mlflow_governance.custody.ledger import ledger_keys
from mlflow_governance.errors import LedgerError
from mlflow_governance.ledger.handover import KeyHistory


class LiveKeys:
    """A :class:`~mlflow_governance.ledger.note.LedgerKey` that learns of handovers.

    A note that does not open may be signed by the key another process handed the ledger over to:
    then the home folder is asked once more, and only what it proves counts.

    Args:
        settings: of the installation.

    Raises:
        ConfigurationError: there is no key, or one cannot be read.
        LedgerError: the exported checkpoints tell of another history of it.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._known = ledger_keys(settings)

    @property
    def name(self) -> str:
        """The origin of the ledger."""
        return self._known.name

    def open(self, note: str | bytes) -> str:
        """The text of a checkpoint signed by a key whose word counts for its size.

        Raises:
            LedgerError: it is not.
        """
        try:
            return self._known.open(note)
        except LedgerError:
            fresh = ledger_keys(self._settings)
            if fresh == self._known:
                raise
            self._known = fresh
            return fresh.open(note)

    def following(self, notes: Iterable[str]) -> KeyHistory:
        """The history with every handover these notes prove.

        Raises:
            LedgerError: they contradict what is known, or each other.
        """
        return self._known.following(notes)
