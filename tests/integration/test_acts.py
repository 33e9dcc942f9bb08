"""Acts of a real server that leave through MLflow's own routes, as the ledger has them."""

from __future__ import annotations

import json

from tests.integration.world import World

USERS, ROLES = "/api/2.0/mlflow/users/", "/api/3.0/mlflow/roles/"
PASSWORD = "correct horse battery"


def test_what_is_done_to_accounts_is_an_entry(world: World) -> None:
    before = len(world.entries("account.changed"))
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

    told = world.entries("account.changed")[before:]
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
    facts = world.entries("registry.started")[0]["facts"]

    assert set(facts["versions"]) == {"mlflow", "mlflow_governance", "python"}
    assert facts["database"] in ("sqlite", "postgresql")
    assert facts["keys"]["ledger"].startswith("mlflow-governance/ledger+")
    assert facts["accounts"] == {"accounts": 1, "admins": 1, "roles": {}}
    assert facts["changed"] is None
