"""Who asks: named by what checks passwords, and never by more than one header."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import flask
import pytest

from mlflow_governance.core.actor import Actor
from mlflow_governance.plugin import compat
from mlflow_governance.plugin.app import ClaimedUser
from mlflow_governance.plugin.identity import Identity, claimed_user, user_of


def basic(user: str, password: str = "secret") -> bytes:
    return b"Basic " + base64.b64encode(f"{user}:{password}".encode())


@pytest.mark.parametrize(
    ("header", "user"),
    [
        (basic("ann"), "ann"),
        (b"basic " + basic("ann")[6:], "ann"),
        (b"BASIC   " + basic("ann")[6:], "ann"),
        (basic("ann", "with:colons:in:it"), "ann"),
        (basic("ann", ""), "ann"),
    ],
)
def test_a_basic_header_names_its_user(header: bytes, user: str) -> None:
    assert user_of(header) == user


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"Basic",
        b"Basic ",
        b"Basic !!!!",
        b"Basic =",
        b"Basic " + base64.b64encode(b":secret"),
        b"Basic " + base64.b64encode("änn:secret".encode()),
        b"Basic " + base64.b64encode(b"\xff\xfe:secret"),
        b"Bearer " + basic("ann")[6:],
        b"Digest username=ann",
        basic("ann") + b", " + basic("bob"),
        basic("ann")[6:],
        b"\x00" * 10_000,
    ],
)
def test_a_header_that_makes_no_sense_names_nobody(header: bytes) -> None:
    assert user_of(header) is None


def _served(headers: list[tuple[bytes, bytes]], kind: str = "http") -> str | None:
    seen: list[str | None] = []

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        seen.append(claimed_user.get())

    scope = {"type": kind, "headers": headers}
    asyncio.run(ClaimedUser(inner)(scope, None, None))  # type: ignore[arg-type]
    assert claimed_user.get() is None, "a claim outlived its request"
    return seen[0]


def test_the_first_of_several_headers_counts_as_it_does_for_the_password() -> None:
    assert _served([(b"authorization", basic("ann")), (b"authorization", basic("root"))]) == "ann"
    assert _served([(b"Authorization", basic("ann")), (b"authorization", basic("root"))]) == "ann"
    assert _served([(b"authorization", b"Basic !"), (b"authorization", basic("root"))]) is None
    assert _served([(b"authorization", b""), (b"authorization", basic("root"))]) is None


def test_a_request_without_a_header_claims_nobody_and_a_socket_is_left_alone() -> None:
    assert _served([]) is None
    assert _served([(b"authorization", basic("ann"))], "websocket") is None


def test_a_claim_ends_with_a_request_that_fails() -> None:
    async def inner(scope: Any, receive: Any, send: Any) -> None:
        raise RuntimeError

    scope = {"type": "http", "headers": [(b"authorization", basic("ann"))]}
    with pytest.raises(RuntimeError):
        asyncio.run(ClaimedUser(inner)(scope, None, None))  # type: ignore[arg-type]

    assert claimed_user.get() is None


@pytest.fixture
def people(monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[bool, tuple[str, ...]]]:
    """What basic-auth knows of people."""
    known: dict[str, tuple[bool, tuple[str, ...]]] = {"ann": (False, ("security",))}

    def person(name: str) -> tuple[str, bool, tuple[str, ...]]:
        # As a database without accents in its collation: the same row by another spelling.
        stored = name.replace("á", "a")
        return stored, *known[stored]

    monkeypatch.setattr(compat, "basic_auth_person", person)
    return known


def test_a_server_without_authentication_knows_nobody(people: Any) -> None:
    token = claimed_user.set("ann")
    try:
        assert Identity("none").current() == Actor.anonymous()
    finally:
        claimed_user.reset(token)


def test_inside_flask_only_the_name_flask_was_given_counts(people: Any) -> None:
    identity = Identity("basic")
    token = claimed_user.set("ann")
    try:
        with flask.Flask(__name__).test_request_context(headers={"Authorization": basic("ann")}):
            assert identity.current() == Actor.anonymous()
            flask.g.mlflow_authenticated_user = "ann"
            assert identity.current() == Actor("ann", ("security",), authenticated=True)
        assert identity.current().id == "ann"
    finally:
        claimed_user.reset(token)


def test_one_account_is_one_person_however_its_name_was_typed(people: Any) -> None:
    with flask.Flask(__name__).test_request_context():
        flask.g.mlflow_authenticated_user = "ánn"
        assert Identity("basic").current().person == "ann"


def test_outside_any_request_nobody_acts(people: Any) -> None:
    assert not Identity("basic").current().authenticated


def test_roles_are_read_afresh_where_it_matters(people: Any) -> None:
    identity = Identity("basic")
    token = claimed_user.set("ann")
    try:
        assert identity.current().roles == ("security",)
        people["ann"] = (False, ())
        assert identity.current(fresh=False).roles == ("security",), "a download may use it"
        assert identity.current().roles == (), "an approval may not"
        assert identity.current(fresh=False).roles == (), "and what was read is remembered"
    finally:
        claimed_user.reset(token)


def test_the_memory_of_roles_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compat, "basic_auth_person", lambda name: (name, False, ()))
    identity = Identity("basic")
    for number in range(10_050):
        token = claimed_user.set(f"user-{number}")
        identity.current()
        claimed_user.reset(token)

    assert len(identity._roles) <= 10_001
