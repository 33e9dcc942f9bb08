"""Separation of duties: who may say what about a version."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mlflow_governance.approval.duties import STAGES, refuse_unfit
from mlflow_governance.approval.request import MAX_REASON, ApprovalRequest
from mlflow_governance.core import digest
from mlflow_governance.core.actor import Actor
from mlflow_governance.core.dossier import Subject
from mlflow_governance.core.model_ref import VersionRef
from mlflow_governance.core.stage import Stage
from mlflow_governance.errors import Denied, InvalidRequest, Unauthenticated

MODEL, OTHER_MODEL = digest.of_bytes(b"model"), digest.of_bytes(b"other model")
POLICY, OTHER_POLICY = digest.of_bytes(b"policy"), digest.of_bytes(b"other policy")
ANN = Actor("ann", ("owner", "security"), authenticated=True)
SUBJECT = Subject(VersionRef("churn", 3), "u1", Stage.STAGING, MODEL, "bob", blocked=False)


def asks(actor: Actor = ANN, role: str = "security", decision: str = "approve") -> ApprovalRequest:
    return ApprovalRequest(actor, role, decision, "looked at it", POLICY)


def word(**changes: Any) -> dict[str, Any]:
    return {
        "person": "ann",
        "role": "owner",
        "decision": "approve",
        "model_digest": MODEL,
        "policy_digest": POLICY,
        **changes,
    }


def codes(caught: pytest.ExceptionInfo[Denied]) -> list[str]:
    return [reason["code"] for reason in caught.value.details["reasons"]]


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("decision", ["approve", "reject"])
def test_somebody_else_with_the_role_may_speak(stage: Stage, decision: str) -> None:
    refuse_unfit(asks(decision=decision), replace(SUBJECT, stage=stage), [])


@pytest.mark.parametrize("submitter", ["ann", " ANN ", "\uff21nn"])
def test_the_submitter_may_not_approve_however_the_name_is_written(submitter: str) -> None:
    with pytest.raises(Denied) as caught:
        refuse_unfit(asks(), replace(SUBJECT, submitter=submitter), [])

    assert codes(caught) == ["DUTY-SUBMITTER"]
    assert caught.value.advice


def test_an_administrator_is_not_exempt() -> None:
    boss = Actor("ann", admin=True, authenticated=True)
    with pytest.raises(Denied) as caught:
        refuse_unfit(asks(boss), replace(SUBJECT, submitter="ann"), [])

    assert codes(caught) == ["DUTY-ROLE", "DUTY-SUBMITTER"]


@pytest.mark.parametrize("submitter", ["", "anonymous"])
def test_an_unknown_submitter_can_be_anybody(submitter: str) -> None:
    with pytest.raises(Denied) as caught:
        refuse_unfit(asks(), replace(SUBJECT, submitter=submitter), [])

    assert codes(caught) == ["DUTY-SUBMITTER"]


def test_the_submitter_may_speak_against_their_own_version() -> None:
    refuse_unfit(asks(decision="reject"), replace(SUBJECT, submitter="ann"), [])


@pytest.mark.parametrize("decision", ["approve", "reject"])
def test_a_role_must_be_held(decision: str) -> None:
    with pytest.raises(Denied, match="legal is not held") as caught:
        refuse_unfit(asks(role="legal", decision=decision), SUBJECT, [])

    assert codes(caught) == ["DUTY-ROLE"]


@pytest.mark.parametrize(
    "actor",
    [
        Actor.anonymous(),
        Actor.system("worker"),
        Actor("ann", ("security",)),
        Actor("anonymous", ("security",), authenticated=True),
        Actor("  ", ("security",), authenticated=True),
    ],
)
def test_nobody_in_particular_approves_nothing(actor: Actor) -> None:
    with pytest.raises(Unauthenticated):
        refuse_unfit(asks(actor), SUBJECT, [])


@pytest.mark.parametrize("stage", sorted(set(Stage) - set(STAGES)))
def test_an_approval_needs_a_stage_where_it_leads_somewhere(stage: Stage) -> None:
    with pytest.raises(Denied) as caught:
        refuse_unfit(asks(), replace(SUBJECT, stage=stage), [])

    assert codes(caught) == ["DUTY-STAGE"]


def test_blocked_content_cannot_be_approved_under_another_name() -> None:
    with pytest.raises(Denied) as caught:
        refuse_unfit(asks(), replace(SUBJECT, blocked=True), [])

    assert codes(caught) == ["DUTY-STAGE"]


def test_a_version_without_digest_cannot_be_approved() -> None:
    with pytest.raises(Denied) as caught:
        refuse_unfit(asks(), replace(SUBJECT, digest=None), [])

    assert codes(caught) == ["DUTY-DIGEST"]


@pytest.mark.parametrize("earlier", [word(), word(person=" Ann"), word(decision="reject")])
def test_one_person_does_not_speak_in_two_roles(earlier: dict[str, Any]) -> None:
    with pytest.raises(Denied, match="already spoke as owner") as caught:
        refuse_unfit(asks(), SUBJECT, [earlier])

    assert codes(caught) == ["DUTY-ONE-ROLE"]


@pytest.mark.parametrize(
    "earlier",
    [
        word(person="bob"),
        word(role="security"),
        word(model_digest=OTHER_MODEL),
        word(policy_digest=OTHER_POLICY),
    ],
)
def test_words_of_others_in_the_same_role_or_about_other_content_do_not_count(
    earlier: dict[str, Any],
) -> None:
    refuse_unfit(asks(), SUBJECT, [earlier])


def test_without_a_policy_earlier_words_under_every_policy_count() -> None:
    with pytest.raises(Denied):
        refuse_unfit(
            replace(asks(), policy_digest=None), SUBJECT, [word(policy_digest=OTHER_POLICY)]
        )


def test_every_broken_duty_is_named_at_once() -> None:
    subject = replace(SUBJECT, submitter="ann", digest=None, stage=Stage.NONE)
    with pytest.raises(Denied) as caught:
        refuse_unfit(asks(role="legal"), subject, [])

    assert codes(caught) == ["DUTY-STAGE", "DUTY-DIGEST", "DUTY-ROLE", "DUTY-SUBMITTER"]
    for code in codes(caught):
        assert code in caught.value.message


@pytest.mark.parametrize(
    "wrong",
    [
        {"decision": "yes"},
        {"decision": ""},
        {"role": ""},
        {"role": "Security"},
        {"role": "a b"},
        {"role": "x" * 65},
        {"reason": "  "},
        {"reason": "x" * (MAX_REASON + 1)},
    ],
)
def test_a_malformed_request_cannot_be_made(wrong: dict[str, str]) -> None:
    values = {"role": "security", "decision": "approve", "reason": "why", **wrong}
    with pytest.raises(InvalidRequest):
        ApprovalRequest(ANN, **values)
