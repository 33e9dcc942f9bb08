"""``outbox``: what still has to be told, and telling it again."""

from __future__ import annotations

import click

from mlflow_governance.cli.operation import open_sessions
from mlflow_governance.errors import InvalidRequest, NotFound

_backend = click.option(
    "--backend-store-uri", default="sqlite:///mlflow.db", show_default=True, help="The database."
)


@click.group()
def outbox() -> None:
    """Look at the events on their way to webhook receivers, in the database itself."""


@outbox.command()
@_backend
def status(backend_store_uri: str) -> None:
    """Count what waits and what was given up, by receiver."""
    from mlflow_governance.store.outbox_queue import OutboxQueue

    counts = OutboxQueue(open_sessions(backend_store_uri)).pending_counts()
    for target, states in sorted(counts.items()):
        told = ", ".join(f"{number} {state}" for state, number in sorted(states.items()))
        click.echo(f"{target}: {told}")
    if not counts:
        click.echo("nothing waits; who is told is said under webhooks in config.yaml")


@outbox.command()
@click.option("--event", "event_id", help="One event, by its id.")
@click.option("--target", help="Everything a receiver was sent.")
@_backend
def replay(event_id: str | None, target: str | None, backend_store_uri: str) -> None:
    """Send again, under the same webhook-id: a receiver that had it acts only once.

    Deliveries are kept for 30 days (retention: events_days in config.yaml), and those that were
    given up until they are delivered. A new receiver is told of as many days. What is older is in
    the ledger alone.

    \b
    mlflow-governance outbox replay --target siem
    """
    from mlflow_governance.store.outbox_queue import OutboxQueue

    if not event_id and not target:
        raise InvalidRequest("nothing to replay was named", advice="Give --event or --target.")
    queue = OutboxQueue(open_sessions(backend_store_uri))
    count = queue.replay(event_id=event_id, target=target)
    if not count:
        raise NotFound(
            f"no delivery is kept of {event_id or target}",
            advice="config.yaml names the receivers, and how long events are kept (events_days).",
        )
    click.echo(f"{count} deliveries wait again")
