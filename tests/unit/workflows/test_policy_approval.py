"""Another policy by approvals: who may say what, what a word is bound to, and what comes of it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mlflow_governance.core.actor import Actor
from mlflow_governance.core.digest import of_bytes
from mlflow_governance.errors import (
    Conflict,
    Denied,
    InvalidRequest,
    NotFound,
    Unauthenticated,
    VerificationError,
)
from mlflow_governance.policy.bundle import Bundle
from mlflow_governance.policy.interface import PolicyInForce
from mlflow_governance.workflows.policy_approval import Spoken, propose, speak
from mlflow_governance.workflows.policy_change import activate
from mlflow_governance.workflows.policy_ports import ProposalState, Quorum
from tests.unit.policy.builders import configured, shipped
from tests.unit.workflows.builders import ALICE, NOBODY, PIA, ROOT, SAM
from tests.unit.workflows.policy_builders import LAXER, SECURITY, STRICTER, LivingRegistry
from tests.unit.workflows.test_live_policies import PRINTING, UNREADABLE, Server, remote

SUE = Actor("sue", ("security",), authenticated=True)


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[LivingRegistry]:
    made = LivingRegistry(tmp_path, quorum=SECURITY)
    yield made
    made.sessions.dispose()


def proposed(registry: LivingRegistry, bundle: Bundle = STRICTER, by: Actor = PIA) -> None:
    propose(registry.board, by, "severities of 2027", archive=bundle.archive())


def approve(registry: LivingRegistry, by: Actor, bundle: Bundle = STRICTER) -> Spoken:
    return speak(registry.board, by, bundle.digest, "approve", "as agreed")


def test_a_new_bundle_in_the_source_waits_to_be_proposed(registry: LivingRegistry) -> None:
    registry.put(STRICTER)

    assert registry.now == shipped().digest
    assert "policy propose" in registry.live.report().note
    assert registry.live.report().digest == STRICTER.digest


def test_a_source_that_still_has_what_was_replaced_is_not_called_new(
    registry: LivingRegistry,
) -> None:
    proposed(registry)
    for who in (ALICE, SAM):
        approve(registry, who)
    registry.look(2)

    assert registry.now == STRICTER.digest
    note = registry.live.report().note
    assert note.startswith(f"{shipped().digest} was in force before")
    assert f"policy propose {shipped().digest}" in note


def test_the_last_approval_puts_a_bundle_into_force(registry: LivingRegistry) -> None:
    proposed(registry)
    first = approve(registry, ALICE)
    assert (first.ballot.given, registry.now) == (1, shipped().digest)

    last = approve(registry, SAM)

    entry = registry.told("policy.changed")[-1]
    assert last.proposal.state is ProposalState.DONE
    assert registry.now == STRICTER.digest
    assert entry["facts"]["how"] == "proposal"
    assert entry["facts"]["decision"] == {
        "gate": "policy",
        "allow": True,
        "checks": dict.fromkeys(("POL-001", "POL-002", "POL-003", "POL-004"), True),
        "reasons": [],
        "policy_digest": STRICTER.digest,
        "before": shipped().digest,
    }
    words = registry.told("policy.approved")
    assert [w["facts"]["role"] for w in words] == ["security", "security"]
    with registry.ports.store.read() as reading:
        kept = reading.kept_policy(STRICTER.digest)
        assert kept is not None
        assert reading.private_at(kept.position)["actor"] == "sam"


def test_people_are_named_in_no_entry(registry: LivingRegistry) -> None:
    proposed(registry)
    approve(registry, ALICE)
    approve(registry, SAM)

    told = str([registry.told(f"policy.{act}") for act in ("proposed", "approved", "changed")])
    for word in ("pia", "alice", "'sam", "severities of 2027", "as agreed"):
        assert word not in told


@pytest.mark.parametrize(
    ("by", "why"),
    [
        (SUE, "proposed"),
        (replace(SUE, id=" SUE", admin=True), "proposed"),
        (ROOT, "none of the roles"),
        (Actor("joe", ("product",), authenticated=True), "none of the roles"),
    ],
)
def test_who_may_not_approve_is_refused_and_recorded(
    registry: LivingRegistry, by: Actor, why: str
) -> None:
    proposed(registry, by=SUE)

    with pytest.raises(Denied, match=why):
        approve(registry, by)

    assert [w["allowed"] for w in registry.told("policy.approved")] == [False]
    with registry.ports.store.read() as reading:
        assert reading.words_of(reading.proposals()[0].uid) == []


def test_one_person_counts_once_however_the_name_is_spelt(registry: LivingRegistry) -> None:
    proposed(registry)
    approve(registry, ALICE)
    again = approve(registry, replace(ALICE, id=" Alice "))

    assert again.ballot.given == 1
    assert registry.now == shipped().digest


def test_a_rejection_stands_in_the_way_until_its_author_thinks_again(
    registry: LivingRegistry,
) -> None:
    proposed(registry)
    speak(registry.board, SUE, STRICTER.digest, "reject", "not tested")
    approve(registry, ALICE)
    approve(registry, SAM)
    assert registry.now == shipped().digest

    approve(registry, SUE)
    assert registry.now == STRICTER.digest


def test_who_proposed_may_take_it_back(registry: LivingRegistry) -> None:
    proposed(registry)
    approve(registry, ALICE)
    gone = speak(registry.board, PIA, STRICTER.digest, "reject", "a mistake")

    assert gone.proposal.state is ProposalState.VOID
    with pytest.raises(NotFound, match="not any more"):
        approve(registry, SAM)
    proposed(registry)
    assert approve(registry, SAM).ballot.given == 1


def test_a_change_in_between_voids_what_was_proposed_and_said(registry: LivingRegistry) -> None:
    proposed(registry)
    approve(registry, ALICE)
    proposed(registry, LAXER)
    approve(registry, ALICE, LAXER)
    approve(registry, SAM, LAXER)

    with pytest.raises(NotFound):
        approve(registry, SAM)
    assert registry.now == LAXER.digest
    # Back to the first bundle: the old proposal does not rise again.
    propose(registry.board, PIA, "back", digest=shipped().digest)
    approve(registry, ALICE, shipped())
    approve(registry, SAM, shipped())
    assert registry.now == shipped().digest
    with pytest.raises(NotFound):
        approve(registry, SAM)


@pytest.mark.parametrize(
    ("bundle", "failed"), [(UNREADABLE, "POL-001"), (PRINTING, "POL-003"), (None, "POL-001")]
)
def test_what_is_not_fit_cannot_be_proposed_and_that_is_recorded(
    registry: LivingRegistry, bundle: Bundle | None, failed: str
) -> None:
    archive = bundle.archive() if bundle else b"no archive"
    with pytest.raises(Denied, match=failed) as caught:
        propose(registry.board, PIA, "try", archive=archive)

    (entry,) = registry.told("policy.proposed")
    assert not entry["allowed"]
    assert entry["facts"]["decision"]["checks"][failed] is False
    assert "mlflow-governance policy check" in caught.value.advice


def test_an_unsigned_bundle_cannot_be_proposed_where_signatures_are_asked_for(
    registry: LivingRegistry,
) -> None:
    def unsigned(archive: bytes) -> Bundle:
        raise VerificationError("nobody signed it", advice="sign it")

    registry.shelf.opened = unsigned

    with pytest.raises(Denied, match="POL-002"):
        proposed(registry)


def test_nobody_proposes_without_a_name_or_a_reason(registry: LivingRegistry) -> None:
    with pytest.raises(Unauthenticated):
        proposed(registry, by=NOBODY)
    with pytest.raises(InvalidRequest, match="reason"):
        propose(registry.board, PIA, " ", archive=STRICTER.archive())
    with pytest.raises(Unauthenticated):
        approve(registry, NOBODY)


def test_the_same_is_proposed_once_and_what_is_in_force_never(registry: LivingRegistry) -> None:
    proposed(registry)
    with pytest.raises(Conflict, match="already"):
        proposed(registry, by=SAM)
    with pytest.raises(Conflict, match="in force already"):
        proposed(registry, shipped())
    with pytest.raises(NotFound):
        propose(registry.board, PIA, "x", digest=of_bytes(b"never"))


def test_nobody_fills_the_list_of_proposals(registry: LivingRegistry) -> None:
    for number in range(3):
        proposed(registry, configured(blocking_cvss=5.0 + number))
    with pytest.raises(Conflict, match="3 of them yours"):
        proposed(registry)
    proposed(registry, by=SAM)


def test_two_last_approvals_at_once_put_it_into_force_once(tmp_path: Path) -> None:
    one = LivingRegistry(tmp_path, quorum=SECURITY)
    two = LivingRegistry(tmp_path, quorum=SECURITY)
    proposed(one)
    approve(one, ALICE)
    errors: list[Exception] = []

    def last(registry: LivingRegistry, by: Actor) -> None:
        try:
            approve(registry, by)
        except (Conflict, NotFound) as error:
            errors.append(error)

    threads = [threading.Thread(target=last, args=pair) for pair in ((one, SAM), (two, SUE))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(errors) == 1
    assert len([e for e in one.told("policy.changed") if e["allowed"]]) == 2
    assert one.live.refresh().digest == two.live.refresh().digest == STRICTER.digest


def test_an_approved_bundle_waits_for_the_policy_server(tmp_path: Path) -> None:
    server = Server()
    registry = LivingRegistry(tmp_path, quorum=SECURITY, engines=remote(server))
    proposed(registry)
    approve(registry, ALICE)
    spoken = approve(registry, SAM)
    assert spoken.waits
    assert registry.now == shipped().digest

    server.serving = STRICTER
    registry.look()
    assert registry.now == STRICTER.digest


def test_an_administrator_has_no_way_round(registry: LivingRegistry) -> None:
    proposed(registry)
    approve(registry, ALICE)
    approve(registry, SAM)

    with pytest.raises(Denied, match="POL-004") as caught:
        activate(registry.board, ROOT, shipped().digest, "quick")

    assert "policy propose" in caught.value.advice
    assert registry.now == STRICTER.digest
    assert registry.told("policy.changed")[-1]["allowed"] is False


def test_an_administrator_returns_to_an_earlier_bundle_where_nobody_is_asked(
    tmp_path: Path,
) -> None:
    registry = LivingRegistry(tmp_path)
    registry.put(STRICTER)
    board = registry.board

    with pytest.raises(Denied, match="no administrator"):
        activate(board, SAM, shipped().digest, "quick")
    assert registry.told("request.refused")[-1]["facts"]["asked"] == "activate policy"
    with pytest.raises(NotFound, match="ever in force"):
        activate(board, ROOT, LAXER.digest, "quick")
    with pytest.raises(Conflict, match="already"):
        activate(board, ROOT, STRICTER.digest, "quick")
    activate(board, ROOT, shipped().digest, "it denied too much")

    assert registry.now == shipped().digest
    assert registry.told("policy.changed")[-1]["facts"]["how"] == "activation"
    registry.look(3)  # the source still has the other
    assert registry.now == shipped().digest


def test_nothing_is_proposed_where_nobody_is_asked(tmp_path: Path) -> None:
    registry = LivingRegistry(tmp_path)
    with pytest.raises(Conflict, match="from its source"):
        proposed(registry)


def test_a_bundle_that_is_not_fit_any_more_is_not_approved_into_force(
    registry: LivingRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow_governance.workflows import policy_verdict

    proposed(registry)
    approve(registry, ALICE)
    monkeypatch.setattr(policy_verdict, "lint", lambda bundle: ["a rule nobody knew then"])

    spoken = approve(registry, SAM)

    assert spoken.proposal.state is ProposalState.OPEN
    assert registry.now == shipped().digest
    assert registry.told("policy.changed")[-1]["facts"]["decision"]["checks"]["POL-003"] is False


def test_who_may_not_speak_has_nothing_compiled(
    registry: LivingRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    proposed(registry)
    monkeypatch.setattr(registry.live, "prepare", lambda bundle: pytest.fail("it was compiled"))

    for by in (PIA, ROOT):
        with pytest.raises(Denied):
            approve(registry, by)

    assert [w["allowed"] for w in registry.told("policy.approved")] == [False, False]


def test_one_proposal_is_examined_at_a_time(
    registry: LivingRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare = registry.live.prepare
    refused: list[Conflict] = []

    def slow(bundle: Bundle) -> PolicyInForce:
        with pytest.raises(Conflict, match="being examined") as caught:
            proposed(registry, LAXER, by=SAM)
        refused.append(caught.value)
        return prepare(bundle)

    monkeypatch.setattr(registry.live, "prepare", slow)
    proposed(registry)
    monkeypatch.undo()

    assert len(refused) == 1
    proposed(registry, LAXER, by=SAM)


def test_a_word_in_a_role_that_is_not_asked_for_any_more_counts_for_nothing(
    registry: LivingRegistry, tmp_path: Path
) -> None:
    proposed(registry)
    approve(registry, ALICE)
    later = LivingRegistry(tmp_path, quorum=Quorum(2, ("board",)))

    last = approve(later, Actor("bea", ("board",), authenticated=True))

    assert last.ballot.given == 1
    assert later.now == shipped().digest
