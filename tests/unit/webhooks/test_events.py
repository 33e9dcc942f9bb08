"""``POST /events``: verified before parsed, acted upon once, and only by what it proves."""

from __future__ import annotations

import json
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
from flask import Flask
from werkzeug.test import TestResponse

from mlflow_governance.core import digest
from mlflow_governance.core.event import Act
from mlflow_governance.outbox import signing
from mlflow_governance.outbox.relay import Relay
from tests.unit.outbox.builders import (
    MODEL,
    NOW,
    OTHER_SECRET,
    SECRET,
    SOURCE,
    Clock,
    MemoryQueue,
    event,
    serving,
    signed,
    state,
    stored,
    target,
)
from tests.unit.webhooks.builders import cached, receiver
from webhooks.receiver import app as app_module

KEYS = signing.keys_of(SECRET)


def post(app: Flask, document: Any, **changes: Any) -> TestResponse:
    headers, body = signed(document, changes.pop("at", NOW), changes.pop("secret", SECRET))
    return app.test_client().post(
        "/events", data=changes.pop("body", body), headers={**headers, **changes}
    )


def purges(app: Flask) -> list[dict[str, str]]:
    listed: list[dict[str, str]] = app.test_client().get("/purges").get_json()["purges"]
    return listed


def revoked(**changes: Any) -> dict[str, Any]:
    return event(Act.VERSION_REVOKED, **changes)


def of_digest(value: Any) -> dict[str, Any]:
    return revoked(subject={**stored()["subject"], "digest": value})


def test_a_revocation_purges_the_cache_and_is_listed(tmp_path: Path):
    app = receiver(tmp_path)
    folder, other = (
        cached(tmp_path / "cache", MODEL),
        cached(tmp_path / "cache", digest.of_bytes(b"")),
    )
    answer = post(app, revoked())
    assert (answer.status_code, answer.get_json()) == (200, {"status": "done"})
    assert not folder.exists()
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [other.name]
    assert purges(app) == [
        {
            "webhook_id": revoked()["id"],
            "subject": "models/churn/versions/3",
            "digest": MODEL,
            "stage": "Revoked",
            "outcome": "purged",
            "at": "2026-11-21T09:30:00.000000Z",
        }
    ]


def test_a_quarantine_purges_too(tmp_path: Path):
    app, folder = receiver(tmp_path), cached(tmp_path / "cache", MODEL)
    assert post(app, event(after=state("Quarantined"))).status_code == 200
    assert not folder.exists()


def test_one_line_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    with caplog.at_level("INFO", "webhooks.receiver"):
        post(receiver(tmp_path), revoked())
    assert [record.getMessage() for record in caplog.records] == [
        f"absent: models/churn/versions/3 is Revoked, digest {MODEL}"
    ]


@pytest.mark.parametrize(
    "document",
    [
        event(Act.VERSION_TRANSITIONED),
        event(Act.VERSION_REGISTERED),
        event(Act.REGISTRY_STARTED),
        event(Act.VERSION_REVOKED, allowed=False),
        event(Act.VERSION_REVOKED, allowed=False, after=state("Approved")),
        event(before=state("Quarantined"), after=state("Approved")),
        {"id": "x", "type": "com.example.other", "data": {"after": {}}},
    ],
)
def test_nothing_else_purges(tmp_path: Path, document: dict[str, Any]):
    app, folder = receiver(tmp_path), cached(tmp_path / "cache", MODEL)
    assert post(app, document).status_code == 200
    assert folder.exists()
    assert purges(app) == []


def test_a_version_withdrawn_before_it_was_hashed_has_nothing_to_purge(tmp_path: Path):
    app = receiver(tmp_path)
    assert post(app, of_digest(None)).status_code == 200
    assert [(p["digest"], p["outcome"]) for p in purges(app)] == [("", "absent")]


def test_a_repeat_answers_200_and_does_not_act(tmp_path: Path):
    app = receiver(tmp_path)
    post(app, revoked())
    folder = cached(tmp_path / "cache", MODEL)
    answer = post(app, revoked())
    assert (answer.status_code, answer.get_json()) == (200, {"status": "repeated"})
    assert folder.exists()
    assert len(purges(app)) == 1


def test_a_repeat_after_a_restart_does_not_act_either(tmp_path: Path):
    post(receiver(tmp_path), revoked())
    restarted, folder = receiver(tmp_path), cached(tmp_path / "cache", MODEL)
    assert post(restarted, revoked()).get_json() == {"status": "repeated"}
    assert folder.exists()
    assert len(purges(restarted)) == 1


def test_an_act_that_failed_is_done_by_the_repeat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    app, folder = receiver(tmp_path), cached(tmp_path / "cache", MODEL)

    def full(*_: object) -> bool:
        raise OSError("no more inodes")

    with monkeypatch.context() as broken:
        broken.setattr(app_module.cache, "purge", full)
        answer = post(app, revoked())
    assert (answer.status_code, answer.get_json()["code"]) == (500, "INTERNAL_SERVER_ERROR")
    assert folder.exists()
    assert post(app, revoked()).get_json() == {"status": "done"}
    assert not folder.exists()


def test_of_many_deliveries_at_once_one_acts(tmp_path: Path):
    cached(tmp_path / "cache", MODEL)
    apps = [receiver(tmp_path), receiver(tmp_path)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: post(apps[n % 2], revoked()).get_json(), range(16)))
    assert sorted(a["status"] for a in answers) == ["done"] + ["repeated"] * 15
    assert [p["outcome"] for p in purges(apps[0])] == ["purged"]


def test_while_a_secret_rotates_both_are_accepted(tmp_path: Path):
    app = receiver(tmp_path, keys=signing.keys_of(f"{OTHER_SECRET} {SECRET}"))
    assert post(app, revoked(), secret=OTHER_SECRET).status_code == 200
    assert post(app, event(), secret=SECRET).status_code == 200


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"secret": OTHER_SECRET}, "no signature"),
        ({"webhook-signature": "v1,AAAA"}, "no signature"),
        ({"webhook-signature": ""}, "no signature"),
        ({"webhook-id": "another"}, "no signature"),
        ({"webhook-id": ""}, "webhook-id"),
        ({"webhook-timestamp": "soon"}, "webhook-timestamp"),
        ({"at": NOW.replace(hour=8)}, "old"),
        ({"at": NOW.replace(hour=10)}, "ahead"),
        ({"body": b""}, "no signature"),
        ({"body": b"{"}, "no signature"),
        ({"body": json.dumps(revoked()).encode()[:-1]}, "no signature"),
    ],
)
def test_what_does_not_verify_is_refused_unparsed(tmp_path: Path, changes: Any, message: str):
    app, folder = receiver(tmp_path), cached(tmp_path / "cache", MODEL)
    answer = post(app, revoked(), **changes)
    assert answer.status_code == 403
    assert message in answer.get_json()["message"]
    assert folder.exists()
    assert post(app, revoked()).get_json() == {"status": "done"}, "its id was not used up"


def test_a_request_without_any_header_is_refused(tmp_path: Path):
    assert receiver(tmp_path).test_client().post("/events", data=b"{}").status_code == 403


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    "document",
    [
        nested(20),
        nested(900),
        [],
        "text",
        {"id": "evt"},
        {"id": "evt", "data": []},
        {"id": "evt", "data": {}},
        {"id": "evt", "data": {"after": "Revoked"}},
        {"id": "evt", "data": {"after": {"stage": "Revoked"}, "allowed": True}},
        {"id": "evt", "data": {"after": {"stage": "Revoked"}, "allowed": True, "subject": []}},
    ],
)
def test_a_signed_body_that_is_no_event_is_refused(tmp_path: Path, document: Any):
    answer = post(receiver(tmp_path), document)
    assert (answer.status_code, answer.get_json()["code"]) == (400, "INVALID_REQUEST")


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"{}{}", b'{"id":NaN}', b"[" * 100_000])
def test_signed_bytes_that_are_no_json_are_refused(tmp_path: Path, body: bytes):
    headers = signing.sign(KEYS, "evt", NOW, body)
    answer = receiver(tmp_path).test_client().post("/events", data=body, headers=headers)
    assert answer.status_code == 400


def test_an_event_under_another_id_than_the_webhooks_is_refused(tmp_path: Path):
    body = json.dumps(revoked()).encode()
    headers = signing.sign(KEYS, "another", NOW, body)
    answer = receiver(tmp_path).test_client().post("/events", data=body, headers=headers)
    assert answer.status_code == 400


@pytest.mark.parametrize(
    "value",
    [
        "sha256:../../etc",
        "sha256:" + "../" * 21 + "x",
        "sha256:" + "A" * 64,
        "sha256:" + "a" * 64 + "\n",
        "sha256:" + "a" * 63,
        "a" * 64,
        "/etc",
        "",
        0,
        [],
        {"sha256": "a" * 64},
    ],
)
def test_a_digest_that_is_none_reaches_no_file(tmp_path: Path, value: Any):
    app, folder = receiver(tmp_path), cached(tmp_path / "cache", MODEL)
    outside = tmp_path / "etc"
    outside.mkdir()
    answer = post(app, of_digest(value))
    assert (answer.status_code, purges(app)) == (400, [])
    assert folder.exists()
    assert outside.exists()


def test_two_megabytes_are_refused_unread(tmp_path: Path):
    app = receiver(tmp_path)
    answer = post(app, {**revoked(), "filler": "x" * 2 * 1024 * 1024})
    assert (answer.status_code, answer.get_json()["code"]) == (413, "REQUEST_ENTITY_TOO_LARGE")


def test_two_megabytes_without_a_length_are_refused(tmp_path: Path):
    def chunks() -> Any:
        for _ in range(32):
            yield b"x" * 65536

    with serving(receiver(tmp_path)) as url:
        try:
            status = requests.post(f"{url}/events", data=chunks(), timeout=10).status_code
        except requests.ConnectionError:  # refused while we were still sending
            status = 413
        assert status == 413
        assert requests.get(f"{url}/health", timeout=10).json() == {"status": "ok"}


def test_a_body_cut_off_on_the_way_is_refused(tmp_path: Path):
    headers, body = signed(revoked(), NOW)
    given = {"Host": "x", "Content-Length": str(len(body)), **headers}
    lines = "".join(f"{name}: {value}\r\n" for name, value in given.items())
    app = receiver(tmp_path)
    with serving(app) as url:
        port = int(url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port)) as raw:
            raw.sendall(f"POST /events HTTP/1.1\r\n{lines}\r\n".encode() + body[:-10])
            raw.shutdown(socket.SHUT_WR)
            assert raw.recv(1024).split(b" ")[1] == b"400"
    assert purges(app) == []


def test_a_receiver_without_this_secret_knows_no_such_webhook(tmp_path: Path):
    app = receiver(tmp_path, keys=(), mlflow_keys=(b"x",), registry=_REGISTRY)
    assert post(app, revoked()).status_code == 404


def test_every_refusal_is_json(tmp_path: Path):
    client = receiver(tmp_path).test_client()
    assert client.get("/elsewhere").get_json()["code"] == "NOT_FOUND"
    assert client.get("/events").get_json()["code"] == "METHOD_NOT_ALLOWED"


def test_what_the_relay_sends_is_what_the_receiver_takes(tmp_path: Path):
    queue, clock, folder = MemoryQueue(), Clock(), cached(tmp_path / "cache", MODEL)
    queue.add(*(stored(act, index) for index, act in enumerate(Act)))
    app = receiver(tmp_path, clock)
    with serving(app) as url:
        relay = Relay(queue, [target(f"{url}/events")], SOURCE, clock=clock)
        assert sum(relay.run_once() for _ in Act) == len(Act)
        queue.replay()
        assert sum(relay.run_once() for _ in Act) == len(Act)
    assert not folder.exists()
    assert [p["outcome"] for p in purges(app)] == ["purged"]


_REGISTRY = app_module.registry.Registry("http://127.0.0.1:1")
