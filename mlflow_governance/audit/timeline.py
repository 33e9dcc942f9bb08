"""What happened, entry by entry, and where aliases point."""

from __future__ import annotations

from itertools import groupby

from mlflow_governance.audit import content
from mlflow_governance.audit.content import Cell, Paragraph, Section, Table
from mlflow_governance.audit.words import day, names, of_name
from mlflow_governance.core.event import Act
from mlflow_governance.workflows.evidence_told import Told, ToldEntry

MOST_ROWS = 1_000
"""Rows of one table: beyond them the files of the archive are the place to look."""


def time_line(told: Told) -> Section:
    """Every entry, oldest first; a run of refused downloads is one row."""
    rows: list[tuple[Cell, ...]] = []
    for together, group in groupby(told.entries, key=_run):
        found = list(group)
        if together is None or len(found) < 3:
            rows += [_row(entry) for entry in found]
        else:
            rows.append(_rows(found))
    left = len(rows) - MOST_ROWS
    blocks: list[content.Block] = [
        Table("Ledger entries, oldest first", ("Entry", "At", "Act", "About", "By", "Outcome"),
              tuple(rows[:MOST_ROWS]), (10, 15, 27, 18, 17, 13)),
    ]  # fmt: skip
    if left > 0:
        blocks.append(Paragraph(content.plain(f"{left} more rows are in ledger/entries/.")))
    return Section("Time line", tuple(blocks))


def _run(entry: ToldEntry) -> tuple[str, ...] | None:
    if entry.document["act"] != Act.DOWNLOAD_DENIED:
        return None
    subject = entry.document["subject"]
    return str(subject["name"]), str(subject["version"]), str(subject["workspace"])


def _row(entry: ToldEntry) -> tuple[Cell, ...]:
    said = content.plain(act_in_words(entry))
    if entry.reason:
        said += content.quiet(f"“{entry.reason}”")
    return (
        content.strong(entry.index), content.plain(day(entry.document["at"])), said,
        content.plain(_about(entry)), content.plain(entry.actor), outcome_of(entry),
    )  # fmt: skip


def _rows(found: list[ToldEntry]) -> tuple[Cell, ...]:
    first, last = found[0], found[-1]
    who = names(sorted({entry.actor for entry in found})[:4])
    return (
        content.strong(f"{first.index} to {last.index}"),
        content.plain(f"{day(first.document['at'])} to {day(last.document['at'])}"),
        content.plain(f"{len(found)} downloads"), content.plain(_about(first)),
        content.plain(who), outcome_of(first),
    )  # fmt: skip


def _about(entry: ToldEntry) -> str:
    subject = entry.document["subject"]
    if not subject["name"]:
        return "the registry"
    return f"{subject['name']}/{subject['version']}" if subject["version"] else subject["name"]


def act_in_words(entry: ToldEntry) -> str:
    """What was done, in a few words."""
    document = entry.document
    said = of_name(document["act"])
    action = document["facts"].get("action") or {}
    if action.get("alias"):
        return f"{said}: {action['alias']} → {action.get('to_version') or 'nowhere'}"
    origin, target = action.get("from"), action.get("to")
    if origin and target and origin != target:
        return f"{said}: {origin} → {target}"
    name = document["facts"].get("name") or document["facts"].get("role")
    return f"{said}: {name}" if isinstance(name, str) else said


def outcome_of(entry: ToldEntry) -> Cell:
    """Whether it was done."""
    if entry.document["allowed"]:
        return content.mark("done", "good")
    return content.mark("refused", "bad")


def aliases(told: Told) -> Section:
    """Where aliases point that ever had to do with these versions."""
    names_of = {(one.ref.workspace, one.ref.name) for one in told.versions}
    rows = tuple(
        (content.strong(key.alias), content.plain(key.name), _version(now), _version(before))
        for key, (now, before) in sorted(told.replay.aliases.items())
        if (key.workspace, key.name) in names_of
    )
    if not rows:
        return Section("Aliases", (Paragraph(content.quiet("No alias was ever moved.")),))
    head = ("Alias", "Model", "Points at version", "Before")
    about = "As far as the entries in this archive tell"
    return Section("Aliases", (Table(about, head, rows, (30, 34, 20, 16)),))


def _version(number: int | None) -> Cell:
    return content.quiet("nowhere") if number is None else content.plain(number)
