"""``policy check`` asks a real OPA the same dossiers, and finds where the two answer otherwise."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from mlflow_governance.cli.policy_check import check
from mlflow_governance.core.resources import folder
from mlflow_governance.errors import Unavailable
from mlflow_governance.policy.bundle import Bundle, from_files, read
from mlflow_governance.policy.embedded import EmbeddedEngine
from mlflow_governance.policy.opa_process import OpaProcess, Refused
from mlflow_governance.policy.samples import samples
from mlflow_governance.policy.twin import answer, compare
from tests.contract.policy import binary
from tests.unit.policy.builders import configured, shipped

pytestmark = binary.needs_opa

OPA = Path(binary.OPA)
DOWNLOAD = "registry/download/download.rego"
IN_FORCE, OVER = "2027-01-01T00:00:00Z", "2025-01-01T00:00:00Z"
WAIVER = {"id": "W-1", "model": "chu*", "owner": "sam", "approver": "pia", "reason": "known"}
RELIEVED = configured(
    modes={"PRO-015": "warn", "ACC-012": "shadow", "DLD-003": "warn", "WDR-001": "shadow"},
    check_waivers=[
        {**WAIVER, "check": "ACC-004", "expires": IN_FORCE},
        {**WAIVER, "id": "W-2", "check": "PRO-007", "expires": OVER},
    ],
    waivers=[{**WAIVER, "vulnerability": "CVE-9", "expires": IN_FORCE}],
    risk_floors=[{"pattern": "chu*", "tier": "low"}],
)


def changed(old: str, new: str, name: str = DOWNLOAD) -> dict[str, bytes]:
    files = dict(read(folder("policies")))
    assert files[name].decode().count(old) == 1
    files[name] = files[name].decode().replace(old, new).encode()
    return files


def trapped() -> dict[str, bytes]:
    """OPA takes input.action.door out of the `not`, so that without one the rule says nothing."""
    return changed(
        'door_known if input.action.door in {"registry", "artifact"}',
        'door_known if not input.action.door in {"ftp"}',
    )


def written(root: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


@pytest.mark.parametrize(
    ("bundle", "count"),
    [(shipped(), 400), (RELIEVED, 400)],
    ids=["shipped", "modes and waivers"],
)
def test_dossiers_of_the_check_get_the_same_documents(bundle: Bundle, count: int) -> None:
    # Many more are asked in test_opa_parity.py, and compared byte for byte.
    asked = list(samples(count, seed=4))
    embedded = EmbeddedEngine(bundle)

    with OpaProcess(OPA, bundle) as opa:
        assert compare(embedded, opa, asked) == ()

    answers = [answer(embedded, sample.dossier) for sample in asked]
    allowed = sum(found.get("allow") is True for found in answers)
    assert count / 4 < allowed < count * 3 / 4
    assert not any("no answer" in found for found in answers)


def test_a_trap_the_lint_overlooks_is_found_by_asking(tmp_path: Path) -> None:
    mine, saved = written(tmp_path / "mine", trapped()), tmp_path / "saved"
    arguments = ["--bundle", str(mine), "--opa", str(OPA), "--inputs", "400"]

    result = CliRunner().invoke(check, [*arguments, "--save", str(saved), "--overlook", "negation"])

    assert result.exit_code == 1, result.output
    assert "the download gate" in result.output
    assert "changed:  action.door" in result.output
    assert "embedded: allow" in result.output
    assert "opa:      deny (DLD-002)" in result.output
    (file,) = saved.iterdir()
    smallest = json.loads(file.read_text())
    assert smallest["action"] == {}
    assert not smallest["evidence"].keys() - {"signature"}  # an evaluator needs none
    without = CliRunner().invoke(check, [*arguments, "--format", "json"])
    document = json.loads(without.stdout)
    assert [finding["rule"] for finding in document["findings"]] == ["negation"]
    assert "checks.DLD-002" in document["differences"][0]["members"]


def test_what_opa_does_not_load_is_a_finding_with_its_place(tmp_path: Path) -> None:
    both = "x := 1\n\nx contains 2\n\ndefault door_open := false"
    mine = written(
        tmp_path,
        changed("default door_open := false", both),
    )
    loaded = from_files(read(mine))

    with pytest.raises(Refused) as refusal, OpaProcess(OPA, loaded):
        pass
    (finding, *_) = refusal.value.findings
    assert finding.file.endswith(DOWNLOAD)
    assert finding.line > 1


def test_an_engine_that_is_gone_is_no_difference() -> None:
    bundle = shipped()
    process = OpaProcess(OPA, bundle)
    with process:
        pass

    with pytest.raises(Unavailable):
        compare(EmbeddedEngine(bundle), process, samples(3))


def test_nothing_of_the_process_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)

    with OpaProcess(OPA, shipped()) as process:
        (child,) = tmp_path.iterdir()
        running = process._process
        assert child.is_dir()
        assert running is not None

    assert list(tmp_path.iterdir()) == []
    assert running.poll() is not None
