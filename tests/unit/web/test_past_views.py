"""The interface and the page of the past, over a real ledger; what it costs a server is bounded."""

from __future__ import annotations

import json
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from mlflow_governance.core import moment
from mlflow_governance.core.actor import Actor
from mlflow_governance.core.stage import Stage
from mlflow_governance.store import tables as ours
from mlflow_governance.store.decisions import SqlDecisions
from mlflow_governance.web import api, mount, past_views
from mlflow_governance.web.lookback import Lookback
from mlflow_governance.web.services import WebServices
from mlflow_governance.workflows.chronicle import Witnessed
from mlflow_governance.workflows.ports import Request
from mlflow_governance.workflows.withdraw import withdraw
from tests.unit.workflows.builders import PIA, SAM
from tests.unit.workflows.erasing import erased
from tests.unit.workflows.homes import later
from tests.unit.workflows.watched import Watched

_SCHEMAS = {route.path: route.answer for route in api.ROUTES}


def _nothing(asked: object) -> Any:
    raise NotImplementedError


class Served(Watched):
    """A registry with its interface."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.actor: Actor = PIA
        self.reads = 0
        self.past = Lookback(
            lambda: Witnessed(self.ledger, self.ledger_key),
            SqlDecisions(self.sessions).one,
            patience=0.2,
        )
        whole = self.ledger.entries

        def entries(start: int = 0, count: int | None = None) -> Any:
            self.reads += count != 1
            return whole(start, count)

        self.ledger.entries = entries  # type: ignore[method-assign]

    def client(self) -> FlaskClient:
        services = WebServices(
            ports=self.ports,
            actor=lambda: self.actor,
            ledger=self.ledger,
            revocations=lambda: b"{}",
            trust=lambda: b"",
            evidence=_nothing,
            adopt=lambda ref: None,
            past=self.past,
        )
        app = Flask("registry")
        for blueprint in mount.blueprints(services, ""):
            app.register_blueprint(blueprint)
        return app.test_client()

    def get(self, path: str, **query: Any) -> Any:
        answer = self.client().get(api.API + path, query_string=query)
        document = json.loads(answer.data)
        if answer.status_code == 200:
            jsonschema_rs.validate(_SCHEMAS[path], document)
        return answer.status_code, document

    def instant(self) -> str:
        return moment.to_text(self.ports.clock())


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lived")
    made = Watched(folder)
    made.approved("churn")
    made.sessions.dispose()
    return folder


@pytest.fixture
def registry(lived: Path, tmp_path: Path) -> Served:
    return later(Served(Path(shutil.copytree(lived, tmp_path / "copy"))))


def test_a_decision_is_explained(registry: Served) -> None:
    decision_id = registry.record(next(iter(_refs(registry)))).decision_id

    status, document = registry.get("/decision/explanation", id=decision_id)

    assert status == 200
    assert document["again"] == "the same answer"
    assert document["proved"]["size"] == registry.entries()
    assert [a["person"] for a in document["approvals"]] == ["sam", "pia"]
    assert registry.get("/decision/explanation", id="nothing")[0] == 404


def _refs(registry: Served) -> list[Any]:
    with registry.ports.store.read() as reading:
        return [record.ref for record in reading.versions()]


def test_the_state_at_an_instant_is_told_and_read_once(registry: Served) -> None:
    at = registry.instant()
    registry.accepted("later")
    registry.reads = 0

    status, document = registry.get("/as-of", at=at)

    assert status == 200
    assert [(v["name"], v["stage"]) for v in document["versions"]] == [("churn", "Approved")]
    registry.accepted("still-later")  # what is behind a later entry cannot change any more
    assert registry.get("/as-of", at=at)[1] == document
    assert registry.reads == 1


def test_the_state_of_now_is_read_anew_once_something_was_appended(registry: Served) -> None:
    at = registry.instant()
    registry.reads = 0
    before = registry.get("/as-of", at=at)[1]
    assert registry.get("/as-of", at=at)[1] == before
    assert registry.reads == 1
    registry.accepted("later")
    registry.get("/as-of", at=at)
    assert registry.reads == 2


def test_a_name_erased_since_is_not_told_out_of_what_is_kept(registry: Served) -> None:
    at = registry.instant()
    registry.accepted("later")
    assert "pia" in str(registry.get("/as-of", at=at)[1])
    erased(registry, "pia")
    assert "pia" not in str(registry.get("/as-of", at=at)[1])


def test_one_looks_back_at_a_time(registry: Served) -> None:
    inside, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with registry.past.turn():
            inside.set()
            leave.wait(20)

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        assert inside.wait(20)
        for path, query in (
            ("/as-of", {"at": "2026-11-20"}),
            ("/decision/explanation", {"id": "x"}),
        ):
            status, document = registry.get(path, **query)
            assert (status, document["code"]) == (503, "UNAVAILABLE")
    finally:
        leave.set()
        thread.join()
    assert registry.get("/as-of", at="2026-11-20")[0] == 200


def test_few_wait_for_their_turn_and_keep_threads_from_others(registry: Served) -> None:
    registry.past.patience = 20
    leave, asked = threading.Event(), threading.Barrier(4)

    def hold() -> None:
        asked.wait(20)
        with registry.past.turn():
            leave.wait(20)

    threads = [threading.Thread(target=hold) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        asked.wait(20)
        while registry.past._room._value:
            threading.Event().wait(0.01)
        begin = time.monotonic()
        assert registry.get("/as-of", at="2026-11-20")[0] == 503
        assert time.monotonic() - begin < 15
    finally:
        leave.set()
        for thread in threads:
            thread.join()
    assert registry.get("/as-of", at="2026-11-20")[0] == 200


def test_a_long_ledger_is_left_to_the_command(
    registry: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(past_views, "MOST_ENTRIES", 3)
    status, document = registry.get("/as-of", at="2026-11-20T12:00:00Z")
    assert status == 400
    assert "mlflow-governance as-of 2026-11-20T12:00:00.000000Z" in document["advice"]


@pytest.mark.parametrize("at", ["", "yesterday", "2026-11-20T12:00:00", "2999-01-01", "0000-00-00"])
def test_what_is_no_instant_of_the_past_is_refused(registry: Served, at: str) -> None:
    assert registry.get("/as-of", at=at)[0] == 400


def test_a_changed_ledger_is_refused(registry: Served) -> None:
    registry.run(sa.delete(ours.ledger_entries).where(ours.ledger_entries.c.position == 4))
    status, document = registry.get("/as-of", at="2026-11-20")
    assert (status, document["code"]) == (409, "LEDGER")
    assert "entry 4" in document["message"]


# History ------------------------------------------------------------------------------------------


def acts(registry: Served, **query: Any) -> list[str]:
    status, document = registry.get("/history", **query)
    assert status == 200
    return [entry["act"] for entry in document["entries"]]


def test_the_history_of_a_version_is_whole_and_in_order(registry: Served) -> None:
    assert acts(registry, name="churn", version=1) == [
        "version.registered", "version.transitioned", "version.transitioned", "evidence.attached",
        "approval.given", "approval.given", "approval.given", "version.transitioned", "alias.moved",
    ]  # fmt: skip


def test_it_goes_on_page_by_page_and_leaves_nothing_out(registry: Served) -> None:
    whole = registry.get("/history", name="churn", version=1)[1]["entries"]
    found: list[Any] = []
    start: int | None = 0
    while start is not None:
        page = registry.get("/history", name="churn", version=1, start=start, count=2)[1]
        found += page["entries"]
        start = page["next"]
    assert found == whole


def test_an_alias_that_leaves_a_version_is_part_of_its_history(registry: Served) -> None:
    second = registry.approved_again("churn", 2)
    registry.alias(second, "champion", 1)

    told = registry.get("/history", name="churn", version=1)[1]["entries"]

    assert told[-1]["act"] == "alias.moved"
    assert told[-1]["subject"]["version"] == 2
    assert told[-1]["facts"]["action"]["from_version"] == 1
    both = registry.get("/history", name="churn")[1]["entries"]
    assert {entry["subject"]["version"] for entry in both} == {1, 2}
    assert [entry["index"] for entry in both] == sorted(entry["index"] for entry in both)


def test_earlier_versions_of_the_same_number_belong_to_the_history(registry: Served) -> None:
    first = registry.accepted("again")
    registry.delete(first)
    registry.forget_catalogue(first)
    registry.accepted("again")
    withdraw(registry.ports, Request(SAM, first, "an incident"), Stage.REVOKED)

    told = acts(registry, name="again", version=1)
    assert told.count("version.registered") == 2
    assert told.index("version.deleted") < len(told) - 1
    assert acts(registry, name="again") == told


def test_of_what_the_ledger_does_not_tell_there_is_no_history(registry: Served) -> None:
    assert registry.get("/history", name="nobody")[0] == 404
    assert registry.get("/history", name="churn", version=7)[0] == 404
    assert registry.get("/history", name="churn", workspace="lab")[0] == 404
    assert registry.get("/history", name="a/b")[0] == 400


# The page -----------------------------------------------------------------------------------------


def page(registry: Served, **query: str) -> Any:
    return registry.client().get("/governance/as-of", query_string=query)


def test_the_page_asks_for_a_day_and_reads_nothing_for_that(registry: Served) -> None:
    registry.reads = 0
    text = page(registry).text
    assert 'type="date"' in text
    assert registry.reads == 0


def test_the_page_shows_what_stood_where_and_what_changed(registry: Served) -> None:
    withdraw(registry.ports, Request(SAM, _refs(registry)[0], "<b>bold"), Stage.QUARANTINED)
    text = page(registry, at=registry.instant()).text

    for words in (
        "churn</a>", '<span class="badge quarantined">Quarantined</span>', "@champion",
        "against the signed head of", "&lt;b&gt;bold", "/decision/explanation?id=",
    ):  # fmt: skip
        assert words in text, words
    changed = page(registry, at="2026-11-20", until=registry.instant()).text
    assert "Nothing was governed" in changed
    assert "Staging → Approved" in changed


def test_the_page_refuses_as_the_interface_does(registry: Served) -> None:
    answer = page(registry, at="2999-01-01")
    assert answer.status_code == 400
    assert "still to come" in answer.text
