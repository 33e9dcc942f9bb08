"""The tree against the RFC's vectors and against an independent recursive definition."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_governance.errors import LedgerError
from mlflow_governance.ledger.merkle import (
    EMPTY_ROOT,
    CompactRange,
    Growing,
    consistency_ranges,
    inclusion_ranges,
    leaf_hash,
    range_root,
    root_from_inclusion,
    verify_consistency,
)
from tests.unit.ledger.naive import mth, path, subproof

# Inputs and roots of Certificate Transparency's reference test (merkle_tree_test).
INPUTS = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]

leaf_lists = st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=70)


def roots(leaves: Sequence[bytes], ranges: list[range]) -> list[bytes]:
    return [range_root(leaves[part.start : part.stop]) for part in ranges]


def test_the_empty_tree_has_the_hash_of_nothing() -> None:
    assert hashlib.sha256().digest() == EMPTY_ROOT == CompactRange().root == Growing().root


@pytest.mark.parametrize("size", range(1, 9))
def test_roots_are_those_of_the_reference_vectors(size: int) -> None:
    tree = CompactRange()
    for data in INPUTS[:size]:
        tree = tree.append(leaf_hash(data))

    assert tree.root.hex() == ROOTS[size - 1]
    assert CompactRange.from_bytes(size, tree.to_bytes()) == tree


@given(leaf_lists)
def test_growing_gives_the_recursive_root(leaves: list[bytes]) -> None:
    tree = CompactRange()
    for leaf in leaves:
        tree = tree.append(leaf)

    assert tree.root == range_root(leaves) == mth(leaves)


@given(leaf_lists, st.data())
def test_an_inclusion_proof_is_the_recursive_one_and_leads_to_the_root(
    leaves: list[bytes], data: st.DataObject
) -> None:
    index = data.draw(st.integers(0, len(leaves) - 1))

    proof = roots(leaves, inclusion_ranges(index, len(leaves)))

    assert proof == path(index, leaves)
    assert root_from_inclusion(index, len(leaves), leaves[index], proof) == mth(leaves)


@given(leaf_lists, st.data())
def test_a_consistency_proof_is_the_recursive_one_and_verifies(
    leaves: list[bytes], data: st.DataObject
) -> None:
    old = data.draw(st.integers(1, len(leaves)))

    proof = roots(leaves, consistency_ranges(old, len(leaves)))

    assert proof == subproof(old, leaves)
    verify_consistency((old, mth(leaves[:old])), (len(leaves), mth(leaves)), proof)


@given(leaf_lists, st.data())
def test_a_changed_proof_proves_nothing(leaves: list[bytes], data: st.DataObject) -> None:
    size = len(leaves)
    old = data.draw(st.integers(1, size))
    proof = roots(leaves, consistency_ranges(old, size))
    other = data.draw(
        st.sampled_from([
            [*proof, bytes(32)],
            proof[:-1],
            [*proof[:-1], bytes(32)],
            proof[::-1],
        ]).filter(lambda changed: changed != proof)
    )  # fmt: skip

    with pytest.raises(LedgerError):
        verify_consistency((old, mth(leaves[:old])), (size, mth(leaves)), other)


@pytest.mark.parametrize("old", [(2, b"x" * 32), (0, EMPTY_ROOT), (9, b"x" * 32)])
def test_another_history_is_not_continued(old: tuple[int, bytes]) -> None:
    leaves = [leaf_hash(bytes([n])) for n in range(8)]
    with pytest.raises(LedgerError):
        verify_consistency(old, (8, mth(leaves)), roots(leaves, consistency_ranges(2, 8)))


@pytest.mark.parametrize("proof_of", [0, 1, 6])
def test_an_inclusion_proof_of_the_wrong_length_is_refused(proof_of: int) -> None:
    leaves = [leaf_hash(bytes([n])) for n in range(7)]
    proof = path(proof_of, leaves)
    for wrong in (proof[:-1], [*proof, bytes(32)]):
        with pytest.raises(LedgerError):
            root_from_inclusion(proof_of, 7, leaves[proof_of], wrong)


@pytest.mark.parametrize("index", [-1, 7, 8])
def test_there_is_no_proof_of_what_is_not_there(index: int) -> None:
    with pytest.raises(LedgerError):
        inclusion_ranges(index, 7)
    with pytest.raises(LedgerError):
        root_from_inclusion(index, 7, bytes(32), [])


@pytest.mark.parametrize(("size", "data"), [(1, b""), (3, bytes(32)), (-1, bytes(32)), (2, b"x")])
def test_a_stored_range_of_the_wrong_shape_is_refused(size: int, data: bytes) -> None:
    with pytest.raises(LedgerError):
        CompactRange.from_bytes(size, data)


@pytest.mark.parametrize(("old", "new"), [(0, 3), (4, 3), (-1, 3)])
def test_there_is_no_consistency_proof_between_impossible_states(old: int, new: int) -> None:
    with pytest.raises(LedgerError):
        consistency_ranges(old, new)
