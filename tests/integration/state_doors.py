"""Every door MLflow's server has to the state of a governed version, each as a small function.

A door takes somebody who asks and a planted version, and tries to change something: the registry's
rows, the run and the experiment below the version, or the bytes it consists of. ``may`` says at
which stage who is allowed to; written by hand from docs/policy.md. MLflow's own permissions may
refuse more.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mlflow_governance.core.stage import Stage
from tests.integration.asking import AJAX, API, RAW, Asker
from tests.integration.doors_by_path import delete_archived_traces
from tests.integration.planted import FILE, Target

OWN = f"{API}/mlflow-governance"
May = Callable[[Target, str], bool]


def nobody(t: Target, user: str) -> bool:
    """Nobody, at no stage."""
    return False


def at(*stages: Stage) -> May:
    """Everybody whom MLflow lets, at these stages."""
    return lambda t, user: t.stage in stages


def those(*users: str, at: frozenset[Stage] = frozenset(Stage)) -> May:
    """These people, at some stages."""
    return lambda t, user: user in users and t.stage in at


def where_no_files_are(t: Target, user: str) -> bool:
    """Everybody whom MLflow lets, if the version's files lie elsewhere."""
    return t.logged


@dataclass(frozen=True)
class StateDoor:
    """One way to change something; ``may`` is who is allowed to change anything through it."""

    name: str
    open: Callable[[Asker, Target], object]
    may: May = nobody


_OPEN = frozenset(Stage) - {Stage.REVOKED}
_REASON = {"X-Governance-Reason": "because I say so"}


def _registry(
    method: str, path: str, headers: Mapping[str, str] | None = None, **body: Any
) -> Callable[[Asker, Target], object]:
    """A call of the registry about the version; values may be functions of it."""

    def door(who: Asker, t: Target) -> None:
        given = {k: v(t) if callable(v) else v for k, v in body.items()}
        about = (
            {"name": t.name} if path.startswith("registered") else {"name": t.name, "version": "1"}
        )
        prefix = API if who.user == "alice" else AJAX
        who.ask(method, f"{prefix}/mlflow/{path}", about | given, headers=headers)

    return door


def _move(stage: str, **more: Any) -> Callable[[Asker, Target], object]:
    return _registry("POST", "model-versions/transition-stage", _REASON, stage=stage, **more)


def _alias(alias: str) -> Callable[[Asker, Target], object]:
    return _registry("POST", "registered-models/alias", alias=alias, version="1")


def _tag(key: str, value: str = "true") -> Callable[[Asker, Target], object]:
    def door(who: Asker, t: Target) -> None:
        for kind, about in (
            ("registered-models", {"name": t.name}),
            ("model-versions", {"name": t.name, "version": "1"}),
        ):
            tag = about | {"key": key, "value": value}
            who.ask("POST", f"{API}/mlflow/{kind}/set-tag", tag)
            who.ask("DELETE", f"{API}/mlflow/{kind}/delete-tag", tag)

    return door


def _governance(path: str, **fields: Any) -> Callable[[Asker, Target], object]:
    def door(who: Asker, t: Target) -> None:
        who.ask("POST", f"{OWN}/{path}", {"name": t.name, "version": 1} | fields)

    return door


def _run(method: str, path: str, **body: Any) -> Callable[[Asker, Target], object]:
    return lambda who, t: who.ask(
        method, f"{API}/mlflow/{path}", {"run_id": t.run, "run_uuid": t.run} | body
    )


def _experiment(path: str, **body: Any) -> Callable[[Asker, Target], object]:
    return lambda who, t: who.ask(
        "POST", f"{API}/mlflow/{path}", {"experiment_id": t.place.split("/")[0]} | body
    )


def _logged(method: str, path: str = "", body: Any = None) -> Callable[[Asker, Target], object]:
    return lambda who, t: who.ask(
        method, f"{API}/mlflow/logged-models/{t.model_id or 'm-0'}{path}", body
    )


def _write(path: str, method: str = "PUT") -> Callable[[Asker, Target], object]:
    def door(who: Asker, t: Target) -> None:
        address = path.format(place=t.place, experiment=t.place.split("/")[0], file=FILE)
        prefix = API if who.user == "alice" else AJAX
        who.ask(method, f"{prefix}{RAW}/{address}", b"changed" if method == "PUT" else None)

    return door


def _in_parts(who: Asker, t: Target) -> None:
    prefix = API if who.user == "alice" else AJAX
    for verb in ("create", "complete", "abort"):
        body = {"path": FILE, "num_parts": 1, "upload_id": "1", "parts": [{"part_number": 1}]}
        for folder in (t.place, f"{t.place}//{FILE}"):
            who.ask("POST", f"{prefix}/mlflow-artifacts/mpu/{verb}/{folder}", body)


def _presigned_upload(who: Asker, t: Target) -> None:
    for ids in ({"run_id": t.run}, {"model_id": t.model_id}):
        path = FILE if t.logged else f"model/{FILE}"
        for prefix in (API, AJAX):
            address = f"{prefix}/mlflow/artifacts/presigned-upload-url"
            who.ask("POST", address, ids | {"path": path})


def _upload_artifact(who: Asker, t: Target) -> None:
    path = f"model/{FILE}" if not t.logged else f"../../models/{t.model_id}/artifacts/{FILE}"
    query = {"run_uuid": t.run, "path": path}
    who.ask("POST", f"{AJAX}/mlflow/upload-artifact", b"changed", query=query)


def _write_from_there(who: Asker, t: Target) -> None:
    """An experiment of one's own that keeps its files inside the version's folder."""
    for root in (f"mlflow-artifacts:/{t.place}", f"mlflow-artifacts:/x/../{t.place}"):
        body = {"name": f"there-{secrets.token_hex(4)}", "artifact_location": root}
        made = who.ask("POST", f"{API}/mlflow/experiments/create", body).json()
        if "experiment_id" in made:
            run = who.ask("POST", f"{API}/mlflow/runs/create", made | {"start_time": 1}).json()
            query = {"run_uuid": run.get("run", {}).get("info", {}).get("run_id"), "path": FILE}
            who.ask("POST", f"{AJAX}/mlflow/upload-artifact", b"changed", query=query)
            who.ask("PUT", f"{API}{RAW}/{t.place}/{query['run_uuid']}/artifacts/{FILE}", b"changed")


def _recreate(who: Asker, t: Target) -> None:
    """Delete the name and make it anew."""
    who.ask("DELETE", f"{API}/mlflow/registered-models/delete", {"name": t.name})
    who.ask("POST", f"{API}/mlflow/registered-models/create", {"name": t.name})


_EVIDENCE = {
    "file": "attestations/forged.intoto.json",
    "content": base64.b64encode(b'{"payload": "", "signatures": []}').decode(),
}
_APPROVERS = those("sam", at=_OPEN - {Stage.NONE, Stage.QUARANTINED})
# alice has the role "security", as in a small team; it makes her no approver of her own versions.
_WITHDRAWERS = those("alice", "sam", "admin", at=_OPEN)
_RESTORERS = those("alice", "sam", at=frozenset({Stage.QUARANTINED}))

CATALOGUE: tuple[StateDoor, ...] = (
    *(StateDoor(f"to {word}", _move(word)) for word in ("None", "Deleted_Internal", "")),
    StateDoor("to Candidate", _move("Candidate")),
    StateDoor("to Staging", _move("Staging"), at(Stage.CANDIDATE)),
    StateDoor("to Approved", _move("Approved"), _RESTORERS),
    StateDoor("to approved", _move(" approved "), _RESTORERS),
    StateDoor("to Production", _move("Production", archive_existing_versions=True), _RESTORERS),
    StateDoor("to Archived", _move("Archived"), at(Stage.APPROVED)),
    StateDoor("to Quarantined", _move("Quarantined"), _WITHDRAWERS),
    StateDoor("to Revoked", _move("Revoked"), _WITHDRAWERS),
    StateDoor(
        "delete version",
        _registry("DELETE", "model-versions/delete"),
        at(Stage.NONE, Stage.CANDIDATE),
    ),
    StateDoor("delete model", _registry("DELETE", "registered-models/delete")),
    StateDoor("delete and create", _recreate),
    StateDoor("rename", _registry("POST", "registered-models/rename", new_name="elsewhere")),
    StateDoor("rename, twin", _registry("POST", "registered-models/rename", newName="elsewhere")),
    StateDoor("rename to itself", _registry("PATCH", "registered-models/update", new_name="x")),
    StateDoor("create again", _registry("POST", "registered-models/create")),
    StateDoor("describe", _registry("PATCH", "model-versions/update", description="Approved")),
    StateDoor("source", _registry("PATCH", "model-versions/update", source="models:/m-0")),
    *(
        StateDoor(f"alias {alias!r}", _alias(alias), at(Stage.APPROVED))
        for alias in (
            "champion", "CHAMPION", "\uff43hampion", "champi\u200bon", " champion",
            "champio\u0301n", "prod", "Production-EU", "production/x",
        )
    ),
    StateDoor("alias x", _alias("x"), at(*(_OPEN - {Stage.QUARANTINED}))),
    StateDoor("alias latest", _alias("latest")),
    StateDoor("alias v1", _alias("v1")),
    StateDoor(
        "delete alias", _registry("DELETE", "registered-models/alias", alias="never-set")
    ),
    *(
        StateDoor(f"tag {key!r}", _tag(key))
        for key in (
            "mlflow.prompt.is_prompt", "mlflow.prompt.IS_PROMPT", "governance.stage",
            "Governance.stage", "governance\u200b.stage", "\uff47overnance.stage", "mlflow.user",
            "mlflow.source.name",
        )
    ),
    StateDoor("revoke", _governance("revoke", reason="x"), _WITHDRAWERS),
    StateDoor("quarantine", _governance("quarantine", reason="x"), _WITHDRAWERS),
    StateDoor("revoke without a reason", _governance("revoke", reason=" ")),
    StateDoor("restore", _governance("restore", reason="x"), _RESTORERS),
    StateDoor("judge", _governance("judge")),
    StateDoor("forged evidence", _governance("evidence", **_EVIDENCE)),
    *(
        StateDoor(f"approve as {role}", _governance("approvals", role=role, reason="x"), may)
        for role, may in (("security", _APPROVERS), ("product", nobody), ("Security ", _APPROVERS))
    ),
    StateDoor("delete run", _run("POST", "runs/delete"), where_no_files_are),
    StateDoor("restore run", _run("POST", "runs/restore"), where_no_files_are),
    StateDoor("update run", _run("POST", "runs/update", status="FAILED", run_name="x")),
    StateDoor("tag run", _run("POST", "runs/set-tag", key="mlflow.user", value="sam")),
    StateDoor("delete experiment", _experiment("experiments/delete")),
    StateDoor("restore experiment", _experiment("experiments/restore")),
    StateDoor(
        "move experiment", _experiment("experiments/update", artifact_location="x:/")
    ),
    StateDoor("delete logged model", _logged("DELETE"), at(Stage.NONE)),
    StateDoor("finalize logged model", _logged("PATCH", body={"status": 3})),
    StateDoor("tag logged model", _logged("PATCH", "/tags", {"tags": [{"key": "mlflow.user"}]})),
    StateDoor("overwrite", _write("{place}/{file}"), at(Stage.NONE)),
    StateDoor("overwrite, twice slashed", _write("{place}//{file}"), at(Stage.NONE)),
    StateDoor("overwrite, coded", _write("{place}/%6darker.bin"), at(Stage.NONE)),
    StateDoor("overwrite, coded twice", _write("{place}/%256darker.bin"), at(Stage.NONE)),
    StateDoor("overwrite, up", _write("{place}/x/%252e%252e/{file}"), at(Stage.NONE)),
    StateDoor("overwrite, under", _write("{place}/{file}/below"), at(Stage.NONE)),
    StateDoor("add", _write("{place}/added.py"), at(Stage.NONE)),
    StateDoor("add evidence", _write("{place}/governance/evidence/x"), at(Stage.NONE)),
    StateDoor("replace the folder", _write("{place}"), at(Stage.NONE)),
    StateDoor("remove", _write("{place}/{file}", "DELETE"), at(Stage.NONE)),
    StateDoor("remove folder", _write("{place}", "DELETE"), at(Stage.NONE)),
    StateDoor("remove above", _write("{experiment}", "DELETE")),
    StateDoor("remove above, dotted", _write("{experiment}/.", "DELETE")),
    StateDoor("remove above, coded", _write("{experiment}/%252e", "DELETE")),
    StateDoor("remove everything", _write(".", "DELETE")),
    StateDoor("remove everything, coded", _write("%252e", "DELETE")),
    StateDoor("remove everything, slashed", _write("x/%252e%252e", "DELETE")),
    StateDoor("upload in parts", _in_parts),
    StateDoor("presigned upload", _presigned_upload),
    StateDoor("upload artifact", _upload_artifact, at(Stage.NONE)),
    StateDoor("delete archived traces", delete_archived_traces),
    StateDoor("write from there", _write_from_there, at(Stage.NONE)),
)  # fmt: skip
"""Every door to the state. What is not in ``may`` changes nothing, whoever asks."""
