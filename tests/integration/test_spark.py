"""Batch scoring with Spark: the driver verifies, the executors load what it verified."""

from __future__ import annotations

import importlib
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mlflow_governance.core import digest
from mlflow_governance.errors import VerificationError
from mlflow_governance.evidence.hashing import hash_directory
from tests.integration.test_client import Client, tampered
from tests.integration.world import World, sample

pyspark = pytest.importorskip("pyspark", reason="Spark UDFs need pyspark and Java")


# One executor in this process's Java, and one of its own that gets its files from the driver.
@pytest.fixture(scope="module", params=["local[1]", "local-cluster[1,1,1024]"])
def spark(request: pytest.FixtureRequest) -> Iterator[Any]:
    if shutil.which("java") is None:
        pytest.skip("Spark UDFs need pyspark and Java")
    from pyspark.sql import SparkSession

    path = os.pathsep.join(entry for entry in sys.path if entry)
    builder = SparkSession.builder.master(request.param).config("spark.ui.enabled", "false")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYSPARK_PYTHON", sys.executable)
        session = builder.config("spark.executorEnv.PYTHONPATH", path).getOrCreate()
        yield session
        session.stop()


@pytest.fixture(scope="module")
def sparked(world: World) -> str:
    return world.approved("sparked", seed=190)


@pytest.fixture
def copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the driver puts what executors are to load."""
    folder = tmp_path / "copies"
    folder.mkdir()
    pyfunc = importlib.import_module("mlflow.pyfunc")  # mlflow.pyfunc alone is a lazy stand-in
    monkeypatch.setattr(pyfunc, "_create_model_downloading_tmp_dir", lambda _: str(folder))
    return folder


def test_executors_load_what_the_driver_verified(
    world: World, sparked: str, tmp_path: Path, spark: Any, copies: Path
) -> None:
    import mlflow
    from pyspark.sql.functions import struct

    host = Client(world, tmp_path)
    rows = spark.createDataFrame(sample())

    with host.speaking():
        score = mlflow.pyfunc.spark_udf(
            spark, "models:/sparked/Approved", result_type="double", env_manager="local"
        )
        found = rows.select(score(struct(*rows.columns)).alias("score")).collect()

    assert len(found) == 2
    (kept,) = host.cache.glob("*/model")
    (copies / "registered_model_meta").unlink()
    assert digest.hex_of(hash_directory(copies).digest) == kept.parent.name


def test_a_changed_byte_is_refused_by_the_driver(
    world: World, sparked: str, tmp_path: Path, spark: Any, copies: Path
) -> None:
    import mlflow

    host = Client(world, tmp_path)
    with (
        tampered(world, sparked) as name,
        host.speaking(),
        pytest.raises(VerificationError, match=f"file changed: {name}"),
    ):
        mlflow.pyfunc.spark_udf(spark, "models:/sparked/1", env_manager="local")
    assert list(copies.iterdir()) == []
