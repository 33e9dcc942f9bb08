"""One examination of a complete evidence set, beside the signature checks it cannot do without."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchmarks.material import ADVISORIES, COMPONENTS, NAME, Material
from benchmarks.measure import Scale, alternate
from benchmarks.report import Row, latency
from mlflow_governance.core import moment


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
        ours=lambda: examiner.examine(material.manifest, NAME, material.items, now),
        limit=signatures_alone,
    )
    size = sum(len(item.data) for item in material.items) // 1000
    what = f"examine {signed} statements, {size} kB, {COMPONENTS} components"
    yield latency(
        f"{what}, {ADVISORIES:,} advisories (limit: {signed} ECDSA checks)",
        found["ours"],
        beside=found["limit"],
    )
