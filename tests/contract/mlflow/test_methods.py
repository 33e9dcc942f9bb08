"""Every public method of the installed MLflow's stores is known.

A failure here after an upgrade is the list of what the new MLflow can do to the registry, or to
the ground its versions stand on.
"""

from __future__ import annotations

import ast
import inspect
import textwrap

import pytest
from mlflow.store.artifact.artifact_repo import ArtifactRepository
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository
from mlflow.store.artifact.s3_artifact_repo import S3ArtifactRepository
from mlflow.store.model_registry.abstract_store import AbstractStore
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore as TrackingStore
from mlflow.store.tracking.sqlalchemy_workspace_store import (
    WorkspaceAwareSqlAlchemyStore as TrackingWorkspaceStore,
)

from mlflow_governance.plugin import methods
from mlflow_governance.plugin.registry_store import GovernedSqlStore, GovernedWorkspaceStore
from tests.contract.mlflow import tracking_methods

STORES = (GovernedSqlStore, GovernedWorkspaceStore)
REPOSITORIES = (ArtifactRepository, LocalArtifactRepository, S3ArtifactRepository)


@pytest.mark.parametrize("store", STORES)
def test_the_registry_store_has_no_method_nobody_looked_at(store: type) -> None:
    assert list(methods.unknown(store)) == []


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("name", sorted(methods.GOVERNED))
def test_what_is_called_governed_is_overridden(store: type, name: str) -> None:
    owner = next(kind for kind in store.__mro__ if name in vars(kind))

    assert owner.__module__.startswith("mlflow_governance.")


@pytest.mark.parametrize("store", STORES)
def test_what_is_overridden_is_called_governed_or_tells_less(store: type) -> None:
    ours = {
        name
        for kind in store.__mro__
        if kind.__module__.startswith("mlflow_governance.")
        for name in vars(kind)
        if name in methods.KNOWN
    }

    assert ours <= methods.GOVERNED | methods.READ | methods.DESCRIPTIVE


@pytest.mark.parametrize("name", sorted(methods.COMPOSED))
def test_what_is_composed_is_made_of_known_methods_alone(name: str) -> None:
    """It opens no session of its own: whatever it does, it does through the store's methods."""
    method = getattr(SqlAlchemyStore, name)
    owner = next(kind for kind in SqlAlchemyStore.__mro__ if name in vars(kind))
    tree = ast.parse(textwrap.dedent(inspect.getsource(method)))
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "self"
    }

    assert owner in (AbstractStore, SqlAlchemyStore)
    assert used
    assert used <= methods.KNOWN | {"__class__"}


def test_the_groups_do_not_overlap() -> None:
    groups = (
        *(methods.GOVERNED, methods.COMPOSED, methods.READ),
        *(methods.DESCRIPTIVE, methods.BESIDE),
    )

    assert sum(map(len, groups)) == len(methods.KNOWN)


@pytest.mark.parametrize("store", [TrackingStore, TrackingWorkspaceStore])
def test_the_tracking_store_does_nothing_nobody_looked_at(store: type) -> None:
    assert tracking_methods.unknown(store) == []


@pytest.mark.parametrize("repository", REPOSITORIES)
def test_an_artifact_repository_hands_out_nothing_in_a_new_way(repository: type) -> None:
    found = {name for name in dir(repository) if not name.startswith("_")}

    assert found - tracking_methods.REPOSITORY == set()
