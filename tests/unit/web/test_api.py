"""The HTTP interface: what it answers, and what it refuses."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from mlflow_governance.core import canonical
from mlflow_governance.core.actor import Actor
from mlflow_governance.core.model_ref import VersionRef
from mlflow_governance.core.stage import Stage
from mlflow_governance.errors import ConfigurationError, Unavailable
from mlflow_governance.evidence.interface import Kind
from mlflow_governance.ledger import checkpoint, merkle
from mlflow_governance.ledger.merkle import leaf_hash
from mlflow_governance.ledger.proof import InclusionProof
from mlflow_governance.web import api, mount
from mlflow_governance.workflows.ports import Attachment
from tests.unit.web.builders import Registry, registry, scientist, security

POSTS = [route.path for route in api.ROUTES if route.method == "POST"]


def get(governed: Registry, path: str, /, **query: Any) -> TestResponse:
    return governed.app().test_client().get(api.AJAX + path, query_string=query)


def post(governed: Registry, path: str, /, **body: Any) -> TestResponse:
    return governed.app().test_client().post(api.API + path, json=body)


def churn(**more: Any) -> dict[str, Any]:
    return {"name": "churn", "version": 1, **more}


@pytest.fixture
def governed() -> Registry:
    made = registry()
    made.add("churn", 1, Stage.STAGING)
    return made


@pytest.fixture
def client(governed: Registry) -> FlaskClient:
    return governed.app().test_client()


def test_every_path_is_exact_and_served_below_both_prefixes(governed: Registry) -> None:
    rules = {rule.rule for rule in governed.app("/mlflow").url_map.iter_rules()}

    for route in api.ROUTES:
        assert "/mlflow" + api.API + route.path in rules
        assert "/mlflow" + api.AJAX + route.path in rules
    told = {route.path for route in mount.exact_routes("/mlflow")}
    assert told == rules - {"/static/<path:filename>"}
    assert not any("<" in path for path in told)


def test_only_health_and_revocations_are_public() -> None:
    public = {route.path for route in mount.exact_routes() if route.public}

    prefixes = (api.API, api.AJAX)
    assert public == {p + path for p in prefixes for path in ("/health", "/revocations")}


def test_a_version_is_told_with_all_that_is_known_of_it(governed: Registry) -> None:
    post(governed, "/approvals", **churn(role="security", reason="reviewed"))

    told = get(governed, "/version", **churn()).get_json()

    assert told["stage"] == "Staging"
    assert {outcome["kind"]: outcome["status"] for outcome in told["evidence"]}[
        "canary"
    ] == "missing"
    assert [word["person"] for word in told["approvals"]] == ["ann"]
    assert told["approvals"][0]["current"] is True
    assert told["timeline"][0]["actor"] == "ann"
    assert told["timeline"][0]["reason"] == "reviewed"
    assert told["ahead"]["stage"] == "Approved"
    assert {reason["code"] for reason in told["ahead"]["missing"]} == {"PRO-007", "PRO-012"}
    assert told["download"] is True


def test_the_evidence_told_is_that_of_the_newest_judgement(governed: Registry) -> None:
    fresh = governed.add("fresh", 1, Stage.NONE)
    assert get(governed, "/version", name="fresh", version=1).get_json()["evidence"] == []

    post(governed, "/judge", name="fresh", version=1)
    told = get(governed, "/version", name="fresh", version=1).get_json()

    assert told["stage"] == "Candidate"
    assert told["decision_id"] == told["decisions"][0]["decision_id"]
    assert len(told["evidence"]) == len(Kind)
    assert governed.store.records[fresh.uid].stage is Stage.CANDIDATE


def test_versions_are_listed_newest_first_filtered_and_paged(governed: Registry) -> None:
    for number in range(2, 6):
        governed.add("churn", number, Stage.CANDIDATE)
    governed.add("other", 1, Stage.CANDIDATE)

    told = get(governed, "/versions", name="churn", stage="candidate", limit=2, offset=1).get_json()

    assert [row["version"] for row in told["versions"]] == [4, 3]
    assert told["total"] == 4


def test_a_word_is_taken_back(governed: Registry) -> None:
    given = post(governed, "/approvals", **churn(role="security", reason="reviewed"))
    taken = post(governed, "/approvals", **churn(role="security", decision="withdraw", reason="no"))

    assert taken.get_json() == given.get_json()
    assert get(governed, "/version", **churn()).get_json()["approvals"] == []


def test_a_submitter_may_not_approve_and_is_told_why(governed: Registry) -> None:
    governed.actor = security("sam")

    answer = post(governed, "/approvals", **churn(role="security", reason="mine"))

    assert answer.status_code == 403
    assert "who submitted a version may not approve it" in answer.get_json()["message"]
    assert governed.store.words == {}


def test_nobody_in_particular_may_not_approve(governed: Registry) -> None:
    governed.actor = Actor.anonymous()

    answer = post(governed, "/approvals", **churn(role="security", reason="mine"))

    assert (answer.status_code, answer.get_json()["code"]) == (401, "UNAUTHENTICATED")


def test_a_revoked_version_is_blocked_by_its_content(governed: Registry) -> None:
    answer = post(governed, "/revoke", **churn(reason="CVE-2026-1"))

    assert answer.get_json()["version"]["stage"] == "Revoked"
    digest = answer.get_json()["version"]["digest"]
    assert get(governed, "/revocations").get_json() == {"blocked": [digest]}


def test_who_has_no_authority_cannot_revoke_and_learns_each_failed_check(
    governed: Registry,
) -> None:
    governed.actor = scientist()

    answer = post(governed, "/revoke", **churn(reason="no"))

    assert answer.status_code == 403
    assert [reason["code"] for reason in answer.get_json()["reasons"]] == ["WDR-005"]
    assert get(governed, "/decision", id=answer.get_json()["decision_id"]).get_json()["dossier"]


def test_a_quarantined_version_returns_to_where_it_came_from(governed: Registry) -> None:
    assert post(governed, "/restore", **churn(reason="x")).status_code == 409
    post(governed, "/quarantine", **churn(reason="drift"))

    answer = post(governed, "/restore", **churn(reason="cleared"))

    assert answer.get_json()["version"]["stage"] == "Staging"
    assert answer.get_json()["version"]["quarantined_from"] is None


@pytest.mark.parametrize("path", ["/revoke", "/quarantine", "/approvals"])
def test_a_reason_of_blanks_is_no_reason(governed: Registry, path: str) -> None:
    role = {"role": "security"} if path == "/approvals" else {}

    answer = post(governed, path, **churn(reason=" \n", **role))

    assert (answer.status_code, answer.get_json()["code"]) == (400, "INVALID_REQUEST")


def test_a_version_only_mlflow_knows_is_adopted_when_it_is_judged(governed: Registry) -> None:
    governed.adoptable.add(VersionRef("old", 7))

    known = post(governed, "/judge", name="old", version=7)
    unknown = post(governed, "/judge", name="older", version=7)

    assert known.get_json()["version"]["stage"] == "Candidate"
    assert known.get_json()["decision"]["allow"] is True
    assert unknown.status_code == 404


def test_evidence_is_stored_and_can_be_read_back(governed: Registry) -> None:
    data = b'{"payload": "\xf0\x9f\x8c\xb1"}'
    name = "attestations/canary.intoto.json"
    content = base64.b64encode(data).decode()

    stored = post(governed, "/evidence", **churn(file=name, content=content))
    read = get(governed, "/attachment", **churn(path=name))

    assert stored.get_json()["file"]["size"] == len(data)
    assert read.data == data
    assert read.headers["Content-Type"] == "application/json"
    assert read.headers["X-Content-Type-Options"] == "nosniff"
    assert read.headers["Content-Disposition"] == "attachment; filename=canary.intoto.json"


@pytest.mark.parametrize("content", ["not base64!", "e30", "e30=\n", "é"])
def test_evidence_that_is_not_base64_is_refused(governed: Registry, content: str) -> None:
    answer = post(
        governed, "/evidence", **churn(file="attestations/a.intoto.json", content=content)
    )

    assert answer.status_code == 400


@pytest.mark.parametrize("name", ["../a.intoto.json", "attestations/../../x.intoto.json", "x.json"])
def test_evidence_cannot_leave_its_folder(governed: Registry, name: str) -> None:
    assert post(governed, "/evidence", **churn(file=name, content="e30=")).status_code == 400


def test_an_attachment_with_active_content_stays_text(governed: Registry) -> None:
    record = governed.store.versions()[0]
    hostile = Attachment('release/a"\r\n.html', b"<script>alert(1)</script>")
    governed.store.add_attachments(record.uid, [hostile])

    assert get(governed, "/attachment", **churn(path=hostile.path)).status_code == 400
    governed.store.add_attachments(record.uid, [Attachment('a";x.html', hostile.data)])
    answer = get(governed, "/attachment", **churn(path='a";x.html'))

    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.headers["Content-Disposition"].startswith("attachment; ")
    assert "sandbox" in answer.headers["Content-Security-Policy"]
    assert get(governed, "/attachment", **churn(path="../x")).status_code == 404


def test_the_ledger_is_provable_from_what_is_served(governed: Registry) -> None:
    assert get(governed, "/ledger/head").status_code == 404
    for reason in ("one", "two", "three"):
        post(governed, "/approvals", **churn(role="security", reason=reason))

    entries = get(governed, "/ledger/entries", start=1, count=1).get_json()["entries"]
    told = get(governed, "/ledger/proof", index=1).get_json()
    head = get(governed, "/ledger/head").get_json()

    assert entries == [{"index": 1, "entry": told["entry"]}]
    proof = InclusionProof.parse(told["proof"])
    signed = proof.verify(told["entry"].encode(), governed.store.key.key)
    assert (signed.size, signed.root.hex()) == (head["size"], head["root"])
    for absent in (3, 10**15, 2**53 - 1):
        assert get(governed, "/ledger/proof", index=absent).status_code == 404
    assert "between" in get(governed, "/ledger/proof", index=2**53).get_data(as_text=True)


def test_a_monitor_is_shown_that_the_ledger_goes_on(governed: Registry) -> None:
    for path in ("/ledger/checkpoint", "/ledger/consistency"):
        assert get(governed, path, **({"old": 1} if "cons" in path else {})).status_code == 404
    post(governed, "/approvals", **churn(role="security", reason="one"))
    kept = get(governed, "/ledger/checkpoint")
    assert kept.headers["Content-Type"].startswith("text/plain")
    for reason in ("two", "three"):
        post(governed, "/approvals", **churn(role="security", reason=reason))

    told = get(governed, "/ledger/consistency", old=1).get_json()

    key = governed.store.key.key
    before, now = (checkpoint.verify(note, key) for note in (kept.get_data(), told["checkpoint"]))
    hashes = [base64.b64decode(text) for text in told["hashes"]]
    merkle.verify_consistency((before.size, before.root), (now.size, now.root), hashes)
    for never in (4, 2**53 - 1):
        assert get(governed, "/ledger/consistency", old=never).status_code == 404
    assert get(governed, "/ledger/consistency", old=0).status_code == 400


def test_an_entry_is_proved_against_the_checkpoint_somebody_kept(governed: Registry) -> None:
    post(governed, "/approvals", **churn(role="security", reason="one"))
    kept = get(governed, "/ledger/checkpoint").get_data(as_text=True)
    post(governed, "/approvals", **churn(role="security", reason="two"))

    told = get(governed, "/ledger/proof", index=0, checkpoint=kept).get_json()

    assert InclusionProof.parse(told["proof"]).checkpoint == kept
    assert get(governed, "/ledger/proof", index=1, checkpoint=kept).status_code == 404
    foreign = checkpoint.make(2, bytes(32), governed.store.key)
    for wrong in (foreign, "no checkpoint"):
        answer = get(governed, "/ledger/proof", index=0, checkpoint=wrong)
        assert (answer.status_code, answer.get_json()["message"]) == (
            400,
            "the checkpoint is not one of this ledger",
        )


def test_an_entry_that_was_edited_is_not_handed_out_with_a_proof(governed: Registry) -> None:
    post(governed, "/approvals", **churn(role="security", reason="one"))
    leaf = leaf_hash(governed.store.ledger[0])
    ledger = governed.store.ledger[:]
    governed.store.ledger[0] = b"{}"
    governed.store.inclusion_proof = lambda index, note=None: InclusionProof(  # type: ignore[method-assign]
        index, (), checkpoint.make(1, leaf, governed.store.key)
    )

    assert get(governed, "/ledger/proof", index=0).status_code != 200
    governed.store.ledger[:] = ledger
    assert get(governed, "/ledger/proof", index=0).status_code == 200


def test_more_than_a_thousand_entries_at_once_are_refused(governed: Registry) -> None:
    assert get(governed, "/ledger/entries", count=1001).status_code == 400


def test_policy_trust_and_health_are_told(governed: Registry) -> None:
    policy = get(governed, "/policy").get_json()

    assert policy["policy_digest"] == governed.ports.policy.current().digest
    assert "registry/promote/promote.rego" in {file["path"] for file in policy["files"]}
    assert get(governed, "/trust").data == b'{"keys":[]}'
    assert get(governed, "/health").get_json() == {"status": "ok"}


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ({"name": "churn"}, "version is missing"),
        ({"name": "churn", "version": "one"}, "not an integer"),
        ({"name": "churn", "version": "0"}, "not between"),
        ({"name": "churn", "version": "\uff19"}, "not an integer"),
        ({"name": "churn", "version": "9" * 40}, "not an integer"),
        ({"name": "a/b", "version": "1"}, "not a usable model name"),
        ({"name": "", "version": "1"}, "not a usable model name"),
        ({"name": "x" * 257, "version": "1"}, "more than 256"),
        ({"name": "churn", "version": "1", "workspace": "../x"}, "not a usable"),
        ({"name": "churn", "version": "1", "sudo": "1"}, "unknown field"),
        ({"name": ["churn", "other"], "version": "1"}, "given twice"),
        ({"name": "ch\0urn", "version": "1"}, "control characters"),
    ],
)
def test_a_query_is_read_strictly(governed: Registry, query: dict[str, Any], told: str) -> None:
    answer = get(governed, "/version", **query)

    assert answer.status_code == 400
    assert told in answer.get_json()["message"]


def test_an_unknown_version_is_not_found(governed: Registry) -> None:
    answer = get(governed, "/version", name="churn", version=99)

    assert (answer.status_code, answer.get_json()["code"]) == (404, "NOT_FOUND")
    assert get(governed, "/version", **churn(workspace="other")).status_code == 404
    assert get(governed, "/decision", id="x").status_code == 404


@pytest.mark.parametrize("path", POSTS)
def test_a_post_of_another_content_type_is_refused(client: FlaskClient, path: str) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""):
        answer = client.post(api.API + path, data=json.dumps(churn()), content_type=kind)

        assert answer.status_code == 400, kind
        assert "application/json" in answer.get_json()["message"]


@pytest.mark.parametrize("path", POSTS)
def test_a_huge_post_is_refused_before_it_is_read(client: FlaskClient, path: str) -> None:
    limit = next(route.max_bytes for route in api.ROUTES if route.path == path)
    answer = client.post(
        api.API + path,
        content_type="application/json",
        data=b"{}",
        environ_overrides={"CONTENT_LENGTH": str(limit + 1)},
    )

    assert answer.status_code == 400
    assert str(limit) in answer.get_json()["message"]


@pytest.mark.parametrize("path", POSTS)
def test_a_post_without_a_length_is_refused(client: FlaskClient, path: str) -> None:
    answer = client.post(
        api.API + path,
        content_type="application/json",
        data=b"{}",
        environ_overrides={"CONTENT_LENGTH": "", "HTTP_TRANSFER_ENCODING": "chunked"},
    )

    assert answer.status_code == 400


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b"{",
        b'{"name": "churn", "name": "other", "version": 1}',
        b'{"name": NaN}',
        b'{"name": "\xff"}',
        b'{"name": ' + b"[" * 5000 + b"]" * 5000 + b"}",
        b'{"name": "churn", "version": 1, "force": true}',
        b'{"name": "churn", "version": true, "reason": "x"}',
        b'{"name": "churn", "version": "1", "reason": "x"}',
        b'{"name": ["churn"], "version": 1, "reason": "x"}',
        b'{"name": "churn", "version": 1, "reason": {"a": 1}, "sudo": 1}',
        b'{"name": "\\ud800", "version": 1, "reason": "x"}',
        b'{"name": "churn", "version": 123456789012345678901234567890, "reason": "x"}',
    ],
)
def test_a_malformed_body_is_refused_as_json(
    governed: Registry, client: FlaskClient, path: str, body: bytes
) -> None:
    answer = client.post(api.API + path, data=body, content_type="application/json")

    assert (answer.status_code, answer.get_json()["code"]) == (400, "INVALID_REQUEST")
    assert governed.store.ledger == []


@pytest.mark.parametrize("path", POSTS)
def test_fields_in_the_address_of_a_post_are_refused(client: FlaskClient, path: str) -> None:
    assert client.post(f"{api.API}{path}?name=churn", json=churn()).status_code == 400


def test_an_acting_path_cannot_be_read(client: FlaskClient) -> None:
    assert client.get(api.API + "/revoke").status_code == 405


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (ConfigurationError("the key is gone", advice="mend it"), 409, "CONFIGURATION"),
        (Unavailable("the database is away"), 503, "UNAVAILABLE"),
        (RuntimeError("secret: hunter2"), 409, "INTERNAL"),
        (RecursionError(), 409, "INTERNAL"),
    ],
)
def test_no_failure_answers_500_or_tells_its_insides(
    governed: Registry, error: Exception, status: int, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> Actor:
        raise error

    services = governed.services()
    object.__setattr__(services, "actor", fail)
    governed.services = lambda: services  # type: ignore[method-assign]

    answer = post(governed, "/revoke", **churn(reason="x"))

    assert (answer.status_code, answer.get_json()["code"]) == (status, code)
    assert "hunter2" not in answer.text
    if code == "INTERNAL":
        assert answer.get_json()["incident"] in caplog.text


def test_an_answer_is_cached_by_nobody(governed: Registry) -> None:
    assert get(governed, "/version", **churn()).headers["Cache-Control"] == "no-store"


def test_a_stored_decision_is_told_as_it_was_decided(governed: Registry) -> None:
    post(governed, "/quarantine", **churn(reason="drift"))
    uid, stored = governed.store.decisions[-1]

    told = get(governed, "/decision", id=stored["decision_id"]).get_json()

    assert canonical.encode(told) == canonical.encode(stored)
    assert told["dossier"]["subject"]["uid"] == uid
