import json

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from mlflow_governance.core import canonical
from mlflow_governance.errors import InvalidRequest

_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(-(2**53) + 1, 2**53 - 1)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(_json)
def test_what_is_encoded_reads_back_and_encodes_the_same(value: object) -> None:
    try:
        encoded = canonical.encode(value)
    except InvalidRequest:  # lone surrogates have no UTF-8
        return

    assert canonical.decode(encoded) == value
    assert canonical.encode(canonical.decode(encoded)) == encoded


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), 2**53, {1: 2}, b"bytes", {"a": "\ud800"}, object()]
)
def test_what_has_no_canonical_form_is_refused(value: object) -> None:
    with pytest.raises(InvalidRequest):
        canonical.encode(value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        '{"a":1,"a":2}',
        "NaN",
        "[Infinity]",
        "9007199254740993",
        "1" * 5000,
        "\xff",
        '"\\ud800',
        "[1,]",
    ],
)
def test_malformed_json_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        canonical.decode(text.encode("latin-1"))


def test_json_nested_too_deep_is_refused_before_it_is_parsed() -> None:
    with pytest.raises(InvalidRequest, match="deeper than 64"):
        canonical.decode("[" * 200_000 + "]" * 200_000)


def test_brackets_inside_strings_are_not_depth() -> None:
    assert canonical.decode(json.dumps("[" * 1000)) == "[" * 1000


def test_a_huge_document_is_refused_unread() -> None:
    with pytest.raises(InvalidRequest, match="at most 10 are read"):
        canonical.decode(b'"12345678901"', max_bytes=10)


def test_a_value_that_is_no_object_is_refused_where_one_is_needed() -> None:
    with pytest.raises(InvalidRequest, match="not a JSON object"):
        canonical.decode_object(b"[]")


@given(_json)
def test_the_quick_way_gives_the_bytes_of_rfc_8785(value: object) -> None:
    try:
        expected = rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, UnicodeEncodeError):
        with pytest.raises(InvalidRequest):
            canonical.encode(value)
        return

    assert canonical.encode(value) == expected


def test_control_characters_and_foreign_keys_are_written_as_rfc_8785_wants() -> None:
    value = {"a": '\x00\x1f\x7f\u2028"\\/\b\f\n\r\t', "\U0001f600": 1, "\ufb33": 2}

    assert canonical.encode(value) == rfc8785.dumps(value)


@given(st.dictionaries(st.text() | st.sampled_from(["é", "😀", "דּ", "\r", "1"]), _json, max_size=5))
def test_members_encoded_before_make_the_same_object(value: dict[str, object]) -> None:
    try:
        whole = canonical.encode(value)
    except InvalidRequest:  # lone surrogates have no UTF-8
        return

    assert canonical.join({name: canonical.encode(inner) for name, inner in value.items()}) == whole


@pytest.mark.parametrize("name", ["\ud800", 5, None])
def test_a_member_whose_name_is_no_text_is_refused(name: str) -> None:
    with pytest.raises(InvalidRequest):
        canonical.join({name: b"1", "a": b"2"})
