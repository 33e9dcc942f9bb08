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
_folder = click.Path(path_type=Path, exists=True, file_okay=False)
_ENDINGS = re.compile(r"(\.(json|jsonl|bundle|sigstore|intoto|dsse|att|sig))+$", re.IGNORECASE)
_RESULTS = {"test-result": ("PASSED", "WARNED", "FAILED"), "canary": ("PROCEED", "ROLLBACK")}
_RECORDS = ("change-ticket", "slo", "evaluation", "reproduction")
_WORDS = {"begin": "--from", "end": "--to", "folder": "--from-directory", "metrics": "--metric"}


@click.command()
@click.argument("version", metavar="NAME/VERSION")
@click.argument("what", type=click.Choice([*_RESULTS, *_RECORDS]), required=False, metavar="[WHAT]")
@click.option("--result", help="Of a test PASSED or FAILED; of a canary PROCEED or ROLLBACK.")
@click.option("--id", help="Of a change ticket: what its system calls it.")
@click.option("--system", help="Of a change ticket: which system, such as jira.")
@click.option(
    "--state", help="Of a change ticket: requested, approved, rejected, cancelled, closed."
)
@click.option("--from", "begin", help="Of a change ticket: its window begins (RFC 3339).")
@click.option("--to", "end", help="Of a change ticket: its window ends (RFC 3339).")
@click.option("--url", help="Of a change ticket: where it can be read.")
@click.option("--dataset", help="Of an evaluation: NAME, or NAME@DIGEST.")
@click.option("--metric", "metrics", multiple=True, help="Of an evaluation: NAME=NUMBER.")
@click.option("--rebuilt", help="Of a reproduction: the digest of what was rebuilt.")
@click.option("--from-directory", "folder", type=_folder, help="Or the rebuilt model itself.")
@click.option("--builder", help="Of a reproduction: who rebuilt it, a URI.")
@click.option("--predicate", "report", type=_path, help="JSON of any predicate; needs --type.")
@click.option("--type", "kind", help="URI of the predicate's type, or its short name.")
@click.option("--file", type=_path, help="What another tool signed; after a WHAT, what to sign.")
@sealing
def attest(version: str, seal: SealOptions, file: Path | None, **said: Any) -> None:
    """Sign a result, or any predicate, about NAME/VERSION and attach it.

    WHAT is test-result or canary, with --result; or change-ticket, slo, evaluation or
    reproduction, said by options, a JSON --file, or both. Else give --predicate and --type. With
    --file alone nothing is signed here: a DSSE envelope or Sigstore bundle is attached as it is.

    The statement names the content, so it counts for these bytes only, under every version of
    them. Whose key counts for what is said in trust.yaml. Predicates are held to their schema
    before they are signed.

    \b
    mlflow-governance attest churn/3 test-result --result PASSED --key ci.pem
    mlflow-governance attest churn/3 change-ticket --id CHG-1 --system jira --state approved \\
        --from 2026-12-01T20:00:00Z --to 2026-12-01T22:00:00Z --key change.pem
    mlflow-governance attest churn/3 slo --file slo.json --key monitoring.pem
    mlflow-governance attest churn/3 evaluation --dataset holdout --metric auc=0.91 --key lab.pem
    mlflow-governance attest churn/3 reproduction --from-directory rebuilt/ \\
        --builder https://rebuild.example --key rebuild.pem
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
    if file is not None and said["what"] not in _RECORDS:
        if any(said.values()) or seal != SealOptions():
            raise InvalidRequest(
                f"{file} is signed already", advice="Give --file alone, without key or result."
            )
        name, data, kind = _signed(file)
        RegistryClient().attach(ref, name, data)
        click.echo(f"attached {name} to {ref}: {kind}")
        return
    now = moment.now()
    short, kind, body = _said(now, file, **said)
    signer = open_seal(seal)
    client = RegistryClient()
    subject = digest.parse(client.version(ref)["digest"])
    data = signed_statement(ref.name, subject, kind, body, signer)
    name = f"attestations/{short}-{now:%Y%m%dT%H%M%S%f}.intoto.json"
    client.attach(ref, name, data)
    click.echo(f"attached {name} to {ref}: {short} {said['result'] or said['state'] or kind}")


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


def _said(  # noqa: PLR0913  (one for each way to say what is attested)
    now: datetime,
    file: Path | None,
    what: str | None,
    *,
    result: str | None,
    report: Path | None,
    kind: str | None,
    **options: Any,
) -> tuple[str, str, dict[str, Any]]:
    """Short name, type and body of the predicate that is asked for, held to its schema."""
    from mlflow_governance.evidence import predicate
    from mlflow_governance.submission import predicates, records, statements

    if what in _RECORDS and not (result or report or kind):
        named = {_WORDS.get(name, f"--{name}"): value for name, value in options.items()}
        return what, records.TYPES[what], records.body(what, _read(file), named, now)
    if any(options.values()):
        what = None  # said of something else, or of nothing
    if what in _RESULTS and result and not (report or kind):
        if result not in _RESULTS[what]:
            raise InvalidRequest(
                f"{result[:80]!r} is not a result of a {what}",
                advice=f"--result is one of {', '.join(_RESULTS[what])}.",
            )
        if what == "canary":
            return what, predicate.CANARY, statements.canary(result, now)
        return what, predicate.TEST_RESULT, statements.plain_result(result, now)
    if report and kind and not (what or result or any(options.values())):
        body = _read(report)
        try:
            return *predicates.held(kind, body), body
        except VerificationError as error:
            raise InvalidRequest(f"{report}: {error.message}", advice=error.advice) from error
    raise InvalidRequest(
        "nothing to attest, or two things at once",
        advice="Say test-result or canary with --result, one of "
        f"{', '.join(_RECORDS)} with what is said of it, give --predicate with --type, or --file.",
    )


def _read(path: Path | None) -> dict[str, Any]:
    from mlflow_governance.core import canonical
    from mlflow_governance.evidence.interface import MAX_ITEM_BYTES

    if path is None:
        return {}
    return canonical.decode_object(_bytes(path, MAX_ITEM_BYTES), max_bytes=MAX_ITEM_BYTES)


def _bytes(path: Path, most: int) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(most + 1)
    except OSError as error:
        raise InvalidRequest(f"{path} cannot be read: {error.strerror}") from error
    if len(data) > most:
        raise InvalidRequest(f"{path} has more than {most} bytes")
    return data
