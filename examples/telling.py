"""Telling a story on a terminal: what somebody typed, and what came back."""

from __future__ import annotations

import os
import subprocess
import textwrap
import time
from collections.abc import Callable
from typing import Any

import requests

from examples.local_server import COMMAND, LocalServer


def title(text: str) -> None:
    """A headline."""
    print(f"\n\033[1m== {text}\033[0m", flush=True)


def typed(user: str, text: str) -> None:
    """What a person typed."""
    print(f"\n\033[36m{user} $\033[0m {text}", flush=True)


def answered(text: str) -> None:
    """What came back."""
    print(textwrap.indent(text, "    "), flush=True)


def expect(condition: bool, message: str) -> None:
    """A story fails loudly."""
    if not condition:
        raise SystemExit(message)


def wait_for(condition: Callable[[], Any], what: str, seconds: float) -> None:
    """Poll until something true comes back."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if condition():
                return
        except requests.RequestException:
            pass
        time.sleep(0.3)
    raise SystemExit(f"waited {seconds:.0f} s for {what} in vain")


def command(
    server: LocalServer,
    user: str,
    *arguments: str,
    expect: int = 0,
    environment: dict[str, str] | None = None,
) -> str:
    """Run one of our commands as somebody; show it and its answer, which is returned."""
    typed(user, "mlflow-governance " + " ".join(arguments))
    done = subprocess.run(
        [*COMMAND, *arguments],
        cwd=server.folder,
        env=environment or {**os.environ, **server.environment(user)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    output = (done.stdout + done.stderr).strip()
    answered(output)
    if done.returncode:
        answered(f"[exit code {done.returncode}]")
    if done.returncode != expect:
        raise SystemExit(f"the story expected exit code {expect}")
    return output


def attempt(
    user: str, text: str, call: Callable[..., Any], *arguments: Any, fails: bool | None = None
) -> str:
    """Call the stock client; show what came back, which is returned."""
    from mlflow.exceptions import MlflowException

    typed(user, text)
    try:
        came, failed = str(call(*arguments)), False
    except MlflowException as error:
        came, failed = str(error), True
    answered(came)
    if fails is not None and failed != fails:
        raise SystemExit("the story expected something else")
    return came
