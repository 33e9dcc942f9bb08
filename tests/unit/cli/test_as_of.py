"""`as-of` over a real database, with the key and the checkpoints of a home folder."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mlflow_governance.cli.as_of import read_when
from mlflow_governance.cli.main import cli
from mlflow_governance.core import moment
from mlflow_governance.core.event import Act, Event
from mlflow_governance.errors import InvalidRequest, LedgerError
from mlflow_governance.workflows.record import subject_of
from tests.unit.workflows.homes import home_of
from tests.unit.workflows.watched import Watched

NOW = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("2026-11-01", "2026-11-01T23:59:59.999999Z"),
        ("2026-11-21", "2026-11-21T09:30:00.000000Z"),  # today: now
        ("2026-11-22", "2026-11-22T23:59:59.999999Z"),  # still to come: refused by who answers
        ("2026-11-01T09:30:00-03:00", "2026-11-01T12:30:00.000000Z"),
        ("2h", "2026-11-21T07:30:00.000000Z"),
    ],
)
def test_a_date_is_the_end_of_its_day(text: str, meant: str) -> None:
    assert moment.to_text(read_when(text, NOW)) == meant


@pytest.mark.parametrize("text", ["yesterday", "2026-13-01", "2026-11-01T12:00:00", "", "-1d"])
def test_what_is_no_instant_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        read_when(text, NOW)


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Watched:
    made = Watched(tmp_path)
    monkeypatch.setenv("MLFLOW_GOVERNANCE_HOME", str(home_of(made)))
    return made


def asked(registry: Watched, *words: str) -> Result:
    url = str(registry.sessions.engine.url)
    return CliRunner().invoke(cli, [*words, "--backend-store-uri", url])


def test_it_says_what_stood_where_and_why_and_from_what(registry: Watched) -> None:
    registry.approved("churn")
    instant = moment.to_text(registry.ports.clock())

    result = asked(registry, "as-of", instant)

    assert result.exit_code == 0, result.exception
    size = registry.entries()
    for words in (
        f"from {size} entries", f"against the signed head of {size} entries",
        "churn/1  Approved @champion  since 2026-11-21T", "by pia, decision ",
        "approve by sam for security", "approve by pia for product", "churn@champion → 1  since",
    ):  # fmt: skip
        assert words in result.output, words
    assert "reject" not in result.output  # she changed her mind
    document = json.loads(asked(registry, "as-of", instant, "--json").output)
    assert document["ledger"]["proved_size"] == size


def test_it_says_what_changed_until_another_instant(registry: Watched) -> None:
    registry.register("churn")
    before = moment.to_text(registry.ports.clock())
    registry.approved("fraud")

    result = asked(registry, "as-of", before, "--until", moment.to_text(registry.ports.clock()))

    told = result.output.partition("until ")[2]
    assert "fraud/1  version.transitioned   pia  Staging → Approved" in told
    assert "approve for security  “read it”" in told
    assert "@champion: nowhere → 1" in told
    assert "churn" not in told


def test_a_ledger_cut_off_behind_an_exported_checkpoint_is_an_alarm(
    registry: Watched,
) -> None:
    registry.accepted("churn")
    folder = home_of(registry) / "checkpoints"
    folder.mkdir()
    (folder / "9.checkpoint").write_text(_signed(registry, 10_000))

    result = asked(registry, "as-of", "0m")

    assert isinstance(result.exception, LedgerError)
    assert "rolled back" in str(result.exception)


def _signed(registry: Watched, size: int) -> str:
    from mlflow_governance.ledger import checkpoint

    return checkpoint.make(size, b"\1" * 32, registry.signer)


def test_a_date_to_come_is_refused(registry: Watched) -> None:
    registry.register("churn")
    result = asked(registry, "as-of", "2999-01-01")
    assert isinstance(result.exception, InvalidRequest)
    assert "still to come" in str(result.exception)


def test_a_ledger_that_contradicts_itself_is_an_alarm(registry: Watched) -> None:
    ref = registry.accepted("churn")
    record = registry.record(ref)
    with registry.ports.store.begin() as uow:
        said = {"stage": "Staging", "policy_digest": None, "trust_digest": None}
        uow.record(
            Event(
                Act.VERSION_TRANSITIONED, "mallory", registry.ports.clock(),
                subject=subject_of(record), before=said, after={**said, "stage": "Approved"},
            )
        )  # fmt: skip

    result = asked(registry, "as-of", moment.to_text(registry.ports.clock()))

    assert "CONTRADICTION: entry" in result.output
    assert "leaves Staging, and the version was Candidate" in result.output
    assert isinstance(result.exception, LedgerError)
