"""What commands on the host share that change the record: the store, and who runs them."""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING

from mlflow_governance.bootstrap import ledger_signer
from mlflow_governance.config import Settings
from mlflow_governance.core.actor import Actor
from mlflow_governance.custody.ledger import successor

if TYPE_CHECKING:
    from mlflow_governance.store.unit_of_work import SqlStore


def operator() -> Actor:
    """Whoever runs this command, as the host knows them: ``os:<login>``.

    Whoever may read the ledger's key may write the ledger: the host vouches for the name.
    """
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a container without a passwd entry
        name = "unknown"
    return Actor(f"os:{name}", authenticated=True)


def open_store(settings: Settings, url: str) -> SqlStore:
    """The registry's store over a database, as the server was given it.

    Raises:
        ConfigurationError: the ledger's key is absent or unsafe.
    """
    from mlflow_governance.store.sessions import session_factory_for
    from mlflow_governance.store.unit_of_work import SqlStore

    sessions = session_factory_for(url.removeprefix("governance+"))
    return SqlStore(
        sessions, ledger_signer=ledger_signer(settings), renew_signer=successor(settings)
    )
