"""A registry whose policy lives: its source is in memory, its looks are asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa

from mlflow_governance.core import canonical
from mlflow_governance.errors import GovernanceError
from mlflow_governance.policy import bundle as bundles
from mlflow_governance.policy.bundle import Bundle
from mlflow_governance.policy.embedded import EmbeddedEngine
from mlflow_governance.policy.interface import PolicyEngine
from mlflow_governance.store.tables import ledger_entries
from mlflow_governance.workflows import policy_verdict
from mlflow_governance.workflows.live_policies import Engines, LivePolicies
from mlflow_governance.workflows.policy_change import Board
from mlflow_governance.workflows.policy_ports import Quorum
from tests.unit.policy.builders import configured, shipped
from tests.unit.workflows.builders import InProcessRegistry

SECURITY = Quorum(2, ("security",))
T = TypeVar("T")


def once(make: Callable[[Bundle], T]) -> Callable[[Bundle], T]:
    """The same function of a bundle's files, which remembers what it made of them."""
    made: dict[frozenset[tuple[str, bytes]], T] = {}

    def remembered(bundle: Bundle) -> T:
        key = frozenset(bundle.files.items())
        if key not in made:
            made[key] = make(bundle)
        return made[key]

    return remembered


# Each start and each change weighs the same few bundles, half a second each.
policy_verdict.lint = once(policy_verdict.lint)  # type: ignore[attr-defined]
compiled = once(EmbeddedEngine)

NEVER = 1e9
"""Seconds after which a look happens by itself."""


@dataclass
class Shelf:
    """A source that has what the test puts there."""

    there: Bundle | GovernanceError = field(default_factory=shipped)
    name: str = "the shelf"
    signed: bool = False
    fetched: int = 0
    opened: Callable[[bytes], Bundle] = bundles.from_archive

    def fetch(self) -> Bundle:
        self.fetched += 1
        if isinstance(self.there, GovernanceError):
            raise self.there
        return self.there

    def open(self, archive: bytes) -> Bundle:
        return self.opened(archive)


class LivingRegistry(InProcessRegistry):
    """One replica: several may share a folder, and so a database."""

    def __init__(
        self,
        folder: Path,
        *,
        shelf: Shelf | None = None,
        quorum: Quorum | None = None,
        engines: Callable[[Bundle], PolicyEngine] | None = None,
        url: str = "",
    ) -> None:
        super().__init__(folder, url=url)
        self.shelf = shelf or Shelf()
        self.live = LivePolicies(
            store=self.ports.store,
            source=self.shelf,
            engines=Engines(engines or compiled, remote=engines is not None),
            clock=self.ports.clock,
            every=NEVER,
            quorum=quorum,
        )
        rules = replace(self.ports.rules, policy_approvals=quorum)
        self.ports = replace(self.ports, policy=self.live, rules=rules)
        self.live.start()

    @property
    def board(self) -> Board:
        return Board.of(self.ports)

    def look(self, times: int = 1) -> None:
        """Look at the source that often, as time would have it."""
        for _ in range(times):
            self.live._looked = float("-inf")
            self.live.look()

    def put(self, there: Bundle | GovernanceError) -> None:
        """Change the source, and look until it counts."""
        self.shelf.there = there
        self.look(2)

    @property
    def now(self) -> str:
        return self.live.current().digest

    def told(self, act: str) -> list[dict[str, Any]]:
        """The ledger's entries of one act; the whole ledger verifies."""
        self.entries()
        query = sa.select(ledger_entries.c.entry).where(ledger_entries.c.act == act)
        query = query.order_by(ledger_entries.c.position)
        with self.sessions.engine.connect() as connection:
            found = connection.execute(query).scalars().all()
        return [canonical.decode_object(bytes(entry)) for entry in found]


STRICTER = configured(blocking_cvss=6.5)
LAXER = configured(blocking_cvss=8.5)
