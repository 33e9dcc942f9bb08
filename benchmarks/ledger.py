"""Durable appends beside the bare database, and a full verification beside bare reading."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from benchmarks.measure import Scale, alternate
from benchmarks.report import Row, Spread
from mlflow_governance.core import moment
from mlflow_governance.core.event import Act, Event
from mlflow_governance.ledger.note import Ed25519Signer
from mlflow_governance.store.ledger import SqlLedger
from mlflow_governance.store.migrate import upgrade
from mlflow_governance.store.sessions import session_factory_for
from mlflow_governance.store.unit_of_work import SqlStore

_BLOCK = 50
_BATCH = 1000
_APPENDS, _VERIFICATION = 1_000, 100_000
_SUBJECT = {
    "name": "bench",
    "version": 3,
    "workspace": "default",
    "uid": "0f" * 16,
    "digest": "sha256:" + "a" * 64,
}
_STATE = {"stage": "Candidate", "policy_digest": "sha256:" + "b" * 64}


def run(folder: Path, scale: Scale) -> Iterator[Row]:
    """On SQLite in a file, every commit synced to the disk."""
    url = f"sqlite:///{folder / 'ledger.db'}"
    upgrade(url)
    sessions = session_factory_for(url)
    signer = Ed25519Signer("bench/ledger", Ed25519PrivateKey.generate())
    store = SqlStore(sessions, ledger_signer=signer)
    try:
        yield _appends(store, folder, scale.pick(40, 10))
        entries = scale.pick(50_000, 10_000)
        for _ in range(entries // _BATCH):
            with store.begin() as work:
                for _ in range(_BATCH):
                    work.record(_event())
        yield _verification(
            SqlLedger(sessions), signer, folder / "ledger.db", rounds=scale.pick(7, 3)
        )
    finally:
        sessions.dispose()


def _appends(store: SqlStore, folder: Path, blocks: int) -> Row:
    def append() -> None:
        for _ in range(_BLOCK):
            with store.begin() as work:
                work.record(_event())

    with closing(sqlite3.connect(folder / "bare.db", isolation_level=None)) as connection:
        bare = _bare_commits(connection)
        append()
        found = alternate(blocks, ours=append, limit=bare)
    ours = Spread.rate(found["ours"], _BLOCK)
    return Row(
        "ledger: durable appends (limit: bare commits of a row)",
        "1/s",
        ours,
        Spread.rate(found["limit"], _BLOCK),
        f"{found['ours'].speed_beside(found['limit']):.2f}x",
        f"≥ {_APPENDS:,}/s",
        ours.p50 >= _APPENDS,
    )


def _bare_commits(connection: sqlite3.Connection) -> Callable[[], None]:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE bare (id INTEGER PRIMARY KEY, data BLOB)")
    data = b"x" * 1000

    def commit() -> None:
        for _ in range(_BLOCK):
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("INSERT INTO bare (data) VALUES (?)", (data,))
            connection.execute("COMMIT")

    return commit


def _verification(ledger: SqlLedger, signer: Ed25519Signer, file: Path, *, rounds: int) -> Row:
    def read_and_hash() -> None:
        query = "SELECT entry FROM governance_ledger_entries ORDER BY position"
        with closing(sqlite3.connect(file)) as connection:
            for (entry,) in connection.execute(query):
                hashlib.sha256(entry).digest()

    size = ledger.verify(signer.key).size
    found = alternate(rounds, ours=lambda: ledger.verify(signer.key), limit=read_and_hash)
    ours = Spread.rate(found["ours"], size)
    return Row(
        f"ledger: verify all of {size:,} entries (limit: read and hash)",
        "1/s",
        ours,
        Spread.rate(found["limit"], size),
        f"{found['ours'].speed_beside(found['limit']):.2f}x",
        f"≥ {_VERIFICATION:,}/s",
        ours.p50 >= _VERIFICATION,
    )


def _event() -> Event:
    """What a transition leaves behind."""
    return Event(
        act=Act.VERSION_TRANSITIONED,
        person="ann",
        at=moment.now(),
        subject=_SUBJECT,
        before=_STATE,
        after={**_STATE, "stage": "Staging"},
        decision_id="0e" * 16,
        decision_digest="sha256:" + "c" * 64,
        reason="canary is green",
        facts={"gate": "promote", "failed": [], "action": {"from": "Candidate", "to": "Staging"}},
    )
