"""What MLflow itself knows about a model: metrics, data sets, commit, flavors, signature."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mlflow_governance.errors import VerificationError
from mlflow_governance.evidence.requirements import logical_lines
from mlflow_governance.submission.datasets import Dataset, of_inputs, without_credentials
from mlflow_governance.submission.mlmodel import read_mlmodel
from mlflow_governance.submission.source import Source, resolve, translated

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel, Run

__all__ = ["Dataset", "Facts", "Measurement", "of_model", "read"]

_MAX_TEXT = 4096


@dataclass(frozen=True, order=True)
class Measurement:
    """A metric of the model itself, on one data set; ``dataset`` is empty where none is named."""

    name: str
    dataset: str
    value: float


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
    measurements: tuple[Measurement, ...] = ()
    """The newest of each metric logged for the model rather than for its run."""
    architecture: str = ""
    inputs: tuple[str, ...] = ()
    """Formats by the model's signature; so are ``outputs``."""
    outputs: tuple[str, ...] = ()
    description: str = ""
    author: str = ""
    """Who logged the run."""


def read(source: Source, folder: Path) -> Facts:
    """Read the model directory and, where there is one, its run.

    Raises:
        VerificationError: the directory is no MLflow model.
        InvalidRequest: a data set is tagged with a word nobody knows.
    """
    described = read_mlmodel(folder)
    facts = Facts(
        flavors=described.flavors,
        requirements=_requirements(folder),
        architecture=described.architecture,
        inputs=described.inputs,
        outputs=described.outputs,
    )
    if not source.run_id:
        return facts
    from mlflow import MlflowClient

    with translated(source.run_id):
        run = MlflowClient().get_run(source.run_id)
        model = MlflowClient().get_logged_model(source.model_id) if source.model_id else None
    return _with_run(facts, run, model)


def of_model(model_uri: str) -> Facts:
    """What MLflow knows of a model, without fetching its weights or its libraries.

    Raises:
        InvalidRequest: the URI names no model that can be submitted.
        NotFound: MLflow does not know it.
        VerificationError: it is no MLflow model.
    """
    import mlflow

    source = resolve(model_uri)
    with tempfile.TemporaryDirectory(prefix="mlflow-governance-") as folder:
        with translated(model_uri):
            mlflow.artifacts.download_artifacts(
                artifact_uri=f"{source.location}/MLmodel", dst_path=folder
            )
        return read(source, Path(folder))


def _with_run(facts: Facts, run: Run, model: LoggedModel | None) -> Facts:
    tags = run.data.tags
    return replace(
        facts,
        run_id=run.info.run_id,
        started=run.info.start_time,
        finished=run.info.end_time,
        commit=tags.get("mlflow.source.git.commit", ""),
        repository=without_credentials(tags.get("mlflow.source.git.repoURL", "")),
        entry_point=tags.get("mlflow.source.name", ""),
        parameters=dict(run.data.params),
        metrics=dict(run.data.metrics),
        datasets=of_inputs(run.inputs.dataset_inputs if run.inputs else ()),
        measurements=_measurements(model),
        description=tags.get("mlflow.note.content", "")[:_MAX_TEXT],
        author=tags.get("mlflow.user", "")[:_MAX_TEXT],
    )


def _measurements(model: LoggedModel | None) -> tuple[Measurement, ...]:
    logged = (model.metrics if model else None) or []
    newest = {
        (entry.key, entry.dataset_name or ""): entry.value
        for entry in sorted(logged, key=lambda entry: (entry.step, entry.timestamp))
    }
    return tuple(sorted(Measurement(name, on, value) for (name, on), value in newest.items()))


def _requirements(folder: Path) -> tuple[str, ...]:
    path = folder / "requirements.txt"
    if not path.is_file():
        return ()
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise VerificationError(f"the model's requirements.txt cannot be read: {error}") from error
    # As people read them: an option, such as a hash, is for pip.
    lines = (re.split(r"\s--", line)[0].strip() for line in logical_lines(text))
    return tuple(line for line in lines if not line.startswith("-"))
