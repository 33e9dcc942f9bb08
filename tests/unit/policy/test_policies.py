"""The shipped policies: what they must refuse, found by breaking good dossiers."""

from __future__ import annotations

import itertools
import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlflow_governance.core import canonical
from mlflow_governance.core.dossier import Gate
from mlflow_governance.core.resources import folder
from mlflow_governance.policy.decide import decide
from mlflow_governance.policy.embedded import EmbeddedEngine
from mlflow_governance.policy.interface import EngineError
from mlflow_governance.policy.samples import mutated, paths, removed, replaced, starts
from tests.unit.policy.builders import document, dossier, everything, shipped
from tests.unit.policy.reference import GATES, WITH_THE_LIBRARY

ENGINE = EmbeddedEngine(shipped())
EVERYTHING = EmbeddedEngine(everything())

_CARD = """evidence.model_card.status evidence.model_card.facts.complete subject.name
    evidence.malware.status evidence.malware.facts.verdict evidence.layout.status
    evidence.licences.status evidence.licences.facts.licences"""
NEEDED = {
    Gate.ACCEPT: f"""{_CARD} action.from action.to subject.stage subject.digest subject.blocked
        evidence.signature.status evidence.provenance.status evidence.sbom.status
        evidence.sbom.facts.pins_checked evidence.sbom.facts.unresolved
        evidence.dataset.status evidence.test_result.status evidence.test_result.facts.result
        evidence.vulnerabilities.status evidence.vulnerabilities.facts.vulnerabilities
        evidence.vulnerabilities.facts.vulnerabilities.0.severity
        evidence.vulnerabilities.facts.vulnerabilities.0.cvss
        evidence.vulnerabilities.facts.vulnerabilities.1.severity
        evidence.vulnerabilities.facts.vulnerabilities.1.cvss
        evidence.vulnerabilities.facts.vulnerabilities.0.kev
        evidence.vulnerabilities.facts.vulnerabilities.0.epss
        evidence.vulnerabilities.facts.vulnerabilities.1.kev
        evidence.vulnerabilities.facts.vulnerabilities.1.epss""",
    Gate.PROMOTE: f"""{_CARD} action.from action.to subject.stage subject.digest subject.blocked
        subject.policy_digest subject.submitter actor.authenticated
        runtime.policy_digest runtime.accepted_policy_digests.0
        evidence.signature.status evidence.provenance.status evidence.model_card.facts.risk_tier
        evidence.canary.status evidence.canary.facts.result
        evidence.vulnerabilities.status evidence.vulnerabilities.facts.vulnerabilities
        evidence.vulnerabilities.facts.vulnerabilities.0.severity
        evidence.vulnerabilities.facts.vulnerabilities.0.cvss
        evidence.vulnerabilities.facts.vulnerabilities.1.severity
        evidence.vulnerabilities.facts.vulnerabilities.1.cvss
        evidence.vulnerabilities.facts.vulnerabilities.0.kev
        evidence.vulnerabilities.facts.vulnerabilities.0.epss
        evidence.vulnerabilities.facts.vulnerabilities.1.kev
        evidence.vulnerabilities.facts.vulnerabilities.1.epss
        approvals.0.person approvals.0.role approvals.0.decision
        approvals.0.model_digest approvals.0.policy_digest
        approvals.1.person approvals.1.role approvals.1.decision
        approvals.1.model_digest approvals.1.policy_digest""",
    Gate.DOWNLOAD: """action.door subject.stage subject.digest subject.blocked
        subject.policy_digest runtime.accepted_policy_digests.0 evidence.signature.status""",
    Gate.ALIAS: "action.alias subject.stage subject.blocked actor.authenticated",
    Gate.WITHDRAW: """action.from action.to action.reason subject.stage
        actor.authenticated actor.roles""",
}

# What the library stands on besides, by the examples in config.schema.json.
_LIBRARY = """now evidence.canary.facts.at evidence.canary.facts.metrics.traffic_share.value
    evidence.canary.facts.window.from evidence.canary.facts.window.to
    evidence.test_result.status evidence.test_result.facts.at
    evidence.provenance.facts.finished_at evidence.provenance.facts.builder_id
    evidence.provenance.facts.signers
    evidence.vulnerabilities.facts.advisories_at evidence.vulnerability_scan.status
    evidence.change_ticket.status evidence.change_ticket.facts.id
    evidence.change_ticket.facts.system evidence.change_ticket.facts.state
    evidence.change_ticket.facts.from evidence.change_ticket.facts.to
    evidence.slo.status evidence.slo.facts.met evidence.slo.facts.profiles.0.met
    evidence.slo.facts.profiles.0.profile evidence.slo.facts.profiles.0.at
    evidence.slo.facts.profiles.0.objectives.0.name
    evidence.slo.facts.profiles.0.objectives.0.measured
    evidence.slo.facts.profiles.0.objectives.0.met
    evidence.evaluation.status evidence.evaluation.facts.evaluations.0.metrics.accuracy
    evidence.evaluation.facts.evaluations.0.slices.0.attribute
    evidence.evaluation.facts.evaluations.0.slices.0.size
    evidence.evaluation.facts.evaluations.0.slices.0.metrics.recall
    evidence.evaluation.facts.evaluations.0.slices.1.attribute
    evidence.evaluation.facts.evaluations.0.slices.1.size
    evidence.evaluation.facts.evaluations.0.slices.1.metrics.recall
    evidence.reproduction.status evidence.reproduction.facts.matches
    evidence.reproduction.facts.builders.0.matches
    evidence.reproduction.facts.builders.0.builder_id
    evidence.reproduction.facts.builders.0.signers.0
    evidence.reproduction.facts.builders.0.tolerance.metric
    evidence.reproduction.facts.builders.0.tolerance.difference
    evidence.dataset.status evidence.dataset.facts.datasets
    evidence.dataset.facts.datasets.0.name
    evidence.dataset.facts.datasets.0.purpose evidence.dataset.facts.datasets.0.legal_basis
    evidence.dataset.facts.datasets.0.personal_data
    evidence.dataset.facts.datasets.1.name
    evidence.dataset.facts.datasets.1.purpose evidence.dataset.facts.datasets.1.legal_basis
    evidence.dataset.facts.datasets.1.personal_data"""
_NULL_SAYS_NONE = ("cvss", "epss", "tolerance")


def allows(value: dict[str, Any], gate: Gate, engine: EmbeddedEngine = ENGINE) -> bool:
    try:
        answer = engine.evaluate(gate, canonical.encode(value))
    except EngineError:
        return False
    return answer["allow"] is True


@pytest.mark.parametrize("engine", [ENGINE, EVERYTHING], ids=["shipped", "everything"])
@pytest.mark.parametrize("gate", Gate)
def test_a_good_dossier_is_allowed(gate: Gate, engine: EmbeddedEngine) -> None:
    decision = decide(engine, dossier(gate))

    assert (decision.allow, decision.reasons, decision.error) == (True, (), "")
    assert all(decision.checks.values())


@pytest.mark.parametrize("gate", Gate)
def test_exactly_what_a_gate_stands_on_turns_it_when_missing(gate: Gate) -> None:
    hold_to(ENGINE, gate, NEEDED[gate].split())


def test_exactly_what_the_library_stands_on_turns_a_release_when_missing() -> None:
    hold_to(EVERYTHING, Gate.PROMOTE, f"{NEEDED[Gate.PROMOTE]} {_LIBRARY}".split())


def hold_to(engine: EmbeddedEngine, gate: Gate, needed: list[str]) -> None:
    good = document(gate)

    for path in paths(good):
        dotted = ".".join(map(str, path))
        stands_on = any(n == dotted or n.startswith(dotted + ".") for n in needed)
        # Taking an element out of a list is another thing than breaking it.
        one_of_many = isinstance(path[-1], int) and {"vulnerabilities", "datasets"} & set(path)
        if stands_on and not one_of_many:
            assert not allows(removed(good, path), gate, engine), dotted
            silent = path[-1] in _NULL_SAYS_NONE
            assert not allows(replaced(good, path, None), gate, engine) or silent, dotted
        elif not isinstance(path[-1], int):
            assert allows(removed(good, path), gate, engine), dotted


@pytest.mark.parametrize("gate", Gate)
def test_nothing_but_facts_and_words_of_the_action_may_be_missing(gate: Gate) -> None:
    import jsonschema_rs

    schema = json.loads((folder("policies") / "dossier.schema.json").read_text())
    validator = jsonschema_rs.Draft202012Validator(schema)
    good = document(gate)

    assert validator.is_valid(good)
    for path in paths(good):
        optional = path[0] == "action" or "facts" in path[:-1] or isinstance(path[-1], int)
        optional = optional or (path[0] == "evidence" and len(path) == 2)
        assert validator.is_valid(removed(good, path)) is (optional and path != ("action",)), path
        if isinstance(good, dict) and "facts" not in path and path[0] != "action":
            assert not validator.is_valid(replaced(good, path, {"unknown": 1})), path


@settings(max_examples=400, deadline=None)
@given(start=st.sampled_from(starts()), seed=st.integers(0, 2**32))
def test_no_broken_dossier_is_judged_otherwise_than_the_description_says(
    start: dict[str, Any], seed: int
) -> None:
    gate = Gate(start["gate"])
    value = mutated(random.Random(seed), start)

    assert allows(value, gate) is GATES[gate.value](value)
    assert allows(value, gate, EVERYTHING) is WITH_THE_LIBRARY[gate.value](value)


def test_the_starting_points_hold_both_answers() -> None:
    for engine, gates in ((ENGINE, GATES), (EVERYTHING, WITH_THE_LIBRARY)):
        answers = [allows(start, Gate(start["gate"]), engine) for start in starts()]

        assert answers == [gates[start["gate"]](start) for start in starts()]
        assert answers.count(False) >= 3
        assert answers.count(True) >= 15


def test_every_reason_says_what_is_wrong_and_what_to_do() -> None:
    for engine, gate in itertools.product((ENGINE, EVERYTHING), Gate):
        empty = engine.evaluate(gate, b"{}")
        assert empty["allow"] is False
        for reason in empty["reasons"]:
            assert reason["message"] != reason["code"]
            assert reason["fix"]
            assert reason["path"].split(".")[0] in document(gate)
