"""What is kept of the tree, against the recursive definition: small trees whole, big ones alike."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlflow_governance.errors import LedgerError
from mlflow_governance.ledger.merkle import CompactRange, fold
from mlflow_governance.ledger.nodes import (
    HEIGHT,
    WIDTH,
    Node,
    Tiles,
    Tree,
    completed,
    count,
    covered,
    split,
)
from tests.unit.ledger import naive
from tests.unit.ledger.naive import Alike

SIZE = 1500


class Kept:
    """A ledger's leaf hashes and nodes as a table would hold them."""

    def __init__(self, leaves: Sequence[bytes]) -> None:
        self.rows: dict[tuple[int, int], bytes] = {(0, n): leaf for n, leaf in enumerate(leaves)}
        self.nodes: list[Node] = []
        self.asked: list[tuple[int, int, int]] = []
        tree = CompactRange()
        for leaf in leaves:
            self.nodes += completed(tree, leaf)
            tree = tree.append(leaf)
        self.rows |= {(node.level, node.position): node.hash for node in self.nodes}

    def read(self, level: int, first: int, end: int) -> list[bytes]:
        self.asked.append((level, first, end))
        places = ((level, position) for position in range(first, end))
        return [self.rows[place] for place in places if place in self.rows]


LEAVES = [hashlib.sha256(b"%d" % n).digest() for n in range(SIZE)]
KEPT = Kept(LEAVES)


def test_one_append_in_256_completes_a_node_and_it_is_the_root_of_its_leaves() -> None:
    assert [(node.level, node.position) for node in KEPT.nodes] == [(1, n) for n in range(5)]
    for node in KEPT.nodes:
        part = node.leaves
        assert node.hash == naive.mth(LEAVES[part.start : part.stop])


@pytest.mark.parametrize("level", [1, 2, 3, 4])
def test_the_last_leaf_of_a_full_subtree_completes_one_node_of_every_level(level: int) -> None:
    size = WIDTH**level
    heights = range(level * HEIGHT)
    before = CompactRange(size - 1, tuple(Alike.mth(1 << h) for h in reversed(heights)))

    found = completed(before, Alike.leaf)

    assert [(node.level, node.position) for node in found] == [
        (lower, size // WIDTH**lower - 1) for lower in range(1, level + 1)
    ]
    assert [node.hash for node in found] == [
        Alike.mth(WIDTH**lower) for lower in range(1, level + 1)
    ]
    assert all(count(node.level, size) == node.position + 1 for node in found)
    assert covered(level, 0) == range(size)


@given(st.integers(0, 5000), st.integers(0, 5000))
def test_any_range_splits_into_perfect_subtrees_that_cover_it_once(one: int, other: int) -> None:
    leaves = range(min(one, other), max(one, other))

    parts = list(split(leaves))

    covering = [n for height, p in parts for n in range(p << height, (p + 1) << height)]
    assert covering == list(leaves)
    assert len(parts) <= 2 * max(1, len(leaves)).bit_length()


@given(st.integers(0, SIZE), st.integers(0, 12), st.integers(0, 40))
def test_an_aligned_range_folds_to_its_root(length: int, power: int, place: int) -> None:
    start = place << power
    leaves = range(start, min(SIZE, start + min(length, 1 << power)))
    if not leaves:
        return
    tree = Tree(Tiles(KEPT.read), SIZE)

    roots = [tree._perfect(height, position) for height, position in split(leaves)]

    assert fold(roots) == naive.mth(LEAVES[leaves.start : leaves.stop])


@settings(max_examples=60)
@given(st.integers(1, SIZE), st.data())
def test_proofs_of_any_size_are_those_of_the_definition(size: int, data: st.DataObject) -> None:
    index, old = (data.draw(st.integers(low, size - 1 + low)) for low in (0, 1))
    tree = Tree(Tiles(KEPT.read), size)

    assert tree.leaf(index) == LEAVES[index]
    assert tree.inclusion(index) == naive.path(index, LEAVES[:size])
    assert tree.consistency(old) == naive.subproof(old, LEAVES[:size])
    assert tree.compact(old).root == naive.mth(LEAVES[:old])


def alike(level: int, first: int, end: int) -> list[bytes]:
    return [Alike.mth(WIDTH**level)] * (end - first)


@given(st.integers(1, 2**40), st.data())
def test_proofs_in_a_ledger_of_any_length_read_two_tiles_a_level(
    size: int, data: st.DataObject
) -> None:
    index, old = (data.draw(st.integers(low, size - 1 + low)) for low in (0, 1))
    asked: list[tuple[int, int, int]] = []

    def read(level: int, first: int, end: int) -> list[bytes]:
        asked.append((level, first, end))
        assert 0 <= first < end <= count(level, size)
        return alike(level, first, end)

    assert Tree(Tiles(read), size).inclusion(index) == Alike.path(index, size)
    assert len(asked) == len(set(asked)) <= 2 * (size.bit_length() // HEIGHT + 1)
    asked.clear()
    assert Tree(Tiles(read), size).consistency(old) == Alike.subproof(old, size)
    assert len(asked) == len(set(asked)) <= 2 * (size.bit_length() // HEIGHT + 1)


def test_neighbours_are_proved_from_one_reading() -> None:
    kept = Kept(LEAVES)
    tree = Tree(Tiles(kept.read), SIZE)
    for index in range(WIDTH):
        tree.inclusion(index)

    assert len(kept.asked) == len(set(kept.asked)) == 3


def test_a_long_reading_forgets_what_it_read_first() -> None:
    tiles = Tiles(alike)
    tree = Tree(tiles, 2**30)
    for index in range(0, 2**30, 2**20):
        tree.leaf(index)

    assert len(tiles._known) == 256


@pytest.mark.parametrize("gone", [(0, 300), (1, 2)])
@pytest.mark.parametrize("what", [None, b"", b"short", bytes(33)])
def test_what_is_not_kept_or_is_no_hash_proves_nothing(
    gone: tuple[int, int], what: bytes | None
) -> None:
    kept = Kept(LEAVES)
    if what is None:
        del kept.rows[gone]
    else:
        kept.rows[gone] = what

    with pytest.raises(LedgerError, match="are not all there") as caught:
        Tree(Tiles(kept.read), SIZE).inclusion(301)
    assert "ledger verify" in caught.value.advice


def test_more_than_is_kept_proves_nothing() -> None:
    kept = Kept(LEAVES)
    with pytest.raises(LedgerError):
        Tree(Tiles(kept.read), SIZE + 1).inclusion(0)


def test_the_definition_for_trees_alike_is_the_definition() -> None:
    chance = random.Random(6)
    for size in chance.sample(range(1, 300), 40):
        leaves, index = [Alike.leaf] * size, chance.randrange(size)
        assert Alike.mth(size) == naive.mth(leaves)
        assert Alike.path(index, size) == naive.path(index, leaves)
        assert Alike.subproof(index + 1, size) == naive.subproof(index + 1, leaves)
