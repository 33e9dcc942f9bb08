"""What a check fails on, in the words of the rules that ship.

Only rules that are, byte for byte, those that ship are asked: others may mean something else by
the same code, and asking them would run what somebody else wrote.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from mlflow_governance.core.actor import Actor
from mlflow_governance.core.resources import folder
from mlflow_governance.policy import bundle as bundles
from mlflow_governance.policy.bundle import Bundle

_STAGES = {"accept": ("None", "Candidate"), "withdraw": ("Approved", "Revoked")}
_WORDS = {"{to}": "that stage", "{stage}": "its stage", "{actor}": "whoever asks"}


def meanings(bundle: Bundle | None, gate: str) -> Mapping[str, str]:
    """By code, when a check of a gate fails; empty for other rules than those that ship."""
    if bundle is None or bundle.modules != _shipped().modules:
        return {}
    return _texts(gate)


@cache
def _shipped() -> Bundle:
    return bundles.load(folder("policies"))


@cache
def _texts(gate: str) -> Mapping[str, str]:
    import regorus

    origin, target = _STAGES.get(gate, ("Staging", "Approved"))
    engine = regorus.Engine()
    for name, source in _shipped().modules.items():
        engine.add_policy(name, source)
    engine.add_data_json(json.dumps(_shipped().data))
    engine.set_input_json(json.dumps(_question(gate, origin, target)))
    found = json.loads(engine.eval_rule_as_json(f"data.registry.{gate}.texts"))
    # What follows a semicolon is about one case, and no case is asked about here.
    return {code: _general(text["message"]) for code, text in found.items()}


def _general(message: str) -> str:
    for placeholder, words in _WORDS.items():
        message = message.replace(placeholder, words)
    return message.split(";")[0]


def _question(gate: str, origin: str, target: str) -> dict[str, Any]:
    return {
        "schema": 1,
        "gate": gate,
        "actor": Actor.anonymous().to_document(),
        "action": {"from": origin, "to": target},
        "subject": {"name": "NAME", "version": 1, "stage": origin, "submitter": "SUBMITTER"},
        "evidence": {},
        "approvals": [],
        "runtime": {},
        "now": "2026-01-01T00:00:00.000000Z",
    }
