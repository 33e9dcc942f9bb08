from __future__ import annotations

from typing import Any

import pytest

from mlflow_governance.errors import EvidenceMissing, VerificationError
from mlflow_governance.evidence.attestation import DATASET
from mlflow_governance.evidence.dataset import DatasetVerifier
from tests.unit.evidence.builders import attest, case, key

SHA = "sha256:" + "a" * 64
verify = DatasetVerifier().verify


def item(name: str, *datasets: Any) -> tuple[str, bytes]:
    return f"attestations/{name}.intoto.json", attest(
        DATASET, {"datasets": list(datasets)}, by=[key("pipeline")]
    )


def test_the_datasets_of_all_statements_are_facts() -> None:
    first = item("a", {"name": "train", "digest": SHA, "source": "s3://b/train"})
    second = item(
        "b", {"name": "eval", "digest": "mlflow:fd568ab7"}, {"name": "train", "digest": SHA}
    )

    assert verify(case(first, second)) == {
        "datasets": [
            {"name": "eval", "digest": "mlflow:fd568ab7"},
            {"name": "train", "digest": SHA},
        ]
    }  # fmt: skip


def test_without_a_statement_no_data_is_known() -> None:
    with pytest.raises(EvidenceMissing):
        verify(case())


@pytest.mark.parametrize(
    "entry",
    ["train", {"name": "train"}, {"name": "", "digest": SHA}, {"name": "train", "digest": "abc"}],
)
def test_a_dataset_without_name_or_digest_is_refused(entry: Any) -> None:
    with pytest.raises(VerificationError, match="malformed"):
        verify(case(item("a", entry)))


def test_a_statement_that_names_none_is_refused() -> None:
    with pytest.raises(VerificationError):
        verify(case(item("a")))
