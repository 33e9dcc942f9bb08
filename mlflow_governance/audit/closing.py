"""What a report ends with: what it does not show, and how to verify the rest."""

from __future__ import annotations

from mlflow_governance.audit import content
from mlflow_governance.audit.content import Facts, Paragraph, Section, Table
from mlflow_governance.audit.outcomes import verdict
from mlflow_governance.audit.timeline import MOST_ROWS
from mlflow_governance.audit.words import day, many, names, of_name
from mlflow_governance.core.person import PSEUDONYM
from mlflow_governance.workflows.evidence_told import Told


def gaps(told: Told, detailed: int) -> Section:
    """What this archive does not show, as honestly as it can be said."""
    rows = [(content.plain(path), content.plain(why)) for path, why in told.left_out[:MOST_ROWS]]
    said = [
        "The model's own bytes are not in here: its manifest names each file by digest.",
        "Decisions are recorded with the very input they were made from; making them again takes "
        "the policy engine: mlflow-governance policy explain.",
        "What nobody attached as evidence and what happened outside the registry is not shown.",
    ]
    unknown = told.persons.told(None)
    erased = sum(e.actor == unknown or bool(PSEUDONYM.fullmatch(e.actor)) for e in told.entries)
    if erased:
        said.append(f"The names behind {many(erased, 'entry')} were erased, as the law may demand.")
    if told.persons.pseudonymous:
        said.append("Nobody is named: commitments in the ledger stand unopened.")
    if len(told.versions) > detailed:
        said.append(f"Only {detailed} of {len(told.versions)} versions are told here in full.")
    for one in told.versions:
        missing = [
            of_name(kind)
            for kind, outcome in sorted(one.evidence.items())
            if not verdict(kind, outcome).counts
        ]
        if missing:
            said.append(f"{one.ref}: nothing good was proved of {names(missing)}.")
    blocks: list[content.Block] = [Paragraph(content.plain(text)) for text in said]
    if rows:
        blocks.append(Table("Files that are not here", ("File", "Why"), tuple(rows), (62, 38)))
    return Section("What could not be shown", tuple(blocks))


def verifying(told: Told, command: str) -> Section:
    """How to check all of this."""
    return Section("How to verify it", (
        Paragraph(content.plain(
            "On any machine with Python and the package cryptography, with any public key the "
            "ledger ever had, as the registry's operators gave it to you (not from this "
            "archive):")),
        Paragraph(content.code(command)),
        Facts((
            ("Ledger", content.plain(f"{told.origin}, {many(told.size, 'entry')} as signed")),
            ("This export", content.plain(f"entry {told.exported.index}")),
            ("Entries in here", content.plain(len(told.entries))),
            ("Made at", content.plain(day(told.exported.at.isoformat()))),
        )),
    ))  # fmt: skip
