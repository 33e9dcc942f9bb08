"""``evidence``: one archive about a version or a period, for somebody who trusts nobody here."""

from __future__ import annotations

import os
import shlex
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlflow_governance import config
from mlflow_governance.cli.operation import open_store, operator
from mlflow_governance.core.model_ref import DEFAULT_WORKSPACE, VersionRef
from mlflow_governance.errors import InvalidRequest
from mlflow_governance.workflows.evidence_export import (
    AUDITOR,
    Asked,
    OfPeriod,
    OfVersion,
    period,
)

if TYPE_CHECKING:
    from mlflow_governance.audit.bundle import Made


@click.command()
@click.argument("version", metavar="[NAME/VERSION]", required=False)
@click.option("--period", "between", metavar="FROM..TO", help="All acts of a period instead.")
@click.option("--output", "-o", type=click.Path(path_type=Path), help="File that is not there yet.")
@click.option("--pseudonymous", is_flag=True, help="Name nobody in it.")
@click.option("--reason", default="", help="What it is for; it goes into the ledger.")
@click.option("--workspace", default=DEFAULT_WORKSPACE, show_default=True, help="Of the model.")
@click.option(
    "--backend-store-uri", default="sqlite:///mlflow.db", show_default=True,
    help="The database, as the server was given it.",
)  # fmt: skip
@click.option("--home", default=None, help="Home folder of the installation.")
@click.option("--from-server", is_flag=True, help="Ask the server as yourself instead.")
def evidence(
    version: str | None,
    between: str | None,
    output: Path | None,
    backend_store_uri: str,
    home: str | None,
    **options: object,
) -> None:
    """Write one archive with everything about a version, or about a period, and its proofs.

    It holds manifest, evidence, signatures, decisions with the very input they were made from,
    the policies, approvals, ledger entries with inclusion proofs, and a report (HTML and PDF) that
    opens with the answer and says how far controls of SSDF, SLSA, NIST, ISO, LGPD, GDPR and the EU
    AI Act are shown. An auditor verifies it without this program: python verify.py.

    \b
    One version:   mlflow-governance evidence churn/3
    October:       mlflow-governance evidence --period 2026-10-01..2026-11-01 -o october.zip
    Naming nobody: mlflow-governance evidence churn/3 --pseudonymous

    Run it on the registry's host; the ledger records it. With --from-server anybody with the role
    auditor gets it from elsewhere. What was changed in the database is named, and nothing written
    (exit code 3). The folder controls/ of the home folder adds or replaces frameworks.
    """
    of = _of(version, between, str(options["workspace"]))
    # Whoever may read the keys and the database of the registry may read all of this.
    actor = replace(operator(), roles=(AUDITOR,))
    asked = Asked(actor, of, bool(options["pseudonymous"]), str(options["reason"]))
    target = output or Path(_default_name(asked))
    if target.exists():
        raise InvalidRequest(f"{target} is there already", advice="Name another file: -o FILE")
    made = _write(target, asked, None if options["from_server"] else (backend_store_uri, home))
    if made is not None:
        click.echo(made.answer)
        click.echo(f"{target}: {made.files} files, manifest {made.manifest}")
        click.echo(f"recorded in ledger entry {made.index}")
    click.echo(f"to check it: python verify.py bundle {shlex.quote(str(target))} --key VKEY")
    click.echo("verify.py: mlflow-governance ledger verifier; VKEY: mlflow-governance ledger key")


def _of(version: str | None, between: str | None, workspace: str) -> OfVersion | OfPeriod:
    if bool(version) == bool(between):
        raise InvalidRequest(
            "name a version, or a period",
            advice="mlflow-governance evidence churn/3, or --period 2026-10-01..2026-11-01",
        )
    if version:
        ref = VersionRef.parse(version)
        return OfVersion(VersionRef(ref.name, ref.version, workspace))
    since, dots, until = str(between).partition("..")
    if not dots:
        raise InvalidRequest("a period is written FROM..TO, such as 2026-10-01..2026-11-01")
    return period(since, until)


def _default_name(asked: Asked) -> str:
    from mlflow_governance.audit.bundle import default_name

    return default_name(asked)


def _write(target: Path, asked: Asked, place: tuple[str, str | None] | None) -> Made | None:
    # Readable by nobody else, and there only once it is complete.
    try:
        descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=".evidence-")
    except OSError as error:
        raise InvalidRequest(f"{target} cannot be written: {error.strerror}") from error
    made = None
    try:
        with os.fdopen(descriptor, "wb") as file:
            if place is None:
                from mlflow_governance.cli.client import RegistryClient

                RegistryClient().evidence_bundle(asked, file)
            else:
                from mlflow_governance.bootstrap import evidence_exporter

                settings = config.load(config.home_folder(place[1]))
                exporter = evidence_exporter(settings, open_store(settings, place[0]))
                made = exporter.export(asked, file)
        Path(name).replace(target)
    finally:
        Path(name).unlink(missing_ok=True)
    if place is None:
        click.echo(f"{target}: {target.stat().st_size} bytes")
    return made
