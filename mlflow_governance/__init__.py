"""A fail-closed governance layer for the MLflow model registry.

``mlflow_governance.submit(model_uri, name=…, key=…)`` signs, describes and registers a model;
``mlflow_governance.serving.load_model(uri)`` loads one after verifying it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow_governance.submission.submit import Submission, SubmitOptions


def submit(
    model_uri: str,
    *,
    key: Path | str,
    name: str | None = None,
    options: SubmitOptions | None = None,
) -> Submission:
    """See :func:`mlflow_governance.submission.submit.submit`."""
    from mlflow_governance.submission.submit import submit as run

    return run(model_uri, key=key, name=name, options=options)
