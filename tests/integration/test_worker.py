"""The worker beside the server: large registrations, events, and what a crash left undone."""

from __future__ import annotations

import mlflow
import pytest
from mlflow.exceptions import MlflowException

from tests.integration.told import Told
from tests.integration.world import wait_for


def test_a_large_model_is_ready_when_the_worker_has_judged_it(told: Told) -> None:
    uri = told.log_large(seed=100)
    with told.speaking_as("alice") as client:
        made = mlflow.register_model(uri, "large", await_registration_for=0)
        assert made.status == "PENDING_REGISTRATION"
        with pytest.raises(MlflowException, match="still being verified"):
            client.get_model_version_download_uri("large", "1")  # the worker takes longer
        wait_for(lambda: client.get_model_version("large", "1").status == "READY", "the worker")

    assert told.tags("large")["governance.stage"] == "None"
    assert "ACC-002" in told.tags("large")["governance.missing"]
    assert told.show("large")["submitter"] == "alice"


def test_a_large_model_with_evidence_is_a_candidate_then(told: Told) -> None:
    uri = told.log_large(seed=101)

    told.submit(uri, "--name", "large-proved")

    assert told.tags("large-proved")["governance.stage"] == "Candidate"


def test_every_act_reaches_the_receiver_once(told: Told) -> None:
    told.candidate("seen", seed=102)

    wait_for(told.everything_arrived, "every act to arrive")

    ids = told.received()
    assert len(ids) == len(set(ids))


def test_what_happens_while_the_receiver_is_down_arrives_when_it_is_back(told: Told) -> None:
    told.candidate("gone", seed=103)
    told.candidate("doubted", seed=104)
    told.receiver.stop()
    told.here("sam", "revoke", "gone/1", "--reason", "leaks personal data")
    told.here("sam", "quarantine", "doubted/1", "--reason", "odd answers")
    told.here("sam", "restore", "doubted/1", "--reason", "it was nothing")
    wait_for(lambda: "outbox: event" in told.server.log.read_text(), "an attempt that failed")

    told.receiver.start()

    wait_for(told.everything_arrived, "every act to arrive", 60)
    assert told.purges_of("gone") == ["Revoked"]
    assert told.purges_of("doubted") == ["Quarantined"]


def test_a_crash_right_after_a_revocation_loses_nothing(told: Told) -> None:
    uri = told.candidate("crashed", seed=105)
    told.receiver.stop()
    folder = told.governance_folder(uri, "crashed")
    aside = (folder / "decisions").rename(folder / "aside")
    (folder / "decisions").touch()  # the server cannot attach its decision before it dies
    told.here("sam", "revoke", "crashed/1", "--reason", "leaks personal data")
    told.server.kill()
    (folder / "decisions").unlink()
    aside.rename(folder / "decisions")
    before = set((folder / "decisions").iterdir())

    told.receiver.start()
    told.server.start()

    with pytest.raises(MlflowException, match="DLD-001"):
        told.load("models:/crashed/1")
    wait_for(
        lambda: told.tags("crashed")["governance.stage"] == "Revoked", "the tags to follow", 60
    )
    (attached,) = set((folder / "decisions").iterdir()) - before
    assert attached.name.startswith("withdraw-")
    wait_for(told.everything_arrived, "every act to arrive", 60)
    assert told.purges_of("crashed") == ["Revoked"]


def test_a_later_start_makes_nothing_anew(told: Told) -> None:
    log = told.server.log.read_text()

    assert log.count("governed MLflow is ready") >= 2
    assert log.count("created on this first start:") == 1
    assert told.show("seen")["stage"] == "Candidate"


def test_heads_of_the_ledger_are_exported_and_verify(told: Told) -> None:
    exported = wait_for(
        lambda: sorted((told.server.home / "checkpoints").glob("*.checkpoint")), "a checkpoint", 60
    )

    assert exported
    assert told.ledger_verifies()["checkpoints"] >= 1
