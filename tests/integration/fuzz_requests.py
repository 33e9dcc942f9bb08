"""Random requests to every route the server has, filled with things that exist and things that
nearly do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from random import Random
from typing import Any
from urllib.parse import quote

from tests.integration.asking import Answer
from tests.integration.doors_by_path import roots
from tests.integration.planted import ATTACHMENT, DEEP, FILE, Target
from tests.integration.spellings import SPELLINGS
from tests.integration.world import World

STAGES = (
    "None", "Candidate", "Staging", "Approved", "Production", "Archived", "Deprecated",
    "Quarantined", "Revoked", "Deleted_Internal", "latest", "",
)  # fmt: skip
ALIASES = ("try", "champion", "Champion", "\uff43hampion", "prod", "production-eu", "latest", "v1")
KEYS = (
    "mlflow.prompt.is_prompt", "governance.stage", "Governance.digest", "mlflow.artifactLocation",
    "mlflow.user", "mlflow.source.name", "mlflow.source.type", "mlflow.trace.archiveLocation",
    "mlflow.trace.spansLocation", "mlflow.log-model.history", "mlflow.parentRunId", "x",
)  # fmt: skip
VALUES = ("true", "false", "ARCHIVE_REPO", "Approved", "alice", "sam", "")
NAMES = ("other", "new-name", "Model-None", "model-none ", "a/b", "..", "ünï", "x" * 300)
_AVOIDED = re.compile(
    r"gateway|assistant|/demo/|/test$|jobs|prompt-optimization|genai|invocations|scorers|secrets|"
    r"budget|guardrail|endpoints|model-definitions|static-files|/build/|ui-telemetry|issues"
)
"""Other products of MLflow that have no model in them, take seconds, or call strangers."""
_TWINS = {"run_id": ("runId", "run_uuid", "runUuid"), "name": ("Name", "modelName")}
_OPTIONAL = frozenset({
    "page_token", "order_by", "update_mask", "run_link", "deployment_job_id", "datasets",
    "expiration", "end_time", "allow_partial", "tags", "params", "metrics", "step", "timestamp",
})  # fmt: skip
"""Fields a client seldom sends, and that must be of a kind of their own."""
_FLASK: dict[str, tuple[str, ...]] = {
    "/get-artifact": ("run_id", "path", "run_uuid"),
    "/model-versions/get-artifact": ("name", "version", "path"),
    "/upload-artifact": ("run_uuid", "path"),
    "/get-trace-artifact": ("request_id", "path"),
    "/artifacts/files": ("artifact_file_path",),
    "/create-promptlab-run": ("experiment_id", "tags", "model_route", "prompt_template"),
    "/mlflow-artifacts/artifacts": ("path",),
    "/traces/get": ("trace_id",),
    "/unified-traces": ("experiment_id",),
    "/permissions/grant": ("username", "resource_type", "resource_id", "permission"),
    "/roles/assign": ("username", "role_id"),
    "/users/update-admin": ("username", "is_admin"),
}
_PEOPLES = tuple(
    ("POST" if "update" not in path else "PATCH", path)
    for path in (
        "/api/3.0/mlflow/users/permissions/grant",
        "/api/3.0/mlflow/roles/assign",
        "/api/2.0/mlflow/users/update-admin",
    )
)
"""Routes of MLflow's authentication; an administrator may use them, so only others are sent."""


@dataclass(frozen=True)
class Route:
    """A method, an address with parameters in it, and the names of fields it may take."""

    method: str
    path: str
    fields: tuple[str, ...]


@cache
def routes() -> tuple[Route, ...]:
    """Every route of Flask, FastAPI and our own interface."""
    from mlflow.server import app
    from mlflow.server.fastapi_app import app as outer

    from mlflow_governance.web.api import served

    fields = dict(_fields())
    found: dict[tuple[str, str], tuple[str, ...]] = {}
    for rule in app.url_map.iter_rules():
        for method in sorted((rule.methods or set()) - {"OPTIONS", "HEAD"}):
            found[method, re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)] = ()
    for route in outer.routes:
        for method in sorted(getattr(route, "methods", None) or ()):
            found.setdefault((method, re.sub(r":path}", "}", route.path)), ())
    found |= dict.fromkeys(_PEOPLES, ())
    found |= {(r.method, path): tuple(f.name for f in r.fields) for path, r in served()}
    return tuple(
        Route(method, path, names or fields.get((method, _plain(path)), _by_hand(path)))
        for (method, path), names in sorted(found.items())
        if not _AVOIDED.search(path)
    )


def _plain(path: str) -> str:
    return re.sub(r"{\w+}", "{}", re.sub(r"^/(ajax-)?api/\d\.0", "", path))


def _by_hand(path: str) -> tuple[str, ...]:
    return next((names for end, names in _FLASK.items() if path.endswith(end)), ())


def _fields() -> Iterator[tuple[tuple[str, str], tuple[str, ...]]]:
    """What MLflow's protocol says the requests of a route hold."""
    from mlflow.protos import (
        databricks_pb2,
        mlflow_artifacts_pb2,
        model_registry_pb2,
        service_pb2,
    )

    for module in (service_pb2, model_registry_pb2, mlflow_artifacts_pb2):
        for service in module.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                names = tuple(f.name for f in method.input_type.fields)
                for endpoint in method.GetOptions().Extensions[databricks_pb2.rpc].endpoints:
                    path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", endpoint.path)
                    yield (endpoint.method, _plain(path)), names


@dataclass
class Pool:
    """Things that exist on the server; it learns more from answers."""

    world: World
    targets: list[Target]
    known: dict[str, list[str]] = field(default_factory=dict)

    def learn(self, answer: Answer) -> None:
        """Remember what an answer names."""
        for key, value in _leaves(answer.json(), 0):
            kind = "run_id" if key == "run_uuid" else key
            if kind in ("run_id", "experiment_id", "model_id", "trace_id", "name"):
                some = self.known.setdefault(kind, [])
                if isinstance(value, str) and value not in some and len(some) < 200:
                    some.append(value)

    def value(self, chance: Random, name: str, t: Target | None = None) -> Any:
        """Something for a field of this name. With a target it is the right thing for that one;
        without, now and then it is something for another field, or nearly right."""
        if t is not None:
            return self._made(chance, name, t)
        if chance.random() < 0.05:
            name = chance.choice(("path", "name", "source", "run_id", "tags", "version"))
        made = self._made(chance, name, chance.choice(self.targets))
        return _bent(chance, made) if isinstance(made, str) and chance.random() < 0.08 else made

    def _made(self, chance: Random, name: str, t: Target) -> Any:
        word = re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
        some: Any = _CONSTANTS.get(word)
        if some is not None:
            return chance.choice(some)
        if word in ("tags", "params", "metrics"):
            return [{"key": chance.choice(KEYS), "value": self._tag_value(chance, t)}]
        if word == "value":
            return self._tag_value(chance, t)
        if word in ("path", "artifact_path", "artifact_file_path", "artifact_directory_path"):
            return self._path(chance, t, word == "artifact_path")
        if word in ("source", "artifact_location", "artifact_uri"):
            return chance.choice(roots(self.world, t))
        return self._thing(chance, t, word)

    def _thing(self, chance: Random, t: Target, word: str) -> Any:
        own = {
            "run_id": t.run, "run_uuid": t.run, "source_run_id": t.run, "model_id": t.model_id,
            "experiment_id": t.place.split("/")[0], "experiment_ids": [t.place.split("/")[0]],
            "run_ids": [t.run], "resource_id": t.name, "filter": f"name = '{t.name}'",
        }  # fmt: skip
        kind = {"new_name": "name", "request_id": "trace_id", "run_uuid": "run_id"}.get(word, word)
        learnt = self.known.get(kind, [])
        if learnt and ((kind not in own and kind != "name") or chance.random() < 0.2):
            return chance.choice(learnt)
        if kind == "name":
            return chance.choice((t.name, t.name, t.name, chance.choice(NAMES)))
        return own.get(word, chance.choice(("x", "0", t.name, t.run)))

    def _tag_value(self, chance: Random, t: Target) -> str:
        return chance.choice((*VALUES, chance.choice(roots(self.world, t)), t.name, t.run))

    def _path(self, chance: Random, t: Target, whole: bool) -> str:
        file = chance.choice((FILE, DEEP, "MLmodel", "model.pkl", "", f"attachments/{ATTACHMENT}"))
        near = t.place if whole or chance.random() < 0.3 else chance.choice(("", "model"))
        path = f"{near}/{file}".strip("/") or "."
        if chance.random() < 0.3:
            path = SPELLINGS[chance.choice(list(SPELLINGS))](path)
        return path if chance.random() < 0.95 else near.split("/")[0]


_CONSTANTS: dict[str, tuple[Any, ...]] = {
    "stage": STAGES, "stages": tuple([stage] for stage in STAGES), "alias": ALIASES,
    "version": ("1", "1", "1", "2", "01", "latest", "-1", 1), "key": KEYS, "tag_key": KEYS,
    "archive_existing_versions": (True, False, "true"), "permission": ("MANAGE", "READ", "DENY"),
    "username": ("alice", "rita", "eve", "sam", "admin"), "is_admin": (True,), "status": (2, 3, 1),
    "resource_type": ("registered_model", "experiment"), "role_id": (1, 2, 3),
    "max_results": (1, 100), "start_time": (1,), "lifecycle_stage": ("deleted", "active"),
    "role": ("security", "product", "admin"), "decision": ("approve", "reject"),
    "reason": ("because", "because", ""), "file": ("attestations/x.intoto.json", "model.sig"),
    "content": ("e30=", "!"), "limit": (1, 100), "num_parts": (1,), "upload_id": ("1",),
    "parts": ([{"part_number": 1, "etag": "x"}],), "description": ("x",), "view_type": (1, 3),
    "max_timestamp_millis": (2**53,), "request_ids": (["x"],), "index": (0, 10**6),
}  # fmt: skip


def _bent(chance: Random, value: str) -> Any:
    """Nearly the same."""
    return chance.choice(
        (value.upper(), value + " ", quote(value, safe=""), value.replace("-", "\u2010"),
         [value], value + "\u200b", "/" + value, None, {"a": value}, value + "\x00")
    )  # fmt: skip


def _leaves(value: Any, depth: int) -> Iterator[tuple[str, Any]]:
    if depth > 6:
        return
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key, inner
            yield from _leaves(inner, depth + 1)
    elif isinstance(value, list):
        for inner in value[:20]:
            yield from _leaves(inner, depth + 1)


@dataclass(frozen=True)
class Call:
    """One request, ready to be sent and to be printed."""

    method: str
    address: str
    body: Any
    query: list[tuple[str, Any]]
    headers: dict[str, str]


def random_call(chance: Random, pool: Pool, route: Route) -> Call:
    """A request to a route: most fields given, some twice, some by another name."""
    # Half of them are what a client would send; nonsense gets no further than the first check.
    t = chance.choice(pool.targets) if chance.random() < 0.6 else None
    address = re.sub(
        r"{(\w+)}", lambda m: quote(str(pool.value(chance, m[1], t)), safe="/%"), route.path
    )
    given: list[tuple[str, Any]] = []
    for name in route.fields:
        if t is not None and (
            name in _OPTIONAL or (name == "run_uuid" and "run_id" in route.fields)
        ):
            continue
        if chance.random() < (0.97 if t is not None else 0.8):
            spelled = chance.choice(_TWINS.get(name, (name,))) if chance.random() < 0.06 else name
            given.append((spelled, pool.value(chance, name, t)))
            if chance.random() < 0.03:
                given.append((name, pool.value(chance, name)))
    headers = {}
    if chance.random() < 0.05:
        headers = {"X-HTTP-Method-Override": chance.choice(("GET", "DELETE", "PUT"))}
    if route.method == "PUT":
        return Call("PUT", address, b"changed", [], headers)
    in_query = route.method == "GET" or "upload-artifact" in route.path or chance.random() < 0.05
    body: Any = None if in_query else dict(given)
    if "upload-artifact" in route.path:
        body = b"changed"
    return Call(route.method, address, body, given if in_query else [], headers)


def weight(route: Route) -> int:
    """How often a route is worth a try."""
    if re.search(r"artifact|model-versions|registered-models|mlflow-governance", route.path):
        return 8
    return 4 if re.search(r"logged-models|/runs/|traces|experiments", route.path) else 1
