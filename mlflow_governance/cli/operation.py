"""What commands on the host share that change the record: the store, and who runs them."""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from mlflow_governance.bootstrap import ledger_signer
from mlflow_governance.config import Settings
from mlflow_governance.core.actor import Actor
from mlflow_governance.custody.ledger import successor
from mlflow_governance.errors import ConfigurationError, GovernanceError, NotFound, Unavailable

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
        with _of_file(sessions.engine.url):
            require_current(sessions.engine)
    except GovernanceError:
        sessions.dispose()
        raise
    return sessions


@contextmanager
def _of_file(url: URL) -> Iterator[None]:
    """Say what is wrong with SQLite's file. Where there is none it would make an empty one."""
    name = url.database if url.get_backend_name() == "sqlite" else None
    if not name or name.startswith((":memory:", "file:")):
        yield
        return
    file = Path(name).resolve()
    if not file.is_file():
        raise NotFound(
            f"there is no database {file}",
            advice="Name the server's, --backend-store-uri URL, or go to the folder it runs in.",
        )
    try:
        yield
    except Unavailable as error:
        if os.access(file, os.R_OK) and os.access(file.parent, os.W_OK):
            raise
        raise ConfigurationError(
            f"this user cannot open {file}; SQLite writes beside it, even to read",
            advice="Run this as the user the server runs as, or on a copy.",
        ) from error


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
