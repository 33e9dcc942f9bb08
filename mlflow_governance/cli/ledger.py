"""``ledger``: verify the record and prove entries from it."""

from __future__ import annotations

import json
from pathlib import Path

import click

from mlflow_governance import config
from mlflow_governance.bootstrap import ledger_key
from mlflow_governance.cli.anchors import Outside, anchors, recover
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
@click.option(
    "--checkpoint", "files", multiple=True, type=click.Path(path_type=Path, exists=True),
    help="A checkpoint somebody kept, with FILE.tsr beside it; may be given again.",
)  # fmt: skip
@click.option("--offline", is_flag=True, help="Do not read the destinations of checkpoints.")
def verify(
    backend_store_uri: str,
    home: str | None,
    as_json: bool,
    files: tuple[Path, ...],
    offline: bool,
) -> None:
    """Prove the whole ledger against its signed head and every checkpoint kept anywhere.

    Reads the checkpoints of the database, of the home folder, of every destination and of each
    FILE, and says how far witnesses, time stamps and destinations hold the ledger. Exit code 3
    names what was edited, dropped, inserted, reordered or cut off; 7: a destination could not be
    read, and everything else verifies.
    """
    from mlflow_governance.store.ledger import SqlLedger
    from mlflow_governance.store.sessions import session_factory_for

    settings = config.load(config.home_folder(home))
    view = SqlLedger(session_factory_for(backend_store_uri))
    outside = Outside.look(settings, view, files, offline=offline)
    with outside.named():
        report = view.verify(ledger_key(settings), outside.notes)
    anchored = outside.report(report.size)
    if as_json:
        document = {**report.to_document(), "anchors": anchored.to_document()}
        click.echo(json.dumps(document))
    else:
        click.echo(
            f"the ledger verifies: {report.size} entries, root {report.root}, "
            f"{report.checkpoints} checkpoints"
        )
        for line in anchored.lines(settings.checkpoint_options):
            click.echo(line)
    outside.refuse_unread()


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


ledger.add_command(anchors)
ledger.add_command(recover)
ledger.add_command(export)
ledger.add_command(verifier)
