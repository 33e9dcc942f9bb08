"""Retention: nothing goes before its time, what goes leaves every proof of the rest whole."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from mlflow_governance.audit.export import export_ledger
from mlflow_governance.audit.tiles import bundle_path
from mlflow_governance.core import moment
from mlflow_governance.core.event import Act, Event
from mlflow_governance.core.model_ref import VersionRef
from mlflow_governance.core.person import Person
from mlflow_governance.errors import ConfigurationError, Conflict, LedgerError, NotFound
from mlflow_governance.ledger.elapsed import PAUSE
from mlflow_governance.ledger.entry import read_entry
from mlflow_governance.ledger.gone import LASTING
from mlflow_governance.ledger.handover import KeyHistory
from mlflow_governance.store import tables
from mlflow_governance.store.decisions import SqlDecisions
from mlflow_governance.store.retention import clean
from mlflow_governance.workflows.as_of import Question, as_of
from mlflow_governance.workflows.chronicle import About, Witnessed
from mlflow_governance.workflows.privacy import Erasure, Office, erase
from mlflow_governance.workflows.reconstruct import reconstruct
from mlflow_governance.workflows.retention import _PASSING, Passing, Review, expire
from mlflow_governance.workflows.retention_options import Retention, read_retention
from tests.unit.audit.builders import VERIFIER, check, verifier
from tests.unit.workflows.aged import BEGAN, ENDED, MONTH, OPS, Aged, lived_in, opened

HELD = {"holds": ("KEPT",)}
YEARS = timedelta(days=7 * 366)


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lived_in(tmp_path_factory.getbasetemp())


@pytest.fixture
def registry(lived: Path, tmp_path: Path) -> Aged:
    return opened(lived, tmp_path / "copy")


@pytest.fixture(scope="module")
def expired(lived: Path, tmp_path_factory: pytest.TempPathFactory) -> Aged:
    """After an expiry; for tests that change nothing."""
    registry = opened(lived, tmp_path_factory.mktemp("expired") / "copy")
    assert registry.expire(**HELD)
    return registry


# What may go ---------------------------------------------------------------------------------


def test_what_a_deleted_version_was_goes_whole_and_what_lives_stays(expired: Aged) -> None:
    assert expired.told_of("spam") == []
    assert expired.told_of("churn")[:2] == ["version.registered", "version.transitioned"]
    assert "alias.moved" in expired.told_of("churn")


@pytest.mark.parametrize(
    ("name", "acts"),
    [
        ("kept", ["version.registered", "download.denied", "version.transitioned",
                  "version.deleted"]),  # a legal hold names it
        ("again", ["version.registered", "version.transitioned", "version.deleted",
                   "version.registered", "version.transitioned"]),  # its name lives on
        ("copy", ["version.registered", "version.refused", "version.deleted"]),  # blocked content
        ("leak", ["version.registered", "version.transitioned", "version.revoked"]),
        ("late", ["version.registered", "version.transitioned", "version.deleted"]),  # in 2031
    ],
)  # fmt: skip
def test_what_something_rests_on_stays(expired: Aged, name: str, acts: list[str]) -> None:
    assert expired.told_of(name) == acts


def test_without_its_hold_it_goes(registry: Aged) -> None:
    registry.expire(**HELD)
    registry.live_until(ENDED + 2 * MONTH)

    assert set(registry.going().values()) >= {
        "version.registered", "download.denied", "version.transitioned", "version.deleted",
    }  # fmt: skip


@pytest.mark.parametrize("hold", ["spam", "SP*", "default:*", "default:spam", "*"])
def test_a_hold_names_models_and_workspaces(registry: Aged, hold: str) -> None:
    spam = registry.index_of(Act.VERSION_REGISTERED, "spam")

    assert spam in registry.going()
    assert spam not in registry.going(holds=(hold,))
    assert registry.review(holds=(hold, "chrun*")).unused == ("chrun*",)


def test_what_the_ledger_is_verified_by_never_goes() -> None:
    assert not LASTING & _PASSING


def test_the_newest_start_stays_for_it_names_the_registrys_key(registry: Aged) -> None:
    read = {index: read_entry(data) for index, data in registry.ledger.entries()}
    starts = [index for index, entry in read.items() if entry["act"] == Act.REGISTRY_STARTED]
    review = Review(Retention(), ENDED + 2 * YEARS, certain=True).read(registry.ledger.entries())
    going = {
        one.position: one.documents
        for group in review.groups(registry.ledger.entries())
        for one in group
    }

    assert starts[-1] not in going
    assert set(starts[1:-1]) <= going.keys()
    settings = read[starts[-1]]["after"]["configuration_digest"]
    assert all(settings not in documents for documents in going.values())


def test_expiries_stay_however_old(registry: Aged) -> None:
    registry.expire(**HELD)
    told = registry.index_of(Act.LEDGER_EXPIRED)
    registry.live_until(ENDED + 2 * YEARS)

    assert told not in registry.going()
    assert registry.expire() > 50
    assert read_entry(registry.ledger.entry(told))["act"] == Act.LEDGER_EXPIRED
    assert registry.findings() == []


# Not before its time -------------------------------------------------------------------------


def test_nothing_goes_before_its_time_and_then_it_does(registry: Aged) -> None:
    first = moment.parse(read_entry(registry.ledger.entry(0))["at"])
    refused = registry.index_of(Act.REQUEST_REFUSED)
    at = moment.parse(read_entry(registry.ledger.entry(refused))["at"])
    assert first < at

    assert refused not in registry.going(at + YEARS)
    assert refused in registry.going(at + YEARS + timedelta(microseconds=1))
    assert registry.going(first + YEARS) == {}
    assert refused not in registry.going(years=9)


def test_seven_years_are_never_less_than_on_the_calendar() -> None:
    for year in range(2024, 2032):
        end = BEGAN.replace(year=year + 7)
        assert end - Retention().period <= BEGAN.replace(year=year)


def ahead(registry: Aged) -> None:
    """The clock is ahead when the command is given."""
    registry.clock.now += 2 * YEARS


def ahead_and_started(registry: Aged) -> None:
    """It was ahead when the server started, which is an entry of that time."""
    registry.clock.now += 2 * YEARS
    registry.start()


def ahead_for_a_while(registry: Aged) -> None:
    """It was put right after some days."""
    ahead_and_started(registry)
    registry.clock.now += timedelta(days=3)
    registry.start()
    registry.clock.now -= 2 * YEARS
    registry.start()


@pytest.mark.parametrize("wrong", [ahead, ahead_and_started, ahead_for_a_while])
def test_a_clock_that_is_years_ahead_makes_nothing_old(
    registry: Aged, wrong: Callable[[Aged], None]
) -> None:
    before = registry.going()
    wrong(registry)

    aged = registry.clock.now - ENDED if wrong is ahead_for_a_while else timedelta(days=3)
    assert registry.going().keys() - registry.going(ENDED + aged).keys() == set()
    assert len(registry.going()) <= len(before) + 1
    assert registry.review().uncounted > YEARS


def test_an_entry_that_is_dated_years_back_is_as_old_as_where_it_stands(registry: Aged) -> None:
    with registry.ports.store.begin() as uow:
        index = uow.record(Event(Act.ADVISORIES_CHANGED, "ann", BEGAN - YEARS))

    assert index not in registry.going()
    assert registry.going()  # and the clock is right again


def test_a_rehearsal_may_ask_what_would_go_later(registry: Aged) -> None:
    later = ENDED + 2 * YEARS
    review = Review(Retention(), later, certain=True).read(registry.ledger.entries())

    assert review.uncounted > PAUSE
    assert len(list(review.groups(registry.ledger.entries()))) > len(registry.going())


@pytest.mark.parametrize(
    "terms",
    [
        {"years": 0.5}, {"years": 101}, {"years": True}, {"years": "7"}, {"holds": "churn"},
        {"holds": [" "]}, {"holds": [1]}, {"year": 7}, [7], {"events_days": 1}, {"years": None},
        {"years": float("nan")},
    ],
)  # fmt: skip
def test_terms_that_are_none_are_refused(terms: object) -> None:
    with pytest.raises(ConfigurationError, match="retention"):
        read_retention(terms)


# What is left --------------------------------------------------------------------------------


def test_everything_agrees_afterwards(expired: Aged) -> None:
    assert expired.findings() == []
    report = expired.ledger.verify(expired.ledger_key)
    told = read_entry(expired.ledger.entry(report.size - 1))
    assert (told["act"], told["facts"]["count"]) == (Act.LEDGER_EXPIRED, report.deleted)
    assert told["facts"]["years"] == 7
    assert told["facts"]["holds"] == ["KEPT"]
    assert told["facts"]["before"] == moment.to_text(moment.parse(told["at"]) - YEARS)


def test_no_name_and_no_word_is_left_in_the_files(registry: Aged) -> None:
    def traces() -> set[bytes]:
        files = registry.artifacts.root.parent.glob("registry.db*")
        data = b"".join(path.read_bytes() for path in files)
        words = b"wanda.orsay", b"spam was for the quarterly", b"kept was for the quarterly"
        return {word for word in words if word in data}

    assert len(traces()) == 3
    registry.expire(**HELD)
    clean(registry.sessions)

    assert traces() == {b"kept was for the quarterly"}


def test_what_an_erasure_put_in_the_place_of_a_dossier_goes_with_it(registry: Aged) -> None:
    person = Person.known_as("wanda.orsay")
    blobs = sa.select(sa.func.count()).select_from(tables.blobs)

    def documents() -> int:
        with registry.sessions(True) as session:
            return int(session.connection().execute(blobs).scalar_one())

    office = Office(registry.ports.store, registry.ports.signer, registry.clock)  # type: ignore[arg-type]
    erase(office, Erasure(person, OPS, "request 17"))
    before = documents()
    decided = len([act for act in registry.going(**HELD).values() if act == "version.transitioned"])
    registry.expire(**HELD)

    assert registry.findings() == []
    assert before - documents() >= decided + 2  # dossiers, the denial's and the first settings


def test_what_is_left_of_a_deleted_entry_proves_it_still(registry: Aged) -> None:
    spam = registry.index_of(Act.VERSION_REGISTERED, "spam")
    data, proof = registry.ledger.entry(spam), registry.ledger.inclusion_proof(spam)
    registry.expire(**HELD)

    assert proof.verify(data, registry.ledger_key).size < registry.entries()
    registry.ledger.inclusion_proof(spam).verify(data, registry.ledger_key)
    teller = registry.index_of(Act.LEDGER_EXPIRED)
    with pytest.raises(NotFound, match=f"entry {spam} was deleted .*; entry {teller} says so"):
        registry.ledger.entry(spam)


def test_the_past_is_told_with_what_is_left_of_it(registry: Aged) -> None:
    witnessed = Witnessed(registry.ledger, registry.ledger_key)
    question = Question(BEGAN + timedelta(hours=12))
    before = as_of(witnessed, question, ENDED).document(registry.ledger)
    registry.expire()
    after = as_of(witnessed, question, ENDED).document(registry.ledger)

    assert before["ledger"]["deleted"] == 0
    assert after["ledger"]["deleted"] > 5
    for same in ("root", "size"):
        assert before["ledger"][same] == after["ledger"][same]
    assert (before["versions"], before["aliases"]) == (after["versions"], after["aliases"])
    assert after["contradictions"] == []


def test_histories_and_decisions_of_the_living_are_whole(registry: Aged) -> None:
    ref = VersionRef("churn", 1)
    with registry.ports.store.read() as reading:
        before = reading.history(About("default", "churn", 1), -1, 100).entries
    registry.expire()
    with registry.ports.store.read() as reading:
        told = reading.history(About("default", "churn", 1), -1, 100).entries
        assert told == [one for one in before if one["act"] != Act.DOWNLOAD_DENIED]
        row = SqlDecisions(registry.sessions).one(registry.record(ref).decision_id)
        assert row is not None
        witnessed = Witnessed(registry.ledger, registry.ledger_key)
        assert reconstruct(reading, witnessed, row).alarms == ()


def test_decisions_dossiers_and_settings_of_what_is_gone_are_gone(
    lived: Path, expired: Aged, tmp_path: Path
) -> None:
    whole = opened(lived, tmp_path / "whole")
    going = whole.going(**HELD)
    gone = [read_entry(data) for index, data in whole.ledger.entries() if index in going]
    decided = {one["decision_id"] for one in gone} - {""}
    documents = {one["subject"]["digest"] for one in gone if one["subject"]["name"] == "spam"}
    documents.add(gone[0]["after"]["configuration_digest"])  # of the first start alone
    documents.discard(None)
    assert len(decided) >= 2

    kept = SqlDecisions(expired.sessions)
    assert not any(kept.one(decision) for decision in decided)
    with expired.ports.store.read() as reading:
        # What "late" was registered with is the same content, and not past its time.
        model = read_entry(expired.ledger.entry(expired.index_of(Act.VERSION_DELETED, "late")))
        shared = model["subject"]["digest"]
        assert shared in documents
        assert reading.document(shared) is not None
        assert not any(reading.document(one) for one in documents - {shared})


def test_an_export_after_it_verifies_and_one_before_it_is_the_archive(
    registry: Aged, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verifier(), "now", registry.ports.clock)  # years later than here
    keys = KeyHistory((registry.ledger_key,))
    index = registry.index_of(Act.VERSION_REGISTERED, "spam")
    data = registry.ledger.entry(index)
    export_ledger(registry.ledger, tmp_path / "archive", keys, [])
    registry.expire()
    for folder in ("archive", "anew"):
        done = export_ledger(registry.ledger, tmp_path / folder, keys, [])
        if b"ledger.expired" in VERIFIER.read_bytes():
            answer = check("ledger", tmp_path / folder, "--key", registry.ledger_key.encode())
            assert (answer.code, answer.report["root"]) == (0, done.root), answer.problem
    for folder, kept in (("archive", True), ("anew", False)):
        newest = tmp_path / folder / bundle_path(0, done.size)
        assert (data in newest.read_bytes()) == kept


# Done by whom, and how often -----------------------------------------------------------------


def test_repeating_it_lets_nothing_more_go(registry: Aged) -> None:
    assert registry.expire() > 10
    size = registry.entries()

    assert registry.going() == {}
    assert not registry.review().uncounted, "what stood in the gaps is known"
    assert registry.expire() == 0
    assert registry.entries() == size


def test_two_at_once_let_each_entry_go_once(registry: Aged) -> None:
    review = registry.review()
    groups = list(review.groups(registry.ledger.entries()))
    size = registry.entries() + 1
    assert expire(registry.ports.store, review, groups, OPS)

    with pytest.raises(Conflict, match="gone already"):
        expire(registry.ports.store, review, groups, OPS)
    assert registry.entries() == size
    assert registry.findings() == []


def test_one_that_is_interrupted_goes_on(registry: Aged, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlflow_governance.workflows.retention.AT_ONCE", 4)
    review = registry.review()
    wanted = len(registry.going())
    groups = review.groups(registry.ledger.entries())

    def dying():  # type: ignore[no-untyped-def]
        for number, group in enumerate(groups):
            if number == 7:
                raise KeyboardInterrupt
            yield group

    with pytest.raises(KeyboardInterrupt):
        expire(registry.ports.store, review, dying(), OPS)
    first = registry.ledger.verify(registry.ledger_key).deleted
    assert 0 < first < wanted
    assert registry.findings() == []
    assert registry.expire() == wanted - first
    assert registry.ledger.verify(registry.ledger_key).deleted == wanted
    assert registry.findings() == []


def test_a_version_goes_in_one_transaction_or_not_at_all(
    registry: Aged, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlflow_governance.workflows.retention.AT_ONCE", 2)

    assert registry.index_of(Act.VERSION_REGISTERED, "spam") not in registry.going()
    assert registry.expire()
    assert registry.findings() == []


def test_a_refused_expiry_leaves_everything_as_it_was(
    registry: Aged, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = registry.entries()
    monkeypatch.setattr(Review, "told", lambda *_: 1 / 0)

    with pytest.raises(ZeroDivisionError):
        registry.expire()
    assert registry.entries() == size
    assert registry.going()


# By no other hand ----------------------------------------------------------------------------


def blanked(registry: Aged, index: int, **columns: str) -> None:
    table = tables.ledger_entries
    values = {"entry": b"", **columns}
    registry.run(sa.update(table).where(table.c.position == index).values(**values))


GONE = {"act": "expired", "version_uid": ""}


@pytest.mark.parametrize("columns", [{}, GONE], ids=["its bytes", "as if by right"])
def test_an_entry_somebody_else_deleted_is_named(registry: Aged, columns: dict[str, str]) -> None:
    registry.expire()
    index = registry.index_of(Act.VERSION_REVOKED, "leak")
    blanked(registry, index, **columns)

    with pytest.raises(LedgerError, match=f"entry {index} is missing: its bytes were") as caught:
        registry.entries()
    assert caught.value.details["index"] == index
    assert [finding.code for finding in registry.findings()].count("VAL-001") == 1


def test_whoever_deletes_the_word_about_the_deletions_is_caught(registry: Aged) -> None:
    first = min(registry.going())
    registry.expire()
    told = registry.index_of(Act.LEDGER_EXPIRED)
    blanked(registry, told, **GONE)

    with pytest.raises(LedgerError, match=f"entry {first} is missing"):
        registry.entries()


def test_whoever_forges_the_word_about_a_deletion_is_caught(registry: Aged) -> None:
    registry.expire()
    told = registry.index_of(Act.LEDGER_EXPIRED)
    index = registry.index_of(Act.VERSION_REVOKED, "leak")
    blanked(registry, index, **GONE)
    document = json.loads(registry.ledger.entry(told))
    said = json.dumps({**document, "facts": {**document["facts"], "entries": f"0-{index}"}})
    blanked(registry, told, entry=said.encode())

    with pytest.raises(LedgerError, match=f"entry {told}, which says what was deleted, is no"):
        registry.entries()


def test_no_workflow_can_delete_what_the_ledger_is_verified_by(registry: Aged) -> None:
    registry.expire()
    told = registry.index_of(Act.LEDGER_EXPIRED)
    with pytest.raises(Conflict), registry.ports.store.begin() as uow:
        uow.let_go([Passing(told, "ledger.expired", (), "", "")])
    assert registry.ledger.entry(told)
