"""The bill of materials: the model, what it was made from, its data and its libraries.

One CycloneDX 1.6 document. The same model in the same environment gives the same document but
for the time it was written at, and the serial number, which follows from model and time.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from importlib import metadata
from typing import Any

from packageurl import PackageURL

from mlflow_governance.core.digest import Digest
from mlflow_governance.errors import InvalidRequest
from mlflow_governance.evidence.inventory import USE
from mlflow_governance.evidence.model_card import (
    CARD_DIGEST,
    HTML_DIGEST,
    MODEL_DIGEST,
    OWNER,
    RISK_TIER,
)
from mlflow_governance.submission import licences
from mlflow_governance.submission.environment import BaseModel, CondaPackage, Environment
from mlflow_governance.submission.facts import Dataset, Facts
from mlflow_governance.submission.libraries import Libraries

_MLFLOW = frozenset({"mlflow", "mlflow-skinny", "mlflow-tracing"})
_PYTHON_LICENCE = "Python-2.0.1"


@dataclass(frozen=True)
class Described:
    """The model the document is about.

    ``card_digest`` and ``page_digest`` are of the card as Markdown and as HTML.
    ``licence`` and the values of ``data_licences`` (by the name of the data set) are SPDX
    expressions or names; ``base_models`` are those the author names.
    """

    name: str
    digest: Digest
    card: dict[str, Any]
    card_digest: Digest
    page_digest: Digest
    owner: str
    risk_tier: str
    licence: str = ""
    base_models: tuple[BaseModel, ...] = ()
    data_licences: Mapping[str, str] = field(default_factory=dict)


def dataset_ref(index: int) -> str:
    """The reference by which the card names a data set."""
    return f"dataset-{index}"


def ml_bom(
    model: Described, facts: Facts, at: datetime, environment: Environment | None = None
) -> dict[str, Any]:
    """The document.

    Args:
        model: what it is about.
        facts: what MLflow knows of the model's run.
        at: when it is written.
        environment: what the model's folder records (``read_environment``); without it, the
            requirements in ``facts``.

    Raises:
        InvalidRequest: a base model is named by what names none.
    """
    recorded = environment or Environment(facts.requirements)
    libraries = Libraries()
    direct = libraries.add(recorded.requirements)
    if recorded.mlflow and not _MLFLOW & libraries.components.keys():
        direct += libraries.add([f"mlflow=={recorded.mlflow}"])
    libraries.add(recorded.build, scope="excluded")
    along = [*_platform(recorded), *_base_models(recorded, model)]
    data = [_dataset(d, dataset_ref(i), model.data_licences) for i, d in enumerate(facts.datasets)]
    listed = [libraries.components[name] for name in sorted(libraries.components)]
    timestamp = at.strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": uuid.uuid5(uuid.NAMESPACE_URL, f"{model.digest}#{timestamp}").urn,
        "version": 1,
        "metadata": {
            "timestamp": timestamp,
            "tools": {"components": [_generator()]},
            "component": _model(model),
        },
        "components": [*listed, *along, *data],
        "dependencies": _dependencies(libraries, [*direct, *_refs(along)]),
    }


def _model(model: Described) -> dict[str, Any]:
    properties = {
        MODEL_DIGEST: model.digest,
        CARD_DIGEST: model.card_digest,
        HTML_DIGEST: model.page_digest,
        RISK_TIER: model.risk_tier,
        OWNER: model.owner,
    }
    return {
        "type": "machine-learning-model",
        "name": model.name,
        "bom-ref": "model",
        **_licensed(model.licence),
        "modelCard": model.card,
        "properties": [
            {"name": name, "value": value} for name, value in properties.items() if value
        ],
    }


def _generator() -> dict[str, Any]:
    return {
        "type": "application",
        "name": "mlflow-governance",
        "version": metadata.version("mlflow-governance"),
    }


def _dependencies(libraries: Libraries, direct: Sequence[str]) -> list[dict[str, Any]]:
    edges = libraries.edges()
    return [
        {"ref": "model", "dependsOn": sorted(set(direct))},
        *({"ref": ref, "dependsOn": to} for ref, to in edges.items() if to),
    ]


def _platform(recorded: Environment) -> list[dict[str, Any]]:
    found = [_conda(package) for package in recorded.conda]
    if recorded.python:
        python = PackageURL("generic", name="python", version=recorded.python)
        found.insert(0, {
            "type": "platform", "name": "python", "version": recorded.python,
            "bom-ref": python.to_string(), "purl": python.to_string(),
            **_licensed(_PYTHON_LICENCE),
        })  # fmt: skip
    return found


def _conda(package: CondaPackage) -> dict[str, Any]:
    qualifiers = {"channel": package.channel} if package.channel else None
    purl = PackageURL(
        "conda", name=package.name, version=package.version or None, qualifiers=qualifiers
    ).to_string()
    version = {"version": package.version} if package.version else {}
    return {"type": "library", "name": package.name, "bom-ref": purl, "purl": purl, **version}


def _base_models(recorded: Environment, model: Described) -> list[dict[str, Any]]:
    found: dict[tuple[str, str, str], dict[str, Any]] = {}
    for base in (*recorded.base_models, *model.base_models):
        purl = _model_purl(base.reference)
        component = {
            "type": "machine-learning-model",
            "name": f"{purl.namespace}/{purl.name}" if purl.namespace else purl.name,
            "bom-ref": purl.to_string(),
            "purl": purl.to_string(),
            **({"version": purl.version} if purl.version else {}),
            **_licensed(base.licence),
            "properties": [{"name": USE, "value": base.use}],
        }
        # What the author says of a model stands above what MLflow kept of it.
        key = (purl.type, purl.namespace or "", purl.name)
        found[key] = found.get(key, {}) | component
    return list(found.values())


def _model_purl(reference: str) -> PackageURL:
    """A base model as a purl, from one, from a Hugging Face name or from a registered model."""
    try:
        if reference.startswith("pkg:"):
            return PackageURL.from_string(reference)
        if reference.startswith("models:/"):
            name, _, version = reference.removeprefix("models:/").partition("/")
            return PackageURL("mlflow", name=name, version=version or None)
        path, _, commit = reference.partition("@")
        namespace, _, name = path.rpartition("/")
        return PackageURL(
            "huggingface", namespace=namespace or None, name=name, version=commit or None
        )
    except ValueError as error:
        raise InvalidRequest(
            f"the base model {reference!r} is not usable: {error}",
            advice="Name it under base_models of the model card: hf:org/name@COMMIT, or by a "
            "package URL such as pkg:mlflow/name@3.",
        ) from error


def _dataset(dataset: Dataset, ref: str, known: Mapping[str, str]) -> dict[str, Any]:
    algorithm, _, content = dataset.digest.partition(":")
    hashed = algorithm == "sha256" and len(content) == 64
    return {
        "type": "data",
        "name": dataset.name,
        "version": dataset.digest,
        "bom-ref": ref,
        **({"hashes": [{"alg": "SHA-256", "content": content}]} if hashed else {}),
        **_licensed(known.get(dataset.name, "")),
    }


def _licensed(licence: str) -> dict[str, Any]:
    stated = licences.choices(licence)
    return {"licenses": stated} if stated else {}


def _refs(components: Sequence[Mapping[str, Any]]) -> list[str]:
    return [component["bom-ref"] for component in components]
