"""What MLflow itself knows about a model: metrics, data sets, commit, flavors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from mlflow_governance.errors import VerificationError
from mlflow_governance.submission.source import Source, translated


@dataclass(frozen=True)
class Dataset:
    """Data a model was trained on; ``digest`` is ``mlflow:…`` as logged, or ``sha256:…``."""

    name: str
    digest: str
    uri: str = ""

    def to_document(self) -> dict[str, str]:
        """The data set as a dataset statement has it."""
        return {"name": self.name, "digest": self.digest, **({"uri": self.uri} if self.uri else {})}


@dataclass(frozen=True)
class Facts:
    """Everything taken from MLflow; empty where the model has no run."""

    flavors: tuple[str, ...]
    requirements: tuple[str, ...]
    run_id: str = ""
    started: int | None = None
    """Milliseconds since 1970."""
    finished: int | None = None
    commit: str = ""
    repository: str = ""
    entry_point: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    datasets: tuple[Dataset, ...] = ()


def read(source: Source, folder: Path) -> Facts:
    """Read the model directory and, where there is one, its run.

    Raises:
        VerificationError: the directory is no MLflow model.
    """
    flavors = _flavors(folder)
    requirements = _requirements(folder)
    if not source.run_id:
        return Facts(flavors, requirements)
    from mlflow import MlflowClient

    with translated(source.run_id):
        run = MlflowClient().get_run(source.run_id)
    tags = run.data.tags
    return Facts(
        flavors=flavors,
        requirements=requirements,
        run_id=run.info.run_id,
        started=run.info.start_time,
        finished=run.info.end_time,
        commit=tags.get("mlflow.source.git.commit", ""),
        repository=tags.get("mlflow.source.git.repoURL", ""),
        entry_point=tags.get("mlflow.source.name", ""),
        parameters=dict(run.data.params),
        metrics=dict(run.data.metrics),
        datasets=tuple(_datasets(run)),
    )


def _flavors(folder: Path) -> tuple[str, ...]:
    try:
        document = yaml.safe_load((folder / "MLmodel").read_text("utf-8"))
        return tuple(sorted(map(str, document["flavors"])))
    except (OSError, ValueError, RecursionError, yaml.YAMLError, TypeError, KeyError) as error:
        raise VerificationError(
            f"{folder.name} is no MLflow model: its MLmodel file cannot be read",
            advice="Log it with mlflow.<flavor>.log_model(…) first.",
        ) from error


def _requirements(folder: Path) -> tuple[str, ...]:
    path = folder / "requirements.txt"
    if not path.is_file():
        return ()
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise VerificationError(f"the model's requirements.txt cannot be read: {error}") from error
    lines = (line.split("#")[0].strip() for line in text.splitlines())
    return tuple(line for line in lines if line and not line.startswith("-"))


def _datasets(run: Any) -> list[Dataset]:
    inputs = run.inputs.dataset_inputs if run.inputs else []
    found = {
        (entry.dataset.name, entry.dataset.digest): Dataset(
            entry.dataset.name, f"mlflow:{entry.dataset.digest}"
        )
        for entry in inputs
    }
    return list(found.values())
