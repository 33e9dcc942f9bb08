"""Whatever goes wrong reaches MLflow's client at once, with a status it does not repeat."""

from __future__ import annotations

import json

import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos import databricks_pb2 as codes

from mlflow_governance import errors
from mlflow_governance.plugin.refusals import Refusal, refusing

_REPEATED = {408, 429, 500, 502, 503, 504}
"""Statuses MLflow's client repeats for minutes."""


def _everything(family: type[errors.GovernanceError]) -> list[type[errors.GovernanceError]]:
    kinds = [kind for kind in family.__subclasses__() if kind.__module__ == errors.__name__]
    return [family, *(found for kind in kinds for found in _everything(kind))]


@pytest.mark.parametrize("kind", _everything(errors.GovernanceError))
def test_every_error_has_a_status_that_is_not_repeated_unless_repeating_helps(
    kind: type[errors.GovernanceError],
) -> None:
    refusal = Refusal(kind("no", advice="Do this."))

    status = refusal.get_http_status_code()
    assert 400 <= status < 600
    assert (status in _REPEATED) == issubclass(kind, errors.Unavailable)
    if kind.http_status < 500:
        assert status == kind.http_status


def test_the_message_the_advice_and_the_reasons_arrive() -> None:
    error = errors.Denied("no", advice="Ask somebody.", decision_id="d1", reasons=[{"code": "X"}])

    body = json.loads(Refusal(error).serialize_as_json())

    assert body["error_code"] == "PERMISSION_DENIED"
    assert body["message"] == "governance: no\nAsk somebody."
    assert (body["advice"], body["decision_id"]) == ("Ask somebody.", "d1")
    assert body["reasons"] == [{"code": "X"}]


@refusing
def _raising(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("a secret of the server"),
        KeyError("x"),
        OSError(28, "No space left on device"),
        RecursionError(),
        MemoryError(),
        AssertionError(),
    ],
)
def test_an_unforeseen_error_becomes_a_refusal_that_tells_no_insides(error: Exception) -> None:
    with pytest.raises(Refusal) as refusal:
        _raising(error)

    assert refusal.value.get_http_status_code() == 409
    assert type(error).__name__ in refusal.value.message
    assert "secret" not in refusal.value.message
    assert refusal.value.__cause__ is error


def test_an_internal_error_of_mlflow_is_not_repeated_for_minutes_and_keeps_its_text() -> None:
    with pytest.raises(MlflowException, match="giving up") as refusal:
        _raising(MlflowException("giving up", codes.INTERNAL_ERROR))

    assert refusal.value.get_http_status_code() == 409


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (codes.RESOURCE_DOES_NOT_EXIST, 404),
        (codes.INVALID_PARAMETER_VALUE, 400),
        (codes.TEMPORARILY_UNAVAILABLE, 503),
    ],
)
def test_what_mlflow_refuses_by_itself_stays_as_it_is(code: int, status: int) -> None:
    error = MlflowException("theirs", code)

    with pytest.raises(MlflowException) as raised:
        _raising(error)

    assert raised.value is error
    assert raised.value.get_http_status_code() == status


@pytest.mark.parametrize("death", [KeyboardInterrupt, SystemExit])
def test_the_end_of_the_process_is_no_refusal(death: type[BaseException]) -> None:
    with pytest.raises(death):
        _raising(death())
