"""Recorded decisions under other rules: exact, complete, and never past what was changed."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.history import NEWEST, History
from mlflow_governance.cli import history
from mlflow_governance.cli.history import Wanted, gather, instant
from mlflow_governance.cli.main import cli
from mlflow_governance.cli.policy_replay import ReplayJob
from mlflow_governance.core import canonical
from mlflow_governance.core.digest import of_bytes
from mlflow_governance.core.dossier import Dossier, Gate
from mlflow_governance.core.model_ref import VersionRef
from mlflow_governance.errors import InvalidRequest
from mlflow_governance.policy.bundle import Bundle
from mlflow_governance.policy.decide import decide
from mlflow_governance.policy.embedded import EmbeddedEngine
from mlflow_governance.policy.replay import Change, Turn, Verdict, replay
from mlflow_governance.store import spread
from mlflow_governance.store.decisions import SqlDecisions
from mlflow_governance.store.sessions import session_factory_for
from mlflow_governance.store.spread import PART, Span, Spread
from mlflow_governance.workflows.recorded import Scope
from mlflow_governance.workflows.replay import Report, replay_rows
from tests.unit.policy.builders import NOW, configured, dossier, shipped
from tests.unit.policy.reference import GATES
from tests.unit.workflows.past import Past, many
from tests.unit.workflows.policy_builders import compiled

SHIPPED = compiled(shipped())
EVERYTHING = Scope()


@pytest.fixture
def past(tmp_path: Path) -> Iterator[Past]:
    opened = Past(tmp_path)
    yield opened
    opened.close()


def replayed(past: Past, bundle: Bundle, scope: Scope = EVERYTHING) -> Report:
    return replay_rows(past.rows(), compiled(bundle), scope)


def asked(past: Past, *arguments: str) -> tuple[int, dict[str, Any]]:
    """The command's exit code and its JSON."""
    given_ = ["policy", "replay", "--backend-store-uri", past.url, "--format", "json", *arguments]
    result = CliRunner().invoke(cli, given_)
    return result.exit_code, json.loads(result.stdout)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6))
def test_the_same_bundle_answers_the_same(seed: int) -> None:
    for made in list(many(3, seed))[-3:]:
        recorded = Verdict.from_document(decide(SHIPPED, made).to_document())

        turn, _ = replay(SHIPPED, Dossier.from_encoded(made.encoded), recorded)

        assert turn == Turn(Change.SAME)


def test_replaying_a_history_with_its_own_bundle_finds_nothing(past: Past) -> None:
    ids = past.record(many(400))

    report = replayed(past, shipped())

    assert report.looked == report.asked == len(ids)
    assert report.changes == {Change.SAME: len(ids)}
    assert not report.groups
    assert not report.corrupt


def _scores(document: Any) -> Any:
    # A limit lowered from 7 to 5 is, to the oracle, every score from 5 on raised past 7.
    spoiled = copy.deepcopy(document)
    facts = spoiled["evidence"].get("vulnerabilities", {}).get("facts", {})
    listed = facts.get("vulnerabilities")
    for entry in listed if isinstance(listed, list) else []:
        if isinstance(entry, dict) and isinstance(entry.get("cvss"), int | float):
            entry["cvss"] = 9.9 if entry["cvss"] >= 5 else entry["cvss"]
    return spoiled


def _only_approved(document: Any) -> Any:
    # Taking a stage off the list of those that are served is, to the oracle, standing elsewhere.
    spoiled = copy.deepcopy(document)
    if spoiled["gate"] == "download" and spoiled["subject"]["stage"] in ("Staging", "Deprecated"):
        spoiled["subject"]["stage"] = "Quarantined"
    return spoiled


@pytest.mark.parametrize(
    ("settings_", "as_if"),
    [
        ({"blocking_cvss": 5.0}, _scores),
        ({"deployable_stages": ["Approved"]}, _only_approved),
    ],
    ids=["a lower limit", "fewer stages"],
)
def test_a_flipped_rule_finds_exactly_what_the_oracle_says(
    past: Past, settings_: dict[str, Any], as_if: Callable[[Any], Any]
) -> None:
    def scored(made: Dossier, cvss: float) -> Dossier:
        document = json.loads(made.encoded)
        document["evidence"]["vulnerabilities"]["facts"]["vulnerabilities"][0]["cvss"] = cvss
        return Dossier.from_document(document)

    dossiers = [
        *many(250),
        *(scored(dossier(gate), cvss) for gate in Gate for cvss in (4.9, 5.0, 6.9)),
        *(dossier(Gate.DOWNLOAD, subject=replace(dossier(Gate.DOWNLOAD).subject, stage=stage))
          for stage in {d.subject.stage for d in many(100)}),
    ]  # fmt: skip
    ids = past.record(dossiers)
    expected = set()
    for decision_id, made in zip(ids, dossiers, strict=True):
        document = json.loads(made.encoded)
        gate = GATES[made.gate.value]
        if decide(SHIPPED, made).allow and not gate(as_if(document)):
            expected.add(decision_id)

    engine = compiled(configured(**settings_))
    found = set()
    for row in past.rows():
        report = replay_rows([row], engine, EVERYTHING)
        assert report.changes[Change.ALLOWED] == 0
        if report.changes[Change.DENIED]:
            found.add(row.decision_id)

    assert expected
    assert found == expected
    whole = replayed(past, configured(**settings_))
    assert whole.changes[Change.DENIED] == len(expected)
    assert whole.asked == len(ids)


def test_a_looser_bundle_names_the_check_that_denies_no_longer(past: Past) -> None:
    made = dossier(Gate.DOWNLOAD, subject=replace(dossier(Gate.DOWNLOAD).subject, blocked=False))
    candidate = replace(made, subject=replace(made.subject, stage=made.subject.stage.CANDIDATE))
    (decision_id,) = past.record([candidate])

    report = replayed(past, configured(deployable_stages=["Candidate", "Staging", "Approved"]))

    document = report.to_document()
    assert document["newly_allowed"] == 1
    (group,) = document["groups"]
    assert (group["change"], group["denies"]) == ("newly allowed", False)
    assert group["examples"][0]["decision_id"] == decision_id
    assert group["models"] == [{"model": "churn", "decisions": 1}]


def test_other_reasons_are_told_apart_from_other_verdicts() -> None:
    before, after = Verdict(False, frozenset("ab")), Verdict(False, frozenset("bc"))

    assert Turn.between(before, after) == Turn(Change.REASONS, ("c",), ("a",))
    assert Turn.between(before, before) == Turn(Change.SAME)
    assert Turn.between(Verdict(True, frozenset()), after) == Turn(Change.DENIED, ("b", "c"))
    assert Turn.between(after, Verdict(True, frozenset())) == Turn(Change.ALLOWED, (), ("b", "c"))


def test_a_bundle_that_breaks_on_a_dossier_denies_it(past: Past) -> None:
    past.record([dossier(Gate.ALIAS)])
    source = b'package registry.alias\ndecision := {"allow": false} if not input.gate\n'
    broken = configured()
    files = {**broken.files, "registry/alias/alias.rego": source}
    from mlflow_governance.policy.bundle import from_files

    report = replay_rows(past.rows(), EmbeddedEngine(from_files(files)), EVERYTHING)

    assert [turned.code for turned in report.groups] == ["ENG-UNDEFINED"]
    assert report.changes == {Change.DENIED: 1}


def test_the_policy_digest_stays_as_recorded(past: Past) -> None:
    # The approvals of this dossier are bound to the digest it was recorded with.
    past.record([dossier(Gate.PROMOTE)])

    report = replayed(past, configured(max_advisory_age_days=90))

    assert report.asked == 1
    assert {turned.code for turned in report.groups} <= {"ACC-005", "PRO-008"}


CORRUPTIONS = {
    "another verdict in the row": "UPDATE governance_decisions SET allow = NOT allow",
    "another gate in the row": "UPDATE governance_decisions SET gate = 'withdraw'",
    "another version in the row": "UPDATE governance_decisions SET version_uid = 'x'",
    "another id in the row": "UPDATE governance_decisions SET decision_id = 'x'",
    "other bytes": "UPDATE governance_decisions SET document = '{}'",
    "other digest": "UPDATE governance_decisions SET digest = 'sha256:x'",
    "other dossier bytes": "UPDATE governance_blobs SET data = '{}'",
    "no dossier": "DELETE FROM governance_blobs",
    "another dossier": "UPDATE governance_decisions SET dossier_digest = 'sha256:x'",
}


@pytest.mark.parametrize("statement", CORRUPTIONS.values(), ids=CORRUPTIONS)
def test_what_was_changed_is_an_alarm_and_not_asked(past: Past, statement: str) -> None:
    past.record([dossier(Gate.ACCEPT)])
    past.database.run(statement)

    code, document = asked(past, "--bundle", "policies")

    assert code == 3
    assert document["corrupt"] == document["looked_at"] == 1
    assert document["decisions"] == 0
    assert "decision " in document["alarms"][0]


def test_a_forged_decision_of_a_digest_of_its_own_is_an_alarm(past: Past) -> None:
    past.record([dossier(Gate.ACCEPT)])
    (row,) = past.rows()
    for spoiled in (b"[]", b"\xff", b'{"allow":true}', b"{" * 200):
        past.database.run(
            "UPDATE governance_decisions SET document = :d, digest = :h",
            d=spoiled, h=of_bytes(spoiled),
        )  # fmt: skip
        assert replayed(past, shipped()).corrupt == 1
    forged = canonical.encode({**json.loads(row.document), "reasons": [7]})
    past.database.run(
        "UPDATE governance_decisions SET document = :d, digest = :h", d=forged, h=of_bytes(forged)
    )
    assert replayed(past, shipped()).corrupt == 1


def test_alarms_are_told_and_the_rest_is_asked(past: Past) -> None:
    ids = past.record([dossier(Gate.ACCEPT), dossier(Gate.ALIAS)])
    past.database.run(
        "UPDATE governance_decisions SET allow = NOT allow WHERE decision_id = :i", i=ids[0]
    )
    arguments = ["policy", "replay", "--bundle", "policies", "--backend-store-uri", past.url]

    result = CliRunner().invoke(cli, arguments)

    assert result.exit_code == 3
    assert "INTEGRITY ALARM: 1 decisions" in result.stdout
    assert ids[0] in result.stdout
    assert "1 recorded decisions" in result.stdout
    assert "mlflow-governance validate" in result.stdout


def test_gate_model_and_time_choose(past: Past) -> None:
    other = replace(dossier(Gate.ACCEPT).subject, ref=VersionRef("fraud", 1))
    late = NOW + timedelta(days=3)
    past.record(
        [dossier(Gate.ACCEPT), dossier(Gate.ACCEPT, subject=other), dossier(Gate.ALIAS, now=late)]
    )
    bundle = ("--bundle", "policies")

    assert asked(past, *bundle)[1]["decisions"] == 3
    assert asked(past, *bundle, "--gate", "alias")[1]["decisions"] == 1
    assert asked(past, *bundle, "--gate", "alias", "--gate", "accept")[1]["decisions"] == 3
    assert asked(past, *bundle, "--model", "fr*")[1]["decisions"] == 1
    assert asked(past, *bundle, "--since", "2026-11-22")[1]["decisions"] == 1
    assert asked(past, *bundle, "--until", "2026-11-22")[1]["decisions"] == 2
    assert asked(past, *bundle, "--since", "2026-11-24T03:04:05.000006Z")[1]["decisions"] == 1
    assert asked(past, *bundle, "--until", "2026-11-24T03:04:05.000006Z")[1]["decisions"] == 2
    assert asked(past, *bundle, "--limit", "2")[1]["decisions"] == 2
    assert asked(past, *bundle, "--limit", "9", "--gate", "alias")[1]["looked_at"] == 1


def test_an_instant_is_a_period_a_date_or_a_moment() -> None:
    now = datetime(2026, 11, 21, 12, tzinfo=UTC)

    assert instant("90d", now) == now - timedelta(days=90)
    assert instant("12h", now) == now - timedelta(hours=12)
    assert instant("2w", now) == now - timedelta(weeks=2)
    assert instant("2026-08-01", now) == datetime(2026, 8, 1, tzinfo=UTC)
    assert instant("2026-08-01T01:00:00+01:00", now) == datetime(2026, 8, 1, tzinfo=UTC)
    assert instant(None, now) is None
    for text in ("soon", "90", "d", "-3d", "2026-13-01", "2026-08-01T12:00:00", "1e9d"):
        with pytest.raises(InvalidRequest, match="not a moment"):
            instant(text, now)
    with pytest.raises(InvalidRequest, match="not after"):
        Wanted.from_options(
            "sqlite://",
            {"since": "1d", "until": "2d", "gates": (), "model": "*", "limit": None,
             "processes": None},
        )  # fmt: skip


@pytest.fixture(scope="module")
def year(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A history of several parts."""
    url = f"sqlite:///{tmp_path_factory.mktemp('year')}/history.db"
    History(1000, components=2).write(url, shipped())
    return url


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spread, "_ALONE", 500)
    monkeypatch.setattr(history, "_STALE_ROWS", 300)


def _everything(url: str, processes: int) -> Report:
    job = ReplayJob(dict(configured(blocking_cvss=6.0).files), EVERYTHING)
    report = Report()
    gather(Wanted(url, EVERYTHING, processes=processes), job, report.add)
    return report


def test_several_processes_find_what_one_finds(year: str) -> None:
    alone, together = _everything(year, 1), _everything(year, 2)

    assert alone.to_document() == together.to_document()
    assert alone.asked == 1000
    assert alone.changes[Change.DENIED] > 50


def test_a_history_agrees_with_its_bundle(year: str) -> None:
    sessions = session_factory_for(year)
    rows = list(SqlDecisions(sessions).rows(-1, 300))
    sessions.dispose()

    assert replay_rows(rows, SHIPPED, EVERYTHING).changes == {Change.SAME: 300}


def test_the_newest_come_first_and_the_old_are_left_alone(year: str) -> None:
    # One decision every five minutes; those a day older than what is wanted are read to be sure.
    scope = Scope(since=NEWEST - timedelta(hours=5))
    report = Report()
    gather(
        Wanted(year, scope, processes=1),
        ReplayJob(dict(configured(blocking_cvss=6.0).files), scope),
        report.add,
    )

    assert report.asked == 61
    assert 61 + 288 < report.looked < 1000
    instants = [e.at for group in report.groups.values() for e in group.examples[:1]]
    assert min(instants) > "2026-11-20"


def test_parts_cover_every_row_once() -> None:
    for after, last in ((0, 0), (0, 1), (5, 5 + PART), (3, 3 * PART + 1)):
        ids = [n for low, high in Span(after, last).parts() for n in range(high, low, -1)]
        assert ids == list(range(last, after, -1))


def test_leaving_early_ends_the_processes(year: str) -> None:
    parts = Spread(year, ReplayJob(dict(shipped().files), EVERYTHING), 2).over(Span(0, 1000))

    next(parts)
    parts.close()  # waits for what runs, starts nothing more


def test_an_empty_history_has_nothing_to_say(past: Past) -> None:
    code, document = asked(past, "--bundle", "policies")

    assert code == 0
    assert document["decisions"] == 0
    assert document["groups"] == []


def test_a_bundle_that_does_not_compile_is_refused_at_once(past: Past, tmp_path: Path) -> None:
    arguments = ["policy", "replay", "--bundle", str(tmp_path), "--backend-store-uri", past.url]

    result = CliRunner().invoke(cli, arguments)

    assert result.exception is not None
    assert "policy bundle" in str(result.exception)


def test_the_page_stands_alone_and_escapes_everything(past: Past, tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>"
    actor = replace(dossier(Gate.DOWNLOAD).actor, id=evil)
    # A name may hold no slash, so the opening tag has to do.
    subject = replace(
        dossier(Gate.DOWNLOAD).subject, ref=VersionRef("<img onerror=x>&\"'", 1),
        stage=dossier(Gate.DOWNLOAD).subject.stage.STAGING,
    )  # fmt: skip
    past.record([dossier(Gate.DOWNLOAD, actor=actor, subject=subject), dossier(Gate.ALIAS)])
    past.database.run("UPDATE governance_decisions SET digest = '<b>' WHERE gate = 'alias'")
    past.database.run("UPDATE governance_decisions SET decision_id = '<b>x' WHERE gate = 'alias'")
    mine = tmp_path / "mine"
    for name, data in configured(deployable_stages=["Approved"]).files.items():
        (mine / name).parent.mkdir(parents=True, exist_ok=True)
        (mine / name).write_bytes(data)

    code, _ = asked(past, "--bundle", str(mine), "--html", str(tmp_path / "page.html"))

    page = (tmp_path / "page.html").read_text("utf-8")
    assert code == 3
    assert "<script" not in page
    assert "<img" not in page
    assert "<b>" not in page
    assert "&lt;img onerror=x&gt;&amp;" in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    for loading in ("http:", "https:", "src=", "@import", "url(", "<link"):
        assert loading not in page
    assert "default-src 'none'" in page
    assert "@media print" in page
    assert "prefers-color-scheme: dark" in page
