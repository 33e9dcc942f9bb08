from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import pytest

from mlflow_governance.policy import syntax


@pytest.fixture(scope="session", autouse=True)
def modules_are_parsed_once() -> Iterator[None]:
    """Nearly every bundle here is the shipped one with a module changed; nothing changes a tree."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(syntax, "_parsed", lru_cache(256)(syntax._parsed))
        yield
