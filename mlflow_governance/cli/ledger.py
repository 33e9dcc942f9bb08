"""``ledger``: verify the record and prove entries from it."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlflow_governance import config
from mlflow_governance.cli import ledger_proofs
from mlflow_governance.cli.anchors import Outside, anchors, recover
from mlflow_governance.cli.history import Progress, backend, home
from mlflow_governance.cli.ledger_export import export, verifier
from mlflow_governance.cli.unfinished import Run, Unfinished
from mlflow_governance.errors import InvalidRequest, LedgerError
from mlflow_governance.ledger import checkpoint
from mlflow_governance.ledger.merkle import CompactRange

if TYPE_CHECKING:
    from mlflow_governance.ledger.note import LedgerKey
    from mlflow_governance.ledger.verify import LedgerReport
    from mlflow_governance.store.ledger import SqlLedger

_SECONDS = 1.0
"""Between two notes of how far it is."""


@click.group()
def ledger() -> None:
    """Verify the ledger and prove entries, from the database itself, without the server."""


@ledger.command()
@backend
@home
@click.option(
    "--since",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="CHECKPOINT",
    help="Read only entries after this signed checkpoint, which you trust.",
)
@click.option("--resume", is_flag=True, help="Go on where an interrupted run ended.")
@click.option(
    "--processes",
    type=click.IntRange(1, 256),
    metavar="N",
    help="How many read at once; default: one for each processor, of a long ledger.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.option(
    "--checkpoint", "files", multiple=True, type=click.Path(path_type=Path, exists=True),
    help="A checkpoint somebody kept, with FILE.tsr beside it; may be given again.",
)  # fmt: skip
@click.option("--offline", is_flag=True, help="Do not read the destinations of checkpoints.")
def verify(backend_store_uri: str, home: str | None, as_json: bool, **options: Any) -> None:
    """Prove the whole ledger against its signed head and every checkpoint kept anywhere.

    Reads the checkpoints of the database, of the home folder, of every destination and of each
    FILE, and says how far witnesses, time stamps and destinations hold the ledger. Exit code 3
    names what was edited, deleted, inserted, reordered, cut off, forked or rolled back; 7: a
    destination could not be read, and everything else verifies.

    \b
      mlflow-governance ledger verify --backend-store-uri postgresql+psycopg://…
      mlflow-governance ledger verify --since last-audit.checkpoint

    A run that is interrupted goes on with --resume, within a day: rows read before the
    interruption are not read again, and the report says so. With --since, entries before the
    checkpoint are not read either; that they led to it, and the ledger to its head, is proved.
    """  # fmt: skip
    from mlflow_governance.custody.ledger import ledger_keys
    from mlflow_governance.store.ledger_scan import Reading

    since, resume = options["since"], options["resume"]
    if since is not None and resume:
        raise InvalidRequest("give --since or --resume, not both")
    settings = config.load(config.home_folder(home))
    files = tuple(options["files"]) + ((since,) if since is not None else ())
    start = None
    with ledger_proofs.opened(backend_store_uri) as view:
        key = ledger_keys(settings).following(view.handovers())
        run = Run.new(key.newest.encode(), backend_store_uri)
        outside = Outside.look(settings, view, files, offline=options["offline"])
        if since is not None:
            start = _start(view, since.read_text("utf-8"), key)
        elif resume:
            unfinished = Unfinished.load(settings.home, run)
            run, start = unfinished.run, unfinished.tree
        follow = _Follow(settings.home, run, keep=since is None)
        with outside.named(), follow:
            reading = Reading(start, options["processes"], follow.more)
            report = view.verify(key, outside.notes, reading)
        anchored = outside.report(report.size)
    not_read = _not_read(report, since, run)
    if as_json:
        click.echo(json.dumps({**report.to_document(), "anchors": anchored.to_document()}))
    else:
        _print(report, not_read)
        for line in anchored.lines(settings.checkpoint_options):
            click.echo(line)
    outside.refuse_unread()


def _start(view: SqlLedger, note: str, key: LedgerKey) -> CompactRange:
    from mlflow_governance.ledger.part import PART

    size = checkpoint.verify(note, key).size
    # A whole number of parts; those between are read, and must lead to the checkpoint.
    return view.subtrees(size - size % PART)


def _not_read(report: LedgerReport, since: Path | None, run: Run) -> str:
    if since is not None and report.read_from:
        return f"entries before {report.read_from} were not read: {since.name} vouches for them"
    if report.read_from:
        return (
            f"entries before {report.read_from} were read by the interrupted run that began at "
            f"{run.began}, and not again"
        )
    return ""


def _print(report: LedgerReport, not_read: str) -> None:
    click.echo(
        f"the ledger verifies: {report.size} entries, root {report.root}, "
        f"{report.checkpoints} checkpoints"
    )
    if report.deleted:
        click.echo(f"{report.deleted:,} of them were deleted after their retention, as it says")
    if not_read:
        click.echo(not_read)


@dataclass
class _Follow:
    """Told how far a verification is: shows it, and keeps it for a run that is interrupted."""

    home: Path
    run: Run
    keep: bool
    _progress: Progress | None = None
    _tree: CompactRange = field(default_factory=CompactRange)
    _kept: float = field(default_factory=time.monotonic)

    def more(self, tree: CompactRange, size: int) -> None:
        """So much of it is verified."""
        from mlflow_governance.ledger.part import PART

        if self._progress is None:
            self._progress = Progress(size, "entries")
        self._progress.more(tree.size - self._tree.size)
        if tree.size % PART == 0:  # the last part is seldom whole
            self._tree = tree
        if self.keep and time.monotonic() - self._kept > _SECONDS:
            self._kept = time.monotonic()
            Unfinished(self.run, self._tree).save(self.home)

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """End: with an answer, after which there is nothing to go on with, or without one."""
        if self._progress is not None:
            self._progress.done()
        if not self.keep:
            return
        if kind is None or issubclass(kind, LedgerError):
            Unfinished.forget(self.home)
        elif self._tree.size:
            Unfinished(self.run, self._tree).save(self.home)
            click.echo(
                f"interrupted after {self._tree.size} entries; to go on: "
                "mlflow-governance ledger verify --resume",
                err=True,
            )


for _command in (
    ledger_proofs.prove,
    ledger_proofs.consistency,
    ledger_proofs.check,
    ledger_proofs.head,
    ledger_proofs.key,
    anchors,
    recover,
    export,
    verifier,
):
    ledger.add_command(_command)
