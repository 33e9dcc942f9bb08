"""The commands docs/evidence.md shows are there, with the options they are shown with."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from mlflow_governance.cli.main import cli
from mlflow_governance.core.resources import folder
from tests.unit.docs.blocks import DOCS, blocks
from tests.unit.evidence import builders

PAGE = DOCS / "evidence.md"
TEXT = PAGE.read_text("utf-8")


def commands(tool: str) -> Iterator[str]:
    """Every command of a tool in the blocks of the page, and those in its sentences."""
    for block in blocks(PAGE):
        if block.language == "console":
            shown = re.sub(r"\\\n\s*", "", block.text)
            yield from re.findall(rf"^\$ ({tool} .+)$", shown, re.M)
    if tool == "mlflow-governance":
        yield from re.findall(r"`(mlflow-governance [^`]+)`", TEXT)


@pytest.mark.parametrize("line", sorted(set(commands("mlflow-governance"))))
def test_a_command_takes_what_it_is_shown_with(line: str) -> None:
    words = shlex.split(line.partition(" > ")[0], comments=True)[1:]
    command: click.Command = cli
    context = click.Context(cli, **cli.context_settings)
    while isinstance(command, click.Group) and words:
        found = command.get_command(context, words[0])
        assert found is not None, f"there is no {words[0]!r}"
        command, context = found, click.Context(found, context)
        words = words[1:]

    # Raises for an option that is not there, or has no value.
    _, left, _ = command.make_parser(context).parse_args([word for word in words if word != "…"])

    assert left == []


def test_a_card_is_begun_and_checked_as_shown(tmp_path: Path) -> None:
    from click.testing import CliRunner

    (line,) = [c for c in commands("mlflow-governance") if " card init" in c]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        done = CliRunner().invoke(cli, shlex.split(line)[1:], catch_exceptions=False)

    assert done.exit_code == 0
    assert (tmp_path / "model_card.yaml").is_file()


def test_the_commands_of_cosign_sign_without_asking_anybody(tmp_path: Path) -> None:
    path = builders.cosign()
    if path is None:
        pytest.skip("no cosign: set COSIGN to its path")
    (tmp_path / "attestations").mkdir()
    (tmp_path / "manifest.json").write_text("[]")
    (tmp_path / "provenance.json").write_text(json.dumps(builders.PROVENANCE_BODY))
    environment = {**os.environ, "HOME": str(tmp_path), "COSIGN_PASSWORD": ""}
    for line in ("cosign generate-key-pair", *commands("cosign")):
        done = subprocess.run(
            [path, *shlex.split(line)[1:]],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    assert (tmp_path / "manifest.json.sigstore.json").is_file()
    assert (tmp_path / "attestations" / "provenance.intoto.json").is_file()


def test_mlflow_s_client_has_the_calls_that_log_evidence() -> None:
    import inspect

    from mlflow import MlflowClient

    calls = re.findall(r"(log_\w+)\(([^)]*)\)", TEXT)
    assert {name for name, _ in calls} == {"log_model_artifacts", "log_artifacts"}
    for name, arguments in calls:
        given = [json.loads(argument) for argument in arguments.split(", ")]
        inspect.signature(getattr(MlflowClient, name)).bind(None, *given)


def test_every_short_name_and_schema_it_points_at_is_there() -> None:
    from mlflow_governance.submission import predicates

    listed = re.search(r"`--type` also takes (.+?) and any URI", TEXT, re.S)
    assert listed is not None
    assert set(re.findall(r"`([\w-]+)`", listed[1])) <= set(predicates.known())
    for schema in re.findall(r"`attestations/([\w.]+json)`", TEXT):
        assert (folder("attestations") / schema).is_file()
