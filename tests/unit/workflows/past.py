"""Recorded decisions in a real database, and what somebody does to them behind our back."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from mlflow_governance.core import canonical
from mlflow_governance.core.dossier import Dossier
from mlflow_governance.errors import InvalidRequest
from mlflow_governance.policy.bundle import Bundle, from_files
from mlflow_governance.policy.decide import decide
from mlflow_governance.policy.embedded import EmbeddedEngine
from mlflow_governance.policy.samples import mutated, starts
from mlflow_governance.store.decisions import SqlDecisions
from tests.unit.policy.builders import shipped
from tests.unit.store.builders import Database, open_database


class Past:
    """A database of decisions."""

    def __init__(self, folder: Path, name: str = "past.db") -> None:
        self.url = f"sqlite:///{folder}/{name}"
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


_RELAXED = b"""package registry.accept

default provenance := false

provenance if input.evidence.provenance.status == "passed"

default signature := false

signature if input.evidence.signature.status == "passed"

default canary := false

canary if input.evidence.canary.status == "passed"

default dataset := false

dataset if input.evidence.dataset.status == "passed"

checks := {"A-1": provenance, "A-2": signature, "A-3": canary, "A-4": dataset}

default deciding := false

deciding if provenance

waiver := {
	"code": "A-4",
	"waiver": "W-9",
	"owner": "sam",
	"approver": "pia",
	"expires": "2027-01-01T00:00:00Z",
}

waived := [waiver | dataset == false]

said(code, kind, ok) := [reason |
	ok == false
	reason := {"code": code, "path": concat(".", ["evidence", kind]), "message": "not proved"}
]

decision := {
	"gate": "accept",
	"allow": deciding,
	"checks": checks,
	"reasons": said("A-1", "provenance", provenance),
	"warnings": said("A-2", "signature", signature),
	"obligations": [],
	"details": {},
	"modes": {"A-2": "warn", "A-3": "shadow"},
	"waived": waived,
	"shadow": said("A-3", "canary", canary),
}
"""


def relaxed() -> Bundle:
    """A bundle whose accept gate enforces A-1, warns of A-2, shadows A-3 and waives A-4."""
    return from_files({**shipped().files, "registry/accept/accept.rego": _RELAXED})
