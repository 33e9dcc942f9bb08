"""``policy replay``: what another bundle would have said of every recorded decision."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlflow_governance import config
from mlflow_governance.cli.history import (
    Wanted,
    backend,
    counted,
    gather,
    home,
    print_alarms,
    scoped,
)
from mlflow_governance.core import moment
from mlflow_governance.errors import ConfigurationError, VerificationError
from mlflow_governance.workflows.recorded import Scope

if TYPE_CHECKING:
    from mlflow_governance.config import Settings
    from mlflow_governance.policy.bundle import Bundle
    from mlflow_governance.workflows.ports import Reading
    from mlflow_governance.workflows.replay import Report
    from mlflow_governance.workflows.standing import Served
    from mlflow_governance.workflows.validation.books import DecisionRow

_FIXED = {True: "denies now", False: "denies no longer"}


@dataclass(frozen=True)
class ReplayJob:
    """``store.spread.Job``: a bundle, as files, and what is asked of it."""

    files: Mapping[str, bytes]
    scope: Scope

    def start(self) -> Callable[[Sequence[DecisionRow]], Report]:
        """Compile the bundle."""
        from mlflow_governance.policy.bundle import from_files
        from mlflow_governance.policy.embedded import EmbeddedEngine
        from mlflow_governance.workflows.replay import replay_rows

        engine = EmbeddedEngine(from_files(self.files))
        return lambda rows: replay_rows(rows, engine, self.scope)


@click.command("replay")
@click.option(
    "--bundle",
    required=True,
    type=click.Path(path_type=Path, exists=True),
    help="The changed bundle, a folder or .tar.gz.",
)
@scoped
@click.option("--standing", is_flag=True, help="Ask about every version that is served now, too.")
@click.option(
    "--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True,
    help="How it is printed.",
)  # fmt: skip
@click.option("--html", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
              help="Write it as a page that stands alone, too.")  # fmt: skip
@backend
@home
def replay(
    bundle: Path, backend_store_uri: str, home: str | None, form: str, **options: Any
) -> None:
    """Ask a changed bundle what it would have said of every recorded decision.

    It is exact: a dossier holds everything a decision knew, the time included. Printed is who
    would newly be denied or allowed, by the rule that turns it; nothing is changed, and the
    server may run meanwhile. The digest of the policy stays as recorded, so approvals count as
    they counted then.

    Permitted downloads leave no record. --standing asks the changed bundle, and the one in
    force, about every version that is served now.

    \b
    The last quarter:  mlflow-governance policy replay --bundle new/ --since 90d --standing
    For a review:      mlflow-governance policy replay --bundle new/ --html review.html
    One gate:          mlflow-governance policy replay --bundle new/ --gate promote

    Exit code 0: every decision was asked again. 3: some are not as they were stored; they are
    named, and count in nothing else.
    """
    from mlflow_governance.policy import bundle as bundles
    from mlflow_governance.policy.embedded import EmbeddedEngine
    from mlflow_governance.workflows.replay import Report

    new = bundles.load(bundle)
    EmbeddedEngine(new)  # what does not compile is told here, and once
    wanted = Wanted.from_options(backend_store_uri, options)
    report = Report()
    gather(wanted, ReplayJob(dict(new.files), wanted.scope), report.add)
    served = _served(wanted, new, home) if options["standing"] else None
    document = {
        "bundle": new.digest,
        "at": moment.to_text(moment.now()),
        **wanted.to_document(),
        **report.to_document(),
        "standing": served.to_document() if served else None,
    }
    if options["html"]:
        _write_page(options["html"], document)
    if form == "json":
        click.echo(json.dumps(document, ensure_ascii=False))
    else:
        _print(document)
    if report.corrupt:
        sys.exit(VerificationError.exit_code)


def _served(wanted: Wanted, new: Bundle, home: str | None) -> Served:
    from mlflow_governance.cli.operation import open_sessions
    from mlflow_governance.policy.embedded import EmbeddedEngine
    from mlflow_governance.store.sessions import transaction
    from mlflow_governance.store.unit_of_work import SqlReading
    from mlflow_governance.workflows.standing import Bundles, ask

    settings = config.load(config.home_folder(home))
    sessions = open_sessions(wanted.url)
    try:
        with transaction(sessions, read_only=True) as session:
            reading = SqlReading(session)
            current = _in_force(reading, settings)
            now, grace = moment.now(), timedelta(days=settings.policy_grace_days)
            served_on = [*reading.former_policies(), (current.digest, now)]
            accepted = {digest for digest, at in served_on if now < at + grace}
            asked = Bundles(
                EmbeddedEngine(current),
                EmbeddedEngine(new),
                (*settings.accepted_policy_digests, *sorted(accepted)),
            )
            return ask(reading, asked, now, Scope(model=wanted.scope.model))
    finally:
        sessions.dispose()


def _in_force(reading: Reading, settings: Settings) -> Bundle:
    from mlflow_governance.bootstrap import load_bundle
    from mlflow_governance.workflows.explain import kept_bundle

    digest = reading.in_force("policy")
    kept = kept_bundle(reading, digest) if digest else None
    return kept or load_bundle(settings)


def _write_page(path: Path, document: Mapping[str, Any]) -> None:
    from mlflow_governance.web.replay_page import render

    try:
        path.write_text(render(document), "utf-8")
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error}") from error


def _print(document: Mapping[str, Any]) -> None:
    since = f" since {document['since'][:16]}Z" if document["since"] else ""
    click.echo(
        f"{document['decisions']:,} recorded decisions{since}, asked again of {document['bundle']}"
    )
    print_changes(document)
    standing = document["standing"]
    if standing is None:
        click.echo("Permitted downloads are not recorded; --standing asks about what is served.")
    else:
        click.echo(f"\n{standing['versions']:,} versions that are served, asked now")
        print_changes(standing)
        _print_standing(standing)
    print_alarms(document)


def print_changes(found: Mapping[str, Any]) -> None:
    """Print how many turned, and what turned them, with examples."""
    for key in ("same", "newly_denied", "newly_allowed", "other_reasons"):
        click.echo(f"  {key.replace('_', ' '):<14} {found[key]:>9,}")
    last = ""
    for group in found["groups"]:
        if group["change"] != last:
            last = group["change"]
            click.echo(f"\n{last}")
        models = counted((m["model"], m["decisions"]) for m in group["models"])
        click.echo(
            f"  {group['gate']:<9} {group['code']:<9} {_FIXED[group['denies']]:<17}"
            f"{group['decisions']:>9,}  {models}"
        )
        for example in group["examples"]:
            name = f"decision {example['decision_id']}  " if example["decision_id"] else ""
            click.echo(
                f"      {name}{example['model']}/{example['version']} "
                f"by {example['actor']} at {example['at'][:16]}Z"
            )
    if last:
        click.echo("")


def _print_standing(standing: Mapping[str, Any]) -> None:
    if standing["bound_to_another_policy"]:
        click.echo(
            f"  {standing['bound_to_another_policy']:,} are bound to another policy and are "
            "served on for policy_grace_days\n  of config.yaml; judge them again meanwhile"
        )
    if standing["unproved"]:
        names = ", ".join(standing["unproved"][:10])
        click.echo(
            f"  {len(standing['unproved']):,} were not asked, since nothing is proved about "
            f"them: {names}"
        )
