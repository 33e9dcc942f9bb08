from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.serving import builders
from tests.unit.serving.builders import World


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return builders.train(tmp_path_factory.mktemp("trained"))


@pytest.fixture
def world(tmp_path: Path, trained: Path) -> World:
    return builders.world(tmp_path, trained)
