"""``validate``: registry, MLflow's tables, artifact store and ledger, compared."""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlflow_governance import config
from mlflow_governance.cli.serve import destination_uri
from mlflow_governance.core import moment
from mlflow_governance.errors import NotFound, VerificationError
from mlflow_governance.workflows.validation.findings import CHECKS, Severity

if TYPE_CHECKING:
    from mlflow_governance.config import Settings
    from mlflow_governance.store.books import SqlBooks
    from mlflow_governance.workflows.validation.run import Report

_SECONDS = 2.0
"""Between two lines of progress; what takes less says nothing."""


def _print_checks(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if not wanted:
        return
    for code, check in CHECKS.items():
        click.echo(f"{code}  {check.severity:<7}  {check.meaning}")
    context.exit()


@click.command()
@click.option(
    "--backend-store-uri",
    default="sqlite:///mlflow.db",
    show_default=True,
    help="The database, as the server was given it.",
)
@click.option(
    "--artifacts-destination",
    default="./mlartifacts",
    show_default=True,
    help="The artifact store, as the server was given it.",
)
@click.option("--home", default=None, help="Home folder of the installation.")
@click.option("--name", default="*", metavar="GLOB", help="Only models of these names.")
@click.option("--no-hash", is_flag=True, help="Leave the artifact store alone: database only.")
@click.option(
    "--since", type=click.DateTime(), help="Hash only versions registered since then (UTC)."
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.option(
    "--list", is_flag=True, is_eager=True, expose_value=False, callback=_print_checks,
    help="Print every check with its code, and end.",
)  # fmt: skip
def validate(
    backend_store_uri: str,
    artifacts_destination: str,
    home: str | None,
    as_json: bool,
    **options: object,
) -> None:
    """Compare registry, artifact store and ledger, and name what disagrees.

    The ledger is verified against its signed head and every exported checkpoint, then replayed:
    what it tells of each version, alias, block, decision and approval is compared with the
    registry's tables and with MLflow's, and the files of each version with its digest. It finds
    what somebody changed behind the registry's back, in the database or on the disk.

    Nothing is changed. Servers may run meanwhile: whatever disagrees is looked at twice. Hashing
    reads every model once; --no-hash, --name and --since shorten that.

    \b
    A laptop:    mlflow-governance validate
    Each night:  mlflow-governance validate --backend-store-uri postgresql+psycopg://… \\
                   --artifacts-destination s3://bucket/path --json --since "$YESTERDAY"
    One model:   mlflow-governance validate --name churn

    Exit code 0: no disagreement, perhaps warnings. 3: something disagrees. Each finding has a
    stable code (--list) and says where to mend it.
    """
    from mlflow_governance.plugin.inspection import InspectedArtifacts
    from mlflow_governance.workflows.ports import Rules
    from mlflow_governance.workflows.validation.run import Scope
    from mlflow_governance.workflows.validation.run import validate as run

    settings = config.load(config.home_folder(home))
    _set_environment(backend_store_uri, artifacts_destination)
    rules = Rules(ungoverned_models=settings.ungoverned_models)
    since = options["since"]
    scope = Scope(
        name=str(options["name"]),
        files=not options["no_hash"],
        since=moment.to_text(moment.parse(f"{since}+00:00")) if since else "",
        left_out=lambda name: rules.exclusion(name) is not None,
    )
    books = _books(settings, backend_store_uri)
    if scope.files:
        _require_store(artifacts_destination, books)
    report = run(books, InspectedArtifacts(), scope, progress=_Progress())
    _print(report, as_json)
    if not report.clean:
        sys.exit(VerificationError.exit_code)


def _require_store(destination: str, books: SqlBooks) -> None:
    # Of a folder that is not there every model would seem to be tampered with.
    place = destination.removeprefix("file://")
    if "://" in place or Path(place).is_dir() or not books.look().governed:
        return
    raise NotFound(
        f"there is no folder {Path(place).resolve()}, and the registry has models",
        advice="Name the artifact store as the server was given it: --artifacts-destination DIR. "
        "Without it: --no-hash",
    )


def _set_environment(backend: str, destination: str) -> None:
    # MLflow finds both where its server would have put them.
    os.environ["_MLFLOW_SERVER_FILE_STORE"] = backend
    os.environ["_MLFLOW_SERVER_ARTIFACT_ROOT"] = "mlflow-artifacts:/"
    os.environ["_MLFLOW_SERVER_ARTIFACT_DESTINATION"] = destination_uri(destination)
    os.environ["_MLFLOW_SERVER_SERVE_ARTIFACTS"] = "true"


def _books(settings: Settings, backend: str) -> SqlBooks:
    from mlflow_governance.bootstrap import ledger_key
    from mlflow_governance.cli.operation import open_sessions
    from mlflow_governance.store.books import SqlBooks

    exported = [
        path.read_text("utf-8") for path in sorted(settings.checkpoint_folder.glob("*.checkpoint"))
    ]
    return SqlBooks(open_sessions(backend), ledger_key(settings), exported)


def _print(report: Report, as_json: bool) -> None:
    if as_json:
        document = {
            "clean": report.clean,
            "checked": {
                "entries": report.entries,
                "versions": report.versions,
                "aliases": report.aliases,
                "hashed": report.hashed,
            },
            "findings": [finding.to_document() for finding in report.findings],
        }
        click.echo(json.dumps(document, ensure_ascii=False))
        return
    for finding in report.findings:
        click.echo(f"{finding.code} {finding.severity:<7} {finding.subject}: {finding.meaning}")
        click.echo(f"    here    {finding.registry}")
        click.echo(f"    record  {finding.record}")
        click.echo(f"    mend    {finding.mend}")
    errors = sum(finding.severity is Severity.ERROR for finding in report.findings)
    warnings = len(report.findings) - errors
    verdict = f"{errors} disagree" if errors else "everything agrees"
    click.echo(
        f"{verdict}, {warnings} warnings: {report.entries} entries, {report.versions} versions "
        f"({report.hashed} hashed), {report.aliases} aliases"
    )


@dataclass
class _Progress:
    """A line on stderr now and then."""

    _told: float = field(default_factory=time.monotonic)

    def __call__(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._told > _SECONDS:
            self._told = now
            click.echo(f"{done} of {total} {what}", err=True)
