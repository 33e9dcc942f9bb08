"""Recorded decisions in a real database, and what somebody does to them behind our back."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from mlflow_governance.core import canonical
from mlflow_governance.core.dossier import Dossier
from mlflow_governance.errors import InvalidRequest
from mlflow_governance.policy.bundle import Bundle
from mlflow_governance.policy.decide import decide
from mlflow_governance.policy.embedded import EmbeddedEngine
from mlflow_governance.store.decisions import SqlDecisions
from tests.unit.policy.builders import shipped
from tests.unit.policy.mutations import mutated, starts
from tests.unit.store.builders import Database, open_database


class Past:
    """A database of decisions."""

    def __init__(self, folder: Path) -> None:
        self.url = f"sqlite:///{folder}/past.db"
        self.database: Database = open_database(self.url)
        self.decisions = SqlDecisions(self.database.sessions)

    def record(self, dossiers: Iterable[Dossier], bundle: Bundle | None = None) -> list[str]:
        """Decide and store; returns the ids of the decisions."""
        engine = EmbeddedEngine(bundle or shipped())
        ids = []
        with self.database.store.begin() as uow:
            for dossier in dossiers:
                decision = decide(engine, dossier)
                uow.add_decision(decision, dossier.encoded, dossier.subject.uid)
                ids.append(decision.decision_id)
        return ids

    def rows(self) -> list[Any]:
        """Every row, oldest first."""
        return list(self.decisions.rows(-1, self.decisions.last()))

    def close(self) -> None:
        self.database.sessions.dispose()


def many(count: int, seed: int = 5) -> Iterator[Dossier]:
    """Dossiers gone wrong in all sorts of ways, each of them one that can be stored."""
    chance = random.Random(seed)
    good = starts()
    yield from map(Dossier.from_document, good)
    found = 0
    while found < count:
        try:
            made = Dossier.from_document(mutated(chance, chance.choice(good)))
        except InvalidRequest:
            continue
        if isinstance(made.subject.uid, str):
            found += 1
            yield made


def changed(dossier: Dossier, **members: Any) -> Dossier:
    """The same with other members of its document."""
    return Dossier.from_document(canonical.decode_object(dossier.encoded) | members)
