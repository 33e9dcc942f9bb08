"""METADATA comments: what a package or rule says about itself, as OPA reads it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Annotation:
    """One block; ``about`` is the line of the statement it stands before. Lines count from 1."""

    line: int
    about: int
    values: Mapping[str, Any]
    problem: str = ""
    """Why OPA would refuse the block; empty if it would not."""


def blocks(text: str) -> Iterator[Annotation]:
    """The METADATA blocks of a module."""
    lines = text.splitlines()
    number = 0
    while number < len(lines):
        begin = number
        number += 1
        if lines[begin].strip() != "# METADATA":
            continue
        block = []
        while number < len(lines) and lines[number].startswith("#"):
            block.append(lines[number].removeprefix("#").removeprefix(" "))
            number += 1
        about = next((n for n in range(number, len(lines)) if lines[n].strip()), number)
        values, problem = _read("\n".join(block))
        yield Annotation(begin + 1, about + 1, values, problem)


def _read(text: str) -> tuple[Mapping[str, Any], str]:
    import yaml

    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        return {}, f"it is not YAML: {' '.join(str(error).split())[:200]}"
    return (values, "") if isinstance(values, dict) else ({}, "it is not a list of members")
