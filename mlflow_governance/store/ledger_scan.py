"""Reading a whole ledger for its verification, by as many processes as there are processors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import sqlalchemy as sa

from mlflow_governance.errors import LedgerError, Unavailable
from mlflow_governance.ledger.entry import MAX_BYTES
from mlflow_governance.ledger.merkle import HASH_BYTES, CompactRange
from mlflow_governance.ledger.nodes import WIDTH
from mlflow_governance.ledger.part import PART, Part, Task, check_part
from mlflow_governance.ledger.verify import Outline
from mlflow_governance.store.processes import in_order, processors
from mlflow_governance.store.sessions import (
    SessionFactory,
    Sessions,
    session_factory_for,
    transaction,
)
from mlflow_governance.store.tables import (
    ledger_checkpoints,
    ledger_entries,
    ledger_head,
    ledger_nodes,
)

_CHUNK = 2048
"""Rows a transaction: entries never change, so a long reading need not be one transaction. Even
where somebody wrote the longest entries there are, they fit into memory."""
_ALONE = 24 * PART
"""As many entries are read before another process has started."""
_ADVICE = "It may have been short of memory. Read with one: --processes 1."

_e, _n = ledger_entries.c, ledger_nodes.c
_FROM, _END = (sa.bindparam(name, type_=sa.BigInteger) for name in ("from", "end"))


def _short(column: sa.Column[Any], longest: int) -> sa.ColumnElement[Any]:
    # One more than there may be: whatever is longer is no longer the same.
    return sa.func.substr(column, 1, longest + 1, type_=column.type)


_ROWS = (
    sa.select(
        _e.position,
        sa.case((sa.func.length(_e.entry) <= MAX_BYTES, _e.entry)),
        _short(_e.leaf_hash, HASH_BYTES),
        _short(_e.act, 32),
        _short(_e.version_uid, 64),
        sa.type_coerce(_short(_e.at, 27), sa.String),
    )
    .where(_e.position >= _FROM, _e.position < _END)
    .order_by(_e.position)
)
_NODES = sa.select(_n.position, _short(_n.hash, HASH_BYTES)).where(
    _n.level == 1, _n.position >= _FROM, _n.position < _END
)
_LIMITS = sa.select(
    ledger_head,
    sa.select(sa.func.min(_e.position)).scalar_subquery().label("first"),
    sa.select(sa.func.max(_e.position)).scalar_subquery().label("last"),
)
_LEVELS = sa.select(
    _n.level, sa.func.count(), sa.func.min(_n.position), sa.func.max(_n.position)
).group_by(_n.level)
_UPPER = sa.select(_n.level, _n.position, _short(_n.hash, HASH_BYTES)).where(_n.level > 1)


CHECKPOINTS = sa.select(ledger_checkpoints.c.note).order_by(
    ledger_checkpoints.c.size, ledger_checkpoints.c.digest
)


def _nobody(tree: CompactRange, size: int) -> None:
    """Is told nothing."""


@dataclass(frozen=True)
class Reading:
    """How a ledger is read for its verification.

    Args:
        start: what is trusted to come before the first entry that is read; nothing, if None.
        processes: how many read; by default one for each processor, where it is worth it.
        watch: told after each part: the tree of the entries so far, and how many there will be.
    """

    start: CompactRange | None = None
    processes: int | None = None
    watch: Callable[[CompactRange, int], None] = _nobody


class Scan:
    """Reads parts of the ledger of a database.

    Args:
        sessions: where sessions come from.
    """

    def __init__(self, sessions: SessionFactory) -> None:
        self._sessions = sessions

    def outline(self) -> Outline:
        """What the database says of the ledger as a whole.

        Raises:
            LedgerError: there is no head row.
        """
        with transaction(self._sessions, read_only=True) as session:
            connection = session.connection()
            rows = connection.execute(_LIMITS).all()
            if len(rows) != 1:
                raise LedgerError("the ledger has no head row, or more than one")
            # At the moment of the head: a checkpoint kept a moment later would be larger.
            notes = tuple(connection.execute(CHECKPOINTS).scalars())
            upper = {(row[0], row[1]): row[2] for row in connection.execute(_UPPER)}
            levels = {row[0]: (row[1], row[2], row[3]) for row in connection.execute(_LEVELS)}
        (row,) = rows
        return Outline(
            str(row.note), row.size, row.compact_range, row.first, row.last, notes, upper, levels
        )

    def part(self, task: Task) -> Part:
        """Read and check a part."""
        first, end = task.leaves.start // WIDTH, task.leaves.stop // WIDTH
        with transaction(self._sessions, read_only=True) as session:
            found = session.connection().execute(_NODES, {"from": first, "end": end})
            kept = {row[0]: row[1] for row in found}
        return check_part(task, self._rows(task.leaves), kept)

    def parts(
        self, tasks: Iterable[Task], entries: int, processes: int | None = None
    ) -> Iterator[Part]:
        """Read and check many parts; results come in their order. Leaving early ends the work.

        Args:
            tasks: the parts.
            entries: how many they have together.
            processes: how many read; by default one for each processor, where it is worth it.

        Raises:
            Unavailable: the database does not answer, or a process was killed.
        """
        # Sessions that are not ours cannot be made anew in another process.
        many = processes or (processors() if entries > _ALONE else 1)
        if many == 1 or not isinstance(self._sessions, Sessions):
            yield from map(self.part, tasks)
            return
        url = self._sessions.engine.url.render_as_string(hide_password=False)
        yield from in_order(partial(_reader, url), tasks, many, _ADVICE)

    def _rows(self, leaves: range) -> Iterator[sa.Row[Any]]:
        for start in range(leaves.start, leaves.stop, _CHUNK):
            part = range(start, min(start + _CHUNK, leaves.stop))
            try:
                yield from self._chunk(part)
            except Unavailable as error:
                if "decode to UTF-8" not in str(error.__cause__):
                    raise
                yield from self._one_by_one(part)

    def _one_by_one(self, part: range) -> Iterator[sa.Row[Any]]:
        # SQLite's driver gives back no row at all where one of them is not text that should be.
        for position in part:
            try:
                yield from self._chunk(range(position, position + 1))
            except Unavailable as error:
                raise LedgerError(
                    f"entry {position} was edited: a column of it is not text", index=position
                ) from error

    def _chunk(self, part: range) -> Sequence[sa.Row[Any]]:
        with transaction(self._sessions, read_only=True) as session:
            values = {"from": part.start, "end": part.stop}
            return session.connection().execute(_ROWS, values).all()


def _reader(url: str) -> Callable[[Task], Part]:
    return Scan(session_factory_for(url)).part
