"""``retention``: what of the record is past its time, and letting it go."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from mlflow_governance import config
from mlflow_governance.cli.history import backend, home, instant
from mlflow_governance.cli.operation import open_sessions, open_store, operator
from mlflow_governance.core import moment
from mlflow_governance.workflows.retention import Review
from mlflow_governance.workflows.retention import expire as let_go

if TYPE_CHECKING:
    from datetime import datetime

    from mlflow_governance.config import Settings
    from mlflow_governance.store.ledger import SqlLedger

_LOOK = "mlflow-governance retention expire --dry-run"


@click.group()
def retention() -> None:
    """How long the record is kept, and deleting what is past its time.

    Seven years by default; retention in config.yaml says otherwise and names legal holds, here of
    the models churn… and of the whole workspace team-a:

    \b
    retention:
      years: 10
      holds: ["churn*", "team-a:*"]
      events_days: 30     # deliveries to webhook receivers, for outbox replay

    To keep old entries outside the database, export the ledger as often as you like: files that
    are full never change, and prove themselves without the database. They hold no name, so they
    never have to be looked through for one. Decisions and what they rest on, which name people,
    leave the registry as the evidence of a period.

    \b
    mlflow-governance ledger export /archive/ledger
    mlflow-governance evidence --period 2026-01-01..2026-04-01 -o 2026-1.zip
    """


@retention.command()
@backend
@home
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def status(backend_store_uri: str, home: str | None, as_json: bool) -> None:
    """Show what is kept, since when, and how much of it could go today."""
    with _Ledger(backend_store_uri, home) as ledger:
        document = ledger.status(moment.now())
    if as_json:
        click.echo(json.dumps(document))
        return
    holds = ", ".join(document["holds"]) or "none"
    click.echo(f"kept for     {document['years']:g} years, legal holds: {holds}")
    click.echo(
        f"entries      {document['entries']:,}, the oldest of {document['oldest'] or 'never'}"
    )
    click.echo(f"deleted      {document['deleted']:,}")
    click.echo(f"could go     {document['could_go']:,} from before {document['before']}")
    for hold in document["unused_holds"]:
        click.echo(f"warning      no model of this ledger is named by the hold {hold}")
    if document["uncounted_days"]:
        click.echo(
            f"warning      {document['uncounted_days']:,} days passed in pauses of more than 60 "
            "days between two\n             entries; they make nothing older: a clock could have "
            "been wrong"
        )
    if document["could_go"]:
        click.echo(f"             look at them: {_LOOK}")


@retention.command()
@backend
@home
@click.option("--dry-run", is_flag=True, help="Say what would go, and change nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--reason", default="", help="Why, e.g. the number of a ticket; kept in the ledger.")
@click.option(
    "--as-if", "now_text", metavar="WHEN",
    help="With --dry-run: what would go at a later moment, such as 2034-01-01.",
)  # fmt: skip
def expire(  # noqa: PLR0913  (one for each option)
    backend_store_uri: str,
    home: str | None,
    dry_run: bool,
    yes: bool,
    reason: str,
    now_text: str | None,
) -> None:
    """Delete what is past its retention and nothing rests on any more.

    That is what changed nothing (denied downloads, refused requests, starts …), and the whole
    history of versions that were deleted. Decisions and dossiers of living versions, moves of
    aliases, changes of policy, trust and keys, erasures and the newest start stay, however old; so
    does whatever a legal hold names.

    What goes leaves its hash behind: the ledger and every proof of the other entries verify as
    before. An entry says which are gone. Make an export first if you want to keep them elsewhere:
    mlflow-governance ledger export DIR

    A server may run meanwhile. Interrupted, it has deleted what the ledger says it has; give the
    command again, and it goes on. Age is what the ledger shows: a clock that is years ahead makes
    nothing old, not even by entries it dated.

    \b
    mlflow-governance retention expire --dry-run
    mlflow-governance retention expire --reason "retention review 2033"
    """
    if now_text and not dry_run:
        raise click.UsageError("--as-if goes with --dry-run: nothing is deleted before its time")
    with _Ledger(backend_store_uri, home) as ledger:
        review = ledger.review(instant(now_text, moment.now()) or moment.now(), as_if=now_text)
        count = _show(ledger, review)
        if not count:
            click.echo("nothing is past its time, so nothing is deleted")
        if dry_run or not count:
            return
        if not yes:
            click.confirm("Delete them for ever?", abort=True)
            review = ledger.review(moment.now())  # while somebody thought, others went on
        store = open_store(ledger.settings, backend_store_uri)
        gone = let_go(store, review, review.groups(ledger.entries()), operator(), reason)
        ledger.clean()
    click.echo(f"{gone:,} entries are deleted; the ledger says which")
    click.echo(
        "exports that were made before still have them, without names; they verify as before"
    )


def _show(ledger: _Ledger, review: Review) -> int:
    kinds = Counter(one.act for group in review.groups(ledger.entries()) for one in group)
    for act, count in sorted(kinds.items()):
        click.echo(f"{count:>10,}  {act}")
    click.echo(f"{kinds.total():>10,}  entries from before {moment.to_text(review.before)}")
    return kinds.total()


class _Ledger:
    """The ledger of a database, verified before anything is judged by it."""

    def __init__(self, url: str, home: str | None) -> None:
        from mlflow_governance.store.ledger import SqlLedger

        self.settings: Settings = config.load(config.home_folder(home))
        self._sessions = open_sessions(url)
        self._view: SqlLedger = SqlLedger(self._sessions)

    def __enter__(self) -> _Ledger:
        from mlflow_governance.custody.ledger import ledger_keys

        # Age is read from entries: of a ledger that does not verify it may be anything.
        keys = ledger_keys(self.settings).following(self._view.handovers())
        if self._view.head():
            self._view.verify(keys, self._exported())
        return self

    def __exit__(self, *_: object) -> None:
        self._sessions.dispose()

    def review(self, now: datetime, as_if: str | None = None) -> Review:
        """What may go; ``as_if`` it were that later moment."""
        review = Review(self.settings.retention, now, self._blocked(), certain=bool(as_if))
        return review.read(self.entries())

    def entries(self) -> Iterator[tuple[int, bytes]]:
        """Every entry that was not deleted."""
        return self._view.entries()

    def clean(self) -> None:
        """Have the database forget what was deleted."""
        from mlflow_governance.store.retention import clean

        clean(self._sessions)

    def status(self, now: datetime) -> dict[str, Any]:
        """What ``retention status`` shows."""
        review = self.review(now)
        return {
            "years": review.retention.years,
            "holds": list(review.retention.holds),
            "unused_holds": list(review.unused),
            "entries": review.entries,
            "deleted": self._view.size() - review.entries,
            "oldest": review.oldest or None,
            "before": moment.to_text(review.before),
            "could_go": sum(map(len, review.groups(self.entries()))),
            "uncounted_days": review.uncounted // timedelta(days=1),
        }

    def _exported(self) -> list[str]:
        folder = self.settings.checkpoint_folder
        return [path.read_text("utf-8") for path in sorted(folder.glob("*.checkpoint"))]

    def _blocked(self) -> frozenset[str]:
        from mlflow_governance.store.sessions import transaction
        from mlflow_governance.store.unit_of_work import SqlReading

        with transaction(self._sessions, read_only=True) as session:
            return frozenset(map(str, SqlReading(session).blocked_digests()))
