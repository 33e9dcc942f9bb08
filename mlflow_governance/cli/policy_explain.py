"""``policy explain``: a past decision, told and made again."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlflow_governance import config
from mlflow_governance.cli.history import backend, home
from mlflow_governance.errors import GovernanceError, NotFound, VerificationError
from mlflow_governance.workflows.explain import Again, Explanation, explain, shown

if TYPE_CHECKING:
    from mlflow_governance.policy.bundle import Bundle

_FACTS = 400
"""Characters of the facts behind a check that are printed; --json has all."""


@click.command("explain")
@click.argument("decision_id")
@click.option(
    "--bundle",
    type=click.Path(path_type=Path, exists=True),
    help="Where the bundle it was decided with is, if the registry does not have it.",
)
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
@backend
@home
def explain_command(
    decision_id: str, bundle: Path | None, as_json: bool, backend_store_uri: str, home: str | None
) -> None:
    """Explain DECISION_ID: who asked what, each check, and what it looked at.

    Then make the decision again, from the stored dossier and with the bundle it was decided
    with, and compare the answers bit for bit. A decision by an OPA server is made again by the
    embedded engine, which has to agree.

    \b
    mlflow-governance policy explain 8755a641aaa87ed7a3cb4ba1bb6848e8

    Refusals name their decision, and so does: mlflow-governance history NAME/VERSION --json

    Exit code 3 is an integrity alarm: the record is not what was decided.
    """
    from mlflow_governance.store.decisions import SqlDecisions
    from mlflow_governance.store.sessions import session_factory_for, transaction
    from mlflow_governance.store.unit_of_work import SqlReading

    sessions = session_factory_for(backend_store_uri.removeprefix("governance+"))
    try:
        row = SqlDecisions(sessions).one(decision_id)
        if row is None:
            raise NotFound(f"no decision has the id {decision_id[:80]!r}")
        with transaction(sessions, read_only=True) as session:
            found = explain(SqlReading(session), row, _at_hand(bundle, home))
    except VerificationError as error:
        raise VerificationError(f"INTEGRITY ALARM: {error.message}", advice=error.advice) from error
    finally:
        sessions.dispose()
    document = found.to_document()
    if as_json:
        click.echo(json.dumps(document, ensure_ascii=False))
    else:
        _print(document)
    _conclude(found, quiet=as_json)


def _at_hand(given: Path | None, home: str | None) -> Iterator[tuple[str, Bundle]]:
    from mlflow_governance.bootstrap import load_bundle
    from mlflow_governance.core.resources import folder
    from mlflow_governance.policy.bundle import load

    if given is not None:
        yield str(given), load(given)
    with suppress(GovernanceError):  # another bundle than the one that is looked for may be broken
        yield "the home folder", load_bundle(config.load(config.home_folder(home)))
    yield "this package", load(folder("policies"))


def _conclude(found: Explanation, *, quiet: bool) -> None:
    if found.again is Again.DIFFERENT:
        raise VerificationError(
            "INTEGRITY ALARM: made again, the decision is another: "
            + "; ".join(found.differences[:20]),
            advice="Find out what else was changed: mlflow-governance validate",
        )
    if not quiet:
        by = f" (bundle from {found.bundle_from})" if found.bundle_from else ""
        click.echo(f"re-executed: {found.again}{by}" if by else f"{found.again}")
        for note in found.notes:
            click.echo(f"  {note}")


def _print(document: Mapping[str, Any]) -> None:
    subject, actor = document["subject"], document["actor"]
    verdict = "allowed" if document["allow"] else "denied"
    click.echo(f"decision {document['decision_id']}: {document['gate']} {verdict}")
    click.echo(f"  who      {actor['id']}{_roles(actor)}")
    click.echo(f"  what     {subject['name']}/{subject['version']}, {shown(document['action'])}")
    click.echo(f"  stood    {subject['stage']}, content {subject['digest']}")
    click.echo(f"  when     {document['at']}, ledger entry {document['ledger_index']}")
    click.echo(f"  policy   {document['policy_digest']}, {document['engine']}")
    if document["error"]:
        click.echo(f"  error    {document['error']}")
    for check in document["checks"]:
        _print_check(check)
    for name in ("obligations", "details"):
        if document[name]:
            click.echo(f"  {name}: {shown(document[name], _FACTS)}")


def _roles(actor: Mapping[str, Any]) -> str:
    words = [*actor["roles"], *(["administrator"] if actor["admin"] else [])]
    known = "" if actor["authenticated"] else ", not logged in"
    return (f" ({', '.join(words)})" if words else "") + known


def _print_check(check: Mapping[str, Any]) -> None:
    outcome = "passed" if check["passed"] else "failed"
    mode = "" if check["mode"] == "enforce" else f" ({check['mode']}: did not count)"
    click.echo(f"  {check['code']:<9} {outcome}{mode}")
    waiver, said = check["waiver"], check["said"]
    if waiver:
        click.echo(
            f"      waived by {waiver['waiver']} of {waiver['owner']}, approved by "
            f"{waiver['approver']}, until {waiver['expires']}"
        )
    if said:
        click.echo(f"      {said['message']}")
        click.echo(f"      {said['path']} = {shown(check['facts'], _FACTS)}")
