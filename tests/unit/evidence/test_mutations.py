"""Of whatever a release signed, no damaged copy proves anything else or breaks a verifier."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlflow_governance.errors import VerificationError
from tests.golden.mutate import damaged, flipped_bits, signed_part
from tests.golden.sets import Golden, golden_cases

_BITS = {"layout": 60}
"""Each of a layout's files is verified with the five beside it."""
_ENOUGH = 400

everything = pytest.mark.parametrize("golden", golden_cases(), ids=str)


@pytest.fixture(scope="module")
def proved() -> dict[str, dict[str, Any]]:
    """The facts of each case."""
    return {str(golden): golden.verify() for golden in golden_cases()}


def _hold(golden: Golden, name: str, damage: bytes, facts: dict[str, Any]) -> None:
    """Refused with our own error; or the same facts, and then nothing signed was touched."""
    try:
        found = golden.verify({**golden.items, name: damage})
    except VerificationError:
        return
    assert found == facts
    whole = golden.items[name]
    assert signed_part(damage, whole) == signed_part(whole, whole), damage


@everything
def test_a_turned_bit_is_refused_or_changes_no_fact(
    golden: Golden, proved: dict[str, dict[str, Any]]
) -> None:
    for name, data in golden.items.items():
        for damage in flipped_bits(data, _BITS.get(golden.verified_by, _ENOUGH), str(golden)):
            _hold(golden, name, damage, proved[str(golden)])


@everything
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(drawn=st.data())
def test_a_damaged_file_is_refused_or_changes_no_fact(
    golden: Golden, proved: dict[str, dict[str, Any]], drawn: st.DataObject
) -> None:
    name = drawn.draw(st.sampled_from(sorted(golden.items)))
    damage = drawn.draw(damaged(golden.items[name]))
    _hold(golden, name, damage, proved[str(golden)])
