"""Our errors as MLflow's client understands them.

HTTP 500 makes the client retry for minutes and then lose the message. So every refusal has an
explicit status, and what we did not foresee becomes a refusal too: unknown is no.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any, TypeVar

from mlflow.exceptions import MlflowException
from mlflow.protos import databricks_pb2 as codes

from mlflow_governance.errors import GovernanceError, Unavailable

_log = logging.getLogger(__name__)
_F = TypeVar("_F", bound=Callable[..., Any])
_CONFLICT = 409
_INTERNAL = 500

_MLFLOW_CODE: dict[str, int] = {
    "INVALID_REQUEST": codes.INVALID_PARAMETER_VALUE,
    "NOT_FOUND": codes.RESOURCE_DOES_NOT_EXIST,
    "VERIFICATION_FAILED": codes.PERMISSION_DENIED,
    "DENIED": codes.PERMISSION_DENIED,
    "UNAUTHENTICATED": codes.UNAUTHENTICATED,
    "CONFLICT": codes.RESOURCE_CONFLICT,
    "UNAVAILABLE": codes.TEMPORARILY_UNAVAILABLE,
}


class Refusal(MlflowException):
    """A governance error with the HTTP status it was given, whatever MLflow maps its code to."""

    def __init__(self, error: GovernanceError) -> None:
        super().__init__(
            f"governance: {error}",
            _MLFLOW_CODE.get(error.code, codes.INVALID_STATE),
            **{"advice": error.advice, **error.details},
        )
        status = error.http_status
        retryable = isinstance(error, Unavailable)
        self._status = status if status < 500 or retryable else _CONFLICT

    def get_http_status_code(self) -> int:
        """The status sent to the client."""
        return self._status


def refusing(method: _F) -> _F:
    """Turn governance errors, and everything unforeseen, into refusals."""

    @functools.wraps(method)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        try:
            return method(*args, **kwargs)
        except MlflowException as error:
            if error.get_http_status_code() != _INTERNAL:
                raise
            _log.exception("an internal error of MLflow in %s became a refusal", method.__name__)
            raise Refusal(GovernanceError(error.message)) from error
        except GovernanceError as error:
            raise Refusal(error) from error
        except Exception as error:
            _log.exception("an unforeseen error in %s became a refusal", method.__name__)
            raise Refusal(
                GovernanceError(
                    f"the registry could not decide ({type(error).__name__}); nothing was changed",
                    advice="The server's log has the details.",
                )
            ) from error

    return wrapped  # type: ignore[return-value]
