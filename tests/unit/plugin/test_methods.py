"""A method that MLflow adds to its registry store is refused until somebody looked at it."""

from __future__ import annotations

from typing import Any

import pytest
from mlflow.exceptions import MlflowException

from mlflow_governance.plugin import methods
from mlflow_governance.plugin.refusals import Refusal
from mlflow_governance.plugin.registry_store import GovernedSqlStore
from tests.unit.plugin.builders import NAME, Governed


class Newer:
    """MLflow's store as it may look next year."""

    LIMIT = 7

    def get_model_version(self, name: str, version: str) -> str:
        """Known."""
        return f"{name}/{version}"

    def move_model_version(self, name: str, to: str) -> str:
        """New."""
        return "moved"

    @staticmethod
    def export_registry() -> str:
        """New, and needs no store."""
        return "exported"

    @classmethod
    def import_registry(cls) -> str:
        """New, of the class."""
        return "imported"

    @property
    def raw_session(self) -> str:
        """New, and not even called."""
        return "session"

    def _helper(self) -> str:
        return "private"


Newer.__module__ = "mlflow.store.model_registry.sqlalchemy_store"


def governed() -> Any:
    """A store of ours over it, closed."""

    class Ours(Newer):
        def adopt(self) -> str:
            return "adopted"

    Ours.__module__ = "mlflow_governance.plugin.registry_store"
    names = methods.close_unknown(Ours)
    assert names == ["export_registry", "import_registry", "move_model_version", "raw_session"]
    assert methods.close_unknown(Ours) == []
    return Ours()


def test_a_method_nobody_looked_at_is_refused_by_name() -> None:
    with pytest.raises(Refusal, match="does not know the method move_model_version") as caught:
        governed().move_model_version("churn", to="elsewhere")

    assert caught.value.get_http_status_code() == 403
    assert "Upgrade mlflow-governance, or pin mlflow" in caught.value.message


@pytest.mark.parametrize("name", ["export_registry", "import_registry"])
def test_methods_without_a_store_are_refused_too(name: str) -> None:
    with pytest.raises(MlflowException, match=name):
        getattr(governed(), name)()


def test_a_property_is_refused_when_it_is_read() -> None:
    with pytest.raises(MlflowException, match="raw_session"):
        _ = governed().raw_session


def test_what_is_known_or_private_or_ours_goes_on() -> None:
    store = governed()

    assert store.get_model_version("churn", "1") == "churn/1"
    assert store._helper() == "private"
    assert store.adopt() == "adopted"
    assert store.LIMIT == 7
    assert Newer.export_registry() == "exported"


def test_a_real_store_works_as_before(governed: Governed) -> None:
    assert methods.close_unknown(GovernedSqlStore) == []

    ref = governed.candidate()

    assert governed.store.get_model_version(NAME, ref.version).name == NAME
