"""Whatever happens in a registry, its bundles and exports verify, by the first key alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mlflow_governance.audit import html, pdf
from mlflow_governance.core import moment
from mlflow_governance.workflows.evidence_export import OfPeriod
from tests.unit.audit.builders import check
from tests.unit.audit.bundle_builders import NOVEMBER
from tests.unit.audit.living import Life, Living


@pytest.mark.parametrize("seed", range(3))
def test_every_bundle_and_export_of_a_random_life_verifies(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # How the report looks is nothing to the verifier, and takes longer than all the rest.
    monkeypatch.setattr(pdf, "render", lambda report: b"%PDF")
    monkeypatch.setattr(html, "render", lambda report: b"<!doctype html>")
    registry = Living(tmp_path / "registry")
    life = Life(registry, seed)
    life.live(50)
    bundles = [*life.taken, *(registry.take(ref) for ref in life.refs)]
    bundles += [registry.take(life.refs[0], pseudonymous=True), registry.take(NOVEMBER)]
    times = [moment.parse(json.loads(data)["at"]) for _, data in registry.ledger.entries()]
    for start, end in ((0, 20), (20, 40), (30, 35)):
        bundles.append(registry.take(OfPeriod(times[start], times[end])))
    export = registry.export(tmp_path / "ledger")
    registry.sessions.dispose()
    for number, bundle in enumerate(bundles):
        path = tmp_path / f"{number}.zip"
        path.write_bytes(bundle.data)
        answer = check("bundle", path, "--key", registry.vkey, "--ledger", export)
        assert answer.code == 0, (bundle.json("manifest.json")["of"], answer.problem)
    answer = check("ledger", export, "--key", registry.vkey)
    assert answer.code == 0, answer.problem
