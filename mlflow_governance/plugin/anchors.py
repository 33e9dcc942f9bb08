"""Puts together what takes checkpoints off the host."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlflow_governance.bootstrap import ledger_key
from mlflow_governance.outbox.anchoring import Anchoring
from mlflow_governance.outbox.destinations import destination_of, home_folder

if TYPE_CHECKING:
    from mlflow_governance.config import Settings
    from mlflow_governance.workflows.checkpoints import CheckpointBook, Ledger


def anchoring_of(settings: Settings, ledger: Ledger, book: CheckpointBook) -> Anchoring:
    """The job of the settings.

    Raises:
        ConfigurationError: a key or token is not usable.
    """
    return Anchoring(
        options=settings.checkpoint_options,
        key=ledger_key(settings),
        ledger=ledger,
        book=book,
        home=home_folder(settings.checkpoint_folder),
        destinations=[destination_of(one) for one in settings.checkpoint_options.destinations],
    )
