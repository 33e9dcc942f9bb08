"""The home folder of a registry in one process, as commands on the host find it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TypeVar

from tests.unit.workflows.builders import Clock, InProcessRegistry

R = TypeVar("R", bound=InProcessRegistry)


def home_of(registry: InProcessRegistry) -> Path:
    """A folder with the ledger's keys and a configuration; made once."""
    folder = registry.artifacts.root.parent
    home = folder / "home"
    if not home.exists():
        (home / "keys").mkdir(parents=True)
        for name in ("ledger.pem", "ledger.pub"):
            (home / "keys" / name).write_bytes((folder / name).read_bytes())
            (home / "keys" / name).chmod(0o600)
        (home / "config.yaml").write_text("registry_name: test\n")
    return home


def later(registry: R) -> R:
    """A registry that is opened again goes on an hour after it began, not where it began."""
    clock = registry.ports.clock
    assert isinstance(clock, Clock)
    clock.now += timedelta(hours=1)
    return registry
