"""The validator agrees with a registry nobody touched, and names what somebody did touch."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from mlflow_governance.core.actor import Actor
from mlflow_governance.core.digest import Digest, of_bytes
from mlflow_governance.core.dossier import Outcome
from mlflow_governance.core.event import Act, Event
from mlflow_governance.core.manifest import Manifest
from mlflow_governance.core.model_ref import VersionRef
from mlflow_governance.core.stage import Stage
from mlflow_governance.errors import Unavailable
from mlflow_governance.evidence.interface import Kind
from mlflow_governance.store import mlflow_tables as theirs
from mlflow_governance.store import tables as ours
from mlflow_governance.store.books import SqlBooks
from mlflow_governance.workflows import judge
from mlflow_governance.workflows.accept import block_late
from mlflow_governance.workflows.approve import approve
from mlflow_governance.workflows.policy_approval import propose, speak
from mlflow_governance.workflows.policy_change import Board
from mlflow_governance.workflows.policy_ports import KeptPolicy, Quorum
from mlflow_governance.workflows.ports import Attachment, Request
from mlflow_governance.workflows.promote import rejudge, transition
from mlflow_governance.workflows.validation.books import Snapshot
from mlflow_governance.workflows.validation.findings import CHECKS, Finding
from mlflow_governance.workflows.validation.run import Scope, validate
from mlflow_governance.workflows.withdraw import withdraw
from tests.unit.policy.builders import configured, shipped
from tests.unit.workflows.builders import PIA, SAM
from tests.unit.workflows.watched import FolderShelves, Watched

CHURN = VersionRef("churn", 1)
FRAUD = VersionRef("fraud", 1)
NOWHERE = "sha256:" + "0" * 64
QUORUM = Quorum(2, ("security",))
SHIPPED = shipped().digest
AT = datetime(2026, 11, 21, 3, 4, 5, tzinfo=UTC)


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry with every kind of history, the worker done."""
    folder = tmp_path_factory.mktemp("lived")
    registry = Watched(folder)
    registry.approved("churn")
    registry.accepted("fraud")
    withdraw(registry.ports, Request(SAM, FRAUD, "a leak"), Stage.REVOKED)
    registry.accepted("spam")
    withdraw(registry.ports, Request(SAM, VersionRef("spam", 1), "odd"), Stage.QUARANTINED)
    registry.accepted("again")
    registry.delete(VersionRef("again", 1))
    registry.forget_catalogue(VersionRef("again", 1))
    registry.accepted("again")
    registry.register("fresh")
    board = Board(registry.ports.store, registry.ports.policy, registry.ports.clock, QUORUM)
    proposed = configured(blocking_cvss=8.0)
    propose(board, PIA, "stricter", archive=proposed.archive())
    speak(board, SAM, proposed.digest, "approve", "as agreed")
    registry.settled()
    registry.sessions.dispose()
    return folder


@pytest.fixture
def registry(lived: Path, tmp_path: Path) -> Watched:
    shutil.copytree(lived, tmp_path / "copy")
    return Watched(tmp_path / "copy")


def test_a_registry_nobody_touched_is_clean(registry: Watched) -> None:
    report = validate(registry.books(), registry.shelves, Scope(), pause=lambda _: None)

    assert report.findings == ()
    assert report.clean
    assert (report.versions, report.hashed, report.aliases) == (5, 5, 1)
    assert report.entries == registry.entries()


def row(table: sa.Table, ref: VersionRef = CHURN) -> list[sa.ColumnElement[bool]]:
    return [table.c.name == ref.name, table.c.version == ref.version]


def uid(registry: Watched, ref: VersionRef = CHURN) -> str:
    return registry.record(ref).uid


def change(table: sa.Table, ref: VersionRef = CHURN, **values: object) -> Callable[[Watched], None]:
    def plant(registry: Watched) -> None:
        assert registry.run(sa.update(table).where(*row(table, ref)).values(values)) == 1

    return plant


def of_churn(
    table: sa.Table, statement: Callable[[sa.Table], sa.Update | sa.Delete], *more: object
) -> Callable[[Watched], None]:
    def plant(registry: Watched) -> None:
        mine = table.c.version_uid == uid(registry)
        assert registry.run(statement(table).where(mine, *more)) >= 1

    return plant


def run(*statements: sa.Executable) -> Callable[[Watched], None]:
    def plant(registry: Watched) -> None:
        for statement in statements:
            assert registry.run(statement) >= 1

    return plant


def on_disk(act: Callable[[Path], object]) -> Callable[[Watched], None]:
    return lambda registry: act(registry.artifacts.root / "churn-1") and None


def forge_approval(registry: Watched) -> None:
    record = registry.record(CHURN)
    with registry.ports.store.read() as reading:
        given = reading.approvals(record.uid)[0]
    values = {"uid": "forged", "version_uid": record.uid, "person": "mallory", "role": "security"}
    values |= {"decision": "approve", "model_digest": record.digest, "reason": "trust me"}
    values |= {"policy_digest": given.policy_digest, "at": given.at, "withdrawn": False}
    registry.run(sa.insert(ours.approvals).values(values))


def edit_dossier(registry: Watched) -> None:
    with registry.ports.store.read() as reading:
        digest = reading.last_decision(uid(registry))["dossier_digest"]
    registry.run(
        sa.update(ours.blobs).where(ours.blobs.c.digest == digest).values(data=b'{"forged":1}')
    )


def edit_facts(registry: Watched) -> None:
    change(ours.versions, facts=b"{}")(registry)


def edit_entry(registry: Watched) -> None:
    table = ours.ledger_entries
    with registry.sessions.engine.connect() as connection:
        entries = connection.execute(sa.select(table.c.position, table.c.entry)).all()
    position, stored = next(row for row in entries if b'"Candidate"' in bytes(row.entry))
    forged = bytes(stored).replace(b'"Candidate"', b'"Approved"')
    assert forged != stored
    registry.run(sa.update(table).where(table.c.position == position).values(entry=forged))


def insert_version(registry: Watched) -> None:
    select = sa.select(*(sa.literal("forged") if c.name == "uid" else c for c in ours.versions.c))
    select = select.where(*row(ours.versions))
    with registry.sessions.engine.begin() as connection:
        values = connection.execute(select).mappings().one()
        columns = dict(zip(ours.versions.c.keys(), values.values(), strict=True))
        columns |= {"version": 7}
        connection.execute(sa.insert(ours.versions).values(columns))


RELEASE = "churn/1:governance/churn/v1/release/release_notes.md"
NOTES = "governance/churn/v1/release/release_notes.md"
ALIAS = theirs.model_aliases
TAG = theirs.version_tags
LAST_ENTRY = ours.ledger_entries.c.position == 3
PLANTED: dict[str, tuple[Callable[[Watched], None], str, str]] = {
    "an entry edited": (edit_entry, "VAL-001", "entry 3"),
    "a governed row deleted": (
        run(sa.delete(ours.versions).where(*row(ours.versions))), "VAL-010", "churn/1",
    ),
    "a governed row inserted": (insert_version, "VAL-011", "churn/7"),
    "our stage set": (change(ours.versions, stage="Staging"), "VAL-013", "churn/1"),
    "a stage that is none": (change(ours.versions, stage="Nonsense"), "VAL-013", "churn/1"),
    "our digest set": (change(ours.versions, digest=NOWHERE), "VAL-014", "churn/1"),
    "another policy": (change(ours.versions, policy_digest=NOWHERE), "VAL-015", "churn/1"),
    "another trust": (change(ours.versions, trust_digest=NOWHERE), "VAL-015", "churn/1"),
    "another way back": (
        change(ours.versions, VersionRef("spam", 1), quarantined_from="Approved"),
        "VAL-015", "spam/1",
    ),
    "another place": (change(ours.versions, location="elsewhere"), "VAL-016", "churn/1"),
    "another submitter": (change(ours.versions, submitter="mallory"), "VAL-017", "churn/1"),
    "another name": (change(ours.versions, name="turnover"), "VAL-018", "churn/1"),
    "other facts": (edit_facts, "VAL-019", "churn/1"),
    "MLflow's stage set": (
        change(theirs.model_versions, FRAUD, current_stage="Approved"), "VAL-020", "fraud/1",
    ),
    "MLflow's row deleted": (
        run(sa.delete(theirs.model_versions).where(*row(theirs.model_versions))),
        "VAL-021", "churn/1",
    ),
    "MLflow's row marked deleted": (
        change(theirs.model_versions, current_stage="Deleted_Internal"), "VAL-021", "churn/1",
    ),
    "MLflow's row inserted": (
        run(sa.insert(theirs.model_versions).values(
            workspace="default", name="loose", version=1, current_stage="Production", source="x",
        )),
        "VAL-022", "loose/1",
    ),
    "MLflow's place set": (
        change(theirs.model_versions, storage_location="elsewhere"), "VAL-023", "churn/1",
    ),
    "a tag edited": (
        run(sa.update(TAG).where(*row(TAG, FRAUD), TAG.c.key == "governance.stage")
            .values(value="Approved")),
        "VAL-024", "fraud/1:governance.stage",
    ),
    "a tag deleted": (
        run(sa.delete(TAG).where(*row(TAG), TAG.c.key == "governance.digest")),
        "VAL-024", "churn/1:governance.digest",
    ),
    "called a prompt": (
        run(sa.insert(theirs.model_tags).values(
            workspace="default", name="churn", key="mlflow.prompt.is_prompt", value="True",
        )),
        "VAL-025", "churn/1",
    ),
    "an alias moved": (
        run(sa.insert(theirs.model_versions).values(
                workspace="default", name="churn", version=2, current_stage="None"),
            sa.update(ALIAS).values(version=2)),
        "VAL-030", "churn@champion",
    ),
    "an alias deleted": (run(sa.delete(ALIAS)), "VAL-031", "churn@champion"),
    "an alias inserted": (
        run(sa.insert(ALIAS).values(workspace="default", name="fraud", alias="prod", version=1)),
        "VAL-032", "fraud@prod",
    ),
    "an alias nowhere": (run(sa.update(ALIAS).values(version=9)), "VAL-033", "churn@champion"),
    "what an alias returns to": (
        run(sa.update(ours.aliases).values(before=9)), "VAL-034", "churn@champion",
    ),
    "a block deleted": (
        lambda r: run(sa.delete(ours.blocked).where(
            ours.blocked.c.digest == r.record(FRAUD).digest))(r),
        "VAL-040", "{fraud}",
    ),
    "a block inserted": (
        run(sa.insert(ours.blocked).values(digest=NOWHERE, stage="Revoked", at=AT)),
        "VAL-041", NOWHERE,
    ),
    "a block weakened": (
        lambda r: run(sa.update(ours.blocked).where(
            ours.blocked.c.digest == r.record(FRAUD).digest).values(stage="Quarantined"))(r),
        "VAL-042", "{fraud}",
    ),
    "a decision edited": (
        of_churn(ours.decisions, lambda t: sa.update(t).values(document=b"{}")),
        "VAL-050", "decision {last}",
    ),
    "a decision deleted": (of_churn(ours.decisions, sa.delete), "VAL-051", "decision {last}"),
    "a decision refiled": (
        of_churn(ours.decisions, lambda t: sa.update(t).values(allow=False)),
        "VAL-053", "decision {last}",
    ),
    "a dossier edited": (edit_dossier, "VAL-054", "dossier of decision {last}"),
    "evidence edited": (
        run(sa.update(ours.blobs).where(
            ours.blobs.c.digest == sa.select(ours.files.c.digest).where(
                ours.files.c.role == "evidence").limit(1).scalar_subquery())
            .values(data=b"forged")),
        "VAL-054", "churn/1:attestations/canary.intoto.json",
    ),
    "a manifest deleted": (
        lambda r: run(sa.delete(ours.blobs).where(
            ours.blobs.c.digest == r.record(CHURN).digest))(r),
        "VAL-055", "churn/1:manifest",
    ),
    "an approval forged": (forge_approval, "VAL-056", "security approval of churn/1"),
    "an approval of somebody else": (
        of_churn(ours.approvals, lambda t: sa.update(t).values(person="mallory"),
                 ours.approvals.c.role == "security"),
        "VAL-056", "security approval of churn/1",
    ),
    "an objection deleted": (
        of_churn(ours.approvals, sa.delete, ours.approvals.c.decision == "reject"),
        "VAL-057", "product approval of churn/1",
    ),
    "an approval given back": (
        of_churn(ours.approvals, lambda t: sa.update(t).values(withdrawn=False)),
        "VAL-058", "product approval of churn/1",
    ),
    "evidence unlinked": (
        run(sa.delete(ours.files).where(ours.files.c.role == "evidence")),
        "VAL-059", "churn/1:attestations/canary.intoto.json",
    ),
    "a byte flipped": (
        on_disk(lambda f: (f / "model.bin").write_text("weightz of churn 1")),
        "VAL-060", "churn/1:model.bin",
    ),
    "a file deleted": (
        on_disk(lambda f: (f / "MLmodel").rename(f / "gone") and (f / "gone").unlink()),
        "VAL-061", "churn/1:MLmodel",
    ),
    "a file added": (
        on_disk(lambda f: (f / "evil.py").write_text("boo")), "VAL-062", "churn/1:evil.py",
    ),
    "a link put there": (
        on_disk(lambda f: (f / "link").symlink_to("/etc/passwd")), "VAL-063", "churn/1",
    ),
    "the folder gone": (on_disk(lambda f: f.rename(f.with_name("away"))), "VAL-063", "churn/1"),
    "notes gone": (on_disk(lambda f: (f / NOTES).unlink()), "VAL-064", RELEASE),
    "notes edited": (on_disk(lambda f: (f / NOTES).write_text("fine")), "VAL-065", RELEASE),
    "a file among the attached": (
        on_disk(lambda f: (f / "governance/churn/v1/extra").write_text("x")),
        "VAL-066", "churn/1:governance/churn/v1/extra",
    ),
    "another policy in force": (
        run(sa.update(ours.in_force).where(ours.in_force.c.what == "policy")
            .values(digest=NOWHERE)),
        "VAL-070", "the policy",
    ),
    "no policy in force": (
        run(sa.delete(ours.in_force).where(ours.in_force.c.what == "policy")),
        "VAL-070", "the policy",
    ),
    "a kept policy deleted": (run(sa.delete(ours.policies)), "VAL-071", f"policy {SHIPPED}"),
    "an archive deleted": (
        run(sa.delete(ours.blobs).where(
            ours.blobs.c.digest == sa.select(ours.policies.c.archive_digest).scalar_subquery())),
        "VAL-071", f"policy {SHIPPED}",
    ),
    "a policy kept that never was": (
        run(sa.insert(ours.policies).values(
            digest=NOWHERE, archive_digest=NOWHERE, at=AT, position=0)),
        "VAL-073", f"policy {NOWHERE}",
    ),
    "a policy in force since another day": (
        run(sa.update(ours.policies).values(at=AT)), "VAL-076", f"policy {SHIPPED}",
    ),
    "a policy replaced on another day": (
        run(sa.update(ours.policies).values(replaced=AT)), "VAL-076", f"policy {SHIPPED}",
    ),
    "an erasure that never was": (
        run(sa.insert(ours.redactions).values(digest=NOWHERE, replacement="", position=0)),
        "VAL-082", "erasure 0",
    ),
    "a proposal of somebody else": (
        run(sa.update(ours.policy_proposals).values(person="mallory")),
        "VAL-074", "proposal {proposal}",
    ),
    "another bundle proposed": (
        run(sa.update(ours.policy_proposals).values(digest=NOWHERE)),
        "VAL-074", "proposal {proposal}",
    ),
    "a word forged": (
        run(sa.insert(ours.policy_words).values(
            proposal_uid="forged", person="mallory", role="security", decision="approve",
            reason="trust me", at=AT, withdrawn=False)),
        "VAL-074", "a word about proposal forged",
    ),
    "a word of somebody else": (
        run(sa.update(ours.policy_words).values(person="mallory")),
        "VAL-074", "a word about proposal {proposal}",
    ),
    "a word deleted": (
        run(sa.delete(ours.policy_words)), "VAL-075", "a word about proposal {proposal}",
    ),
    "a word that does not count any more": (
        run(sa.update(ours.policy_words).values(withdrawn=True)),
        "VAL-077", "a word about proposal {proposal}",
    ),
    "a proposal deleted": (
        run(sa.delete(ours.policy_proposals)), "VAL-075", "proposal {proposal}",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PLANTED)
def test_what_was_changed_behind_the_registry_is_named(registry: Watched, name: str) -> None:
    plant, code, expected = PLANTED[name]
    with registry.ports.store.read() as reading:
        last = (reading.last_decision(uid(registry)) or {})["decision_id"]
        proposal = reading.proposals()[0].uid
    digest = registry.record(FRAUD).digest
    expected = expected.format(fraud=digest, last=last, proposal=proposal)
    plant(registry)

    findings = registry.findings()

    assert (code, expected) in {(finding.code, finding.subject) for finding in findings}
    assert all(finding.mend and finding.registry != finding.record for finding in findings)


def test_every_check_is_shown_to_find_something() -> None:
    shown = {code for _, code, _ in PLANTED.values()}
    assert shown | set(_SHOWN_BELOW) == set(CHECKS)
    assert not shown & set(_SHOWN_BELOW)


_SHOWN_BELOW = (
    "VAL-002", "VAL-003", "VAL-012", "VAL-026", "VAL-052", "VAL-067", "VAL-072", "VAL-080",
    "VAL-081", "VAL-083",
)  # fmt: skip


@pytest.mark.parametrize(
    ("change", "code"),
    [(sa.delete(ours.private), "VAL-080"), (sa.update(ours.private).values(text="b"), "VAL-081")],
    ids=["deleted", "changed"],
)
def test_a_reason_that_is_gone_or_changed_is_named(
    registry: Watched, change: sa.Delete | sa.Update, code: str
) -> None:
    registry.run(change.where(ours.private.c.text == "a leak"))

    (found,) = registry.findings()

    assert found.code == code
    assert found.subject.endswith(":reason")


@pytest.mark.parametrize(("role", "word"), [("product", "withdraw"), ("security", "reject")])
def test_a_release_on_other_words_than_stood_then_is_named(
    registry: Watched, monkeypatch: pytest.MonkeyPatch, role: str, word: str
) -> None:
    """As when the entry about a word is hidden from another process, and put back later."""
    ref = registry.accepted("late")
    transition(registry.ports, Request(SAM, ref), Stage.STAGING)
    approve(registry.ports, Request(SAM, ref, "read it"), "security", "approve")
    approve(registry.ports, Request(PIA, ref, "read it"), "product", "approve")
    with registry.ports.store.read() as reading:
        before = reading.approvals(uid(registry, ref))
    person = PIA if word == "withdraw" else Actor("zed", ("security",), authenticated=True)
    approve(registry.ports, Request(person, ref, "no"), role, word)
    monkeypatch.setattr(judge, "proven_approvals", lambda *_: tuple(before))
    transition(registry.ports, Request(SAM, ref), Stage.APPROVED)
    registry.settled()

    assert set(codes(registry.findings())) == {("VAL-083", "late/1")}


def codes(findings: Iterable[Finding]) -> list[tuple[str, str]]:
    return [(finding.code, finding.subject) for finding in findings]


def test_an_entry_that_contradicts_those_before_is_named(registry: Watched) -> None:
    move = Event(
        Act.VERSION_TRANSITIONED, "mallory", AT,
        subject={"name": "churn", "version": 1, "workspace": "default", "uid": uid(registry)},
        before={"stage": "None"}, after={"stage": "Candidate"},
    )  # fmt: skip
    with registry.ports.store.begin() as uow:
        place = uow.record(move)

    assert ("VAL-002", f"entry {place}") in codes(registry.findings())


@pytest.mark.parametrize(
    "plant",
    [
        change(ours.versions, location=7),
        change(ours.versions, version="one"),
        change(ours.versions, name="../churn"),
        change(ours.versions, stage=b"\xff"),
        change(theirs.model_versions, version="one"),
        change(theirs.model_versions, source=b"\xff", storage_location=None),
        run(sa.update(ours.versions).values(facts=b"{")),
        run(sa.update(ours.versions).values(created_at=sa.text("'yesterday'"))),
        run(sa.update(ours.decisions).values(document=b"{", digest="")),
        run(sa.update(ours.blobs).values(data=b"{")),
        run(sa.update(ours.approvals).values(at=sa.text("'yesterday'"), person=7)),
        run(sa.update(ours.files).values(path=ours.files.c.path + "/../x", digest=7)),
        run(sa.update(ours.blocked).values(digest=sa.func.hex(ours.blocked.c.digest))),
        run(sa.update(ALIAS).values(version="one")),
        run(sa.update(TAG).values(value=None)),
        run(sa.update(ours.ledger_head).values(note="", size=3)),
        run(sa.delete(ours.ledger_head)),
        run(sa.delete(ours.ledger_entries)),
        run(sa.update(ours.ledger_entries).values(entry=b"{}")),
        run(sa.update(ours.ledger_entries).values(entry=sa.text("'text'"))),
        run(sa.update(ours.ledger_entries).values(entry=sa.text("7"), leaf_hash=sa.text("7"))),
        run(sa.update(ours.ledger_entries).where(LAST_ENTRY).values(position=9999)),
        run(sa.update(ours.decisions).values(document=sa.text("7"))),
        run(sa.update(ours.blobs).values(data=sa.text("'text'"))),
        run(sa.update(ours.private).values(text="mallory")),
        run(sa.update(ours.private).values(salt=sa.text("'text'"))),
    ],
)
def test_rows_that_say_nonsense_are_findings_and_no_crash(
    registry: Watched, plant: Callable[[Watched], None]
) -> None:
    plant(registry)

    assert registry.findings()


def test_a_row_no_check_can_read_is_named(registry: Watched) -> None:
    change(ours.versions, location=sa.cast(b"\xff", sa.LargeBinary))(registry)

    assert ("VAL-003", "churn/1") in codes(registry.findings())


def test_a_kept_policy_that_is_another_is_named(registry: Watched) -> None:
    archive = configured(blocking_cvss=1.0).archive()
    event = Event(
        Act.POLICY_CHANGED, "mallory", AT,
        before={"policy_digest": SHIPPED}, after={"policy_digest": NOWHERE},
        facts={"archive_digest": of_bytes(archive), "proposal": ""},
    )  # fmt: skip
    with registry.ports.store.begin() as uow:
        place = uow.record(event)
        uow.keep_policy(KeptPolicy(Digest(NOWHERE), of_bytes(archive), AT, place), archive)

    assert codes(registry.findings()) == [("VAL-072", f"policy {NOWHERE}")]


def test_two_rows_of_one_name_and_number_are_named(registry: Watched) -> None:
    class Doubled(SqlBooks):
        def look(self) -> Snapshot:
            seen = super().look()
            double = [row._replace(uid="another") for row in seen.governed if row.name == "churn"]
            return replace(seen, governed=[*seen.governed, *double])

    books = Doubled(registry.sessions, registry.ledger_key)
    report = validate(books, registry.shelves, Scope(), pause=lambda _: None)

    assert ("VAL-012", "churn/1") in codes(report.findings)


def test_a_deleted_version_that_is_back_in_mlflow_is_named(registry: Watched) -> None:
    registry.delete(VersionRef("again", 1))
    assert registry.findings() == []

    change(theirs.model_versions, VersionRef("again", 1), current_stage="Production")(registry)
    assert codes(registry.findings()) == [("VAL-026", "again/1")]


def test_a_decision_put_in_the_place_of_another_is_named(registry: Watched) -> None:
    with registry.ports.store.read() as reading:
        last = (reading.last_decision(uid(registry)) or {})["decision_id"]
    forged = b'{"allow":true}'
    table = ours.decisions
    mine = sa.update(table).where(table.c.decision_id == last)
    run(mine.values(document=forged, digest=of_bytes(forged)))(registry)

    assert ("VAL-052", f"decision {last}") in codes(registry.findings())


def test_a_task_the_worker_gave_up_on_is_a_warning(registry: Watched) -> None:
    with registry.ports.store.begin() as uow:
        uow.add_task("mirror", uid(registry))
    registry.run(sa.update(ours.tasks).values(state="dead"))

    (finding,) = registry.findings()
    assert (finding.code, finding.severity, finding.subject) == ("VAL-067", "warning", "churn/1")


def test_what_agrees_at_the_second_look_is_not_reported(registry: Watched) -> None:
    change(ours.versions, stage="Staging")(registry)
    change(theirs.model_versions, FRAUD, current_stage="Approved")(registry)
    waited: list[float] = []

    def mend(seconds: float) -> None:
        waited.append(seconds)
        change(ours.versions, stage="Approved")(registry)

    report = validate(registry.books(), registry.shelves, Scope(), pause=mend)
    assert codes(report.findings) == [("VAL-020", "fraud/1")]
    assert len(waited) == 1


def test_files_are_hashed_again_only_where_something_disagreed(registry: Watched) -> None:
    (registry.artifacts.root / "churn-1" / "model.bin").write_text("other")
    asked: list[str] = []

    class Counted(FolderShelves):
        def manifest(self, location: str) -> Manifest:
            asked.append(location)
            return super().manifest(location)

    shelves = Counted(registry.artifacts.root)
    report = validate(registry.books(), shelves, Scope(), pause=lambda _: None)

    assert codes(report.findings) == [("VAL-060", "churn/1:model.bin")]
    assert asked.count("churn-1") == 2
    assert asked.count("spam-1") == 1


def test_what_waits_for_the_worker_is_no_disagreement_and_hides_none(registry: Watched) -> None:
    rejudge(registry.ports, Request(SAM, CHURN))
    with registry.ports.store.begin() as uow:
        uow.add_task("mirror", uid(registry))
        uow.add_attachments(uid(registry), [Attachment("release/later.md", b"soon")])
    assert registry.findings() == []

    (registry.artifacts.root / "churn-1" / NOTES).unlink()
    assert codes(registry.findings()) == [("VAL-064", RELEASE)]


def test_versions_that_share_their_files_are_hashed_once(registry: Watched) -> None:
    for version in (2, 3):
        registry.accepted("churn", version, location="churn-1")
    registry.settled()
    (registry.artifacts.root / "churn-1" / "model.bin").write_text("other")

    assert codes(registry.findings()) == [
        ("VAL-060", f"churn/{version}:model.bin") for version in (1, 2, 3)
    ]


def test_files_at_none_may_still_change_and_are_a_warning(registry: Watched) -> None:
    registry.settle(registry.register("loose"))
    registry.outcomes.spoiled = {Kind.SIGNATURE: Outcome.missing("nobody signed")}
    ref = registry.register("unsigned")
    registry.settle(ref)
    registry.settled()
    (registry.artifacts.root / "unsigned-1" / "model.bin").write_text("another try")

    report = validate(registry.books(), registry.shelves, Scope(), pause=lambda _: None)
    assert codes(report.findings) == [("VAL-060", "unsigned/1:model.bin")]
    assert report.clean, "a warning contradicts nothing"


@pytest.mark.parametrize("target", [Stage.REVOKED, Stage.QUARANTINED])
def test_what_is_withdrawn_before_it_is_hashed_agrees_before_and_after_the_worker(
    registry: Watched, target: Stage
) -> None:
    registry.with_rules(sync_limit_bytes=1)
    ref = registry.register("large")
    withdraw(registry.ports, Request(SAM, ref, "an incident"), target)
    assert registry.record(ref).digest is None
    assert registry.findings() == []

    registry.settled()
    record = registry.record(ref)
    assert registry.look().blocked[str(record.digest)] == target
    assert registry.findings() == []

    size = registry.entries()
    block_late(registry.ports, record)
    assert registry.entries() == size, "told once is told"


def test_names_left_to_mlflow_are_not_reported(registry: Watched) -> None:
    for name in ("scratch-1", "a-prompt"):
        key = {"workspace": "default", "name": name, "version": 1}
        registry.run(sa.insert(theirs.model_versions).values(**key, current_stage="None"))
        registry.run(sa.insert(ALIAS).values(**key, alias="latest-good"))
    tag = {"workspace": "default", "name": "a-prompt", "key": "mlflow.prompt.is_prompt"}
    registry.run(sa.insert(theirs.model_tags).values(**tag, value="true"))

    assert registry.findings(left_out=lambda name: name.startswith("scratch-")) == []
    assert codes(registry.findings()) == [("VAL-022", "scratch-1/1")]


def test_an_excluded_name_hides_nothing_that_is_governed(registry: Watched) -> None:
    change(ours.versions, stage="Staging")(registry)
    run(sa.update(ALIAS).values(version=9))(registry)

    found = codes(registry.findings(left_out=lambda name: True))
    assert {("VAL-013", "churn/1"), ("VAL-030", "churn@champion")} <= set(found)


def test_judging_again_and_moving_an_alias_back_and_forth_stays_clean(registry: Watched) -> None:
    rejudge(registry.ports, Request(SAM, CHURN))
    second = registry.approved_again("churn", 2)
    registry.alias(second, "Champion-EU")
    registry.alias(second, "champion", 1)
    registry.alias(CHURN, "champion", 2)
    registry.outcomes.spoiled = {Kind.CANARY: Outcome.missing("no canary ran")}
    rejudge(registry.ports, Request(SAM, CHURN))
    registry.settled()

    assert registry.findings() == []


def test_only_what_is_asked_for_is_looked_at(registry: Watched) -> None:
    change(ours.versions, stage="Staging")(registry)
    (registry.artifacts.root / "churn-1" / "model.bin").write_text("other")

    assert registry.findings(name="f*") == []
    assert codes(registry.findings(name="ch*", files=False)) == [("VAL-013", "churn/1")]
    later = "2999-01-01T00:00:00.000000Z"
    assert codes(registry.findings(since=later)) == [("VAL-013", "churn/1")]


def test_a_validation_changes_nothing(registry: Watched) -> None:
    (registry.artifacts.root / "churn-1" / "evil.py").write_text("boo")

    def everything() -> list[str]:
        with registry.sessions.engine.connect() as connection:
            raw = connection.connection.dbapi_connection
            assert raw is not None
            return list(raw.iterdump())

    before = everything()
    assert registry.findings()
    assert everything() == before


def test_a_store_that_is_away_is_no_finding(registry: Watched) -> None:
    class Away(FolderShelves):
        def manifest(self, location: str) -> Manifest:
            raise Unavailable("the artifact store does not answer")

    with pytest.raises(Unavailable):
        validate(registry.books(), Away(registry.artifacts.root), Scope(), pause=lambda _: None)
