"""What somebody wrote into the database counts for nothing: the ledger has to prove it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from mlflow_governance.core import canonical
from mlflow_governance.core.digest import of_bytes
from mlflow_governance.core.event import Act
from mlflow_governance.core.model_ref import VersionRef
from mlflow_governance.core.person import Person
from mlflow_governance.core.stage import Stage
from mlflow_governance.errors import Denied, LedgerError
from mlflow_governance.ledger.merkle import leaf_hash
from mlflow_governance.ledger.redaction import Redaction, commit
from mlflow_governance.store import tables as ours
from mlflow_governance.workflows.admit import admit
from mlflow_governance.workflows.alias import AliasMove, move_alias
from mlflow_governance.workflows.approve import approve
from mlflow_governance.workflows.ports import Request
from mlflow_governance.workflows.privacy import Erasure, Office, erase
from mlflow_governance.workflows.promote import rejudge, transition
from mlflow_governance.workflows.withdraw import withdraw
from tests.unit.workflows.builders import ALICE, PIA, ROOT, SAM
from tests.unit.workflows.watched import Watched

CHURN, FRAUD = VersionRef("churn", 1), VersionRef("fraud", 1)
NOWHERE = "sha256:" + "0" * 64
Plant = Callable[[Watched], None]


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``churn/1`` released, ``fraud/1`` at Staging with the approval of one of two."""
    folder = tmp_path_factory.mktemp("proven")
    registry = Watched(folder)
    registry.approved("churn")
    registry.accepted("fraud")
    transition(registry.ports, Request(ALICE, FRAUD), Stage.STAGING)
    approve(registry.ports, Request(SAM, FRAUD, "read it"), "security", "approve")
    registry.sessions.dispose()
    return folder


@pytest.fixture
def registry(lived: Path, tmp_path: Path) -> Watched:
    shutil.copytree(lived, tmp_path / "copy")
    return Watched(tmp_path / "copy")


def release(registry: Watched, ref: VersionRef = FRAUD) -> None:
    transition(registry.ports, Request(PIA, ref), Stage.APPROVED)


def download(registry: Watched, ref: VersionRef = CHURN) -> None:
    admit(registry.ports, Request(ALICE, ref), "registry")


def change(table: sa.Table, ref: VersionRef, **values: object) -> Plant:
    def plant(registry: Watched) -> None:
        mine = (table.c.name == ref.name, table.c.version == ref.version)
        assert registry.run(sa.update(table).where(*mine).values(values)) == 1

    return plant


def words(**values: object) -> Plant:
    def plant(registry: Watched) -> None:
        mine = ours.approvals.c.version_uid == registry.record(FRAUD).uid
        assert registry.run(sa.update(ours.approvals).where(mine).values(values)) == 1

    return plant


def forged_word(registry: Watched, **changes: object) -> None:
    record = registry.record(FRAUD)
    with registry.ports.store.read() as reading:
        (given,) = reading.approvals(record.uid)
    row = {
        "uid": "forged", "version_uid": record.uid, "person": "pia", "role": "product",
        "decision": "approve", "model_digest": record.digest, "reason": "trust me", "at": given.at,
        "policy_digest": given.policy_digest, "withdrawn": False,
    }  # fmt: skip
    registry.run(sa.insert(ours.approvals).values(row | changes))


def forged_entry(registry: Watched) -> None:
    """An approval with an entry as it should be, appended by somebody without the key."""
    forged_word(registry)
    with registry.ports.store.read() as reading:
        told = reading.entries_of([Act.APPROVAL_GIVEN], about=registry.record(FRAUD).uid)
    entry = canonical.decode_object(told[-1][1])
    index = registry.ledger.verify(registry.ledger_key).size
    entry |= {"index": index, "facts": {**entry["facts"], "role": "product", "approval": "forged"}}
    append(registry, index, entry)


def append(registry: Watched, index: int, entry: dict[str, Any]) -> None:
    data = canonical.encode(entry)
    registry.run(
        sa.insert(ours.ledger_entries).values(
            position=index, entry=data, leaf_hash=leaf_hash(data), act=entry["act"],
            version_uid=entry["subject"]["uid"], at=registry.ports.clock(),
        )
    )  # fmt: skip


def edited_entry(registry: Watched) -> None:
    """The approval that was given, rewritten together with its entry."""
    table = ours.ledger_entries
    with registry.ports.store.read() as reading:
        ((index, data),) = reading.entries_of(
            [Act.APPROVAL_GIVEN], about=registry.record(FRAUD).uid
        )
    new = data.replace(b'"role":"security"', b'"role":"product"')
    registry.run(
        sa.update(table).where(table.c.position == index)
        .values(entry=new, leaf_hash=leaf_hash(new))
    )  # fmt: skip
    words(role="product")(registry)


FOR_A_RELEASE: dict[str, Plant] = {
    "an approval inserted": forged_word,
    "an approval with an entry nobody signed": forged_entry,
    "an approval and its entry edited": edited_entry,
    "an approval of another role": words(role="product"),
    "an approval of somebody else": words(person="pia"),
    "an approval of another content": words(model_digest=NOWHERE),
    "an approval under another policy": words(policy_digest=NOWHERE),
    "an approval gone": lambda registry: (
        registry.run(
            sa.delete(ours.approvals).where(
                ours.approvals.c.version_uid == registry.record(FRAUD).uid
            )
        )
        and None
    ),
    "another submitter": change(ours.versions, FRAUD, submitter="somebody"),
    "another digest": change(ours.versions, FRAUD, digest=NOWHERE),
    "another place": change(ours.versions, FRAUD, location="churn-1"),
}


@pytest.mark.parametrize("name", FOR_A_RELEASE)
def test_nothing_is_released_on_what_the_ledger_does_not_prove(
    registry: Watched, name: str
) -> None:
    FOR_A_RELEASE[name](registry)
    if name == "another place":  # the same bytes, so that nothing else is wrong with it
        shutil.rmtree(registry.artifacts.root / "churn-1")
        shutil.copytree(registry.artifacts.root / "fraud-1", registry.artifacts.root / "churn-1")

    with pytest.raises((LedgerError, Denied)) as refused:
        release(registry)

    if name != "another digest":  # there the files are not those any more
        assert isinstance(refused.value, LedgerError)
        assert "mlflow-governance validate" in refused.value.advice
    assert registry.record(FRAUD).stage is Stage.STAGING


def test_an_alarm_is_an_entry_and_told_once(registry: Watched) -> None:
    forged_word(registry)
    for _ in range(3):
        with pytest.raises(LedgerError):
            release(registry)

    with registry.ports.store.read() as reading:
        (told,) = reading.entries_of([Act.REGISTRY_ALARMED])
    entry = canonical.decode_object(told[1])
    assert not entry["allowed"]
    assert entry["subject"]["uid"] == registry.record(FRAUD).uid
    assert entry["facts"]["found"] == "an approve as product counts that nobody gave"


def test_a_word_that_was_taken_back_does_not_return(registry: Watched) -> None:
    approve(registry.ports, Request(SAM, FRAUD, "no"), "security", "withdraw")
    words(withdrawn=False)(registry)

    with pytest.raises(LedgerError):
        release(registry)


def relabel(registry: Watched, ref: VersionRef, told: Act, values: dict[str, str]) -> None:
    """Change the unsigned columns of an entry, which no proof covers."""
    table = ours.ledger_entries
    mine = (table.c.version_uid == registry.record(ref).uid, table.c.act == told.value)
    assert registry.run(sa.update(table).where(*mine).values(values)) == 1


def released_without_sam(registry: Watched) -> None:
    approve(registry.ports, Request(SAM, FRAUD, "no"), "security", "withdraw")
    approve(registry.ports, Request(PIA, FRAUD, "fine"), "product", "approve")
    security = ours.approvals.c.role == "security"
    mine = ours.approvals.c.version_uid == registry.record(FRAUD).uid
    registry.run(sa.update(ours.approvals).where(mine, security).values(withdrawn=False))


HIDDEN = {"act": "approval.refused"}, {"version_uid": "x"}


@pytest.mark.parametrize("values", HIDDEN, ids=["by act", "by version"])
def test_a_withdrawal_that_was_hidden_still_counts(
    registry: Watched, values: dict[str, str]
) -> None:
    released_without_sam(registry)
    relabel(registry, FRAUD, Act.APPROVAL_WITHDRAWN, values)

    with pytest.raises(LedgerError):
        release(registry)
    assert registry.record(FRAUD).stage is Stage.STAGING


@pytest.mark.parametrize("values", HIDDEN, ids=["by act", "by version"])
def test_a_revocation_that_was_hidden_still_counts(
    registry: Watched, values: dict[str, str]
) -> None:
    table = ours.versions
    with registry.sessions.engine.connect() as connection:
        mine = sa.select(table).where(table.c.name == "churn")
        before = dict(connection.execute(mine).mappings().one())
    withdraw(registry.ports, Request(SAM, CHURN, "a leak"), Stage.REVOKED)
    relabel(registry, CHURN, Act.VERSION_REVOKED, values)
    change(table, CHURN, **before)(registry)
    registry.run(sa.delete(ours.blocked))

    with pytest.raises(LedgerError):
        download(registry)
    with pytest.raises(LedgerError):
        move_alias(registry.ports, Request(SAM, CHURN), AliasMove("champion"), lambda: None)


def test_what_another_process_wrote_is_missed_once_it_was_proved(
    registry: Watched, tmp_path: Path
) -> None:
    approve(registry.ports, Request(SAM, FRAUD, "no"), "security", "withdraw")
    later = Watched(tmp_path / "copy")
    rejudge(later.ports, Request(ALICE, FRAUD))
    relabel(later, FRAUD, Act.APPROVAL_WITHDRAWN, {"version_uid": "x"})
    words(withdrawn=False)(later)

    with pytest.raises(LedgerError, match="not among those of it any more"):
        rejudge(later.ports, Request(ALICE, FRAUD))


def test_an_entry_with_other_bytes_is_not_left_out(registry: Watched) -> None:
    released_without_sam(registry)
    table = ours.ledger_entries
    with registry.ports.store.read() as reading:
        ((index, data),) = reading.entries_of([Act.APPROVAL_WITHDRAWN])
    other = data.replace(b'"act":"approval.withdrawn"', b'"act":"approval.refused"')
    registry.run(sa.update(table).where(table.c.position == index).values(entry=other))

    with pytest.raises(LedgerError, match="not in the ledger that was signed"):
        release(registry)


@pytest.mark.parametrize(
    "statement",
    [
        sa.update(ours.private).values(salt=sa.text("'text'")),
        sa.update(ours.ledger_head).values(note=sa.cast(ours.ledger_head.c.note, sa.BLOB)),
        sa.update(ours.ledger_head).values(note=sa.text("x'ff00'")),
        sa.update(ours.ledger_entries).values(entry=sa.text("'text'")),
        sa.update(ours.ledger_entries).values(act=sa.cast(ours.ledger_entries.c.act, sa.BLOB)),
    ],
    ids=["salt", "note", "note of nothing", "entry", "act"],
)
def test_values_of_another_type_break_nothing(registry: Watched, statement: sa.Update) -> None:
    registry.run(statement)

    with pytest.raises((LedgerError, Denied)):
        release(Watched(registry.artifacts.root.parent))


def test_an_objection_that_vanished_is_missed(registry: Watched) -> None:
    approve(registry.ports, Request(PIA, FRAUD, "no"), "product", "reject")
    approvals = ours.approvals.c
    registry.run(sa.delete(ours.approvals).where(approvals.decision == "reject",
                                                 approvals.withdrawn.is_(False)))  # fmt: skip

    with pytest.raises(LedgerError, match="gone"):
        release(registry)


FOR_A_DOWNLOAD: dict[str, Plant] = {
    "a stage set": change(ours.versions, FRAUD, stage="Approved"),
    "other facts": change(ours.versions, FRAUD, facts=b"{}"),
    "another trust": change(ours.versions, FRAUD, trust_digest=NOWHERE),
    "another policy": change(ours.versions, FRAUD, policy_digest=NOWHERE),
    "another decision": change(ours.versions, FRAUD, decision_id="d"),
    "another submitter": change(ours.versions, FRAUD, submitter="alice2"),
}


@pytest.mark.parametrize("name", FOR_A_DOWNLOAD)
def test_nothing_is_handed_out_on_what_the_ledger_does_not_prove(
    registry: Watched, name: str
) -> None:
    FOR_A_DOWNLOAD[name](registry)

    with pytest.raises(LedgerError):
        download(registry, FRAUD)
    with pytest.raises(LedgerError):
        move_alias(registry.ports, Request(SAM, FRAUD), AliasMove("champion"), lambda: None)


def test_a_withdrawn_version_is_not_brought_back_by_its_row(registry: Watched) -> None:
    withdraw(registry.ports, Request(SAM, CHURN, "a leak"), Stage.REVOKED)
    digest = registry.record(CHURN).digest
    change(ours.versions, CHURN, stage="Approved")(registry)
    registry.run(sa.delete(ours.blocked).where(ours.blocked.c.digest == digest))

    with pytest.raises(LedgerError, match="stands at Approved"):
        download(registry)


def test_what_was_changed_can_be_taken_out_of_use(registry: Watched) -> None:
    forged_word(registry)
    change(ours.versions, FRAUD, submitter="somebody")(registry)

    withdraw(registry.ports, Request(SAM, FRAUD, "tampered"), Stage.QUARANTINED)

    assert registry.record(FRAUD).stage is Stage.QUARANTINED
    with pytest.raises(LedgerError):
        transition(registry.ports, Request(SAM, FRAUD, "well"), Stage.STAGING)


@pytest.mark.parametrize(("person", "count"), [("alice", 2), ("sam", 1)])
def test_a_pseudonym_stands_for_who_was_erased(registry: Watched, person: str, count: int) -> None:
    office = Office(registry.ports.store, registry.ports.signer, registry.ports.clock)
    erase(office, Erasure(Person.known_as(person), ROOT, "request 17"))

    download(registry)
    judgement = rejudge(registry.ports, Request(PIA, CHURN))
    assert len(judgement.dossier.approvals) == count
    assert judgement.decision.allow is (count == 2)
    assert judgement.dossier.subject.submitter != ""
    assert person not in str(judgement.dossier.to_document())


def test_an_erasure_that_nobody_signed_is_none(registry: Watched) -> None:
    office = Office(registry.ports.store, registry.ports.signer, registry.ports.clock)
    erase(office, Erasure(Person.known_as("sam"), ROOT, "request 17"))
    table = ours.ledger_entries
    with registry.ports.store.read() as reading:
        ((index, data),) = reading.entries_of([Act.PERSON_ERASED])
        (word, _) = reading.approvals(registry.record(CHURN).uid)
    rows = ours.redactions.c
    with registry.sessions.engine.connect() as connection:
        pairs = connection.execute(sa.select(rows.digest, rows.replacement)).all()
    other = [Redaction(d, "mallory" if r == word.person else r) for d, r in pairs]
    before = canonical.decode_object(data)
    forged = canonical.encode(before | {"facts": before["facts"] | {"replaced": commit(other)}})
    run = registry.run
    run(sa.update(ours.redactions).where(rows.replacement == word.person)
        .values(replacement="mallory"))  # fmt: skip
    run(sa.update(ours.approvals).where(ours.approvals.c.person == word.person)
        .values(person="mallory"))  # fmt: skip
    run(sa.update(table).where(table.c.position == index).values(entry=forged))

    with pytest.raises(LedgerError, match="not in the ledger that was signed"):
        rejudge(registry.ports, Request(PIA, CHURN))


def test_a_name_that_is_gone_approves_nothing_any_more(registry: Watched) -> None:
    registry.run(sa.delete(ours.private).where(ours.private.c.person == "sam"))
    judgement = rejudge(registry.ports, Request(ALICE, CHURN))

    assert [word["person"] for word in judgement.dossier.approvals] == ["pia"]
    assert registry.record(CHURN).stage is Stage.APPROVED
    download(registry)


def test_a_name_that_is_gone_keeps_objecting(registry: Watched) -> None:
    approve(registry.ports, Request(PIA, FRAUD, "no"), "product", "reject")
    registry.run(sa.delete(ours.private))

    judgement = rejudge(registry.ports, Request(ALICE, FRAUD))

    assert [word["decision"] for word in judgement.dossier.approvals] == ["reject"]
    assert judgement.dossier.subject.submitter == ""


def test_statements_that_were_attached_are_missed(registry: Watched) -> None:
    registry.run(sa.delete(ours.files).where(ours.files.c.role == "evidence"))

    with pytest.raises(LedgerError, match="attached"):
        rejudge(registry.ports, Request(ALICE, CHURN))


def test_a_row_is_proved_once_until_it_changes(
    registry: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    prove = registry.ports.store.prove
    monkeypatch.setattr(
        registry.ports.store, "prove", lambda told, **how: asked.append(len(told)) or prove(told, **how)
    )
    download(registry)
    known = len(asked)
    for _ in range(5):
        download(registry)
    assert len(asked) == known

    change(ours.versions, CHURN, location=of_bytes(b"elsewhere"))(registry)
    with pytest.raises(LedgerError):
        download(registry)
