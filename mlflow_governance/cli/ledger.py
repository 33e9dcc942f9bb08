"""``ledger``: verify the record and prove entries from it."""

from __future__ import annotations

import json
from pathlib import Path

import click

from mlflow_governance import config
from mlflow_governance.bootstrap import ledger_key
from mlflow_governance.cli.ledger_export import export, verifier
from mlflow_governance.errors import LedgerError, NotFound

_home = click.option("--home", default=None, help="Home folder of the installation.")
_backend = click.option(
    "--backend-store-uri", default="sqlite:///mlflow.db", show_default=True, help="The database."
)


@click.group()
def ledger() -> None:
    """Verify the ledger and prove entries, from the database itself, without the server."""


@ledger.command()
@_backend
@_home
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def verify(backend_store_uri: str, home: str | None, as_json: bool) -> None:
    """Prove the whole ledger against its signed head and every exported checkpoint.

    Exit code 3 names what was edited, dropped, inserted, reordered or cut off.
    """
    from mlflow_governance.store.ledger import SqlLedger
    from mlflow_governance.store.sessions import session_factory_for

    settings = config.load(config.home_folder(home))
    exported = [
        path.read_text("utf-8") for path in sorted(settings.checkpoints.glob("*.checkpoint"))
    ]
    view = SqlLedger(session_factory_for(backend_store_uri))
    report = view.verify(ledger_key(settings), exported)
    if as_json:
        click.echo(json.dumps(report.to_document()))
        return
    click.echo(
        f"the ledger verifies: {report.size} entries, root {report.root}, "
        f"{report.checkpoints} checkpoints"
    )


@ledger.command()
@click.argument("index", type=int)
@_backend
@_home
@click.option("--output", "-o", type=click.Path(path_type=Path), help="File; default: print.")
def prove(index: int, backend_store_uri: str, home: str | None, output: Path | None) -> None:
    """Write the inclusion proof of one entry (C2SP tlog-proof)."""
    from mlflow_governance.store.ledger import SqlLedger
    from mlflow_governance.store.sessions import session_factory_for

    view = SqlLedger(session_factory_for(backend_store_uri))
    proof = view.inclusion_proof(index)
    rows = list(view.entries(index, 1))
    if not rows:
        raise NotFound(f"the ledger has no entry {index}")
    proof.verify(rows[0][1], ledger_key(config.load(config.home_folder(home))))
    text = proof.encode()
    if output is None:
        click.echo(text, nl=False)
    else:
        output.write_text(text, "utf-8")


@ledger.command()
@click.argument("text", type=click.Path(path_type=Path, exists=True))
@click.option("--against", type=click.Path(path_type=Path, exists=True), required=True)
@_home
def check(text: Path, against: Path, home: str | None) -> None:
    """Check an inclusion proof TEXT against the entry's bytes, offline."""
    from mlflow_governance.ledger.proof import InclusionProof

    proof = InclusionProof.parse(text.read_text("utf-8"))
    try:
        checkpoint = proof.verify(
            against.read_bytes(), ledger_key(config.load(config.home_folder(home)))
        )
    except LedgerError as error:
        raise LedgerError(error.message, advice="The entry is not what the ledger says.") from error
    click.echo(f"included in the ledger of {checkpoint.size} entries")


ledger.add_command(export)
ledger.add_command(verifier)
