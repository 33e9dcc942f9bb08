"""package: out/model.skops, out/metrics.json → model/. Run in the working folder."""

import json
import sys
from importlib.metadata import version
from pathlib import Path

import mlflow.sklearn
import skops.io

metrics = json.loads(Path("out/metrics.json").read_text())
if metrics["accuracy"] < 0.9:
    sys.exit(f"not good enough to be packaged: {metrics}")
mlflow.sklearn.save_model(
    skops.io.load("out/model.skops", trusted=[]),
    "model",
    serialization_format="skops",
    pip_requirements=[f"{name}=={version(name)}" for name in ("mlflow", "scikit-learn", "skops")],
    metadata=metrics,
)
