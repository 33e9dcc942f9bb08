from __future__ import annotations

from collections.abc import Iterator

import pytest

from examples.local_server import LocalServer
from tests.integration.told import Told
from tests.integration.world import World


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One governed server on SQLite with basic-auth, shared by tests that do not break it.

    The flag is MLflow's own, and shows that such flags arrive.
    """
    folder = tmp_path_factory.mktemp("world")
    with LocalServer(folder, flags=("--x-frame-options", "DENY")) as server:
        populated = World(server)
        populated.populate()
        yield populated


@pytest.fixture(scope="session")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    """A governed server that tests may stop and start again, with a receiver of its events."""
    with Told.running(tmp_path_factory.mktemp("told")) as world:
        yield world


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The stock client warns about itself in many places; our own warnings are still errors."""
    for item in items:
        if "tests/integration" in str(item.path):
            item.add_marker(pytest.mark.filterwarnings("ignore:::mlflow"))
            item.add_marker(pytest.mark.filterwarnings("ignore::UserWarning"))
            item.add_marker(pytest.mark.filterwarnings("ignore::FutureWarning"))
            item.add_marker(pytest.mark.filterwarnings("ignore::ResourceWarning"))
