"""One archive says everything about a version, proves it, and is refused where it would lie."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from mlflow_governance.audit import bundle as bundles
from mlflow_governance.audit.archive import Archive
from mlflow_governance.audit.bundle import PAYLOAD_TYPE
from mlflow_governance.core import canonical
from mlflow_governance.core.digest import hex_of, of_bytes
from mlflow_governance.core.event import Act, Event
from mlflow_governance.core.model_ref import VersionRef
from mlflow_governance.core.stage import Stage
from mlflow_governance.errors import (
    Conflict,
    Denied,
    InvalidRequest,
    NotFound,
    Unauthenticated,
    VerificationError,
)
from mlflow_governance.evidence import envelope
from mlflow_governance.evidence.keys import PublicKey
from mlflow_governance.ledger.entry import read_entry
from mlflow_governance.ledger.note import NoteKey
from mlflow_governance.ledger.proof import InclusionProof
from mlflow_governance.policy import bundle as policies
from mlflow_governance.store import tables as ours
from mlflow_governance.workflows import evidence_export
from mlflow_governance.workflows.evidence_export import Asked, OfPeriod, OfVersion, record_export
from mlflow_governance.workflows.evidence_ports import EvidenceReading
from mlflow_governance.workflows.ports import Request
from mlflow_governance.workflows.record import subject_of
from mlflow_governance.workflows.repeats import FIRST, PERIOD, sum_up
from mlflow_governance.workflows.withdraw import withdraw
from tests.unit.audit.bundle_builders import (
    AUDREY,
    CHURN,
    LONG_AGO,
    NAMES,
    NOVEMBER,
    Audited,
    Bundle,
)
from tests.unit.workflows.builders import ALICE, NOBODY, ROOT, SAM, Clock


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lived")
    registry = Audited(folder)
    registry.approved("churn")
    registry.accepted("fraud")
    registry.sessions.dispose()
    return folder


@pytest.fixture
def registry(lived: Path, tmp_path: Path) -> Iterator[Audited]:
    shutil.copytree(lived, tmp_path / "copy")
    opened = Audited(tmp_path / "copy")
    opened.ports.clock.now += timedelta(hours=1)
    yield opened
    opened.sessions.dispose()


@pytest.fixture(scope="module")
def taken(lived: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("taken") / "copy"
    shutil.copytree(lived, folder)
    opened = Audited(folder)
    opened.ports.clock.now += timedelta(hours=1)
    found = opened.take(CHURN, reason="yearly audit")
    opened.sessions.dispose()
    return found


# What is in it


def test_every_file_is_listed_with_its_digest_and_the_registry_signed_the_list(
    taken: Bundle,
) -> None:
    manifest = taken.json("manifest.json")
    signed = envelope.parse(taken.files["manifest.dsse"])

    assert canonical.encode(manifest) == taken.files["manifest.json"] == signed.payload
    assert signed.payload_type == PAYLOAD_TYPE
    envelope.verify(signed, [PublicKey.from_pem(taken.files["keys/registry.pub"])])
    others = {p: d for p, d in taken.files.items() if not p.startswith("manifest.")}
    assert manifest["files"] == {path: of_bytes(data) for path, data in others.items()}
    assert manifest["of"] == {"name": "churn", "version": 1, "workspace": "default"}
    assert (manifest["schema"], manifest["registry"]) == (1, "registry.example.org")
    assert taken.made.manifest == of_bytes(taken.files["manifest.json"])


def test_an_auditor_walks_from_the_key_to_the_files_of_the_model(
    taken: Bundle, registry: Audited
) -> None:
    (vkey,) = taken.files["keys/ledger.vkeys"].decode().splitlines()
    key = NoteKey.parse(vkey)
    assert key == registry.ledger_key
    openings = taken.json("openings.json")

    for index, entry in taken.entries.items():
        data = taken.files[f"ledger/entries/{index}.json"]
        proof = InclusionProof.parse(taken.files[f"ledger/proofs/{index}.tlog-proof"].decode())
        assert proof.checkpoint.encode() == taken.files["ledger/checkpoint"]
        assert proof.verify(data, key).size == taken.json("manifest.json")["ledger"]["size"]
        for commitment in filter(None, (entry["actor"], entry["reason"])):
            opened = openings[commitment]
            salted = bytes.fromhex(opened["salt"]) + opened["text"].encode()
            assert of_bytes(salted) == commitment

    (released,) = [
        e
        for e in taken.entries.values()
        if e["act"] == Act.VERSION_TRANSITIONED and e["after"]["stage"] == "Approved"
    ]
    data = taken.files[f"decisions/{released['decision_id']}.json"]
    assert of_bytes(data) == released["decision_digest"]
    decision = canonical.decode_object(data)
    dossier = taken.files[f"dossiers/{hex_of(decision['dossier_digest'])}.json"]
    assert of_bytes(dossier) == decision["dossier_digest"]
    assert canonical.decode_object(dossier)["subject"]["digest"] == released["subject"]["digest"]
    manifest = taken.files["versions/churn/1/manifest.json"]
    assert of_bytes(manifest) == released["subject"]["digest"]
    assert {word["person"] for word in taken.json("approvals.json")} == {"sam", "pia"}


def test_the_policy_that_decided_is_in_it_under_its_digest(taken: Bundle, tmp_path: Path) -> None:
    (path,) = [p for p in taken.files if p.startswith("policies/")]
    (tmp_path / "bundle.tar.gz").write_bytes(taken.files[path])

    found = policies.load(tmp_path / "bundle.tar.gz")

    assert path == f"policies/{hex_of(found.digest)}.tar.gz"


def test_the_entry_about_the_export_names_every_other_entry_of_it(taken: Bundle) -> None:
    *others, own = taken.entries
    entry = taken.entries[own]

    assert own == taken.made.index
    assert entry["act"] == Act.EVIDENCE_EXPORTED
    assert entry["facts"]["entries"] == others
    assert entry["facts"]["of"] == taken.json("manifest.json")["of"]
    assert taken.json("openings.json")[entry["reason"]]["text"] == "yearly audit"


def test_policy_and_trust_it_rests_on_came_into_force_in_entries_of_it(taken: Bundle) -> None:
    acts = {entry["act"] for entry in taken.entries.values()}

    assert {Act.POLICY_CHANGED, Act.TRUST_CHANGED, Act.ALIAS_MOVED} <= acts


def test_the_bytes_of_the_model_are_not_in_it(taken: Bundle) -> None:
    assert not any(b"weights of churn" in data for data in taken.files.values())


def test_an_alias_taken_away_by_another_version_is_told(registry: Audited) -> None:
    second = registry.approved_again("churn", 2)
    registry.alias(second, "champion", before=1)

    found = registry.take(CHURN)

    moved = [e for e in found.entries.values() if e["act"] == Act.ALIAS_MOVED]
    assert [e["subject"]["version"] for e in moved] == [1, 2]
    assert {e["subject"]["version"] for e in found.entries.values() if e["subject"]["uid"]} == {
        1,
        2,
    }
    assert not any(path.startswith("versions/churn/2") for path in found.files)


# The same record, the same bytes


def test_the_same_record_gives_the_same_bytes(
    registry: Audited, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = io.BytesIO()
    exporter = registry.exporter
    asked = Asked(AUDREY, OfVersion(CHURN))
    exported = record_export(registry.ports.store, asked, registry.ports.clock())
    monkeypatch.setattr(bundles, "record_export", lambda *_: exported)
    exporter.export(asked, first)
    again = io.BytesIO()
    monkeypatch.setenv("TZ", "Pacific/Auckland")

    exporter.export(asked, again)

    assert first.getvalue() == again.getvalue()


def test_a_zip_is_written_forward_and_depends_on_nothing_but_its_files() -> None:
    class Pipe:
        def __init__(self) -> None:
            self.data = bytearray()

        def write(self, data: bytes) -> int:
            self.data += data
            return len(data)

        def flush(self) -> None:
            pass

    found = []
    for _ in range(2):
        pipe = Pipe()
        with Archive(pipe) as archive:  # type: ignore[arg-type]
            archive.add("a/b.json", b"{}")
            with pytest.raises(VerificationError, match="two files"):
                archive.add("A/B.json", b"[]")
        found.append(bytes(pipe.data))

    assert found[0] == found[1]


# Who may, and what of


def test_whoever_is_no_auditor_gets_nothing_and_that_is_recorded(registry: Audited) -> None:
    before = registry.entries()
    for actor, kind in ((ALICE, Denied), (NOBODY, Unauthenticated)):
        with pytest.raises(kind, match="evidence bundle"):
            registry.take(CHURN, by=actor)

    assert registry.entries() == before + 2
    with registry.ports.store.read() as reading:
        last = reading.timeline(registry.record(CHURN).uid)[-2:]
    assert [e["act"] for e in last] == [Act.REQUEST_REFUSED] * 2
    assert last[0]["facts"]["asked"] == "evidence bundle"


def test_a_loop_of_refused_requests_is_a_few_entries_and_a_number(registry: Audited) -> None:
    before = registry.entries()
    for number in range(1, 13):
        with pytest.raises(Denied):
            registry.take(VersionRef(f"made-up-{number}", number), by=ALICE)
        with pytest.raises(Denied):
            registry.take(OfPeriod(LONG_AGO.since, LONG_AGO.until + timedelta(number)), by=ALICE)

    assert registry.entries() == before + FIRST
    assert isinstance(registry.ports.clock, Clock)
    registry.ports.clock.now += PERIOD
    assert sum_up(registry.ports) == 24 - FIRST
    *_, (_, data) = registry.ledger.entries()
    summed = read_entry(data)
    assert summed["facts"]["asked"] == "evidence bundle"
    assert summed["facts"]["repeats"] == 24 - FIRST
    registry.settled()
    assert registry.findings() == []


def test_an_administrator_may(registry: Audited) -> None:
    assert registry.take(CHURN, by=ROOT).made.answer.startswith("Yes")


def test_taking_a_bundle_leaves_a_registry_that_agrees_with_its_record(registry: Audited) -> None:
    registry.settled()
    registry.take(CHURN)

    assert registry.findings() == []


def test_a_version_nobody_ever_registered_is_not_found_and_nothing_recorded(
    registry: Audited,
) -> None:
    before = registry.entries()

    with pytest.raises(NotFound):
        registry.take(VersionRef("nobody", 1))

    assert registry.entries() == before


def test_a_period_that_ends_before_it_begins_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="before it begins"):
        OfPeriod(NOVEMBER.until, NOVEMBER.since)


def test_dates_and_instants_bound_a_period() -> None:
    assert evidence_export.period("2026-11-01", "2026-12-01") == NOVEMBER
    with pytest.raises(InvalidRequest):
        evidence_export.period("2026-13-01", "2026-12-01")


# Something was changed


def of_churn(column: sa.Column[object], **values: object) -> Callable[[Audited], None]:
    def plant(registry: Audited) -> None:
        uid = registry.record(CHURN).uid
        table = column.table
        assert registry.run(sa.update(table).where(column == uid).values(values)) >= 1

    return plant


def a_blob(choose: Callable[[Audited, EvidenceReading], str]) -> Callable[[Audited], None]:
    def plant(registry: Audited) -> None:
        with registry.ports.store.read() as reading:
            digest = choose(registry, reading)
        row = sa.update(ours.blobs).where(ours.blobs.c.digest == digest)
        assert registry.run(row.values(data=b"{}")) == 1

    return plant


def removed(table: sa.Table, *conditions: sa.ColumnElement[bool]) -> Callable[[Audited], None]:
    def plant(registry: Audited) -> None:
        assert registry.run(sa.delete(table).where(*conditions)) >= 1

    return plant


def an_entry(registry: Audited) -> None:
    table = ours.ledger_entries
    forged = table.c.position == 3
    with registry.sessions.engine.connect() as connection:
        data = bytes(connection.execute(sa.select(table.c.entry).where(forged)).scalar_one())
    edited = data.replace(b'"Candidate"', b'"Approved"')
    assert edited != data
    registry.run(sa.update(table).where(forged).values(entry=edited))


def an_approval(registry: Audited) -> None:
    record = registry.record(CHURN)
    with registry.ports.store.read() as reading:
        given = reading.approvals(record.uid)[0]
    row = {"uid": "f", "version_uid": record.uid, "person": "mallory", "role": "security"}
    row |= {"decision": "approve", "model_digest": record.digest, "reason": "trust me"}
    row |= {"policy_digest": given.policy_digest, "at": given.at, "withdrawn": False}
    registry.run(sa.insert(ours.approvals).values(row))


TAMPERED = {
    "stage": (of_churn(ours.versions.c.uid, stage="Revoked"), "churn/1: its stage is Revoked"),
    "entry": (an_entry, "entry 3 was changed"),
    "entry removed": (
        removed(ours.ledger_entries, ours.ledger_entries.c.position == 3),
        "churn/1|entry 3|not in the ledger|not all there",
    ),
    "approval": (an_approval, "its approval f is in no entry"),
    "approval removed": (
        removed(ours.approvals, ours.approvals.c.person == "sam"),
        "the approval of entry 6 was removed",
    ),
    "approver": (
        lambda r: r.run(
            sa.update(ours.approvals).where(ours.approvals.c.person == "sam").values(person="eve")
        ),
        "is in no entry",
    ),
    "evidence": (
        a_blob(lambda r, reading: of_bytes(reading.evidence(r.record(CHURN).uid)[0].data)),
        "canary.intoto.json of churn/1: its bytes were changed",
    ),
    "evidence row removed": (
        removed(ours.files, ours.files.c.role == "evidence"),
        "evidence attestations/canary.intoto.json .* was removed",
    ),
    "manifest": (a_blob(lambda r, _: str(r.record(CHURN).digest)), "the manifest of churn/1"),
    "dossier": (
        a_blob(
            lambda r, reading: reading.last_decision(r.record(CHURN).uid)["dossier_digest"]  # type: ignore[index]
        ),
        "the dossier was changed",
    ),
    "decision": (
        lambda r: r.run(sa.update(ours.decisions).values(document=b"{}")),
        "decision .*: the decision was changed",
    ),
    "decision removed": (
        removed(ours.decisions, ours.decisions.c.gate == "accept"),
        "decision .*: it was removed",
    ),
    "name": (
        lambda r: r.run(
            sa.update(ours.private).where(ours.private.c.text == "sam").values(text="eve")
        ),
        "does not open its commitment",
    ),
    "path": (
        lambda r: r.run(
            sa.update(ours.files).where(ours.files.c.role == "evidence").values(path="../../x")
        ),
        "x",
    ),
    "policy": (
        lambda r: r.run(
            sa.update(ours.blobs)
            .where(ours.blobs.c.digest.in_(sa.select(ours.policies.c.archive_digest)))
            .values(data=b"")
        ),
        "changed",
    ),
}


@pytest.mark.parametrize("what", sorted(TAMPERED))
def test_whatever_was_changed_stops_the_export_and_is_named(what: str, registry: Audited) -> None:
    plant, said = TAMPERED[what]
    plant(registry)

    with pytest.raises(VerificationError) as refused:
        registry.take(CHURN)

    assert re.search(said, refused.value.message), refused.value.message


def test_what_happens_while_it_is_collected_is_noticed(
    registry: Audited, monkeypatch: pytest.MonkeyPatch
) -> None:
    def and_then(*given: object) -> object:
        exported = record_export(*given)  # type: ignore[arg-type]
        withdraw(registry.ports, Request(SAM, CHURN, "a leak"), Stage.REVOKED)
        return exported

    monkeypatch.setattr(bundles, "record_export", and_then)

    with pytest.raises(Conflict, match="while it was collected"):
        registry.take(CHURN)


# Naming nobody


def test_a_pseudonymous_bundle_names_nobody_anywhere(registry: Audited) -> None:
    registry.trust = b"version: 1\nsigners:\n- name: Alice\n"

    found = registry.take(CHURN, pseudonymous=True, reason="for alice")

    assert found.json("openings.json") == {}
    word = re.compile(r"\b(" + "|".join((*NAMES, "audrey")) + r")\b", re.IGNORECASE)
    for path, data in found.files.items():
        if path != "report.pdf":  # compressed: three letters are in there by chance
            assert word.search(data.decode("utf-8", "replace")) is None, path
    assert word.search(found.pdf) is None
    assert {w["person"] for w in found.json("approvals.json")} == {"person 2", "person 3"}
    assert "trust.yaml" not in found.files
    assert "Files that are not here" in found.html
    assert "trust.yaml" in found.html


def test_names_inside_envelopes_and_archives_are_found_too() -> None:
    import base64
    import gzip

    from mlflow_governance.workflows.evidence_persons import Persons

    persons = Persons(True)
    persons.meet(["łukasz", "system:worker", "anonymous"])
    inner = '{"owner": "Łukasz"}'.encode()
    envelope_ = b'{"payload": "' + base64.b64encode(inner) + b'"}'

    assert not persons.may_leave(inner)
    assert not persons.may_leave(b'{"owner": "\\u0141ukasz"}')
    assert not persons.may_leave(envelope_)
    assert not persons.may_leave(b'{"bundle":"' + base64.urlsafe_b64encode(envelope_) + b'"}')
    assert not persons.may_leave(gzip.compress(inner))
    assert persons.may_leave(b"system:worker, anonymous, lukaszenko")
    assert persons.scrub("ask Łukasz!") == "ask person 1!"


# Other lives


def test_a_deleted_version_is_told_by_its_entries(registry: Audited) -> None:
    fraud = VersionRef("fraud", 1)
    registry.delete(fraud)

    found = registry.take(fraud)

    assert found.made.answer.startswith("No. fraud/1 was deleted on 2026-11-21")
    assert "by alice" in found.made.answer
    assert "versions/fraud/1/manifest.json" in found.files


def test_a_name_used_again_comes_with_what_had_it_before(registry: Audited) -> None:
    fraud = VersionRef("fraud", 1)
    registry.delete(fraud)
    registry.forget_catalogue(fraud)
    registry.accepted("fraud", location="fraud-again")

    found = registry.take(fraud)

    acts = [entry["act"] for entry in found.entries.values()]
    assert acts.count(Act.VERSION_REGISTERED) == 2
    assert found.made.answer.startswith("No. fraud/1 is Candidate")


def test_a_version_nobody_judged_yet_is_told(registry: Audited) -> None:
    registry.register("fresh")

    found = registry.take(VersionRef("fresh", 1))

    assert found.made.answer == "No. fresh/1 is None, and not Approved."
    assert "Nobody has judged it yet." in found.html


def test_a_version_with_hundreds_of_entries_is_complete_and_its_report_short(
    registry: Audited,
) -> None:
    record = registry.record(CHURN)
    with registry.ports.store.begin() as uow:
        for _ in range(200):
            event = Event(
                Act.DOWNLOAD_DENIED, "mallory", registry.ports.clock(), subject_of(record),
                allowed=False,
            )  # fmt: skip
            uow.record(event)

    found = registry.take(CHURN)

    assert len(found.entries) > 200
    assert "200 downloads" in found.html
    assert found.html.count("mallory") == 1


def test_very_many_entries_are_named_by_the_digest_of_their_list(
    registry: Audited, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evidence_export, "_LISTED", 3)

    found = registry.take(CHURN)

    *others, own = found.entries
    facts = found.entries[own]["facts"]
    assert "entries" not in facts
    assert found.json("ledger/listed.json") == others
    assert facts["entries_digest"] == of_bytes(found.files["ledger/listed.json"])
    assert facts["count"] == len(others)


def test_an_entry_about_an_export_stays_within_what_the_tiles_can_hold(registry: Audited) -> None:
    entries = [2**40 + n for n in range(evidence_export._LISTED)]

    assert len(canonical.encode(evidence_export.listed(entries))) < 60_000


def test_more_than_a_bundle_holds_is_refused_before_anything_is_recorded(
    registry: Audited, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evidence_export, "MAX_ENTRIES", 4)
    before = registry.entries()

    with pytest.raises(InvalidRequest, match="shorter period"):
        registry.take(NOVEMBER)

    assert registry.entries() == before


def test_a_period_holds_every_version_that_had_an_act_in_it(registry: Audited) -> None:
    found = registry.take(NOVEMBER)

    assert {p.split("/")[1] for p in found.files if p.startswith("versions/")} == {"churn", "fraud"}
    assert found.made.answer.endswith("1 release, 0 withdrawals, 0 refusals.")
    assert found.json("manifest.json")["of"]["since"] == "2026-11-01T00:00:00.000000Z"


def test_a_period_without_acts_says_so(registry: Audited) -> None:
    found = registry.take(LONG_AGO)

    assert found.made.answer == "Nothing was recorded in this period."
    assert list(found.entries) == [found.made.index]
    assert found.entries[found.made.index]["facts"]["entries"] == []
    assert "Nothing was recorded in this period." in found.pdf


def test_a_registry_in_which_nothing_ever_happened_has_a_bundle(tmp_path: Path) -> None:
    found = Audited(tmp_path).take(LONG_AGO)

    assert found.made.answer == "Nothing was recorded in this period."


def test_a_workspace_has_a_folder_of_its_own() -> None:
    from mlflow_governance.workflows.evidence_versions import folder_of

    assert folder_of(VersionRef("churn", 1, "team")) == "versions/team%3Achurn/1"
    assert folder_of(VersionRef("..x", 1)) == "versions/%2E.x/1"
    assert folder_of(VersionRef("über", 2)) == "versions/%C3%BCber/2"


def test_a_broken_mapping_of_controls_stops_before_anything_is_recorded(
    registry: Audited,
) -> None:
    own = registry.folder / "controls"
    own.mkdir()
    (own / "house.yaml").write_text("version: 1\n")
    before = registry.entries()

    with pytest.raises(Exception, match=r"house\.yaml"):
        registry.take(CHURN)

    assert registry.entries() == before


@pytest.mark.skipif(bundles.one_file_verifier() is None, reason="no one-file verifier here")
def test_the_verifier_in_the_archive_says_it_verifies(taken: Bundle, tmp_path: Path) -> None:
    folder = taken.unpack(tmp_path)
    command = [sys.executable, "-I", "verify.py", "bundle", ".", "--key", "keys/ledger.vkeys"]

    run = subprocess.run(
        [*command, "--registry-key", "keys/registry.pub"],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert run.returncode == 0, run.stdout + run.stderr


def test_a_person_who_is_an_administrator_and_logged_out_is_nobody(registry: Audited) -> None:
    with pytest.raises(Unauthenticated):
        registry.take(CHURN, by=replace(ROOT, authenticated=False))
