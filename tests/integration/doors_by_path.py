"""Doors to bytes that start from where they lie: a path, a run, a logged model, a trace."""

from __future__ import annotations

import base64
import secrets
import uuid
from collections.abc import Mapping
from typing import Any

import requests

from tests.integration.asking import AJAX, API, RAW, Asker
from tests.integration.planted import ATTACHMENT, FILE, Target
from tests.integration.world import World


def path(t: Target, file: str = FILE) -> str:
    return f"{t.place}/{file}"


def in_run(t: Target) -> str:
    return f"model/{FILE}" if not t.logged else f"../../models/{t.model_id}/artifacts/{FILE}"


def get_artifact(who: Asker, t: Target, *query: tuple[str, str], body: Any = None) -> None:
    who.ask("GET", "/get-artifact", body, query=query or (("run_id", t.run), ("path", in_run(t))))


def run_named(who: Asker, t: Target, parameter: str) -> None:
    get_artifact(who, t, (parameter, t.run), ("path", in_run(t)))


def run_twice(who: Asker, t: Target) -> None:
    here, path = ("run_id", t.run), ("path", in_run(t))
    body = dict([here, path])
    get_artifact(who, t, ("run_id", "0" * 32), ("run_uuid", t.run), here, ("path", "x"), path)
    get_artifact(who, t, ("run_id", t.run), ("run_id", "0" * 32), path, ("path", "x"), body=body)


def logged_files(who: Asker, t: Target, file: str = FILE, prefix: str = AJAX) -> None:
    address = f"{prefix}/mlflow/logged-models/{t.model_id}/artifacts/files"
    who.ask("GET", address, query={"artifact_file_path": file})


def presigned(who: Asker, t: Target) -> None:
    for prefix in (API, AJAX):
        who.ask("GET", f"{prefix}/mlflow-artifacts/presigned/{t.place + '/' + FILE}")
        for ids in ({"run_id": t.run}, {"model_id": t.model_id}, {"runId": t.run}):
            path = f"model/{FILE}" if not t.logged else FILE
            address = f"{prefix}/mlflow/artifacts/presigned-download-url"
            signed = who.ask("POST", address, ids | {"path": path}).json().get("presigned_url")
            if signed:
                who.heard.append(requests.get(signed, timeout=30).content)


def listed(who: Asker, t: Target) -> None:
    for address, query in listings(t):
        who.ask("GET", address, query=query)


def listings(t: Target) -> list[tuple[str, dict[str, str]]]:
    """Every route that lists the files of a version: address and query."""
    inside = "model" if not t.logged else ""
    found = [(f"{p}{RAW}", {"path": t.place}) for p in (API, AJAX)]
    found += [
        (f"{p}/mlflow/artifacts/list", {name: t.run, "path": inside} if inside else {name: t.run})
        for p in (API, AJAX)
        for name in ("run_id", "run_uuid", "runId")
    ]
    if t.logged:
        address = f"/mlflow/logged-models/{t.model_id}/artifacts/directories"
        found += [(p + address, {}) for p in (API, AJAX)]
    return found


def graphql_queries(t: Target) -> list[dict[str, Any]]:
    """What GraphQL knows of runs, artifacts and versions."""
    path = ', path: "model"' if not t.logged else ""
    return [
        {"query": text}
        for text in (
            f'{{ mlflowListArtifacts(input: {{runId: "{t.run}"{path}}}) '
            "{ rootUri files { path fileSize } } }",
            f'{{ mlflowGetRun(input: {{runId: "{t.run}"}}) {{ run {{ info {{ artifactUri }} '
            "data { tags { key value } } modelVersions { name version source } } } }",
            f"{{ mlflowSearchModelVersions(input: {{filter: \"name='{t.name}'\"}}) "
            "{ modelVersions { name version source runId } } }",
        )
    ]


def graphql(who: Asker, t: Target) -> None:
    for query in graphql_queries(t):
        who.ask("POST", "/graphql", query)
        who.ask("GET", "/graphql", query)


def governance(who: Asker, t: Target) -> None:
    """Our own interface shows evidence, never bytes."""
    own = f"{API}/mlflow-governance"
    ref = {"name": t.name, "version": t.version}
    who.ask("GET", f"{own}/version", query=ref)
    for path in (FILE, f"../{FILE}", f"../../../{FILE}", f"/{t.place}/{FILE}", "model.sig"):
        who.ask("GET", f"{own}/attachment", query=ref | {"path": path})


# Through the traces of others ------------------------------------------------------------------


def _own_experiment(who: Asker) -> str:
    if "experiment" not in who.things:
        name = f"of-{who.user or 'nobody'}-{secrets.token_hex(3)}"
        made = who.ask("POST", f"{API}/mlflow/experiments/create", {"name": name})
        who.things["experiment"] = str(made.json().get("experiment_id", "0"))
    return who.things["experiment"]


def new_trace(who: Asker, tags: Mapping[str, str]) -> str:
    """A trace in an experiment of one's own; its id."""
    trace = f"tr-{uuid.uuid4().hex}"
    location = {
        "type": "MLFLOW_EXPERIMENT",
        "mlflow_experiment": {"experiment_id": _own_experiment(who)},
    }
    info = {
        "trace_id": trace,
        "trace_location": location,
        "request_time": "2026-01-01T00:00:00Z",
        "state": "OK",
        "tags": dict(tags),
    }
    who.ask("POST", "/api/3.0/mlflow/traces", {"trace": {"trace_info": info}})
    return trace


def roots(world: World, t: Target) -> list[str]:
    """Every way to write down where a version's files are, for those who believe it."""
    disk = world.artifacts / t.place
    odd = t.place.replace("/models/", "/%6dodels/").replace("/model", "/%6dodel")
    return [
        f"mlflow-artifacts:/{t.place}",
        f"mlflow-artifacts://somewhere/{t.place}",
        f"mlflow-artifacts:/{odd}",
        f"mlflow-artifacts:/x/../{t.place}",
        f"http://127.0.0.1:{world.server.port}{API}{RAW}/{t.place}",
        disk.as_uri(),
        str(disk),
        f"governance+{disk.as_uri()}",
        f"{t.uri}",
        f"models:/{t.name}/{t.version}",
        f"runs:/{t.run}/model",
    ]


def traces(who: Asker, t: Target) -> None:
    """A trace of one's own whose tag says that its artifacts are the model's files."""
    trace = new_trace(who, {})
    for root in roots(who.world, t):
        tag = {"key": "mlflow.artifactLocation", "value": root}
        who.ask("PATCH", f"{API}/mlflow/traces/{trace}/tags", tag)
        _read_trace(who, trace)


def archived_traces(who: Asker, t: Target) -> None:
    for root in roots(who.world, t):
        tags = {"mlflow.trace.spansLocation": "ARCHIVE_REPO", "mlflow.trace.archiveLocation": root}
        _read_trace(who, new_trace(who, tags))


def delete_archived_traces(who: Asker, t: Target) -> None:
    """Delete a trace of one's own, whose tags say that it is archived in the version's folder."""
    for root in roots(who.world, t):
        tags = {"mlflow.trace.spansLocation": "ARCHIVE_REPO", "mlflow.trace.archiveLocation": root}
        trace = new_trace(who, tags)
        body = {"experiment_id": _own_experiment(who), "request_ids": [trace]}
        who.ask("POST", f"{API}/mlflow/traces/delete-traces", body)


def _read_trace(who: Asker, trace: str) -> None:
    address = "/ajax-api/{}/mlflow/get-trace-artifact"
    who.ask("GET", address.format("2.0"), query={"request_id": trace, "path": ATTACHMENT})
    who.ask("GET", address.format("3.0"), query={"request_id": trace})
    who.ask("GET", "/ajax-api/3.0/mlflow/traces/get", query={"trace_id": trace})
    who.ask("GET", f"{AJAX}/mlflow/get-online-trace-details", query={"trace_id": trace})


def experiment_there(who: Asker, t: Target) -> None:
    """An experiment whose runs, models and traces lie inside the version's folder."""
    for root in roots(who.world, t)[:8]:
        body = {"name": f"there-{secrets.token_hex(4)}", "artifact_location": root}
        made = who.ask("POST", f"{API}/mlflow/experiments/create", body).json()
        if "experiment_id" not in made:
            continue
        run = who.ask("POST", f"{API}/mlflow/runs/create", made | {"start_time": 1}).json()
        run_id = run.get("run", {}).get("info", {}).get("run_id", "")
        for path in (FILE, f"../../{FILE}", f"..%2f..%2f{FILE}"):
            who.ask("GET", "/get-artifact", query={"run_id": run_id, "path": path})


def two_names(who: Asker, t: Target) -> None:
    """Log in as oneself and claim to be the evaluator in a second header, and so on."""
    mine = who.credentials.get("Authorization", "")
    eve = "Basic " + base64.b64encode(b"eve:guess").decode()
    for first, second in ((mine, eve), (eve, mine)):
        both = [("Authorization", value) for value in (first, second) if value]
        who.ask("GET", f"{API}{RAW}/{path(t)}", headers=both)
        joined = {"Authorization": f"{first}, {second}"}
        who.ask("GET", f"{API}{RAW}/{path(t)}", headers=joined)
    claims = {"X-Forwarded-User": "eve", "Remote-User": "eve", "X-MLFLOW-USER": "eve"}
    who.ask("GET", f"{API}{RAW}/{path(t)}", headers=claims)
    who.ask("GET", "/get-artifact", query={"run_id": t.run, "path": in_run(t)}, headers=claims)
