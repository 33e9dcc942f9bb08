"""The main path on PostgreSQL with four server processes."""

from __future__ import annotations

import json
import os
import threading
import time
from typing import Any

import pytest
import requests
from mlflow.exceptions import MlflowException
from sqlalchemy import create_engine, text

from tests.integration.test_validate import flags, live
from tests.integration.world import World, at_once

pytestmark = pytest.mark.skipif(
    "GOVERNANCE_TEST_POSTGRESQL" not in os.environ, reason="no PostgreSQL was named"
)


def test_the_way_to_release_and_out_again(big: World) -> None:
    uri = big.approved("way", seed=120)
    assert big.load("models:/way/Approved").metadata is not None

    big.here("sam", "revoke", "way/1", "--reason", "leaks personal data")

    for form in ("models:/way/1", "models:/way/latest", uri):
        with pytest.raises((MlflowException, requests.HTTPError), match="DLD-001"):
            big.load(form)
    assert big.tags("way")["governance.stage"] == "Revoked"


def test_a_registration_without_evidence_is_kept(big: World) -> None:
    big.log("kept", seed=121)

    assert "ACC-002" in big.tags("kept")["governance.missing"]
    with pytest.raises(MlflowException, match="DLD-002"):
        big.load("models:/kept/1")


def test_of_eight_transitions_at_once_one_wins(big: World) -> None:
    big.candidate("race", seed=122)

    outcomes = at_once(
        big, 8, lambda client: client.transition_model_version_stage("race", "1", "Staging")
    )

    # Whoever comes after the winner finds the stage as asked for, which is a success, too.
    assert "done" in outcomes
    assert set(outcomes) <= {"done", "RESOURCE_CONFLICT"}
    moves = [e for e in big.show("race")["timeline"] if e["after"].get("stage") == "Staging"]
    assert len(moves) == 1


def test_registrations_at_once_all_get_a_version(big: World) -> None:
    uris = [big.log(seed=123 + count) for count in range(4)]
    for uri in uris:
        big.submit(uri, "--no-register", "--name", "crowd")
    sources = [(f"mlflow-artifacts:/{big.location(u)}", big.run_of(u), u[8:]) for u in uris]
    with big.speaking_as("alice") as client:
        client.create_registered_model("crowd")

    def register(client: Any) -> None:
        source, run, model = sources.pop()
        client.create_model_version("crowd", source, run_id=run, model_id=model)

    assert at_once(big, 4, register) == ["done"] * 4
    with big.speaking_as("alice") as client:
        found = client.search_model_versions("name = 'crowd'")
    assert sorted(int(v.version) for v in found) == [1, 2, 3, 4]
    assert {v.current_stage for v in found} == {"Candidate"}


def test_once_a_revocation_is_answered_nobody_gets_the_bytes_from_any_process(big: World) -> None:
    big.approved("hurried", seed=130)
    permitted: list[float] = []
    refused: set[str] = set()
    stop = threading.Event()

    def ask() -> None:
        from mlflow import MlflowClient

        client = MlflowClient()
        while not stop.is_set():
            asked = time.monotonic()
            try:
                client.get_model_version_download_uri("hurried", "1")
                permitted.append(asked)
            except MlflowException as error:
                refused.add(error.error_code)

    with big.speaking_as("rita"):
        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        time.sleep(0.5)
        body = {"name": "hurried", "version": 1, "reason": "leaks personal data"}
        assert big.ask("sam", "POST", "/api/2.0/mlflow-governance/revoke", json=body).ok
        answered = time.monotonic()
        time.sleep(1)
        stop.set()
        for thread in threads:
            thread.join()

    assert permitted
    assert max(permitted) < answered
    assert refused == {"PERMISSION_DENIED"}


def test_a_full_life_is_clean_and_what_is_planted_in_it_is_named(big: World) -> None:
    live(big)
    stages = "update model_versions set current_stage = :stage where name = 'fraud'"

    done = big.command("admin", "validate", *flags(big), "--json")
    assert json.loads(done.stdout)["findings"] == []

    engine = create_engine(big.server.backend)
    try:
        with engine.begin() as connection:
            connection.execute(text(stages), {"stage": "Approved"})
        done = big.command("admin", "validate", *flags(big), check=False)
    finally:
        with engine.begin() as connection:
            connection.execute(text(stages), {"stage": "Revoked"})
        engine.dispose()
    assert done.returncode == 3
    assert "VAL-020 error   fraud/1" in done.stdout


def test_all_processes_go_on_under_a_new_key_of_the_ledger(big: World) -> None:
    uri = big.candidate("rekeyed", seed=140)
    home = ("--home", str(big.server.home))
    first = big.here("admin", "ledger", "key", *home).split()

    database = ("--backend-store-uri", big.server.backend)
    big.command("admin", "keys", "rotate", "ledger", "--reason", "yearly", *home, *database)

    keys = big.here("admin", "ledger", "key", *home).split()
    assert set(first) < set(keys)
    assert at_once(big, 8, lambda client: client.get_model_version("rekeyed", "1")) == ["done"] * 8
    moves = at_once(big, 4, lambda c: c.transition_model_version_stage("rekeyed", "1", "Staging"))
    assert "done" in moves
    assert set(moves) <= {"done", "RESOURCE_CONFLICT"}
    big.approved("since", seed=141)
    assert big.load("models:/since/Approved").metadata is not None
    assert big.load(uri, "alice").metadata is not None
    assert [e["facts"]["key"] in keys for e in big.entries("ledger.rekeyed")] == [True]


def test_the_ledger_of_it_all_verifies(big: World) -> None:
    assert big.ledger_verifies()["size"] > 10
