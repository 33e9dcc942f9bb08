from __future__ import annotations

from typing import Any

import pytest

from mlflow_governance.core import moment
from mlflow_governance.errors import VerificationError
from mlflow_governance.evidence.change_ticket import ChangeTicketVerifier
from mlflow_governance.evidence.predicate import CHANGE_TICKET, Purpose
from mlflow_governance.evidence.trust import Threshold, TrustPolicy
from tests.unit.evidence.builders import HOUR, NOW, case, key, signer, trust
from tests.unit.evidence.record_builders import attached, ticket_body, window

BOTH = trust(signer(), signer("lab"))
TWO = TrustPolicy(BOTH.signers, (Threshold(frozenset({Purpose.CHANGE_TICKET}), 2),))


def facts(*bodies: Any, policy: TrustPolicy = BOTH) -> Any:
    items = attached(CHANGE_TICKET, *bodies)
    return ChangeTicketVerifier().verify(case(*items, policy=policy))


def at(hours: float, state: str = "approved", **more: Any) -> dict[str, Any]:
    return ticket_body(state, at=NOW - hours * HOUR, **more)


def by_lab(body: dict[str, Any]) -> Any:
    return body, key("lab")


def test_a_ticket_is_a_fact() -> None:
    assert facts(ticket_body(url="https://jira.example/CHG-1")) == {
        "id": "CHG-1",
        "system": "jira",
        "state": "approved",
        "from": moment.to_text(NOW - HOUR),
        "to": moment.to_text(NOW + HOUR),
        "url": "https://jira.example/CHG-1",
        "at": moment.to_text(NOW - HOUR),
        "signers": ["pipeline"],
    }


def test_who_approved_it_is_kept_out_of_the_facts() -> None:
    assert "sha256:" not in str(facts(ticket_body(approvedBy="sha256:" + "a" * 64)))
    with pytest.raises(VerificationError, match="approvedBy"):
        facts(ticket_body(approvedBy="Ann Example"))


@pytest.mark.parametrize("state", ["rejected", "cancelled", "closed", "requested"])
def test_the_newest_state_counts_whoever_says_it(state: str) -> None:
    assert facts(at(3), by_lab(at(1, state)))["state"] == state
    assert facts(by_lab(at(3, state)), at(1))["state"] == "approved"


def test_an_approval_does_not_come_back_by_bringing_it_again_under_another_name() -> None:
    assert facts(at(3), at(1, "cancelled"), at(3))["state"] == "cancelled"


def test_of_two_words_at_one_instant_the_refusal_counts() -> None:
    assert facts(at(1), at(1, "rejected"))["state"] == "rejected"
    assert facts(at(1, "rejected"), at(1))["state"] == "rejected"


def test_a_newer_ticket_replaces_an_older_one() -> None:
    assert facts(at(3), at(1, id="CHG-2"))["id"] == "CHG-2"


def test_as_many_must_approve_the_same_as_a_threshold_asks_for() -> None:
    with pytest.raises(VerificationError, match="2 must sign a change-ticket of churn; 1 did"):
        facts(at(1), policy=TWO)
    with pytest.raises(VerificationError, match="1 did"):
        facts(at(1), by_lab(at(1, window=window(NOW, NOW + 9 * HOUR))), policy=TWO)

    found = facts(at(3), by_lab(at(1)), policy=TWO)
    assert (found["signers"], found["at"]) == (["lab", "pipeline"], moment.to_text(NOW - 3 * HOUR))


def test_until_enough_approve_the_next_ticket_the_one_before_stands() -> None:
    agreed = [at(4), by_lab(at(3))]

    assert facts(*agreed, at(2, id="CHG-2"), policy=TWO)["id"] == "CHG-1"
    assert facts(*agreed, at(2, id="CHG-2"), by_lab(at(1, id="CHG-2")), policy=TWO)["id"] == "CHG-2"


def test_one_is_enough_to_refuse() -> None:
    found = facts(at(4), by_lab(at(3)), at(2, "rejected"), policy=TWO)

    assert (found["state"], found["signers"]) == ("rejected", ["pipeline"])


def test_approvals_from_before_a_refusal_do_not_add_up_with_those_after_it() -> None:
    found = facts(at(4), by_lab(at(3, "rejected")), by_lab(at(2)), policy=TWO)

    assert found["state"] == "rejected"


@pytest.mark.parametrize(
    "changes",
    [
        {"state": "Approved"},
        {"state": "done"},
        {"id": ""},
        {"id": " CHG-1"},
        {"system": 5},
        {"window": window(NOW, NOW - HOUR)},
        {"window": {"from": NOW.isoformat()}},
        {"window": {**window(), "tz": "UTC"}},
        {"url": "javascript:alert(1)"},
        {"url": "https://a b"},
    ],
    ids=str,
)
def test_a_malformed_ticket_does_not_count(changes: dict[str, Any]) -> None:
    with pytest.raises(VerificationError, match="malformed"):
        facts(ticket_body(**changes))
