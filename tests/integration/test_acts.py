"""Acts of a real server that leave through MLflow's own routes, as the ledger has them."""

from __future__ import annotations

import json
from typing import Any

from tests.integration.world import World

LEDGER = "/api/2.0/mlflow-governance/ledger/entries"
USERS, ROLES = "/api/2.0/mlflow/users/", "/api/3.0/mlflow/roles/"
PASSWORD = "correct horse battery"


def entries(world: World, act: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    start = 0
    while True:
        answer = world.ask("rita", "GET", LEDGER, params={"start": start, "count": 1000}).json()
        read = [json.loads(one["entry"]) for one in answer["entries"]]
        found += [entry for entry in read if entry["act"] == act]
        if len(read) < 1000:
            return found
        start += 1000


def test_what_is_done_to_accounts_is_an_entry(world: World) -> None:
    before = len(entries(world, "account.changed"))
    ann = {"username": "ann-of-the-ledger"}
    made = world.ask("admin", "POST", USERS + "create", json={**ann, "password": PASSWORD})
    assert made.status_code == 200
    refused = world.ask("rita", "PATCH", USERS + "update-admin", json={**ann, "is_admin": True})
    assert refused.status_code == 403
    role = world.ask(
        "admin", "POST", ROLES + "create", json={"name": "tea", "workspace": "default"}
    )
    role_id = role.json()["role"]["id"]
    world.ask("admin", "POST", ROLES + "assign", json={**ann, "role_id": role_id})
    world.ask("admin", "PATCH", USERS + "update-admin", json={**ann, "is_admin": True})
    world.ask("admin", "DELETE", USERS + "delete", json=ann)
    taken = world.ask(
        "admin", "POST", USERS + "create", json={"username": "rita", "password": PASSWORD}
    )
    assert taken.status_code == 400

    told = entries(world, "account.changed")[before:]
    assert [(e["facts"]["asked"], e["allowed"]) for e in told] == [
        ("users/create", True),
        ("users/update-admin", False),
        ("roles/create", True),
        ("roles/assign", True),
        ("users/update-admin", True),
        ("users/delete", True),
    ]
    assert told[3]["after"] == {"admin": False, "roles": ["tea"]}
    assert told[5]["before"] == {"admin": True, "roles": ["tea"]}
    assert "ann-of" not in json.dumps(told)
    assert PASSWORD not in json.dumps(told)


def test_the_start_tells_versions_keys_and_accounts(world: World) -> None:
    facts = entries(world, "registry.started")[0]["facts"]

    assert set(facts["versions"]) == {"mlflow", "mlflow_governance", "python"}
    assert facts["database"] in ("sqlite", "postgresql")
    assert facts["keys"]["ledger"].startswith("mlflow-governance/ledger+")
    assert facts["accounts"] == {"accounts": 1, "admins": 1, "roles": {}}
    assert facts["changed"] is None
