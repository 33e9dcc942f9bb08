"""What a page offers is what the deciding rules would allow."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mlflow_governance.core.actor import Actor
from mlflow_governance.core.stage import Stage
from mlflow_governance.policy.bundle import Bundle
from mlflow_governance.policy.interface import PolicyInForce
from mlflow_governance.web import documents, offers
from tests.unit.web.builders import Registry, registry, security
from tests.unit.workflows.fixed_policies import FixedPolicies

BOTH = Actor("ann", ("product", "security"), authenticated=True)


@pytest.fixture
def governed() -> Registry:
    return registry()


def test_who_spoke_in_one_role_is_not_offered_the_other(governed: Registry) -> None:
    record = governed.add("churn", 1, Stage.STAGING)
    assert offers.approval(governed.ports, BOTH, record, [])[0] == ["product", "security"]

    word = {
        "person": "ann",
        "role": "product",
        "decision": "approve",
        "model_digest": record.digest,
        "policy_digest": governed.ports.policy.current().digest,
    }

    assert offers.approval(governed.ports, BOTH, record, [word])[0] == ["product"]


@pytest.mark.parametrize("data", [None, b"{}", b"not json", b'{"quorum": {"low": 7}}'])
def test_policies_that_list_no_roles_leave_the_choice_to_the_person(
    governed: Registry, data: bytes | None
) -> None:
    files = {} if data is None else {"registry/config/data.json": data}
    known = governed.ports.policy.current()
    other = PolicyInForce(known.engine, Bundle(files, known.digest))
    ports = replace(governed.ports, policy=FixedPolicies(other))
    record = governed.add("churn", 1, Stage.STAGING)

    assert offers.approval(ports, BOTH, record, [])[0] == ["product", "security"]
    nobody = Actor("joe", (), authenticated=True)
    roles, offer = offers.approval(ports, nobody, record, [])
    assert (roles, offer.allowed) == ([], False)
    assert offer.why


@pytest.mark.parametrize("stage", list(Stage))
def test_a_transition_that_does_not_exist_is_never_offered(
    governed: Registry, stage: Stage
) -> None:
    origin = Stage.STAGING if stage is Stage.QUARANTINED else None
    record = governed.add("churn", 1, stage, quarantined_from=origin)

    offer = offers.withdrawal(governed.ports, security(), record, stage)
    revoke = offers.withdrawal(governed.ports, security(), record, Stage.REVOKED)

    assert not offer.allowed
    assert revoke.allowed is (stage is not Stage.REVOKED)


def test_an_offer_writes_nothing(governed: Registry) -> None:
    record = governed.add("churn", 1, Stage.STAGING)

    offers.withdrawal(governed.ports, security(), record, Stage.REVOKED)
    documents.detail(governed.ports, security(), record)

    assert governed.store.ledger == []
    assert governed.store.decisions == []
    assert governed.store.records[record.uid] == record


def test_an_approval_of_other_content_or_policy_is_not_current(governed: Registry) -> None:
    record = governed.add("churn", 1, Stage.STAGING)
    governed.app().test_client().post(
        "/api/2.0/mlflow-governance/approvals",
        json={"name": "churn", "version": 1, "role": "security", "reason": "seen"},
    )
    given = governed.store.approvals(record.uid)[0]
    policy = governed.ports.policy.current().digest

    assert documents.approval(given, record, policy)["current"] is True
    assert documents.approval(given, record.with_(digest=None), policy)["current"] is False
    assert documents.approval(given, record, "sha256:" + "0" * 64)["current"] is False


def test_a_long_history_is_told_from_its_end(
    governed: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(documents, "MAX_TIMELINE", 2)
    governed.add("churn", 1, Stage.STAGING)
    client = governed.app().test_client()
    target = {"name": "churn", "version": 1, "role": "security"}
    for reason in ("one", "two", "three"):
        client.post("/api/2.0/mlflow-governance/approvals", json={**target, "reason": reason})

    page = client.get("/governance/version?name=churn&version=1").text

    assert "The newest 2 of 3 entries." in page
    assert '<q class="told">three</q>' in page
