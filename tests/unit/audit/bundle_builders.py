"""A registry in one process whose evidence is taken."""

from __future__ import annotations

import io
import json
import re
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pypdf import PdfReader

from mlflow_governance.audit.bundle import Exporter, Made
from mlflow_governance.core.actor import Actor
from mlflow_governance.core.model_ref import VersionRef
from mlflow_governance.evidence.keys import load_private_key
from mlflow_governance.ledger.handover import KeyHistory
from mlflow_governance.workflows.evidence_export import AUDITOR, Asked, OfPeriod, OfVersion
from tests.unit.workflows.watched import Watched

AUDREY = Actor("audrey", (AUDITOR,), authenticated=True)
CHURN = VersionRef("churn", 1)
NOVEMBER = OfPeriod(datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC))
LONG_AGO = OfPeriod(datetime(2020, 1, 1, tzinfo=UTC), datetime(2020, 2, 1, tzinfo=UTC))
NAMES = ("alice", "sam", "pia")


class Bundle:
    """An archive, opened."""

    def __init__(self, data: bytes, made: Made) -> None:
        self.data, self.made = data, made
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            self.files = {name: archive.read(name) for name in archive.namelist()}

    def json(self, path: str) -> Any:
        return json.loads(self.files[path])

    @property
    def entries(self) -> dict[int, dict[str, Any]]:
        found = {}
        for path in self.files:
            if match := re.fullmatch(r"ledger/entries/(\d+)\.json", path):
                found[int(match[1])] = self.json(path)
        return dict(sorted(found.items()))

    @property
    def html(self) -> str:
        return self.files["report.html"].decode()

    @property
    def pdf(self) -> str:
        reader = PdfReader(io.BytesIO(self.files["report.pdf"]))
        return " ".join(" ".join(page.extract_text() for page in reader.pages).split())

    def unpack(self, folder: Path) -> Path:
        for path, data in self.files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(data)
        return folder


class Audited(Watched):
    """A registry, and bundles of it."""

    def __init__(self, folder: Path, **options: Any) -> None:
        super().__init__(folder, **options)
        self.folder = folder
        self.trust = b"version: 1\nsigners: []\n"

    @property
    def exporter(self) -> Exporter:
        return Exporter(
            store=self.ports.store,
            clock=self.ports.clock,
            registry="registry.example.org",
            ledger_keys=KeyHistory((self.ledger_key,)),
            signer=lambda: load_private_key(self.folder / "registry.pem"),
            trust=lambda: self.trust,
            own_controls=self.folder / "controls",
        )

    def take(
        self, of: OfVersion | OfPeriod | VersionRef, *, by: Actor = AUDREY, **how: Any
    ) -> Bundle:
        asked = OfVersion(of) if isinstance(of, VersionRef) else of
        to = io.BytesIO()
        made = self.exporter.export(Asked(by, asked, **how), to)
        return Bundle(to.getvalue(), made)
