"""What of the registry may change only with an entry in the ledger, read past the product."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflow_governance.store.packing import unpack
from tests.integration.world import World

_HOLDING = (
    "WHERE EXISTS (SELECT 1 FROM governance_versions WHERE stage != 'None' "
    "AND instr('mlflow-artifacts:/' || location || '/', {} || '/') = 1)"
)
_GROUND = ("run", "experiment", "logged")
_INSTANT = 100_000_000  # nanoseconds: many ticks of any kernel


class State:
    """What of the registry may change only with an entry in the ledger, as rows and files.

    Read from SQLite and the disk, past the product.
    """

    _QUERIES: Mapping[str, str] = {
        "row": "SELECT name, version, current_stage, source, storage_location, run_id "
        "FROM model_versions WHERE name NOT IN (SELECT name FROM registered_model_tags "
        "WHERE key = 'mlflow.prompt.is_prompt' AND lower(value) = 'true')",
        "governed": "SELECT name, version, uid, stage, location, submitter, digest, "
        "policy_digest, quarantined_from FROM governance_versions",
        "alias": "SELECT name, alias, version FROM registered_model_aliases WHERE name NOT IN "
        "(SELECT name FROM registered_model_tags WHERE key = 'mlflow.prompt.is_prompt' "
        "AND lower(value) = 'true')",
        "kept alias": 'SELECT name, alias, version, "before" FROM governance_aliases',
        "approval": "SELECT version_uid, uid, person, decision, withdrawn "
        "FROM governance_approvals",
        "blocked": "SELECT digest, stage FROM governance_blocked",
        "evidence": "SELECT version_uid, path, digest FROM governance_files "
        "WHERE role = 'evidence'",
        "run": "SELECT run_uuid, lifecycle_stage, artifact_uri FROM runs "
        + _HOLDING.format("artifact_uri"),
        "experiment": "SELECT experiment_id, lifecycle_stage, artifact_location FROM experiments "
        + _HOLDING.format("artifact_location"),
        "logged": "SELECT model_id, lifecycle_stage, artifact_location FROM logged_models "
        "WHERE artifact_location IN (SELECT 'mlflow-artifacts:/' || location "
        "FROM governance_versions WHERE stage != 'None')",
    }

    def __init__(self, world: World) -> None:
        self._world = world
        self._path = world.folder / "mlflow.db"
        self._hashed = Hashed()

    def rows(self) -> dict[str, set[tuple[Any, ...]]]:
        """Every governed row by its kind."""
        with closing(self._open()) as db:
            db.execute("BEGIN")  # one moment for all of them
            return {kind: set(db.execute(query)) for kind, query in self._QUERIES.items()}

    def ledger(self) -> int:
        """How many entries the ledger has."""
        with closing(self._open()) as db:
            row = db.execute("SELECT size FROM governance_ledger_head").fetchone()
        return int(row[0]) if row else 0

    def entries(self, start: int) -> list[dict[str, Any]]:
        """The entries from an index on."""
        with closing(self._open()) as db:
            query = "SELECT entry FROM governance_ledger_entries WHERE position >= ? ORDER BY 1"
            return [json.loads(unpack(row[0])) for row in db.execute(query, (start,))]

    def stages(self) -> dict[str, str]:
        """The present stage of every governed version, by ``name/version``."""
        with closing(self._open()) as db:
            query = "SELECT name, version, stage FROM governance_versions"
            return {f"{name}/{version}": stage for name, version, stage in db.execute(query)}

    def files(self) -> dict[str, str]:
        """A digest of all files of each accepted version, the registry's own records left out."""
        with closing(self._open()) as db:
            query = "SELECT DISTINCT location FROM governance_versions WHERE stage != 'None'"
            places = [row[0] for row in db.execute(query)]
        return {place: self._hashed.folder(self._world.artifacts / place) for place in places}

    def versions(self) -> list[dict[str, Any]]:
        """The governed versions, oldest first."""
        with closing(self._open()) as db:
            db.row_factory = sqlite3.Row
            query = "SELECT * FROM governance_versions ORDER BY created_at"
            return [dict(row) for row in db.execute(query)]

    def blocked(self) -> set[str]:
        """Every blocked digest."""
        with closing(self._open()) as db:
            return {row[0] for row in db.execute("SELECT digest FROM governance_blocked")}

    def disagreements(self) -> list[str]:
        """Versions whose stage in MLflow's table is not the one in ours."""
        with closing(self._open()) as db:
            query = (
                "SELECT g.name, g.version, g.stage, m.current_stage FROM governance_versions g "
                "LEFT JOIN model_versions m ON (m.name, m.version, m.workspace) = "
                "(g.name, g.version, g.workspace) WHERE m.current_stage IS NOT g.stage"
            )
            return [f"{n}/{v} is {ours} and {theirs}" for n, v, ours, theirs in db.execute(query)]

    def look(self) -> Look:
        """Everything at this moment."""
        return Look(self.ledger(), self.rows(), self.files())

    def _open(self) -> sqlite3.Connection:
        return sqlite3.connect(f"file:{self._path}?mode=ro", uri=True, timeout=20)


class Hashed:
    """Digests of files, each read again only when it may have changed since it was read.

    The kernel stamps a change with the moment of its last tick, so what was changed within the last
    instant may be changed again without another stamp: nobody relies on a stamp so young.
    """

    def __init__(self) -> None:
        self._known: dict[str, tuple[tuple[int, int, int, int], bytes]] = {}

    def folder(self, folder: Path) -> str:
        """A digest of every file below a folder, the registry's own records left out."""
        total = hashlib.sha256()
        for name, entry in sorted(_files(str(folder))):
            if not name.startswith("governance/"):
                total.update(f"{len(name)}:{name}".encode() + self._file(entry))
        return total.hexdigest()

    def _file(self, entry: os.DirEntry[str]) -> bytes:
        stamp, known = _stamp(entry), self._known.get(entry.path)
        if known is not None and known[0] == stamp:
            return known[1]
        digest = hashlib.sha256(Path(entry.path).read_bytes()).digest()
        if time.time_ns() - stamp[0] > _INSTANT:
            self._known[entry.path] = (stamp, digest)
        return digest


def _stamp(entry: os.DirEntry[str]) -> tuple[int, int, int, int]:
    found = os.stat(entry.path)
    return found.st_ctime_ns, found.st_mtime_ns, found.st_size, found.st_ino


def _files(folder: str, prefix: str = "") -> Iterator[tuple[str, os.DirEntry[str]]]:
    try:
        entries = list(os.scandir(folder))
    except FileNotFoundError:
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _files(entry.path, f"{prefix}{entry.name}/")
        elif entry.is_file():
            yield prefix + entry.name, entry


@dataclass(frozen=True)
class Look:
    """The state at one moment: size of the ledger, rows by kind, digests by folder."""

    ledger: int
    rows: dict[str, set[tuple[Any, ...]]]
    files: dict[str, str]

    def changed(self, later: Look) -> dict[str, set[tuple[Any, ...]]]:
        """Rows that came, went or changed until later, and folders whose files did."""
        found = {kind: rows ^ later.rows[kind] for kind, rows in self.rows.items()}
        for kind in _GROUND:
            # What comes under or leaves an accepted version is no change of its own.
            both = {row[0] for row in self.rows[kind]} & {row[0] for row in later.rows[kind]}
            found[kind] = {row for row in found[kind] if row[0] in both}
        found["files"] = {
            (place, digest)
            for place, digest in self.files.items()
            if later.files.get(place, digest) != digest
        }
        return {kind: rows for kind, rows in found.items() if rows}


def unrecorded(
    changed: Mapping[str, set[tuple[Any, ...]]], entries: Iterable[Mapping[str, Any]]
) -> dict[str, set[tuple[Any, ...]]]:
    """What of a change no entry is about. No entry excuses changed files of an accepted version."""
    known: set[object] = set()
    for entry in entries:
        for part in ("subject", "before", "after", "facts"):
            known |= set(_texts(entry.get(part)))
    found = {kind: {row for row in rows if row[0] not in known} for kind, rows in changed.items()}
    return {kind: rows for kind, rows in found.items() if rows}


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    for inner in value.values() if isinstance(value, dict) else ():
        yield from _texts(inner)
