"""The errors people meet, by whose fault they are.

::

    GovernanceError                 exit 1  HTTP 500
    ├── InvalidRequest              exit 2  HTTP 400   the request is malformed
    ├── NotFound                    exit 2  HTTP 404   the thing named is not there
    ├── ConfigurationError          exit 6  HTTP 500   the operator must mend something
    ├── VerificationError           exit 3  HTTP 403   evidence or bytes do not verify
    │   ├── EvidenceMissing         exit 3  HTTP 403   there is nothing to verify
    │   └── LedgerError             exit 3  HTTP 409   the record itself does not verify
    ├── Denied                      exit 4  HTTP 403   policy said no
    │   └── Unauthenticated         exit 4  HTTP 401   nobody said who asks
    ├── Conflict                    exit 5  HTTP 409   somebody else was faster
    └── Unavailable                 exit 7  HTTP 503   a part we need is away; ask again

Each error carries ``advice``: what to do next, naming the command where there is one.
HTTP 500 makes the MLflow client retry for minutes and lose the message, so the server turns
whatever is not in this tree into a refusal of its own (``plugin/refusals.py``).
"""

from __future__ import annotations

from typing import Any, ClassVar


class GovernanceError(Exception):
    """Base of every error this package raises on purpose.

    Args:
        message: what happened, one or more lines.
        advice: what the reader should do next.
        details: machine-readable facts (JSON values) sent along over HTTP.
    """

    code: ClassVar[str] = "INTERNAL"
    http_status: ClassVar[int] = 500
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, advice: str = "", **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.advice = advice
        self.details = details

    def __str__(self) -> str:
        return f"{self.message}\n{self.advice}" if self.advice else self.message

    def to_document(self) -> dict[str, Any]:
        """The error as sent over HTTP: ``{"code", "message", "advice", **details}``."""
        return {**self.details, "code": self.code, "message": self.message, "advice": self.advice}


class InvalidRequest(GovernanceError):
    """The request itself is malformed; sending it again cannot help."""

    code, http_status, exit_code = "INVALID_REQUEST", 400, 2


class NotFound(GovernanceError):
    """The model, version, decision or file named does not exist."""

    code, http_status, exit_code = "NOT_FOUND", 404, 2


class ConfigurationError(GovernanceError):
    """The installation must be mended before it may answer."""

    code, http_status, exit_code = "CONFIGURATION", 500, 6


class VerificationError(GovernanceError):
    """Bytes, a signature or an attestation do not verify."""

    code, http_status, exit_code = "VERIFICATION_FAILED", 403, 3


class EvidenceMissing(VerificationError):
    """The evidence that should be verified was never attached."""


class LedgerError(VerificationError):
    """The ledger does not prove what it should."""

    code, http_status, exit_code = "LEDGER", 409, 3


class Denied(GovernanceError):
    """A gate said no. ``details`` holds ``decision_id`` and ``reasons``."""

    code, http_status, exit_code = "DENIED", 403, 4


class Unauthenticated(Denied):
    """The act needs a known person and nobody is logged in."""

    code, http_status, exit_code = "UNAUTHENTICATED", 401, 4


class Conflict(GovernanceError):
    """The state changed between reading and writing; exactly one of several wins."""

    code, http_status, exit_code = "CONFLICT", 409, 5


class Unavailable(GovernanceError):
    """A part that is needed does not answer now; the same request may succeed later."""

    code, http_status, exit_code = "UNAVAILABLE", 503, 7
