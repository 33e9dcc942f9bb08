"""RFC 6962, section 2.1, word for word, over leaf hashes: slow, and independent of the product."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache


def mth(leaves: Sequence[bytes]) -> bytes:
    """2.1: the Merkle tree hash."""
    if len(leaves) == 1:
        return leaves[0]
    k = largest_power_below(len(leaves))
    return hashlib.sha256(b"\x01" + mth(leaves[:k]) + mth(leaves[k:])).digest()


def path(m: int, leaves: Sequence[bytes]) -> list[bytes]:
    """2.1.1: the audit path of leaf m."""
    if len(leaves) == 1:
        return []
    k = largest_power_below(len(leaves))
    if m < k:
        return [*path(m, leaves[:k]), mth(leaves[k:])]
    return [*path(m - k, leaves[k:]), mth(leaves[:k])]


def subproof(m: int, leaves: Sequence[bytes], whole: bool = True) -> list[bytes]:
    """2.1.2: the consistency proof from m leaves on."""
    if m == len(leaves):
        return [] if whole else [mth(leaves)]
    k = largest_power_below(len(leaves))
    if m <= k:
        return [*subproof(m, leaves[:k], whole), mth(leaves[k:])]
    return [*subproof(m - k, leaves[k:], False), mth(leaves[:k])]


def largest_power_below(n: int) -> int:
    k = 1
    while k * 2 < n:
        k *= 2
    return k


class Alike:
    """The same of a tree whose leaves are all alike, where a size says everything: for big ones."""

    leaf = hashlib.sha256(b"\x00").digest()

    @staticmethod
    @cache
    def mth(n: int) -> bytes:
        if n == 1:
            return Alike.leaf
        k = largest_power_below(n)
        return hashlib.sha256(b"\x01" + Alike.mth(k) + Alike.mth(n - k)).digest()

    @staticmethod
    def path(m: int, n: int) -> list[bytes]:
        if n == 1:
            return []
        k = largest_power_below(n)
        if m < k:
            return [*Alike.path(m, k), Alike.mth(n - k)]
        return [*Alike.path(m - k, n - k), Alike.mth(k)]

    @staticmethod
    def subproof(m: int, n: int, whole: bool = True) -> list[bytes]:
        if m == n:
            return [] if whole else [Alike.mth(n)]
        k = largest_power_below(n)
        if m <= k:
            return [*Alike.subproof(m, k, whole), Alike.mth(n - k)]
        return [*Alike.subproof(m - k, n - k, False), Alike.mth(k)]
