"""The events that leave are the events the contract in ``webhooks/events`` describes."""

from __future__ import annotations

import copy
import json
from typing import Any

import jsonschema_rs
import pytest
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from hypothesis import given, settings
from hypothesis import strategies as st

from mlflow_governance.core import canonical
from mlflow_governance.core.event import Act
from mlflow_governance.core.stage import Stage
from mlflow_governance.errors import GovernanceError, InvalidRequest
from mlflow_governance.outbox import cloudevents
from tests.unit.outbox.builders import EVENTS, NOW, SOURCE, event, example, stored

SCHEMA = json.loads((EVENTS / "event.schema.json").read_text("utf-8"))
VALIDATOR = jsonschema_rs.Draft202012Validator(SCHEMA, validate_formats=True)

acts = pytest.mark.parametrize("act", list(Act))


def changed(act: Act, path: str, value: Any) -> dict[str, Any]:
    document = copy.deepcopy(event(act))
    *parents, last = path.split(".")
    place = document
    for parent in parents:
        place = place[parent]
    place[last] = value
    return document


@acts
def test_every_act_has_an_example_that_is_valid_and_is_what_the_code_makes(act: Act):
    published = json.loads((EVENTS / "examples" / f"{act.value}.json").read_text("utf-8"))
    VALIDATOR.validate(published)
    assert published == example(act), "run: python -m tests.unit.outbox.builders"


@acts
def test_the_cloudevents_sdk_reads_what_is_sent(act: Act):
    document = canonical.encode(stored(act))
    read = JSONFormat().read(CloudEvent, cloudevents.encode(document, SOURCE))
    assert (read.get_id(), read.get_time(), read.get_data()) == (
        stored(act)["id"], NOW, event(act)["data"],
    )  # fmt: skip


def test_there_is_no_example_of_anything_else():
    names = {path.stem for path in (EVENTS / "examples").iterdir()}
    assert names == {act.value for act in Act}


def test_the_schema_knows_every_act_and_every_stage():
    assert SCHEMA["properties"]["type"]["enum"] == [cloudevents.type_of(act) for act in Act]
    stages = SCHEMA["$defs"]["state"]["properties"]["stage"]["enum"]
    assert set(stages) == {stage.value for stage in Stage}


def test_the_readme_names_every_act():
    text = (EVENTS / "README.md").read_text("utf-8")
    assert [act for act in Act if f"`{act.value}`" not in text] == []


@acts
def test_what_is_sent_is_described_member_by_member(act: Act):
    sent = event(act)
    assert set(sent) <= set(SCHEMA["properties"])
    assert set(sent["data"]) <= set(SCHEMA["$defs"]["data"]["properties"])


@acts
def test_the_same_document_always_gives_the_same_bytes(act: Act):
    document = canonical.encode(stored(act))
    shuffled = json.dumps(dict(reversed(stored(act).items()))).encode()
    made = [cloudevents.encode(body, SOURCE) for body in (document, shuffled)]
    assert made[0] == made[1]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("specversion", "0.3"),
        ("id", ""),
        ("source", "/elsewhere"),
        ("type", "io.mlflow-governance.version.promoted"),
        ("subject", "churn/3"),
        ("time", "yesterday"),
        ("time", "2026-11-21T09:30:00+01:00"),
        ("traceParent", "upper case is not allowed in attribute names"),
        ("data.actor", None),
        ("data.allowed", "yes"),
        ("data.after", {}),
        ("data.after.stage", "Production"),
        ("data.ledger_index", -1),
        ("data.subject", {}),
        ("data.subject.digest", "sha256:../../etc"),
        ("data.subject.version", "3"),
        ("data.subject.name", None),
        ("data.subject.uid", None),
        ("data.ledger_root", ""),
    ],
)
def test_the_schema_refuses_what_the_contract_does_not_say(path: str, value: Any):
    assert VALIDATOR.is_valid(event(Act.VERSION_REVOKED))
    assert not VALIDATOR.is_valid(changed(Act.VERSION_REVOKED, path, value))


def test_a_refusal_that_claims_to_be_allowed_is_not_valid():
    assert not VALIDATOR.is_valid(changed(Act.DOWNLOAD_DENIED, "data.allowed", True))


def test_members_may_be_added_without_breaking_consumers():
    assert VALIDATOR.is_valid(changed(Act.VERSION_REVOKED, "data.extra", 1))
    assert VALIDATOR.is_valid(changed(Act.VERSION_REVOKED, "traceparent", "00-0af7-01"))


def test_names_are_percent_encoded_in_attributes_and_plain_in_data():
    sent = event(subject={**stored()["subject"], "name": "Kündigung churn%2F"})
    assert sent["subject"] == "models/K%C3%BCndigung%20churn%252F/versions/3"
    assert sent["data"]["subject"]["name"] == "Kündigung churn%2F"
    assert cloudevents.source_of("a registry/ü") == "/mlflow-governance/a%20registry%2F%C3%BC"
    VALIDATOR.validate(sent)


def test_the_subject_names_the_workspace_outside_the_default_one():
    sent = event(subject={**stored()["subject"], "workspace": "risk"})
    assert sent["subject"] == "workspaces/risk/models/churn/versions/3"
    VALIDATOR.validate(sent)


def test_further_facts_are_passed_on_where_the_store_keeps_them():
    sent = event(Act.ALIAS_MOVED, facts={"action": {"alias": "serving"}})
    assert sent["data"]["facts"] == {"action": {"alias": "serving"}}
    VALIDATOR.validate(sent)


def test_an_event_about_a_model_has_no_version_in_its_subject():
    assert event(Act.REQUEST_REFUSED)["subject"] == "models/churn"


def test_an_event_about_the_registry_has_no_subject():
    assert "subject" not in event(Act.REGISTRY_STARTED)


@pytest.mark.parametrize("name", sorted(stored()))
def test_a_document_that_lacks_a_member_is_refused(name: str):
    document = {key: value for key, value in stored().items() if key != name}
    with pytest.raises(InvalidRequest, match=name):
        cloudevents.encode(canonical.encode(document), SOURCE)


@pytest.mark.parametrize(
    "changes",
    [{"act": "version.promoted"}, {"act": ["x"]}, {"act": None}, {"at": "soon"}, {"subject": 3}],
)
def test_a_malformed_document_is_refused(changes: dict[str, Any]):
    document = canonical.encode({**stored(), **changes})
    with pytest.raises(InvalidRequest):
        cloudevents.encode(document, SOURCE)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner)
)


@settings(deadline=None, max_examples=40)
@given(st.dictionaries(st.sampled_from(sorted(stored())), json_values))
def test_a_foreign_document_raises_nothing_but_our_errors(changes: dict[str, Any]):
    document = json.dumps({**stored(), **changes}).encode()
    try:
        cloudevents.encode(document, SOURCE)
    except GovernanceError:
        return
