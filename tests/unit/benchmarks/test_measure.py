from __future__ import annotations

import pytest

from benchmarks.measure import Samples, alternate, quantile


def test_a_quantile_lies_between_its_neighbours():
    assert quantile([4.0, 1.0, 3.0, 2.0], 0.5) == 2.5
    assert quantile([1.0, 2.0, 3.0], 0.95) == pytest.approx(2.9)
    assert quantile([1.0, 2.0, 3.0], 1) == 3.0
    assert quantile([7.0], 0.95) == 7.0


@pytest.mark.parametrize(("values", "share"), [([], 0.5), ([1.0], 1.5), ([1.0], -0.1)])
def test_a_quantile_of_nothing_is_refused(values, share):
    with pytest.raises(ValueError, match="quantile"):
        quantile(values, share)


def test_every_other_round_goes_backwards():
    seen: list[str] = []

    found = alternate(3, a=lambda: seen.append("a"), b=lambda: seen.append("b"))

    assert "".join(seen) == "abbaab"
    assert {name: len(samples.seconds) for name, samples in found.items()} == {"a": 3, "b": 3}


def test_a_block_is_divided_by_its_calls():
    assert Samples((1.0, 3.0)).per(10).p50 == pytest.approx(0.2)


def test_the_ratio_is_taken_between_neighbours_so_that_one_disturbance_hits_both():
    quiet, disturbed = 1.0, 50.0
    ours, limit = Samples((2 * quiet, 2 * disturbed, 2 * quiet)), Samples((quiet, disturbed, quiet))

    assert ours.speed_beside(limit) == 0.5


def test_samples_of_different_rounds_are_not_compared():
    with pytest.raises(ValueError, match="zip"):
        Samples((1.0,)).speed_beside(Samples((1.0, 2.0)))
