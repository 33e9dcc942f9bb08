"""``POST /mlflow``: MLflow's own webhooks, signed by MLflow's own code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import requests
from flask import Flask
from mlflow.entities.webhook import Webhook, WebhookEvent
from mlflow.webhooks import delivery
from werkzeug.test import TestResponse

from mlflow_governance.core import moment
from mlflow_governance.core.model_ref import VersionRef
from mlflow_governance.outbox import signing
from mlflow_governance.web import fields
from tests.unit.outbox.builders import NOW, SECRET, serving, signed
from tests.unit.webhooks.builders import (
    MLFLOW_SECRET,
    JudgingRegistry,
    mlflow_receiver,
    mlflow_webhook,
    receiver,
)

JUDGE = "/api/2.0/mlflow-governance/judge"
_ASKED = {"name": "churn", "version": 3, "workspace": "default"}


def post(app: Flask, webhook: tuple[dict[str, str], bytes], **changes: str) -> TestResponse:
    headers, body = webhook
    return app.test_client().post("/mlflow", data=body, headers={**headers, **changes})


def test_what_mlflow_itself_sends_is_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    # MLflow's sender refuses loopback addresses; that check is not what is tested here.
    monkeypatch.setattr(delivery, "_validate_webhook_url", lambda _: None)
    registry = JudgingRegistry()
    with serving(registry) as url, serving(mlflow_receiver(tmp_path, url, clock=moment.now)) as own:
        created = WebhookEvent("model_version", "created")
        webhook = Webhook("1", "judge", f"{own}/mlflow", [created], 0, 0, secret=MLFLOW_SECRET)
        data = {"name": "churn", "version": "3", "source": "models:/m-1", "run_id": None}
        with requests.Session() as session:
            answer = delivery._send_webhook_request(webhook, data, created, session)
    assert (answer.status_code, answer.json()) == (202, {"status": "judged"})
    assert registry.asked == [(JUDGE, _ASKED, ("ann", "secret"))]


def test_our_signature_is_mlflows():
    headers, body = mlflow_webhook()
    theirs = delivery._generate_hmac_signature(
        MLFLOW_SECRET, headers["x-mlflow-delivery-id"], headers["x-mlflow-timestamp"], body.decode()
    )
    assert headers["x-mlflow-signature"] == theirs


def test_a_repeat_is_not_judged_again(tmp_path: Path):
    registry = JudgingRegistry()
    with serving(registry) as url:
        assert post(mlflow_receiver(tmp_path, url), mlflow_webhook()).status_code == 202
        again = post(mlflow_receiver(tmp_path, url), mlflow_webhook())
    assert (again.status_code, again.get_json()) == (202, {"status": "repeated"})
    assert len(registry.asked) == 1


def test_a_registry_that_stumbles_is_asked_again(tmp_path: Path):
    registry = JudgingRegistry(503, 500, 200)
    with serving(registry) as url:
        assert post(mlflow_receiver(tmp_path, url), mlflow_webhook()).status_code == 202
    assert len(registry.asked) == 3


@pytest.mark.parametrize("status", [307, 400, 403, 404, 500])
def test_a_registry_that_does_not_judge_is_a_bad_gateway_and_is_asked_by_the_repeat(
    tmp_path: Path, status: int
):
    registry = JudgingRegistry(status)
    with serving(registry) as url:
        app = mlflow_receiver(tmp_path, url)
        answer = post(app, mlflow_webhook())
        assert (answer.status_code, answer.get_json()["code"]) == (502, "UNAVAILABLE")
        assert str(status) in answer.get_json()["message"]
        registry.statuses = [200]
        assert post(app, mlflow_webhook()).get_json() == {"status": "judged"}


def test_a_registry_that_is_away_is_a_bad_gateway(tmp_path: Path):
    answer = post(mlflow_receiver(tmp_path, "http://127.0.0.1:1"), mlflow_webhook())
    assert answer.status_code == 502
    assert "secret" not in answer.get_data(as_text=True)


@pytest.mark.parametrize(
    ("entity", "action"),
    [
        ("registered_model", "created"),
        ("model_version_tag", "set"),
        ("model_version", "deleted"),
        ("", ""),
    ],
)
def test_other_events_are_ignored(tmp_path: Path, entity: str, action: str):
    registry = JudgingRegistry()
    with serving(registry) as url:
        answer = post(mlflow_receiver(tmp_path, url), mlflow_webhook(entity, action))
    assert (answer.status_code, answer.get_json()) == (200, {"status": "ignored"})
    assert registry.asked == []


@pytest.mark.parametrize(
    "data",
    [
        [],
        {},
        "x",
        {"name": "churn"},
        {"name": "churn", "version": 3},
        {"name": "churn", "version": "0"},
        {"name": "churn", "version": "latest"},
        {"name": "churn", "version": "9" * 5000},
        {"name": "../churn", "version": "3"},
    ],
)
def test_an_event_that_names_no_version_is_refused(tmp_path: Path, data: Any):
    app = mlflow_receiver(tmp_path, "http://127.0.0.1:1")
    assert post(app, mlflow_webhook(data=data)).status_code == 400


@pytest.mark.parametrize(
    "changes",
    [
        {"x-mlflow-signature": ""},
        {"x-mlflow-signature": "v1,AAAA"},
        {"x-mlflow-timestamp": "0"},
        {"x-mlflow-delivery-id": "another"},
    ],
)
def test_what_does_not_verify_is_refused(tmp_path: Path, changes: dict[str, str]):
    app = mlflow_receiver(tmp_path, "http://127.0.0.1:1")
    assert post(app, mlflow_webhook(), **changes).status_code == 403


def test_the_request_is_one_the_registrys_api_reads(tmp_path: Path):
    registry = JudgingRegistry()
    with serving(registry) as url:
        post(mlflow_receiver(tmp_path, url), mlflow_webhook(workspace="risk"))
    ((_, asked, _),) = registry.asked
    body = json.dumps(asked).encode()
    assert fields.read_body(fields.VERSION, body, 1000).ref() == VersionRef("churn", 3, "risk")


def test_an_unsigned_webhook_is_refused(tmp_path: Path):
    headers, body = mlflow_webhook()
    del headers["x-mlflow-signature"]
    assert post(mlflow_receiver(tmp_path, "http://127.0.0.1:1"), (headers, body)).status_code == 403


def test_the_registrys_own_secret_does_not_open_this_door(tmp_path: Path):
    headers, body = signed(
        {"id": "evt", "entity": "model_version", "action": "created"}, NOW, SECRET
    )
    renamed = dict(zip(mlflow_webhook()[0], headers.values(), strict=True))
    assert set(renamed) == set(signing.sign((b"x",), "a", NOW, b"", scheme=signing.MLFLOW))
    assert post(mlflow_receiver(tmp_path, "http://127.0.0.1:1"), (renamed, body)).status_code == 403


def test_a_receiver_without_this_secret_knows_no_such_webhook(tmp_path: Path):
    assert post(receiver(tmp_path), mlflow_webhook()).status_code == 404
