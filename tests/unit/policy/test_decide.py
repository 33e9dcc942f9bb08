from __future__ import annotations

import dataclasses
import json
import shlex
from typing import Any

import pytest

from mlflow_governance.core import canonical
from mlflow_governance.core.actor import Actor
from mlflow_governance.core.decision import Reason
from mlflow_governance.core.digest import Digest
from mlflow_governance.core.dossier import Dossier, Gate, Outcome, Status
from mlflow_governance.core.model_ref import VersionRef
from mlflow_governance.core.resources import folder
from mlflow_governance.policy import validity
from mlflow_governance.policy.decide import decide
from mlflow_governance.policy.embedded import EmbeddedEngine
from mlflow_governance.policy.interface import EngineError
from tests.unit.policy.builders import EVIDENCE, POLICY, configured, dossier, shipped


class Answering:
    """An engine whose answer, or failure, is fixed."""

    name = "fixed 1"
    policy_digest = POLICY

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.asked = 0

    def evaluate(self, gate: Gate, document: bytes) -> Any:
        self.asked += 1
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer


class _Text(str):
    """A text all the same."""


YES: dict[str, Any] = {
    "gate": "alias", "allow": True, "checks": {"ALI-001": True, "ALI-002": True},
    "reasons": [], "warnings": [], "obligations": [], "details": {},
}  # fmt: skip
NONSENSE: list[Any] = [None, "yes", True, 5, [], {}, {"allow": True}]
REASON = {"code": "ALI-001", "path": "action.alias", "message": "no", "fix": ""}
NO = YES | {"allow": False, "checks": {"ALI-001": False, "ALI-002": True}, "reasons": [REASON]}


def asked(answer: Any, **changes: Any) -> Any:
    return decide(Answering(answer), dossier(Gate.ALIAS, **changes))


def without(key: str) -> dict[str, Any]:
    return {k: v for k, v in YES.items() if k != key}


def renamed(name: str) -> Any:
    return dataclasses.replace(dossier(Gate.ALIAS).subject, ref=VersionRef(name, 3))


def test_a_well_formed_yes_is_a_yes() -> None:
    good = dossier(Gate.ALIAS)
    decision = asked(YES)

    assert decision.allow
    assert decision.checks == YES["checks"]
    assert (decision.engine, decision.policy_digest) == ("fixed 1", POLICY)
    assert decision.dossier_digest == good.digest
    assert decision.duration >= 0
    assert len(decision.decision_id) == 32


def test_a_well_formed_no_is_a_no_with_its_reason() -> None:
    decision = asked(NO)

    assert not decision.allow
    assert decision.reasons == (Reason("ALI-001", "action.alias", "no"),)
    assert decision.error == ""


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        *((value, "ENG-SHAPE") for value in NONSENSE),
        *((without(key), "ENG-SHAPE") for key in YES),
        (YES | {"surprise": 1}, "ENG-SHAPE"),
        (YES | {"gate": "download"}, "ENG-SHAPE"),
        (YES | {"allow": "true"}, "ENG-SHAPE"),
        (YES | {"allow": 1}, "ENG-SHAPE"),
        (YES | {"checks": {}}, "ENG-SHAPE"),
        (YES | {"checks": {"ALI-001": 1}}, "ENG-SHAPE"),
        (YES | {"checks": ["ALI-001"]}, "ENG-SHAPE"),
        (YES | {"checks": {"": True}}, "ENG-SHAPE"),
        (YES | {"checks": {"\ud800": True}}, "ENG-SHAPE"),
        (YES | {"checks": {"ALI-001\nALI-002": True}}, "ENG-SHAPE"),
        (YES | {"reasons": None}, "ENG-SHAPE"),
        (YES | {"warnings": {}}, "ENG-SHAPE"),
        (YES | {"warnings": ["x"]}, "ENG-SHAPE"),
        (YES | {"obligations": "x"}, "ENG-SHAPE"),
        (YES | {"details": []}, "ENG-SHAPE"),
        (YES | {"details": {"x": 2**60}}, "ENG-SHAPE"),
        (YES | {"details": {"x": float("nan")}}, "ENG-SHAPE"),
        (YES | {"warnings": [{"x": "\ud800"}]}, "ENG-SHAPE"),
        (NO | {"reasons": ["ALI-001"]}, "ENG-SHAPE"),
        (NO | {"reasons": [{"code": "ALI-001"}]}, "ENG-SHAPE"),
        (NO | {"reasons": [REASON | {"message": None}]}, "ENG-SHAPE"),
        (NO | {"reasons": [REASON | {"extra": "x"}]}, "ENG-SHAPE"),
        (NO | {"reasons": [REASON | {"code": ""}]}, "ENG-SHAPE"),
        (NO | {"reasons": [REASON | {"code": "ENG-TIMEOUT"}]}, "ENG-SHAPE"),
        (NO | {"reasons": [REASON | {"code": "ALI-001\ud800"}]}, "ENG-SHAPE"),
        (NO | {"reasons": [REASON | {"path": "\x1b[2J"}]}, "ENG-SHAPE"),
        (YES | {"checks": {"ALI-001": False}}, "ENG-CONTRADICTION"),
        (YES | {"reasons": [REASON]}, "ENG-CONTRADICTION"),
        (NO | {"checks": {"ALI-001": True}}, "ENG-CONTRADICTION"),
        (NO | {"reasons": []}, "ENG-UNEXPLAINED"),
        (EngineError("ENG-UNDEFINED", "x"), "ENG-UNDEFINED"),
        (EngineError("ENG-TIMEOUT", "x"), "ENG-TIMEOUT"),
        (EngineError("ENG-HTTP-500", "x"), "ENG-HTTP-500"),
        (ValueError("x"), "ENG-ERROR"),
        (RecursionError("x"), "ENG-ERROR"),
        (MemoryError(), "ENG-ERROR"),
    ],
)
def test_whatever_is_not_a_decision_is_a_denial(answer: Any, code: str) -> None:
    decision = asked(answer)

    assert not decision.allow
    assert [reason.code for reason in decision.reasons] == [code]
    assert decision.checks == {code: False}
    assert decision.error


def test_an_interrupt_is_not_eaten() -> None:
    with pytest.raises(KeyboardInterrupt):
        asked(KeyboardInterrupt())


BROKEN: list[tuple[dict[str, Any], str]] = [
    ({"actor": Actor("x" * 600)}, "actor.id"),
    ({"actor": Actor("")}, "actor.id"),
    ({"evidence": {"horoscope": Outcome.passed()}}, "evidence"),
    ({"approvals": ({"person": "sam"},)}, "approvals.0"),
    ({"runtime": {"policy_digest": POLICY}}, "runtime"),
    ({"runtime": {"policy_digest": "b", "accepted_policy_digests": []}}, "runtime.policy_digest"),
    ({"evidence": {"sbom": dataclasses.replace(Outcome.failed("x"), facts={"a": 1})}}, "sbom"),
]


@pytest.mark.parametrize(("change", "where"), BROKEN)
def test_a_malformed_dossier_is_seen_by_no_engine(change: dict[str, Any], where: str) -> None:
    engine = Answering(YES)
    decision = decide(engine, dossier(Gate.ALIAS, **change))

    assert [reason.code for reason in decision.reasons] == ["ENG-SCHEMA"]
    assert where in decision.reasons[0].message
    assert engine.asked == 0


@pytest.mark.parametrize("value", [float("nan"), 2**60, "\ud800", object()])
def test_a_dossier_without_canonical_form_is_denied(value: object) -> None:
    decision = asked(YES, action={"alias": value})

    assert not decision.allow
    assert [reason.code for reason in decision.reasons] == ["ENG-SCHEMA"]


def test_a_dossier_too_large_is_put_to_no_engine() -> None:
    engine = Answering(YES)
    attached = tuple({"name": "x" * 1024, "digest": POLICY} for _ in range(4500))

    decision = decide(engine, dossier(Gate.ALIAS, attached=attached))

    assert not decision.allow
    assert [reason.code for reason in decision.reasons] == ["ENG-SIZE"]
    assert engine.asked == 0


def test_lists_are_put_into_one_order() -> None:
    warnings = [{"b": 1}, {"a": 2}, {"a": 1}]
    other = REASON | {"code": "ALI-002"}
    checks = {"ALI-002": False, "ALI-001": False}
    answer = NO | {"checks": checks, "warnings": warnings, "reasons": [other, REASON]}

    decision = asked(answer)

    assert decision.warnings == ({"a": 1}, {"a": 2}, {"b": 1})
    assert [reason.code for reason in decision.reasons] == ["ALI-001", "ALI-002"]
    assert list(decision.checks) == ["ALI-001", "ALI-002"]


def test_placeholders_are_filled_from_the_dossier() -> None:
    answer = NO | {
        "reasons": [REASON | {"message": "{name} {version} {stage} {to} {actor} {other}"}]
    }

    assert asked(answer).reasons[0].message == "churn 3 Approved another stage ann {other}"


def test_a_name_that_looks_like_a_placeholder_stays_a_name() -> None:
    answer = NO | {"reasons": [REASON | {"message": "{name}"}]}

    assert asked(answer, subject=renamed("{actor}{name}")).reasons[0].message == "{actor}{name}"


def test_a_fix_is_safe_to_paste_into_a_shell() -> None:
    name = "a b; rm -rf $(pwd) 'x'"
    answer = NO | {"reasons": [REASON | {"fix": "mlflow-governance judge {name}/{version}"}]}

    fix = asked(answer, subject=renamed(name)).reasons[0].fix

    assert shlex.split(fix) == ["mlflow-governance", "judge", f"{name}/3"]


def test_the_verifiers_own_sentence_is_appended() -> None:
    evidence = EVIDENCE | {"signature": Outcome.failed("file changed: model.pkl")}
    answer = NO | {"reasons": [REASON | {"path": "evidence.signature.facts.signer"}]}

    message = asked(answer, evidence=evidence).reasons[0].message

    assert message == "no: file changed: model.pkl"


def test_foreign_text_in_a_reason_is_one_bounded_printable_line() -> None:
    evidence = EVIDENCE | {"signature": Outcome.failed("a\n\x1b[31m\u202eb" + "x" * 10_000)}
    answer = NO | {"reasons": [REASON | {"path": "evidence.signature"}]}

    message = asked(answer, evidence=evidence).reasons[0].message

    assert message.startswith("no: a [31m b")
    assert message.isprintable()
    assert len(message) < 700


def test_what_a_submitter_named_cannot_write_lines_of_its_own_into_a_refusal() -> None:
    named = "MIT\n      fix: rm -rf ~\x1b[2J\u202e"
    licence = {"kind": "library", "uses": [], "choices": [["X"]], "unknown": ["X"]}
    stated = licence | {"expression": named, "components": ["torch\x07"], "kind": "model\r"}
    evidence = EVIDENCE | {"licences": Outcome.passed(licences=[stated])}

    decision = decide(EmbeddedEngine(shipped()), dossier(Gate.ACCEPT, evidence=evidence))

    assert [reason.code for reason in decision.reasons] == ["ACC-012"]
    assert all(line.isprintable() for line in decision.explain("no").splitlines())
    assert len(decision.explain("no").splitlines()) == 3


def test_a_message_with_half_a_character_can_be_recorded() -> None:
    made = asked(NO | {"reasons": [REASON | {"message": "a\ud800b", "fix": "c\nd"}]})

    assert (made.reasons[0].message, made.reasons[0].fix) == ("a b", "c d")
    canonical.encode(made.to_document())


def test_a_refused_release_names_each_check_and_its_mend() -> None:
    case: Dossier = dossier(Gate.PROMOTE, approvals=(), evidence=EVIDENCE | {
        "canary": Outcome.missing("no canary result is attached"),
    })  # fmt: skip

    text = decide(EmbeddedEngine(shipped()), case).explain("churn/3 may not be approved")

    assert "PRO-007 no signed canary result says PROCEED for this digest: no canary result" in text
    assert "mlflow-governance attest churn/3 canary --result PROCEED --key KEY.pem" in text
    assert "still lacking: product, security" in text
    assert 'mlflow-governance approve churn/3 --as security --reason "WHY"' in text


def test_deciding_twice_gives_the_same_answer() -> None:
    engine = EmbeddedEngine(shipped())
    first, second = (decide(engine, dossier(gate)).to_document() for gate in [Gate.PROMOTE] * 2)

    for volatile in ("decision_id", "duration", "salt"):
        first.pop(volatile)
        second.pop(volatile)
    assert first == second
    assert Digest(first["dossier_digest"]) == dossier(Gate.PROMOTE).digest


_BROKEN: list[dict[str, Any]] = [
    {},
    {"evidence": {}},
    {"evidence": EVIDENCE | {"horoscope": Outcome.passed()}},
    {"evidence": EVIDENCE | {"sbom": Outcome(Status.FAILED, {"components": 3}, "x")}},
    {"evidence": EVIDENCE | {"sbom": Outcome(Status.MISSING, {}, "x" * 20_000)}},
    {"evidence": EVIDENCE | {"sbom": Outcome(Status.FAILED, {"big": "x" * 20_000}, "x")}},
    {"evidence": EVIDENCE | {"sbom": Outcome(Status.PASSED, {}, problem=5)}},  # type: ignore[arg-type]
    {"actor": Actor("")},
    {"actor": Actor("ann", ("r",) * 101)},
    {"approvals": ({"person": "sam"},)},
    {"attached": ({"name": "x", "digest": "sha256:short"},)},
    {"runtime": {"policy_digest": POLICY}},
    {"action": {"evidence": [1, {"gate": "x"}], "to": ("a", "b")}},
    {"action": {"reason": _Text("of a kind the validator does not know")}},
]


@pytest.mark.parametrize("changes", _BROKEN)
def test_a_dossier_validated_in_parts_is_as_valid_as_the_whole(changes: dict[str, Any]) -> None:
    import jsonschema_rs

    schema = json.loads((folder("policies") / "dossier.schema.json").read_text())
    case = dossier(Gate.ALIAS, **changes)
    valid = jsonschema_rs.Draft202012Validator(schema).is_valid(json.loads(case.encoded))

    for _ in range(2):  # the second time what is known of the evidence is remembered
        decision = decide(Answering(YES), case)
        assert decision.allow is valid
        assert [r.code for r in decision.reasons] == ([] if valid else ["ENG-SCHEMA"])


def test_the_evidence_of_a_good_dossier_is_validated_apart_from_it() -> None:
    assert all(validity._valid_in_parts(dossier(gate)) for gate in Gate)


@pytest.mark.parametrize("place", [("properties", "evidence"), ()])
def test_a_schema_that_ties_evidence_to_something_is_asked_about_the_whole(
    monkeypatch: pytest.MonkeyPatch, place: tuple[str, ...]
) -> None:
    schema = json.loads((folder("policies") / "dossier.schema.json").read_text())
    rule: dict[str, Any] = {"minProperties": 1}
    if not place:
        rule = {"anyOf": [{"properties": {"evidence": rule}}]}
    (schema["properties"]["evidence"] if place else schema).update(rule)
    monkeypatch.setattr(validity, "_schema", lambda: schema)
    for known in (validity._validator, validity._separable):
        monkeypatch.setattr(validity, known.__name__, known.__wrapped__)

    assert decide(Answering(YES), dossier(Gate.ALIAS)).allow
    assert not decide(Answering(YES), dossier(Gate.ALIAS, evidence={})).allow


WAIVED = {
    "code": "ALI-002", "waiver": "K-1", "owner": "sam", "approver": "ann",
    "expires": "2027-01-01T00:00:00Z",
}  # fmt: skip
ONE_FAILED = YES | {"checks": {"ALI-001": True, "ALI-002": False}}
SECOND = REASON | {"code": "ALI-002"}


def test_a_failed_check_in_warn_mode_is_told_in_words_of_this_version() -> None:
    told = SECOND | {"message": "{name}", "fix": "judge {name}"}
    decision = asked(ONE_FAILED | {"modes": {"ALI-002": "warn"}, "warnings": [told]})

    assert (decision.allow, decision.reasons, decision.shadow) == (True, (), ())
    assert decision.modes == {"ALI-002": "warn"}
    assert decision.warnings == (told | {"message": "churn", "fix": "judge churn"},)
    assert decision.checks["ALI-002"] is False


def test_a_failed_check_in_shadow_mode_is_kept_in_the_record() -> None:
    decision = asked(ONE_FAILED | {"modes": {"ALI-002": "shadow"}, "shadow": [SECOND]})

    assert (decision.allow, decision.warnings) == (True, ())
    assert [reason.code for reason in decision.shadow] == ["ALI-002"]
    assert decision.to_document()["shadow"] == [SECOND]


def test_a_waived_check_is_counted_with_its_waiver() -> None:
    decision = asked(ONE_FAILED | {"waived": [WAIVED | {"waiver": "K-2"}, WAIVED]})

    assert decision.allow
    assert [entry["waiver"] for entry in decision.waived] == ["K-1", "K-2"]


def test_what_is_relaxed_does_not_make_up_for_another() -> None:
    checks = {"ALI-001": False, "ALI-002": False, "ALI-003": False, "ALI-004": True}
    relief = {"modes": {"ALI-003": "shadow"}, "waived": [WAIVED]}
    decision = asked(NO | {"checks": checks} | relief)

    assert not decision.allow
    assert [reason.code for reason in decision.reasons] == ["ALI-001"]
    assert decision.modes == {"ALI-003": "shadow"}
    assert len(decision.waived) == 1


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (ONE_FAILED | {"modes": None}, "ENG-SHAPE"),
        (ONE_FAILED | {"modes": ["ALI-002"]}, "ENG-SHAPE"),
        (ONE_FAILED | {"modes": {"ALI-002": "Warn"}}, "ENG-SHAPE"),
        (ONE_FAILED | {"modes": {"ALI-002": "enforce"}}, "ENG-SHAPE"),
        (ONE_FAILED | {"modes": {"ALI-002": ["warn"]}}, "ENG-SHAPE"),
        (ONE_FAILED | {"modes": {"ALI-009": "warn"}}, "ENG-SHAPE"),
        (ONE_FAILED | {"waived": {}}, "ENG-SHAPE"),
        (ONE_FAILED | {"waived": ["ALI-002"]}, "ENG-SHAPE"),
        (ONE_FAILED | {"waived": [WAIVED | {"code": "ALI-001"}]}, "ENG-SHAPE"),
        (ONE_FAILED | {"waived": [WAIVED | {"code": "ALI-009"}]}, "ENG-SHAPE"),
        (ONE_FAILED | {"waived": [WAIVED | {"approver": ""}]}, "ENG-SHAPE"),
        (ONE_FAILED | {"waived": [WAIVED | {"extra": "x"}]}, "ENG-SHAPE"),
        (ONE_FAILED | {"waived": [{"code": "ALI-002"}]}, "ENG-SHAPE"),
        (ONE_FAILED | {"shadow": {}}, "ENG-SHAPE"),
        (ONE_FAILED | {"modes": {"ALI-002": "warn"}, "shadow": [SECOND]}, "ENG-SHAPE"),
        (ONE_FAILED | {"modes": {"ALI-002": "shadow"}, "shadow": ["ALI-002"]}, "ENG-SHAPE"),
        # it allows although a check that decides failed
        (ONE_FAILED, "ENG-CONTRADICTION"),
        (ONE_FAILED | {"modes": {"ALI-001": "warn"}}, "ENG-CONTRADICTION"),
        # it denies although nothing that decides failed
        (NO | {"modes": {"ALI-001": "warn"}}, "ENG-CONTRADICTION"),
        # a yes must not rest on nothing
        (ONE_FAILED | {"modes": {"ALI-001": "warn"}, "waived": [WAIVED]}, "ENG-CONTRADICTION"),
        (YES | {"modes": {"ALI-001": "warn", "ALI-002": "shadow"}}, "ENG-CONTRADICTION"),
        (YES | {"allow": False, "modes": {"ALI-001": "warn", "ALI-002": "shadow"}},
         "ENG-UNEXPLAINED"),
    ],
)  # fmt: skip
def test_a_relief_that_does_not_add_up_is_a_denial(answer: Any, code: str) -> None:
    decision = asked(answer)

    assert not decision.allow
    assert [reason.code for reason in decision.reasons] == [code]
    assert (decision.modes, decision.waived, decision.shadow) == ({}, (), ())


def test_a_bundle_in_which_everything_is_relaxed_still_denies() -> None:
    codes = decide(EmbeddedEngine(shipped()), dossier(Gate.ACCEPT)).checks
    engine = EmbeddedEngine(configured(modes=dict.fromkeys(codes, "shadow")))

    allowed = decide(engine, dossier(Gate.ACCEPT, evidence={}))
    decision = decide(engine, dossier(Gate.ACCEPT, action={"from": "None", "to": "Approved"}))

    assert allowed.allow
    assert len(allowed.shadow) == 10
    assert not decision.allow
    assert [reason.code for reason in decision.reasons] == ["ACC-010"]


@pytest.mark.parametrize("gate", Gate)
def test_the_salt_of_a_dossier_changes_its_digest_and_no_answer(gate: Gate) -> None:
    engine = EmbeddedEngine(shipped())
    plain, salted = dossier(gate), dossier(gate, salt="0f" * 16)

    first, second = (decide(engine, d).to_document() for d in (plain, salted))

    assert first.pop("dossier_digest") != second.pop("dossier_digest")
    for volatile in ("decision_id", "duration", "salt"):
        assert first.pop(volatile) != second.pop(volatile) or volatile == "duration"
    assert first == second


@pytest.mark.parametrize("salt", ["0F" * 16, "0f" * 15, "x" * 32, " "])
def test_a_salt_of_another_form_is_not_judged(salt: str) -> None:
    decision = decide(EmbeddedEngine(shipped()), dossier(Gate.ACCEPT, salt=salt))

    assert list(decision.checks) == ["ENG-SCHEMA"]
