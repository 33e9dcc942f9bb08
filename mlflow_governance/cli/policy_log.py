"""``policy log``: the decisions in the database as records of OPA's decision log."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING

import click

from mlflow_governance import bootstrap, config
from mlflow_governance.cli import history
from mlflow_governance.cli.operation import open_sessions
from mlflow_governance.core import moment

if TYPE_CHECKING:
    from mlflow_governance.store.decision_feed import SqlDecisionFeed
    from mlflow_governance.workflows.queue import StoredDecision

_BATCH = 200
_POLL_SECONDS = 1.0


@click.command("log")
@click.option("--since", metavar="WHEN", help=history.SINCE)
@click.option("--follow", is_flag=True, help="Go on with what is decided from now on.")
@click.option("--status", is_flag=True, help="Say how far each sink of the decision log is.")
@history.backend
@history.home
def log(
    since: str | None, follow: bool, status: bool, backend_store_uri: str, home: str | None
) -> None:
    """Print recorded decisions in OPA's decision-log format, one JSON object a line.

    The same records, masked in the same way, that the setting decision_log of config.yaml sends
    to a file or an endpoint; people are pseudonyms unless the settings say otherwise. Permitted
    downloads are not recorded, so they are not here.

    \b
    Example: who was refused by the promote gate this week, and why
      mlflow-governance policy log --since 7d |
        jq 'select(.path == "registry/promote/decision" and .result.allow == false)
            | .result.reasons[].code'
    """
    from mlflow_governance.store.decision_feed import SqlDecisionFeed

    feed = SqlDecisionFeed(open_sessions(backend_store_uri))
    if status:
        _tell_places(feed)
        return
    _print(feed, home, history.instant(since, moment.now()), follow)


def _print(feed: SqlDecisionFeed, home: str | None, since: datetime | None, follow: bool) -> None:
    from mlflow_governance.outbox.decision_log import line_of, record_of

    settings = config.load(config.home_folder(home))
    bundle = bootstrap.load_bundle(settings)
    engine = bootstrap.policy_engine(settings, bundle)
    recorder = bootstrap.decision_recorder(settings, lambda: (engine, bundle.files))
    for stored in _decisions(feed, follow):
        if _is_since(stored, since):
            click.echo(line_of(record_of(recorder, stored)))


def _decisions(feed: SqlDecisionFeed, follow: bool) -> Iterator[StoredDecision]:
    position = 0
    while True:
        found = feed.after(position, _BATCH)
        yield from found
        if found:
            position = found[-1].position
        elif follow:
            time.sleep(_POLL_SECONDS)
        else:
            return


def _is_since(stored: StoredDecision, since: datetime | None) -> bool:
    # What was changed in the database is shown whenever it was made.
    if since is None or stored.dossier is None:
        return True
    return moment.parse(stored.dossier["now"]) >= since


def _tell_places(feed: SqlDecisionFeed) -> None:
    places = feed.places()
    for place in places:
        problem = f"; last error: {place.last_error}" if place.last_error else ""
        click.echo(f"{place.sink}: {place.waiting} waiting, {place.dropped} dropped{problem}")
    if not places:
        click.echo("no decision was ever shipped; the setting decision_log names where to")
