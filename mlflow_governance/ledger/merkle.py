"""The Merkle tree of RFC 6962, section 2.1 (RFC 9162, section 2.1), as pure functions.

Appending keeps a *compact range*: the roots of the perfect subtrees that make up the tree, at
most one per bit of the size, so an append needs O(log n) hashes and no other entry. Proofs are
described as ranges of leaves (:func:`inclusion_ranges`, :func:`consistency_ranges`); whoever
holds the leaf hashes turns each range into one hash with :func:`range_root`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mlflow_governance.errors import LedgerError

HASH_BYTES = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()
"""MTH({}) of RFC 6962, 2.1."""

_sha256 = hashlib.sha256


def leaf_hash(entry: bytes) -> bytes:
    """SHA-256(0x00 || entry)."""
    return _sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 || left || right)."""
    return _sha256(b"\x01" + left + right).digest()


@dataclass(frozen=True, slots=True)
class CompactRange:
    """A tree of ``size`` leaves as the roots of its perfect subtrees, largest first."""

    size: int = 0
    nodes: tuple[bytes, ...] = ()

    def append(self, leaf: bytes) -> CompactRange:
        """The tree with one more leaf hash."""
        nodes = list(self.nodes)
        _push(nodes, self.size, leaf)
        return CompactRange(self.size + 1, tuple(nodes))

    @property
    def root(self) -> bytes:
        """The Merkle tree hash."""
        return fold(self.nodes)

    def to_bytes(self) -> bytes:
        """The nodes, one after the other."""
        return b"".join(self.nodes)

    @classmethod
    def from_bytes(cls, size: int, data: bytes) -> CompactRange:
        """Read back a stored range.

        Raises:
            LedgerError: a tree of that size does not have that many perfect subtrees.
        """
        if size < 0 or len(data) != size.bit_count() * HASH_BYTES:
            raise LedgerError(f"the stored compact range is not one of {size} leaves")
        starts = range(0, len(data), HASH_BYTES)
        return cls(size, tuple(data[at : at + HASH_BYTES] for at in starts))


class Growing:
    """A compact range that grows in place, for streams of many leaves."""

    def __init__(self) -> None:
        self.size = 0
        self._nodes: list[bytes] = []

    def append(self, leaf: bytes) -> None:
        """Take one more leaf hash."""
        _push(self._nodes, self.size, leaf)
        self.size += 1

    @property
    def root(self) -> bytes:
        """The Merkle tree hash of the leaves so far."""
        return fold(self._nodes)


def perfect_root(hashes: Sequence[bytes]) -> bytes:
    """The Merkle tree hash over neighbours whose number is a power of two."""
    while len(hashes) > 1:
        pairs = zip(hashes[::2], hashes[1::2], strict=True)
        hashes = [_sha256(b"\x01" + left + right).digest() for left, right in pairs]
    return hashes[0]


def fold(nodes: Sequence[bytes]) -> bytes:
    """The Merkle tree hash over perfect subtrees, largest first, given by their roots."""
    if not nodes:
        return EMPTY_ROOT
    root = nodes[-1]
    for node in reversed(nodes[:-1]):
        root = node_hash(node, root)
    return root


def range_root(leaves: Iterable[bytes]) -> bytes:
    """The Merkle tree hash over these leaf hashes."""
    tree = Growing()
    for leaf in leaves:
        tree.append(leaf)
    return tree.root


def inclusion_ranges(index: int, size: int) -> list[range]:
    """The ranges of leaves whose roots are PATH(index, D[size]) of RFC 6962, 2.1.1.

    Raises:
        LedgerError: there is no such leaf in a tree of that size.
    """
    if not 0 <= index < size:
        raise LedgerError(f"a tree of {size} entries has no entry {index}")
    start, end = 0, size
    path = []
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append(range(middle, end))
            end = middle
        else:
            path.append(range(start, middle))
            start = middle
    return path[::-1]


def consistency_ranges(old: int, new: int) -> list[range]:
    """The ranges of leaves whose roots are PROOF(old, D[new]) of RFC 6962, 2.1.2.

    Raises:
        LedgerError: ``old`` is not between 1 and ``new``.
    """
    if not 0 < old <= new:
        raise LedgerError(f"a tree of {old} entries is no earlier state of one of {new}")
    start, end = 0, new
    proof = []
    while old != end:
        middle = start + _split(end - start)
        if old <= middle:
            proof.append(range(middle, end))
            end = middle
        else:
            proof.append(range(start, middle))
            start = middle
    if start:  # SUBPROOF(m, D[m], false): this subtree is not the whole old tree
        proof.append(range(start, end))
    return proof[::-1]


def root_from_inclusion(index: int, size: int, leaf: bytes, path: Sequence[bytes]) -> bytes:
    """The root an inclusion proof leads to (RFC 9162, 2.1.3.2).

    Raises:
        LedgerError: the proof has not the length such a tree needs.
    """
    if not 0 <= index < size:
        raise LedgerError(f"a tree of {size} entries has no entry {index}")
    position, last, root = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            raise LedgerError("the inclusion proof is too long")
        if position & 1 or position == last:
            root = node_hash(sibling, root)
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            root = node_hash(root, sibling)
        position, last = position >> 1, last >> 1
    if last:
        raise LedgerError("the inclusion proof is too short")
    return root


def verify_consistency(
    old: tuple[int, bytes], new: tuple[int, bytes], proof: Sequence[bytes]
) -> None:
    """Check that the tree ``new`` (size, root) continues the tree ``old`` (RFC 9162, 2.1.4.2).

    Raises:
        LedgerError: the proof does not show it.
    """
    (old_size, old_root), (new_size, new_root) = old, new
    broken = f"the tree of {new_size} entries does not continue that of {old_size}"
    if not 0 < old_size <= new_size or (old_size == new_size and (proof or old_root != new_root)):
        raise LedgerError(broken)
    if old_size == new_size:
        return
    # A perfect old tree is itself the first node; the proof leaves it out.
    hashes = [old_root, *proof] if old_size.bit_count() == 1 else list(proof)
    if not hashes:
        raise LedgerError("the consistency proof is too short")
    position, last = old_size - 1, new_size - 1
    while position & 1:
        position, last = position >> 1, last >> 1
    first = second = hashes[0]
    for node in hashes[1:]:
        if last == 0:
            raise LedgerError("the consistency proof is too long")
        if position & 1 or position == last:
            first, second = node_hash(node, first), node_hash(node, second)
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            second = node_hash(second, node)
        position, last = position >> 1, last >> 1
    if last or first != old_root or second != new_root:
        raise LedgerError(broken)


def _push(nodes: list[bytes], size: int, leaf: bytes) -> None:
    # As many perfect subtrees merge as the old size has trailing one bits.
    while size & 1:
        leaf = _sha256(b"\x01" + nodes.pop() + leaf).digest()
        size >>= 1
    nodes.append(leaf)


def _split(size: int) -> int:
    # The largest power of two smaller than size.
    return 1 << ((size - 1).bit_length() - 1)
