"""The interface about the policy in force, over a real store."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from flask import Flask

from mlflow_governance.core.actor import Actor
from mlflow_governance.core.digest import of_bytes
from mlflow_governance.policy import bundle
from mlflow_governance.web import api, mount
from mlflow_governance.web.services import WebServices
from tests.unit.policy.builders import shipped
from tests.unit.workflows.builders import ALICE, NOBODY, PIA, ROOT, SAM
from tests.unit.workflows.policy_builders import SECURITY, STRICTER, LivingRegistry
from tests.unit.workflows.test_live_policies import UNREADABLE

_SCHEMAS = {(route.method, route.path): route.answer for route in api.ROUTES}


class Asked:
    """Asks the interface as this or that person; each answer is what its schema says."""

    def __init__(self, registry: LivingRegistry) -> None:
        self.registry = registry
        self.actor = PIA
        services = WebServices(
            ports=registry.ports,
            actor=lambda: self.actor,
            ledger=registry.ledger,
            revocations=lambda: b"{}",
            trust=lambda: b"",
            evidence=lambda asked: pytest.fail(str(asked)),
            adopt=lambda ref: None,
        )
        app = Flask("registry")
        for blueprint in mount.blueprints(services, ""):
            app.register_blueprint(blueprint)
        self._client = app.test_client()

    def get(self, path: str, **query: Any) -> Any:
        return self._checked("GET", path, self._client.get(api.API + path, query_string=query))

    def post(self, path: str, by: Actor, **body: Any) -> Any:
        self.actor = by
        return self._checked("POST", path, self._client.post(api.API + path, json=body))

    def _checked(self, method: str, path: str, answer: Any) -> Any:
        schema = _SCHEMAS[method, path]
        if answer.status_code == 200 and schema is not None:
            jsonschema_rs.validate(schema, json.loads(answer.data))
        return answer


def packed(data: bytes) -> str:
    return base64.b64encode(data).decode()


@pytest.fixture
def asked(tmp_path: Path) -> Iterator[Asked]:
    registry = LivingRegistry(tmp_path, quorum=SECURITY)
    yield Asked(registry)
    registry.sessions.dispose()


def test_the_policy_in_force_is_told_with_its_origin(asked: Asked) -> None:
    told = asked.get("/policy").json

    assert told["policy_digest"] == shipped().digest
    assert told["by"] == "system:server"
    assert told["entry"] == 0
    assert told["source"] == {"name": "the shelf", "digest": shipped().digest, "note": ""}
    assert told["approvals"] == {"count": 2, "roles": ["security"]}


def test_a_policy_is_proposed_approved_and_told_over_the_interface(asked: Asked) -> None:
    made = asked.post(
        "/policy/propose", PIA, content=packed(STRICTER.archive()), reason="stricter"
    ).json["proposal"]
    assert (made["digest"], made["state"], made["needed"]) == (STRICTER.digest, "open", 2)
    archive = asked.get("/policy/bundle", digest=STRICTER.digest).data
    assert bundle.kept_as(archive, STRICTER.digest) == STRICTER

    for by in (ALICE, SAM):
        word = asked.post("/policy/approvals", by, digest=STRICTER.digest, reason="as agreed")
        assert word.status_code == 200, word.text

    told = asked.get("/policy").json
    assert (told["policy_digest"], told["by"]) == (STRICTER.digest, "sam")
    assert told["reason"] == "stricter"
    (listed,) = asked.get("/policy/proposals").json["proposals"]
    assert (listed["state"], [w["person"] for w in listed["words"]]) == (
        "in force",
        ["alice", "sam"],
    )
    assert asked.get("/policy/bundle", digest=shipped().digest).data == shipped().archive()


@pytest.mark.parametrize(
    ("path", "by", "body", "status"),
    [
        ("/policy/propose", NOBODY, {"content": packed(STRICTER.archive())}, 401),
        ("/policy/propose", PIA, {"content": packed(UNREADABLE.archive())}, 403),
        ("/policy/propose", PIA, {"content": packed(b"junk")}, 403),
        ("/policy/propose", PIA, {"content": "no base64!"}, 400),
        ("/policy/propose", PIA, {}, 400),
        ("/policy/propose", PIA, {"digest": "sha256:short"}, 400),
        ("/policy/propose", PIA, {"digest": shipped().digest}, 409),
        ("/policy/propose", PIA, {"digest": of_bytes(b"never")}, 404),
        ("/policy/approvals", SAM, {"digest": STRICTER.digest}, 404),
        ("/policy/approvals", SAM, {"digest": STRICTER.digest, "decision": "perhaps"}, 400),
        ("/policy/activate", ROOT, {"digest": of_bytes(b"never")}, 404),
        ("/policy/activate", SAM, {"digest": shipped().digest}, 409),
    ],
)
def test_what_cannot_be_done_is_refused(
    asked: Asked, path: str, by: Actor, body: dict[str, str], status: int
) -> None:
    answer = asked.post(path, by, **body, reason="why")

    assert answer.status_code == status, answer.text
    assert answer.json["message"]


def test_a_policy_nobody_knows_is_not_found(asked: Asked) -> None:
    assert asked.get("/policy/bundle", digest=of_bytes(b"never")).status_code == 404


def test_an_administrator_returns_to_an_earlier_policy(tmp_path: Path) -> None:
    asked = Asked(LivingRegistry(tmp_path))
    asked.registry.put(STRICTER)

    back = asked.post("/policy/activate", ROOT, digest=shipped().digest, reason="too strict")

    assert back.status_code == 200, back.text
    assert back.json["policy_digest"] == shipped().digest
    assert back.json["by"] == "root"
