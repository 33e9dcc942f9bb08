"""``policy diff``: what another bundle would change."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlflow_governance.cli.policy_source import (
    FOUND,
    bundle_option,
    files,
    format_option,
    home_option,
)

if TYPE_CHECKING:
    from mlflow_governance.policy.difference import Change

_HEADINGS = {
    "check": "Checks",
    "mode": "Modes",
    "waiver": "Waivers",
    "data": "Data",
    "rule": "Rules",
    "manifest": "Manifest",
    "file": "Files",
}
_SIGNS = {"added": "+", "removed": "-", "changed": "~"}


@click.command()
@click.argument("other", type=click.Path(path_type=Path, exists=True))
@bundle_option
@home_option
@format_option
def diff(other: Path, bundle: Path | None, home: str | None, form: str) -> None:
    """Show what changes when the bundle OTHER takes the place of the one in force.

    Checks that come and go at each gate, modes and waivers, data by path, rules by their meaning
    (comments and layout are no change), and the manifest.

    \b
      mlflow-governance policy diff mine
      mlflow-governance policy diff mine --bundle policies --format json

    Exit code 1 when they differ, as with diff(1); 0 when they decide alike.
    """
    from mlflow_governance.policy.bundle import from_files
    from mlflow_governance.policy.difference import differences

    old, new = from_files(files(bundle, home)), from_files(files(other, home))
    changes = differences(old, new)
    if form == "json":
        document = {
            "old": old.digest,
            "new": new.digest,
            "changes": [change.to_document() for change in changes],
        }
        click.echo(json.dumps(document, indent=2, ensure_ascii=False))
    else:
        click.echo(f"old {old.digest}\nnew {new.digest}")
        click.echo("\n".join(_lines(changes)))
    if changes:
        sys.exit(FOUND)


def _lines(changes: tuple[Change, ...]) -> Iterator[str]:
    for kind, heading in _HEADINGS.items():
        found = [change for change in changes if change.kind == kind]
        if found:
            yield heading
        for change in found:
            yield from _told(change)
    if not changes:
        yield "no difference in what they decide"


def _told(change: Change) -> Iterator[str]:
    head = f"  {_SIGNS[change.act]} {change.where}"
    if change.kind == "check":
        yield head
    elif change.kind == "rule":
        yield head
        yield from (f"      {line}" for line in change.lines())
    else:
        sides = [side for side in (change.old, change.new) if side is not None]
        yield f"{head}: {' → '.join(sides)}"
