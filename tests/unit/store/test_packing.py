"""Entries as they are kept: small, exact, and nothing but themselves."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_governance.core.event import Act
from mlflow_governance.ledger.entry import MAX_BYTES
from mlflow_governance.store import packing
from mlflow_governance.store.packing import pack, unpack
from tests.unit.ledger.builders import encoded


@given(st.binary(max_size=3000))
def test_what_was_packed_comes_out_as_it_was(data: bytes) -> None:
    entry = b"{" + data
    assert unpack(pack(entry)) == entry


@pytest.mark.parametrize("act", Act)
def test_an_entry_takes_less_than_half_its_room(act: Act) -> None:
    entry = encoded(7, act=act)

    assert unpack(pack(entry)) == entry
    assert len(pack(entry)) < len(entry) / 2


def test_an_entry_that_was_kept_before_there_was_packing_is_read() -> None:
    assert unpack(encoded(7)) == encoded(7)


def test_the_largest_entry_there_may_be_is_kept_whole() -> None:
    entry = b"{" + b"x" * (MAX_BYTES - 1)
    assert unpack(pack(entry)) == entry


def stream(entry: bytes, dictionary: bytes = packing._DICTIONARY) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15, zdict=dictionary)
    return b"\x01" + packer.compress(entry) + packer.flush()


@pytest.mark.parametrize(
    "kept",
    [
        b"",
        b"\x01",
        b"\x01no stream",
        stream(encoded(1))[:-1],
        stream(encoded(1)) + b"x",
        stream(encoded(1)) + stream(encoded(2)),
        stream(b"x" * (MAX_BYTES + 1)),
        stream(b"x" * 50_000_000),  # 50 kB that would be 50 MB
        b"\x02" + stream(encoded(1))[1:],
    ],
    ids=range(9),
)
def test_what_nobody_packed_comes_out_as_it_is(kept: bytes) -> None:
    assert unpack(kept) is kept


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything(data: bytes) -> None:
    unpack(b"\x01" + data)
    unpack(data)


def test_the_dictionary_is_part_of_the_format() -> None:
    kept = bytes.fromhex(KEPT)
    assert unpack(kept) == encoded(7)


KEPT = (
    "0195d34b0ec2300c45d12df913db4d776327b1183140ea90bd83048202e5f7b670cffbcf6fb646a54394ee49"
    "e7038c81c64220289452b1e2c83242abb13ab730d491c10e6a354d60edff59f9f13b5e9ea1cc2017bcfa8077"
    "c3e696c36fb0e0f36c05ef9ed45e2b4a6a8baca243d39925817dc2808002c2939b6a60ef6254bb51b6aee4e6"
    "36f5463a04e94705d7e46db71cf6b7ee0baecbf3bbf227"
)
"""What the first release kept of it; it must be read for ever."""
