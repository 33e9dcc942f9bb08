"""From a real run to proved facts: what MLflow recorded, what the author says, what policy sees."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest
from click.testing import CliRunner

from mlflow_governance.cli.card import card as command
from mlflow_governance.core import canonical, digest
from mlflow_governance.errors import NotFound
from mlflow_governance.evidence.attestation import CYCLONEDX, DATASET, SLSA_PROVENANCE
from mlflow_governance.evidence.dataset import DatasetVerifier
from mlflow_governance.evidence.interface import Case
from mlflow_governance.evidence.model_card import ModelCardVerifier
from mlflow_governance.evidence.provenance import ProvenanceVerifier
from mlflow_governance.submission import statements
from mlflow_governance.submission.bom import Described, dataset_ref, ml_bom
from mlflow_governance.submission.card import html, markdown, model_card, parse_card, with_author
from mlflow_governance.submission.facts import Facts, Measurement, of_model
from tests.unit.evidence.builders import MANIFEST, NOW, attest, case
from tests.unit.submission.builders import CARD, write

pytestmark = [
    pytest.mark.filterwarnings("ignore:::mlflow"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URI of a model of a real run, with two data sets and metrics on one of them."""
    import pandas as pd
    from sklearn.linear_model import LogisticRegression

    folder = tmp_path_factory.mktemp("site")
    before = os.environ.get("MLFLOW_TRACKING_URI")
    mlflow.set_tracking_uri(f"sqlite:///{folder / 'mlflow.db'}")
    mlflow.create_experiment("e", artifact_location=(folder / "artifacts").as_uri())
    mlflow.set_experiment("e")
    frame = pd.DataFrame({"x": [0.0, 1.0, 2.0, 3.0]})
    train = mlflow.data.from_pandas(frame, name="churn", source="https://u:p@example.org/x?sig=1")
    held_out = mlflow.data.from_pandas(frame * 2, name="held-out")
    with mlflow.start_run(description="A first try."):
        mlflow.log_input(train, context="training", tags={"governance.legal_basis": "consent"})
        mlflow.log_input(held_out, context="eval", tags={"governance.personal_data": "none"})
        mlflow.log_param("C", 1)
        info = mlflow.sklearn.log_model(
            LogisticRegression().fit(frame, [0, 0, 1, 1]),
            name="model",
            input_example=frame[:1],
            pip_requirements=["scikit-learn"],
        )
        mlflow.log_metric("loss", 0.1)
        for step, value in ((2, 0.8), (1, 0.5)):
            mlflow.log_metric("auc", value, step=step, dataset=held_out, model_id=info.model_id)
    yield f"models:/{info.model_id}"
    mlflow.set_tracking_uri(before)


AUTHOR = parse_card(
    (CARD + "data: [{name: churn, purpose: Rank., personal_data: personal}]\nlicence: mit").encode()
)


def submitted(about: Facts) -> Case:
    """What a submission would sign."""
    known = with_author(about, AUTHOR)
    text = markdown("churn", MANIFEST.digest, AUTHOR, known).encode()
    page = html("churn", MANIFEST.digest, AUTHOR, known).encode()
    refs = [dataset_ref(index) for index in range(len(known.datasets))]
    described = Described(
        name="churn",
        digest=MANIFEST.digest,
        card=model_card(AUTHOR, known, refs),
        card_digest=digest.of_bytes(text),
        page_digest=digest.of_bytes(page),
        owner=AUTHOR.owner,
        risk_tier=AUTHOR.risk_tier,
    )
    bom = ml_bom(described, known, NOW)
    return case(
        ("sbom.intoto.json", attest(CYCLONEDX, bom)),
        ("dataset.intoto.json", attest(DATASET, statements.datasets(known.datasets))),
        ("p.intoto.json", attest(SLSA_PROVENANCE, statements.provenance(known, "churn"))),
        ("model_card.md", text),
        ("model_card.html", page),
    )


def test_what_mlflow_recorded_is_read(model: str) -> None:
    found = of_model(model)

    assert found.inputs == ("double x",)
    assert found.outputs == ("long",)
    assert found.architecture.startswith("sklearn 1.")
    assert found.description == "A first try."
    assert found.author
    assert Measurement("auc", "held-out", 0.8) in found.measurements
    assert {(d.name, d.context, d.source) for d in found.datasets} >= {
        ("churn", "training", "https://example.org/x")
    }


def test_card_and_run_become_proved_facts(model: str) -> None:
    evidence = submitted(of_model(model))

    card = ModelCardVerifier().verify(evidence)
    data = {entry["name"]: entry for entry in DatasetVerifier().verify(evidence)["datasets"]}
    provenance = ProvenanceVerifier().verify(evidence)

    assert (card["complete"], card["licence"]) == (True, "MIT")
    assert data["churn"] | {"digest": ""} == {
        "name": "churn",
        "digest": "",
        "purpose": "Rank.",
        "legal_basis": "consent",
        "personal_data": "personal",
        "context": "training",
    }
    assert (data["held-out"]["personal_data"], data["held-out"]["context"]) == ("none", "eval")
    assert {entry["name"] for entry in provenance["datasets"]} == {"churn", "held-out"}


def test_no_credentials_are_signed(model: str) -> None:
    assert b"sig=1" not in canonical.encode(
        statements.datasets(of_model(model).datasets)
    ) + canonical.encode(statements.provenance(of_model(model), "churn"))


def test_the_commands_take_what_mlflow_knows(model: str, tmp_path: Path) -> None:
    file = str(write(tmp_path, "card.yaml", CARD))

    def said(*words: str) -> str:
        done = CliRunner().invoke(command, [*words, "--model", model], catch_exceptions=False)
        assert done.exit_code == 0
        return done.output

    assert "is complete" in said("check", file)
    assert "| auc | 0.8 | held-out |" in said("render", file)
    assert "value: 0.8" in said("export", file)


def test_a_model_nobody_knows_is_not_found(model: str) -> None:
    assert model
    with pytest.raises(NotFound):
        of_model("models:/m-00000000000000000000000000000000")
