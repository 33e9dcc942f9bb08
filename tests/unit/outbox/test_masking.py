from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mlflow_governance.core.dossier import Gate
from mlflow_governance.errors import ConfigurationError, InvalidRequest
from mlflow_governance.outbox.decision_event import Recorder, event_of
from mlflow_governance.outbox.masking import (
    DEFAULT_MASK,
    apply,
    load_salt,
    pseudonyms,
    rule_of,
    rules_of,
)
from mlflow_governance.policy.decide import decide
from mlflow_governance.policy.embedded import EmbeddedEngine
from mlflow_governance.policy.log_mask import LogMask
from tests.unit.policy.builders import approval, configured, dossier, shipped, with_module

ENGINE = EmbeddedEngine(shipped())
PSEUDONYM = pseudonyms(b"s" * 32)


def event(gate: Gate = Gate.PROMOTE, **changes: Any) -> dict[str, Any]:
    case = dossier(gate, **changes)
    return event_of(decide(ENGINE, case).to_document(), case.to_document(), {"id": "here"})


def masked(event: dict[str, Any], *entries: Any) -> dict[str, Any]:
    return apply(event, map(rule_of, entries), PSEUDONYM)


def test_by_default_nobody_can_be_read_from_a_record() -> None:
    people = approval("Sam.Lee@Example.org", "security"), approval("pia", "product")
    made = apply(event(approvals=people), DEFAULT_MASK, PSEUDONYM)

    text = json.dumps(made)
    for personal in ("ann", "dora", "sam.lee", "pia", "canary is green"):
        assert f'"{personal}' not in text.lower()
    assert made["masked"] == [
        "/input/actor/id", "/input/approvals/0/person", "/input/approvals/1/person",
        "/input/subject/submitter", "/result/details/approvers/product/0",
        "/result/details/approvers/security/0",
    ]  # fmt: skip
    assert made["erased"] == ["/input/action/reason"]
    assert made["requested_by"] == made["input"]["actor"]["id"] == PSEUDONYM("ann")


def test_by_default_nobody_can_be_read_from_what_waivers_leave_in_a_record() -> None:
    people = {"owner": "Olga Owner", "approver": "petra", "reason": "known"}
    waiver = {"id": "W-1", "model": "churn", "expires": "2026-11-25T00:00:00Z", **people}
    engine = EmbeddedEngine(
        configured(
            waivers=[{**waiver, "vulnerability": "CVE-2026-1"}],
            check_waivers=[{**waiver, "check": "ACC-007", "owner": "quinn"}],
        )
    )
    case = dossier(Gate.ACCEPT)
    decision = decide(engine, case)
    made = apply(event_of(decision.to_document(), case.to_document(), {}), DEFAULT_MASK, PSEUDONYM)

    assert {warning["code"] for warning in decision.warnings} == {"VUL-105", "WVR-103"}
    assert [one["type"] for one in decision.obligations] == ["record_waiver"]
    for personal in ("olga", "petra", "quinn"):
        assert personal not in json.dumps(made).lower()


def test_one_person_has_one_pseudonym_and_another_secret_gives_another() -> None:
    assert PSEUDONYM("Ann ") == PSEUDONYM("ann") != PSEUDONYM("anna")
    assert PSEUDONYM("ann") != pseudonyms(b"t" * 32)("ann")
    assert PSEUDONYM("ann").startswith("hmac:")
    assert PSEUDONYM(["ann"]) != PSEUDONYM('["ann"]')


def test_a_hidden_name_is_hidden_in_what_policy_said_too() -> None:
    from mlflow_governance.core.actor import Actor

    refused = event(Gate.WITHDRAW, actor=Actor("Bo (Ops)\tLee", (), authenticated=True))
    assert any("bo (ops) lee" in reason["message"] for reason in refused["result"]["reasons"])

    made = masked(refused, {"hash": "/input/actor/id"})

    assert "ops" not in json.dumps(made)
    assert any(pointer.endswith("/message") for pointer in made["masked"])
    codes = [reason["code"] for reason in made["result"]["reasons"]]
    assert codes == [reason["code"] for reason in refused["result"]["reasons"]]


def test_a_name_that_is_part_of_a_word_changes_no_word() -> None:
    given = event()
    given["input"]["actor"]["id"] = "an"
    given["result"]["reasons"] = [{"code": "an", "path": "", "message": "an apple can", "fix": ""}]

    made = masked(given, {"hash": "/input/actor/id"})

    pseudonym = PSEUDONYM("an")
    assert made["result"]["reasons"][0]["message"] == f"{pseudonym} apple can"
    assert made["result"]["reasons"][0]["code"] == "an"


@pytest.mark.parametrize(
    ("pointer", "erased", "left"),
    [
        ("/input/approvals", ["/input/approvals"], lambda e: "approvals" not in e["input"]),
        ("/input/approvals/0", ["/input/approvals/0"], lambda e: len(e["input"]["approvals"]) == 1),
        (
            "/input/approvals/*",
            ["/input/approvals/0", "/input/approvals/1"],
            lambda e: e["input"]["approvals"] == [],
        ),
        ("/input", ["/input"], lambda e: "input" not in e and "requested_by" not in e),
        ("/result", ["/result"], lambda e: "result" not in e),
        ("/input/nothing/there", None, lambda e: True),
        ("/input/approvals/7", None, lambda e: True),
        ("/input/approvals/x", None, lambda e: True),
        ("/input/gate/deeper", None, lambda e: True),
    ],
)
def test_what_a_pointer_names_is_erased_and_listed(pointer: str, erased: Any, left: Any) -> None:
    made = masked(event(), pointer)

    assert made.get("erased") == erased
    assert left(made)


def test_the_record_given_is_left_as_it_was() -> None:
    given = event()
    before = json.dumps(given)

    masked(given, "/input", {"hash": "/result/checks"})

    assert json.dumps(given) == before


@pytest.mark.parametrize(
    "entry", ["", "input/x", "/labels/id", "/", 5, None, {"hash": "/x"}, {"erase": "/input"}, {}]
)
def test_a_pointer_elsewhere_is_refused(entry: object) -> None:
    with pytest.raises(InvalidRequest):
        rule_of(entry)


def test_masks_of_rego_are_read_as_opa_reads_them() -> None:
    answer = ["/input/action", {"op": "upsert", "path": "/input/actor/new/id", "value": 1},
              {"op": "remove", "path": "/input/now"}]  # fmt: skip
    made = apply(event(), rules_of(answer), PSEUDONYM)

    assert made["erased"] == ["/input/action", "/input/now"]
    assert made["masked"] == ["/input/actor/new/id"]
    assert made["input"]["actor"]["new"] == {"id": 1}


@pytest.mark.parametrize(
    "answer",
    [None, {}, "x", [5], [{"op": "copy", "path": "/input"}], [{}], ["/x"], ["/input"] * 2000],
)
def test_any_other_mask_is_refused(answer: object) -> None:
    with pytest.raises(InvalidRequest):
        rules_of(answer)


def recorder(source: str | None) -> Recorder:
    bundle = with_module(source, "registry/log/mask.rego") if source else shipped()
    mask = LogMask(lambda: (EmbeddedEngine(bundle), bundle.files))
    return Recorder({}, PSEUDONYM, policy_mask=mask)


def record(source: str | None) -> dict[str, Any]:
    case = dossier(Gate.PROMOTE)
    return recorder(source).record(decide(ENGINE, case).to_document(), case.to_document())


def test_the_bundle_masks_by_a_rule_that_sees_the_record() -> None:
    made = record(
        "package registry.log\n\n"
        'mask contains "/input/evidence" if input.path == "registry/promote/decision"\n\n'
        'mask contains "/input/runtime" if input.path == "registry/alias/decision"\n'
    )

    assert "/input/evidence" in made["erased"]
    assert "evidence" not in made["input"]
    assert "runtime" in made["input"]
    assert made["input"]["actor"]["id"] == PSEUDONYM("ann")  # the settings' masks hold, too


def test_a_bundle_without_the_rule_masks_nothing_more() -> None:
    assert record(None)["erased"] == ["/input/action/reason"]


@pytest.mark.parametrize(
    "rule", ["mask := 5", 'mask := ["/labels"]', "mask := input.nothing", "x := 1",
             'mask := time.parse_rfc3339_ns("x")']
)  # fmt: skip
def test_a_mask_that_cannot_be_had_leaves_nothing_to_read(rule: str) -> None:
    made = record(f"package registry.log\n\n{rule}\n")

    assert made["erased"] == ["/input", "/result"]
    assert not {"input", "result", "requested_by", "error"} & made.keys()
    assert made["decision_id"]
    assert made["custom"]["mask_error"]


def test_the_secret_is_made_once_and_for_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "decision-log.salt"

    salt = load_salt(path)

    assert load_salt(path) == salt
    assert len(salt) == 32
    assert path.stat().st_mode & 0o777 == 0o600
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    path.write_bytes(b"short")
    with pytest.raises(ConfigurationError):
        load_salt(path)
