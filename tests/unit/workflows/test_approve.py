"""A person's word: given, superseded, taken back; table and ledger tell the same of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mlflow_governance.core import canonical
from mlflow_governance.core.actor import Actor
from mlflow_governance.core.dossier import Gate
from mlflow_governance.core.event import Act
from mlflow_governance.core.model_ref import VersionRef
from mlflow_governance.core.stage import Stage
from mlflow_governance.errors import Conflict, Denied, InvalidRequest, Unauthenticated
from mlflow_governance.ledger.replay import Replay
from mlflow_governance.workflows.approve import approve
from mlflow_governance.workflows.judge import judge
from mlflow_governance.workflows.ports import Request
from mlflow_governance.workflows.promote import rejudge, transition
from mlflow_governance.workflows.record import write_allowed
from mlflow_governance.workflows.repeats import FIRST, PERIOD, sum_up
from tests.unit.workflows.builders import ALICE, NOBODY, PIA, SAM, Clock
from tests.unit.workflows.watched import Watched


@pytest.fixture
def registry(tmp_path: Path) -> Watched:
    return Watched(tmp_path)


def staged(registry: Watched) -> VersionRef:
    ref = registry.accepted("churn")
    transition(registry.ports, Request(ALICE, ref), Stage.STAGING)
    return ref


def say(registry: Watched, ref: VersionRef, actor: Actor, role: str, decision: str) -> Any:
    return approve(registry.ports, Request(actor, ref, "because"), role, decision)


def last(registry: Watched) -> dict[str, Any]:
    *_, (_, data) = registry.ledger.entries()
    return canonical.decode_object(data)


def counting(registry: Watched, ref: VersionRef) -> set[str]:
    with registry.ports.store.read() as reading:
        return {word.uid for word in reading.approvals(registry.record(ref).uid)}


def told(registry: Watched) -> Replay:
    replay = Replay()
    for index, data in registry.ledger.entries():
        replay.apply(index, data)
    return replay


def test_a_word_taken_back_counts_no_more_and_is_an_entry(registry: Watched) -> None:
    ref = staged(registry)
    word = say(registry, ref, SAM, "security", "approve")
    revision = registry.record(ref).revision

    assert say(registry, ref, SAM, "Security ", "withdraw") == word

    entry = last(registry)
    assert (entry["act"], entry["allowed"]) == (Act.APPROVAL_WITHDRAWN, True)
    assert entry["facts"] == {"role": "security", "decision": "approve", "approval": word.uid}
    assert counting(registry, ref) == set()
    assert registry.record(ref).revision > revision
    assert "sam" not in str(entry)


def test_the_ledger_tells_the_words_that_count_as_the_table_does(registry: Watched) -> None:
    ref = staged(registry)
    for actor, role, decision in (
        (SAM, "security", "approve"),
        (SAM, "security", "reject"),
        (SAM, "security", "withdraw"),
        (SAM, "security", "approve"),
        (PIA, "product", "reject"),
        (PIA, "product", "approve"),
    ):
        say(registry, ref, actor, role, decision)

    replay = told(registry)
    given = {word.approval for word in replay.approvals}
    assert given - replay.withdrawn.keys() == counting(registry, ref)
    assert (len(given), len(replay.withdrawn), replay.problems) == (5, 3, [])
    registry.settled()
    assert registry.findings() == []


@pytest.mark.parametrize("actor", [ALICE, PIA, NOBODY], ids=lambda actor: actor.person)
def test_nobody_takes_back_the_word_of_somebody_else(registry: Watched, actor: Actor) -> None:
    ref = staged(registry)
    word = say(registry, ref, SAM, "security", "approve")

    with pytest.raises(Unauthenticated if actor is NOBODY else Denied):
        say(registry, ref, actor, "security", "withdraw")

    assert counting(registry, ref) == {word.uid}
    entry = last(registry)
    assert (entry["act"], entry["allowed"]) == (Act.APPROVAL_REFUSED, False)
    assert entry["facts"]["decision"] == "withdraw"


def test_a_word_is_taken_back_once_and_with_a_reason(registry: Watched) -> None:
    ref = staged(registry)
    say(registry, ref, SAM, "security", "approve")
    with pytest.raises(InvalidRequest):
        approve(registry.ports, Request(SAM, ref), "security", "withdraw")
    say(registry, ref, SAM, "security", "withdraw")
    with pytest.raises(Denied, match="nothing that sam said"):
        say(registry, ref, SAM, "security", "withdraw")


def test_who_lost_the_role_may_still_take_back_what_was_said_in_it(registry: Watched) -> None:
    ref = staged(registry)
    say(registry, ref, SAM, "security", "approve")

    say(registry, ref, Actor("sam", (), authenticated=True), "security", "withdraw")

    assert counting(registry, ref) == set()


def test_a_release_stands_and_fails_when_judged_again(registry: Watched) -> None:
    ref = registry.approved("churn")
    say(registry, ref, SAM, "security", "withdraw")

    judgement = rejudge(registry.ports, Request(ALICE, ref))

    assert not judgement.decision.allow
    assert registry.record(ref).stage is Stage.APPROVED
    entry = last(registry)
    assert (entry["act"], entry["allowed"]) == (Act.VERSION_REJUDGED, False)
    registry.settled()
    assert registry.findings() == []


def test_a_release_that_was_judged_before_the_word_was_taken_back_is_not_written(
    registry: Watched,
) -> None:
    ref = staged(registry)
    say(registry, ref, SAM, "security", "approve")
    action = {"from": "Staging", "to": "Approved", "reason": ""}
    judgement = judge(registry.ports, Gate.PROMOTE, Request(PIA, ref), action)
    say(registry, ref, SAM, "security", "withdraw")

    target = judgement.record.with_(stage=Stage.APPROVED)
    with pytest.raises(Conflict), registry.ports.store.begin() as uow:
        write_allowed(registry.ports, uow, judgement, Act.VERSION_TRANSITIONED, target)


def test_a_loop_of_refused_words_is_a_few_entries_and_a_number(registry: Watched) -> None:
    ref = staged(registry)
    before = sum(1 for _ in registry.ledger.entries())
    for number in range(20):
        with pytest.raises(Denied):
            say(registry, ref, ALICE, f"role-{number}", "approve")  # ALICE submitted it

    assert sum(1 for _ in registry.ledger.entries()) == before + FIRST
    assert isinstance(registry.ports.clock, Clock)
    registry.ports.clock.now += PERIOD
    assert sum_up(registry.ports) == 20 - FIRST
    assert (last(registry)["act"], last(registry)["allowed"]) == (Act.APPROVAL_REFUSED, False)
    assert last(registry)["facts"]["repeats"] == 20 - FIRST
    assert told(registry).problems == []
    assert counting(registry, ref) == set()
