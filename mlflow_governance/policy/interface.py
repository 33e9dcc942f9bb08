"""The seam between a dossier and a policy engine.

An engine returns the raw decision document of one gate or raises :class:`EngineError`;
:func:`decide` turns either into a :class:`Decision`. It never raises and never allows by
accident: whatever is not a well-formed, explained answer is a denial with an ``ENG-…`` reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from mlflow_governance.core.digest import Digest
from mlflow_governance.core.dossier import Gate
from mlflow_governance.errors import GovernanceError
from mlflow_governance.policy.bundle import Bundle

MAX_DOSSIER_BYTES = 4 * 1024 * 1024
"""A larger dossier is put to no engine."""
MAX_ANSWER_BYTES = 1024 * 1024
"""A larger answer is not read."""


class EngineError(GovernanceError):
    """The engine gave no usable answer; ``reason_code`` is one of the ``ENG-…`` codes."""

    code = "POLICY_ENGINE"

    def __init__(self, reason_code: str, message: str) -> None:
        super().__init__(message)
        self.reason_code = reason_code


class PolicyEngine(Protocol):
    """Evaluates one gate of the bundle in force. Safe to share between threads."""

    @property
    def name(self) -> str:
        """Engine and version, e.g. ``regorus 0.13.0``."""

    @property
    def policy_digest(self) -> Digest:
        """Digest of the bundle this engine evaluates."""

    def evaluate(self, gate: Gate, document: bytes) -> Any:
        """The raw value of ``data.registry.<gate>.decision`` for a dossier's RFC 8785 bytes.

        Raises:
            EngineError: undefined, unreachable, timed out, or broken.
        """

    def query(self, rule: str, document: bytes) -> Any:
        """The value of any rule of the bundle, e.g. ``registry.log.mask``.

        Raises:
            EngineError: as :meth:`evaluate`.
        """


@dataclass(frozen=True)
class PolicyInForce:
    """A bundle and the engine that evaluates it: what one judgement is made by, taken once.

    The digest in the dossier, the answer and the snapshot attached to a release are then of one
    bundle, also when another comes into force meanwhile.
    """

    engine: PolicyEngine
    bundle: Bundle
    former: Mapping[Digest, datetime] = field(default_factory=dict)
    """Bundles that were in force, and until when what was released under them is served."""

    def still_accepted(self, now: datetime) -> set[Digest]:
        """The former bundles whose time has not run out."""
        return {digest for digest, until in self.former.items() if now < until}

    @property
    def digest(self) -> Digest:
        """Digest of the bundle."""
        return self.engine.policy_digest
