"""``server`` and ``worker``."""

from __future__ import annotations

import itertools
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import click

from mlflow_governance import config
from mlflow_governance.cli.first_start import Environment, prepare
from mlflow_governance.errors import InvalidRequest

REGISTRY_URI = "MLFLOW_GOVERNANCE_REGISTRY_URI"
_OURS = (
    "--registry-store-uri",
    "--app-name",
    "--no-serve-artifacts",
    "--artifacts-only",
    "--default-artifact-root",
)
_RESTART_SECONDS = (1, 2, 5, 15, 60)
_GRACE_SECONDS = 20
_START_SECONDS = 120


@click.command(context_settings={"ignore_unknown_options": True})
@click.option(
    "--backend-store-uri",
    default="sqlite:///mlflow.db",
    show_default=True,
    help="MLflow's database, e.g. postgresql+psycopg://user@host/mlflow.",
)
@click.option(
    "--artifacts-destination",
    default="./mlartifacts",
    show_default=True,
    help="Where MLflow keeps artifacts: a folder or s3://bucket/path.",
)
@click.option("--home", default=None, help="Home folder of keys, trust policy and settings.")
@click.option("--auth", type=click.Choice(["basic", "none"]), help="Overrides config.yaml.")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=5000, show_default=True)
@click.option("--workers", type=int, help="Server processes; 1 on SQLite, 4 otherwise.")
@click.argument("mlflow_flags", nargs=-1, type=click.UNPROCESSED)
def server(
    backend_store_uri: str,
    artifacts_destination: str,
    home: str | None,
    auth: str | None,
    mlflow_flags: tuple[str, ...],
    **options: str | int | None,
) -> None:
    """Start a governed MLflow server and its worker.

    Prepares MLflow's tables and ours, creates on the first start what keys and users are
    needed, and passes every other flag on to `mlflow server`.

    \b
    A laptop:        mlflow-governance server
    A laptop, alone: mlflow-governance server --auth none
    PostgreSQL:      mlflow-governance server --backend-store-uri postgresql+psycopg://…
    """
    _refuse_our_flags(mlflow_flags)
    if auth:
        os.environ[config.AUTH_VARIABLE] = auth
    environment = prepare(
        config.home_folder(home), backend_store_uri, destination_uri(artifacts_destination)
    )
    workers = options["workers"] or (1 if backend_store_uri.startswith("sqlite") else 4)
    arguments = [
        *("server", "--backend-store-uri", backend_store_uri),
        *("--registry-store-uri", environment.registry_uri),
        *("--artifacts-destination", environment.destination),
        *("--app-name", "governance"),
        *("--host", str(options["host"]), "--port", str(options["port"])),
        *("--workers", str(workers)),
        *mlflow_flags,
    ]
    sys.exit(_supervise(arguments, environment, str(options["host"]), int(options["port"] or 0)))


@click.command()
@click.option("--home", default=None, help="Home folder of the installation.")
@click.option("--registry-uri", envvar=REGISTRY_URI, required=True, help="governance+<database>.")
@click.option(
    "--artifacts-destination", envvar="_MLFLOW_SERVER_ARTIFACT_DESTINATION", required=True
)
def worker(home: str | None, registry_uri: str, artifacts_destination: str) -> None:
    """Run a worker: it finishes registrations, mirrors, sends events, exports checkpoints.

    `mlflow-governance server` starts one by itself; run more on other hosts with the same
    home folder and database.
    """
    os.environ[config.HOME_VARIABLE] = str(config.home_folder(home))
    os.environ["_MLFLOW_SERVER_ARTIFACT_DESTINATION"] = artifacts_destination
    os.environ["_MLFLOW_SERVER_SERVE_ARTIFACTS"] = "true"
    from mlflow_governance.plugin.worker import build

    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    threading.Thread(target=_stop_with_parent, args=(stop, os.getppid()), daemon=True).start()
    build(registry_uri).run(stop)


def _stop_with_parent(stop: threading.Event, parent: int) -> None:
    # A worker started by a server ends with it, even when the server was killed.
    while not stop.wait(1.0):
        if os.getppid() != parent:
            stop.set()


def _refuse_our_flags(flags: tuple[str, ...]) -> None:
    for flag in flags:
        if flag.split("=")[0] in _OURS:
            raise InvalidRequest(
                f"{flag.split('=')[0]} is set by mlflow-governance itself",
                advice="A governed server proxies every artifact and uses the governed store.",
            )


def destination_uri(given: str) -> str:
    """The guarded artifact destination for what was given on the command line."""
    uri = given if "://" in given else Path(given).resolve().as_uri()
    return f"governance+{uri}"


class _Stop:
    """Set when a signal comes or when MLflow's command ends; for the thread beside it."""

    def __init__(self) -> None:
        self._told, self._teller = socket.socketpair()
        self._teller.setblocking(False)
        # MLflow's signal handlers pass on to its server what comes; this hears it beside them.
        signal.set_wakeup_fd(self._teller.fileno(), warn_on_full_buffer=False)

    def set(self) -> None:
        """It is over."""
        signal.set_wakeup_fd(-1)
        self._teller.close()  # which the other end hears, too

    def wait(self, seconds: float) -> bool:
        """Whether it is over, at the latest after so many seconds."""
        return bool(select.select([self._told], [], [], seconds)[0])

    def close(self) -> None:
        """Nobody waits any more."""
        self._told.close()


def _supervise(arguments: list[str], environment: Environment, host: str, port: int) -> int:
    # MLflow's command starts its server as processes of its own and waits for them. It does so in
    # this process, which has imported MLflow already for the databases.
    stop = _Stop()
    keeper = threading.Thread(target=_keep_worker, args=(environment, stop, host, port))
    keeper.start()
    try:
        return _run_mlflow(arguments)
    finally:
        stop.set()
        keeper.join()
        stop.close()


def _run_mlflow(arguments: list[str]) -> int:
    from mlflow.cli import cli

    try:
        cli.main(arguments, prog_name="mlflow")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def _keep_worker(environment: Environment, stop: _Stop, host: str, port: int) -> None:
    if _listening(stop, host, port):
        click.echo(
            f"governed MLflow is ready at http://{host}:{port}  (page: /governance)", err=True
        )
    elif not stop.wait(0):
        click.echo("the server is slow to listen; the worker starts all the same", err=True)
    command = [sys.executable, "-m", "mlflow_governance.cli.main", "worker"]
    for attempt in itertools.count():
        if stop.wait(0):
            return
        process = subprocess.Popen(command, env=environment.variables)
        while process.poll() is None and not stop.wait(0.5):
            pass
        if stop.wait(0):
            _end(process)
            return
        pause = _RESTART_SECONDS[min(attempt, len(_RESTART_SECONDS) - 1)]
        click.echo(f"the worker ended with {process.returncode}; again in {pause} s", err=True)
        if stop.wait(pause):
            return


def _listening(stop: _Stop, host: str, port: int) -> bool:
    # A plain connection: prefixes and certificates given to MLflow do not matter to it.
    address = "127.0.0.1" if host in ("0.0.0.0", "::", "") else host  # noqa: S104
    deadline = time.monotonic() + _START_SECONDS
    while not stop.wait(0.3) and time.monotonic() < deadline:
        with suppress(OSError), socket.create_connection((address, port), timeout=2):
            return True
    return False


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
