"""What commands on the host share that change the record: the store, and who runs them."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import TYPE_CHECKING

from mlflow_governance.bootstrap import ledger_signer
from mlflow_governance.config import Settings
from mlflow_governance.core.actor import Actor
from mlflow_governance.custody.ledger import successor
from mlflow_governance.errors import GovernanceError, NotFound

if TYPE_CHECKING:
    from sqlalchemy import URL

    from mlflow_governance.store.sessions import Sessions
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


def open_sessions(url: str) -> Sessions:
    """Sessions on a database whose tables are of this version; a command makes and migrates none.

    Raises:
        NotFound: it would be a file that is not there.
        ConfigurationError: they are of another one, or the URL cannot be used.
        Unavailable: the database does not answer.
    """
    from mlflow_governance.store.migrate import require_current
    from mlflow_governance.store.sessions import session_factory_for

    sessions = session_factory_for(url)
    try:
        _require_file(sessions.engine.url)
        require_current(sessions.engine)
    except GovernanceError:
        sessions.dispose()
        raise
    return sessions


def _require_file(url: URL) -> None:
    # SQLite would make an empty one, where a server started later might find it.
    name = url.database if url.get_backend_name() == "sqlite" else None
    if name and not name.startswith((":memory:", "file:")) and not Path(name).is_file():
        raise NotFound(
            f"there is no database {Path(name).resolve()}",
            advice="Name the server's, --backend-store-uri URL, or go to the folder it runs in.",
        )


def open_store(settings: Settings, url: str) -> SqlStore:
    """The registry's store over a database, as the server was given it.

    Raises:
        ConfigurationError: the ledger's key is absent or unsafe, or the tables are not of this
            version.
    """
    from mlflow_governance.store.unit_of_work import SqlStore

    return SqlStore(
        open_sessions(url), ledger_signer=ledger_signer(settings), renew_signer=successor(settings)
    )
