"""What policy answered, and what it says to the person who asked."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mlflow_governance.core.digest import Digest, new_salt
from mlflow_governance.core.dossier import Gate


@dataclass(frozen=True, slots=True, order=True)
class Reason:
    """One failed check.

    ``path`` points into the dossier (``evidence.signature``), ``fix`` is the command that mends.
    """

    code: str
    path: str
    message: str
    fix: str = ""

    def to_document(self) -> dict[str, str]:
        """The reason as JSON."""
        return {"code": self.code, "path": self.path, "message": self.message, "fix": self.fix}


@dataclass(frozen=True)
class Decision:
    """One answer of one gate. ``duration`` is in microseconds.

    ``checks`` holds every check and its outcome. Those named in ``modes`` (``warn`` or ``shadow``)
    and those in ``waived`` did not decide: a failed one in warn mode is among the ``warnings``, in
    shadow mode it is recorded in ``shadow`` alone.
    """

    gate: Gate
    allow: bool
    checks: Mapping[str, bool]
    reasons: tuple[Reason, ...]
    policy_digest: Digest
    dossier_digest: Digest
    engine: str
    warnings: tuple[Mapping[str, Any], ...] = ()
    obligations: tuple[Mapping[str, Any], ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)
    modes: Mapping[str, str] = field(default_factory=dict)
    waived: tuple[Mapping[str, str], ...] = ()
    shadow: tuple[Reason, ...] = ()
    error: str = ""
    duration: int = 0
    decision_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    salt: str = field(default_factory=new_salt)
    """Hides what a digest of this document stands for: its messages may name people."""

    def to_document(self) -> dict[str, Any]:
        """The decision as stored, signed and sent."""
        return {
            "gate": self.gate.value,
            "allow": self.allow,
            "checks": dict(self.checks),
            "reasons": [r.to_document() for r in self.reasons],
            "warnings": [dict(w) for w in self.warnings],
            "obligations": [dict(o) for o in self.obligations],
            "details": dict(self.details),
            "modes": dict(self.modes),
            "waived": [dict(w) for w in self.waived],
            "shadow": [r.to_document() for r in self.shadow],
            "engine": self.engine,
            "error": self.error,
            "policy_digest": self.policy_digest,
            "dossier_digest": self.dossier_digest,
            "decision_id": self.decision_id,
            "duration": self.duration,
            "salt": self.salt,
        }

    def explain(self, headline: str) -> str:
        """The refusal a person reads: headline, then each failed check and its mend."""
        lines = [f"{headline} (decision {self.decision_id})"]
        for reason in self.reasons:
            lines.append(f"  - {reason.code} {reason.message}")
            if reason.fix:
                lines.append(f"      fix: {reason.fix}")
        return "\n".join(lines)


def remarks(decision: Mapping[str, Any]) -> list[dict[str, str]]:
    """What a decision document tells besides its verdict, ``{code, message, fix}`` each.

    Its warnings, and the checks that failed and did not count because of a waiver: neither may
    pass in silence. A document of an older version may know no waivers.
    """
    found = [
        {key: str(warning.get(key, "")) for key in ("code", "message", "fix")}
        for warning in decision.get("warnings", [])
    ]
    return found + [
        {
            "code": str(used["code"]),
            "message": f"fails, which the waiver {used['waiver']} of {used['owner']} covers until "
            f"{used['expires']}",
            "fix": "",
        }
        for used in decision.get("waived", [])
    ]
