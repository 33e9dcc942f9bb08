"""Every command our messages name exists."""

import re
from pathlib import Path

import click
import pytest

from mlflow_governance.cli.main import cli

ROOT = Path(__file__).parents[3]
_WORDS = r"mlflow-governance ([a-z]+(?:-[a-z]+)*)(?: ([a-z]+(?:-[a-z]+)*))?"
_COMMAND = re.compile(_WORDS)
# In prose the project's name may stand before any word; code is in back-quotes or on its own line.
_IN_PROSE = re.compile(r"(?:`|^\s*(?:\$ )?)" + _WORDS, re.MULTILINE)
_PROSE = {"was", "itself", "and", "or", "is"}


def _named() -> set[tuple[str, str, str]]:
    found = set()
    for folder in ("mlflow_governance", "policies", "webhooks", "attestations", "docs"):
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in {".py", ".rego", ".md", ".json", ".html", ".js"}:
                pattern = _IN_PROSE if path.suffix == ".md" else _COMMAND
                for verb, noun in pattern.findall(path.read_text("utf-8")):
                    if verb not in _PROSE:
                        found.add((verb, noun, str(path.relative_to(ROOT))))
    return found


@pytest.mark.parametrize(("verb", "noun", "where"), sorted(_named()))
def test_a_command_a_message_names_exists(verb: str, noun: str, where: str) -> None:
    context = click.Context(cli)
    command = cli.get_command(context, verb)

    assert command is not None, f"{where} names a command that does not exist: {verb}"
    if isinstance(command, click.Group) and noun:
        assert command.get_command(context, noun), f"{where} names {verb} {noun}"


def test_every_command_teaches_with_its_help() -> None:
    context = click.Context(cli)
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        assert command is not None
        assert len(command.help or "") > 30, f"{name} says too little"
