"""Commands on a database that no server of this version has opened yet."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from mlflow_governance.cli.main import cli
from mlflow_governance.errors import ConfigurationError
from mlflow_governance.store.migrate import VERSION_TABLE, ScriptDirectory, _config
from tests.unit.workflows.homes import home_of
from tests.unit.workflows.watched import Watched

COMMANDS = (
    ("ledger", "verify"),
    ("ledger", "recover", "--reason", "why"),
    ("ledger", "anchors"),
    ("validate",),
    ("as-of", "2h"),
    ("retention", "status"),
    ("keys", "rotate", "ledger", "--reason", "why"),
    ("privacy", "export", "alice"),
)


def refused(registry: Watched, home: Path, words: tuple[str, ...]) -> ConfigurationError:
    url = str(registry.sessions.engine.url)
    command = [*words, "--backend-store-uri", url, "--home", str(home)]
    result = CliRunner().invoke(cli, command, standalone_mode=False)
    assert isinstance(result.exception, ConfigurationError), (words, result.exception)
    return result.exception


def contents(*folders: Path) -> dict[Path, bytes]:
    return {
        path: path.read_bytes()
        for folder in folders
        for path in folder.rglob("*")
        if path.is_file() and not path.name.endswith(("-wal", "-shm"))
    }


@pytest.mark.parametrize(
    ("version", "said"),
    [("older", "older version: start the server once"), ("v9999", "newer version")],
)
def test_they_say_so_and_change_nothing(version: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "registry").mkdir()
    registry = Watched(tmp_path / "registry")
    home = home_of(registry)
    if version == "older":
        scripts = ScriptDirectory.from_config(_config())
        version = str(scripts.get_revision("head").down_revision)
    with registry.sessions.engine.begin() as connection:
        connection.execute(sa.text(f"UPDATE {VERSION_TABLE} SET version_num = '{version}'"))
    registry.sessions.dispose()
    before = contents(tmp_path)

    for words in COMMANDS:
        assert said in refused(registry, home, words).message, words

    assert contents(tmp_path) == before


@pytest.mark.parametrize("words", [("ledger", "verify"), ("retention", "status"), ("as-of", "2h")])
def test_a_home_that_is_not_there_is_asked_for(words: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "registry").mkdir()
    registry = Watched(tmp_path / "registry")

    error = refused(registry, tmp_path / "elsewhere", words)

    assert error.advice == "Name the home folder: --home DIR"
    assert not (tmp_path / "elsewhere").exists()
