"""``ledger prove``, ``consistency``, ``check``, ``head``, ``key``: what an auditor takes home."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlflow_governance import config
from mlflow_governance.cli.history import backend, home
from mlflow_governance.custody.ledger import ledger_keys
from mlflow_governance.errors import InvalidRequest, LedgerError, NotFound
from mlflow_governance.ledger import checkpoint
from mlflow_governance.ledger.consistency import HEADER, ConsistencyProof
from mlflow_governance.ledger.handover import KeyHistory
from mlflow_governance.ledger.proof import InclusionProof

if TYPE_CHECKING:
    from mlflow_governance.store.ledger import SqlLedger

_file = click.Path(path_type=Path, exists=True, dir_okay=False)
_key = click.option(
    "--key", "given", metavar="VKEY",
    help="The ledger's key as `ledger key` prints it, or a file with it; default: the home folder.",
)  # fmt: skip


@click.command()
@click.argument("index", type=int, required=False)
@click.option("--event", metavar="ID", help="The entry of this event, instead of an index.")
@click.option("--decision", metavar="ID", help="The entry of this decision.")
@click.option("--checkpoint", "against", type=_file, help="Signed earlier; default: the head.")
@click.option(
    "--entry", type=click.Path(path_type=Path), metavar="FILE",
    help="Write the entry there, too: the bytes the proof is about.",
)  # fmt: skip
@backend
@home
@click.option("--output", "-o", type=click.Path(path_type=Path), help="File; default: print.")
def prove(backend_store_uri: str, home: str | None, output: Path | None, **options: Any) -> None:
    """Write the inclusion proof of one entry (C2SP tlog-proof), and the entry.

    \b
      mlflow-governance ledger prove 17 -o 17.tlog-proof --entry 17.json
      mlflow-governance ledger prove --decision 7f2c… --checkpoint audit.checkpoint

    Whoever has both and the ledger's key needs nothing else: `ledger check`, or verify.py.
    """
    key = _home_key(home)
    note = None if options["against"] is None else _checkpoint(options["against"], key)
    with opened(backend_store_uri) as view:
        index = _index(view, options)
        proof = view.inclusion_proof(index, note)
        data = view.entry(index)
    size = proof.verify(data, key).size
    entry: Path | None = options["entry"]
    if entry is not None:
        entry.write_bytes(data)
    if output is None:
        click.echo(proof.encode(), nl=False)
        return
    output.write_text(proof.encode(), "utf-8")
    click.echo(f"{output}: entry {index} is in the ledger of {size} entries")
    if entry is not None:
        click.echo(f"to check it: mlflow-governance ledger check {output} --against {entry}")


def _index(view: SqlLedger, named: dict[str, Any]) -> int:
    given = {
        name: named[name] for name in ("index", "event", "decision") if named[name] is not None
    }
    if len(given) != 1:
        raise InvalidRequest("name one entry: an index, --event ID or --decision ID")
    if "index" in given:
        return int(given["index"])
    ((name, identity),) = given.items()
    return view.find(f"{name}_id", identity)


@click.command()
@click.argument("old", type=_file, metavar="OLD_CHECKPOINT")
@click.argument("new", type=_file, metavar="[NEW_CHECKPOINT]", required=False)
@backend
@home
@click.option(
    "--output", "-o", type=click.Path(path_type=Path),
    help="File for the proof; default: it is only checked.",
)  # fmt: skip
def consistency(
    old: Path, new: Path | None, backend_store_uri: str, home: str | None, output: Path | None
) -> None:
    """Prove that the ledger of now (or NEW) continues the one OLD was signed of.

    OLD is a checkpoint from anywhere: the checkpoints folder, an auditor, a witness. Nothing
    before it was changed, and nothing was dropped, if this succeeds; exit code 3 if not.

    \b
      mlflow-governance ledger consistency last-audit.checkpoint
      mlflow-governance ledger consistency last-audit.checkpoint -o since.tlog-consistency
    """
    key = _home_key(home)
    notes = [_checkpoint(path, key) for path in (old, new) if path is not None]
    with opened(backend_store_uri) as view:
        proof = view.prove_consistency(*notes)
    before, now = proof.verify(key)
    if output is not None:
        output.write_text(proof.encode(), "utf-8")
    click.echo(f"the ledger of {now.size} entries continues that of {before.size}")


@click.command()
@click.argument("proof", type=_file)
@click.option(
    "--against",
    type=_file,
    help="The entry's bytes; of a consistency proof, the checkpoint you kept.",
)
@_key
@home
def check(proof: Path, against: Path | None, given: str | None, home: str | None) -> None:
    """Check a proof of `ledger prove` or `ledger consistency`, offline.

    \b
      mlflow-governance ledger check 17.tlog-proof --against 17.json --key registry.vkey
      mlflow-governance ledger check since.tlog-consistency --against last-audit.checkpoint
    """  # fmt: skip
    key = _home_key(home) if given is None else _given_key(given)
    text = _read(proof)
    if text.startswith(HEADER):
        _check_consistency(text, against, key)
        return
    if against is None:
        raise InvalidRequest(
            "an inclusion proof is checked --against the entry's bytes",
            advice="They are written by: mlflow-governance ledger prove INDEX --entry FILE",
        )
    try:
        parsed = InclusionProof.parse(text)
    except LedgerError as error:
        raise LedgerError(
            f"{proof}: {error.message}",
            advice="Proofs are written by: mlflow-governance ledger prove, ledger consistency",
        ) from error
    try:
        signed = parsed.verify(against.read_bytes(), key)
    except LedgerError as error:
        raise LedgerError(error.message, advice="The entry is not what the ledger says.") from error
    click.echo(f"included in the ledger of {signed.size} entries")


@click.command()
@backend
@home
def head(backend_store_uri: str, home: str | None) -> None:
    """Print the signed checkpoint of the ledger of now. Keep it where nobody here can write."""
    with opened(backend_store_uri) as view:
        note = view.head()
    if not note:
        raise NotFound("the ledger is empty: nothing was ever recorded")
    checkpoint.verify(note, _home_key(home))
    click.echo(note, nl=False)


@click.command()
@home
def key(home: str | None) -> None:
    """Print the ledger's public key, as C2SP signed notes name it: NAME+ID+KEY.

    Whoever verifies without this host needs it, from somebody they trust. A ledger that changed
    its key has several, oldest first.
    """
    click.echo(_home_key(home).encode(), nl=False)


def _check_consistency(text: str, against: Path | None, key: KeyHistory) -> None:
    proof = ConsistencyProof.parse(text)
    before, now = proof.verify(key)
    if against is not None:
        kept = checkpoint.parse(_checkpoint(against, key))
        if kept != before:
            raise LedgerError(
                f"the proof is of another checkpoint: it begins at {before.size} entries, "
                f"and yours is of {kept.size}",
                advice="Ask for a proof from the checkpoint you kept.",
            )
    click.echo(f"the ledger of {now.size} entries continues that of {before.size}")


def _home_key(home: str | None) -> KeyHistory:
    return ledger_keys(config.load(config.home_folder(home)))


def _given_key(given: str) -> KeyHistory:
    # A key is longer than most file systems allow a name to be written by hand, and has a plus.
    path = Path(given)
    return KeyHistory.parse(_read(path) if "+" not in given or path.is_file() else given)


@contextmanager
def opened(url: str) -> Iterator[SqlLedger]:
    """The ledger of a database, as the server was given it."""
    from mlflow_governance.cli.operation import open_sessions
    from mlflow_governance.store.ledger import SqlLedger

    sessions = open_sessions(url)
    try:
        yield SqlLedger(sessions)
    finally:
        sessions.dispose()


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"{path} cannot be read: {error}") from error


def _checkpoint(path: Path, key: KeyHistory) -> str:
    """The note in a file, which is a checkpoint of this ledger."""
    note = _read(path)
    try:
        checkpoint.verify(note, key)
    except LedgerError as error:
        raise LedgerError(f"{path}: {error.message}", advice=error.advice) from error
    return note
