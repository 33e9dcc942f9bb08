"""Proofs that travel alone: an entry, its path, and the signed checkpoint."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_governance.errors import LedgerError
from mlflow_governance.ledger.merkle import inclusion_ranges, range_root
from mlflow_governance.ledger.proof import HEADER, InclusionProof
from tests.unit.ledger.builders import SmallLedger, signer, small_ledger

SIZE = 11
LEDGER = small_ledger(SIZE)


def proof_of(ledger: SmallLedger, index: int) -> InclusionProof:
    ranges = inclusion_ranges(index, SIZE)
    path = tuple(range_root(ledger.leaves[part.start : part.stop]) for part in ranges)
    return InclusionProof(index, path, ledger.notes[SIZE])


@pytest.mark.parametrize("index", range(SIZE))
def test_every_entry_can_be_shown_to_be_in_the_ledger(index: int) -> None:
    text = proof_of(LEDGER, index).encode()

    assert text.startswith(f"{HEADER}\nindex {index}\n")
    signed = InclusionProof.parse(text).verify(LEDGER.entries[index][1], LEDGER.key)
    assert signed.size == SIZE


def test_a_ledger_of_one_needs_no_path() -> None:
    one = small_ledger(1)
    text = InclusionProof(0, (), one.notes[1]).encode()

    assert InclusionProof.parse(text).verify(one.entries[0][1], one.key).size == 1


def test_another_entry_index_or_key_is_refused() -> None:
    proof = proof_of(LEDGER, 3)
    entry = LEDGER.entries[3][1]

    for wrong in (
        lambda: proof.verify(LEDGER.entries[4][1], LEDGER.key),
        lambda: InclusionProof(4, proof.path, proof.checkpoint).verify(entry, LEDGER.key),
        lambda: InclusionProof(99, proof.path, proof.checkpoint).verify(entry, LEDGER.key),
        lambda: InclusionProof(3, proof.path[:-1], proof.checkpoint).verify(entry, LEDGER.key),
        lambda: proof.verify(entry, signer().key),
    ):
        with pytest.raises(LedgerError):
            wrong()


def test_extra_data_is_dropped() -> None:
    text = proof_of(LEDGER, 3).encode().replace("\nindex", "\nextra YWJj\nindex", 1)

    assert InclusionProof.parse(text) == proof_of(LEDGER, 3)


@pytest.mark.parametrize(
    "text",
    [
        "",
        HEADER,
        f"{HEADER}\nindex 0",
        f"{HEADER}\nindex 00\n\nnote",
        f"{HEADER}\nindex -1\n\nnote",
        f"{HEADER}\nindex 0\nAAAA\n\nnote",
        f"{HEADER}\nindex 0\n*\n\nnote",
        f"{HEADER}\n\nnote",
        "c2sp.org/tlog-proof@v2\nindex 0\n\nnote",
        f"{HEADER}\nindex 0\n" + "AAAA\n" * 100 + "\nnote",
    ],
)
def test_what_is_not_a_proof_is_refused(text: str) -> None:
    with pytest.raises(LedgerError):
        InclusionProof.parse(text)


@given(st.text(max_size=300))
def test_foreign_text_is_refused_and_nothing_else(text: str) -> None:
    with pytest.raises(LedgerError):
        InclusionProof.parse(text).verify(b"", LEDGER.key)
