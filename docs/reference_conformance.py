"""The page of conformance: the vectors of others, run now."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


def sections() -> Iterator[tuple[str, str, tuple[str, ...], list[tuple[str, ...]]]]:
    """Heading, introduction, header and rows of each table."""
    if str(ROOT) not in sys.path:
        sys.path.append(str(ROOT))
    from tests.vectors import conformance

    yield _section(
        "OpenSSF Model Signing v1.0",
        "The bundles of the specification, over the files they are about.",
        conformance.specification(),
    )
    yield _section(
        "Signatures of model-signing",
        "Made by the maintainers with its releases, over three kinds of keys; verified over all "
        "files there and over those that were signed.",
        conformance.released_signatures(),
    )
    yield _section(
        "sigstore-conformance",
        "Each case by the verifier of keyless bundles, and through a trust policy, as evidence "
        "is. Those with a key of their own are no keyless bundles.",
        conformance.sigstore(),
    )


def _section(
    heading: str, about: str, results: Iterable[Any]
) -> tuple[str, str, tuple[str, ...], list[tuple[str, ...]]]:
    from tests.vectors.differences import DIFFERENCES

    found = list(results)
    ways = list(dict.fromkeys(way for result in found for way in result.ours))
    rows = [
        (
            f"`{result.name}`",
            _word(result.valid),
            *(_word(not result.ours[way]) if way in result.ours else "" for way in ways),
            DIFFERENCES[result.name] if result.differs else "",
        )
        for result in found
    ]
    alike = sum(not result.differs for result in found)
    summary = f"{about} {alike} of {len(found)} are as expected."
    return heading, summary, ("vector", "expected", *ways, "why we differ"), rows


def _word(verifies: bool) -> str:
    return "verifies" if verifies else "refused"
