"""``advisories``: what is known of vulnerabilities, and what that means for what is handed out."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlflow_governance import config
from mlflow_governance.core import moment
from mlflow_governance.core.stage import Stage
from mlflow_governance.errors import ConfigurationError, Denied, NotFound

if TYPE_CHECKING:
    from mlflow_governance.config import Settings
    from mlflow_governance.evidence.advisory_index import Source
    from mlflow_governance.workflows.ports import Ports
    from mlflow_governance.workflows.rejudge import Review

_SECONDS = 2.0
"""Between two lines of progress; what takes less says nothing."""
_STALE_DAYS = 7
_WHAT = {
    "advisories": "advisories about PyPI packages",
    "kev": "vulnerabilities known to be exploited (KEV)",
    "epss": "probabilities of exploitation (EPSS)",
}
_home = click.option("--home", default=None, help="Home folder of the installation.")
_backend = click.option(
    "--backend-store-uri",
    default="sqlite:///mlflow.db",
    show_default=True,
    help="The database, as the server was given it.",
)
_json = click.option("--json", "as_json", is_flag=True, help="Print the whole answer as JSON.")
_file = click.Path(path_type=Path)


@click.group()
def advisories() -> None:
    """What is known of vulnerabilities: take it in, look at it, and judge again by it.

    Nothing here goes to the network: bring the files as your network allows. From OSV the archive
    of PyPI (all.zip), from CISA known_exploited_vulnerabilities.json, from FIRST
    epss_scores-current.csv.gz.
    """


@advisories.command()
@click.argument("archive", required=False, type=_file)
@click.option("--kev", type=_file, help="CISA's catalogue, known_exploited_vulnerabilities.json.")
@click.option("--epss", type=_file, help="FIRST's scores, epss_scores-….csv or .csv.gz.")
@click.option("--force", is_flag=True, help="Take what is older, or far less, than what is there.")
@_backend
@_home
def update(force: bool, backend_store_uri: str, home: str | None, **files: Path | None) -> None:
    """Take in ARCHIVE: a zip, a tar.gz or a folder of OSV documents (*.json).

    Everything is checked first; then the new index takes the place of the old one at once. A
    running server looks into it from then on. What is not named stays as it is. The ledger has
    an entry about it, so the server's database is needed.

    \b
    mlflow-governance advisories update all.zip
    mlflow-governance advisories update --epss epss_scores-current.csv.gz
    """
    from mlflow_governance.cli.advisories_record import recording
    from mlflow_governance.evidence.advisory_update import Offer
    from mlflow_governance.evidence.advisory_update import update as take_in

    settings = _installation(home)
    folder, told = settings.advisories, time.monotonic()

    def progress(done: int) -> None:
        nonlocal told
        if time.monotonic() - told > _SECONDS:
            told = time.monotonic()
            click.echo(f"{done} documents read", err=True)

    offer = Offer(**files)
    with recording(settings, backend_store_uri, offer, force=force) as record:
        changes = take_in(folder, offer, moment.now(), force=force, progress=progress)
        record(changes)
    for name, change in changes.items():
        difference = change.after.count - change.before.count
        known = f" ({difference:+d})" if change.before.count else ""
        click.echo(f"{change.after.count}{known} {_WHAT[name]}{_as_of(change.after)}")
    for file in sorted(folder.glob("*.zip")):
        click.echo(f"{file.name} beside the index is read, too; remove it if it is taken in now")
    click.echo("what is handed out, judged by them: mlflow-governance advisories rejudge")


@advisories.command()
@_home
@_json
def show(home: str | None, as_json: bool) -> None:
    """Say how much is known, and how old it is."""
    from mlflow_governance.evidence.advisories import load
    from mlflow_governance.evidence.advisory_index import SOURCES, Source
    from mlflow_governance.evidence.advisory_update import present

    folder = _installation(home).advisories
    indexed = present(folder)
    sources: dict[str, Source] = {name: indexed.get(name, Source()) for name in SOURCES}
    own = load(folder).own_source
    if as_json:
        document = {name: _document(source) for name, source in sources.items()}
        click.echo(json.dumps({**document, "own": _document(own)}))
        return
    for name, source in sources.items():
        click.echo(f"{source.count} {_WHAT[name]}{_as_of(source)}")
    if own.count:
        click.echo(f"{own.count} advisories of your own beside the index{_as_of(own)}")
    if not sources["advisories"].count + own.count:
        click.echo("none: mlflow-governance advisories update ARCHIVE")


@advisories.command()
@click.option(
    "--stage",
    "stages",
    multiple=True,
    type=click.Choice(["Staging", "Approved", "Deprecated"]),
    help="Only versions at this stage; may be repeated. Default: all three.",
)
@_backend
@_home
@_json
def rejudge(
    stages: tuple[str, ...], backend_store_uri: str, home: str | None, as_json: bool
) -> None:
    """Judge again what is handed out, by the advisories of now.

    Where known vulnerabilities block a version now, its quarantine is proposed: in the ledger, to
    webhooks (quarantine.proposed), and here with the command to run. Nothing is moved: whether a
    model goes out of use is for a person to say. A proposal that stands is not told again for a
    week.

    Runs beside the server, on its host, for example each night after an update. Files of models
    are not read.

    Exit code 0: nothing blocks. 4: something does, or could not be judged.
    """
    from mlflow_governance.evidence.advisories import load
    from mlflow_governance.workflows.rejudge import ORIGINS, Now, rejudge_all

    settings = _installation(home)
    if not load(settings.advisories).count:
        raise ConfigurationError(
            f"there are no advisories in {settings.advisories} to judge by",
            advice="Take them in: mlflow-governance advisories update ARCHIVE",
        )
    wanted = [Stage.parse(word) for word in dict.fromkeys(stages)] or list(ORIGINS)
    reviews = rejudge_all(_ports(settings, backend_store_uri), wanted)
    found = _print(reviews, as_json)
    blocked = sum(review.now is not Now.OK for review in found)
    if blocked and as_json:
        sys.exit(Denied.exit_code)
    if blocked:
        raise Denied(f"{blocked} of {len(found)} versions would not be let through today")


def _installation(home: str | None) -> Settings:
    settings = config.load(config.home_folder(home))
    if not settings.installed:
        raise NotFound(
            f"{settings.home} is not the home folder of an installation",
            advice="Name it with --home, or start the server once: mlflow-governance server",
        )
    return settings


def _ports(settings: Settings, backend: str) -> Ports:
    # As the worker has them: the same store, policy, trust and keys, in a process of its own.
    os.environ[config.HOME_VARIABLE] = str(settings.home)
    os.environ["_MLFLOW_SERVER_SERVE_ARTIFACTS"] = "true"
    from mlflow_governance.plugin.registry_store import build

    ports: Ports = build(f"governance+{backend.removeprefix('governance+')}").governance.ports
    return ports


def _print(reviews: Iterable[Review], as_json: bool) -> list[Review]:
    found: list[Review] = []
    for review in reviews:
        found.append(review)
        if not as_json:
            _tell(review)
    if as_json:
        document: Mapping[str, Any] = {"versions": [review.to_document() for review in found]}
        click.echo(json.dumps(document, ensure_ascii=False))
    elif not found:
        click.echo("no version is at these stages")
    return found


def _tell(review: Review) -> None:
    width = min(shutil.get_terminal_size().columns // 2, 40)
    click.echo(f"{review.ref!s:<{width}}  {review.stage:<10}  {review.now}")
    for reason in review.reasons:
        click.echo(f"    {reason.code} {reason.message}")
    if review.problem:
        click.echo(f"    {review.problem}")
    if review.others:
        click.echo(
            f"    besides: {', '.join(review.others)}; mlflow-governance judge {review.ref} tells"
        )
    if review.command:
        click.echo(f"    proposed: {review.command}")


def _as_of(source: Source) -> str:
    if source.newest is None:
        return ""
    days = (moment.now() - source.newest).days
    old = "; that is old" if days > _STALE_DAYS else ""
    return f", as of {moment.to_text(source.newest)[:16]}Z, {days} days ago{old}"


def _document(source: Source) -> dict[str, Any]:
    newest = moment.to_text(source.newest) if source.newest else None
    return {"count": source.count, "newest": newest}
