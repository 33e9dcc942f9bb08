"""``ledger export`` and ``ledger verifier``: what an auditor takes home."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlflow_governance import config
from mlflow_governance.core import moment
from mlflow_governance.core.event import Act, Event

if TYPE_CHECKING:
    from mlflow_governance.audit.export import KeptCheckpoint
    from mlflow_governance.ledger.handover import KeyHistory
    from mlflow_governance.store.checkpoint_book import SqlCheckpointBook
    from mlflow_governance.store.ledger import SqlLedger

_VERIFIER = Path(__file__).parent.parent / "audit" / "verifier.py"


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--backend-store-uri", default="sqlite:///mlflow.db", show_default=True, help="The database."
)
@click.option("--home", default=None, help="Home folder of the installation.")
@click.option("--reason", default="", help="Why; it is kept with the record, like your name.")
@click.option("--json", "as_json", is_flag=True, help="Print what was written as JSON.")
def export(
    folder: Path, backend_store_uri: str, home: str | None, reason: str, as_json: bool
) -> None:
    """Write the whole ledger into FOLDER, as files that prove themselves.

    The layout is that of a tiled transparency log (c2sp.org/tlog-tiles): any tool that reads such
    logs reads it, from the folder or from a plain web server. Beside it stand the keys and every
    checkpoint kept. No name and no reason is in it: entries hold commitments to them.

    Everything is verified on the way out. A second export into the same folder adds what is new,
    and is refused where the folder is not the beginning of this ledger; one that was interrupted
    goes on where it stopped. The export is itself an entry, the last one in it.

    \b
    Write it:   mlflow-governance ledger export /media/audit/ledger
    Check it:   mlflow-governance ledger verifier -o verify.py
                python verify.py ledger /media/audit/ledger --key ledger.vkey

    Exit code 3: the ledger does not verify, or does not continue what the folder holds.
    """
    from mlflow_governance.audit.export import export_ledger, require_place
    from mlflow_governance.cli.operation import open_sessions, open_store, operator
    from mlflow_governance.custody.ledger import ledger_keys
    from mlflow_governance.store.checkpoint_book import SqlCheckpointBook
    from mlflow_governance.store.ledger import SqlLedger

    settings = config.load(config.home_folder(home))
    store = open_store(settings, backend_store_uri)
    sessions = open_sessions(backend_store_uri)
    view = SqlLedger(sessions)
    keys = ledger_keys(settings).following(view.handovers())
    require_place(view, folder, keys)
    with store.begin() as uow:  # first, so that nothing leaves the house without a record of it
        size = uow.ledger_size()
        uow.record(
            Event(
                act=Act.LEDGER_EXPORTED,
                person=operator().person,
                at=moment.now(),
                reason=reason,
                facts={"size": size},
            )
        )
    done = export_ledger(
        view,
        folder,
        keys,
        _kept(view, SqlCheckpointBook(sessions), keys, settings.checkpoint_folder),
        _progress,
    )
    if as_json:
        document = {
            "folder": str(folder),
            "origin": done.origin,
            "size": done.size,
            "root": done.root,
            "added": done.added,
            "checkpoints": done.checkpoints,
        }
        click.echo(json.dumps(document))
        return
    click.echo(
        f"{folder}: {done.size} entries ({done.added} new), {done.checkpoints} checkpoints, "
        f"root {done.root}"
    )
    click.echo(f"key {keys.newest.encode()}")


@click.command()
@click.option(
    "--output", "-o", type=click.Path(path_type=Path, dir_okay=False), help="File; default: print."
)
def verifier(output: Path | None) -> None:
    """Write the verifier an auditor runs: one file of Python and the cryptography package.

    It knows nothing of this program, of MLflow or of a server. Whoever wants to trust nobody
    reads it first; that takes an hour.

    \b
    mlflow-governance ledger verifier -o verify.py
    python verify.py ledger FOLDER --key VKEY
    python verify.py bundle evidence.zip --key VKEY
    python verify.py proof entry.tlog-proof --entry entry.json --key VKEY

    Exit codes of the verifier: 0 verified, 1 does not verify, 2 could not be checked.
    """
    text = _VERIFIER.read_text("utf-8")
    if output is None:
        click.echo(text, nl=False)
    else:
        output.write_text(text, "utf-8")
        click.echo(f"{output}: read it, then: python {output} ledger FOLDER --key VKEY")


def _kept(
    ledger: SqlLedger, book: SqlCheckpointBook, keys: KeyHistory, folder: Path
) -> list[KeptCheckpoint]:
    """Every checkpoint kept, but those of entries that are acknowledged to be lost."""
    from mlflow_governance.audit.export import KeptCheckpoint
    from mlflow_governance.ledger.recovery import note_digest

    lost = {one.note for one in ledger.recoveries(keys)}
    kept = [(one.note, one.stamp or b"") for one in book.all()]
    for path in sorted(folder.glob("*.checkpoint")):
        stamp = path.with_suffix(".tsr")
        kept.append((path.read_text("utf-8"), stamp.read_bytes() if stamp.is_file() else b""))
    return [KeptCheckpoint(*one) for one in kept if note_digest(one[0]) not in lost]


def _progress(done: int, total: int) -> None:
    if sys.stderr.isatty() and (done % 25_600 == 0 or done == total):
        click.echo(f"\r{done} of {total} entries", nl=done == total, err=True)
