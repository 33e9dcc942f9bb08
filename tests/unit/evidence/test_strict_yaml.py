"""YAML is read as JSON, or refused at once."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from mlflow_governance.errors import InvalidRequest
from mlflow_governance.evidence.strict_yaml import MAX_BYTES, MAX_DEPTH, MAX_NODES, dump, load

_NUMBERS = st.integers(-(10**15), 10**15) | st.floats(allow_nan=False, allow_infinity=False)
_LEAVES = st.none() | st.booleans() | _NUMBERS | st.text(max_size=30)
JSON = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("12:30", "12:30"),
        ("2026-01-01", "2026-01-01"),
        ("0777", "0777"),
        ("1_000", "1_000"),
        ("=", "="),
        (".inf", ".inf"),
        ("'1'", "1"),
        ("~", None),
        ("", None),
        ("true", True),
        ("1e3", 1000.0),
        ("-1.5", -1.5),
        ("42", 42),
    ],
)
def test_what_is_implicit_follows_yaml_1_2(text: str, value: object) -> None:
    assert load(f"key: {text}".encode()) == {"key": value}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: &x 1\nb: *x", "aliases"),
        ("a: 1\nb: 2\na: 3", "same key twice"),
        ("{a: {b: 1, b: 2}}", "same key twice"),
        ("!!merge x: {a: 1}", "tag"),
        ("1: 2", "not a text"),
        ("? [a]\n: b", "unhashable"),
        ("a: !!set {b}", "tag"),
        ("a: !!binary aGk=", "tag"),
        ("a: !!timestamp 2026-01-01", "tag"),
        ("!!python/object/apply:os.system ['true']", "tag"),
        ("a: !!bool maybe", "maybe"),
        ("a: !!int x", "int"),
        ("a: !!float .nan", "not finite"),
        ("a: 1e999", "not finite"),
        ('a: "\\ud800"', "surrogates"),
        ("a: \x00", "unacceptable character"),
        ("---\na\n---\nb", "another document"),
        ("a: [", "line 1"),
        ("[" * 5000, "nests deeper"),
        ("- " * 5000, "nests deeper"),
        ("? " * 5000, "nests deeper"),
    ],
)
def test_what_is_ambiguous_or_dangerous_is_refused(text: str, says: str) -> None:
    with pytest.raises(InvalidRequest, match=says):
        load(text.encode("utf-8", "surrogatepass"))


def test_a_merge_key_is_a_key_like_any_other() -> None:
    assert load(b"a: {<<: {b: 1}}") == {"a": {"<<": {"b": 1}}}


def test_bytes_that_are_no_text_are_refused() -> None:
    for data in (b"\xff\xfe\x00", "a: 1".encode("utf-16")):
        with pytest.raises(InvalidRequest):
            load(data)


def test_size_depth_and_number_are_bounded() -> None:
    assert load(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)
    for data in (
        b"#" * (MAX_BYTES + 1),
        b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1),
        b"- a\n" * (MAX_NODES + 1),
    ):
        with pytest.raises(InvalidRequest):
            load(data)


@pytest.mark.parametrize(
    "data",
    [
        b"- a\n" * (MAX_BYTES // 4),
        b"[a," * (MAX_BYTES // 3),
        b'a: "' + b"\\n" * (MAX_BYTES // 2 - 4) + b'"',
        b"a: " + b"b " * (MAX_BYTES // 2 - 2),
        b"a: |\n" + b" x\n" * (MAX_BYTES // 3 - 2),
        b"{" * MAX_BYTES,
        b"&a " * (MAX_BYTES // 3),
        b"\n" * MAX_BYTES,
    ],
)
def test_the_worst_of_full_size_ends_soon(data: bytes) -> None:
    started = time.monotonic()
    with suppress(InvalidRequest):
        load(data)
    assert time.monotonic() - started < 20


@given(st.binary(max_size=60) | st.text(max_size=60).map(lambda t: t.encode("utf-8", "replace")))
def test_anything_else_is_refused_by_type(data: bytes) -> None:
    with suppress(InvalidRequest):
        load(data)


@given(JSON)
def test_what_is_written_is_read_alike_by_the_rules_of_1_1_and_of_1_2(value: Any) -> None:
    written = dump(value).encode()

    assert yaml.safe_load(written) == value
    assert load(written) == value
