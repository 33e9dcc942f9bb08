"""Each change of the trust policy is in the ledger before anything rests on it."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from mlflow_governance.core import canonical
from mlflow_governance.core.dossier import Outcome
from mlflow_governance.core.event import Act
from mlflow_governance.evidence.interface import Kind
from mlflow_governance.store.tables import ledger_entries
from mlflow_governance.workflows.start import record_start
from mlflow_governance.workflows.trust import TRUST, note_trust_now
from tests.unit.workflows.builders import InProcessRegistry


@pytest.fixture
def registry(tmp_path: Path) -> InProcessRegistry:
    return InProcessRegistry(tmp_path)


def acts(registry: InProcessRegistry) -> list[str]:
    query = sa.select(ledger_entries.c.entry).order_by(ledger_entries.c.position)
    with registry.sessions.engine.connect() as connection:
        found = [canonical.decode_object(bytes(e)) for e in connection.execute(query).scalars()]
    return [entry["act"] for entry in found]


def test_a_start_says_which_trust_policy_is_in_force_and_only_a_change_says_it_again(registry):
    for _ in range(2):
        record_start(registry.ports, {})
    note_trust_now(registry.ports)

    assert acts(registry) == [
        "policy.changed",
        "trust.changed",
        "registry.started",
        "registry.started",
    ]


def test_a_decision_under_another_trust_policy_records_it_first(registry):
    registry.accepted("one")
    registry.outcomes.spoiled[Kind.CANARY] = Outcome.missing("no canary")
    registry.accepted("two")

    told = acts(registry)
    assert told.count(Act.TRUST_CHANGED) == 2
    assert told.index("trust.changed") < told.index("version.transitioned")
    with registry.ports.store.read() as reading:
        assert reading.in_force(TRUST) == registry.outcomes.trust_digest
    assert registry.entries() == len(told)
