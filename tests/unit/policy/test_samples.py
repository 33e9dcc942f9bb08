from __future__ import annotations

import pytest

from mlflow_governance.core.dossier import Dossier, Gate
from mlflow_governance.policy.decide import decide
from mlflow_governance.policy.embedded import EmbeddedEngine
from mlflow_governance.policy.samples import dossier, samples, starts
from mlflow_governance.policy.twin import smallest
from mlflow_governance.policy.validity import is_valid
from tests.unit.policy.builders import shipped

ENGINE = EmbeddedEngine(shipped())


@pytest.mark.parametrize("gate", Gate)
def test_the_good_dossier_of_each_gate_is_allowed(gate: Gate) -> None:
    assert decide(ENGINE, dossier(gate)).allow


def test_samples_are_the_same_for_a_seed_and_others_for_another() -> None:
    first, again, other = (
        [sample.dossier.digest for sample in samples(300, seed)] for seed in (1, 1, 2)
    )

    assert first == again
    assert first != other
    assert len(set(first)) > 250


def test_every_sample_could_have_been_written_and_is_judged() -> None:
    gates = set()
    for sample in samples(500):
        document = sample.dossier.to_document()
        assert is_valid(document)
        assert Dossier.from_document(document).encoded == sample.dossier.encoded
        assert decide(ENGINE, sample.dossier).error == ""
        gates.add(sample.dossier.gate)
    assert gates == set(Gate)


def test_a_few_samples_are_the_good_ones() -> None:
    assert [s.changed for s in samples(3)] == [()] * 3
    assert len(list(samples(len(starts()) + 1))) == len(starts()) + 1
    assert list(samples(0)) == []


def test_the_smallest_keeps_what_is_needed() -> None:
    value = {"a": {"b": [1, 2, {"c": 3}], "d": 4}, "e": 5}

    assert smallest(value, lambda v: v.get("a", {}).get("d") == 4) == {"a": {"d": 4}}
    assert smallest(value, lambda _: False) == value
