"""Commands about one version that ask the server: show, judge, approve, revoke, and the like."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import click

from mlflow_governance.cli.client import RegistryClient
from mlflow_governance.cli.telling import line
from mlflow_governance.core.decision import remarks
from mlflow_governance.core.model_ref import DEFAULT_WORKSPACE, VersionRef
from mlflow_governance.errors import Denied
from mlflow_governance.evidence.interface import Kind
from mlflow_governance.evidence.severity import WORDS

_version = click.argument("version", metavar="NAME/VERSION")
_reason = click.option("--reason", required=True, help="Why; it goes into the ledger.")
_SHOWN = 2
"""Findings of the malware check that are shown; --json has more."""
_json = click.option("--json", "as_json", is_flag=True, help="Print the whole answer as JSON.")


@click.command()
@_version
@_json
def show(version: str, as_json: bool) -> None:
    """Show a version: stage, evidence, failed checks with the mending command, approvals."""
    document = RegistryClient().version(VersionRef.parse(version))
    if as_json:
        click.echo(json.dumps(document, indent=2))
        return
    click.echo(f"{document['name']}/{document['version']}  {document['stage']}")
    click.echo(f"  digest     {document['digest']}")
    click.echo(f"  submitter  {document['submitter']}")
    for outcome in document["evidence"]:
        click.echo(f"  {outcome['kind']:<16} {_found(outcome)}")
    for approval in document["approvals"]:
        void = "" if approval["current"] else " (void: model or policy changed)"
        click.echo(
            f"  {approval['decision']:<10} by {approval['person']} for {approval['role']}{void}"
        )
    ahead = document.get("ahead")
    if ahead:
        click.echo(f"next: {ahead['stage']}{'' if ahead['allow'] else ', not yet:'}")
        _tell(ahead["missing"])
    elif document["missing"]:
        click.echo("missing:")
        _tell(document["missing"])
    _warn((ahead or document)["warnings"])


@click.command()
@_version
def judge(version: str) -> None:
    """Judge a version again where it stands, under the policy and evidence of now.

    At None this accepts it if it passes. A version MLflow knows and nobody governs yet is
    adopted first. Exit code 4: it does not pass; nothing was taken away from it.
    """
    answer = RegistryClient().judge(VersionRef.parse(version))
    decision = answer["decision"]
    if not decision["allow"]:
        _tell(decision["reasons"])
        raise Denied(f"{version} does not pass (decision {decision['decision_id']})")
    click.echo(f"{version} passes and is {answer['version']['stage']}")
    _warn(remarks(decision))


@click.command()
@_version
@click.option("--as", "role", required=True, help="Your role: security or product.")
@_reason
@click.option("--reject", "decision", flag_value="reject", help="Say no instead.")
@click.option("--withdraw", "decision", flag_value="withdraw", help="Take back what you said.")
def approve(version: str, role: str, reason: str, decision: str | None) -> None:
    """Approve NAME/VERSION for your role.

    Your word is bound to the content and the policy you saw, and void when either changes.
    Whoever submitted a version cannot approve it, and nobody approves for two roles.

    Only you can take your word back. A version that was released by it stays where it is, and
    fails when it is judged again; to take it out of use, quarantine or revoke it.

    \b
    mlflow-governance approve churn/3 --as security --reason "read the report"
    mlflow-governance approve churn/3 --as security --withdraw --reason "the report was wrong"
    """
    ref = VersionRef.parse(version)
    word = RegistryClient().approve(ref, role, reason, decision=decision or "approve")["approval"]
    said = {"approve": "approved", "reject": "rejected"}[word["decision"]]
    if decision == "withdraw":
        said = f"is no longer {said}"
    click.echo(f"{ref} {said} by {word['person']} for {word['role']}")


def _withdrawal(verb: str, what: str, done: str) -> click.Command:
    @click.command(verb, help=what)
    @_version
    @_reason
    def command(version: str, reason: str) -> None:
        ref = VersionRef.parse(version)
        answer = getattr(RegistryClient(), verb)(ref, reason)
        click.echo(f"{ref} {done} {answer['version']['stage']}")

    return command


revoke = _withdrawal(
    "revoke", "Revoke NAME/VERSION and its content for ever, under whatever name.", "is"
)
quarantine = _withdrawal(
    "quarantine", "Block NAME/VERSION and its content while it is investigated.", "is"
)
restore = _withdrawal(
    "restore", "Return a quarantined NAME/VERSION to the stage it came from.", "is again"
)


@click.command()
@click.argument("of", metavar="NAME[/VERSION]")
@click.option("--workspace", default=DEFAULT_WORKSPACE, help="MLflow's workspace.")
@_json
def history(of: str, workspace: str, as_json: bool) -> None:
    """What happened to a version or to a whole model, oldest first, as the ledger has it.

    Registrations, evidence, approvals, judgements, stages, aliases, downloads, deletions: with the
    index of the entry, who, why, and the decision behind it. What happened to earlier versions
    of the same name and number is part of it.

    \b
    mlflow-governance history churn/3
    mlflow-governance history churn                 all its versions and aliases
    mlflow-governance explain DECISION              why, in full (on the server's host)
    mlflow-governance as-of 2026-11-01              the state on a day (on the server's host)
    """
    name, number = (of, 0)
    if "/" in of:
        ref = VersionRef.parse(of)
        name, number = ref.name, ref.version
    entries = _history(name, number, workspace)
    if as_json:
        click.echo(json.dumps(list(entries), indent=2))
        return
    for entry in entries:
        click.echo(line(entry, about=not number))


def _history(name: str, number: int, workspace: str) -> Iterator[dict[str, Any]]:
    client, start = RegistryClient(), 0
    while start is not None:
        page = client.history(name, number, start, workspace)
        yield from page["entries"]
        start = page["next"]


def _found(outcome: dict[str, Any]) -> str:
    """What one kind of evidence came to, on a line.

    That the files were read, or the components looked up, says nothing of what was found.
    """
    facts, status = outcome["facts"], outcome["status"]
    if outcome["problem"]:
        return f"{status}: {outcome['problem']}"
    if outcome["kind"] == Kind.MALWARE and "verdict" in facts:
        findings = facts.get("findings", [])
        shown = [f"{found['file']} {found['detail']}" for found in findings[:_SHOWN]]
        more = facts.get("count", 0) - len(shown)
        shown += [f"{more} more"] if more > 0 else []
        return "; ".join([facts["verdict"], *shown])
    if outcome["kind"] == Kind.VULNERABILITIES and "vulnerabilities" in facts:
        severities = [entry["severity"] for entry in facts["vulnerabilities"]]
        worst = f", the worst {max(severities, key=WORDS.index)}" if severities else ""
        return f"{len(severities)} known{worst}"
    return str(status)


def _warn(found: list[dict[str, str]]) -> None:
    if found:
        click.echo("warnings, which deny nothing now:")
        _tell(found)


def _tell(reasons: list[dict[str, str]]) -> None:
    for reason in reasons:
        click.echo(f"  - {reason['code']} {reason['message']}")
        if reason["fix"]:
            click.echo(f"      fix: {reason['fix']}")
