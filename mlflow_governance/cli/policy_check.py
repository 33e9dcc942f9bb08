"""``policy check``: everything wrong with a bundle, before it decides about anything."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlflow_governance import bootstrap, config
from mlflow_governance.cli.policy_source import FOUND, bundle_option, files, home_option
from mlflow_governance.errors import ConfigurationError, GovernanceError, Unavailable

if TYPE_CHECKING:
    from mlflow_governance.policy.bundle import Bundle
    from mlflow_governance.policy.check import Examination
    from mlflow_governance.policy.finding import Finding
    from mlflow_governance.policy.interface import PolicyEngine
    from mlflow_governance.policy.twin import Difference


@dataclass(frozen=True)
class Comparison:
    """What came of asking a real OPA the same; ``instead`` is why nobody was asked."""

    engine: str = ""
    inputs: int = 0
    differences: tuple[Difference, ...] = ()
    refusals: tuple[Finding, ...] = ()
    instead: str = ""


@click.command()
@bundle_option
@home_option
@click.option("--opa", default=None, help="The opa program to compare with; default: $OPA, PATH.")
@click.option(
    "--inputs", type=click.IntRange(0, 1_000_000), default=2000, show_default=True,
    help="Dossiers to ask both engines; 0 asks none.",
)  # fmt: skip
@click.option("--seed", type=int, default=None, help="Other dossiers than the usual ones.")
@click.option(
    "--save", type=click.Path(path_type=Path, file_okay=False),
    help="Folder to write the smallest dossier of each difference to.",
)  # fmt: skip
@click.option("--overlook", multiple=True, metavar="KIND", help="Leave out findings of a kind.")
@click.option(
    "--format", "form", type=click.Choice(["text", "json", "sarif"]), default="text",
    show_default=True, help="For people, for programs, or for code hosts.",
)  # fmt: skip
def check(  # noqa: PLR0913  (one for each option)
    bundle: Path | None,
    home: str | None,
    opa: str | None,
    inputs: int,
    seed: int | None,
    save: Path | None,
    overlook: tuple[str, ...],
    form: str,
) -> None:
    """Find everything that is wrong with a bundle, at once.

    Reads and compiles it, looks for what the embedded engine and OPA read differently, for data
    that hides rules, for gates that allow an empty dossier or answer in another shape, for checks
    without a text, and for values config.schema.json does not admit. Each finding is
    file:line:column: kind: message, and how to mend it.

    Where there is a real opa (--opa, $OPA, PATH, .tools/bin, or the server of config.yaml), both
    engines are asked the same dossiers, and each difference between their decisions is shown.

    \b
      mlflow-governance policy check --bundle mine
      mlflow-governance policy check --bundle mine --inputs 20000 --save differences
      mlflow-governance policy check --bundle mine --format sarif > policy.sarif

    Exit code 1 when anything was found.
    """
    from mlflow_governance.policy.check import RULES, examine
    from mlflow_governance.policy.samples import SEED

    unknown = set(overlook) - RULES.keys()
    if unknown:
        kinds = ", ".join(sorted(RULES))
        raise click.BadParameter(f"{', '.join(sorted(unknown))}: the kinds are {kinds}")
    given = files(bundle, home)
    _refuse_endless(given)
    examination = examine(given, frozenset(overlook))
    comparison = _compare(examination, home, opa, (inputs, SEED if seed is None else seed))
    show = {"text": _text, "json": _json, "sarif": _sarif}[form]
    click.echo("\n".join(show(examination, comparison)))
    if save is not None:
        for path in _save(comparison.differences, save):
            click.echo(f"saved {path}", err=True)
    if examination.findings or comparison.differences or comparison.refusals:
        sys.exit(FOUND)


def _refuse_endless(given: Mapping[str, bytes]) -> None:
    # What has no end would hold this program for ever, and Ctrl-C, too.
    from mlflow_governance.policy import trial
    from mlflow_governance.policy.bundle import from_files

    try:
        told = trial.over_budget(from_files(given)) if sys.platform != "win32" else ""
    except GovernanceError:
        return  # it is no bundle, which the examination explains
    if told:
        raise ConfigurationError(
            f"the bundle cannot be examined: {told}",
            advice="Find the rule that has to look at fewer things, or at less of each.",
        )


def _compare(
    examination: Examination, home: str | None, opa: str | None, asked: tuple[int, int]
) -> Comparison:
    from mlflow_governance.policy.embedded import EmbeddedEngine
    from mlflow_governance.policy.opa_process import OpaProcess, Refused, find_binary

    bundle, (inputs, seed) = examination.bundle, asked
    if bundle is None:
        return Comparison(instead="mend the findings first")
    if not inputs:
        return Comparison(instead="--inputs 0")
    binary = find_binary(opa)
    try:
        embedded = EmbeddedEngine(bundle)
        if binary is None:
            return _with_server(bundle, embedded, home, asked)
        with OpaProcess(binary, bundle) as process:
            return _asked(embedded, process, inputs, seed)
    except Refused as refusal:
        return Comparison(refusals=refusal.findings, instead="OPA does not load the bundle")
    except ConfigurationError as error:
        return Comparison(instead=error.message)
    except Unavailable as error:
        return Comparison(instead=error.message)


def _with_server(
    bundle: Bundle, embedded: PolicyEngine, home: str | None, asked: tuple[int, int]
) -> Comparison:
    settings = config.load(config.home_folder(home))
    if settings.opa is None:
        return Comparison(instead="there is no opa here; make tools builds one, --opa names one")
    return _asked(embedded, bootstrap.policy_engine(settings, bundle), *asked)


def _asked(embedded: PolicyEngine, opa: PolicyEngine, inputs: int, seed: int) -> Comparison:
    from mlflow_governance.policy.samples import samples
    from mlflow_governance.policy.twin import compare

    return Comparison(opa.name, inputs, compare(embedded, opa, samples(inputs, seed)))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _save(differences: tuple[Difference, ...], folder: Path) -> Iterator[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    for number, difference in enumerate(differences, 1):
        name = f"{difference.dossier.gate.value}-{number}.json"
        text = json.dumps(difference.dossier.to_document(), indent=2, sort_keys=True)
        (folder / name).write_text(f"{text}\n", "utf-8")
        yield folder / name


def _text(examination: Examination, comparison: Comparison) -> list[str]:
    found = (*examination.findings, *comparison.refusals)
    lines = [f"{finding}\n    fix: {finding.fix}" for finding in found]
    if comparison.instead:
        lines.append(f"not compared with a real OPA: {comparison.instead}")
    else:
        told = "the same decisions"
        if comparison.differences:
            told = _count(len(comparison.differences), "difference")
        lines.append(f"compared with {comparison.engine}: {comparison.inputs} dossiers, {told}")
    for difference in comparison.differences:
        lines += _told(difference)
    if found:
        lines.append(_count(len(found), "finding"))
    elif not comparison.differences and examination.bundle is not None:
        lines.append(f"the bundle is usable: {examination.bundle.digest} on {_engine_name()}")
    return lines


def _told(difference: Difference) -> list[str]:
    gate = difference.dossier.gate.value
    return [
        f"  the {gate} gate, {difference.count} of them: {', '.join(difference.members)}",
        f"    changed:  {', '.join(difference.changed) or 'nothing, it is a good dossier'}",
        f"    embedded: {_answer(difference.embedded)}",
        f"    opa:      {_answer(difference.opa)}",
    ]


def _answer(answer: Any) -> str:
    if "no answer" in answer:
        return str(answer["no answer"])[:300]
    refused = ", ".join(reason["code"] for reason in answer["reasons"])
    return "allow" if answer["allow"] else f"deny ({refused})"


def _engine_name() -> str:
    from mlflow_governance.policy.embedded import engine_name

    return engine_name()


def _json(examination: Examination, comparison: Comparison) -> list[str]:
    found = (*examination.findings, *comparison.refusals)
    document = {
        "policy_digest": examination.bundle.digest if examination.bundle else None,
        "findings": [finding.to_document() for finding in found],
        "compared_with": comparison.engine or None,
        "not_compared": comparison.instead or None,
        "inputs": comparison.inputs,
        "differences": [difference.to_document() for difference in comparison.differences],
    }
    return [json.dumps(document, indent=2, ensure_ascii=False)]


def _sarif(examination: Examination, comparison: Comparison) -> list[str]:
    from mlflow_governance.policy.sarif import sarif

    found = [*examination.findings, *comparison.refusals]
    found += [difference.as_finding() for difference in comparison.differences]
    return [json.dumps(sarif(found), indent=2, ensure_ascii=False)]
