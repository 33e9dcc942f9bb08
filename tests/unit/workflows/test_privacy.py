"""An erasure takes a person out of all the registry keeps, and the record still proves it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from mlflow_governance.core import canonical
from mlflow_governance.core.actor import Actor
from mlflow_governance.core.digest import of_bytes
from mlflow_governance.core.event import Act
from mlflow_governance.core.model_ref import VersionRef
from mlflow_governance.core.person import ERASED, PSEUDONYM, Person
from mlflow_governance.core.stage import Stage
from mlflow_governance.errors import (
    Denied,
    InvalidRequest,
    NotFound,
    VerificationError,
)
from mlflow_governance.evidence.interface import EvidenceItem, Kind
from mlflow_governance.ledger.entry import opens
from mlflow_governance.ledger.redaction import Redaction, commit
from mlflow_governance.outbox.decision_event import Recorder
from mlflow_governance.outbox.decision_log import DecisionRelay
from mlflow_governance.outbox.interface import Target
from mlflow_governance.store import tables as ours
from mlflow_governance.store.decision_feed import SqlDecisionFeed
from mlflow_governance.store.decisions import SqlDecisions
from mlflow_governance.store.events import event_body
from mlflow_governance.store.outbox_queue import OutboxQueue
from mlflow_governance.store.scrub import mark_cleaned, scrub, waits
from mlflow_governance.workflows.accounts import (
    AccountChange,
    record_account,
    record_account_refused,
)
from mlflow_governance.workflows.admit import admit
from mlflow_governance.workflows.approve import approve
from mlflow_governance.workflows.attach import attach
from mlflow_governance.workflows.explain import Again, explain
from mlflow_governance.workflows.ports import Request
from mlflow_governance.workflows.privacy import (
    Erased,
    Erasure,
    Office,
    erase,
    export,
    rehearse,
)
from mlflow_governance.workflows.privacy_options import Holds, read_holds
from mlflow_governance.workflows.promote import transition
from mlflow_governance.workflows.recorded import read
from tests.unit.outbox.test_decision_log import Kept
from tests.unit.workflows.builders import ALICE, EVE, PIA, SAM
from tests.unit.workflows.watched import Watched

CHURN = VersionRef("churn", 1)
ALICE_ = Person.known_as("Alice")
OPS = Actor("os:ops", authenticated=True)
SIEM = Target("siem", "http://127.0.0.1/", f"whsec_{'A' * 32}")
LATER = datetime(2026, 12, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Alice submitted, moved and was refused; others named her; the worker is done."""
    folder = tmp_path_factory.mktemp("lived")
    registry = Watched(folder)
    registry.approved("churn")
    registry.accepted("fraud")
    approve(registry.ports, Request(SAM, VersionRef("fraud", 1), "as Alice asked"), "security",
            "approve")  # fmt: skip
    with pytest.raises(Denied):
        approve(registry.ports, Request(ALICE, CHURN, "mine"), "security", "approve")
    with pytest.raises(Denied):
        transition(registry.ports, Request(ALICE, VersionRef("fraud", 1), "hurry"), Stage.APPROVED)
    OutboxQueue(registry.sessions, lambda: LATER).enqueue_missing([SIEM])
    registry.settled()
    assert registry.findings() == []
    registry.sessions.dispose()
    return folder


@pytest.fixture
def registry(lived: Path, tmp_path: Path) -> Watched:
    folder = tmp_path / "registry"
    shutil.copytree(lived, folder)
    return Watched(folder)


def office(registry: Watched, **changes: object) -> Office:
    made = Office(registry.ports.store, registry.ports.signer, lambda: LATER)  # type: ignore[arg-type]
    return replace(made, **changes)  # type: ignore[arg-type]


def erased(registry: Watched, person: Person = ALICE_, **changes: object) -> Erased:
    return erase(office(registry, **changes), Erasure(person, OPS, "request 17"))


def clean(registry: Watched) -> None:
    scrub(str(registry.sessions.engine.url))


def holding(folder: Path, name: bytes = b"alice") -> list[str]:
    """Files of a folder that hold a name."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [path.name for path in files if name in path.read_bytes().lower()]


def alter(registry: Watched, statement: sa.Executable) -> None:
    assert registry.run(statement) > 0


def codes(registry: Watched) -> set[str]:
    return {finding.code for finding in registry.findings()}


# --- after an erasure -------------------------------------------------------------------------


def test_after_an_erasure_no_file_holds_the_name_and_everything_verifies(
    registry: Watched, tmp_path: Path
) -> None:
    assert any(name.startswith("registry.db") for name in holding(tmp_path))

    done = erased(registry)
    registry.settled()
    clean(registry)

    assert done.index == registry.entries() - 1
    assert registry.findings() == []
    with registry.ports.store.read() as reading:
        assert list(reading.traces(ALICE_)) == []
    registry.sessions.dispose()
    assert holding(tmp_path) == []


def test_the_entry_commits_to_what_was_replaced_and_not_to_whom(registry: Watched) -> None:
    done = erased(registry)

    ((_, data),) = registry.ledger.entries(done.index, 1)
    entry = canonical.decode_object(data)
    assert (entry["act"], entry["allowed"]) == (Act.PERSON_ERASED, True)
    assert entry["facts"] == {
        "pseudonym": done.pseudonym,
        "documents": done.replaced.documents,
        "texts": done.replaced.texts,
        "unsalted": 0,
        "replaced": commit(done.replaced.redactions),
    }
    assert done.replaced.documents >= 5
    assert done.replaced.texts > 5
    assert b"alice" not in data
    assert PSEUDONYM.fullmatch(done.pseudonym)


def test_who_did_what_stays_distinguishable_everywhere(registry: Watched) -> None:
    with registry.ports.store.read() as reading:
        uid = registry.record(CHURN).uid
        before = reading.timeline(uid)
    name = erased(registry).pseudonym

    with registry.ports.store.read() as reading:
        timeline = reading.timeline(uid)
        decision = reading.decision(timeline[1]["decision_id"])
        (given, *_) = reading.approvals(reading.version(VersionRef("fraud", 1)).uid)  # type: ignore[union-attr]
    assert [e["actor"] for e in timeline] == [
        name if e["actor"] == "alice" else e["actor"] for e in before
    ]
    assert {e["reason"] for e in timeline if e["actor"] == name} == {None}
    assert registry.record(CHURN).submitter == name
    assert decision is not None
    assert decision["dossier"]["actor"]["id"] == decision["dossier"]["subject"]["submitter"] == name
    assert (given.person, given.reason) == ("sam", f"as {name} asked")


def test_every_decision_is_read_explained_and_logged_as_before(registry: Watched) -> None:
    decisions = SqlDecisions(registry.sessions)
    last = decisions.last()
    before = {row.decision_id: read(row) for row in decisions.rows(-1, last)}

    erased(registry)

    rows = list(decisions.rows(-1, last))
    assert sum(row.redacted for row in rows) > 3
    with registry.ports.store.read() as reading:
        found = [explain(reading, row) for row in rows]
    assert {one.again for one in found} == {Again.SAME}
    assert all(bool(one.notes) is one.recorded.redacted for one in found)
    for row in rows:
        assert read(row).verdict == before[row.decision_id].verdict
        salt = canonical.decode(row.document)["salt"]
        assert (salt != before[row.decision_id].document["salt"]) is bool(row.document_now)
    sink = Kept()
    feed = SqlDecisionFeed(registry.sessions)
    recorder = Recorder({}, lambda text: text, ())
    assert DecisionRelay(feed, [sink], recorder).run_once() == len(rows)
    assert "alice" not in json.dumps(sink.records)
    assert not any("error" in record for record in sink.records)


def test_redactions_give_no_name_away(registry: Watched) -> None:
    with registry.ports.store.read() as reading:
        entry = reading.timeline(registry.record(CHURN).uid)[1]
        then = reading.decision(entry["decision_id"])
    assert then is not None
    dossier = then["dossier"]
    erased(registry)

    with registry.ports.store.read() as reading:
        now = reading.decision(entry["decision_id"])["dossier"]  # type: ignore[index]
    # Who has the redacted dossier and knows the name lacks the salt; the new salt is no help.
    guess = {**now, "actor": dossier["actor"], "subject": dossier["subject"]}
    without = {key: value for key, value in guess.items() if key != "salt"}
    assert of_bytes(canonical.encode({**guess, "salt": dossier["salt"]})) == then["dossier_digest"]
    for tried in (guess, without):
        assert of_bytes(canonical.encode(tried)) != then["dossier_digest"]


def test_what_is_not_yet_told_is_told_without_the_name(registry: Watched) -> None:
    name = erased(registry).pseudonym
    queue = OutboxQueue(registry.sessions, lambda: LATER)
    queue.enqueue_missing([SIEM])

    bodies = [d.body for d in queue.claim(["siem"], 100, 60, LATER)]

    assert len(bodies) == registry.entries()
    assert b"alice" not in b"".join(bodies).lower()
    told = [json.loads(body) for body in bodies]
    assert {t["reason"] for t in told if t["actor"] == name} <= {"", ERASED}
    assert told[-1]["act"] == Act.PERSON_ERASED


def test_a_release_is_signed_anew_and_put_beside_the_model_again(
    registry: Watched, tmp_path: Path
) -> None:
    name = erased(registry).pseudonym
    registry.settled()

    folder = registry.artifacts.root / "churn-1" / CHURN.folder / "release"
    manifest = json.loads((folder / "release_manifest.json").read_text())
    envelope = json.loads((folder / "release_manifest.json.sig").read_text())
    assert manifest["submitter"] == name
    assert f"submitted by {name}" in (folder / "release_notes.md").read_text()
    import base64

    signed = json.loads(base64.b64decode(envelope["payload"]))
    assert signed["predicate"] == manifest
    assert holding(registry.artifacts.root) == []


def test_what_was_released_is_served_on_though_its_only_approver_is_erased(
    registry: Watched,
) -> None:
    for person in ("sam", "pia", "alice"):
        erased(registry, Person.known_as(person))

    assert admit(registry.ports, Request(EVE, CHURN), "registry").stage is Stage.APPROVED
    transition(registry.ports, Request(EVE, CHURN), Stage.DEPRECATED)
    registry.settled()
    assert registry.findings() == []


def test_a_pending_approval_of_nobody_is_given_again_and_duties_still_part_people(
    registry: Watched,
) -> None:
    fraud = VersionRef("fraud", 1)
    transition(registry.ports, Request(ALICE, fraud), Stage.STAGING)
    item = EvidenceItem("attestations/canary.intoto.json", b'{"canary": true}')
    attach(registry.ports, Request(ALICE, fraud), item)
    approve(registry.ports, Request(SAM, fraud, "ok"), "security", "approve")

    erased(registry, Person.known_as("sam"))
    with pytest.raises(Denied):  # the submitter is who she was
        approve(registry.ports, Request(ALICE, fraud, "mine"), "product", "approve")
    approve(registry.ports, Request(PIA, fraud, "fine"), "product", "approve")
    with pytest.raises(Denied, match="still lacking: security"):
        transition(registry.ports, Request(PIA, fraud), Stage.APPROVED)
    approve(registry.ports, Request(replace(SAM, id="sid"), fraud, "ok"), "security", "approve")
    transition(registry.ports, Request(PIA, fraud), Stage.APPROVED)
    registry.settled()

    assert registry.record(fraud).stage is Stage.APPROVED
    assert registry.findings() == []


def test_people_are_erased_one_after_the_other_out_of_one_document(
    registry: Watched, tmp_path: Path
) -> None:
    for person in ("alice", "sam", "pia"):
        erased(registry, Person.known_as(person))
    registry.settled()
    clean(registry)

    rows = list(SqlDecisions(registry.sessions).rows(-1, 99))
    with registry.ports.store.read() as reading:
        assert {explain(reading, row).again for row in rows} <= {Again.SAME, Again.NOT}
    assert registry.findings() == []
    registry.sessions.dispose()
    # Three letters in base64 may be anybody's; the five of the other name are hers.
    assert holding(tmp_path, b"alice") == []


def test_a_signer_is_taken_out_of_what_was_proved_as_out_of_the_dossiers(
    registry: Watched,
) -> None:
    name = erased(registry, Person.known_as("ci")).pseudonym

    record = registry.record(CHURN)
    assert record.facts is not None
    assert record.facts[Kind.SIGNATURE].facts["signer"] == name
    assert record.facts[Kind.PROVENANCE].facts["signers"] == [name]
    registry.settled()
    assert registry.findings() == []
    assert admit(registry.ports, Request(EVE, CHURN), "registry").stage is Stage.APPROVED


def test_a_login_used_again_is_a_new_person(registry: Watched) -> None:
    first = erased(registry).pseudonym
    registry.accepted("again")

    second = erased(registry).pseudonym

    assert first != second
    assert registry.record(VersionRef("again", 1)).submitter == second
    assert registry.record(CHURN).submitter == first
    registry.settled()
    assert registry.findings() == []


@pytest.mark.parametrize("escape", ["\n", "\t", "\r", "\b", "\f", '"', "\\", "\x01"], ids=range(8))
def test_a_name_behind_an_escape_is_erased(registry: Watched, tmp_path: Path, escape: str) -> None:
    fraud = VersionRef("fraud", 1)
    approve(registry.ports, Request(SAM, fraud, f"asked by{escape}Alice"), "security", "approve")
    with pytest.raises(Denied):
        transition(registry.ports, Request(PIA, fraud, f"for{escape}Alice"), Stage.APPROVED)

    erased(registry)
    registry.settled()
    clean(registry)

    assert registry.findings() == []
    registry.sessions.dispose()
    assert holding(tmp_path) == []


def test_whom_an_act_was_about_is_erased_where_it_is_told(registry: Watched) -> None:
    change = AccountChange("users/delete", "alice", {"role": "alice-ops"})
    record_account(registry.ports, OPS, change)
    for _ in range(2):
        record_account_refused(registry.ports, OPS, AccountChange("users/delete", "alice"))

    name = erased(registry).pseudonym

    with registry.sessions.engine.connect() as connection:
        entries = ours.ledger_entries.c
        query = sa.select(entries.position).where(entries.act == Act.ACCOUNT_CHANGED)
        places = connection.execute(query).scalars().all()
        told = [json.loads(event_body(connection, place))["facts"] for place in places]
        repeats = connection.execute(sa.select(ours.repeats.c.event)).scalars().all()
    assert {facts["account"] for facts in told} == {name}
    assert told[0]["role"] == "alice-ops"
    assert any(name in str(event) for event in repeats)
    with registry.ports.store.read() as reading:
        assert list(reading.traces(ALICE_)) == []
    registry.settled()
    assert registry.findings() == []


def test_a_name_of_somebody_else_is_never_touched(registry: Watched) -> None:
    with registry.sessions.engine.connect() as connection:
        query = sa.select(ours.private.c.commitment).where(ours.private.c.text == "system:server")
        before = connection.execute(query).scalars().all()
    record_account(registry.ports, Actor("server"), AccountChange("roles/create"))
    record_account(registry.ports, Actor("os:server"), AccountChange("roles/create"))

    erased(registry, Person.known_as("server"))

    with registry.sessions.engine.connect() as connection:
        assert connection.execute(query).scalars().all() == before
        names = set(connection.execute(sa.select(ours.private.c.text)).scalars())
    assert "os:server" in names
    assert "server" not in names
    registry.settled()
    assert registry.findings() == []


@pytest.mark.parametrize("text", ["alice", "mine", "as Alice asked"])
def test_an_erasure_swallows_no_row_that_was_written_over_to_them(
    registry: Watched, text: str
) -> None:
    alter(registry, sa.update(ours.private).where(ours.private.c.text == text).values(person="pia"))
    size = registry.entries()

    with pytest.raises(VerificationError):
        erased(registry, Person.known_as("pia"))

    assert registry.entries() == size


def test_who_wrote_a_reason_is_what_the_ledger_says(registry: Watched) -> None:
    alter(registry, sa.update(ours.private).values(person="bob"))

    erased(registry)

    with registry.sessions.engine.connect() as connection:
        left = set(connection.execute(sa.select(ours.private.c.text)).scalars())
    assert left.isdisjoint({"alice", "mine", "hurry", "as Alice asked"})
    registry.settled()
    assert registry.findings() == []


# --- what is refused --------------------------------------------------------------------------


def test_who_is_not_there_is_not_erased_and_nothing_is_recorded(registry: Watched) -> None:
    before = registry.entries()

    for _ in range(2):
        with pytest.raises(NotFound):
            erased(registry, Person.known_as("zoe"))

    assert registry.entries() == before


def test_erasing_twice_at_once_erases_once(registry: Watched) -> None:
    def attempt(_: int) -> object:
        try:
            return erased(registry)
        except NotFound as error:
            return error

    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(attempt, range(2)))

    assert sorted(type(result).__name__ for result in results) == ["Erased", "NotFound"]
    registry.settled()
    assert registry.findings() == []


def test_a_rehearsal_changes_nothing_and_shows_what_would_go(registry: Watched) -> None:
    size = registry.entries()

    found = rehearse(office(registry), Erasure(ALICE_, OPS, "request 17"))

    assert registry.entries() == size
    assert registry.record(CHURN).submitter == "alice"
    assert found.index is None
    assert found.remains == ()
    done = erased(registry)
    assert done.replaced.rows == found.replaced.rows


@pytest.mark.parametrize("reason", ["", "  ", "alice asked", "for ALICE", "x" * 5000], ids=range(5))
def test_an_erasure_needs_a_reason_without_the_name(reason: str) -> None:
    with pytest.raises(InvalidRequest):
        Erasure(ALICE_, OPS, reason)


@pytest.mark.parametrize("login", ["alice", "os:alice", "Alice "])
def test_nobody_erases_themselves_and_stands_in_the_record_of_it(login: str) -> None:
    with pytest.raises(InvalidRequest):
        Erasure(ALICE_, Actor(login), "request 17")


def test_a_legal_hold_and_a_legal_duty_keep_what_is_known(registry: Watched) -> None:
    for held in (Holds(people=("alice",)), Holds(keep_days=11)):
        with pytest.raises(Denied):
            erased(registry, holds=held)
        with pytest.raises(Denied):
            erased(registry, Person.known_as("a.smith", ["alice"]), holds=held)

    assert erased(registry, holds=Holds(("bob",), keep_days=9)).index is not None


@pytest.mark.parametrize(
    "document",
    [[], {"hold": ["ann"]}, {"holds": "ann"}, {"holds": [1]}, {"holds": [""]}, {"keep_days": -1},
     {"keep_days": True}, {"keep_days": 1.5}],
    ids=range(8),
)  # fmt: skip
def test_a_hold_that_holds_nothing_is_refused(document: object) -> None:
    with pytest.raises((TypeError, ValueError, InvalidRequest)):
        read_holds(Path(), document)


# --- a change is no erasure -------------------------------------------------------------------


def _document_edited(registry: Watched) -> None:
    table = ours.decisions
    alter(registry, sa.update(table).where(table.c.id == 1).values(document=b'{"allow":true}'))


def _passed_off(registry: Watched) -> None:
    """Another dossier in the place of the redacted one, and the replacement written beside it."""
    query = sa.select(ours.decisions.c.dossier_digest).order_by(ours.decisions.c.id.desc())
    with registry.sessions.engine.connect() as connection:
        digest = str(connection.execute(query).scalars().first())
    new = b'{"gate":"accept"}'
    alter(registry, sa.insert(ours.blobs).values(digest=of_bytes(new), data=new))
    same = ours.redactions.c.digest == digest
    alter(registry, sa.update(ours.redactions).where(same).values(replacement=of_bytes(new)))


def _private_deleted(registry: Watched) -> None:
    alter(registry, sa.delete(ours.private).where(ours.private.c.text == "sam"))


def _private_changed(registry: Watched) -> None:
    alter(registry, sa.update(ours.private).where(ours.private.c.text == "sam").values(text="bob"))


def _pseudonym_passed_on(registry: Watched) -> None:
    alter(registry, sa.update(ours.versions).values(submitter="erased-00000000"))


def _redactions_deleted(registry: Watched) -> None:
    alter(registry, sa.delete(ours.redactions))


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (_document_edited, "VAL-050"),
        (_passed_off, "VAL-082"),
        (_private_deleted, "VAL-080"),
        (_private_changed, "VAL-081"),
        (_pseudonym_passed_on, "VAL-017"),
        (_redactions_deleted, "VAL-082"),
    ],
)
def test_a_change_cannot_be_passed_off_as_an_erasure(
    registry: Watched, change: Callable[[Watched], None], found: str
) -> None:
    erased(registry)

    change(registry)

    assert found in codes(registry)


def test_what_no_entry_proves_is_read_as_changed(registry: Watched) -> None:
    erased(registry)
    _passed_off(registry)

    # One replacement that does not belong takes all those of its erasure with it.
    rows = SqlDecisions(registry.sessions).rows(-1, 99)
    for row in rows:
        with pytest.raises(VerificationError):
            read(row)
    with registry.ports.store.read() as reading, pytest.raises(VerificationError):
        reading.last_decision(registry.record(CHURN).uid)


@pytest.mark.parametrize("what", ["document", "dossier", "text"])
def test_nothing_is_erased_over_a_change(registry: Watched, what: str) -> None:
    size = registry.entries()
    decisions, blobs, private = ours.decisions.c, ours.blobs.c, ours.private.c
    first = decisions.id == 1
    if what == "document":
        with registry.sessions.engine.connect() as connection:
            data = connection.execute(sa.select(decisions.document).where(first)).scalar_one()
        more = canonical.encode({**canonical.decode(data), "error": "alice"})
        alter(registry, sa.update(ours.decisions).where(first).values(document=more))
    elif what == "dossier":
        same = blobs.digest == sa.select(decisions.dossier_digest).where(first).scalar_subquery()
        other = b'{"actor":{"id":"alice"}}'
        alter(registry, sa.update(ours.blobs).where(same).values(data=other))
    else:
        mine = sa.update(ours.private).where(private.text == "sam")
        alter(registry, mine.values(text="alice", person="alice"))

    with pytest.raises(VerificationError):
        erased(registry)

    assert registry.entries() == size
    assert registry.record(CHURN).submitter == "alice"


def test_documents_without_a_salt_are_counted(registry: Watched) -> None:
    with registry.sessions.engine.begin() as connection:
        row = connection.execute(sa.select(ours.decisions).order_by(ours.decisions.c.id)).first()
        assert row is not None
        data = connection.execute(
            sa.select(ours.blobs.c.data).where(ours.blobs.c.digest == row.dossier_digest)
        ).scalar_one()
        old = canonical.encode({k: v for k, v in canonical.decode(data).items() if k != "salt"})
        connection.execute(sa.insert(ours.blobs).values(digest=of_bytes(old), data=old))

    assert erased(registry).replaced.unsalted == 1


# --- what is left, and the right to see -------------------------------------------------------


def test_what_others_signed_stays_and_is_named(registry: Watched) -> None:
    item = EvidenceItem("attestations/review.intoto.json", b'{"reviewer": "Alice"}')
    attach(registry.ports, Request(SAM, CHURN), item)

    erased(registry)

    with registry.ports.store.read() as reading:
        left = list(reading.traces(ALICE_))
    assert {(trace.table, trace.path) for trace in left} == {("governance_blobs", "reviewer")}
    path = "attestations/review.intoto.json"
    assert left[0].key["of"] == [f"churn/1 {role} {path}" for role in ("attachment", "evidence")]
    registry.settled()
    assert registry.findings() == []


def test_a_person_sees_everything_that_is_kept_and_the_ledger_says_only_that(
    registry: Watched,
) -> None:
    found = export(registry.ports.store, ALICE_, OPS, clock=lambda: LATER)  # type: ignore[arg-type]

    places = {section["where"] for section in found["kept"]}
    assert {
        "governance_private.text",
        "governance_versions.submitter",
        "governance_blobs.data",
        "governance_approvals.reason",
    } <= places
    assert all(section["why"] and section["kept_until"] for section in found["kept"])
    acts = [(act["act"], act["reason"]) for act in found["acts"]]
    assert ("version.registered", None) in acts
    assert ("approval.refused", "mine") in acts
    ((_, data),) = registry.ledger.entries(registry.entries() - 1, 1)
    facts = canonical.decode_object(data)["facts"]
    assert b"alice" not in data
    assert facts["digest"] == of_bytes(canonical.encode(found))
    with registry.sessions.engine.connect() as connection:
        query = sa.select(ours.private).where(ours.private.c.commitment == facts["person"])
        row = connection.execute(query).one()
    assert opens(facts["person"], row.salt, "alice")
    registry.settled()
    assert registry.findings() == []


def test_an_export_made_after_an_erasure_finds_nobody(registry: Watched) -> None:
    export(registry.ports.store, ALICE_, OPS, clock=lambda: LATER)  # type: ignore[arg-type]
    erased(registry)
    size = registry.entries()

    with pytest.raises(NotFound):
        export(registry.ports.store, ALICE_, OPS, clock=lambda: LATER)  # type: ignore[arg-type]
    other = export(registry.ports.store, Person.known_as("sam"), OPS, clock=lambda: LATER)  # type: ignore[arg-type]

    assert "alice" not in json.dumps(other).lower()
    assert registry.entries() == size + 1
    registry.settled()
    assert registry.findings() == []


def test_whether_the_files_were_cleaned_is_remembered(registry: Watched) -> None:
    def waiting() -> bool:
        with registry.sessions.engine.connect() as connection:
            return waits(connection)

    assert not waiting()
    erased(registry)
    assert waiting()
    clean(registry)
    with registry.sessions.engine.begin() as connection:
        mark_cleaned(connection, LATER)
    assert not waiting()


def test_an_erasure_proves_an_exact_set_of_replacements() -> None:
    pairs = [Redaction("sha256:a", "x"), Redaction("sha256:b", "")]

    assert commit(pairs) == commit(reversed(pairs))
    assert len({commit(pairs), commit(pairs[:1]), commit([]), commit([*pairs, pairs[0]])}) == 4
