"""Where governance permits, clients see what a stock MLflow server answers."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import mlflow
import pytest
import requests

from examples.local_server import LocalServer
from tests.integration.world import StockServer, World, sample

API = "/api/2.0/mlflow"
Answer = tuple[str, int, str, Any]

_VOLATILE = re.compile(
    r"m-[0-9a-f]{32}|tr-[0-9a-f]{32}|[0-9a-f]{32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
    r"|127\.0\.0\.1:\d+|\b1\d{12}\b|\d{4}-\d\d-\d\d[T ][\d:.]+Z?"
)
_TIMES = 10**9


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, World]]:
    """A stock server and a governed one, on nothing but what they start with."""
    folder = tmp_path_factory.mktemp("both")
    with (
        StockServer(folder / "stock", auth="none") as stock,
        LocalServer(folder / "governed", auth="none") as governed,
    ):
        yield World(stock), World(governed)


def told(answer: requests.Response) -> tuple[int, str, Any]:
    """Status, media type and body of an answer, without ids, times and our own tags."""
    kind = answer.headers.get("Content-Type", "")
    text = answer.text
    if kind.startswith("application/json"):
        return answer.status_code, kind, plain(answer.json())
    return answer.status_code, kind, _VOLATILE.sub("*", text)


def plain(value: Any) -> Any:
    """A JSON value without ids, times and the tags ``governance.*``."""
    if isinstance(value, list):
        return [plain(v) for v in value if not _is_ours(v)]
    if isinstance(value, dict):
        kept = {k: plain(v) for k, v in value.items() if k != "last_updated_timestamp"}
        return {k: v for k, v in kept.items() if not (k == "tags" and v == [])}
    if isinstance(value, int) and value > _TIMES:
        return "*"
    return _VOLATILE.sub("*", value) if isinstance(value, str) else value


def _is_ours(value: Any) -> bool:
    return isinstance(value, dict) and str(value.get("key", "")).startswith("governance.")


def same(both: tuple[World, World], act: Callable[[World], Any]) -> list[Any]:
    """Do one thing on both; returns what both said."""
    stock, governed = (act(world) for world in both)
    assert governed == stock
    return [governed]


class Script:
    """HTTP calls one after the other; each answer is kept."""

    def __init__(self, world: World) -> None:
        self.world, self.answers = world, list[Answer]()

    def ask(self, method: str, path: str, **options: Any) -> Any:
        answer = self.world.ask("", method, path, **options)
        self.answers.append((_VOLATILE.sub("*", path), *told(answer)))
        try:
            return answer.json()
        except ValueError:
            return {}

    def post(self, path: str, **body: Any) -> Any:
        return self.ask("POST", f"{API}/{path}", json=body)

    def get(self, path: str, **query: Any) -> Any:
        return self.ask("GET", f"{API}/{path}", params=query)


def test_experiments_runs_and_artifacts(both: tuple[World, World]) -> None:
    def act(world: World) -> list[Answer]:
        script = Script(world)
        experiment = script.post("experiments/create", name="plain")["experiment_id"]
        script.post("experiments/create", name="plain")
        info = script.post("runs/create", experiment_id=experiment, run_name="first")["run"]["info"]
        run = info["run_id"]
        script.post("runs/log-metric", run_id=run, key="auc", value=0.9, timestamp=1, step=0)
        script.post("runs/log-parameter", run_id=run, key="depth", value="3")
        script.post("runs/set-tag", run_id=run, key="colour", value="red")
        path = info["artifact_uri"].removeprefix("mlflow-artifacts:/")
        route = "/api/2.0/mlflow-artifacts/artifacts"
        script.ask("PUT", f"{route}/{path}/notes/a.txt", data=b"hello")
        script.ask("GET", f"{route}/{path}/notes/a.txt")
        script.ask("GET", route, params={"path": path})
        script.ask("GET", f"{route}/{path}/absent.txt")
        script.get("artifacts/list", run_id=run)
        script.ask("GET", "/get-artifact", params={"run_uuid": run, "path": "notes/a.txt"})
        script.ask("DELETE", f"{route}/{path}/notes/a.txt")
        script.get("runs/get", run_id=run)
        script.post("runs/search", experiment_ids=[experiment])
        script.post("runs/delete", run_id=run)
        script.post("runs/restore", run_id=run)
        script.post("experiments/delete", experiment_id=experiment)
        script.post("experiments/restore", experiment_id=experiment)
        script.get("experiments/search", max_results=10)
        script.get("experiments/get", experiment_id="77")
        return script.answers

    same(both, act)


def test_registering_and_describing_models(both: tuple[World, World]) -> None:
    def act(world: World) -> list[Answer]:
        script = Script(world)
        uri = world.log(user="", seed=700)
        script.post("registered-models/create", name="churn", description="Who leaves")
        script.post("registered-models/create", name="churn")
        source = {"source": uri, "model_id": uri.removeprefix("models:/")}
        script.post("model-versions/create", name="churn", **source)
        script.post("model-versions/create", name="absent", **source)
        version = {"name": "churn", "version": "1"}
        script.get("model-versions/get", **version)
        script.post("model-versions/set-tag", **version, key="team", value="blue")
        script.ask("PATCH", f"{API}/model-versions/update", json=version | {"description": "first"})
        alias = {"name": "churn", "alias": "try"}
        script.post("registered-models/alias", **alias, version="1")
        script.get("registered-models/alias", **alias)
        script.post("registered-models/get-latest-versions", name="churn")
        script.get("model-versions/search", filter="name='churn'")
        script.get("registered-models/search")
        script.get("registered-models/get", name="churn")
        script.ask("DELETE", f"{API}/registered-models/alias", json=alias)
        script.get("model-versions/get", name="churn", version="9")
        script.ask("DELETE", f"{API}/model-versions/delete", json=version)
        script.ask("PATCH", f"{API}/registered-models/update", json={"name": "churn"})
        rename = {"name": "churn", "new_name": "kept"}
        script.post("registered-models/rename", **rename)
        script.ask("DELETE", f"{API}/registered-models/delete", json={"name": "kept"})
        return script.answers

    same(both, act)


def test_loading_what_one_logged_oneself(both: tuple[World, World]) -> None:
    def act(world: World) -> list[list[float]]:
        uri = world.log("own", user="", seed=701)
        run = f"runs:/{world.run_of(uri)}/model"
        return [list(world.load(form, "").predict(sample())) for form in (uri, run)]

    same(both, act)


def test_prompts(both: tuple[World, World]) -> None:
    def act(world: World) -> list[Any]:
        with world.speaking_as(""):
            first = mlflow.genai.register_prompt("greet", "Hello {{name}}", tags={"a": "b"})
            second = mlflow.genai.register_prompt("greet", "Dear {{name}}")
            mlflow.genai.set_prompt_alias("greet", "production", 2)
            loaded = mlflow.genai.load_prompt("prompts:/greet@production")
            mlflow.MlflowClient().delete_prompt_alias("greet", "production")
            mlflow.MlflowClient().delete_prompt_version("greet", "1")
            found = [p.name for p in mlflow.genai.search_prompts()]
        return [first.version, first.template, second.version, loaded.template, found]

    same(both, act)


def test_traces_and_evaluation(both: tuple[World, World]) -> None:
    def act(world: World) -> list[Any]:
        with world.speaking_as(""):
            mlflow.set_experiment("traced")

            @mlflow.trace
            def double(x: int) -> int:
                return 2 * x

            double(21)
            mlflow.flush_trace_async_logging()
            trace = mlflow.get_trace(mlflow.get_last_active_trace_id())
            frame = sample().assign(target=[1, 0], prediction=[1, 0])
            result = mlflow.models.evaluate(
                data=frame,
                targets="target",
                predictions="prediction",
                model_type="classifier",
                evaluators=["default"],
                evaluator_config={"default": {"log_explainer": False}},
            )
        spans = [(span.name, span.inputs, span.outputs) for span in trace.data.spans]
        return [spans, sorted(result.metrics), result.metrics["accuracy_score"]]

    same(both, act)


def test_webhooks(both: tuple[World, World]) -> None:
    def act(world: World) -> list[Answer]:
        script = Script(world)
        event = {"entity": "MODEL_VERSION", "action": "CREATED"}
        body = {"name": "told", "url": "https://93.184.216.34/hook", "events": [event]}
        hook = script.ask("POST", "/api/2.0/mlflow/webhooks", json=body)
        assert "webhook" in hook, hook
        id_ = hook["webhook"]["webhook_id"]
        script.ask("GET", "/api/2.0/mlflow/webhooks")
        script.ask("PATCH", f"/api/2.0/mlflow/webhooks/{id_}", json={"name": "renamed"})
        script.ask("GET", f"/api/2.0/mlflow/webhooks/{id_}")
        script.ask("DELETE", f"/api/2.0/mlflow/webhooks/{id_}")
        script.ask("GET", "/api/2.0/mlflow/webhooks/absent")
        return script.answers

    same(both, act)
    entries = both[1].ask("", "GET", "/api/2.0/mlflow-governance/ledger/entries?count=1000")
    acts = [json.loads(row["entry"])["act"] for row in entries.json()["entries"]]
    assert acts.count("webhook.changed") == 3


def test_the_stock_pages(both: tuple[World, World]) -> None:
    def act(world: World) -> list[Answer]:
        script = Script(world)
        page = world.ask("", "GET", "/").text
        for path in ("/", "/health", "/version", "/api/3.0/mlflow/server-info"):
            script.ask("GET", path)
        for file in sorted(set(re.findall(r"static-files/[\w./-]+", page))):
            script.ask("GET", f"/{file}")
        script.ask("GET", "/nothing/here")
        return script.answers

    same(both, act)
