"""``submit`` and ``attest``: what producers run."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
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
    from mlflow_governance.submission.submit import Progress

_path = click.Path(path_type=Path, exists=True, dir_okay=False)
_folder = click.Path(path_type=Path, exists=True, file_okay=False)


@click.command()
@click.argument("model_uri")
@sealing
@click.option("--name", help="Registered model; needed unless the URI names one.")
@click.option("--model-card", type=_path, help="model_card.yaml of the author.")
@click.option("--test-result", type=_path, help='JSON {"result": "PASSED"} or JUnit XML.')
@click.option("--test-key", help="Key that signs the test result; default: who signs the model.")
@click.option("--dataset", "datasets", type=_path, multiple=True, help="A data file; repeatable.")
@click.option("--layout", type=_folder, help="Folder with an in-toto layout and its links.")
@click.option("--builder-id", default="", help="Who built the model, e.g. the pipeline's URL.")
@click.option("--no-register", is_flag=True, help="Write the evidence only.")
def submit(
    model_uri: str, name: str | None, no_register: bool, seal: SealOptions, **files: Any
) -> None:
    """Sign, describe and register the model MODEL_URI.

    Writes into the model's own directory, under governance/evidence: the manifest, the OpenSSF
    Model Signing signature, SLSA provenance, the data sets logged with the run, a CycloneDX
    ML-BOM with the model card inside, and model_card.md. Then registers it, which judges it.

    \b
    mlflow-governance submit runs:/RUN/model --name churn --key signer.pem \\
        --model-card model_card.yaml --test-result report.xml
    mlflow-governance submit models:/churn/3 --key signer.pem     (registered already)
    mlflow-governance submit runs:/RUN/model --name churn --keyless     (in a CI job)
    """
    from mlflow_governance.submission.seal import open_seal
    from mlflow_governance.submission.submit import SubmitOptions
    from mlflow_governance.submission.submit import submit as run

    with _bar() as progress:
        options = SubmitOptions(
            **files, password=seal.password, register=not no_register, progress=progress
        )
        done = run(model_uri, key=open_seal(seal), name=name, options=options)
    click.echo(f"submitted {done.model_digest} with {len(done.files)} files of evidence")
    if done.version is None:
        return
    click.echo(f"{done.version} is at {done.stage}")
    if done.stage == "None":
        click.echo(f"not accepted yet; see why: mlflow-governance show {done.version}")


@click.command()
@click.argument("version", metavar="NAME/VERSION")
@click.argument("what", type=click.Choice(["test-result", "canary"]), required=False)
@click.option("--result", help="Of a test PASSED or FAILED; of a canary PROCEED or ROLLBACK.")
@click.option("--predicate", "report", type=_path, help="JSON of any predicate; needs --type.")
@click.option("--type", "kind", help="URI of the predicate's type, or its short name.")
@sealing
def attest(version: str, seal: SealOptions, **said: Any) -> None:
    """Sign a result, or any predicate, about NAME/VERSION and attach it.

    The statement names the content, so it counts for these bytes only. Whose key counts for
    what is said in trust.yaml. Predicates are held to their schema before they are signed.

    \b
    mlflow-governance attest churn/3 test-result --result PASSED --key ci.pem
    mlflow-governance attest churn/3 --predicate trivy.json --type vulnerability-scan \\
        --key awskms:alias/scanner
    """
    from mlflow_governance.cli.client import RegistryClient
    from mlflow_governance.core import digest
    from mlflow_governance.submission.seal import open_seal
    from mlflow_governance.submission.submit import signed_statement

    now = moment.now()
    name, kind, body = _said(now=now, **said)
    signer = open_seal(seal)
    ref = VersionRef.parse(version)
    client = RegistryClient()
    subject = digest.parse(client.version(ref)["digest"])
    data = signed_statement(ref.name, subject, kind, body, signer)
    file = f"attestations/{name}-{now:%Y%m%dT%H%M%S%f}.intoto.json"
    client.attach(ref, file, data)
    click.echo(f"attached {file} to {ref}: {name} {said['result'] or kind}")


def _said(
    *, now: datetime, what: str | None, result: str | None, report: Path | None, kind: str | None
) -> tuple[str, str, dict[str, Any]]:
    """Short name, type and body of the predicate that is asked for, held to its schema."""
    from mlflow_governance.core import canonical
    from mlflow_governance.evidence import predicate
    from mlflow_governance.submission import statements

    if what and result and not (report or kind):
        if what == "canary":
            kind, body = predicate.CANARY, statements.canary(result, now)
        else:
            kind, body = predicate.TEST_RESULT, statements.plain_result(result)
    elif report and kind and not (what or result):
        # Of two versions with one schema the short name means the newer, which stands last.
        kind = {name: uri for uri, name in predicate.checked().items()}.get(kind, kind)
        try:
            body = canonical.decode_object(report.read_bytes())
        except OSError as error:
            raise InvalidRequest(f"{report} cannot be read: {error.strerror}") from error
    else:
        raise InvalidRequest(
            "nothing to attest, or two things at once",
            advice="Say test-result or canary with --result, or give --predicate with --type.",
        )
    if kind not in predicate.checked():
        raise InvalidRequest(
            f"no predicate type that is known: {kind[:200]}",
            advice=f"Known are {', '.join(sorted(set(predicate.checked().values())))}",
        )
    try:
        predicate.check(kind, body)
    except VerificationError as error:
        wrong = f"{result!r} is not a result of a {what}" if what else f"{report}: {error.message}"
        raise InvalidRequest(wrong) from error
    return predicate.checked()[kind], kind, body


@contextmanager
def _bar() -> Iterator[Progress | None]:
    """A progress bar over the bytes hashed, on terminals only."""
    if not sys.stderr.isatty():
        yield None
        return
    with ExitStack() as stack:
        bars: list[Any] = []

        def tell(count: int, total: int) -> None:
            if not bars:
                bar = click.progressbar(length=total, label="hashing", file=sys.stderr)
                bars.append(stack.enter_context(bar))
            bars[0].update(count)

        yield tell
