"""``attest``: what is said about a version later, signed here or by another tool."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlflow_governance.cli.sealing import sealing
from mlflow_governance.core import moment
from mlflow_governance.core.model_ref import VersionRef
from mlflow_governance.errors import InvalidRequest, VerificationError

if TYPE_CHECKING:
    from mlflow_governance.submission.seal import SealOptions

_path = click.Path(path_type=Path, exists=True, dir_okay=False)
_ENDINGS = re.compile(r"(\.(json|jsonl|bundle|sigstore|intoto|dsse|att|sig))+$", re.IGNORECASE)
_RESULTS = {"test-result": ("PASSED", "WARNED", "FAILED"), "canary": ("PROCEED", "ROLLBACK")}


@click.command()
@click.argument("version", metavar="NAME/VERSION")
@click.argument("what", type=click.Choice(list(_RESULTS)), required=False)
@click.option("--result", help="Of a test PASSED or FAILED; of a canary PROCEED or ROLLBACK.")
@click.option("--predicate", "report", type=_path, help="JSON of any predicate; needs --type.")
@click.option("--type", "kind", help="URI of the predicate's type, or its short name.")
@click.option("--file", "signed", type=_path, help="What another tool signed; needs no key.")
@sealing
def attest(version: str, seal: SealOptions, signed: Path | None, **said: Any) -> None:
    """Sign a result, or any predicate, about NAME/VERSION and attach it.

    The statement names the content, so it counts for these bytes only. Whose key counts for
    what is said in trust.yaml. Predicates are held to their schema before they are signed.
    With --file nothing is signed here: a DSSE envelope or Sigstore bundle is attached as it is.

    \b
    mlflow-governance attest churn/3 test-result --result PASSED --key ci.pem
    mlflow-governance attest churn/3 --predicate trivy.json --type vulnerability-scan \\
        --key awskms:alias/scanner
    mlflow-governance attest churn/3 --predicate sbom.json --type spdx --key scanner.pem
    mlflow-governance attest churn/3 --file vex.sigstore.json     (signed with cosign)
    """
    from mlflow_governance.cli.client import RegistryClient
    from mlflow_governance.core import digest
    from mlflow_governance.submission.seal import SealOptions, open_seal
    from mlflow_governance.submission.submit import signed_statement

    ref = VersionRef.parse(version)
    if signed is not None:
        if any(said.values()) or seal != SealOptions():
            raise InvalidRequest(
                f"{signed} is signed already", advice="Give --file alone, without key or result."
            )
        file, data, kind = _signed(signed)
        RegistryClient().attach(ref, file, data)
        click.echo(f"attached {file} to {ref}: {kind}")
        return
    now = moment.now()
    name, kind, body = _said(now=now, **said)
    signer = open_seal(seal)
    client = RegistryClient()
    subject = digest.parse(client.version(ref)["digest"])
    data = signed_statement(ref.name, subject, kind, body, signer)
    file = f"attestations/{name}-{now:%Y%m%dT%H%M%S%f}.intoto.json"
    client.attach(ref, file, data)
    click.echo(f"attached {file} to {ref}: {name} {said['result'] or kind}")


def _signed(path: Path) -> tuple[str, bytes, str]:
    """Under which name a signed file is attached, its bytes, and what type of statement it is."""
    from mlflow_governance.evidence.attestation import SUFFIX, claimed
    from mlflow_governance.evidence.interface import MAX_ITEM_BYTES, EvidenceItem

    name = re.sub(r"[^A-Za-z0-9_-]+", "-", _ENDINGS.sub("", path.name)).strip("-")[:100]
    file = f"attestations/{name or 'statement'}{SUFFIX}"
    data = _bytes(path, MAX_ITEM_BYTES)
    try:
        return file, data, claimed(EvidenceItem(file, data)).predicate_type
    except VerificationError as error:
        raise InvalidRequest(
            f"{path} is no signed statement: {error.message}",
            advice="Give a DSSE envelope or a Sigstore bundle with an in-toto Statement inside; "
            "a bare predicate is signed with --predicate FILE --type TYPE --key KEY.",
        ) from error


def _said(
    *, now: datetime, what: str | None, result: str | None, report: Path | None, kind: str | None
) -> tuple[str, str, dict[str, Any]]:
    """Short name, type and body of the predicate that is asked for, held to its schema."""
    from mlflow_governance.core import canonical
    from mlflow_governance.evidence import predicate
    from mlflow_governance.evidence.interface import MAX_ITEM_BYTES
    from mlflow_governance.submission import predicates, statements

    if what and result and not (report or kind):
        if result not in _RESULTS[what]:
            raise InvalidRequest(
                f"{result[:80]!r} is not a result of a {what}",
                advice=f"--result is one of {', '.join(_RESULTS[what])}.",
            )
        if what == "canary":
            return what, predicate.CANARY, statements.canary(result, now)
        return what, predicate.TEST_RESULT, statements.plain_result(result)
    if report and kind and not (what or result):
        body = canonical.decode_object(_bytes(report, MAX_ITEM_BYTES), max_bytes=MAX_ITEM_BYTES)
        try:
            return *predicates.held(kind, body), body
        except VerificationError as error:
            raise InvalidRequest(f"{report}: {error.message}", advice=error.advice) from error
    raise InvalidRequest(
        "nothing to attest, or two things at once",
        advice="Say test-result or canary with --result, give --predicate with --type, or --file.",
    )


def _bytes(path: Path, most: int) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(most + 1)
    except OSError as error:
        raise InvalidRequest(f"{path} cannot be read: {error.strerror}") from error
    if len(data) > most:
        raise InvalidRequest(f"{path} has more than {most} bytes")
    return data
