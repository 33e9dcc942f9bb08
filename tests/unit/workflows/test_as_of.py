"""What the registry was at an instant: as it was photographed then, from the ledger alone."""

from __future__ import annotations

import random
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from mlflow_governance.core import canonical, moment
from mlflow_governance.core.event import Act
from mlflow_governance.core.model_ref import VersionRef
from mlflow_governance.core.stage import Stage, next_stage
from mlflow_governance.errors import (
    Conflict,
    Denied,
    InvalidRequest,
    LedgerError,
    NotFound,
)
from mlflow_governance.ledger.merkle import EMPTY_ROOT, leaf_hash, range_root
from mlflow_governance.store import tables as ours
from mlflow_governance.workflows.approve import approve
from mlflow_governance.workflows.as_of import Question, as_of
from mlflow_governance.workflows.chronicle import Witnessed
from mlflow_governance.workflows.ports import Request
from mlflow_governance.workflows.promote import transition
from mlflow_governance.workflows.withdraw import withdraw
from tests.unit.workflows.builders import ALICE, PIA, SAM
from tests.unit.workflows.erasing import erased
from tests.unit.workflows.told import POLICY, TRUST, TellTale, at, day, state, subject
from tests.unit.workflows.watched import Watched

NOW = at("2026-12-31T00:00:00Z")


class Life(Watched):
    """Random acts, and a photograph of the tables after each."""

    def __init__(self, folder: Path, seed: int) -> None:
        super().__init__(folder)
        self.chance = random.Random(seed)
        self.photographs: list[tuple[Any, dict[str, Any]]] = []

    def live(self, acts: int) -> None:
        self.submit()
        for _ in range(acts):
            act = self.chance.choice(
                (self.submit, self.promote, self.promote, self.promote, self.promote, self.say,
                 self.say, self.point, self.withdrawn, self.forget)
            )  # fmt: skip
            # What is refused changes nothing, and the ledger has it all the same.
            with suppress(Denied, Conflict, NotFound, InvalidRequest):
                act()
            self.photographs.append((self.ports.clock(), self.photograph()))

    def any(self) -> VersionRef:
        with self.ports.store.read() as reading:
            refs = sorted(record.ref for record in reading.versions())
        if not refs:
            raise NotFound("nothing is governed now")
        return self.chance.choice(refs)

    def submit(self) -> None:
        # Deleted names are taken again; two places hold the same content.
        name = self.chance.choice(("churn", "fraud"))
        version = self.chance.randint(1, 3)
        with self.ports.store.read() as reading:
            if reading.version(VersionRef(name, version)) is None:
                self.forget_row(name, version)
                self.accepted(name, version, location=f"place-{self.chance.randint(1, 8)}")

    def forget_row(self, name: str, version: int) -> None:
        from mlflow_governance.store.mlflow_tables import model_versions as table

        self.run(sa.delete(table).where(table.c.name == name, table.c.version == version))

    def promote(self) -> None:
        ref = self.any()
        target = next_stage(self.record(ref).stage)
        if target is not None:
            transition(self.ports, Request(PIA, ref), target)

    def say(self) -> None:
        actor, role = self.chance.choice(((SAM, "security"), (PIA, "product"), (ALICE, "security")))
        word, ref = self.chance.choice(("approve", "approve", "reject", "withdraw")), self.any()
        approve(self.ports, Request(actor, ref, "as I read it"), role, word)
        if self.chance.random() < 0.7:  # often enough everybody who must agrees
            for person, its in ((SAM, "security"), (PIA, "product")):
                approve(self.ports, Request(person, ref, "it is fine"), its, "approve")

    def point(self) -> None:
        ref, alias = self.any(), self.chance.choice(("champion", "next"))
        with self.ports.store.read() as reading:
            found = [a.version for a in reading.aliases(ref.name, "default") if a.alias == alias]
        self.alias(ref, alias, found[0] if found else None)

    def withdrawn(self) -> None:
        ref = self.any()
        record = self.record(ref)
        target = record.quarantined_from or self.chance.choice((Stage.QUARANTINED, Stage.REVOKED))
        if self.chance.random() < 0.3 or record.stage is Stage.QUARANTINED:
            withdraw(self.ports, Request(SAM, ref, "an incident"), target)

    def forget(self) -> None:
        if self.chance.random() < 0.5:
            ref = self.any()
            self.delete(ref)
            from mlflow_governance.store.mlflow_tables import model_aliases as table

            mine = (table.c.name == ref.name, table.c.version == ref.version)
            self.run(sa.delete(table).where(*mine))

    def photograph(self) -> dict[str, Any]:
        with self.ports.store.read() as reading:
            records = sorted(reading.versions(), key=lambda record: record.ref)
            return {
                "versions": [
                    (
                        str(r.ref), r.stage.value, r.decision_id, r.digest, r.submitter,
                        r.quarantined_from.value if r.quarantined_from else None,
                        sorted((w.person, w.role, w.decision) for w in reading.approvals(r.uid)),
                    )
                    for r in records
                ],
                "aliases": sorted(
                    (name, a.alias, a.version, a.before)
                    for name in ("churn", "fraud")
                    for a in reading.aliases(name, "default")
                    if a.version is not None
                ),
                "policy": reading.in_force("policy"),
                "trust": reading.in_force("trust"),
                "size": reading.ledger_size(),
            }  # fmt: skip

    def as_of(self, instant: Any, **question: Any) -> dict[str, Any]:
        witnessed = Witnessed(self.ledger, self.ledger_key)
        return as_of(witnessed, Question(instant, **question), NOW).document(self.ledger)


def developed(document: dict[str, Any]) -> dict[str, Any]:
    """The same photograph out of an answer."""
    return {
        "versions": [
            (
                f"{v['name']}/{v['version']}", v["stage"], v["decision_id"], v["digest"],
                v["submitter"], v["quarantined_from"],
                sorted((w["person"], w["role"], w["decision"]) for w in v["approvals"]),
            )
            for v in document["versions"]
        ],
        "aliases": [(a["name"], a["alias"], a["version"], a["before"])
                    for a in document["aliases"]],
        "policy": document["policy"] and document["policy"]["digest"],
        "trust": document["trust"] and document["trust"]["digest"],
        "size": document["ledger"]["size"],
    }  # fmt: skip


@pytest.mark.parametrize("seed", [1, 2])
def test_at_each_instant_it_is_as_it_was_photographed_then(tmp_path: Path, seed: int) -> None:
    life = Life(tmp_path, seed)
    life.live(50)

    for instant, photograph in life.photographs:
        document = life.as_of(instant)
        assert developed(document) == photograph
        assert document["contradictions"] == []
    stages = {stage for _, p in life.photographs for _, stage, *_ in p["versions"]}
    assert len(stages) >= 4, "the walk reached too little"
    life.sessions.dispose()


def test_what_somebody_wrote_into_the_tables_makes_no_difference(tmp_path: Path) -> None:
    life = Life(tmp_path, 4)
    life.live(20)
    instant, photograph = life.photographs[-1]
    before = life.as_of(instant)

    life.run(sa.update(ours.versions).values(stage="Approved", decision_id="nothing"))
    life.run(sa.update(ours.aliases).values(version=9))
    for table in (ours.approvals, ours.former, ours.decisions, ours.blocked, ours.in_force):
        life.run(sa.delete(table))

    assert life.as_of(instant) == before
    assert developed(before) == photograph


@pytest.mark.parametrize("how", ["edited", "removed", "forged", "column"])
def test_a_changed_ledger_is_refused_and_the_entry_named(tmp_path: Path, how: str) -> None:
    life = Life(tmp_path, 4)
    life.live(12)
    table, place = ours.ledger_entries, 5
    (_, data), *_ = life.ledger.entries(place, 1)
    mine = table.c.position == place
    if how == "removed":
        life.run(sa.delete(table).where(mine))
    elif how == "column":
        life.run(sa.text(f"UPDATE {table} SET entry = 'no bytes' WHERE position = {place}"))
    else:
        other = data.replace(b"churn", b"other").replace(b"fraud", b"other")
        assert other != data
        values = {"entry": other} | ({"leaf_hash": leaf_hash(other)} if how == "forged" else {})
        life.run(sa.update(table).where(mine).values(values))

    with pytest.raises(LedgerError) as refusal:
        life.as_of(life.photographs[-1][0])

    named = f"entry {place}" in str(refusal.value)
    assert named or (how == "forged" and "edited, replaced or moved" in str(refusal.value))


def test_a_changed_name_is_refused_and_an_erased_one_is_told_as_erased(tmp_path: Path) -> None:
    life = Life(tmp_path, 4)
    life.live(6)
    instant = life.photographs[-1][0]
    pseudonym = erased(life, "alice")
    assert {v["submitter"] for v in life.as_of(instant)["versions"]} == {pseudonym}
    life.run(sa.update(ours.private).values(text="mallory"))
    with pytest.raises(LedgerError, match="does not open its commitment"):
        life.as_of(instant)


# Instants -----------------------------------------------------------------------------------------


def asked(tale: TellTale, instant: str, **question: Any) -> dict[str, Any]:
    return as_of(tale.witnessed(), Question(at(instant), **question), NOW).document(tale)


def stages(document: dict[str, Any]) -> dict[str, str]:
    return {f"{v['name']}/{v['version']}": v["stage"] for v in document["versions"]}


@pytest.fixture
def tale() -> TellTale:
    told = TellTale()
    told.tell(Act.POLICY_CHANGED, day(1), after={"policy_digest": POLICY},
              facts={"archive_digest": POLICY, "how": "first start", "proposal": ""},
              before={"policy_digest": None})  # fmt: skip
    told.tell(Act.TRUST_CHANGED, day(1), before={"trust_digest": None},
              after={"trust_digest": TRUST})  # fmt: skip
    told.registered(day(2))
    told.moved(day(3), "None", "Candidate", reason="it is complete")
    told.moved(day(3), "Candidate", "Staging")
    told.pointed(day(4), None, 1)
    return told


def test_what_is_of_that_very_instant_counts_and_what_is_after_it_does_not(tale: TellTale) -> None:
    assert stages(asked(tale, day(3, "11:59:59.999999"))) == {"churn/1": "None"}
    assert stages(asked(tale, day(3))) == {"churn/1": "Staging"}  # of two at once, both
    assert asked(tale, day(3))["aliases"] == []
    (alias,) = asked(tale, day(4))["aliases"]
    assert (alias["alias"], alias["version"], alias["since"], alias["entry"]) == (
        "champion", 1, moment.to_text(at(day(4))), 5,
    )  # fmt: skip


def test_an_instant_means_the_same_in_every_zone(tale: TellTale) -> None:
    assert stages(asked(tale, "2026-11-03T09:00:00-03:00")) == {"churn/1": "Staging"}
    assert stages(asked(tale, "2026-11-03T12:59:59+01:00")) == {"churn/1": "None"}


def test_before_the_first_entry_nothing_was(tale: TellTale) -> None:
    document = asked(tale, day(1, "11:00:00"))

    assert document["versions"] == document["aliases"] == []
    assert document["policy"] is document["trust"] is None
    assert document["ledger"]["size"] == 0
    assert document["ledger"]["root"] == EMPTY_ROOT.hex()
    assert document["ledger"]["first"] == moment.to_text(at(day(1)))
    assert document["ledger"]["proved_size"] == 6


def test_what_is_to_come_is_refused_and_so_is_an_end_before_the_beginning(tale: TellTale) -> None:
    with pytest.raises(InvalidRequest, match="still to come"):
        asked(tale, "2027-01-01T00:00:00Z")
    with pytest.raises(InvalidRequest, match="still to come"):
        asked(tale, day(1), until=at("2027-01-01T00:00:00Z"))
    with pytest.raises(InvalidRequest, match="before the beginning"):
        asked(tale, day(2), until=at(day(1)))


def test_an_empty_ledger_says_so() -> None:
    with pytest.raises(NotFound, match="nothing was ever recorded"):
        asked(TellTale(), day(1))


def test_the_root_is_that_of_the_entries_that_count(tale: TellTale) -> None:
    document = asked(tale, day(3))

    assert document["ledger"]["size"] == 5
    assert document["ledger"]["root"] == range_root(map(leaf_hash, tale.stored[:5])).hex()


def test_it_tells_who_when_why_by_which_decision_and_under_which_policy(tale: TellTale) -> None:
    document = asked(tale, day(3))

    (version,) = document["versions"]
    assert (version["by"], version["entry"], version["decision_id"]) == ("ann", 4, "d4")
    assert document["policy"]["digest"] == POLICY
    assert document["policy"]["entry"] == 0
    assert document["trust"]["digest"] == TRUST
    assert document["trust"]["entry"] == 1


def test_an_entry_dated_back_counts_as_of_what_precedes_it_and_is_told(tale: TellTale) -> None:
    tale.moved(day(2, "13:00:00"), "Staging", "Approved")  # the clock went back by days

    document = asked(tale, day(3, "18:00:00"))

    assert stages(document) == {"churn/1": "Staging"}
    odd = {"entry": 6, "at": moment.to_text(at(day(2, "13:00:00"))),
           "behind": moment.to_text(at(day(4)))}  # fmt: skip
    assert document["backdated"] == document["left_out"] == {"count": 1, "first": [odd]}
    after = asked(tale, day(4))
    assert stages(after) == {"churn/1": "Approved"}
    assert (after["backdated"]["count"], after["left_out"]["count"]) == (1, 0)


def test_a_name_taken_again_is_another_version(tale: TellTale) -> None:
    tale.tell(Act.VERSION_DELETED, day(5), subject=subject("churn", 1), before=state("Staging"))
    tale.registered(day(6), uid="second")
    tale.moved(day(7), "None", "Candidate", uid="second")

    assert stages(asked(tale, day(4))) == {"churn/1": "Staging"}
    gone = asked(tale, day(5))
    assert gone["versions"] == gone["aliases"] == []
    (again,) = asked(tale, day(7))["versions"]
    assert (again["uid"], again["stage"], again["aliases"]) == ("second", "Candidate", [])


def test_workspaces_are_kept_apart_and_names_are_chosen_by_a_pattern(tale: TellTale) -> None:
    tale.registered(day(5), workspace="lab")
    tale.registered(day(5), name="fraud")
    tale.pointed(day(6), None, 1, alias="lab-own", workspace="lab")

    whole = asked(tale, day(6))
    assert [(v["workspace"], v["name"]) for v in whole["versions"]] == [
        ("default", "churn"), ("default", "fraud"), ("lab", "churn"),
    ]  # fmt: skip
    assert [v["aliases"] for v in whole["versions"]] == [["champion"], [], ["lab-own"]]
    assert len(asked(tale, day(6), workspace="lab")["versions"]) == 1
    assert stages(asked(tale, day(6), model="fr*")) == {"fraud/1": "None"}
    assert asked(tale, day(6), model="fr*")["aliases"] == []


def test_a_model_that_was_renamed_had_no_governed_version_and_changes_none(tale: TellTale) -> None:
    before = asked(tale, day(5))
    tale.tell(Act.MODEL_RENAMED, day(5), subject={"name": "draft", "workspace": "default"},
              facts={"new_name": "churn"})  # fmt: skip
    after = asked(tale, day(5))
    assert (after["versions"], after["aliases"]) == (before["versions"], before["aliases"])
    assert after["contradictions"] == []


def test_what_changed_between_two_instants_is_told_with_who_and_why(tale: TellTale) -> None:
    tale.registered(day(3, "12:00:01"), name="other")
    tale.tell(Act.DOWNLOAD_DENIED, day(3, "12:00:02"), subject=subject("churn", 1), allowed=False)

    # The rename of the clock aside: what is after the beginning, up to the end and with it.
    document = asked(tale, day(2), until=at(day(4)), model="churn")

    assert [(c["index"], c["act"], c["actor"]) for c in document["changes"]] == [
        (3, "version.transitioned", "ann"),
        (4, "version.transitioned", "ann"),
        (5, "alias.moved", "ann"),
    ]
    assert document["changes"][0]["reason"] == "it is complete"
    assert asked(tale, day(4), until=at(day(4)))["changes"] == []


def test_only_what_is_behind_a_later_entry_cannot_change_any_more(tale: TellTale) -> None:
    def final(instant: str, **more: Any) -> bool:
        return as_of(tale.witnessed(), Question(at(instant), **more), NOW).final

    assert final(day(3))
    assert final(day(4, "11:59:59.999999"))
    assert not final(day(4))  # another entry may be of the same instant
    assert not final(day(3), until=at(day(4)))


def test_a_ledger_rolled_back_behind_an_exported_checkpoint_is_refused(tale: TellTale) -> None:
    note = tale.note(6)
    del tale.stored[4:]
    tale._signed = 4
    with pytest.raises(LedgerError, match="rolled back"):
        as_of(tale.witnessed([note]), Question(at(day(3))), NOW)


def test_entries_changed_between_being_proved_and_being_read_are_refused(tale: TellTale) -> None:
    class Nimble(TellTale):
        def entries(self, start: int, count: int) -> list[tuple[int, bytes]]:
            found = super().entries(start, count)
            self.proved = not getattr(self, "proved", False)
            if self.proved:
                return found
            return [(i, data.replace(b"Staging", b"Revoked")) for i, data in found]

    nimble = Nimble()
    vars(nimble).update(vars(tale))
    with pytest.raises(LedgerError, match="changed while it was read"):
        asked(nimble, day(4))


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"[]", b'{"at":"2026-11-01"}', b'{"act":{},"allowed":true,"at":"x"}']
)
def test_an_entry_of_whatever_bytes_is_refused_and_nothing_else_happens(
    tale: TellTale, data: bytes
) -> None:
    tale.head()
    tale.stored[3] = data
    with pytest.raises(LedgerError):
        asked(tale, day(4), until=at(day(5)))


def test_entries_that_contradict_each_other_are_told() -> None:
    tale = TellTale()
    tale.registered(day(2))
    tale.moved(day(3), "Staging", "Approved")
    found = asked(tale, day(3))["contradictions"]
    assert found[0]["entry"] == 1
    assert "leaves Staging" in found[0]["message"]
    assert canonical.encode(found)
