"""What must agree in a database, whatever happened to the processes that wrote it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa

from mlflow_governance.core.stage import Stage
from mlflow_governance.ledger.note import NoteKey
from mlflow_governance.ledger.replay import Replay
from mlflow_governance.store import tables
from mlflow_governance.store.ledger import SqlLedger
from mlflow_governance.store.mlflow_tables import model_versions
from mlflow_governance.store.sessions import Sessions

_DELETED = "Deleted_Internal"


def disagreements(sessions: Sessions, key: NoteKey, exported: Iterable[str] = ()) -> list[str]:
    """Every way in which state, decisions, events and ledger contradict each other.

    Args:
        sessions: the registry's database.
        key: the ledger's public key.
        exported: checkpoints kept outside the database.
    """
    SqlLedger(sessions).verify(key, exported)
    with sessions(True) as session:
        connection = session.connection()
        rows = {
            name: [row._mapping for row in connection.execute(sa.select(table))]
            for name, table in {
                "entries": tables.ledger_entries,
                "versions": tables.versions,
                "decisions": tables.decisions,
                "approvals": tables.approvals,
                "blocked": tables.blocked,
                "mlflow": model_versions,
            }.items()
        }
    entries = [json.loads(bytes(row["entry"])) for row in rows["entries"]]
    return [
        *_stages(entries, rows["versions"], rows["mlflow"]),
        *_decisions(entries, rows["decisions"]),
        *_approvals(entries, rows["approvals"], rows["versions"]),
        *_blocked(rows["versions"], {row["digest"]: row["stage"] for row in rows["blocked"]}),
        *replay_disagreements(sessions),
    ]


def replay_disagreements(sessions: Sessions) -> list[str]:
    """Every way in which the tables say something else than the replayed ledger."""
    told = Replay()
    for index, data in SqlLedger(sessions).entries():
        told.apply(index, data)
    with sessions(True) as session:
        connection = session.connection()
        versions, blocked, aliases = (
            connection.execute(sa.select(table)).all()
            for table in (tables.versions, tables.blocked, tables.aliases)
        )
    ours = {row.uid: _state(row, row.policy_digest, row.trust_digest) for row in versions}
    replayed = {
        one.uid: _state(one, one.state["policy_digest"], one.state["trust_digest"])
        for one in told.living()
    }
    for row in versions:  # at None a version may be hashed without having been judged since
        if row.stage == Stage.NONE.value and row.uid in replayed:
            replayed[row.uid]["digest"] = row.digest
    pairs = {
        "versions": (replayed, ours),
        "blocked": (told.blocked(), {row.digest: row.stage for row in blocked}),
        "aliases": (
            {tuple(key): tuple(value) for key, value in told.aliases.items()},
            {(row.workspace, row.name, row.alias): (row.version, row.before) for row in aliases},
        ),
    }
    return [
        *(f"entry {place}: {message}" for place, message in told.problems),
        *(
            f"{what} {key}: the ledger says {left.get(key)}, the table {right.get(key)}"
            for what, (left, right) in pairs.items()
            for key in {*left, *right}
            if left.get(key) != right.get(key)
        ),
    ]


def _state(one: Any, policy: str | None, trust: str | None) -> dict[str, Any]:
    names = ("stage", "digest", "quarantined_from", "decision_id")
    return {name: getattr(one, name) for name in names} | {"policy": policy, "trust": trust}


def _stages(entries: list[Any], ours: list[Any], theirs: list[Any]) -> Iterable[str]:
    replayed, problems = _replayed(entries)
    yield from problems
    if set(replayed) != {row["uid"] for row in ours}:
        yield f"the ledger has {sorted(replayed)}, the table {sorted(row['uid'] for row in ours)}"
    stages = {
        (row["workspace"], row["name"], row["version"]): row["current_stage"]
        for row in theirs
        if row["current_stage"] != _DELETED
    }
    for row in ours:
        where = (row["workspace"], row["name"], row["version"])
        said = replayed.get(row["uid"], {})
        found = {"ledger": said.get("stage"), "ours": row["stage"], "MLflow": stages.pop(where, "")}
        if len(set(found.values())) != 1:
            yield f"{where}: {found}"
        if said.get("policy_digest") != row["policy_digest"]:
            yield f"{where}: policy {said.get('policy_digest')} and {row['policy_digest']}"
        if row["stage"] != Stage.NONE.value and said.get("digest") != row["digest"]:
            yield f"{where}: digest {said.get('digest')} and {row['digest']}"
    for where in stages:
        yield f"{where} is in MLflow's table alone"


def _replayed(entries: list[Any]) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """What the allowed entries make of each version, and where they contradict themselves."""
    replayed: dict[str, dict[str, Any]] = {}
    problems = []
    for entry in sorted(entries, key=lambda e: e["index"]):
        uid = entry["subject"]["uid"]
        if not uid or not entry["allowed"]:
            continue
        known = replayed.get(uid, {}).get("stage")
        if known is not None and entry["before"].get("stage") != known:
            problems.append(f"entry {entry['index']} leaves {entry['before']}, it was {known}")
        if entry["act"] == "version.deleted":
            replayed.pop(uid)
        else:
            replayed[uid] = {**entry["after"], "digest": entry["subject"]["digest"]}
    return replayed, problems


def _decisions(entries: list[Any], decisions: list[Any]) -> Iterable[str]:
    told = Counter((e["decision_id"], e["decision_digest"]) for e in entries if e["decision_id"])
    kept = Counter((row["decision_id"], row["digest"]) for row in decisions)
    for one in (told - kept) + (kept - told):
        yield f"decision {one} stands {told[one]} times in the ledger, {kept[one]} times beside it"


def _approvals(entries: list[Any], approvals: list[Any], versions: list[Any]) -> Iterable[str]:
    present = {row["uid"] for row in versions}
    told = Counter(
        (e["subject"]["uid"], e["facts"]["role"])
        for e in entries
        if e["act"] == "approval.given" and e["subject"]["uid"] in present
    )
    kept = Counter((row["version_uid"], row["role"]) for row in approvals)
    for one in (told - kept) + (kept - told):
        yield f"approval {one} stands {told[one]} times in the ledger, {kept[one]} times beside it"


def _blocked(versions: list[Any], blocked: dict[str, str]) -> Iterable[str]:
    for row in versions:
        withdrawn = row["stage"] in (Stage.REVOKED.value, Stage.QUARANTINED.value)
        if withdrawn and row["digest"] and row["digest"] not in blocked:
            yield f"{row['name']}/{row['version']} is {row['stage']} and its digest is not blocked"
    for found, stage in blocked.items():
        holders = {row["stage"] for row in versions if row["digest"] == found}
        if stage not in holders:
            yield f"{found} is blocked as {stage}, and its versions are {holders}"
