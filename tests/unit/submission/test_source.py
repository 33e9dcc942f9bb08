"""What MLflow's client raises becomes an error of ours, with its own exit code."""

from __future__ import annotations

import pytest
import requests
from mlflow.exceptions import MlflowException
from mlflow.protos import databricks_pb2 as codes

from mlflow_governance.errors import Denied, GovernanceError, InvalidRequest, NotFound, Unavailable
from mlflow_governance.submission.source import resolve, translated


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (codes.RESOURCE_DOES_NOT_EXIST, NotFound),
        (codes.PERMISSION_DENIED, Denied),
        (codes.INVALID_PARAMETER_VALUE, InvalidRequest),
    ],
)
def test_a_refusal_of_the_server_keeps_its_kind_and_its_text(
    code: int, kind: type[GovernanceError]
) -> None:
    with pytest.raises(kind, match=r"churn/1: ask somebody"), translated("churn/1"):
        raise MlflowException("ask somebody", code)


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, InvalidRequest), (401, Denied), (403, Denied), (404, NotFound), (502, Unavailable)],
)
@pytest.mark.parametrize("body", [b'{"message": "ask somebody"}', b"<html>", b"[]", b"\xff"])
def test_an_answer_of_an_artifact_route_is_read_too(
    status: int, kind: type[GovernanceError], body: bytes
) -> None:
    response = requests.Response()
    response.status_code, response._content = status, body

    with pytest.raises(kind) as refusal, translated("churn/1"):
        raise requests.HTTPError(response=response)

    assert ("ask somebody" in refusal.value.message) == body.startswith(b"{")


@pytest.mark.parametrize("error", [requests.ConnectionError("refused"), OSError(28, "full")])
def test_a_server_that_is_away_says_how_to_name_it(error: Exception) -> None:
    with pytest.raises(Unavailable) as refusal, translated("churn/1"):
        raise error

    assert "MLFLOW_TRACKING_URI" in refusal.value.advice


@pytest.mark.parametrize(
    "uri",
    ["", "churn", "s3://bucket/model", "/etc/passwd", "file:///etc", "models:/", "models:/churn"],
)
def test_a_uri_that_names_no_model_is_refused_without_asking_a_server(uri: str) -> None:
    with pytest.raises(InvalidRequest):
        resolve(uri)
