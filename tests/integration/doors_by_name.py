"""Doors to bytes that start from the name of a version."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

from tests.integration.asking import AJAX, API, RAW, Answer, Asker
from tests.integration.doors_by_path import graphql_queries, roots
from tests.integration.planted import FILE, Target
from tests.integration.spellings import SPELLINGS


def _follow(who: Asker, version: Answer) -> None:
    """What a client does with an answer that names a version: ask for its bytes."""
    document = version.json()
    found = document.get("model_version") or (document.get("model_versions") or [{}])[0]
    if found.get("name"):
        by_version(who, found["name"], found["version"])


def by_version(who: Asker, name: str, version: object, prefix: str = API) -> None:
    """Ask where a version is, then for its marker there."""
    query = {"name": name, "version": version}
    answer = who.ask("GET", f"{prefix}/mlflow/model-versions/get-download-uri", query=query)
    uri = answer.json().get("artifact_uri", "")
    if answer.status == 200 and uri.startswith("mlflow-artifacts:/"):
        who.ask("GET", f"{API}{RAW}/{uri.removeprefix('mlflow-artifacts:/')}/{FILE}")


def by_stage(who: Asker, t: Target, stage: str | None) -> None:
    body = {"name": t.name} | ({"stages": [stage]} if stage else {})
    _follow(who, who.ask("POST", f"{API}/mlflow/registered-models/get-latest-versions", body))


def by_alias(who: Asker, t: Target) -> None:
    query = {"name": t.name, "alias": "try"}
    _follow(who, who.ask("GET", f"{API}/mlflow/registered-models/alias", query=query))


def version_artifact(who: Asker, t: Target, **more: Any) -> None:
    query = {"name": t.name, "version": t.version, "path": FILE} | more
    who.ask("GET", "/model-versions/get-artifact", query=query)


def search(who: Asker, t: Target) -> None:
    for kind in ("model-versions", "registered-models"):
        query = {"filter": f"name = '{t.name}'"}
        _follow(who, who.ask("GET", f"{AJAX}/mlflow/{kind}/search", query=query))


def copied(who: Asker, t: Target) -> None:
    """Copy it to a name of one's own, then read the copy by name and by its source."""
    name = f"copy-of-{t.name}-by-{who.user or 'nobody'}-{secrets.token_hex(3)}"
    who.ask("POST", f"{API}/mlflow/registered-models/create", {"name": name})
    body = {"name": name, "source": f"models:/{t.name}/{t.version}"}
    if who.ask("POST", f"{API}/mlflow/model-versions/create", body).status == 200:
        by_version(who, name, 1)
        query = {"name": name, "version": 1, "path": FILE}
        who.ask("GET", "/model-versions/get-artifact", query=query)


def registered_again(who: Asker, t: Target, source: str = "") -> None:
    name = f"again-{t.name}-by-{who.user or 'nobody'}-{secrets.token_hex(3)}"
    who.ask("POST", f"{API}/mlflow/registered-models/create", {"name": name})
    ids = {"model_id": t.model_id} if t.logged else {"run_id": t.run}
    body = {"name": name, "source": source or t.uri} | ids
    if who.ask("POST", f"{API}/mlflow/model-versions/create", body).status == 200:
        by_version(who, name, 1)
        query = {"name": name, "version": 1, "path": "er/marker.hex"}
        who.ask("GET", "/model-versions/get-artifact", query=query)


def registered_anyhow(who: Asker, t: Target) -> None:
    """Its folder in other spellings, a folder inside it, the folder around it."""
    inside = [f"mlflow-artifacts:/{t.place}/deep", f"runs:/{t.run}/model/deep", f"runs:/{t.run}"]
    odd = [f"mlflow-artifacts:/{spell(t.place)}" for spell in list(SPELLINGS.values())[::4]]
    for source in [*roots(who.world, t), *inside, *odd]:
        registered_again(who, t, source)


def replies(who: Asker, t: Target) -> Iterator[tuple[str, Answer]]:
    """Every reply of the registry that has a version in it, and so a ``source``."""
    about, search = {"name": t.name}, {"filter": f"name = '{t.name}'"}
    one = about | {"version": "1"}
    for method, path, given in (
        ("GET", "model-versions/get", one),
        ("GET", "model-versions/get-download-uri", one),
        ("GET", "model-versions/search", search),
        ("GET", "registered-models/get", about),
        ("GET", "registered-models/search", search),
        ("GET", "registered-models/alias", about | {"alias": "try"}),
        ("POST", "registered-models/get-latest-versions", about),
        ("PATCH", "model-versions/update", one | {"description": "x"}),
        ("PATCH", "registered-models/update", about | {"description": "x"}),
        ("POST", "model-versions/transition-stage", one | {"stage": t.stage.value}),
    ):
        query, body = (given, None) if method == "GET" else (None, given)
        yield path, who.ask(method, f"{API}/mlflow/{path}", body, query=query)
    for query in graphql_queries(t):
        yield "graphql", who.ask("POST", "/graphql", query)


def sources(reply: Any, name: str) -> Iterator[str]:
    """Every ``source`` in a reply that is said of this model, and every address of its files."""
    if isinstance(reply, dict):
        if reply.get("name", name) == name:
            yield from (str(reply[key]) for key in ("source", "artifact_uri") if key in reply)
        reply = list(reply.values())
    for inner in reply if isinstance(reply, list) else ():
        yield from sources(inner, name)


def as_a_prompt(who: Asker, t: Target) -> None:
    """Prompts are not governed: so call the name a prompt."""
    tags = [{"key": "mlflow.prompt.is_prompt", "value": "true"}]
    name = f"prompt-{t.name}-by-{who.user or 'nobody'}-{secrets.token_hex(3)}"
    who.ask("POST", f"{API}/mlflow/registered-models/create", {"name": name, "tags": tags})
    ids = {"model_id": t.model_id} if t.logged else {"run_id": t.run}
    body = {"name": name, "source": t.uri} | ids
    who.ask("POST", f"{API}/mlflow/model-versions/create", body)
    by_version(who, name, 1)
    query = {"name": name, "version": 1, "path": FILE}
    who.ask("GET", "/model-versions/get-artifact", query=query)
    tag = {"name": t.name, "key": "mlflow.prompt.is_prompt", "value": "true"}
    who.ask("POST", f"{API}/mlflow/registered-models/set-tag", tag)
    by_version(who, t.name, t.version)
