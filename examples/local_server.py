"""A governed MLflow server of one's own, started and stopped from Python."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import requests

COMMAND = [sys.executable, "-m", "mlflow_governance.cli.main"]


class LocalServer:
    """`mlflow-governance server` in a folder, on a free port of this machine.

    Args:
        folder: everything the server keeps goes here.
        backend: database URI; default: SQLite in the folder.
        auth: ``basic`` or ``none``.
        flags: further flags for the command.
    """

    def __init__(
        self, folder: Path, *, backend: str = "", auth: str = "basic", flags: tuple[str, ...] = ()
    ) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.backend = backend or f"sqlite:///{folder / 'mlflow.db'}"
        self.auth = auth
        self.port = free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self.log = folder / "server.log"
        self._flags = flags
        self.passwords: dict[str, str] = {}
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> LocalServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def command(self) -> list[str]:
        """What starts it."""
        return [
            *(*COMMAND, "server", "--backend-store-uri", self.backend),
            *("--artifacts-destination", str(self.folder / "artifacts")),
            *("--home", str(self.home), "--auth", self.auth, "--port", str(self.port)),
            *self._flags,
        ]

    def start(self, timeout: float = 120) -> None:
        """Start and wait until the server and its worker answer."""
        self.folder.mkdir(parents=True, exist_ok=True)
        environment = {
            k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW", "_MLFLOW"))
        }
        environment.pop("PYTEST_CURRENT_TEST", None)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command(),
                cwd=self.folder,
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + timeout
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"the server did not start:\n{self.log.read_text()[-4000:]}")
            time.sleep(0.2)

    def stop(self) -> None:
        """Stop the server, its workers and whatever they started."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(30)
        self.kill()

    def stay(self, message: str) -> None:
        """Leave the server running, and say how it is stopped."""
        if self._process is not None:
            print(f"\n{message}\nlog in as admin: {self.password('admin')}")
            print(f"files: {self.folder}\nstop it: kill {self._process.pid}")

    def kill(self) -> None:
        """SIGKILL to every process of the server at once, as a power cut would."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def add_user(self, name: str, *roles: str) -> None:
        """Create a user in MLflow's basic-auth and give them roles."""
        password = secrets.token_urlsafe(16)
        flags = [word for role in roles for word in ("--role", role)]
        self.run("admin", "users", "add", name, *flags, "--password-stdin", stdin=password)
        self.passwords[name] = password

    def environment(self, user: str) -> dict[str, str]:
        """What the stock client and our commands need to speak as this user."""
        variables = {"MLFLOW_TRACKING_URI": self.uri}
        if self.auth == "basic":
            variables["MLFLOW_TRACKING_USERNAME"] = user
            variables["MLFLOW_TRACKING_PASSWORD"] = self.password(user)
        return variables

    def password(self, user: str) -> str:
        """The password of a user; the first start made the administrator's."""
        if user == "admin":
            return (self.home / "keys" / "admin.password").read_text()
        return self.passwords[user]

    def run(
        self,
        user: str,
        *arguments: str,
        stdin: str = "",
        check: bool = True,
        variables: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run `mlflow-governance …` as this user, with further variables."""
        done = subprocess.run(
            [*COMMAND, *arguments],
            cwd=self.folder,
            env={**os.environ, **self.environment(user), **(variables or {})},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        if check and done.returncode:
            raise RuntimeError(f"{arguments} ended with {done.returncode}:\n{done.stderr}")
        return done

    def _answers(self) -> bool:
        try:
            return requests.get(f"{self.uri}/health", timeout=2).ok
        except requests.RequestException:
            return False


def free_port() -> int:
    """A port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
