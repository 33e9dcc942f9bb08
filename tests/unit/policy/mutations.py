"""Dossiers gone wrong: from every good starting point, values removed or replaced at random."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from typing import Any

from mlflow_governance.core.dossier import Gate
from tests.unit.policy.builders import MODEL, OLD_POLICY, POLICY, approval, document

Path = tuple[str | int, ...]

VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, 6.9, 7.0, -1, "", " ", "x", "true", "passed", "PASSED", "PROCEED",
    "low", "medium", "high", "security", "approve", "ann", "Dora ", "registry", "artifact",
    "champion", "None", "Candidate", "Staging", "Approved", "Deprecated", "Quarantined", "Revoked",
    MODEL, POLICY, OLD_POLICY, MODEL.upper(), MODEL + "\n", "sha256:", "9.8", "HIGH", [], {}, [[]],
    ["security"], ["evaluator"], [None], {"status": "passed"}, [POLICY],
    [{"id": "CVE-9", "severity": "CRITICAL", "cvss": 9.8}], [{"severity": "low", "cvss": None}],
    [{"severity": "low", "cvss": None, "kev": False, "epss": 0.4}], {"status": "fixed"},
    [{"severity": "low", "cvss": 1, "kev": True, "epss": 0.4, "vex": None}],
    [{"id": "CVE-9", "vex": {"status": "not_affected", "signer": "sec"}}], [{"vex": "fixed"}],
    [{"id": "CVE-9", "vex": {"status": "affected", "signer": "sec"}}],
    [{"id": "CVE-9", "vex": {"status": "fixed", "signer": ""}}],
    "2026-11-21T03:04:05Z", "not a date", "sam", "pia", 3, {"x": [1, {"y": None}]},
)  # fmt: skip


def paths(value: Any, at: Path = ()) -> Iterator[Path]:
    """Every path into a JSON value, parents first."""
    steps = value.items() if isinstance(value, dict) else enumerate(value)
    for step, inner in steps:
        yield (*at, step)
        if isinstance(inner, dict | list):
            yield from paths(inner, (*at, step))


def replaced(value: Any, path: Path, new: Any) -> Any:
    """A copy with the value at ``path`` replaced."""
    changed = copy.deepcopy(value)
    parent = changed
    for step in path[:-1]:
        parent = parent[step]
    parent[path[-1]] = copy.deepcopy(new)
    return changed


def removed(value: Any, path: Path) -> Any:
    """A copy without the value at ``path``."""
    changed = copy.deepcopy(value)
    parent = changed
    for step in path[:-1]:
        parent = parent[step]
    del parent[path[-1]]
    return changed


def starts() -> list[dict[str, Any]]:
    """Good dossiers, and those whose answer turns on who asks or where the version stands."""
    found = [document(gate) for gate in Gate]
    promote, download = document(Gate.PROMOTE), document(Gate.DOWNLOAD)
    alias, withdraw = document(Gate.ALIAS), document(Gate.WITHDRAW)
    for origin, target in (("Candidate", "Staging"), ("Approved", "Deprecated")):
        step = replaced(promote, ("subject", "stage"), origin)
        found.append(replaced(step, ("action",), {"from": origin, "to": target}))
    for again in (promote, document(Gate.ACCEPT)):
        here = replaced(again, ("action", "again"), True)
        found.append(replaced(here, ("subject", "stage"), again["action"]["to"]))
    retired = replaced(promote, ("subject", "stage"), "Deprecated")
    action = {"from": "Approved", "to": "Deprecated", "again": True}
    found.append(replaced(retired, ("action",), action))
    low = replaced(promote, ("evidence", "model_card", "facts", "risk_tier"), "low")
    found += [low, replaced(low, ("approvals", 1), approval("SAM", "product"))]
    for stage in ("None", "Candidate", "Deprecated", "Revoked"):
        at_stage = replaced(download, ("subject", "stage"), stage)
        found.append(replaced(at_stage, ("actor", "roles"), ["evaluator"]))
        author = replaced(at_stage, ("actor", "id"), "dora")
        found.append(replaced(author, ("action", "door"), "artifact"))
    found.append(replaced(alias, ("action", "alias"), "challenger"))
    found.append(replaced(alias, ("action", "to_version"), None))
    back = replaced(withdraw, ("action",), {"from": "Quarantined", "to": "Staging", "reason": "ok"})
    back = replaced(back, ("subject", "quarantined_from"), "Staging")
    found.append(replaced(back, ("subject", "stage"), "Quarantined"))
    return found


def mutated(random_source: random.Random, start: dict[str, Any]) -> dict[str, Any]:
    """One to three values removed or replaced."""
    for _ in range(random_source.randint(1, 3)):
        path = random_source.choice(list(paths(start)))
        if random_source.random() < 0.3:
            start = removed(start, path)
        else:
            start = replaced(start, path, random_source.choice(VALUES))
        if not start:
            break
    return start
