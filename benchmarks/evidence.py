"""One examination of a complete evidence set, beside the signature checks it cannot do without."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchmarks.material import ADVISORIES, COMPONENTS, NAME, Material
from benchmarks.measure import Scale, alternate
from benchmarks.report import Row, latency
from mlflow_governance.core import moment
from mlflow_governance.evidence.hashing import hash_directory
from mlflow_governance.evidence.sbom import check_document
from mlflow_governance.submission.bom import Described, ml_bom
from mlflow_governance.submission.environment import read_environment
from mlflow_governance.submission.facts import Facts

_AT_MOST = 20.0
"""Milliseconds for everything but hashing the bytes."""


def run(folder: Path, scale: Scale) -> Iterator[Row]:
    """Every verifier over every item."""
    material = Material.make(folder)
    material.examine()
    examiner, now = material.examiner(), moment.now()
    message = b"x" * 1000
    signature = material.key.sign(message)
    signed = sum(not item.name.endswith((".md", ".cdx.json")) for item in material.items)

    def signatures_alone() -> None:
        for _ in range(signed):
            material.key.public.verify(signature, message)

    found = alternate(
        scale.pick(200, 40),
        ours=lambda: examiner.examine(
            material.manifest, NAME, material.items, now, material.inspection
        ),
        limit=signatures_alone,
    )
    size = sum(len(item.data) for item in material.items) // 1000
    what = f"examine {signed} statements, {size} kB, {COMPONENTS} components"
    yield latency(
        f"{what}, {ADVISORIES:,} advisories (limit: {signed} ECDSA checks)",
        found["ours"],
        beside=found["limit"],
        at_most=_AT_MOST,
    )
    yield _bom(folder / "environment", scale)


def _bom(folder: Path, scale: Scale) -> Row:
    """The SBOM of a real scikit-learn model, in the environment this runs in."""
    import mlflow
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression().fit([[0.0], [1.0]], [0, 1])
    mlflow.sklearn.save_model(model, folder, pip_requirements=["scikit-learn", "mlflow"])
    digest = hash_directory(folder).digest
    described = Described(NAME, digest, {}, digest, digest, "bench", "high")
    facts = Facts(("sklearn",), ())
    made: list[int] = []

    def write() -> None:
        document = ml_bom(described, facts, moment.now(), read_environment(folder))
        check_document(document)
        made.append(len(document["components"]))

    found = alternate(scale.pick(20, 5), ours=write)
    what = f"write and check the SBOM of a scikit-learn model, {made[0]} components"
    return latency(what, found["ours"], at_most=1000)
