"""The bill of materials: the model, its data and its libraries, as one CycloneDX 1.6 document."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from email.message import Message
from importlib import metadata
from typing import Any

from packageurl import PackageURL
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from mlflow_governance.core.digest import Digest
from mlflow_governance.evidence.model_card import CARD_DIGEST, MODEL_DIGEST, OWNER, RISK_TIER
from mlflow_governance.submission.facts import Facts

_MAX_LICENCE = 100


@dataclass(frozen=True)
class Described:
    """The model the document is about."""

    name: str
    digest: Digest
    card: dict[str, Any]
    card_digest: Digest
    owner: str
    risk_tier: str


def dataset_ref(index: int) -> str:
    """The reference by which the card names a data set."""
    return f"dataset-{index}"


def ml_bom(model: Described, facts: Facts, at: datetime) -> dict[str, Any]:
    """The document. Libraries are those of the model's requirements and all they pull in.

    The versions and licences of what is pulled in are read from the running environment, which
    is the one that trained the model.
    """
    libraries, edges = _libraries(facts.requirements)
    properties = {
        MODEL_DIGEST: model.digest,
        CARD_DIGEST: model.card_digest,
        RISK_TIER: model.risk_tier,
        OWNER: model.owner,
    }
    data = [
        {"type": "data", "name": d.name, "version": d.digest, "bom-ref": dataset_ref(index)}
        for index, d in enumerate(facts.datasets)
    ]
    named = {_pin(line)[0] for line in facts.requirements}
    direct = [library["bom-ref"] for library in libraries if library["name"] in named]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid4()}",
        "version": 1,
        "metadata": {
            "timestamp": at.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": {
                "type": "machine-learning-model",
                "name": model.name,
                "bom-ref": "model",
                "modelCard": model.card,
                "properties": [
                    {"name": name, "value": value} for name, value in properties.items() if value
                ],
            },
        },
        "components": [*libraries, *data],
        "dependencies": [
            {"ref": "model", "dependsOn": direct},
            *({"ref": ref, "dependsOn": sorted(to)} for ref, to in edges.items() if to),
        ],
    }


def _libraries(lines: Iterable[str]) -> tuple[list[dict[str, Any]], dict[str, set[str]]]:
    pinned = {name: version for name, version in map(_pin, lines) if name}
    found: dict[str, dict[str, Any]] = {}
    edges: dict[str, set[str]] = {}
    pending = list(pinned)
    while pending:
        name = pending.pop()
        if name in found:
            continue
        distribution = _installed(name)
        version = pinned.get(name) or (distribution.version if distribution else "")
        found[name] = _component(name, version, distribution)
        needs = [need for need in _needs(distribution) if need in pinned or _installed(need)]
        edges[_purl(name, version)] = set(needs)
        pending += needs
    refs = {name: component["bom-ref"] for name, component in found.items()}
    resolved = {ref: {refs[need] for need in needs} for ref, needs in edges.items()}
    return [found[name] for name in sorted(found)], resolved


def _pin(line: str) -> tuple[str, str]:
    """Canonical name and exact version of a requirement line; empty where it says neither."""
    try:
        requirement = Requirement(line)
    except InvalidRequirement:
        return "", ""
    exact = [s.version for s in requirement.specifier if s.operator in ("==", "===")]
    return canonicalize_name(requirement.name), exact[0] if exact else ""


def _needs(distribution: metadata.Distribution | None) -> list[str]:
    lines = (distribution.requires or []) if distribution else []
    names: list[str] = []
    for line in lines:
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            names.append(canonicalize_name(requirement.name))
    return names


def _installed(name: str) -> metadata.Distribution | None:
    try:
        return metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return None


def _purl(name: str, version: str) -> str:
    return PackageURL("pypi", name=name, version=version or None).to_string()


def _component(
    name: str, version: str, distribution: metadata.Distribution | None
) -> dict[str, Any]:
    purl = _purl(name, version)
    component: dict[str, Any] = {"type": "library", "name": name, "bom-ref": purl, "purl": purl}
    if version:
        component["version"] = version
    # The licence of an installed version says nothing about another one that is pinned.
    if distribution is not None and distribution.version == version:
        licences = _licences(distribution.metadata)  # type: ignore[arg-type]
        if licences:
            component["licenses"] = licences
    return component


def _licences(about: Message) -> list[dict[str, Any]]:
    expression = about.get("License-Expression")
    if expression:
        return [{"expression": str(expression)}]
    licence = str(about.get("License") or "").strip()
    if licence and len(licence) <= _MAX_LICENCE and "\n" not in licence:
        return [{"license": {"name": licence}}]
    classifiers = [str(c) for c in about.get_all("Classifier") or []]
    return [
        {"license": {"name": c.rsplit("::", 1)[-1].strip()}}
        for c in classifiers
        if c.startswith("License ::")
    ]
