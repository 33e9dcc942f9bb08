"""``policy differences``: what the shadow bundle said differently."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from mlflow_governance.cli.history import backend, print_alarms
from mlflow_governance.cli.operation import open_sessions
from mlflow_governance.cli.policy_replay import print_changes
from mlflow_governance.core import digest, moment
from mlflow_governance.errors import NotFound, VerificationError
from mlflow_governance.policy.replay import Turn
from mlflow_governance.workflows.replay import Example, Report

if TYPE_CHECKING:
    from mlflow_governance.store.differences import SqlDifferences, Watched


@click.command("differences")
@click.option("--bundle", "wanted", metavar="DIGEST", help="Only of this shadow bundle.")
@click.option(
    "--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True,
    help="How it is printed.",
)  # fmt: skip
@backend
def differences(wanted: str | None, form: str, backend_store_uri: str) -> None:
    """Say what the shadow bundle answered differently from the live one.

    With `shadow_policies: DIR` in config.yaml every judgement, permitted downloads and previews
    included, is put to a second bundle. It decides nothing. Judgements of a version that differ
    alike are kept as one, with a count.

    \b
    mlflow-governance policy differences
    mlflow-governance policy differences --bundle sha256:… --format json

    Exit code 3: what was kept was changed in the database.
    """
    from mlflow_governance.store.differences import SqlDifferences

    only = digest.parse(wanted) if wanted else None
    sessions = open_sessions(backend_store_uri)
    try:
        kept = SqlDifferences(sessions)
        found = [w for w in kept.watched() if only in (None, w.shadow)]
        documents = [_document(kept, watched) for watched in found]
    finally:
        sessions.dispose()
    if not documents:
        raise NotFound(
            "no shadow bundle was asked about anything yet",
            advice="Set shadow_policies: DIR in config.yaml and restart the server.",
        )
    if form == "json":
        click.echo(json.dumps({"shadows": documents}, ensure_ascii=False))
    else:
        for document in documents:
            _print(document)
    if any(document["corrupt"] for document in documents):
        sys.exit(VerificationError.exit_code)


def _document(kept: SqlDifferences, watched: Watched) -> dict[str, Any]:
    report = Report()
    for found in kept.of(watched.shadow):
        report.looked += 1
        if isinstance(found, VerificationError):
            report.alarm(found.message)
            continue
        example = Example(
            "", found.model, found.version, found.actor, moment.to_text(found.last_at)
        )
        report.tally(Turn.between(found.before, found.after), found.gate, example, found.count)
    told = report.to_document()
    differing = told.pop("decisions")
    return {
        "bundle": watched.shadow,
        "first_at": moment.to_text(watched.first_at),
        "last_at": moment.to_text(watched.last_at),
        "asked": watched.counts.asked,
        "not_compared": watched.counts.dropped,
        "failed": watched.counts.failed,
        **told,
        "same": watched.counts.asked - differing,
    }


def _print(document: Mapping[str, Any]) -> None:
    click.echo(
        f"{document['asked']:,} judgements from {document['first_at'][:16]}Z to "
        f"{document['last_at'][:16]}Z, put to {document['bundle']}"
    )
    print_changes(document)
    if document["not_compared"]:
        click.echo(f"  {document['not_compared']:,} more were not compared: the queue was full")
    if document["failed"]:
        click.echo(f"  {document['failed']:,} could not be compared or kept; see the server's log")
    print_alarms(document)
