"""Submission from end to end: a real run in a local store, real keys, and the real verifiers."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import mlflow
import pytest

from mlflow_governance.core import moment
from mlflow_governance.core.dossier import Status
from mlflow_governance.core.model_ref import VersionRef
from mlflow_governance.errors import (
    ConfigurationError,
    Denied,
    GovernanceError,
    InvalidRequest,
    NotFound,
)
from mlflow_governance.evidence.authority import KeyHolder
from mlflow_governance.evidence.examiner import EvidenceExaminer, default_verifiers
from mlflow_governance.evidence.hashing import hash_directory
from mlflow_governance.evidence.interface import EvidenceItem, Kind
from mlflow_governance.evidence.keys import generate_key_pair, load_private_key
from mlflow_governance.evidence.malware import inspect_directory
from mlflow_governance.evidence.predicate import Purpose
from mlflow_governance.evidence.trust import Signer, TrustPolicy
from mlflow_governance.submission import source
from mlflow_governance.submission.submit import Submission, SubmitOptions, submit
from tests.unit.evidence.spdx_builders import package, spdx23
from tests.unit.submission.builders import CARD, write

pytestmark = [
    pytest.mark.filterwarnings("ignore:::mlflow"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@dataclass
class Site:
    """A tracking store in a folder, one model in it, and keys."""

    folder: Path
    run_id: str
    model_id: str

    @property
    def uri(self) -> str:
        return f"models:/{self.model_id}"

    @property
    def stored(self) -> Path:
        location = mlflow.MlflowClient().get_logged_model(self.model_id).artifact_location
        return Path(location.removeprefix("file://"))

    @property
    def evidence(self) -> Path:
        return self.stored / "governance" / "evidence"

    def submit(self, uri: str = "", **changes: Any) -> Submission:
        options: dict[str, Any] = {
            "model_card": self.folder / "card.yaml",
            "test_result": self.folder / "tests.json",
            "test_key": self.folder / "ci.pem",
            "register": False,
        }
        return submit(
            uri or self.uri,
            key=self.folder / "training.pem",
            name=changes.pop("name", "tumours"),
            options=SubmitOptions(**options | changes),
        )


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    from sklearn.linear_model import LogisticRegression

    folder = tmp_path_factory.mktemp("site")
    before = os.environ.get("MLFLOW_TRACKING_URI")
    mlflow.set_tracking_uri(f"sqlite:///{folder / 'mlflow.db'}")
    mlflow.create_experiment("e", artifact_location=(folder / "artifacts").as_uri())
    mlflow.set_experiment("e")
    import pandas as pd

    frame = pd.DataFrame({"x": [0.0, 1.0, 2.0, 3.0]})
    with mlflow.start_run() as run:
        mlflow.log_input(mlflow.data.from_pandas(frame, name="four-rows"))
        mlflow.log_metric("accuracy", 0.97)
        mlflow.log_param("C", 1)
        info = mlflow.sklearn.log_model(
            LogisticRegression().fit(frame, [0, 0, 1, 1]),
            name="model",
            pip_requirements=["scikit-learn"],
        )
    for name in ("training", "ci"):
        generate_key_pair(folder / f"{name}.pem")
    write(folder, "card.yaml", CARD)
    write(folder, "tests.json", json.dumps({"result": "PASSED"}))
    yield Site(folder, run.info.run_id, info.model_id)
    mlflow.set_tracking_uri(before)


@pytest.fixture
def site(logged: Site) -> Site:
    """The same model without what another test submitted."""
    import shutil

    shutil.rmtree(logged.stored / "governance", ignore_errors=True)
    return logged


def trust(site: Site) -> TrustPolicy:
    def of(name: str) -> KeyHolder:
        return KeyHolder(load_private_key(site.folder / f"{name}.pem").public)

    training = frozenset(Purpose) - {Purpose.TEST_RESULT, Purpose.REGISTRY}
    return TrustPolicy(
        (
            Signer("training", of("training"), training),
            Signer("ci", of("ci"), frozenset({Purpose.TEST_RESULT})),
        )
    )


def examined(site: Site, tmp_path: Path) -> dict[Kind, Any]:
    """What the registry's verifiers say of the stored model and the evidence beside it."""
    items = [
        EvidenceItem(path.relative_to(site.evidence).as_posix(), path.read_bytes())
        for path in sorted(site.evidence.rglob("*"))
        if path.is_file()
    ]
    examiner = EvidenceExaminer(trust(site), default_verifiers(tmp_path))
    manifest = hash_directory(site.stored)
    read = inspect_directory(site.stored, manifest)
    return examiner.examine(manifest, "tumours", items, moment.now(), read)


@pytest.mark.parametrize("spelling", ["models:/{model}", "runs:/{run}/model"])
def test_what_is_submitted_verifies(site: Site, tmp_path: Path, spelling: str) -> None:
    done = site.submit(spelling.format(model=site.model_id, run=site.run_id))

    assert done.model_digest == hash_directory(site.stored).digest
    assert {path.relative_to(site.evidence).as_posix() for path in site.evidence.rglob("*.*")} == {
        *done.files
    }
    outcomes = examined(site, tmp_path)
    wanted = set(Kind) - {
        *(Kind.CANARY, Kind.VULNERABILITIES, Kind.VULNERABILITY_SCAN, Kind.LAYOUT),
        *(Kind.CHANGE_TICKET, Kind.SLO, Kind.EVALUATION, Kind.REPRODUCTION),
    }
    assert {
        kind: outcomes[kind].problem for kind in wanted if outcomes[kind].status != "passed"
    } == {}
    assert outcomes[Kind.CANARY].status is Status.MISSING


def test_the_facts_are_those_of_the_run(site: Site, tmp_path: Path) -> None:
    site.submit()

    outcomes = examined(site, tmp_path)
    assert outcomes[Kind.MODEL_CARD].facts["risk_tier"] == "high"
    assert outcomes[Kind.DATASET].facts["datasets"][0]["name"] == "four-rows"
    assert outcomes[Kind.TEST_RESULT].facts["signers"] == ["ci"]
    for kind in (Kind.TEST_RESULT, Kind.DATASET, Kind.PROVENANCE):
        assert abs(moment.parse(outcomes[kind].facts["at"]) - moment.now()) < timedelta(minutes=5)
    text = (site.evidence / "model_card.md").read_text()
    assert "| accuracy | 0.97 |" in text
    assert "four-rows" in text


def test_submitting_twice_changes_neither_model_nor_digest(site: Site, tmp_path: Path) -> None:
    first = site.submit()
    second = site.submit()

    assert first.model_digest == second.model_digest
    assert examined(site, tmp_path)[Kind.SIGNATURE].status is Status.PASSED


def test_a_byte_changed_afterwards_is_noticed(site: Site, tmp_path: Path) -> None:
    site.submit()
    path = site.stored / "MLmodel"
    before = path.read_bytes()
    try:
        path.write_bytes(before + b"\n")
        outcomes = examined(site, tmp_path)
    finally:
        path.write_bytes(before)

    assert outcomes[Kind.SIGNATURE].status is Status.FAILED
    assert outcomes[Kind.PROVENANCE].status is Status.FAILED


def test_a_registered_model_is_registered_with_the_stock_client(site: Site) -> None:
    done = site.submit(register=True)

    assert done.version is not None
    assert (done.version.name, done.stage) == ("tumours", "None")
    # Nobody judges in a plain registry; asking it again finds the stage unknown to it.
    with pytest.raises(GovernanceError):
        site.submit(f"models:/{done.version}", register=True, name=None)


@pytest.mark.parametrize("name", ["plain-files", "m-odel"])
def test_a_version_of_plain_files_of_a_run_is_submitted_by_its_name(site: Site, name: str) -> None:
    with mlflow.start_run() as run:
        mlflow.log_artifacts(str(site.stored), "model")
    mlflow.register_model(f"runs:/{run.info.run_id}/model", name)

    done = site.submit(f"models:/{name}/1", name=None)

    files = mlflow.artifacts.list_artifacts(f"runs:/{run.info.run_id}/model/governance/evidence")
    assert "evidence/model.sig" in {file.path for file in files}
    assert done.model_digest == hash_directory(site.stored).digest


def test_a_version_that_is_not_accepted_is_denied_with_the_reasons(site: Site) -> None:
    version = mlflow.register_model(site.uri, "refused")
    ref = VersionRef("refused", int(version.version))
    assert source.accepted(ref) == "None"  # nobody judges here
    missing = "ACC-002 no signature | fix: mlflow-governance submit\nACC-009 no card"
    client = mlflow.MlflowClient()
    client.set_model_version_tag(ref.name, version.version, "governance.missing", missing)

    with pytest.raises(Denied) as refusal:
        source.accepted(ref)

    assert refusal.value.exit_code == 4
    assert refusal.value.message.splitlines()[1:] == [
        "  - ACC-002 no signature",
        "      fix: mlflow-governance submit",
        "  - ACC-009 no card",
    ]
    assert f"submit models:/{ref}" in refusal.value.advice


def test_warnings_are_told_with_what_was_submitted(site: Site) -> None:
    done = site.submit(name="warned", register=True)
    assert done.version is not None
    assert done.warnings == ""  # nobody judges here
    client = mlflow.MlflowClient()
    told = "ACC-006 it lacks risks | fix: mlflow-governance submit\nACC-001 is waived"
    client.set_model_version_tag("warned", str(done.version.version), "governance.warnings", told)

    assert source.warnings_about(done.version).splitlines() == [
        "  - ACC-006 it lacks risks",
        "      fix: mlflow-governance submit",
        "  - ACC-001 is waived",
    ]


def test_a_data_file_given_is_named_by_its_bytes(site: Site, tmp_path: Path) -> None:
    path = write(tmp_path, "train.csv", "a,b\n")

    site.submit(datasets=(path,))

    found = examined(site, tmp_path)[Kind.DATASET].facts["datasets"]
    assert {entry["name"] for entry in found} == {"four-rows", "train.csv"}


@pytest.mark.parametrize(
    ("uri", "changes", "kind"),
    [
        ("models:/m-" + "0" * 32, {}, NotFound),
        ("runs:/" + "0" * 32 + "/model", {}, NotFound),
        ("models:/nobody/1", {}, NotFound),
        ("models:/nobody/x", {}, InvalidRequest),
        ("nonsense", {}, InvalidRequest),
        ("", {"name": "a/b"}, InvalidRequest),
        ("", {"name": "../x"}, InvalidRequest),
        ("", {"name": None}, InvalidRequest),
        ("", {"model_card": Path("none.yaml")}, InvalidRequest),
        ("", {"test_result": Path("none.xml")}, InvalidRequest),
        ("", {"test_key": Path("none.pem")}, ConfigurationError),
        ("", {"datasets": (Path("none.csv"),)}, InvalidRequest),
    ],
)
def test_nothing_is_left_beside_a_model_that_could_not_be_submitted(
    site: Site, uri: str, changes: dict[str, Any], kind: type[GovernanceError]
) -> None:
    with pytest.raises(kind):
        site.submit(uri, **changes)

    assert not site.evidence.exists()


def test_the_sbom_of_another_tool_is_signed_with_the_card_in_it(site: Site, tmp_path: Path) -> None:
    pinned = (site.stored / "requirements.txt").read_text().split()
    listed = [package(*line.split("==")) for line in pinned]
    path = write(tmp_path, "spdx.json", json.dumps(spdx23(*listed)))

    site.submit(sbom=path)

    outcomes = examined(site, tmp_path)
    assert outcomes[Kind.SBOM].problem == ""
    assert outcomes[Kind.MODEL_CARD].facts["complete"] is True
    # Nothing of the environment, only what the document lists, the model and its data.
    assert outcomes[Kind.SBOM].facts["components"] == len(listed) + 1


def test_a_link_in_the_model_is_refused_by_name(site: Site) -> None:
    link = site.stored / "link"
    link.symlink_to("/etc/hostname")
    try:
        with pytest.raises(GovernanceError, match="link"):
            site.submit()
    finally:
        link.unlink()

    assert not site.evidence.exists()
