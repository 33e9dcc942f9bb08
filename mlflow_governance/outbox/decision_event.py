"""A recorded decision in the form of OPA's decision log.

The fields and their types are those of OPA's ``EventV1`` (docs, "Decision Logs"; 1.20.2):
``input`` is the dossier, ``result`` the decision document of the gate, ``bundles`` names the policy
by its digest, ``path`` is the query OPA would have been asked. What only this registry knows stands
under ``custom``, where OPA puts what its plugins add.

Neither the digest of the dossier nor that of the decision is in the record, and neither is a salt:
all the rest of the dossier is, so whoever has digest and salt could try names until they fit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any

from mlflow_governance.core import moment
from mlflow_governance.outbox.masking import (
    DEFAULT_MASK,
    MaskRule,
    Pseudonym,
    apply,
    rules_of,
    withheld,
)

BUNDLE = "registry"
"""The name of the bundle in ``bundles``, after its root."""

_RESULT = (
    "gate", "allow", "checks", "reasons", "warnings", "obligations", "details", "modes", "waived",
    "shadow",
)  # fmt: skip
_NANOSECONDS = 1000  # a decision's duration is in microseconds

PolicyMask = Callable[[Mapping[str, Any]], object]
"""What ``data.registry.log.mask`` of the bundle answers for a record."""


def event_of(
    decision: Mapping[str, Any], dossier: Mapping[str, Any], labels: Mapping[str, str]
) -> dict[str, Any]:
    """The record of one decision, with everything in it that was decided from.

    Args:
        decision: the stored decision document.
        dossier: the dossier it was made from.
        labels: what names this installation.
    """
    gate = decision["gate"]
    event: dict[str, Any] = {
        "labels": dict(labels),
        "decision_id": decision["decision_id"],
        "bundles": {BUNDLE: {"revision": decision["policy_digest"]}},
        "path": f"registry/{gate}/decision",
        "input": {key: value for key, value in dossier.items() if key != "salt"},
        "result": {key: decision[key] for key in _RESULT if key in decision},
        "requested_by": dossier["actor"]["id"],
        "timestamp": dossier["now"],
        "metrics": {"timer_server_handler_ns": decision["duration"] * _NANOSECONDS},
        "custom": {"engine": decision["engine"]},
    }
    if decision["error"]:
        reasons = decision["reasons"]
        code = reasons[0]["code"] if reasons else "ENG-ERROR"
        event["error"] = {"code": code, "message": decision["error"]}
    return event


def labels_of(registry_name: str, own: Mapping[str, str]) -> dict[str, str]:
    """OPA's two labels, ``id`` and ``version``, and those of the settings."""
    version = metadata.version("mlflow-governance")
    return {"app": "mlflow-governance", "id": registry_name, "version": version, **own}


@dataclass(frozen=True)
class Recorder:
    """Makes masked records of decisions.

    Args:
        labels: from :func:`labels_of`.
        pseudonym: from :func:`masking.pseudonyms`.
        rules: the setting ``mask``.
        policy_mask: asks the bundle for more; None where it has no such rule.
    """

    labels: Mapping[str, str]
    pseudonym: Pseudonym
    rules: tuple[MaskRule, ...] = DEFAULT_MASK
    policy_mask: PolicyMask | None = field(default=None)

    def record(self, decision: Mapping[str, Any], dossier: Mapping[str, Any]) -> dict[str, Any]:
        """The masked record. Without its mask a record says neither input nor result."""
        event = event_of(decision, dossier, self.labels)
        try:
            more = rules_of(self.policy_mask(event)) if self.policy_mask else ()
            return apply(event, (*self.rules, *more), self.pseudonym)
        except Exception as error:  # the mask is somebody's Rego: whatever it does, nothing leaks
            told = withheld(event)
            told["custom"] = {**told["custom"], "mask_error": type(error).__name__}
            return told

    def altered(self, position: int) -> dict[str, Any]:
        """The record that stands for a decision whose stored bytes were changed."""
        return {
            "labels": dict(self.labels),
            "decision_id": "",
            "timestamp": moment.to_text(moment.now()),
            "error": {
                "code": "STORE-CHANGED",
                "message": f"decision number {position} was changed in the database; "
                "run mlflow-governance ledger verify",
            },
        }
