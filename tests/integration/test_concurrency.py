"""Promoters, revokers, alias movers and loaders at once, on PostgreSQL with four processes."""

from __future__ import annotations

import itertools
import json
import os
import random
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import requests

from tests.integration.world import World

pytestmark = pytest.mark.skipif(
    "GOVERNANCE_TEST_POSTGRESQL" not in os.environ, reason="no PostgreSQL was named"
)

MODELS = 6
ACTS = 25
MLFLOW = "/api/2.0/mlflow"
OURS = "/api/2.0/mlflow-governance"


@pytest.fixture(scope="module")
def busy(big: World) -> World:
    """A few versions at Staging."""
    for number in range(MODELS):
        big.candidate(f"m{number}", seed=520 + number)
        big.move(f"m{number}", 1, "Staging")
        big.canary(f"m{number}")
    return big


class Person:
    """Somebody on a kept connection, who does one kind of thing at random."""

    def __init__(self, world: World, user: str, seed: int) -> None:
        self._uri = world.server.uri
        self._session = requests.Session()
        self._session.auth = (user, world.server.password(user))
        self.random = random.Random(seed)
        self.answers: Counter[tuple[str, int]] = Counter()
        self.unexpected: list[str] = []

    def ask(self, what: str, method: str, path: str, **options: Any) -> None:
        answer = self._session.request(method, self._uri + path, timeout=120, **options)
        self.answers[what, answer.status_code] += 1
        if answer.status_code >= 500:
            self.unexpected.append(f"{what}: {answer.status_code} {answer.text[:300]}")

    def name(self) -> str:
        return f"m{self.random.randrange(MODELS)}"


def promote(person: Person) -> None:
    stage = person.random.choice(("Staging", "Approved", "Deprecated", "Candidate"))
    body = {"name": person.name(), "version": "1", "stage": stage}
    body["archive_existing_versions"] = False  # type: ignore[assignment]
    person.ask("promote", "POST", f"{MLFLOW}/model-versions/transition-stage", json=body)


def withdraw(person: Person) -> None:
    # Revoked is for ever, so it stays rare.
    act = person.random.choice(("quarantine", "restore", "quarantine", "restore", "revoke"))
    name = "m0" if act == "revoke" else person.name()
    body = {"name": name, "version": 1, "reason": "at once"}
    person.ask(act, "POST", f"{OURS}/{act}", json=body)


def alias(person: Person) -> None:
    method = person.random.choice(("POST", "POST", "DELETE"))
    body = {"name": person.name(), "alias": person.random.choice(("try", "champion"))}
    if method == "POST":
        body["version"] = "1"
    person.ask(f"alias {method}", method, f"{MLFLOW}/registered-models/alias", json=body)


def approve(person: Person) -> None:
    body = {"name": person.name(), "version": 1, "role": "product", "reason": "fine"}
    person.ask("approve", "POST", f"{OURS}/approvals", json=body)


def load(person: Person) -> None:
    params = {"name": person.name(), "version": "1"}
    person.ask("load", "GET", f"{MLFLOW}/model-versions/get-download-uri", params=params)


CREW: tuple[tuple[str, Callable[[Person], None]], ...] = (
    ("alice", promote),
    ("alice", promote),
    ("sam", withdraw),
    ("sam", withdraw),
    ("alice", alias),
    ("rita", load),
    ("rita", load),
    ("pia", approve),
)


def test_after_all_at_once_the_ledger_gives_exactly_the_registrys_state(busy: World) -> None:
    people = [(Person(busy, user, n), act) for n, (user, act) in enumerate(CREW)]
    start = threading.Barrier(len(people))

    def work(person: Person, act: Callable[[Person], None]) -> None:
        start.wait()
        for _ in range(ACTS):
            act(person)

    threads = [threading.Thread(target=work, args=pair) for pair in people]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert list(itertools.chain.from_iterable(p.unexpected for p, _ in people)) == []
    answers = sum((person.answers for person, _ in people), Counter())
    assert {what for what, status in answers if status == 200} >= {"promote", "quarantine", "load"}
    assert busy.ledger_verifies()["size"] > ACTS
    told = busy.command(
        "admin",
        *("validate", "--json", "--backend-store-uri", busy.server.backend),
        *("--home", str(busy.server.home), "--artifacts-destination", str(busy.artifacts)),
        check=False,
    )
    assert json.loads(told.stdout)["findings"] == [], told.stdout
    assert told.returncode == 0
