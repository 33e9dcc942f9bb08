"""The state of the registry comes out of its ledger, whole and in order."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from mlflow_governance.core.event import Act
from mlflow_governance.ledger.entry import opens
from mlflow_governance.ledger.replay import Replay
from mlflow_governance.ledger.told import AliasKey, Pointing, Ref
from tests.unit.ledger.builders import encoded

DIGEST = "sha256:" + "d" * 64
OTHER = "sha256:" + "e" * 64
REF = Ref("default", "churn", 3)


class Story:
    """Entries one after the other, as the workflows write them."""

    def __init__(self) -> None:
        self.told = Replay()

    def tell(self, act: Act, **changes: Any) -> Replay:
        uid, version = changes.pop("uid", "u1"), changes.pop("version", 3)
        digest = changes.pop("digest", DIGEST)
        subject = {
            "name": "churn", "version": version, "workspace": "default", "uid": uid,
            "digest": digest,
        }  # fmt: skip
        index = self.told.size
        self.told.apply(index, encoded(index, act=act, **({"subject": subject} | changes)))
        return self.told

    def registered(self, **changes: Any) -> Replay:
        return self.tell(
            Act.VERSION_REGISTERED,
            **({"before": {}, "after": state("None"), "digest": None} | changes),
        )

    def moved(self, before: str, after: str, **changes: Any) -> Replay:
        act = Act.VERSION_REVOKED if after == "Revoked" else Act.VERSION_TRANSITIONED
        return self.tell(act, before=state(before), after=state(after), **changes)

    def alias(self, alias: str, before: int | None, after: int | None, **changes: Any) -> Replay:
        act = Act.ALIAS_DELETED if after is None else Act.ALIAS_MOVED
        action = {
            "alias": alias.lower(), "as_written": alias, "from_version": before,
            "to_version": after,
        }  # fmt: skip
        version = after or before
        return self.tell(act, **({"facts": {"action": action}, "version": version} | changes))


@pytest.fixture
def story() -> Story:
    return Story()


def state(stage: str) -> dict[str, Any]:
    return {"stage": stage, "policy_digest": OTHER, "trust_digest": None}


def test_a_version_has_the_stage_digest_and_decision_of_its_last_move(story: Story) -> None:
    story.registered()
    told = story.moved("None", "Candidate", decision_id="d1", decision_digest=OTHER)

    version = told.at(REF)
    assert version is not None
    assert (version.stage, version.digest, version.decision_id) == ("Candidate", DIGEST, "d1")
    assert version.state["policy_digest"] == OTHER
    assert told.decisions == {"d1": OTHER}
    assert told.problems == []


def test_a_refused_act_changes_nothing_but_the_digest_at_none(story: Story) -> None:
    story.registered()
    story.tell(Act.VERSION_REFUSED, before=state("None"), after=state("None"), allowed=False)
    told = story.moved("None", "Candidate", allowed=False, digest=OTHER)

    version = told.at(REF)
    assert version is not None
    assert (version.stage, version.digest) == ("None", DIGEST)


def test_quarantine_remembers_where_a_version_returns_to_and_blocks_its_content(
    story: Story,
) -> None:
    story.registered()
    story.moved("None", "Candidate")
    told = story.moved("Candidate", "Quarantined")
    assert told.versions["u1"].quarantined_from == "Candidate"
    assert told.blocked() == {DIGEST: "Quarantined"}

    story.moved("Quarantined", "Candidate")
    assert told.versions["u1"].quarantined_from is None
    assert told.blocked() == {}
    assert told.problems == []


def test_a_revoked_version_blocks_its_content_even_where_another_is_only_quarantined(
    story: Story,
) -> None:
    for uid, version, stage in (("u1", 3, "Revoked"), ("u2", 4, "Quarantined")):
        story.registered(uid=uid, version=version)
        story.moved("None", stage, uid=uid, version=version)

    assert story.told.blocked() == {DIGEST: "Revoked"}


def test_content_that_is_hashed_after_its_withdrawal_is_blocked_then(story: Story) -> None:
    story.registered()
    told = story.moved("None", "Quarantined", digest=None)
    assert told.blocked() == {}

    story.moved("Quarantined", "Quarantined")
    assert told.blocked() == {DIGEST: "Quarantined"}
    assert told.versions["u1"].quarantined_from == "None"
    assert told.problems == []


def test_a_deleted_version_is_remembered_and_its_name_and_number_may_be_used_again(
    story: Story,
) -> None:
    story.registered()
    story.alias("champion", None, 3)
    told = story.tell(Act.VERSION_DELETED, before=state("None"), after={})
    assert told.at(REF) is None
    assert told.was_deleted(REF)
    assert list(told.living()) == []
    assert told.aliases == {AliasKey("default", "churn", "champion"): Pointing(None, None)}

    story.registered(uid="u2")
    again = told.at(REF)
    assert again is not None
    assert again.uid == "u2"
    assert told.problems == []


def test_an_alias_points_where_it_was_moved_last_as_it_was_written(story: Story) -> None:
    story.registered()
    story.registered(uid="u4", version=4)
    story.alias("Champion", None, 3)
    told = story.alias("Champion", 3, 4, uid="u4")
    key = AliasKey("default", "churn", "Champion")
    assert told.aliases == {key: Pointing(4, 3)}

    story.alias("Champion", 4, 4, uid="u4")
    assert told.aliases[key] == Pointing(4, 3)

    story.alias("Champion", 4, None, uid="u4")
    assert told.aliases[key] == Pointing(None, 4)


def test_an_approval_keeps_a_commitment_and_no_name(story: Story) -> None:
    story.registered()
    told = story.tell(
        Act.APPROVAL_GIVEN, person="sam", before=state("None"), after=state("None"),
        facts={"role": "security", "decision": "approve", "policy_digest": OTHER,
               "approval": "a1", "supersedes": None},
    )  # fmt: skip

    (approval,) = told.approvals
    assert (approval.role, approval.policy_digest, approval.place) == ("security", OTHER, 1)
    assert "sam" not in repr(told.approvals)


def word(story: Story, act: Act, **facts: Any) -> Replay:
    said = {"role": "security", "decision": "approve", "policy_digest": OTHER, "supersedes": None}
    return story.tell(act, before=state("None"), after=state("None"), facts=said | facts)


def test_a_word_that_was_taken_back_or_superseded_is_withdrawn(story: Story) -> None:
    story.registered()
    word(story, Act.APPROVAL_GIVEN, approval="a1")
    word(story, Act.APPROVAL_GIVEN, approval="a2", supersedes="a1")
    told = word(story, Act.APPROVAL_WITHDRAWN, approval="a2")

    assert told.withdrawn == {"a1": 2, "a2": 3}
    assert told.problems == []


@pytest.mark.parametrize("facts", [{"approval": "a2"}, {"approval": "a1", "role": "product"}])
def test_taking_back_what_nobody_said_is_a_contradiction(
    story: Story, facts: dict[str, str]
) -> None:
    story.registered()
    word(story, Act.APPROVAL_GIVEN, approval="a1")
    told = word(story, Act.APPROVAL_WITHDRAWN, **facts)

    assert len(told.problems) == 1


def test_a_word_is_taken_back_once(story: Story) -> None:
    story.registered()
    word(story, Act.APPROVAL_GIVEN, approval="a1")
    word(story, Act.APPROVAL_WITHDRAWN, approval="a1")
    told = word(story, Act.APPROVAL_WITHDRAWN, approval="a1")

    assert len(told.problems) == 1


def test_an_adopted_version_has_no_submitter(story: Story) -> None:
    told = story.registered(before={"stage": "Production"})
    assert told.versions["u1"].submitter is None

    told = story.registered(uid="u2", version=4, person="ann")
    salt = hashlib.sha256(b"1").digest()
    assert opens(str(told.versions["u2"].submitter), salt, "ann")


def test_a_confirmation_that_was_overtaken_does_not_bring_a_stage_back(story: Story) -> None:
    story.registered()
    story.moved("None", "Candidate", decision_id="d1")
    story.moved("Candidate", "Staging", decision_id="d2")
    told = story.tell(
        Act.VERSION_REJUDGED, before=state("Candidate"), after=state("Candidate"),
        decision_id="d3", facts={"gate": "accept"},
    )  # fmt: skip

    assert (told.versions["u1"].stage, told.versions["u1"].bound) == ("Staging", "d2")
    assert told.problems == []


@pytest.mark.parametrize(
    ("name", "act"),
    [
        ("a stage it was not in", lambda s: s.moved("Staging", "Approved")),
        ("a way the life cycle has not", lambda s: s.moved("None", "Approved")),
        ("a version twice", lambda s: s.registered()),
        ("a version nobody registered", lambda s: s.moved("None", "Candidate", uid="nobody")),
        ("no stage at all", lambda s: s.tell(Act.VERSION_TRANSITIONED, before={}, after={})),
        ("another name", lambda s: s.moved("None", "Candidate", version=9)),
    ],
)
def test_an_entry_that_contradicts_those_before_is_named(story: Story, name: str, act: Any) -> None:
    story.registered()
    act(story)

    assert [problem.place for problem in story.told.problems] == [1], name


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b'{"index":0}', b"\xff", b'{"index":"0"}'])
def test_bytes_that_are_no_entry_are_a_problem_and_stop_nothing(story: Story, data: bytes) -> None:
    story.told.apply(0, data)
    story.registered()

    assert story.told.problems[0].place == 0
    assert story.told.at(REF) is not None
