"""Everything that can happen, the act it is recorded as, and that it is, allowed and denied.

The list is what an auditor may ask for. What a registry cannot be brought to here names the test
that does it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from mlflow_governance.core import canonical
from mlflow_governance.core.actor import Actor
from mlflow_governance.core.dossier import Outcome
from mlflow_governance.core.event import Act
from mlflow_governance.core.model_ref import VersionRef
from mlflow_governance.core.stage import Stage
from mlflow_governance.errors import GovernanceError
from mlflow_governance.evidence.interface import EvidenceItem, Kind
from mlflow_governance.store import tables as ours
from mlflow_governance.store.mlflow_tables import model_aliases
from mlflow_governance.workflows.accounts import (
    AccountChange,
    record_account,
    record_account_refused,
)
from mlflow_governance.workflows.administer import (
    ModelChange,
    change_model,
    change_webhook,
    register_ungoverned,
)
from mlflow_governance.workflows.admit import admit
from mlflow_governance.workflows.alias import AliasMove, move_alias
from mlflow_governance.workflows.approve import approve
from mlflow_governance.workflows.attach import attach
from mlflow_governance.workflows.delete import delete_version
from mlflow_governance.workflows.download_count import DownloadCount
from mlflow_governance.workflows.download_options import DownloadEntries
from mlflow_governance.workflows.policy_approval import propose, speak
from mlflow_governance.workflows.policy_change import activate
from mlflow_governance.workflows.ports import Request
from mlflow_governance.workflows.promote import rejudge, transition
from mlflow_governance.workflows.rejudge import rejudge_all
from mlflow_governance.workflows.start import record_start
from mlflow_governance.workflows.withdraw import withdraw
from tests.unit.policy.builders import shipped
from tests.unit.workflows.builders import ALICE, EVE, PIA, ROOT, SAM, InProcessRegistry
from tests.unit.workflows.policy_builders import SECURITY, STRICTER, LivingRegistry
from tests.unit.workflows.test_live_policies import PRINTING
from tests.unit.workflows.test_rejudge import SEVERE

CHURN = VersionRef("churn", 1)
SUE = Actor("sue", ("security",), authenticated=True)
ITEM = EvidenceItem("attestations/canary.intoto.json", b'{"canary": true}')

BOTH = {True, False}
WRITTEN: dict[Act, set[bool]] = {
    Act.VERSION_REGISTERED: {True},
    Act.VERSION_REFUSED: {False},
    Act.VERSION_TRANSITIONED: BOTH,
    Act.VERSION_REVOKED: BOTH,
    Act.VERSION_DELETED: {True},
    Act.VERSION_REJUDGED: BOTH,
    Act.EVIDENCE_ATTACHED: BOTH,
    Act.APPROVAL_GIVEN: {True},
    Act.APPROVAL_REFUSED: {False},
    Act.APPROVAL_WITHDRAWN: {True},
    Act.ALIAS_MOVED: BOTH,
    Act.ALIAS_DELETED: {True},
    Act.DOWNLOAD_DENIED: {False},
    Act.DOWNLOADS_COUNTED: {True},
    Act.REQUEST_REFUSED: {False},
    Act.MODEL_DELETED: {True},
    Act.MODEL_RENAMED: {True},
    Act.MODEL_UNGOVERNED: {True},
    Act.WEBHOOK_CHANGED: {True},
    Act.ACCOUNT_CHANGED: BOTH,
    Act.TRUST_CHANGED: {True},
    Act.POLICY_CHANGED: BOTH,
    Act.POLICY_PROPOSED: BOTH,
    Act.POLICY_APPROVED: BOTH,
    Act.REGISTRY_STARTED: {True},
    Act.REGISTRY_ALARMED: {False},
    Act.QUARANTINE_PROPOSED: {True},
}
"""What is written below. What is refused without an act of its own is ``request.refused``."""

ELSEWHERE: dict[Act, str] = {
    Act.ADVISORIES_CHANGED: "tests/unit/cli/test_advisories.py",
    Act.EVIDENCE_EXPORTED: "the evidence bundle",
    Act.PERSON_EXPORTED: "privacy",
    Act.PERSON_ERASED: "privacy",
    Act.LEDGER_EXPORTED: "the export of the ledger",
    Act.LEDGER_EXPIRED: "retention",
    Act.LEDGER_REKEYED: "tests/unit/cli/test_keys_rotate.py",
    Act.LEDGER_RECOVERED: "anchors",
}


def refused(act: Callable[..., Any], *arguments: Any) -> None:
    with pytest.raises(GovernanceError):
        act(*arguments)


def ask(who: Actor, ref: VersionRef = CHURN) -> Request:
    return Request(who, ref, "because")


def prepare_release(registry: InProcessRegistry) -> None:
    """A version from its registration to Staging, and what is refused on the way."""
    ports = registry.ports
    registry.outcomes.spoiled[Kind.SIGNATURE] = Outcome.failed("nobody signed it")
    registry.settle(registry.register("churn"))
    registry.outcomes.spoiled.clear()  # from here on under another trust policy
    registry.settle(CHURN)
    refused(admit, ports, ask(PIA), "registry")
    refused(attach, ports, ask(ALICE), replace(ITEM, data=b"no statement"))
    attach(ports, ask(ALICE), ITEM)
    transition(ports, ask(ALICE), Stage.STAGING)
    refused(transition, ports, ask(ALICE), Stage.APPROVED)
    refused(move_alias, ports, ask(SAM), AliasMove("champion"), lambda: None)
    refused(approve, ports, ask(ALICE), "security", "approve")
    approve(ports, ask(SUE), "security", "approve")
    approve(ports, ask(SUE), "security", "withdraw")
    refused(rejudge, replace(ports, artifacts=changed(registry)), ask(ALICE))


def changed(registry: InProcessRegistry) -> Any:
    """The artifact store with other bytes in the model."""
    other = type(registry.artifacts)(registry.artifacts.root.parent / "changed")
    (other.root / "churn-1").mkdir(parents=True)
    (other.root / "churn-1" / "model.bin").write_text("other bytes")
    return other


def release(registry: InProcessRegistry) -> None:
    """Released, handed out, judged again, and withdrawn."""
    ports = registry.ports
    approve(ports, ask(SAM), "security", "approve")
    approve(ports, ask(PIA), "product", "approve")
    transition(ports, ask(PIA), Stage.APPROVED)
    rejudge(ports, ask(ALICE))
    count = DownloadCount(ports.store, DownloadEntries(), ports.clock)
    admit(replace(ports, permitted=count), ask(PIA), "registry")
    count.flush()
    row = {"workspace": "default", "name": "churn", "alias": "champion", "version": 1}
    move_alias(ports, ask(SAM), AliasMove("champion"), lambda: None)
    run(registry, sa.insert(model_aliases).values(row))
    move_alias(ports, ask(SAM), AliasMove("champion", 1, delete=True), lambda: None)
    refused(delete_version, ports, ask(ALICE), lambda: None)
    registry.outcomes.spoiled = {Kind.VULNERABILITIES: Outcome.passed(vulnerabilities=[SEVERE])}
    list(rejudge_all(ports, [Stage.APPROVED]))
    refused(withdraw, ports, ask(EVE), Stage.REVOKED)
    withdraw(ports, ask(SAM), Stage.REVOKED)
    rejudge_fails(registry)


def rejudge_fails(registry: InProcessRegistry) -> None:
    registry.outcomes.spoiled = {}
    ref = registry.accepted("fraud")
    registry.outcomes.spoiled = {Kind.SIGNATURE: Outcome.failed("withdrawn")}
    rejudge(registry.ports, ask(ALICE, ref))
    run(registry, sa.update(ours.versions).where(ours.versions.c.name == "fraud")
        .values(submitter="mallory"))  # fmt: skip
    refused(transition, registry.ports, ask(ALICE, ref), Stage.STAGING)


def administer(registry: InProcessRegistry) -> None:
    """Models, webhooks and accounts."""
    ports = registry.ports
    record_start(ports, {}, {"auth": "basic"})
    delete_version(ports, ask(ALICE, registry.accepted("again")), lambda: None)
    change_model(ports, ROOT, ModelChange(Act.MODEL_DELETED, "delete", "a", "default"), int)
    change_model(ports, ROOT, ModelChange(Act.MODEL_RENAMED, "rename", "b", "default"), int)
    change = ModelChange(Act.MODEL_DELETED, "delete", "churn", "default")
    refused(change_model, ports, ROOT, change, int)
    change_webhook(ports, ROOT, "create", lambda: (None, {"webhook_id": "6f3b"}))
    register_ungoverned(ports, ALICE, "scratch-*", lambda: (VersionRef("scratch-x", 1), None))
    record_account(ports, ROOT, AccountChange("users/create", "ann"))
    record_account_refused(ports, EVE, AccountChange("users/update-admin", "eve"))


def change_policy(registry: LivingRegistry) -> None:
    """Another policy by approvals."""
    board = registry.board
    refused(lambda: propose(board, PIA, "why", archive=PRINTING.archive()))
    propose(board, PIA, "severities of 2027", archive=STRICTER.archive())
    refused(speak, board, EVE, STRICTER.digest, "approve", "why")
    for who in (ALICE, SAM):
        speak(board, who, STRICTER.digest, "approve", "as agreed")
    for who in (EVE, ROOT):  # one is no administrator, and for the other approvals are missing
        refused(activate, board, who, shipped().digest, "why")


def run(registry: InProcessRegistry, statement: sa.Executable) -> None:
    with registry.sessions.engine.begin() as connection:
        assert connection.execute(statement).rowcount == 1


@pytest.fixture(scope="module")
def entries(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """A registry that has seen everything."""
    registry = LivingRegistry(tmp_path_factory.mktemp("acts"), quorum=SECURITY)
    prepare_release(registry)
    release(registry)
    administer(registry)
    change_policy(registry)
    registry.ledger.verify(registry.ledger_key)
    found = [canonical.decode_object(data) for _, data in registry.ledger.entries()]
    registry.sessions.dispose()
    return found


@pytest.mark.parametrize("act", WRITTEN)
def test_the_act_is_an_entry_allowed_and_denied(entries: list[dict[str, Any]], act: Act) -> None:
    assert {entry["allowed"] for entry in entries if entry["act"] == act} == WRITTEN[act]


def test_every_act_is_on_the_list() -> None:
    assert {*WRITTEN, *ELSEWHERE} == set(Act)
    assert not WRITTEN.keys() & ELSEWHERE.keys()


def test_what_is_refused_without_an_act_of_its_own_says_what_was_asked(
    entries: list[dict[str, Any]],
) -> None:
    asked = [e["facts"]["asked"] for e in entries if e["act"] == Act.REQUEST_REFUSED]
    assert asked == ["judge changed files", "delete", "delete", "activate policy"]


def test_no_entry_names_anybody(entries: list[dict[str, Any]]) -> None:
    told = canonical.encode(entries).decode()
    for person in ("alice", "sam", "sue", "pia", "eve", "ann", "root", "mallory", "because"):
        assert f'"{person}"' not in told
