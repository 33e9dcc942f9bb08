"""Nothing a governed version stands on is deleted, whatever deletes it and how."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from mlflow.exceptions import MlflowException

from mlflow_governance.core.stage import Stage
from mlflow_governance.plugin import compat
from mlflow_governance.plugin.ground import Ground, keep_ground
from mlflow_governance.plugin.refusals import Refusal
from tests.unit.plugin.builders import Governed


class Standing:
    """An experiment with a run and a logged model, in MLflow's own tracking store."""

    def __init__(self, governed: Governed, store: Any) -> None:
        self.governed, self.store = governed, store
        self.experiment = store.create_experiment("one")
        self.run = store.create_run(self.experiment, "u", 0, [], "r").info.run_id
        self.model = store.create_logged_model(self.experiment, "m").model_id

    def place(self, kind: str) -> str:
        """A folder of this run or model, below the artifact destination."""
        return {"run": f"{self.experiment}/{self.run}/artifacts/model"}.get(
            kind, f"{self.experiment}/models/{self.model}/artifacts"
        )

    def identifier(self, kind: str) -> str:
        return str({"run": self.run, "experiment": self.experiment}.get(kind, self.model))

    def delete(self, kind: str) -> None:
        getattr(self.store, f"delete_{kind.replace(' ', '_')}")(self.identifier(kind))

    def is_there(self, kind: str) -> bool:
        if kind == "run":
            return bool(self.store.get_run(self.run).info.lifecycle_stage == "active")
        if kind == "experiment":
            return bool(self.store.get_experiment(self.experiment).lifecycle_stage == "active")
        try:
            return bool(self.store.get_logged_model(self.model))
        except MlflowException:
            return False


@pytest.fixture
def standing(governed: Governed, monkeypatch: pytest.MonkeyPatch) -> Iterator[Standing]:
    from mlflow.server import handlers
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    store = SqlAlchemyStore(governed.database, "mlflow-artifacts:/")
    monkeypatch.setattr(handlers, "_tracking_store", store)
    keep_ground(governed.store.governance)
    yield Standing(governed, store)
    store.engine.dispose()


KINDS = ["run", "experiment", "logged model"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stage", ["None", "Candidate", "Staging", "Revoked"])
def test_what_a_version_stands_on_is_not_deleted_at_any_stage(
    standing: Standing, kind: str, stage: str
) -> None:
    governed, place = standing.governed, standing.place(kind)
    if stage == "None":
        governed.at_none(place)
    else:
        ref = governed.staging(place) if stage == "Staging" else governed.candidate(place)
        if stage == "Revoked":
            governed.withdraw(ref, Stage.REVOKED)
    entries = governed.count("governance_ledger_entries")

    with pytest.raises(Refusal, match=r"churn/1 stands on the") as refusal:
        standing.delete(kind)

    assert refusal.value.get_http_status_code() == 403
    released = stage in ("Staging", "Revoked")
    mend = "mlflow-governance revoke churn/1" if released else 'delete_model_version("churn", "1")'
    assert mend in str(refusal.value)
    assert standing.is_there(kind)
    assert governed.count("governance_ledger_entries") == entries + 1
    governed.agrees()


@pytest.mark.parametrize("kind", KINDS)
def test_once_the_version_is_deleted_its_ground_may_be(standing: Standing, kind: str) -> None:
    ref = standing.governed.candidate(standing.place(kind))
    with pytest.raises(Refusal):
        standing.delete(kind)

    standing.governed.store.delete_model_version(ref.name, ref.version)
    standing.delete(kind)

    assert not standing.is_there(kind)


@pytest.mark.parametrize("kind", KINDS)
def test_what_nothing_stands_on_is_deleted_and_restored_as_ever(
    standing: Standing, kind: str
) -> None:
    standing.governed.candidate("99/models/m-1/artifacts")

    standing.delete(kind)
    assert not standing.is_there(kind)
    compat.bring_back(kind, standing.identifier(kind))

    assert standing.is_there(kind)


@pytest.mark.parametrize("kind", KINDS)
def test_deleting_for_good_is_refused_as_well(standing: Standing, kind: str) -> None:
    standing.governed.candidate(standing.place(kind))
    hard = getattr(standing.store, f"_hard_delete_{kind.replace(' ', '_')}")

    with pytest.raises(Refusal):
        hard(standing.identifier(kind))
    with pytest.raises(Refusal):
        hard(**{f"{kind.replace('logged ', '')}_id": standing.identifier(kind)})


def test_a_neighbour_may_be_deleted(standing: Standing) -> None:
    standing.governed.candidate(standing.place("run"))

    standing.delete("logged model")
    other = standing.store.create_experiment("two")
    standing.store.delete_experiment(other)

    assert not standing.is_there("logged model")


def test_a_source_that_names_a_run_holds_it_wherever_the_files_are(standing: Standing) -> None:
    governed = standing.governed
    governed.model(standing.place("run"))
    governed.store.create_registered_model("churn")
    governed.store.create_model_version("churn", f"runs:/{standing.run}/model")

    assert compat.registered_from("run", standing.run) == [("default", "churn", 1)]
    assert compat.registered_from("run", standing.run[:-1]) == []
    assert compat.registered_from("experiment", standing.experiment) == []
    with pytest.raises(Refusal):
        standing.delete("run")


@pytest.mark.parametrize("kind", KINDS)
def test_a_registration_that_overtakes_a_deletion_undoes_it(
    standing: Standing, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = Ground.check_deletion
    asked: list[tuple[str, ...]] = []

    def then_register(self: Ground, *what: str) -> None:
        check(self, *what)
        if not asked:
            asked.append(what)
            standing.governed.candidate(standing.place(kind))

    monkeypatch.setattr(Ground, "check_deletion", then_register)

    with pytest.raises(Refusal, match="stands on"):
        standing.delete(kind)

    assert standing.is_there(kind)


def test_what_is_not_there_is_for_mlflow_to_say(standing: Standing) -> None:
    for delete in (standing.store.delete_run, standing.store.delete_logged_model):
        with pytest.raises(MlflowException, match="not found"):
            delete("0" * 32)


def test_nothing_is_deleted_while_the_ground_cannot_be_seen(
    standing: Standing, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: str) -> Any:
        raise OSError("the database is away")

    monkeypatch.setattr(compat, "artifact_uri_of", away)

    with pytest.raises(Refusal, match="could not decide"):
        standing.delete("run")

    assert standing.is_there("run")


def test_every_deletion_of_the_tracking_store_is_known(standing: Standing) -> None:
    kinds = {"run", "experiment", "logged_model"}
    deleting = {
        name
        for name in dir(type(standing.store))
        if name.lstrip("_").removeprefix("hard_").removeprefix("delete_").rstrip("s") in kinds
        and "delete" in name
    }

    assert deleting == set(compat.DELETIONS)


def workspace(**fields: str) -> Any:
    empty = {"name": "w", "default_artifact_root": None, "trace_archival_location": None}
    return SimpleNamespace(**{**empty, **fields})


@pytest.fixture
def ground(governed: Governed) -> Ground:
    return Ground(governed.store.governance)


def test_a_workspace_with_versions_is_neither_deleted_nor_emptied(
    governed: Governed, ground: Ground
) -> None:
    governed.candidate()

    with pytest.raises(Refusal, match="stands on the workspace default"):
        ground.check_workspace_deletion("default", mode="SET_DEFAULT")
    ground.check_workspace_deletion("other")


@pytest.mark.parametrize("root", ["s3://elsewhere/x", "file:///tmp/x", "/tmp/x"])
def test_a_workspace_keeps_no_artifacts_past_the_guard(ground: Ground, root: str) -> None:
    with pytest.raises(Refusal, match="nothing there would be guarded"):
        ground.check_workspace(workspace(default_artifact_root=root))
    ground.check_workspace(workspace(default_artifact_root="mlflow-artifacts:/w"))
    ground.check_workspace(workspace(default_artifact_root=""))


def test_traces_are_not_archived_into_the_artifact_destination(
    governed: Governed, ground: Ground
) -> None:
    for inside in (f"file://{governed.artifacts}/1/models/m-1", str(governed.artifacts)):
        with pytest.raises(Refusal, match="archive traces"):
            ground.check_workspace(workspace(trace_archival_location=inside))
    ground.check_workspace(workspace(trace_archival_location=f"file://{governed.folder}/archive"))
    ground.check_workspace(workspace(trace_archival_location="s3://archive/traces"))
