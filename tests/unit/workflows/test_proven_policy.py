"""Policy as somebody wrote it into the database decides nothing: the ledger has to prove it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from mlflow_governance.core.actor import Actor
from mlflow_governance.errors import LedgerError
from mlflow_governance.ledger.note import Ed25519Signer
from mlflow_governance.policy.bundle import Bundle
from mlflow_governance.store import tables as ours
from mlflow_governance.store.sessions import Sessions, session_factory_for
from mlflow_governance.store.unit_of_work import SqlStore
from mlflow_governance.workflows.policy_approval import Spoken, propose, speak
from mlflow_governance.workflows.proven_policy import require_words
from tests.unit.policy.builders import shipped
from tests.unit.workflows.builders import ALICE, PIA, SAM
from tests.unit.workflows.policy_builders import LAXER, SECURITY, STRICTER, LivingRegistry

AT = datetime(2026, 11, 21, 3, 4, 5, tzinfo=UTC)
WORDS, PROPOSALS = ours.policy_words, ours.policy_proposals


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[LivingRegistry]:
    made = LivingRegistry(tmp_path, quorum=SECURITY)
    yield made
    made.sessions.dispose()


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A proposal that alice approved and then rejected."""
    folder = tmp_path_factory.mktemp("said")
    registry = LivingRegistry(folder, quorum=SECURITY)
    propose(registry.board, PIA, "severities of 2027", archive=STRICTER.archive())
    approve(registry, ALICE)
    speak(registry.board, ALICE, STRICTER.digest, "reject", "on second thoughts")
    registry.sessions.dispose()
    return folder


def run(sessions: Sessions, *statements: sa.Executable) -> None:
    with sessions.engine.begin() as connection:
        for statement in statements:
            assert connection.execute(statement).rowcount >= 1


def approve(registry: LivingRegistry, by: Actor, bundle: Bundle = STRICTER) -> Spoken:
    return speak(registry.board, by, bundle.digest, "approve", "as agreed")


def force(registry: LivingRegistry, bundle: Bundle) -> None:
    policy = ours.in_force.c.what == "policy"
    run(registry.sessions, sa.update(ours.in_force).where(policy).values(digest=bundle.digest))


def forged_word() -> sa.Executable:
    uid = sa.select(PROPOSALS.c.uid).limit(1).scalar_subquery()
    row = {"person": "mallory", "role": "security", "decision": "approve", "reason": "x"}
    return sa.insert(WORDS).values(proposal_uid=uid, at=AT, withdrawn=False, **row)


_REJECTED = WORDS.c.decision == "reject"
_OTHER = sa.select(ours.policies.c.archive_digest).limit(1).scalar_subquery()
PLANTED: dict[str, tuple[sa.Executable, ...]] = {
    "a word inserted": (forged_word(),),
    "a word of somebody else": (sa.update(WORDS).values(person="mallory"),),
    "an objection turned": (sa.update(WORDS).where(_REJECTED).values(decision="approve"),),
    "an objection deleted": (sa.delete(WORDS).where(_REJECTED),),
    "an earlier word counts again": (
        sa.update(WORDS).values(withdrawn=False), sa.delete(WORDS).where(_REJECTED),
    ),
    "proposed by somebody else": (sa.update(PROPOSALS).values(person="mallory"),),
    "another bundle": (sa.update(PROPOSALS).values(digest=LAXER.digest),),
    "another archive": (sa.update(PROPOSALS).values(archive_digest=_OTHER),),
    "a name erased": (sa.delete(ours.private).where(ours.private.c.person == "alice"),),
}  # fmt: skip


@pytest.mark.parametrize("name", [None, *PLANTED])
def test_words_and_proposals_have_to_be_proved(
    said: Path, tmp_path: Path, name: str | None
) -> None:
    shutil.copytree(said, tmp_path / "copy")
    sessions = session_factory_for(f"sqlite:///{tmp_path / 'copy' / 'registry.db'}")
    key = Ed25519Signer.from_pem("test/ledger", (said / "ledger.pem").read_bytes())
    store = SqlStore(sessions, ledger_signer=key)
    if name is not None:
        run(sessions, *PLANTED[name])

    with store.read() as reading:
        (proposal,) = reading.open_proposals()
        if name is None:
            require_words(store, reading, proposal)
            return
        with pytest.raises(LedgerError) as refused:
            require_words(store, reading, proposal)
    assert "mlflow-governance validate" in refused.value.advice


def test_no_policy_comes_into_force_by_a_word_that_nobody_said(registry: LivingRegistry) -> None:
    propose(registry.board, PIA, "severities of 2027", archive=STRICTER.archive())
    run(registry.sessions, forged_word())

    with pytest.raises(LedgerError):
        approve(registry, SAM)
    assert registry.now == shipped().digest


def test_a_policy_set_in_the_database_decides_nothing(registry: LivingRegistry) -> None:
    propose(registry.board, PIA, "severities of 2027", archive=STRICTER.archive())
    approve(registry, ALICE)
    approve(registry, SAM)
    assert registry.now == STRICTER.digest
    force(registry, shipped())  # one that was in force, with all that belongs to it

    with pytest.raises(LedgerError, match="called in force"):
        registry.live.at(shipped().digest)
    assert registry.now == STRICTER.digest


@pytest.mark.parametrize(
    "plant",
    [
        lambda r: force(r, LAXER),
        lambda r: run(r.sessions, sa.delete(ours.in_force).where(ours.in_force.c.what == "policy")),
    ],
    ids=["another in force", "none in force"],
)
def test_a_server_does_not_start_on_it(
    registry: LivingRegistry, tmp_path: Path, plant: Callable[[LivingRegistry], None]
) -> None:
    plant(registry)
    changes = len(registry.told("policy.changed"))

    with pytest.raises(LedgerError, match="called in force"):
        LivingRegistry(tmp_path, quorum=SECURITY)
    assert len(registry.told("policy.changed")) == changes


def test_an_entry_of_another_policy_that_nobody_signed_is_no_proof(
    registry: LivingRegistry,
) -> None:
    table = ours.ledger_entries
    with registry.sessions.engine.begin() as connection:
        query = sa.select(table.c.position, table.c.entry).where(table.c.act == "policy.changed")
        position, entry = connection.execute(query).one()
        forged = bytes(entry).replace(shipped().digest.encode(), LAXER.digest.encode())
        connection.execute(
            sa.update(table).where(table.c.position == position).values(entry=forged)
        )
    force(registry, LAXER)

    with pytest.raises(LedgerError, match="not in the ledger that was signed"):
        registry.live.at(LAXER.digest)
