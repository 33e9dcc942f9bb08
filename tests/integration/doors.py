"""Every door MLflow's server has to the bytes of a version, each as a small function.

A door takes somebody who asks and a planted version, and returns everything the server answered:
status lines, headers and bodies of all requests it took. What may be among it is for the test to
say. Requests are sent exactly as written here; a client that tidies addresses would walk past
half of the doors.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import mlflow
import requests
from mlflow.exceptions import MlflowException

from tests.integration import doors_by_name as by_name
from tests.integration import doors_by_path as by_path
from tests.integration.asking import AJAX, API, RAW, Asker
from tests.integration.planted import DEEP, FILE, Target

Kind = Literal["registry", "artifact"]


@dataclass(frozen=True)
class Door:
    """One way to bytes.

    Args:
        name: for people.
        kind: what the download gate calls it: by name, or by path.
        open: knocks; answers are kept by the asker.
        families: of which planted versions it can lead to the bytes.
        main: where the bytes may be had, this door hands them out.
        dear: takes many requests, so that it is not tried for every person at every stage.
    """

    name: str
    kind: Kind
    open: Callable[[Asker, Target], object]
    families: frozenset[str] = frozenset({"logged", "run"})
    main: bool = False
    dear: bool = False


LOGGED, RUN = frozenset({"logged"}), frozenset({"run"})


def _raw(prefix: str, file: str = FILE) -> Callable[[Asker, Target], object]:
    return lambda who, t: who.ask("GET", f"{prefix}{RAW}/{by_path.path(t, file)}")


def _part(headers: Mapping[str, str], method: str = "GET") -> Callable[[Asker, Target], object]:
    return lambda who, t: who.ask(method, f"{API}{RAW}/{by_path.path(t)}", headers=headers)


def _client(form: str) -> Callable[[Asker, Target], object]:
    """Whatever the unmodified client makes of a URI."""

    def door(who: Asker, t: Target) -> None:
        uri = form.format(
            name=t.name, stage=t.stage.value, model=t.model_id, run=t.run, place=t.place
        )
        with who.world.speaking_as(who.user or "nobody"), tempfile.TemporaryDirectory() as folder:
            try:
                mlflow.artifacts.download_artifacts(uri, dst_path=folder)
            except (MlflowException, requests.RequestException, OSError) as error:
                who.heard.append(str(error).encode())
            who.heard += [f.read_bytes() for f in Path(folder).rglob("*") if f.is_file()]

    return door


_OVERRIDE = {"X-HTTP-Method-Override": "GET", "X-Method-Override": "GET", "X-HTTP-Method": "GET"}
_REWRITE = {"X-Original-URL": "/health", "X-Rewrite-URL": "/health", "X-Forwarded-Prefix": "/x"}

CATALOGUE: tuple[Door, ...] = (
    Door(
        "models:/n/v", "registry", lambda w, t: by_name.by_version(w, t.name, t.version), main=True
    ),
    Door(
        "models:/n/v ajax", "registry", lambda w, t: by_name.by_version(w, t.name, t.version, AJAX)
    ),
    Door(
        "models:/n/v spelled",
        "registry",
        lambda w, t: by_name.by_version(w, t.name, f" 0{t.version}"),
    ),
    Door(
        "models:/n/stage", "registry", lambda w, t: by_name.by_stage(w, t, t.stage.value), main=True
    ),
    Door("models:/n/STAGE", "registry", lambda w, t: by_name.by_stage(w, t, t.stage.value.upper())),
    Door("models:/n/latest", "registry", lambda w, t: by_name.by_stage(w, t, None), main=True),
    Door("models:/n@alias", "registry", by_name.by_alias, main=True),
    Door("version artifact", "registry", by_name.version_artifact, main=True),
    Door(
        "version artifact, deep", "registry", lambda w, t: by_name.version_artifact(w, t, path=DEEP)
    ),
    Door(
        "version artifact, twice",
        "registry",
        lambda w, t: by_name.version_artifact(w, t, version=[1, 2]),
    ),
    Door("search", "registry", by_name.search),
    Door("copy", "artifact", by_name.copied),
    Door("registered again", "artifact", by_name.registered_again),
    Door(
        "registered again by path",
        "artifact",
        lambda w, t: by_name.registered_again(w, t, f"mlflow-artifacts:/{t.place}"),
    ),
    Door("registered anyhow", "artifact", by_name.registered_anyhow, dear=True),
    Door("as a prompt", "artifact", by_name.as_a_prompt),
    Door("raw", "artifact", _raw(API), main=True),
    Door("raw ajax", "artifact", _raw(AJAX), main=True),
    Door("raw, deep", "artifact", _raw(API, DEEP), main=True),
    Door("raw, pickled", "artifact", _raw(API, "model.pkl"), main=True),
    Door("raw, zipped", "artifact", _raw(API, "marker.zip"), main=True),
    Door("raw, a range", "artifact", _part({"Range": "bytes=8-40"}), main=True),
    Door("raw, ranges", "artifact", _part({"Range": "bytes=0-15,20-40"})),
    Door("raw, HEAD", "artifact", _part({}, "HEAD")),
    Door("raw, OPTIONS", "artifact", _part({"Origin": "http://x.example"}, "OPTIONS")),
    Door("raw, POST as GET", "artifact", _part(_OVERRIDE, "POST")),
    Door("raw, OPTIONS as GET", "artifact", _part(_OVERRIDE, "OPTIONS")),
    Door("raw, rewritten", "artifact", _part(_REWRITE)),
    Door("raw, elsewhere", "artifact", _part({"X-MLFLOW-WORKSPACE": "other"})),
    Door("raw, conditional", "artifact", _part({"If-None-Match": "*", "If-Range": '"x"'})),
    Door("raw, two names", "artifact", by_path.two_names, dear=True),
    Door(
        "get-artifact run_id", "artifact", lambda w, t: by_path.run_named(w, t, "run_id"), RUN, True
    ),
    Door(
        "get-artifact run_uuid",
        "artifact",
        lambda w, t: by_path.run_named(w, t, "run_uuid"),
        RUN,
        True,
    ),
    Door("get-artifact runId", "artifact", lambda w, t: by_path.run_named(w, t, "runId")),
    Door("get-artifact runUuid", "artifact", lambda w, t: by_path.run_named(w, t, "runUuid")),
    Door(
        "get-artifact upwards", "artifact", lambda w, t: by_path.run_named(w, t, "run_id"), LOGGED
    ),
    Door("get-artifact twice", "artifact", by_path.run_twice),
    Door("logged model", "artifact", by_path.logged_files, LOGGED, True),
    Door(
        "logged model, deep",
        "artifact",
        lambda w, t: by_path.logged_files(w, t, DEEP),
        LOGGED,
        True,
    ),
    Door(
        "logged model, api", "artifact", lambda w, t: by_path.logged_files(w, t, prefix=API), LOGGED
    ),
    Door("presigned", "artifact", by_path.presigned, dear=True),
    Door("lists", "artifact", by_path.listed, dear=True),
    Door("graphql", "artifact", by_path.graphql, dear=True),
    Door("governance", "artifact", by_path.governance, dear=True),
    Door("traces", "artifact", by_path.traces, dear=True),
    Door("archived traces", "artifact", by_path.archived_traces, dear=True),
    Door("experiment there", "artifact", by_path.experiment_there, dear=True),
)
"""Every door asked in plain HTTP."""

CLIENT: tuple[Door, ...] = (
    Door("client models:/n/v", "registry", _client("models:/{name}/1"), main=True),
    Door("client models:/n/stage", "registry", _client("models:/{name}/{stage}"), main=True),
    Door("client models:/n/latest", "registry", _client("models:/{name}/latest"), main=True),
    Door("client models:/n@alias", "registry", _client("models:/{name}@try"), main=True),
    Door("client models:/m-", "artifact", _client("models:/{model}"), LOGGED, True),
    Door("client runs:/", "artifact", _client("runs:/{run}/model"), RUN, True),
    Door("client raw", "artifact", _client("mlflow-artifacts:/{place}"), main=True),
)
"""The same through the unmodified client."""


def spelled(t: Target, spell: Callable[[str], str]) -> list[tuple[str, str]]:
    """Routes that take a path, with it spelled in some way: method and address."""
    path = spell(by_path.path(t))
    inside = spell(DEEP if t.logged else f"model/{DEEP}")
    found = [
        ("GET", f"{API}{RAW}/{path}"),
        ("GET", f"{AJAX}{RAW}/{path}"),
        ("HEAD", f"{API}{RAW}/{path}"),
        ("GET", f"{API}{RAW}?path={path}"),
        ("GET", f"/model-versions/get-artifact?name={t.name}&version=1&path={spell(DEEP)}"),
        ("GET", f"/get-artifact?run_id={t.run}&path={inside}"),
    ]
    if t.logged:
        files = f"{AJAX}/mlflow/logged-models/{t.model_id}/artifacts/files"
        found.append(("GET", f"{files}?artifact_file_path={inside}"))
    return found
