"""The route that hands out evidence bundles: to whom, how, and what it refuses."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from mlflow_governance.audit.desk import Desk
from mlflow_governance.core.actor import Actor
from mlflow_governance.core.stage import Stage
from mlflow_governance.web import api, mount
from mlflow_governance.web.services import WebServices
from tests.unit.audit.bundle_builders import AUDREY, Audited
from tests.unit.web.builders import registry as paged
from tests.unit.web.builders import security
from tests.unit.workflows.builders import NOBODY, SAM

PATH = api.API + "/evidence-bundle"
CHURN: dict[str, Any] = {"name": "churn", "version": 1}


class Counter:
    """A registry behind its interface."""

    def __init__(self, folder: Path) -> None:
        self.registry = Audited(folder / "registry")
        self.registry.accepted("churn")
        self.desk = Desk(lambda: self.registry.exporter, folder / "evidence.lock")
        self.actor = AUDREY
        services = WebServices(
            ports=self.registry.ports,
            actor=lambda: self.actor,
            ledger=self.registry.ledger,
            revocations=lambda: b"{}",
            trust=lambda: b"",
            evidence=self.desk.bundle,
            adopt=lambda ref: None,
        )
        app = Flask("registry")
        for blueprint in mount.blueprints(services, ""):
            app.register_blueprint(blueprint)
        self.client = app.test_client()

    def get(self, by: Actor = AUDREY, **query: Any) -> TestResponse:
        self.actor = by
        return self.client.get(PATH, query_string=query)


@pytest.fixture
def counter(tmp_path: Path) -> Iterator[Counter]:
    made = Counter(tmp_path)
    yield made
    made.registry.sessions.dispose()


def test_an_auditor_is_given_a_whole_archive(counter: Counter) -> None:
    answer = counter.get(**CHURN)

    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/zip"
    assert answer.headers["Content-Disposition"] == "attachment; filename=evidence-churn-1.zip"
    assert answer.headers["Cache-Control"] == "no-store"
    assert int(answer.headers["Content-Length"]) == len(answer.data)
    with zipfile.ZipFile(io.BytesIO(answer.data)) as archive:
        assert archive.testzip() is None
        manifest = json.loads(archive.read("manifest.json"))
    assert manifest["of"] == {"name": "churn", "version": 1, "workspace": "default"}


def test_a_period_and_a_bundle_that_names_nobody_can_be_asked_for(counter: Counter) -> None:
    answer = counter.get(since="2026-11-01", until="2026-12-01", pseudonymous="yes")

    with zipfile.ZipFile(io.BytesIO(answer.data)) as archive:
        assert archive.read("openings.json") == b"{}"
        assert json.loads(archive.read("manifest.json"))["of"]["until"].startswith("2026-12-01")


@pytest.mark.parametrize(("by", "status"), [(SAM, 403), (NOBODY, 401)])
def test_others_are_refused_and_that_is_recorded(by: Actor, status: int, counter: Counter) -> None:
    before = counter.registry.entries()

    answer = counter.get(by, **CHURN)

    assert answer.status_code == status
    assert "users add NAME --role auditor" in answer.get_json()["advice"]
    assert counter.registry.entries() == before + 1


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"name": "churn"},
        {**CHURN, "since": "2026-11-01"},
        {"since": "2026-11-01"},
        {"since": "2026-12-01", "until": "2026-11-01"},
        {"since": "yesterday", "until": "2026-11-01"},
        {**CHURN, "pseudonymous": "maybe"},
        {**CHURN, "workspace": "../x"},
        {"name": "a/b", "version": 1},
        {**CHURN, "everything": "yes"},
    ],
)
def test_what_names_nothing_is_refused_unrecorded(query: Any, counter: Counter) -> None:
    before = counter.registry.entries()

    assert counter.get(**query).status_code == 400
    assert counter.registry.entries() == before


def test_an_unknown_version_is_not_found(counter: Counter) -> None:
    assert counter.get(name="nobody", version=1).status_code == 404


def test_a_changed_row_is_told_as_an_alarm_and_no_byte_is_sent(counter: Counter) -> None:
    import sqlalchemy as sa

    from mlflow_governance.store import tables

    counter.registry.run(sa.update(tables.versions).values(stage="Approved"))

    answer = counter.get(**CHURN)

    assert answer.status_code == 403
    assert answer.get_json()["message"].startswith("integrity alarm: churn/1: its stage")


def test_pages_of_other_sites_cannot_make_a_browser_ask(counter: Counter) -> None:
    before = counter.registry.entries()
    for site in ("cross-site", "same-site"):
        answer = counter.client.get(PATH, query_string=CHURN, headers={"Sec-Fetch-Site": site})
        assert answer.status_code == 403
    assert counter.client.head(PATH, query_string=CHURN).status_code == 400
    assert counter.registry.entries() == before

    mine = counter.client.get(PATH, query_string=CHURN, headers={"Sec-Fetch-Site": "same-origin"})
    assert mine.status_code == 200


def test_a_second_one_waits_for_the_first(counter: Counter) -> None:
    first = counter.client.get(PATH, query_string=CHURN, buffered=False)
    assert counter.get(**CHURN).status_code == 409

    first.close()

    assert counter.get(**CHURN).status_code == 200


def test_the_link_is_for_those_who_may_follow_it() -> None:
    made = paged()
    made.add("churn", 1, Stage.STAGING)
    address = "/governance/version?name=churn&version=1"

    assert "evidence-bundle" not in made.app().test_client().get(address).text
    made.actor = Actor("root", admin=True, authenticated=True)
    page = made.app().test_client().get(address).text
    assert "/evidence-bundle?name=churn&amp;version=1&amp;pseudonymous=yes" in page
    assert security().admin is False
