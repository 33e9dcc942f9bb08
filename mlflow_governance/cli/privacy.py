"""``privacy``: what is kept about a person, and its erasure."""

from __future__ import annotations

import configparser
import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlflow_governance import config
from mlflow_governance.cli.history import backend, home
from mlflow_governance.cli.operation import open_store, operator
from mlflow_governance.core import moment
from mlflow_governance.core.person import Person
from mlflow_governance.errors import (
    ConfigurationError,
    Conflict,
    InvalidRequest,
    NotFound,
    VerificationError,
)

if TYPE_CHECKING:
    from mlflow_governance.config import Settings
    from mlflow_governance.workflows.privacy import Erased, Erasure, Trace

_OUTSIDE = (
    "not within reach of this command: backups, archived write-ahead logs and replicas of the "
    "database, logs of other programs, and what receivers of events and bundles were sent before"
)


@click.group()
def privacy() -> None:
    """Show what is kept about a person, or erase it, on the registry's host.

    A person is named by their login, in any spelling. --also names what else they are called by,
    such as an e-mail address or a full name.
    """


def _also(command: Callable[..., None]) -> Callable[..., None]:
    return click.option(
        "--also", multiple=True, metavar="NAME",
        help="Another name of the same person; may be repeated.",
    )(command)  # fmt: skip


@privacy.command("export")
@click.argument("person")
@click.option("--output", "-o", type=click.Path(path_type=Path), help="File; default: print.")
@_also
@backend
@home
def export_command(
    person: str, output: Path | None, also: tuple[str, ...], backend_store_uri: str,
    home: str | None,
) -> None:  # fmt: skip
    """Write everything kept about PERSON as JSON (GDPR, articles 15 and 20).

    Of each value it says where it stands, why it is kept, since when and how long; then what the
    person did, from the ledger. The export is an act of its own: the ledger keeps a salted
    commitment to whom it was about, and its digest.

    \b
    mlflow-governance privacy export ann --also ann@example.com -o ann.json

    It may name others, who approved beside them: look it over before it is handed out.
    """
    from mlflow_governance.workflows.privacy import export

    if output is not None and output.exists():
        raise InvalidRequest(f"{output} is there already", advice="Name another file: -o FILE")
    settings = config.load(config.home_folder(home))
    store = open_store(settings, backend_store_uri)
    document = export(store, Person.known_as(person, also), operator(), clock=moment.now)
    text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    if output is None:
        click.echo(text, nl=False)
        return
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    values = sum(len(section["values"]) for section in document["kept"])
    click.echo(f"{output}: {values} values, {len(document['acts'])} acts")


@privacy.command("erase")
@click.argument("person")
@click.option("--reason", required=True, help="Why, without the name: the request's number.")
@click.option("--dry-run", is_flag=True, help="Show what would go and what would stay; do nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
@_also
@backend
@home
def erase_command(
    person: str, also: tuple[str, ...], backend_store_uri: str, home: str | None, **options: Any
) -> None:
    """Erase PERSON: one random pseudonym takes their place everywhere.

    Who submitted, asked and approved stays distinguishable, their own words are gone, and the
    ledger keeps proving all of it: the erasure is an entry itself, which commits to what was
    replaced and does not say whom. Releases that name them are signed again. Then the files of the
    database are rewritten, because freed space still holds what stood there, and every table is
    searched for what is left.

    \b
    mlflow-governance users remove ann
    mlflow-governance privacy erase ann --reason "request 2026-17" --dry-run
    mlflow-governance privacy erase ann --reason "request 2026-17"

    Refused while the person has a login, while a legal hold names them, and for what is younger
    than the setting keep_days. If it was interrupted, repeat it. A login used again later is a new
    person to the registry: give it to somebody else, or not before what they submitted is decided.

    Exit code 3: something still names them, such as evidence that others signed; each is shown.
    What only may name them, where the name is part of another word, is counted for you to look at.
    """
    from mlflow_governance.bootstrap import StatementSigner
    from mlflow_governance.custody.registry import registry_key
    from mlflow_governance.workflows.privacy import Erasure, Office, erase, rehearse

    settings = config.load(config.home_folder(home))
    erasure = Erasure(Person.known_as(person, also), operator(), options["reason"])
    places = _Places.of(settings, backend_store_uri)
    _refuse_login(places, erasure.person)
    office = Office(
        open_store(settings, backend_store_uri),
        StatementSigner(registry_key(settings)),
        holds=settings.privacy,
    )
    if options["dry_run"]:
        found = rehearse(office, erasure)
        _print(_Outcome(found, found.remains, trial=True), options["as_json"])
        return
    done: Erased | None = None
    try:
        done = erase(office, erasure)
    except NotFound:
        # Perhaps it was interrupted before the files were clean, or all that is left is not ours.
        if not places.waits() and not places.traces(erasure.person):
            raise
    outcome = places.finish(erasure, done, _in_files(settings, erasure.person))
    _print(outcome, options["as_json"])
    if outcome.remains:
        sys.exit(VerificationError.exit_code)


@dataclass(frozen=True)
class _Outcome:
    """What is told at the end. ``done`` is None where an earlier erasure was finished."""

    done: Erased | None
    remains: tuple[Trace, ...] = ()
    left: tuple[str, ...] = ()
    perhaps: tuple[Trace, ...] = ()
    trial: bool = False

    def to_document(self) -> dict[str, Any]:
        found = self.done
        return {
            "dry_run": self.trial,
            "entry": found.index if found else None,
            "pseudonym": found.pseudonym if found and not self.trial else None,
            "replaced": dict(sorted(found.replaced.rows.items())) if found else {},
            "documents": found.replaced.documents if found else 0,
            "unsalted": found.replaced.unsalted if found else 0,
            "remains": [
                {"where": place, "values": number, "mend": _mend(place)}
                for place, number in _counted(self.remains)
            ],
            "perhaps": [
                {"where": place, "values": number} for place, number in _counted(self.perhaps)
            ],
            "left_to_do": list(self.left),
            "outside": _OUTSIDE,
        }


@dataclass(frozen=True)
class _Places:
    """The databases of an installation: the registry's, and basic-auth's if that is another."""

    registry: str
    auth: str | None

    @classmethod
    def of(cls, settings: Settings, url: str) -> _Places:
        registry = url.removeprefix("governance+")
        if settings.auth != "basic":
            return cls(registry, None)
        parser = configparser.RawConfigParser()
        parser.read(settings.auth_config, "utf-8")
        auth = parser.get("mlflow", "database_uri", fallback="").replace("%%", "%")
        if not auth:
            raise ConfigurationError(
                f"{settings.auth_config} names no database of logins, so nobody can tell whether "
                "the person still has one",
                advice="Name the home folder of the server: --home DIR",
            )
        return cls(registry, auth)

    @property
    def all(self) -> list[str]:
        """Each once."""
        return list(dict.fromkeys(url for url in (self.registry, self.auth) if url))

    def logins(self) -> list[str]:
        """Every login there is."""
        import sqlalchemy as sa

        from mlflow_governance.store.sessions import session_factory_for, transaction

        if self.auth is None:
            return []
        sessions = session_factory_for(self.auth)
        try:
            with transaction(sessions, read_only=True) as session:
                names = sa.select(sa.column("username", sa.String)).select_from(sa.table("users"))
                return list(session.connection().execute(names).scalars())
        finally:
            sessions.dispose()

    def traces(self, person: Person) -> list[Trace]:
        """Whatever names somebody, in each of them."""
        from mlflow_governance.store.scan import traces
        from mlflow_governance.store.sessions import session_factory_for, transaction

        found: list[Trace] = []
        for url in self.all:
            sessions = session_factory_for(url)
            with transaction(sessions, read_only=True) as session:
                found += traces(session.connection(), person)
            sessions.dispose()
        return found

    def waits(self) -> bool:
        """True while files were not cleaned after an erasure."""
        from mlflow_governance.store.scrub import waits
        from mlflow_governance.store.sessions import session_factory_for, transaction

        sessions = session_factory_for(self.registry)
        try:
            with transaction(sessions, read_only=True) as session:
                return waits(session.connection())
        finally:
            sessions.dispose()

    def finish(self, erasure: Erasure, done: Erased | None, files: list[str]) -> _Outcome:
        """Clean the files of the databases, and look for what is left."""
        from mlflow_governance.store.scrub import mark_cleaned, scrub
        from mlflow_governance.store.sessions import session_factory_for, transaction
        from mlflow_governance.store.task_queue import waiting_versions
        from mlflow_governance.workflows.record import MIRROR

        left = files + [sentence for url in self.all for sentence in scrub(url)]
        sessions = session_factory_for(self.registry)
        with transaction(sessions, read_only=False) as session:
            mark_cleaned(session.connection(), moment.now())
            left += _to_write(waiting_versions(session.connection(), MIRROR))
        sessions.dispose()
        sure = self.traces(erasure.person)
        known = {_place(trace) for trace in sure}
        loose = self.traces(replace(erasure.person, loose=True))
        perhaps = tuple(trace for trace in loose if _place(trace) not in known)
        return _Outcome(done, tuple(sure), tuple(left), perhaps)


def _refuse_login(places: _Places, person: Person) -> None:
    for login in places.logins():
        if person.is_(login):
            raise Conflict(
                f"{login} can still log in, and would be named again with their next act",
                advice=f"mlflow-governance users remove {login}",
            )


def _in_files(settings: Settings, person: Person) -> list[str]:
    """What the operator's own files say of them; the registry changes none of these."""
    return [
        f"{path} names them: call them otherwise there, by function"
        for path in (settings.trust_file, settings.home / "config.yaml")
        if path.is_file() and person.in_(path.read_text("utf-8", "replace"))
    ]


def _to_write(versions: int) -> list[str]:
    if not versions:
        return []
    return [
        f"files beside {versions} version{'s' * (versions > 1)} have still to be written anew and "
        "may name them until then: the server's worker does it, let it run"
    ]


def _place(trace: Trace) -> tuple[object, ...]:
    return (trace.table, trace.column, json.dumps(dict(trace.key)), trace.path)


def _counted(found: Iterable[Trace]) -> list[tuple[str, int]]:
    # Evidence by the version and path it hangs on, the rest by table and column.
    counts: Counter[str] = Counter()
    for trace in found:
        owners = trace.key.get("of") or [""]
        counts[f"{trace.table}.{trace.column} {owners[0]}".strip()] += 1
    return sorted(counts.items())


_OURS = "the registry's own: change nothing there; see the values: privacy export PERSON"
_MENDS = {
    "governance_blobs": "signed or written by others: withdraw what rests on it, or keep it",
    "governance_ledger_entries": "an entry never changes: it goes when its time of keeping is over",
    "governance_files": "a file name somebody chose; it stays with the version",
    "governance_inspections": "a name in the model's own files; it stays with the model",
    "governance_private": "another login of theirs? name it, too: --also LOGIN",
    "model_versions": "MlflowClient().update_model_version(name, version, description)",
    "registered_models": "MlflowClient().update_registered_model(name, description)",
    "users": "mlflow-governance users remove LOGIN",
}


def _mend(place: str) -> str:
    table = place.partition(".")[0]
    ours = table.startswith("governance_")
    return _MENDS.get(table, _OURS if ours else "change it in MLflow, where it was written")


def _print(outcome: _Outcome, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(outcome.to_document(), indent=2, ensure_ascii=False))
        return
    _print_replaced(outcome)
    if outcome.remains:
        click.echo("still naming them:")
        for place, number in _counted(outcome.remains):
            click.echo(f"  {number:>6}  {place}\n          {_mend(place)}")
    else:
        click.echo("no table names them any more")
    if outcome.perhaps:
        click.echo("perhaps naming them, where their name is part of another word; look there:")
        for place, number in _counted(outcome.perhaps):
            click.echo(f"  {number:>6}  {place}")
    for sentence in outcome.left:
        click.echo(f"left to do: {sentence}")
    click.echo(_OUTSIDE)


def _print_replaced(outcome: _Outcome) -> None:
    done = outcome.done
    if done is not None and outcome.trial:
        click.echo("nothing was changed; erasing would replace")
    elif done is not None:
        click.echo(f"erased in ledger entry {done.index}; {done.pseudonym} stands in their place")
    else:
        click.echo("nothing was left to replace; the files were cleaned")
    for place, number in sorted(done.replaced.rows.items()) if done else ():
        click.echo(f"  {number:>6}  {place}")
    if done and done.replaced.unsalted:
        click.echo(
            f"  {done.replaced.unsalted} documents were recorded without a salt: whoever has them "
            "redacted and the ledger could confirm a guess at the name"
        )
