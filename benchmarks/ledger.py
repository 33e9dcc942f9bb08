"""The ledger: durable appends, a full verification, one proof in many, and the room it takes."""

from __future__ import annotations

import hashlib
import itertools
import secrets
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from benchmarks import ledger_transitions
from benchmarks.databases import ABSENT, KINDS, database
from benchmarks.ledger_room import room
from benchmarks.ledger_sparse import sparse_ledger
from benchmarks.measure import Scale, alternate
from benchmarks.report import Row, Spread, latency
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
_PROOF = 5


def _digest() -> str:
    # Of random bytes, as digests are: nothing here is easier to pack than what is real.
    return f"sha256:{secrets.token_hex(32)}"


_STATE = {"stage": "Candidate", "policy_digest": _digest(), "trust_digest": _digest()}


def run(folder: Path, scale: Scale) -> Iterator[Row]:
    """On SQLite in a file and on PostgreSQL, every commit synced to the disk."""
    yield _on_a_file(folder, scale)
    yield from ledger_transitions.run(folder, scale)
    for kind in KINDS:
        with database(kind, folder) as url:
            if url is None:
                yield Row.absent(f"ledger: verification on {kind}", ABSENT)
                continue
            yield from _filled(kind, url, scale)
        with database(kind, folder) as url:
            if url is not None:
                yield _proof(kind, url, scale)


def _on_a_file(folder: Path, scale: Scale) -> Row:
    url = f"sqlite:///{folder / 'ledger.db'}"
    upgrade(url)
    sessions = session_factory_for(url)
    signer = Ed25519Signer("bench/ledger", Ed25519PrivateKey.generate())
    try:
        return _appends(SqlStore(sessions, ledger_signer=signer), folder, scale.pick(40, 10))
    finally:
        sessions.dispose()


def _filled(kind: str, url: str, scale: Scale) -> Iterator[Row]:
    upgrade(url)
    sessions = session_factory_for(url)
    signer = Ed25519Signer("bench/ledger", Ed25519PrivateKey.generate())
    store = SqlStore(sessions, ledger_signer=signer)
    try:
        for _ in range(scale.pick(250_000, 10_000) // _BATCH):
            with store.begin() as work:
                for _ in range(_BATCH):
                    work.record(_event())
        yield _verification(kind, SqlLedger(sessions), signer, rounds=scale.pick(5, 3))
        yield room(kind, sessions)
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


def _verification(kind: str, ledger: SqlLedger, signer: Ed25519Signer, *, rounds: int) -> Row:
    def read_and_hash() -> None:
        for _, entry in ledger.entries():
            hashlib.sha256(entry).digest()

    size = ledger.verify(signer.key).size
    found = alternate(rounds, ours=lambda: ledger.verify(signer.key), limit=read_and_hash)
    ours = Spread.rate(found["ours"], size)
    return Row(
        f"ledger: verify all of {size:,} entries on {kind} (limit: read and hash, one process)",
        "1/s",
        ours,
        Spread.rate(found["limit"], size),
        f"{found['ours'].speed_beside(found['limit']):.2f}x",
        f"≥ {_VERIFICATION:,}/s",
        ours.p50 >= _VERIFICATION,
    )


def _proof(kind: str, url: str, scale: Scale) -> Row:
    """One proof after another, each by a reader that remembers nothing of the one before."""
    size, sample = scale.pick(10_000_000, 1_000_000), 200
    upgrade(url)
    sessions = session_factory_for(url)
    try:
        indexes = sparse_ledger(sessions, size, sample)
        ledger = SqlLedger(sessions)
        asked = itertools.cycle(indexes)
        found = alternate(sample, ours=lambda: ledger.inclusion_proof(next(asked)))
    finally:
        sessions.dispose()
    what = f"ledger: proof for one entry in {size:,} on {kind}"
    return latency(what, found["ours"], at_most=_PROOF)


def _event() -> Event:
    """What a transition leaves behind."""
    return Event(
        act=Act.VERSION_TRANSITIONED,
        person="ann",
        at=moment.now(),
        subject={
            "name": "bench",
            "version": 3,
            "workspace": "default",
            "uid": secrets.token_hex(16),
            "digest": _digest(),
        },
        before=_STATE,
        after={**_STATE, "stage": "Staging"},
        decision_id=secrets.token_hex(16),
        decision_digest=_digest(),
        reason="canary is green",
        facts={
            "gate": "promote",
            "policy_digest": _STATE["policy_digest"],
            "dossier_digest": _digest(),
            "failed": [],
            "action": {"from": "Candidate", "to": "Staging"},
        },
    )
