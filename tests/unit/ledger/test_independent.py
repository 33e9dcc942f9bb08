"""The tree against the published vectors and against code that is not ours."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sigstore._internal.merkle import verify_merkle_inclusion
from sigstore.errors import VerificationError

from mlflow_governance.errors import LedgerError
from mlflow_governance.ledger.merkle import (
    CompactRange,
    leaf_hash,
    root_from_inclusion,
    verify_consistency,
)
from mlflow_governance.ledger.nodes import Tiles, Tree
from tests.unit.ledger.test_merkle import INPUTS, ROOTS
from tests.unit.ledger.test_nodes import Kept

# Certificate Transparency's reference test (merkle_tree_test): leaf, size, path; old, new, proof.
# Leaves are numbered from 0 here, from 1 there.
PATHS: list[tuple[int, int, list[str]]] = [
    (0, 1, []),
    (
        0,
        8,
        [
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ],
    ),
    (
        5,
        8,
        [
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ],
    ),
    (2, 3, ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"]),
    (
        1,
        5,
        [
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        ],
    ),
]
PROOFS: list[tuple[int, int, list[str]]] = [
    (1, 1, []),
    (1, 8, PATHS[1][2]),
    (
        6,
        8,
        [
            "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ],
    ),
    (
        2,
        5,
        [
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        ],
    ),
]
LEAVES = [leaf_hash(data) for data in INPUTS]


@pytest.mark.parametrize(("index", "size", "path"), PATHS)
def test_paths_are_those_of_the_reference(index: int, size: int, path: list[str]) -> None:
    tree = Tree(Tiles(Kept(LEAVES).read), size)

    assert [node.hex() for node in tree.inclusion(index)] == path
    root = root_from_inclusion(index, size, LEAVES[index], [bytes.fromhex(node) for node in path])
    assert root.hex() == ROOTS[size - 1]


@pytest.mark.parametrize(("old", "new", "proof"), PROOFS)
def test_consistency_proofs_are_those_of_the_reference(
    old: int, new: int, proof: list[str]
) -> None:
    tree = Tree(Tiles(Kept(LEAVES).read), new)

    assert [node.hex() for node in tree.consistency(old)] == proof
    first, last = ((size, bytes.fromhex(ROOTS[size - 1])) for size in (old, new))
    verify_consistency(first, last, [bytes.fromhex(node) for node in proof])


def rekor(data: bytes, index: int, size: int, path: list[bytes], root: bytes) -> Any:
    """What sigstore's verifier reads of an entry of its log."""
    proof = SimpleNamespace(log_index=index, tree_size=size, hashes=path, root_hash=root)
    return SimpleNamespace(_inner=SimpleNamespace(inclusion_proof=proof, canonicalized_body=data))


ENTRIES = [b"entry %d" % number for number in range(600)]
KEPT = Kept([leaf_hash(data) for data in ENTRIES])


@settings(max_examples=150)
@given(st.integers(1, 600), st.data())
def test_sigstores_verifier_accepts_our_proofs_and_refuses_what_we_refuse(
    size: int, data: st.DataObject
) -> None:
    index = data.draw(st.integers(0, size - 1))
    path = Tree(Tiles(KEPT.read), size).inclusion(index)
    root = root_from_inclusion(index, size, leaf_hash(ENTRIES[index]), path)
    verify_merkle_inclusion(rekor(ENTRIES[index], index, size, path, root))

    other = data.draw(st.integers(0, size + 3))
    shown = data.draw(st.sampled_from([path, path[:-1], path[::-1], [*path, bytes(32)]]))
    try:
        ours = root_from_inclusion(other, size, leaf_hash(ENTRIES[index]), shown) == root
    except LedgerError:
        ours = False
    try:
        verify_merkle_inclusion(rekor(ENTRIES[index], other, size, shown, root))
        theirs = True
    except VerificationError:
        theirs = False
    # Theirs leaves it to the caller that the entry is below the size.
    assert ours == (theirs and other < size)


@settings(max_examples=40)
@given(st.lists(st.binary(max_size=40), min_size=1, max_size=300), st.data())
def test_appending_never_takes_anything_back(entries: list[bytes], data: st.DataObject) -> None:
    kept = Kept([leaf_hash(entry) for entry in entries])
    sizes = sorted(data.draw(st.tuples(*[st.integers(1, len(entries))] * 3)))
    roots, tree = {}, CompactRange()
    for entry in entries:
        tree = tree.append(leaf_hash(entry))
        roots[tree.size] = tree.root
        assert CompactRange.from_bytes(tree.size, tree.to_bytes()).root == tree.root

    for old, new in ((sizes[0], sizes[1]), (sizes[1], sizes[2]), (sizes[0], sizes[2])):
        proof = Tree(Tiles(kept.read), new).consistency(old)
        verify_consistency((old, roots[old]), (new, roots[new]), proof)
        changed = bytes([roots[old][0] ^ 1]) + roots[old][1:]
        with pytest.raises(LedgerError):
            verify_consistency((old, changed), (new, roots[new]), proof)
