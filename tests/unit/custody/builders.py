"""A home folder, and a ledger in a database beside it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from mlflow_governance import config
from mlflow_governance.bootstrap import ledger_signer, prepare_home
from mlflow_governance.config import Settings
from mlflow_governance.core.actor import Actor
from mlflow_governance.custody import ledger as custody
from mlflow_governance.custody.rotation import Rotation, rotate_ledger
from mlflow_governance.ledger.handover import KeyHistory
from mlflow_governance.store.ledger import SqlLedger
from mlflow_governance.store.migrate import upgrade
from mlflow_governance.store.sessions import Sessions, session_factory_for
from mlflow_governance.store.unit_of_work import SqlStore
from tests.unit.store.builders import event

OPS = Actor("os:ops", authenticated=True)


@dataclass
class Site:
    """One installation; a :meth:`server` is one of its processes."""

    home: Path
    url: str

    @property
    def settings(self) -> Settings:
        return config.load(self.home)

    @property
    def sessions(self) -> Sessions:
        return session_factory_for(self.url)

    @property
    def recorded(self) -> SqlLedger:
        return SqlLedger(self.sessions)

    def configure(self, text: str) -> None:
        (self.home / "config.yaml").write_text(text)

    def server(self) -> SqlStore:
        """A process that starts: as the assembly of the plugin does it."""
        settings = self.settings
        prepare_home(settings)
        upgrade(self.url)
        custody.settle(settings, self.recorded.handovers())
        return SqlStore(
            self.sessions,
            ledger_signer=ledger_signer(settings),
            renew_signer=custody.successor(settings),
        )

    def rotate(self, to: str = "", *, destroy: bool = False) -> KeyHistory:
        return rotate_ledger(
            self.settings, self.server(), self.recorded, Rotation(OPS, "yearly", to, destroy)
        )

    def verify(self) -> int:
        """What `ledger verify` does; how many entries there are."""
        keys = custody.ledger_keys(self.settings)
        exported = [
            p.read_text() for p in sorted(self.settings.checkpoint_folder.glob("*.checkpoint"))
        ]
        return self.recorded.verify(keys, exported).size


def fill(store: SqlStore, entries: int = 3) -> None:
    for number in range(entries):
        with store.begin() as uow:
            uow.record(event(reason=f"reason {number}"))


def site(folder: Path, url: str = "") -> Site:
    home = folder / "home"
    home.mkdir(mode=0o700, exist_ok=True)
    os.chmod(home, 0o700)
    return Site(home, url or f"sqlite:///{folder}/registry.db")
