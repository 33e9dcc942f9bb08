"""The life cycle: stages, MLflow's words for them, and the transitions that exist.

::

    None → Candidate → Staging → Approved → Deprecated
    any but Revoked  → Quarantined (and back to where it came from) or Revoked

Revoked is terminal. Which of these transitions *may* happen is for policy to say; this module
says which ones exist at all.
"""

from __future__ import annotations

from enum import StrEnum

from mlflow_governance.errors import InvalidRequest


class Stage(StrEnum):
    """A stage as written in MLflow's ``current_stage``."""

    NONE = "None"
    CANDIDATE = "Candidate"
    STAGING = "Staging"
    APPROVED = "Approved"
    DEPRECATED = "Deprecated"
    QUARANTINED = "Quarantined"
    REVOKED = "Revoked"

    @classmethod
    def parse(cls, text: str) -> Stage:
        """The stage a person or client meant; case does not matter, MLflow's words count.

        Raises:
            InvalidRequest: no stage has that name.
        """
        found = _BY_WORD.get(text.strip().lower())
        if found is None:
            names = ", ".join(stage.value for stage in cls)
            raise InvalidRequest(
                f"unknown stage {text[:40]!r}",
                advice=f"Stages: {names} (Production means Approved, Archived means Deprecated).",
            )
        return found


_BY_WORD: dict[str, Stage] = {stage.value.lower(): stage for stage in Stage} | {
    "production": Stage.APPROVED,
    "archived": Stage.DEPRECATED,
}

_FORWARD: dict[Stage, Stage] = {
    Stage.NONE: Stage.CANDIDATE,
    Stage.CANDIDATE: Stage.STAGING,
    Stage.STAGING: Stage.APPROVED,
    Stage.APPROVED: Stage.DEPRECATED,
}

WITHDRAWN = frozenset({Stage.QUARANTINED, Stage.REVOKED})
"""Stages whose bytes nobody may have."""


def exists(origin: Stage, target: Stage, quarantined_from: Stage | None = None) -> bool:
    """True when the life cycle has this transition.

    Args:
        origin: where the version is.
        target: where it would go.
        quarantined_from: for a quarantined version, the stage it returns to.
    """
    if origin is Stage.REVOKED or origin is target:
        return False
    if target is Stage.REVOKED:
        return True
    if origin is Stage.QUARANTINED:
        return target is quarantined_from
    return target is Stage.QUARANTINED or _FORWARD.get(origin) is target


def next_stage(origin: Stage) -> Stage | None:
    """The stage after this one on the way to release, if there is one."""
    return _FORWARD.get(origin)
