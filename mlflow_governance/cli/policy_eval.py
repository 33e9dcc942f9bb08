"""``policy eval``: what a gate says of a dossier, as the registry would record and show it."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from mlflow_governance import bootstrap, config
from mlflow_governance.cli.policy_source import bundle_option, files, format_option, home_option
from mlflow_governance.core.dossier import Gate
from mlflow_governance.errors import ConfigurationError, Denied, InvalidRequest

if TYPE_CHECKING:
    from mlflow_governance.core.decision import Decision
    from mlflow_governance.core.dossier import Dossier
    from mlflow_governance.policy.bundle import Bundle
    from mlflow_governance.policy.interface import PolicyEngine


@click.command("eval")
@click.argument("gate", type=click.Choice([gate.value for gate in Gate]))
@click.argument("dossier", type=click.File("rb"), required=False)
@click.option("--sample", is_flag=True, help="Take a dossier the shipped gate allows.")
@click.option(
    "--write", type=click.Path(path_type=Path, dir_okay=False),
    help="Write the dossier there, to change it and ask again.",
)  # fmt: skip
@bundle_option
@home_option
@click.option(
    "--engine", type=click.Choice(["embedded", "opa"]), default="embedded", show_default=True,
    help="opa: a program here, or the server of config.yaml.",
)  # fmt: skip
@click.option("--opa", default=None, help="The opa program for --engine opa.")
@format_option
def evaluate(  # noqa: PLR0913  (one for each option)
    gate: str,
    dossier: BinaryIO | None,
    sample: bool,
    write: Path | None,
    bundle: Path | None,
    home: str | None,
    engine: str,
    opa: str | None,
    form: str,
) -> None:
    """Ask a GATE about a DOSSIER and show the decision.

    DOSSIER is a JSON file (- for standard input): a dossier, or a decision as the registry
    stores it (GET /decision), which holds one. Without a registry begin with a sample.

    \b
      mlflow-governance policy eval download --sample --write dossier.json
      mlflow-governance policy eval download dossier.json --bundle mine
      mlflow-governance policy eval promote - --format json < decision.json

    Exit code 4 when the gate denies.
    """
    from mlflow_governance.policy.bundle import from_files
    from mlflow_governance.policy.decide import decide

    asked = _dossier(Gate(gate), dossier, sample)
    if write is not None:
        text = json.dumps(asked.to_document(), indent=2, ensure_ascii=False)
        write.write_text(f"{text}\n", "utf-8")
    loaded = from_files(files(bundle, home))
    with _engine(engine, loaded, home, opa) as chosen:
        decision = decide(chosen, asked)
    if form == "json":
        click.echo(json.dumps(decision.to_document(), indent=2, ensure_ascii=False))
    else:
        click.echo("\n".join(_lines(decision, asked)))
    if not decision.allow:
        sys.exit(Denied.exit_code)


def _dossier(gate: Gate, given: BinaryIO | None, sample: bool) -> Dossier:
    from mlflow_governance.core import canonical
    from mlflow_governance.core.dossier import Dossier
    from mlflow_governance.policy.interface import EngineError
    from mlflow_governance.policy.samples import dossier as good
    from mlflow_governance.policy.validity import refuse_unless_valid

    if (given is None) is not sample:
        raise click.UsageError("name a DOSSIER, or say --sample")
    if given is None:
        return good(gate)
    document = canonical.decode_object(given.read())
    stored = document.get("dossier")
    document = stored if isinstance(stored, dict) else document
    try:
        asked = Dossier.from_document(document)
        refuse_unless_valid(asked)
    except EngineError as error:
        advice = f"Begin with a sample: mlflow-governance policy eval {gate.value} --sample"
        raise InvalidRequest(error.message, advice=advice) from error
    if asked.gate is not gate:
        raise InvalidRequest(f"the dossier was made for the {asked.gate.value} gate")
    return asked


@contextlib.contextmanager
def _engine(name: str, bundle: Bundle, home: str | None, opa: str | None) -> Iterator[PolicyEngine]:
    from mlflow_governance.policy.embedded import EmbeddedEngine
    from mlflow_governance.policy.opa_process import OpaProcess, find_binary

    if name == "embedded":
        yield EmbeddedEngine(bundle)
        return
    binary = find_binary(opa)
    if binary is not None:
        with OpaProcess(binary, bundle) as process:
            yield process
        return
    settings = config.load(config.home_folder(home))
    if settings.opa is None:
        raise ConfigurationError(
            "there is no opa here, and config.yaml names no server",
            advice="Build one (make tools) or name one: mlflow-governance policy eval --opa PATH",
        )
    yield bootstrap.policy_engine(settings, bundle)


def _lines(decision: Decision, dossier: Dossier) -> Iterator[str]:
    subject, said = dossier.subject, "allow" if decision.allow else "deny"
    yield f"{said}: {decision.gate} of {subject.ref} ({subject.stage}) for {dossier.actor.person}"
    reasons = {reason.code: reason for reason in (*decision.reasons, *decision.shadow)}
    told = {str(w.get("code")): str(w.get("message", "")) for w in decision.warnings}
    waived = {entry["code"]: entry for entry in decision.waived}
    for code, ok in decision.checks.items():
        mode = decision.modes.get(code, "")
        state = "ok" if ok else "waived" if code in waived else mode or "FAILED"
        reason = reasons.get(code)
        message = "" if ok else reason.message if reason else told.get(code, "")
        yield f"  {state:<7} {code}  {message}".rstrip()
        if not ok and code in waived:
            entry = waived[code]
            yield (f"          waiver {entry['waiver']} of {entry['owner']}, approved by "
                   f"{entry['approver']}, until {entry['expires']}")  # fmt: skip
        if not ok and reason is not None and reason.fix:
            yield f"          fix: {reason.fix}"
    for warning in decision.warnings:
        if warning.get("code") not in decision.checks:
            yield f"  warning {warning.get('code', '')}  {warning.get('message', '')}".rstrip()
    for obligation in decision.obligations:
        yield f"  obliges {json.dumps(dict(obligation), ensure_ascii=False, sort_keys=True)}"
    yield f"  policy  {decision.policy_digest} on {decision.engine}, {decision.duration} µs"
