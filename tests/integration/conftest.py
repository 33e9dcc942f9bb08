from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import create_engine, make_url, text

from examples.local_server import LocalServer
from tests.integration.told import Told
from tests.integration.world import World


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One governed server on SQLite with basic-auth, shared by tests that do not break it.

    It leaves ``scratch-*`` to MLflow. The flag is MLflow's own, and shows that such flags arrive.
    """
    folder = tmp_path_factory.mktemp("world")
    home = folder / "home"
    home.mkdir(mode=0o700)
    (home / "config.yaml").write_text('ungoverned_models: ["scratch-*"]\n')
    with LocalServer(folder, flags=("--x-frame-options", "DENY")) as server:
        populated = World(server)
        populated.populate()
        yield populated


@pytest.fixture(scope="session")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    """A governed server that tests may stop and start again, with a receiver of its events."""
    with Told.running(tmp_path_factory.mktemp("told")) as world:
        yield world


@pytest.fixture(scope="session")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A server with workspaces. MLflow lets its administrator alone write in them."""
    import mlflow

    folder = tmp_path_factory.mktemp("wide")
    with LocalServer(folder, flags=("--enable-workspaces",)) as server:
        populated = World(server)
        populated.populate()
        with populated.speaking_as("admin"):
            mlflow.create_workspace("team")
        yield populated


@contextmanager
def fresh_database(prefix: str) -> Iterator[str]:
    """A fresh database on the PostgreSQL the environment names, gone afterwards."""
    url = make_url(os.environ["GOVERNANCE_TEST_POSTGRESQL"])
    name = f"{prefix}_{secrets.token_hex(4)}"
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    yield url.set(database=name).render_as_string(hide_password=False)
    with engine.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    engine.dispose()


@pytest.fixture
def database() -> Iterator[str]:
    """A fresh database on PostgreSQL."""
    with fresh_database("integration") as url:
        yield url


@pytest.fixture(scope="session")
def big(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Four server processes on PostgreSQL."""
    folder = tmp_path_factory.mktemp("postgresql")
    with (
        fresh_database("big") as backend,
        LocalServer(folder, backend=backend, flags=("--workers", "4")) as server,
    ):
        populated = World(server)
        populated.populate()
        yield populated


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The stock client warns about itself in many places; our own warnings are still errors."""
    for item in items:
        if "tests/integration" in str(item.path):
            item.add_marker(pytest.mark.filterwarnings("ignore:::mlflow"))
            item.add_marker(pytest.mark.filterwarnings("ignore::UserWarning"))
            item.add_marker(pytest.mark.filterwarnings("ignore::FutureWarning"))
            item.add_marker(pytest.mark.filterwarnings("ignore::ResourceWarning"))
