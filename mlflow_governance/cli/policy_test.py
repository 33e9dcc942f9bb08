"""``policy test``: the Rego tests of a bundle, without opa."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlflow_governance.cli.policy_source import (
    FOUND,
    bundle_option,
    files,
    format_option,
    home_option,
)

if TYPE_CHECKING:
    from mlflow_governance.policy.testing import Report


@click.command()
@bundle_option
@home_option
@click.option("--run", "matching", default="", help="Only tests whose path this regex finds.")
@click.option("--verbose", "-v", is_flag=True, help="Show tests that passed, too.")
@click.option("--coverage", is_flag=True, help="Show which lines no test evaluates.")
@click.option(
    "--threshold", type=click.FloatRange(0, 100), default=None,
    help="Fail below so many percent of evaluated lines; means --coverage.",
)  # fmt: skip
@format_option
def test(  # noqa: PLR0913  (one for each option)
    bundle: Path | None,
    home: str | None,
    matching: str,
    verbose: bool,
    coverage: bool,
    threshold: float | None,
    form: str,
) -> None:
    """Run the tests of a bundle on the embedded engine; opa is not needed.

    Runs the rules test_… of the folder tests/ and of every *_test.rego beside the policies, each
    by itself, and ends them as opa test does: PASS, FAIL, ERROR, or SKIPPED for todo_test_….
    What a test prints is shown where it does not pass.

    \b
      mlflow-governance policy test --bundle mine
      mlflow-governance policy test --bundle mine --run promote -v
      mlflow-governance policy test --bundle mine --threshold 90

    Exit code 1 when a test fails, breaks, or too few lines are evaluated.
    """
    from mlflow_governance.policy.testing import run

    counted = coverage or threshold is not None
    report = run(files(bundle, home), matching=matching, coverage=counted)
    if form == "json":
        click.echo(json.dumps(_document(report), indent=2, ensure_ascii=False))
    else:
        click.echo("\n".join(_lines(report, verbose)))
    low = threshold is not None and report.percent < threshold
    if low:
        click.echo(f"{report.percent:.1f} % of the lines are below {threshold:g} %", err=True)
    if low or not report.passed:
        sys.exit(FOUND)


def _lines(report: Report, verbose: bool) -> Iterator[str]:
    from mlflow_governance.policy.testing import Outcome, uncovered

    for result in report.results:
        if result.outcome is Outcome.PASS and not verbose:
            continue
        place = f"{result.test.file}:{result.test.line}"
        yield f"{result.outcome:<8} {result.test.path} ({place}, {result.duration / 1e6:.1f} ms)"
        yield from (f"    {line}" for line in result.message.splitlines())
        yield from (f"    print {line}" for line in result.prints)
    for file, (done, left) in report.coverage.items():
        share = 100 * len(done) / max(1, len(done) + len(left))
        missed = f", not lines {', '.join(uncovered(left))}" if left else ""
        yield f"{share:5.1f} %  {file}{missed}"
    if report.coverage:
        yield f"{report.percent:5.1f} %  of all lines"
    counts = [
        f"{outcome}: {sum(r.outcome is outcome for r in report.results)}/{len(report.results)}"
        for outcome in Outcome
        if outcome is Outcome.PASS or any(r.outcome is outcome for r in report.results)
    ]
    yield ", ".join(counts) if report.results else "there are no such tests"


def _document(report: Report) -> dict[str, object]:
    from mlflow_governance.policy.testing import uncovered

    covered = {
        file: {"covered": list(uncovered(done)), "not_covered": list(uncovered(left))}
        for file, (done, left) in report.coverage.items()
    }
    return {
        "passed": report.passed,
        "tests": [result.to_document() for result in report.results],
        **({"coverage": round(report.percent, 2), "files": covered} if covered else {}),
    }
