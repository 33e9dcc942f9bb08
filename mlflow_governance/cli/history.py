"""What the commands about recorded decisions share: which ones, from where, and how far it is."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import click

from mlflow_governance.core import moment
from mlflow_governance.core.dossier import Gate
from mlflow_governance.errors import InvalidRequest
from mlflow_governance.workflows.recorded import Scope

if TYPE_CHECKING:
    from mlflow_governance.store.spread import Job, Span

SINCE = "90d, 12h, 30m, 4w, a date or an instant."
"""Help of every ``--since``: what :func:`instant` reads."""

_PERIOD = re.compile(r"([0-9]{1,5})([mhdw])")
_MINUTES = {"m": 1, "h": 60, "d": 60 * 24, "w": 60 * 24 * 7}
_SECONDS = 0.2
_STALE_ROWS = 2000
_MARGIN = timedelta(days=1)
_SHOWN = 8

Command = TypeVar("Command", bound=Callable[..., object])

home = click.option("--home", default=None, help="Home folder of the installation.")
backend = click.option(
    "--backend-store-uri",
    default="sqlite:///mlflow.db",
    show_default=True,
    help="The database, as the server was given it.",
)


def scoped(command: Command) -> Command:
    """The options that say which decisions are looked at."""
    options = (
        click.option("--since", metavar="WHEN", help=SINCE),
        click.option("--until", metavar="WHEN", help="Before this; written in the same way."),
        click.option(
            "--gate", "gates", multiple=True, type=click.Choice([gate.value for gate in Gate]),
            help="Only this gate; may be repeated.",
        ),
        click.option("--model", default="*", metavar="GLOB", help="Only models of these names."),
        click.option(
            "--limit", type=click.IntRange(min=1), metavar="N",
            help="Only the newest N decisions (of these gates).",
        ),
        click.option(
            "--processes", type=click.IntRange(1, 256), metavar="N",
            help="How many at once; default: one for each processor.",
        ),
    )  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


@dataclass(frozen=True)
class Wanted:
    """Which decisions of which database."""

    url: str
    scope: Scope
    gates: tuple[Gate, ...] = ()
    limit: int | None = None
    processes: int | None = None

    @classmethod
    def from_options(cls, url: str, options: dict[str, Any]) -> Wanted:
        """From what :func:`scoped` adds to a command.

        Raises:
            InvalidRequest: an instant that is none, or an end before its beginning.
        """
        now = moment.now()
        since, until = instant(options["since"], now), instant(options["until"], now)
        if since is not None and until is not None and since >= until:
            raise InvalidRequest("--until is not after --since")
        return cls(
            url.removeprefix("governance+"),
            Scope(since, until, options["model"]),
            tuple(Gate(gate) for gate in options["gates"]),
            options["limit"],
            options["processes"],
        )

    def to_document(self) -> dict[str, Any]:
        """What was asked for, as JSON."""
        scope = self.scope
        return {
            "since": moment.to_text(scope.since) if scope.since else None,
            "until": moment.to_text(scope.until) if scope.until else None,
            "model": scope.model,
            "gates": [gate.value for gate in self.gates],
            "limit": self.limit,
        }

    def span(self) -> Span:
        """The rows that may be among them."""
        from mlflow_governance.cli.operation import open_sessions
        from mlflow_governance.store.decisions import SqlDecisions
        from mlflow_governance.store.spread import Span

        sessions = open_sessions(self.url)
        try:
            decisions = SqlDecisions(sessions)
            after = decisions.newest(self.limit, self.gates) if self.limit else 0
            return Span(after, decisions.last(), self.gates)
        finally:
            sessions.dispose()


class Part(Protocol):
    """What was found in a part of the history."""

    looked: int
    newest: datetime | None


P = TypeVar("P", bound=Part)


def gather(wanted: Wanted, job: Job[P], add: Callable[[P], None]) -> None:
    """Do a job over the decisions that are wanted, on every processor, and add up what it finds.

    Parts come newest first. Rows have no time of their own, dossiers have; so it goes on until
    two thousand decisions in a row are older by a day than what is wanted.
    """
    from mlflow_governance.store.spread import Spread

    span = wanted.span()
    progress = Progress(span.last - span.after)
    old = 0
    parts = Spread(wanted.url, job, wanted.processes).over(span)
    for part in parts:
        add(part)
        progress.more(part.looked)
        old = old + part.looked if _is_old(part, wanted.scope.since) else 0
        if old >= _STALE_ROWS:
            break
    progress.done()


def _is_old(part: Part, since: datetime | None) -> bool:
    if part.newest is None:
        return part.looked == 0  # nothing is known of rows that cannot be read
    return since is not None and part.newest < since - _MARGIN


def instant(text: str | None, now: datetime) -> datetime | None:
    """``90d`` (or ``m``, ``h``, ``w``) before now, ``2026-08-01`` or an RFC 3339 instant.

    Raises:
        InvalidRequest: none of them.
    """
    if text is None:
        return None
    period = _PERIOD.fullmatch(text.strip())
    if period is not None:
        return now - timedelta(minutes=int(period[1]) * _MINUTES[period[2]])
    try:
        if re.fullmatch(r"\d{4}-\d\d-\d\d", text.strip()):
            return datetime.fromisoformat(text.strip()).replace(tzinfo=UTC)
        return moment.parse(text.strip())
    except (ValueError, InvalidRequest) as error:
        raise InvalidRequest(
            f"not a moment: {text[:60]!r}",
            advice="Write 90d, 12h, 30m, 4w, 2026-08-01 or 2026-08-01T12:00:00Z.",
        ) from error


@dataclass
class Progress:
    """One line that is written over, and only where a person looks."""

    total: int
    what: str = "decisions"
    _seen: int = 0
    _told: float = field(default_factory=time.monotonic)
    _shown: bool = False

    def more(self, count: int) -> None:
        """So many more are done."""
        self.at(self._seen + count)

    def at(self, seen: int) -> None:
        """So many are done."""
        self._seen = seen
        if time.monotonic() - self._told > _SECONDS and sys.stderr.isatty():
            self._told, self._shown = time.monotonic(), True
            click.echo(
                f"\r{self._seen:,} of at most {self.total:,} {self.what}", err=True, nl=False
            )

    def done(self) -> None:
        """Take the line away."""
        if self._shown:
            click.echo("\r" + " " * 60 + "\r", err=True, nl=False)


def print_alarms(document: Mapping[str, Any]) -> None:
    """Name what is not as it was stored, if anything."""
    if document["corrupt"]:
        click.echo(f"\nINTEGRITY ALARM: {document['corrupt']:,} decisions are not as stored")
        for alarm in document["alarms"]:
            click.echo(f"  {alarm}")
        click.echo("  find out what else was changed: mlflow-governance validate")


def counted(models: Iterable[tuple[str, int]]) -> str:
    """``churn 5, fraud 3 and 2 more``."""
    ordered = sorted(models, key=lambda item: (-item[1], item[0]))
    more = f" and {len(ordered) - _SHOWN} more" if len(ordered) > _SHOWN else ""
    return ", ".join(f"{name} {count:,}" for name, count in ordered[:_SHOWN]) + more
