"""A world that tests may stop, change and start again, and that tells a receiver of everything."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from examples.demo import Receiver
from examples.local_server import LocalServer
from mlflow_governance.core.resources import folder
from mlflow_governance.outbox.signing import new_secret
from tests.integration.world import World


class Told(World):
    """A server with a policy bundle of its own; models over 1 MiB are left to its worker."""

    def __init__(self, server: LocalServer, receiver: Receiver) -> None:
        super().__init__(server)
        self.receiver = receiver

    @classmethod
    @contextmanager
    def running(cls, place: Path) -> Iterator[Told]:
        """The server and its receiver, started in a folder."""
        told = cls(LocalServer(place), Receiver(place))
        told.receiver.secret.write_text(new_secret())
        told.receiver.secret.chmod(0o600)
        told.server.home.mkdir(mode=0o700)
        shutil.copytree(folder("policies"), told.server.home / "policies")
        told.configure()
        told.receiver.start()
        try:
            with told.server:
                told.populate()
                yield told
        finally:
            told.receiver.stop()

    def configure(self, *accepted: str, **more: Any) -> None:
        """Write config.yaml.

        ``accepted``: policy digests that count besides the present one; ``more``: other settings.
        """
        webhook = {
            "name": "cache",
            "url": self.receiver.url("/events"),
            "secret_file": str(self.receiver.secret),
        }
        settings = {
            "policies": "policies",
            "accepted_policy_digests": list(accepted),
            "sync_limit_mebibytes": 1,
            "webhooks": [webhook],
            "policy_reload_seconds": 1,
            **more,
        }
        (self.server.home / "config.yaml").write_text(json.dumps(settings))

    def restart(self) -> None:
        """Stop and start, as after a change of the configuration."""
        self.server.stop()
        self.server.start()

    def received(self) -> list[str]:
        """The ids of all events the receiver took."""
        with sqlite3.connect(self.folder / "serving-cache-receiver.db") as db:
            return [row[0] for row in db.execute("SELECT id FROM seen")]

    def everything_arrived(self) -> bool:
        """As many different events as the ledger has entries."""
        return len(set(self.received())) == self.ledger_verifies()["size"]

    def purges_of(self, name: str) -> list[str]:
        """What the receiver did about a model, in order."""
        digest = self.show(name)["digest"]
        return [p["stage"] for p in self.receiver.purges() if p["digest"] == digest]

    def governance_folder(self, uri: str, name: str) -> Path:
        """Where the registry attaches what it says about version 1."""
        return self.artifacts / self.location(uri) / "governance" / name / "v1"
