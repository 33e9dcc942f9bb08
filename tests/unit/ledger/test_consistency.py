"""Consistency proofs that travel alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_governance.errors import LedgerError
from mlflow_governance.ledger import checkpoint
from mlflow_governance.ledger.consistency import HEADER, ConsistencyProof
from mlflow_governance.ledger.proof import InclusionProof
from tests.unit.ledger import naive
from tests.unit.ledger.builders import signer, small_ledger

SIZE = 11
LEDGER = small_ledger(SIZE)


def proof_from(old: int) -> ConsistencyProof:
    path = naive.subproof(old, LEDGER.leaves) if old else []
    return ConsistencyProof(tuple(path), LEDGER.notes[old], LEDGER.notes[SIZE])


@pytest.mark.parametrize("old", range(SIZE + 1))
def test_every_earlier_state_can_be_shown_to_go_on(old: int) -> None:
    text = proof_from(old).encode()

    assert text.startswith(HEADER + "\n")
    assert ConsistencyProof.parse(text) == proof_from(old)
    before, now = ConsistencyProof.parse(text).verify(LEDGER.key)
    assert (before.size, now.size) == (old, SIZE)


@pytest.mark.parametrize("old", [1, 5, 8])
def test_another_path_history_order_or_key_is_refused(old: int) -> None:
    good = proof_from(old)
    other = checkpoint.make(old, bytes(32), LEDGER.signer)
    for wrong in (
        ConsistencyProof(good.path[:-1], good.old, good.new),
        ConsistencyProof((*good.path, bytes(32)), good.old, good.new),
        ConsistencyProof(good.path, other, good.new),
        ConsistencyProof(good.path, good.new, good.old),
    ):
        with pytest.raises(LedgerError):
            ConsistencyProof.parse(wrong.encode()).verify(LEDGER.key)
    with pytest.raises(LedgerError):
        good.verify(signer().key)


def test_an_empty_ledger_has_one_root_and_needs_no_hash() -> None:
    empty = proof_from(0)
    for wrong in (
        ConsistencyProof((bytes(32),), empty.old, empty.new),
        ConsistencyProof((), checkpoint.make(0, bytes(32), LEDGER.signer), empty.new),
    ):
        with pytest.raises(LedgerError, match="without entries"):
            wrong.verify(LEDGER.key)


@pytest.mark.parametrize(
    "text",
    [
        "",
        HEADER,
        InclusionProof(3, (), LEDGER.notes[3]).encode(),
        proof_from(3).encode().replace("@v1", "@v2"),
        proof_from(3).encode() + "\n\nmore",
        proof_from(3).encode().replace(HEADER, HEADER + "\nAAAA"),
        proof_from(3).encode().replace(HEADER, HEADER + "\nnot base64"),
        proof_from(3).encode().replace(HEADER, HEADER + "\n" + "\n".join(["A" * 43 + "="] * 65)),
        "x" * 3_000_000,
    ],
)
def test_what_is_no_such_proof_is_refused(text: str) -> None:
    with pytest.raises(LedgerError):
        ConsistencyProof.parse(text)


@given(st.text())
def test_no_text_is_anything_but_read_or_refused(text: str) -> None:
    with pytest.raises(LedgerError):
        ConsistencyProof.parse(HEADER + "\n" + text).verify(LEDGER.key)
