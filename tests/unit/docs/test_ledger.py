"""The settings shown on the ledger's page are settings that are read."""

from __future__ import annotations

from pathlib import Path

import yaml

from mlflow_governance.outbox.checkpoint_options import read_options
from tests.unit.docs.blocks import DOCS


def test_the_checkpoints_shown_are_read(tmp_path: Path) -> None:
    (tmp_path / "tsa.pem").write_bytes(b"-----BEGIN CERTIFICATE-----")
    page = (DOCS / "ledger.md").read_text("utf-8")
    shown = page[page.index("```yaml\ncheckpoints:") :].removeprefix("```yaml\n")
    document = yaml.safe_load(shown[: shown.index("```")])

    options = read_options(tmp_path, document["checkpoints"])

    assert [one.key.name for one in options.witnesses] == ["audit.example.org/w1"]
    assert [one.name for one in options.destinations] == ["vault"]
    assert options.quorum is not None
    assert options.timestamping is not None
