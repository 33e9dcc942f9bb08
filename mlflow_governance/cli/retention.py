"""``retention``: what of the record is past its time, and letting it go."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from mlflow_governance import config
from mlflow_governance.cli.history import backend, home, instant
from mlflow_governance.cli.operation import open_store, operator
from mlflow_governance.core import moment
from mlflow_governance.ledger.entry import read_entry
from mlflow_governance.workflows import retention as rules

if TYPE_CHECKING:
    from datetime import datetime

    from mlflow_governance.config import Settings
    from mlflow_governance.store.ledger import SqlLedger

_HOLDS = "none"


@click.group()
def retention() -> None:
    """How long the record is kept, and deleting what is past its time.

    Seven years by default; retention in config.yaml says otherwise and names legal holds:

    \b
    retention:
      years: 10
      holds: ["churn*"]

    To keep old entries outside the database, export them as often as you like; files that are
    full never change: mlflow-governance ledger export DIR
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
    holds = ", ".join(document["holds"]) or _HOLDS
    click.echo(f"kept for     {document['years']:g} years, legal holds: {holds}")
    click.echo(f"entries      {document['entries']:,}, oldest of {document['oldest'] or 'never'}")
    click.echo(f"deleted      {document['deleted']:,}")
    click.echo(f"could go     {document['could_go']:,} from before {document['before']}")
    if document["could_go"]:
        click.echo("             look at them: mlflow-governance retention expire --dry-run")


@retention.command()
@backend
@home
@click.option("--dry-run", is_flag=True, help="Say what would go, and change nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--reason", default="", help="Why, e.g. the number of a ticket; kept in the ledger.")
@click.option("--now", "now_text", hidden=True, help="Another moment than now, for a rehearsal.")
def expire(
    backend_store_uri: str, home: str | None, dry_run: bool, yes: bool, reason: str,
    now_text: str | None,
) -> None:  # fmt: skip
    """Delete what is past its retention and nothing rests on any more.

    That is what changed nothing (denied downloads, refused requests, starts …), and the whole
    history of versions that were deleted. Decisions and dossiers of living versions, moves of
    aliases, changes of policy, trust and keys, and erasures stay, however old.

    What goes leaves its hash behind: the ledger and every proof of the other entries verify as
    before. An entry says which are gone. Make an export first if you want to keep them elsewhere:
    mlflow-governance ledger export DIR

    \b
    mlflow-governance retention expire --dry-run
    mlflow-governance retention expire --reason "retention review 2033"
    """
    now = instant(now_text, moment.now()) or moment.now() if dry_run else moment.now()
    with _Ledger(backend_store_uri, home) as ledger:
        found = ledger.passing(now)
        kinds = Counter(ledger.act(entry.position) for entry in found)
        for act, count in sorted(kinds.items()):
            click.echo(f"{count:>10,}  {act}")
        before = moment.to_text(ledger.settings.retention.before(now))
        click.echo(f"{len(found):>10,}  entries from before {before}")
        if dry_run or not found:
            return
        if not yes:
            click.confirm("Delete them for ever?", abort=True)
        store = open_store(ledger.settings, backend_store_uri)
        gone = rules.expire(store, found, ledger.settings.retention, operator(), now, reason)
    click.echo(f"{gone:,} entries are deleted; the ledger says which")
    click.echo("exports made before still hold them: remove those, and export anew")


class _Ledger:
    """The ledger of a database, verified before anything is judged by it."""

    def __init__(self, url: str, home: str | None) -> None:
        from mlflow_governance.store.ledger import SqlLedger
        from mlflow_governance.store.sessions import session_factory_for

        self.settings: Settings = config.load(config.home_folder(home))
        self._sessions = session_factory_for(url.removeprefix("governance+"))
        self._view: SqlLedger = SqlLedger(self._sessions)

    def __enter__(self) -> _Ledger:
        from mlflow_governance.bootstrap import ledger_key

        # Age is read from entries: of a ledger that does not verify it may be anything.
        self._view.verify(ledger_key(self.settings))
        return self

    def __exit__(self, *_: object) -> None:
        self._sessions.dispose()

    def passing(self, now: datetime) -> list[rules.Passing]:
        """The entries that may go."""
        terms = self.settings.retention
        rules.refuse_odd_clock(now, self._newest())
        before = terms.before(now)
        return list(rules.passing(self._entries(), self._entries(), before, terms, self._blocked()))

    def act(self, position: int) -> str:
        """What an entry is about."""
        ((_, data),) = self._view.entries(position, 1)
        return str(read_entry(data)["act"])

    def status(self, now: datetime) -> dict[str, Any]:
        """What ``retention status`` shows."""
        terms, count, oldest = self.settings.retention, 0, None
        for _, data in self._entries():
            count += 1
            oldest = oldest or read_entry(data)["at"]
        size = self._view.size()
        return {
            "years": terms.years,
            "holds": list(terms.holds),
            "entries": count,
            "deleted": size - count,
            "oldest": oldest,
            "before": moment.to_text(terms.before(now)),
            "could_go": len(self.passing(now)) if count else 0,
        }

    def _entries(self) -> Iterator[tuple[int, bytes]]:
        return self._view.entries()

    def _newest(self) -> datetime | None:
        size = self._view.size()
        for _, data in self._view.entries(max(0, size - 1), 1):
            return moment.parse(read_entry(data)["at"])
        return None

    def _blocked(self) -> frozenset[str]:
        from mlflow_governance.store.sessions import transaction
        from mlflow_governance.store.unit_of_work import SqlReading

        with transaction(self._sessions, read_only=True) as session:
            return frozenset(map(str, SqlReading(session).blocked_digests()))
