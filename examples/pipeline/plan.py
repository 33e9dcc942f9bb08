"""What the owner lays out: which steps there are, who may take them, and what goes on to whom."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from in_toto.models.layout import Layout, Step
from in_toto.models.metadata import Envelope

from examples.pipeline.people import signer

PLACES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "prepare": (("raw", "src/prepare.py"), ("data",)),
    "train": (("data/train.csv", "src/train.py"), ("out/model.skops",)),
    "evaluate": (
        ("data/test.csv", "out/model.skops", "src/evaluate.py"),
        ("out/metrics.json",),
    ),
    "package": (("out", "src/package.py"), ("model",)),
}
"""Of each step, where in the working folder its materials and its products are."""

HANDS: dict[str, tuple[str, ...]] = {
    "prepare": ("data-engineer",),
    "train": ("trainer",),
    "evaluate": ("evaluator-1", "evaluator-2"),
    "package": ("release-engineer",),
}
"""Who may take a step; all of them must."""

_NOTHING_ELSE = ["DISALLOW", "*"]


def _made_by(step: str, pattern: str) -> list[str]:
    return ["MATCH", pattern, "WITH", "PRODUCTS", "FROM", step]


def _program(step: str) -> list[str]:
    return ["ALLOW", f"src/{step}.py"]


_RULES: dict[str, tuple[list[list[str]], list[list[str]]]] = {
    "prepare": (
        [["ALLOW", "raw/breast_cancer.csv"], _program("prepare")],
        [["CREATE", "data/train.csv"], ["CREATE", "data/test.csv"]],
    ),
    "train": (
        [_made_by("prepare", "data/train.csv"), _program("train")],
        [["CREATE", "out/model.skops"]],
    ),
    "evaluate": (
        [
            _made_by("prepare", "data/test.csv"),
            _made_by("train", "out/model.skops"),
            _program("evaluate"),
        ],
        [["CREATE", "out/metrics.json"]],
    ),
    "package": (
        [
            ["REQUIRE", "out/metrics.json"],
            _made_by("train", "out/model.skops"),
            _made_by("evaluate", "out/metrics.json"),
            _program("package"),
        ],
        [["CREATE", "model/*"]],
    ),
}


def write_layout(keys: Path, folder: Path) -> None:
    """``root.layout``, signed by the owner, good for a year."""
    layout = Layout()
    layout.readme = "Breast cancer classifier: prepare, train, evaluate (two people), package."
    layout.expires = (datetime.now(UTC) + timedelta(days=365)).strftime("%Y-%m-%dT%H:%M:%SZ")
    for name, hands in HANDS.items():
        public = [signer(keys, hand).public_key for hand in hands]
        for key in public:
            layout.keys[key.keyid] = {"keyid": key.keyid, **key.to_dict()}
        materials, products = _RULES[name]
        step = Step(name=name, pubkeys=[key.keyid for key in public], threshold=len(hands))
        step.expected_materials = [*materials, _NOTHING_ELSE]
        step.expected_products = [*products, _NOTHING_ELSE]
        layout.steps.append(step)
    layout.validate()
    signed = Envelope.from_signable(layout)
    signed.create_signature(signer(keys, "owner"))
    signed.dump(str(folder / "root.layout"))
