"""The shipped policies: what they must refuse, found by breaking good dossiers."""

from __future__ import annotations

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
from tests.unit.policy.builders import document, dossier, shipped
from tests.unit.policy.reference import GATES

ENGINE = EmbeddedEngine(shipped())

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

_NULL_SAYS_NONE = ("cvss", "epss")


def allows(value: dict[str, Any], gate: Gate) -> bool:
    try:
        answer = ENGINE.evaluate(gate, canonical.encode(value))
    except EngineError:
        return False
    return answer["allow"] is True


@pytest.mark.parametrize("gate", Gate)
def test_a_good_dossier_is_allowed(gate: Gate) -> None:
    decision = decide(ENGINE, dossier(gate))

    assert (decision.allow, decision.reasons, decision.error) == (True, (), "")
    assert all(decision.checks.values())


@pytest.mark.parametrize("gate", Gate)
def test_exactly_what_a_gate_stands_on_turns_it_when_missing(gate: Gate) -> None:
    good = document(gate)
    needed = NEEDED[gate].split()

    for path in paths(good):
        dotted = ".".join(map(str, path))
        stands_on = any(n == dotted or n.startswith(dotted + ".") for n in needed)
        # Taking an element out of a list is another thing than breaking it.
        if stands_on and not (isinstance(path[-1], int) and "vulnerabilities" in path):
            assert not allows(removed(good, path), gate), dotted
            assert not allows(replaced(good, path, None), gate) or path[-1] in _NULL_SAYS_NONE, (
                dotted
            )
        elif not isinstance(path[-1], int):
            assert allows(removed(good, path), gate), dotted


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


def test_the_starting_points_hold_both_answers() -> None:
    answers = [allows(start, Gate(start["gate"])) for start in starts()]

    assert answers == [GATES[start["gate"]](start) for start in starts()]
    assert answers.count(False) >= 3
    assert answers.count(True) >= 15


def test_every_reason_says_what_is_wrong_and_what_to_do() -> None:
    for gate in Gate:
        empty = ENGINE.evaluate(gate, b"{}")
        assert empty["allow"] is False
        for reason in empty["reasons"]:
            assert reason["message"] != reason["code"]
            assert reason["fix"]
            assert reason["path"].split(".")[0] in document(gate)
