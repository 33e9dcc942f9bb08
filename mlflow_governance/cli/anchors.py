"""``ledger anchors``, ``ledger recover``, and what others say of checkpoints."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlflow_governance import config
from mlflow_governance.bootstrap import ledger_key
from mlflow_governance.cli.operation import open_sessions, open_store, operator
from mlflow_governance.core import moment
from mlflow_governance.core.event import Act, Event
from mlflow_governance.custody import ledger as custody
from mlflow_governance.errors import (
    Conflict,
    GovernanceError,
    InvalidRequest,
    LedgerError,
    Unavailable,
)
from mlflow_governance.ledger import checkpoint as checkpoints
from mlflow_governance.ledger import recovery
from mlflow_governance.ledger.entry import read_entry
from mlflow_governance.ledger.merkle import leaf_hash
from mlflow_governance.outbox import sightings
from mlflow_governance.outbox.anchor_report import (
    DATABASE,
    AnchorReport,
    cosigned_at,
    report_of,
    stamped_at,
)
from mlflow_governance.outbox.anchoring import GATHERING, STAMPING, witness_place
from mlflow_governance.outbox.checkpoint_options import HOME
from mlflow_governance.outbox.destinations import (
    Destination,
    destination_of,
    home_folder,
    read_file,
)
from mlflow_governance.outbox.sightings import Sighting

if TYPE_CHECKING:
    from mlflow_governance.config import Settings
    from mlflow_governance.ledger.checkpoint import Checkpoint
    from mlflow_governance.ledger.note import LedgerKey
    from mlflow_governance.store.checkpoint_book import SqlCheckpointBook
    from mlflow_governance.store.ledger import SqlLedger
    from mlflow_governance.workflows.checkpoints import Kept

_home = click.option("--home", default=None, help="Home folder of the installation.")
_backend = click.option(
    "--backend-store-uri", default="sqlite:///mlflow.db", show_default=True, help="The database."
)
_files = click.option(
    "--checkpoint", "files", multiple=True, type=click.Path(path_type=Path, exists=True),
    help="A checkpoint somebody kept, with FILE.tsr beside it; may be given again.",
)  # fmt: skip


@dataclass
class Outside:
    """Everything kept of a ledger's checkpoints, inside and outside, and by whom."""

    settings: Settings
    ledger: SqlLedger
    key: LedgerKey
    seen: sightings.Sightings = field(default_factory=sightings.Sightings)

    @classmethod
    def look(
        cls, settings: Settings, ledger: SqlLedger, files: Sequence[Path] = (), *, offline: bool
    ) -> Outside:
        """Read the home folder, the files, the database and, unless offline, every destination.

        Raises:
            LedgerError: a checkpoint of the home folder or a file is not of this ledger.
            ConfigurationError: a file cannot be read, or the ledger's key.
        """
        key = ledger_key(settings)
        away = [] if offline else _destinations(settings)
        made = cls(settings, ledger, key, sightings.look(away, key, 0))
        folder = settings.checkpoint_folder
        kept = list(home_folder(folder).seen(0)) if folder.is_dir() else []
        made._take(HOME, kept)
        for path in files:
            made._take(str(path), [read_file(path)])
        made._take(DATABASE, _book(ledger).all())
        return made

    @property
    def notes(self) -> list[str]:
        """What the ledger has to continue, besides the checkpoints in the database."""
        return list({one.kept.note: None for one in self.seen.found if one.place != DATABASE})

    @contextmanager
    def named(self) -> Iterator[None]:
        """Say of a failed verification which checkpoint, where, vouched for by whom, shows it."""
        try:
            yield
        except LedgerError as error:
            try:
                wrong = sightings.contradictions(self.seen.found, self.ledger, self.key)
            except GovernanceError:  # nothing can be held against a database like that
                raise error from None
            told = "".join(f"\n  {self._told(one)}" for one, _ in wrong[:20])
            raise LedgerError(error.message + told, advice=error.advice, **error.details) from error

    def report(self, size: int) -> AnchorReport:
        """How far the ledger, which verifies, is anchored."""
        recovered = self.ledger.recoveries(self.key)
        lost = {one.note for one in recovered}
        standing = [
            one for one in self.seen.found if recovery.note_digest(one.kept.note) not in lost
        ]
        made = report_of(standing, size, self.settings.checkpoint_options)
        return replace(
            made, recovered=recovered, unread=self.seen.unread, foreign=self.seen.foreign
        )

    def refuse_unread(self) -> None:
        """End with an error where a destination was not held against the ledger.

        Raises:
            Unavailable: there is one.
        """
        if self.seen.unread:
            raise Unavailable(
                f"the ledger was not compared with {', '.join(self.seen.unread)}",
                advice="Ask again, or leave every destination out: --offline",
            )

    def _take(self, place: str, kept: Iterable[Kept]) -> None:
        for one in kept:
            try:
                signed = checkpoints.verify(one.note, self.key)
            except LedgerError as error:
                raise LedgerError(f"a checkpoint in {place}: {error.message}") from error
            self.seen.found.append(Sighting(place, one, signed))

    def _told(self, one: Sighting) -> str:
        options = self.settings.checkpoint_options
        told = f"{one.checkpoint.size} entries, root {one.checkpoint.root.hex()}, in {one.place}"
        if (at := cosigned_at(one.kept, options)) is not None:
            told += f", cosigned by a quorum of witnesses on {moment.to_text(at)}"
        if (at := stamped_at(one.kept, options.timestamping)) is not None:
            told += f", stamped on {moment.to_text(at)}"
        return told


@click.command()
@_backend
@_home
def anchors(backend_store_uri: str, home: str | None) -> None:
    """Say how far checkpoints have got: destinations, witnesses, time stamps.

    Asks the database only; `mlflow-governance ledger verify` reads the destinations themselves.
    Exit code 3 when a place has seen another ledger than this one.

    \b
    mlflow-governance ledger anchors --backend-store-uri postgresql+psycopg://…/mlflow
    """
    settings = config.load(config.home_folder(home))
    ledger = _ledger(backend_store_uri)
    click.echo(f"ledger key: {custody.ledger_keys(settings).newest.encode()}")
    alarms = stale = 0
    for state, place, told in standing(settings, ledger):
        alarms += state == "ALARM"
        stale += state == "stale"
        click.echo(f"{state:<8} {place}: {told}")
    if stale:
        click.echo("a worker takes checkpoints there; does one run? mlflow-governance doctor")
    if alarms:
        raise LedgerError(
            f"{alarms} places have seen another ledger",
            advice=f"{sightings.WAY_OUT}\nA witness goes on refusing a ledger that lost entries "
            "until its own people run: mlflow-governance witness forget",
        )


@click.command()
@click.option("--reason", required=True, help="What was lost and why; everybody will read it.")
@_files
@_backend
@_home
def recover(reason: str, files: tuple[Path, ...], backend_store_uri: str, home: str | None) -> None:
    """Acknowledge that entries are lost for ever, so that the registry can go on.

    For a database that had to be restored from an older backup. Every checkpoint that no longer
    holds, in the home folder, a destination or a FILE, becomes one entry: it names the checkpoint
    and where the ledger goes on. Nothing that was lost comes back, and every later verification
    names the recovery. Stop every server first; afterwards ask the witnesses' people to run
    `mlflow-governance witness forget`.

    \b
    mlflow-governance ledger recover --reason "disk failed; restored the backup of 2026-11-20"
    """
    if not reason.strip():
        raise InvalidRequest("a recovery has a reason")
    settings = config.load(config.home_folder(home))
    ledger = _ledger(backend_store_uri)
    outside = Outside.look(settings, ledger, files, offline=False)
    for place, why in outside.seen.unread.items():
        click.echo(f"not read, and not acknowledged: {place}: {why}", err=True)
    head = _head(ledger, outside.key)
    lost = _lost(outside, head)
    if not lost:
        raise InvalidRequest("nothing is lost: the ledger continues every checkpoint that was read")
    _acknowledge(settings, backend_store_uri, (lost, head), reason)
    for note in lost:
        gone = checkpoints.parse(note)
        click.echo(f"acknowledged as lost: {gone.size} entries, root {gone.root.hex()}")
    click.echo(f"the ledger goes on at {head.size if head else 0} entries")
    for witness in settings.checkpoint_options.witnesses:
        click.echo(f"next: ask the people of {witness.key.name}: mlflow-governance witness forget")
    click.echo("next: start the servers, and revoke again what was revoked since")


def standing(settings: Settings, ledger: SqlLedger) -> Iterator[tuple[str, str, str]]:
    """How each place stands: ``ok``, ``stale`` or ``ALARM``, its name, and more."""
    note = ledger.head()
    size = checkpoints.parse(note).size if note else 0
    rows = {place.name: place for place in _book(ledger).places()}
    for name, shown in _expected(settings).items():
        place = rows.get(name)
        if place is not None and place.alarm:
            yield "ALARM", shown, place.alarm
            continue
        has = place.size if place is not None else 0
        told = f"has {has} of {size} entries"
        if place is not None and place.last_error:
            told += f"; {place.failures} failures: {place.last_error}"
        late = has < size and _age(ledger, has) > settings.checkpoint_options.stale_minutes * 60
        yield ("stale" if late else "ok"), shown, told


def refuse_rollback(settings: Settings, ledger: SqlLedger) -> dict[str, str]:
    """Hold a database against every place that can be read; returns those that cannot.

    Raises:
        LedgerError: it is older than, or another than, what was signed.
    """
    places = [home_folder(settings.checkpoint_folder), *_destinations(settings)]
    return sightings.require_current(places, ledger, ledger_key(settings)).unread


def _expected(settings: Settings) -> dict[str, str]:
    options = settings.checkpoint_options
    names = {GATHERING: "home folder"}
    names |= {one.name: one.name for one in options.destinations}
    names |= {witness_place(one.key): f"witness {one.key.name}" for one in options.witnesses}
    if options.timestamping is not None:
        names[STAMPING] = f"time stamps of {options.timestamping.url}"
    return names


def _age(ledger: SqlLedger, index: int) -> float:
    for _, data in ledger.entries(index, 1):
        return (moment.now() - moment.parse(read_entry(data)["at"])) / timedelta(seconds=1)
    return 0.0


def _lost(outside: Outside, head: Checkpoint | None) -> list[str]:
    seen = [one.checkpoint for one in outside.seen.found]
    size = outside.ledger.size()
    stored = outside.ledger.stored(0, size)
    leaves = (leaf_hash(data) if data else leaf for _, data, leaf in stored)
    wrong = set(recovery.lost_among([*seen, *([head] if head else [])], head, leaves))
    if head in wrong:
        raise LedgerError(
            "the ledger itself does not verify; a recovery is about lost entries only",
            advice="Run: mlflow-governance ledger verify",
        )
    known = {one.note for one in outside.ledger.recoveries(outside.key)}
    found = {
        recovery.note_digest(one.kept.note): one.kept.note
        for one in outside.seen.found
        if one.checkpoint in wrong
    }
    kept = [note for name, note in found.items() if name not in known]
    return sorted(kept, key=lambda note: checkpoints.parse(note).size)


def _acknowledge(
    settings: Settings, url: str, what: tuple[list[str], Checkpoint | None], reason: str
) -> None:
    lost, head = what
    person, at = operator().person, moment.now()
    with open_store(settings, url).begin() as uow:
        if uow.ledger_size() != (head.size if head else 0):
            raise Conflict("the ledger grew meanwhile", advice="Stop every server, then repeat.")
        for note in lost:
            facts = recovery.facts_of(note, head)
            uow.record(Event(Act.LEDGER_RECOVERED, person, at, reason=reason.strip(), facts=facts))


def _head(ledger: SqlLedger, key: LedgerKey) -> Checkpoint | None:
    note = ledger.head()
    return checkpoints.verify(note, key) if note else None


def _destinations(settings: Settings) -> list[Destination]:
    return [destination_of(one) for one in settings.checkpoint_options.destinations]


def _ledger(url: str) -> SqlLedger:
    from mlflow_governance.store.ledger import SqlLedger

    return SqlLedger(open_sessions(url))


def _book(ledger: SqlLedger) -> SqlCheckpointBook:
    from mlflow_governance.store.checkpoint_book import SqlCheckpointBook

    return SqlCheckpointBook(ledger.sessions)
