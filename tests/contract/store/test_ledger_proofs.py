"""Proofs from the database: what is kept of the tree, by whom it is written, and forged."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.migration import MigrationContext
from alembic.operations import Operations

from mlflow_governance.errors import LedgerError, NotFound
from mlflow_governance.ledger import checkpoint
from mlflow_governance.ledger.merkle import leaf_hash
from mlflow_governance.ledger.proof import InclusionProof
from mlflow_governance.store.migrations.versions import v0007_ledger_nodes
from tests.unit.ledger import naive
from tests.unit.store.builders import Database, event

SIZE = 530
ENTRIES, NODES = "governance_ledger_entries", "governance_ledger_nodes"


@pytest.fixture
def filled(database: Database) -> Database:
    database.fill_at_once(SIZE)
    return database


def kept(database: Database) -> list[tuple[int, int, bytes]]:
    rows = database.run(f"SELECT level, position, hash FROM {NODES} ORDER BY level, position")
    return [(level, position, bytes(root)) for level, position, root in rows]


def leaves_of(database: Database) -> list[bytes]:
    return [leaf_hash(data) for _, data in database.ledger.entries()]


def test_a_subtree_is_kept_by_the_append_that_fills_it(database: Database) -> None:
    database.fill_at_once(255)
    assert kept(database) == []
    with suppress(RuntimeError), database.store.begin() as uow:
        uow.record(event())
        raise RuntimeError("taken back")
    assert kept(database) == []

    database.fill(2)

    assert kept(database) == [(1, 0, naive.mth(leaves_of(database)[:256]))]


def test_an_existing_ledger_gets_its_subtrees_with_the_table(filled: Database) -> None:
    before = kept(filled)
    for version_of_tables in ("whole", "broken"):
        filled.run(f"DROP TABLE {NODES}")
        if version_of_tables == "broken":  # what is wrong is for the verification to name
            filled.run(f"DELETE FROM {ENTRIES} WHERE position = 300")
        with filled.sessions.engine.begin() as connection:
            context = MigrationContext.configure(connection)
            with Operations.context(context):
                v0007_ledger_nodes.upgrade()
        assert kept(filled) == before[: 2 if version_of_tables == "whole" else 1]
    assert len(before) == 2


def test_every_entry_is_proved_against_now_and_against_any_checkpoint(filled: Database) -> None:
    entries = dict(filled.ledger.entries())
    earlier = filled.ledger.head()
    filled.fill_at_once(260)

    for note, size in ((earlier, SIZE), (None, SIZE + 260)):
        for index in (0, 1, 255, 256, 511, 512, SIZE - 1):
            proof = filled.ledger.inclusion_proof(index, note)
            assert proof.verify(entries[index], filled.key).size == size
    with pytest.raises(NotFound):
        filled.ledger.inclusion_proof(SIZE, earlier)
    assert filled.ledger.inclusion_proof(SIZE).index == SIZE


def test_many_proofs_are_all_against_one_checkpoint(filled: Database) -> None:
    leaves = leaves_of(filled)
    wanted = [*range(SIZE), 3, 0]

    proofs = filled.ledger.inclusion_proofs(iter(wanted))
    first = next(proofs)
    filled.fill(1)
    found = [first, *proofs]

    assert [proof.index for proof in found] == wanted
    assert {checkpoint.parse(proof.checkpoint).size for proof in found} == {SIZE}
    assert [list(proof.path) for proof in found] == [naive.path(n, leaves) for n in wanted]
    assert list(filled.ledger.inclusion_proofs([])) == []


def test_a_proof_reads_a_few_statements_and_not_the_ledger(filled: Database) -> None:
    asked: list[str] = []
    engine = filled.sessions.engine
    sa.event.listen(engine, "before_cursor_execute", lambda *args: asked.append(args[2]))

    filled.ledger.inclusion_proof(300)

    assert len([text for text in asked if "leaf_hash" in text]) == 2  # its tile, and the last one
    assert len([text for text in asked if NODES in text]) == 1
    assert not any(".entry" in text for text in asked)


@pytest.mark.parametrize("old", [0, 1, 255, 256, 257, 512, SIZE])
def test_an_older_checkpoint_is_shown_to_go_on(filled: Database, old: int) -> None:
    leaves = leaves_of(filled)
    root = naive.mth(leaves[:old]) if old else checkpoint.parse(NOTHING).root
    kept_outside = checkpoint.make(old, root, filled.signer)

    proof = filled.ledger.prove_consistency(kept_outside)

    before, now = type(proof).parse(proof.encode()).verify(filled.key)
    assert (before.size, now.size) == (old, SIZE)
    assert list(proof.path) == (naive.subproof(old, leaves) if old else [])
    if old:
        assert filled.ledger.consistency_proof(old, SIZE) == list(proof.path)
        to = max(old, 520)
        assert filled.ledger.consistency_proof(old, to) == naive.subproof(old, leaves[:to])


NOTHING = "x\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n\n\N{EM DASH} x AAAAAAA=\n"


def test_another_history_is_not_gone_on_with(filled: Database) -> None:
    forked = checkpoint.make(300, bytes(32), filled.signer)
    with pytest.raises(LedgerError, match="does not continue"):
        filled.ledger.prove_consistency(forked)
    later = checkpoint.make(SIZE + 1, bytes(32), filled.signer)
    for old, new in ((later, None), (filled.ledger.head(), later)):
        with pytest.raises(LedgerError):
            filled.ledger.prove_consistency(old, new)


def change_entry_and_leaf(filled: Database) -> None:
    changed = filled.entry(300).replace(b"Staging", b"Revoked")
    filled.write_entry(300, changed)
    filled.run(
        f"UPDATE {ENTRIES} SET leaf_hash = :leaf WHERE position = 300", leaf=leaf_hash(changed)
    )


def change_node(filled: Database) -> None:
    filled.run(f"UPDATE {NODES} SET hash = :h WHERE position = 0", h=bytes(32))


def swap_nodes(filled: Database) -> None:
    for old, new in ((0, 9), (1, 0), (9, 1)):
        filled.run(f"UPDATE {NODES} SET position = {new} WHERE position = {old}")


def shorten_node(filled: Database) -> None:
    filled.run(f"UPDATE {NODES} SET hash = :h WHERE position = 0", h=b"x")


def drop_node(filled: Database) -> None:
    filled.run(f"DELETE FROM {NODES} WHERE position = 0")


def drop_entry(filled: Database) -> None:
    filled.run(f"DELETE FROM {ENTRIES} WHERE position = 299")


@pytest.mark.parametrize(
    "forge",
    [change_entry_and_leaf, change_node, swap_nodes, shorten_node, drop_node, drop_entry],
)
def test_forged_parts_give_no_wrong_proof(filled: Database, forge: object) -> None:
    earlier = checkpoint.make(257, naive.mth(leaves_of(filled)[:257]), filled.signer)
    forge(filled)  # type: ignore[operator]

    for ask in (
        lambda: filled.ledger.inclusion_proof(300),
        lambda: filled.ledger.consistency_proof(257, SIZE),
        lambda: filled.ledger.consistency_proof(257, 300),
        lambda: filled.ledger.prove_consistency(earlier),
    ):
        with pytest.raises(LedgerError):
            ask()


def test_a_proof_file_of_a_real_ledger_is_the_same_on_disk(
    filled: Database, tmp_path: Path
) -> None:
    file = tmp_path / "entry.tlog-proof"
    file.write_text(filled.ledger.inclusion_proof(7).encode(), "utf-8")

    (data,) = dict(filled.ledger.entries(7, 1)).values()
    assert InclusionProof.parse(file.read_text("utf-8")).verify(data, filled.key).size == SIZE
