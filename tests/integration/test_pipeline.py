"""The pipeline of `examples/`: real steps in real processes, signed by in-toto's own command."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mlflow_governance.core import moment
from mlflow_governance.errors import VerificationError
from mlflow_governance.evidence.authority import KeyHolder
from mlflow_governance.evidence.hashing import hash_directory
from mlflow_governance.evidence.interface import Case, EvidenceItem
from mlflow_governance.evidence.keys import PublicKey
from mlflow_governance.evidence.layout import LayoutVerifier
from mlflow_governance.evidence.predicate import Purpose
from mlflow_governance.evidence.trust import Signer, TrustPolicy
from mlflow_governance.submission.layout import read_layout

ROOT = Path(__file__).resolve().parents[2]
verify = LayoutVerifier().verify


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("pipeline") / "out"
    command = [sys.executable, "-m", "examples.pipeline", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


def case(made: Path, **changed: bytes) -> Case:
    attached = {**read_layout(made / "layout"), **changed}
    owner = PublicKey.from_pem((made / "keys" / "owner.pub").read_bytes())
    return Case(
        hash_directory(made / "made" / "model"),
        "tumour",
        tuple(EvidenceItem(name, data) for name, data in attached.items()),
        TrustPolicy((Signer("pipeline-owner", KeyHolder(owner), frozenset({Purpose.LAYOUT})),)),
        moment.now(),
    )


def test_the_model_is_proved_to_come_out_of_the_pipeline(made: Path) -> None:
    facts = verify(case(made))

    assert facts["owners"] == ["pipeline-owner"]
    assert [(step["name"], len(step["functionaries"])) for step in facts["steps"]] == [
        ("prepare", 1), ("train", 1), ("evaluate", 2), ("package", 1),
    ]  # fmt: skip
    assert facts["products"] == len(hash_directory(made / "made" / "model").files) >= 4


def test_in_toto_s_own_verifier_agrees(made: Path) -> None:
    command = [str(Path(sys.executable).with_name("in-toto-verify"))]
    command += ["--layout", str(made / "layout" / "root.layout")]
    command += ["--verification-keys", str(made / "keys" / "owner.pub")]
    command += ["--link-dir", str(made / "layout")]

    done = subprocess.run(command, cwd=made / "made", capture_output=True, text=True)

    assert done.returncode == 0, done.stderr


def test_the_packaged_model_predicts(made: Path) -> None:
    import mlflow
    import pandas as pd

    model = mlflow.sklearn.load_model(str(made / "made" / "model"))
    frame = pd.read_csv(made / "made" / "data" / "test.csv")

    assert (model.predict(frame.drop(columns="benign")) == frame["benign"]).mean() > 0.9


def test_a_model_changed_after_the_last_step_is_refused(made: Path) -> None:
    file = made / "made" / "model" / "requirements.txt"
    before = file.read_bytes()
    file.write_bytes(before + b"evil\n")
    try:
        with pytest.raises(VerificationError, match=r"file changed: requirements\.txt"):
            verify(case(made))
    finally:
        file.write_bytes(before)


def test_one_evaluator_s_link_does_not_stand_for_the_other_s(made: Path) -> None:
    first, second = sorted(name for name in read_layout(made / "layout") if "evaluate." in name)

    with pytest.raises(VerificationError, match="'evaluate' requires"):
        verify(case(made, **{second: read_layout(made / "layout")[first]}))
