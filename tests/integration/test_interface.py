"""The REST interface and the pages of the real server, behind MLflow's basic-auth."""

from __future__ import annotations

import pytest

from tests.integration.world import World

API = "/api/2.0/mlflow-governance"
AJAX = "/ajax-api/2.0/mlflow-governance"
PRIVATE = (
    "/versions", "/version?name=x&version=1", "/decision?id=x", "/ledger/head",
    "/ledger/entries", "/ledger/proof?index=0", "/ledger/checkpoint", "/ledger/consistency?old=1",
    "/trust", "/policy", "/openapi.json",
)  # fmt: skip


@pytest.mark.parametrize("path", ["/health", "/revocations"])
def test_health_and_revocations_are_open_to_everybody(world: World, path: str) -> None:
    assert world.ask("", "GET", API + path).status_code == 200
    assert world.ask("", "GET", AJAX + path).status_code == 200


@pytest.mark.parametrize("path", [*(API + p for p in PRIVATE), AJAX + "/versions", "/governance"])
def test_everything_else_wants_to_know_who_asks(world: World, path: str) -> None:
    assert world.ask("", "GET", path).status_code == 401


@pytest.mark.parametrize("path", ["/approvals", "/revoke", "/quarantine", "/restore", "/judge"])
def test_nobody_acts_anonymously(world: World, path: str) -> None:
    world.candidate_once("asked-about", seed=60)
    body = {"name": "asked-about", "version": 1, "role": "security", "reason": "why not"}

    assert world.ask("", "POST", API + path, json=body).status_code == 401
    wrong = world.ask("", "POST", API + path, json=body, headers={"Authorization": "Basic eDp5"})
    assert wrong.status_code == 401
    assert world.tags("asked-about")["governance.stage"] == "Candidate"


@pytest.mark.parametrize("path", ["/nothing", "/health/../versions", "/revocations/x", "/healthy"])
def test_unknown_paths_are_not_answered(world: World, path: str) -> None:
    assert world.ask("", "GET", API + path).status_code in (401, 403, 404)


def test_a_user_sees_the_pages(world: World) -> None:
    world.candidate_once("asked-about", seed=60)

    catalogue = world.ask("rita", "GET", "/governance")
    version = world.ask("rita", "GET", "/governance/version?name=asked-about&version=1")

    assert catalogue.status_code == version.status_code == 200
    assert "asked-about" in catalogue.text
    assert "Candidate" in version.text
    for page in (catalogue, version):
        assert page.headers["Content-Type"] == "text/html; charset=utf-8"
        assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert world.ask("rita", "GET", "/governance/static/style.css").status_code == 200
    assert world.ask("rita", "GET", "/governance/version?name=nobody&version=1").status_code == 404


def test_an_approval_is_given_by_post(world: World) -> None:
    world.candidate_once("asked-about", seed=60)
    body = {"name": "asked-about", "version": 1, "role": "security", "reason": "looked at it"}

    given = world.ask("sam", "POST", AJAX + "/approvals", json=body)
    shown = world.ask("rita", "GET", API + "/version", params={"name": "asked-about", "version": 1})

    assert given.status_code == 200, given.text
    assert given.json()["approval"]["person"] == "sam"
    assert [(a["person"], a["current"]) for a in shown.json()["approvals"]] == [("sam", True)]


@pytest.mark.parametrize(
    ("user", "role", "code"),
    [
        ("alice", "security", "DUTY"),
        ("rita", "security", "DUTY-ROLE"),
        ("admin", "product", "DUTY"),
    ],
)
def test_an_approval_that_breaks_a_duty_is_denied(
    world: World, user: str, role: str, code: str
) -> None:
    world.candidate_once("asked-about", seed=60)
    body = {"name": "asked-about", "version": 1, "role": role, "reason": "trust me"}

    answer = world.ask(user, "POST", API + "/approvals", json=body)

    assert answer.status_code == 403
    assert answer.json()["code"] == "DENIED"
    assert code in answer.text


@pytest.mark.parametrize(
    "options",
    [
        {"data": {"name": "asked-about", "version": "1", "role": "security", "reason": "x"}},
        {"data": b"{}", "headers": {"Content-Type": "text/plain"}},
        {"data": b"{", "headers": {"Content-Type": "application/json"}},
        {"json": {"name": "asked-about", "version": "1; DROP", "role": "security", "reason": "x"}},
        {"json": {"name": "asked-about", "version": 1, "role": "security", "reason": "x", "by": 1}},
    ],
)
def test_a_malformed_request_is_refused_as_such(world: World, options: dict[str, object]) -> None:
    answer = world.ask("sam", "POST", API + "/approvals", **options)

    assert answer.status_code == 400, answer.text
    assert answer.json()["code"] == "INVALID_REQUEST"


def test_what_does_not_exist_is_not_found(world: World) -> None:
    answer = world.ask("sam", "POST", API + "/revoke", json={
        "name": "nobody-knows-it", "version": 7, "reason": "why not",
    })  # fmt: skip

    assert answer.status_code == 404
    assert answer.json()["code"] == "NOT_FOUND"


def test_other_sites_cannot_act_for_who_is_logged_in(world: World) -> None:
    world.candidate_once("asked-about", seed=60)
    body = {"name": "asked-about", "version": 1, "reason": "not theirs"}

    answer = world.ask(
        "sam", "POST", AJAX + "/revoke", json=body, headers={"Origin": "https://evil.example"}
    )

    assert answer.status_code == 403
    assert world.tags("asked-about")["governance.stage"] == "Candidate"
