"""``python -m webhooks.receiver``: secrets from the environment, mistakes explained."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests

from mlflow_governance.core import moment
from mlflow_governance.core.event import Act
from mlflow_governance.errors import ConfigurationError
from mlflow_governance.outbox import signing
from tests.unit.outbox.builders import MODEL, OTHER_SECRET, SECRET, event, free_port, signed
from tests.unit.webhooks.builders import cached
from webhooks.receiver import __main__ as command

ROOT = Path(__file__).resolve().parents[3]


def settings_of(*argv: str, **env: str):
    options = command._parser().parse_args(["--cache", "/srv/models", *argv])
    return command.settings_of(options, env)


def test_secrets_come_from_the_environment_and_are_not_printed():
    made = settings_of(
        "--registry", "http://127.0.0.1:5000",
        MLFLOW_GOVERNANCE_WEBHOOK_SECRET=f"{SECRET} {OTHER_SECRET}",
        MLFLOW_WEBHOOK_SECRET="plain",
        MLFLOW_TRACKING_USERNAME="ann",
        MLFLOW_TRACKING_PASSWORD="hidden",
    )  # fmt: skip
    assert made.keys == signing.keys_of(f"{SECRET} {OTHER_SECRET}")
    assert made.mlflow_keys == (b"plain",)
    assert made.registry is not None
    assert (made.registry.username, made.registry.password) == ("ann", "hidden")
    assert not re.search("plain|hidden|secretsecret", repr(made))


def test_the_state_stands_beside_the_cache():
    assert settings_of(MLFLOW_GOVERNANCE_WEBHOOK_SECRET=SECRET).state == Path(
        "/srv/models-receiver.db"
    )


def test_a_secret_file_wins_over_the_environment(tmp_path: Path):
    file = tmp_path / "secret"
    file.write_text(f"{OTHER_SECRET}\n{SECRET}\n")
    made = settings_of("--secret-file", str(file), MLFLOW_GOVERNANCE_WEBHOOK_SECRET="whsec_bad")
    assert made.keys == signing.keys_of(f"{OTHER_SECRET} {SECRET}")


@pytest.mark.parametrize(
    ("argv", "env"),
    [
        ([], {}),
        ([], {"MLFLOW_GOVERNANCE_WEBHOOK_SECRET": "plain"}),
        ([], {"MLFLOW_WEBHOOK_SECRET": "x"}),
        (["--registry", "127.0.0.1:5000"], {"MLFLOW_WEBHOOK_SECRET": "x"}),
        (["--secret-file", "/no/such/file"], {}),
        (["--state", "/srv/models/x.db"], {"MLFLOW_GOVERNANCE_WEBHOOK_SECRET": SECRET}),
    ],
)
def test_a_receiver_that_could_not_work_does_not_start(argv: list[str], env: dict[str, str]):
    with pytest.raises(ConfigurationError):
        settings_of(*argv, **env)


def test_an_empty_secret_file_is_refused(tmp_path: Path):
    (tmp_path / "secret").write_text("\n")
    with pytest.raises(ConfigurationError):
        settings_of("--secret-file", str(tmp_path / "secret"))


def test_a_mistake_is_one_message_and_an_exit_code(capsys: pytest.CaptureFixture[str]):
    assert command.main(["--cache", "/srv/models"], {}) == ConfigurationError.exit_code
    assert "MLFLOW_GOVERNANCE_WEBHOOK_SECRET" in capsys.readouterr().err


def test_files_that_cannot_be_used_are_a_mistake_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "file").write_text("")
    argv = ["--cache", str(tmp_path / "cache"), "--state", str(tmp_path / "file" / "y.db")]
    env = {"MLFLOW_GOVERNANCE_WEBHOOK_SECRET": SECRET}
    assert command.main(argv, env) == ConfigurationError.exit_code
    assert "cannot use its files" in capsys.readouterr().err


def test_help_explains_the_secrets(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        command.main(["--help"])
    assert "MLFLOW_GOVERNANCE_WEBHOOK_SECRET" in capsys.readouterr().out


def start(cache: Path, port: int) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-m", "webhooks.receiver", "--port", str(port), "--cache", str(cache)],
        cwd=ROOT,
        env={**os.environ, "MLFLOW_GOVERNANCE_WEBHOOK_SECRET": SECRET},
        stderr=subprocess.DEVNULL,
    )
    end = time.monotonic() + 30
    while time.monotonic() < end:
        try:
            requests.get(f"http://127.0.0.1:{port}/health", timeout=1)
            return process
        except requests.ConnectionError:
            time.sleep(0.05)
    process.kill()
    raise AssertionError("the receiver did not start")


def test_a_killed_receiver_remembers_what_it_did(tmp_path: Path):
    cache, port = tmp_path / "cache", free_port()
    answers = []
    for _ in range(2):
        folder = cached(cache, MODEL)
        process = start(cache, port)
        try:
            headers, body = signed(event(Act.VERSION_REVOKED), moment.now())
            url = f"http://127.0.0.1:{port}/events"
            answer = requests.post(url, data=body, headers=headers, timeout=5)
            answers.append((answer.json()["status"], folder.exists()))
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait(10)
    assert answers == [("done", False), ("repeated", True)]
