"""Evidence, attachments, manifests, approvals and decisions."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mlflow_governance.core import canonical
from mlflow_governance.core import digest as digests
from mlflow_governance.core.dossier import Gate
from mlflow_governance.core.manifest import FileEntry, Manifest
from mlflow_governance.core.stage import Stage
from mlflow_governance.errors import Conflict, InvalidRequest, VerificationError
from mlflow_governance.evidence.interface import EvidenceItem
from mlflow_governance.workflows.ports import Attachment
from tests.unit.store.builders import MODEL, Database, approval, decision


def test_evidence_comes_back_by_name(database: Database) -> None:
    record, other = database.register(), "another version"
    items = [EvidenceItem("b.json", b"\0\xff"), EvidenceItem("a.json", b"same")]
    with database.store.begin() as uow:
        uow.add_evidence(record.uid, items)
        uow.add_evidence(other, [EvidenceItem("a.json", b"same")])

    with database.store.read() as reading:
        assert reading.evidence(record.uid) == items[::-1]
        assert reading.evidence(other) == [items[1]]
        assert reading.attachments(record.uid) == []
    assert database.count("governance_blobs") == 2


def test_evidence_may_be_mended_before_acceptance_and_never_after(database: Database) -> None:
    record = database.register(stage=Stage.NONE)
    for data in (b"broken", b"mended"):
        with database.store.begin() as uow:
            uow.add_evidence(record.uid, [EvidenceItem("model.sig", data)])
    with database.store.begin() as uow:
        now = uow.version_by_uid(record.uid)
        assert now is not None
        uow.move_stage(now, now.with_(stage=Stage.CANDIDATE))

    with pytest.raises(Conflict, match=r"model\.sig"), database.store.begin() as uow:
        uow.add_evidence(
            record.uid, [EvidenceItem("model.sig", b"forged"), EvidenceItem("new", b"")]
        )

    with database.store.read() as reading:
        assert reading.evidence(record.uid) == [EvidenceItem("model.sig", b"mended")]


def test_an_attachment_is_pending_until_it_stands_beside_the_model(database: Database) -> None:
    record = database.register()
    first, second = Attachment("a", b"1"), Attachment("b", b"2")
    with database.store.begin() as uow:
        uow.add_attachments(record.uid, [first, second])
        uow.add_task("mirror", record.uid)
        uow.add_task("register", record.uid)
    newer = replace(second, data=b"3")
    with database.store.begin() as uow:
        uow.add_attachments(record.uid, [newer])
    with database.store.begin() as uow:
        uow.mirrored(record.uid, [first, second])

    with database.store.read() as reading:
        assert reading.attachments(record.uid) == [first, newer]
        assert reading.attachments(record.uid, pending_only=True) == [newer]
    assert database.count("governance_tasks") == 2

    with database.store.begin() as uow:
        uow.mirrored(record.uid, [newer])
    with database.store.read() as reading:
        assert reading.attachments(record.uid, pending_only=True) == []
    assert [kind for (kind,) in database.run("SELECT kind FROM governance_tasks")] == ["register"]


def test_a_manifest_is_found_by_its_digest(database: Database) -> None:
    manifest = Manifest.of([FileEntry("MLmodel", 3, "ab" * 32), FileEntry("é", 0, "cd" * 32)])
    for _ in range(2):
        with database.store.begin() as uow:
            uow.add_manifest(manifest)

    with database.store.read() as reading:
        assert reading.manifest(manifest.digest) == manifest
        assert reading.manifest(MODEL) is None


def test_bytes_changed_in_the_database_are_not_evidence(database: Database) -> None:
    record = database.register()
    with database.store.begin() as uow:
        uow.add_evidence(record.uid, [EvidenceItem("model.sig", b"good")])
    database.run("UPDATE governance_blobs SET data = :data", data=b"evil")

    with pytest.raises(VerificationError), database.store.read() as reading:
        reading.evidence(record.uid)


def test_approvals_come_back_oldest_first(database: Database) -> None:
    record = database.register()
    words = [
        approval(record),
        approval(record, role="owner", person="cleo"),
        approval(record, person="dan", decision="reject", reason="zeros: 0"),
    ]
    for word in words:
        with database.store.begin() as uow:
            uow.add_approval(word)

    with database.store.read() as reading:
        assert reading.approvals(record.uid) == words
        assert reading.approvals("another") == []


def test_a_newer_word_in_the_same_role_withdraws_the_older(database: Database) -> None:
    record = database.register()
    older, newer = approval(record), approval(record, decision="reject")
    beside = approval(record, person="cleo")
    for word in (older, beside, newer):
        with database.store.begin() as uow:
            uow.add_approval(word)

    with database.store.read() as reading:
        assert reading.approvals(record.uid) == [beside, newer]


def test_a_decision_comes_back_with_its_dossier(database: Database) -> None:
    record = database.register()
    made, dossier = decision()
    with database.store.begin() as uow:
        digest = uow.add_decision(made, dossier, record.uid)

    with database.store.read() as reading:
        found = reading.decision(made.decision_id)
        assert reading.decision("nobody") is None
    assert found is not None
    assert canonical.encode(found.pop("dossier")) == dossier
    assert found == made.to_document()
    assert digests.of_bytes(canonical.encode(found)) == digest


def test_the_last_decision_is_the_newest_that_is_no_download(database: Database) -> None:
    record = database.register()
    with database.store.read() as reading:
        assert reading.last_decision(record.uid) is None
    made = [decision(gate) for gate in (Gate.ACCEPT, Gate.PROMOTE, Gate.DOWNLOAD)]
    for pair in made:
        with database.store.begin() as uow:
            uow.add_decision(*pair, record.uid)

    with database.store.read() as reading:
        last = reading.last_decision(record.uid)
    assert last is not None
    assert last["decision_id"] == made[1][0].decision_id


def test_a_decision_is_stored_with_its_own_dossier_only(database: Database) -> None:
    made, _ = decision()
    with pytest.raises(InvalidRequest), database.store.begin() as uow:
        uow.add_decision(made, b"{}", "u1")


@pytest.mark.parametrize(
    "tamper",
    [
        "UPDATE governance_decisions SET document = :other",
        "UPDATE governance_blobs SET data = :other",
        "DELETE FROM governance_blobs",
    ],
)
def test_a_decision_changed_in_the_database_is_refused(database: Database, tamper: str) -> None:
    made, dossier = decision()
    with database.store.begin() as uow:
        uow.add_decision(made, dossier, "u1")
    database.run(tamper, **({"other": b"{}"} if ":other" in tamper else {}))

    with pytest.raises(VerificationError), database.store.read() as reading:
        reading.decision(made.decision_id)
