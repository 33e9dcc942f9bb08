"""Policy bundles in the database: kept by digest, proposed, spoken of, void."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import pytest

from mlflow_governance.core import digest as digests
from mlflow_governance.core.digest import Digest
from mlflow_governance.errors import NotFound, VerificationError
from mlflow_governance.workflows.policy import POLICY
from mlflow_governance.workflows.policy_ports import KeptPolicy, Proposal, ProposalState, Word
from tests.unit.store.builders import AT, Database, event

FIRST, SECOND = digests.of_bytes(b"first"), digests.of_bytes(b"second")


def keep(database: Database, digest: Digest, archive: bytes, position: int = 0) -> KeptPolicy:
    kept = KeptPolicy(digest, digests.of_bytes(archive), AT, position)
    with database.store.begin() as uow:
        uow.keep_policy(kept, archive)
    return kept


def proposal(**changes: Any) -> Proposal:
    values: dict[str, Any] = {
        "uid": uuid.uuid4().hex,
        "digest": SECOND,
        "before": FIRST,
        "archive_digest": digests.of_bytes(b"archive two"),
        "person": "pia",
        "reason": "stricter",
        "at": AT,
    }
    return Proposal(**(values | changes))


def word(of: Proposal, person: str, decision: str = "approve") -> Word:
    return Word(of.uid, person, "security", decision, "as agreed", AT)


def test_what_came_into_force_is_in_force_and_kept(database: Database) -> None:
    kept = keep(database, FIRST, b"archive one", 7)

    with database.store.read() as reading:
        assert reading.in_force(POLICY) == FIRST
        assert reading.kept_policy(FIRST) == kept
        assert reading.policy_archive(FIRST) == b"archive one"
        assert reading.kept_policy(SECOND) is None
        assert reading.policy_archive(SECOND) is None


def test_what_comes_back_has_a_new_moment_and_one_row(database: Database) -> None:
    keep(database, FIRST, b"archive one")
    keep(database, SECOND, b"archive two", 1)
    later = KeptPolicy(FIRST, digests.of_bytes(b"archive one"), AT + timedelta(days=1), 2)
    with database.store.begin() as uow:
        uow.keep_policy(later, b"archive one")

    with database.store.read() as reading:
        assert reading.in_force(POLICY) == FIRST
        assert reading.kept_policy(FIRST) == later
        assert reading.policy_archive(SECOND) == b"archive two"
    assert database.count("governance_policies") == 2


def test_an_archive_that_was_changed_or_removed_is_not_handed_out(database: Database) -> None:
    kept = keep(database, FIRST, b"archive one")
    database.run("UPDATE governance_blobs SET data = :data", data=b"other")
    with database.store.read() as reading, pytest.raises(VerificationError, match="changed"):
        reading.policy_archive(FIRST)

    database.run("DELETE FROM governance_blobs WHERE digest = :d", d=kept.archive_digest)
    with database.store.read() as reading, pytest.raises(VerificationError, match="removed"):
        reading.policy_archive(FIRST)


def test_a_proposal_keeps_its_archive_and_what_was_said_of_it(database: Database) -> None:
    made = proposal()
    with database.store.begin() as uow:
        uow.add_proposal(made, b"archive two")
        uow.add_word(word(made, "ann"))
        uow.add_word(word(made, "bob"))
        uow.add_word(word(made, "ann", "reject"))

    with database.store.read() as reading:
        assert reading.open_proposals() == reading.proposals() == [made]
        assert reading.proposed_archive(made) == b"archive two"
        said = [(w.person, w.decision) for w in reading.words_of(made.uid)]
    assert said == [("bob", "approve"), ("ann", "reject")]


def test_another_policy_in_force_ends_every_open_proposal(database: Database) -> None:
    keep(database, FIRST, b"archive one")
    done, void = proposal(), proposal(digest=digests.of_bytes(b"third"))
    with database.store.begin() as uow:
        uow.add_proposal(done, b"archive two")
        uow.add_proposal(void, b"archive two")
    keep(database, SECOND, b"archive two")

    with database.store.read() as reading:
        states = {p.uid: p.state for p in reading.proposals()}
        assert reading.open_proposals() == []
    assert states == {done.uid: ProposalState.DONE, void.uid: ProposalState.VOID}


def test_a_proposal_taken_back_is_open_no_more(database: Database) -> None:
    made = proposal()
    with database.store.begin() as uow:
        uow.add_proposal(made, b"archive two")
        uow.void_proposal(made.uid)

    with database.store.read() as reading:
        assert reading.open_proposals() == []
        assert [p.state for p in reading.proposals()] == [ProposalState.VOID]


def test_who_brought_a_policy_is_told_until_they_are_erased(database: Database) -> None:
    with database.store.begin() as uow:
        position = uow.record(event(person="ann", reason="stricter"))
    with database.store.read() as reading:
        assert reading.private_at(position) == {"actor": "ann", "reason": "stricter"}
        with pytest.raises(NotFound):
            reading.private_at(99)

    name = database.erase("ann")
    with database.store.read() as reading:
        assert reading.private_at(position) == {"actor": name, "reason": None}


def test_nothing_of_a_change_that_failed_stays(database: Database) -> None:
    keep(database, FIRST, b"archive one")

    def fail() -> None:
        with database.store.begin() as uow:
            uow.keep_policy(KeptPolicy(SECOND, digests.of_bytes(b"x"), AT, 1), b"x")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()

    with database.store.read() as reading:
        assert reading.in_force(POLICY) == FIRST
        assert reading.kept_policy(SECOND) is None
