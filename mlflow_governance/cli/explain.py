"""``explain``: a past decision in full, made again, with all it takes to check that elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlflow_governance import config
from mlflow_governance.cli.as_of import open_ledger
from mlflow_governance.cli.history import backend, home
from mlflow_governance.cli.telling import line, person, plain
from mlflow_governance.core.model_ref import DEFAULT_WORKSPACE, VersionRef
from mlflow_governance.errors import (
    GovernanceError,
    InvalidRequest,
    NotFound,
    VerificationError,
)
from mlflow_governance.workflows.explain import shown

if TYPE_CHECKING:
    from mlflow_governance.policy.bundle import Bundle
    from mlflow_governance.store.sessions import Sessions
    from mlflow_governance.store.unit_of_work import SqlReading
    from mlflow_governance.workflows.chronicle import Witnessed
    from mlflow_governance.workflows.reconstruct import Reconstruction

_FACTS = 400
"""Characters of the facts behind a check that are printed; --json has all."""


@click.command("explain")
@click.argument("decision", metavar="DECISION|NAME/VERSION")
@click.option(
    "--bundle",
    type=click.Path(path_type=Path, exists=True),
    help="Where the bundle it was decided with is, if the registry does not have it.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write dossier, decision, policy bundle, entry and proof into this folder.",
)
@click.option(
    "--dossier",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the very input document there.",
)
@click.option("--workspace", default=DEFAULT_WORKSPACE, help="MLflow's workspace of NAME/VERSION.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
@backend
@home
def explain_command(  # noqa: PLR0913  (one for each option)
    decision: str,
    bundle: Path | None,
    output: Path | None,
    dossier: Path | None,
    workspace: str,
    as_json: bool,
    backend_store_uri: str,
    home: str | None,
) -> None:
    """Explain a decision: who asked, what was verified, which approvals, which policy, what then.

    Of NAME/VERSION it is the decision that brought the version into its stage, or else the last
    one about it. Every part is held against the ledger, whose entries are proved against its
    signed head. Then the decision is made again, from the stored dossier and with the bundle it
    was made with, and the answers are compared bit for bit. (A decision by an OPA server is made
    again by the embedded engine, which has to agree.)

    \b
    mlflow-governance explain 8755a641aaa87ed7a3cb4ba1bb6848e8
    mlflow-governance explain churn/3 --output why

    What --output writes anybody can decide again with OPA alone (only the names in the words of
    a reason are set in by the registry), and hold against the ledger with its public key:

    \b
    opa eval -b why/policy.tar.gz -i why/dossier.json data.registry.promote.decision
    mlflow-governance ledger check why/entry.tlog-proof --against why/entry.json

    Refusals name their decision, and so does: mlflow-governance history NAME/VERSION. The same
    command is there as: mlflow-governance policy explain

    Exit code 3 is an integrity alarm: the record is not what was decided.
    """
    if output is not None and output.is_dir() and any(output.iterdir()):
        # What another decision left there would be taken for part of this one.
        raise InvalidRequest(f"{output} is not empty", advice="Name a new or an empty folder.")
    sessions, witnessed = open_ledger(backend_store_uri, home)
    try:
        found = _found(sessions, witnessed, decision, workspace, _at_hand(bundle, home))
    except VerificationError as error:
        raise VerificationError(f"INTEGRITY ALARM: {error.message}", advice=error.advice) from error
    finally:
        sessions.dispose()
    _write(found, output, dossier)
    if output is not None:
        gate = found.document["gate"]
        click.echo(
            f"to decide it again: opa eval -b {output}/policy.tar.gz -i {output}/dossier.json "
            f"data.registry.{gate}.decision",
            err=True,
        )
    if as_json:
        click.echo(json.dumps(found.document, ensure_ascii=False))
    else:
        _print(found.document)
    _conclude(found, quiet=as_json)


def _found(
    sessions: Sessions,
    witnessed: Witnessed,
    wanted: str,
    workspace: str,
    at_hand: Iterator[tuple[str, Bundle]],
) -> Reconstruction:
    from mlflow_governance.store.decisions import SqlDecisions
    from mlflow_governance.store.sessions import transaction
    from mlflow_governance.store.unit_of_work import SqlReading
    from mlflow_governance.workflows.reconstruct import reconstruct

    if "/" in wanted:
        ref = VersionRef.parse(wanted)
        with transaction(sessions, read_only=True) as session:
            named = VersionRef(ref.name, ref.version, workspace)
            wanted = _decision_of(sessions, SqlReading(session), named)
    row = SqlDecisions(sessions).one(wanted)
    if row is None:
        raise NotFound(
            f"no decision has the id {wanted[:80]!r}",
            advice="A version's are named by: mlflow-governance history NAME/VERSION"
            + _let_go(sessions),
        )
    with transaction(sessions, read_only=True) as session:
        return reconstruct(SqlReading(session), witnessed, row, at_hand)


def _decision_of(sessions: Sessions, reading: SqlReading, ref: VersionRef) -> str:
    from mlflow_governance.workflows.reconstruct import decision_of

    try:
        return decision_of(reading, ref)
    except NotFound as error:
        raise NotFound(error.message, advice=_let_go(sessions).lstrip()) from error


def _let_go(sessions: Sessions) -> str:
    """What to know of decisions that are not there any more; nothing where each still is."""
    from mlflow_governance.store.deleted import deletions

    count, last = deletions(sessions)
    if not count:
        return ""
    return (
        f" It may have been deleted after its retention: {count:,} entries were, with their "
        f"decisions; entry {last} is the last that says which."
    )


def _at_hand(given: Path | None, home: str | None) -> Iterator[tuple[str, Bundle]]:
    from mlflow_governance.bootstrap import load_bundle
    from mlflow_governance.core.resources import folder
    from mlflow_governance.policy.bundle import load

    if given is not None:
        yield str(given), load(given)
    with suppress(GovernanceError):  # another bundle than the one that is looked for may be broken
        yield "the home folder", load_bundle(config.load(config.home_folder(home)))
    yield "this package", load(folder("policies"))


def _write(found: Reconstruction, output: Path | None, dossier: Path | None) -> None:
    files = found.files()
    try:
        if dossier is not None:
            dossier.write_bytes(files["dossier.json"])
        if output is not None:
            output.mkdir(parents=True, exist_ok=True)
            for name, data in files.items():
                (output / name).write_bytes(data)
    except OSError as error:
        raise InvalidRequest(f"{error.filename} cannot be written: {error.strerror}") from error
    if output is not None and "policy.tar.gz" not in files:
        click.echo(f"without the policy bundle, which is not at hand: {output}", err=True)


def _conclude(found: Reconstruction, *, quiet: bool) -> None:
    if found.alarms:
        raise VerificationError(
            "INTEGRITY ALARM: " + "; ".join(found.alarms),
            advice="Find out what else was changed: mlflow-governance validate",
        )
    if not quiet:
        told = found.explanation
        by = f" (bundle from {told.bundle_from})" if told.bundle_from else ""
        click.echo(f"re-executed: {told.again}{by}" if by else f"{told.again}")
        for note in told.notes:
            click.echo(f"  {note}")


def _print(document: Mapping[str, Any]) -> None:
    subject, actor, entry = document["subject"], document["actor"], document["entry"]
    verdict = "allowed" if document["allow"] else "denied"
    asker = person(entry["actor"])
    click.echo(f"decision {document['decision_id']}: {document['gate']} {verdict}")
    click.echo(f"  who      {asker}{_roles(actor)}")
    click.echo(f"  what     {subject['name']}/{subject['version']}, {shown(document['action'])}")
    if entry["reason"]:
        click.echo(f"  why      “{plain(entry['reason'])}”")
    click.echo(f"  stood    {subject['stage']}, content {subject['digest']}")
    click.echo(f"  when     {document['at']}, ledger entry {document['ledger_index']}")
    click.echo(f"  proved   against the signed head of {document['proved']['size']:,} entries")
    for words in _policy(document):
        click.echo(f"  {words}")
    if document["error"]:
        click.echo(f"  error    {document['error']}")
    for check in document["checks"]:
        _print_check(check)
    for name in ("obligations", "details"):
        if document[name]:
            click.echo(f"  {name}: {shown(document[name], _FACTS)}")
    for words in (*_verified(document), *_approvals(document), *_led_to(document)):
        click.echo(words)


def _policy(document: Mapping[str, Any]) -> Iterator[str]:
    policy = document["policy"]
    title = f", {plain(policy['title'])!r}" if policy["title"] else ""
    yield f"policy   {policy['digest']}{title}, {document['engine']}"
    since = policy["since"]
    if since:
        until = f", until {policy['until']}" if policy["until"] else ""
        yield (
            f"         in force since {since['at']} by {person(since['actor'])} "
            f"({policy['how']}, entry {since['index']}){until}"
        )


def _verified(document: Mapping[str, Any]) -> Iterator[str]:
    yield "verified:"
    for one in document["verified"]:
        by = f", signed by {', '.join(map(plain, one['signers']))}" if one["signers"] else ""
        at = f", {one['at']}" if one["at"] else ""
        problem = f": {plain(one['problem'])}" if one["problem"] else ""
        files = f"  ({', '.join(one['files'])})" if one["files"] else ""
        yield f"  {one['kind']:<18} {one['status']}{problem}{by}{at}{files}"
    for file in document["files"]:
        yield f"  {file['name']}  {file['digest']}  {file['state']}"


def _approvals(document: Mapping[str, Any]) -> Iterator[str]:
    yield "approvals:" if document["approvals"] else "approvals: none stood"
    for one in document["approvals"]:
        why = f", “{plain(one['reason'])}”" if one["reason"] else ""
        later = "" if one["taken_back"] is None else f"; ended by entry {one['taken_back']}"
        yield (
            f"  {one['decision']} by {person(one['person'])} for {one['role']}, {one['at']}{why}, "
            f"entry {one['entry']}{later}"
        )


def _led_to(document: Mapping[str, Any]) -> Iterator[str]:
    entry = document["entry"]
    before, after = entry["before"].get("stage"), entry["after"].get("stage")
    moved = f"{before} → {after}" if before != after else f"{after}, as before"
    yield f"led to: {moved}" if entry["allowed"] else f"led to nothing: {after}, as before"
    if document["then"]:
        yield "and then:"
        yield from (f"  {line(one)}" for one in document["then"])


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
