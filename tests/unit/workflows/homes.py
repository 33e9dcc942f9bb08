"""The home folder of a registry in one process, as commands on the host find it."""

from __future__ import annotations

from pathlib import Path

from tests.unit.workflows.builders import InProcessRegistry


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
