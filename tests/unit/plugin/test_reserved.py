"""Tags of the registry, however somebody spells them."""

from __future__ import annotations

import pytest
from mlflow.entities.model_registry import ModelVersionTag, RegisteredModelTag

from mlflow_governance.plugin.refusals import Refusal
from mlflow_governance.plugin.reserved import is_reserved, without_reserved
from tests.unit.plugin.builders import NAME, Governed

OURS = [
    "governance.stage",
    "governance.",
    "governance.anything.at.all",
    "GOVERNANCE.Stage",
    " governance.stage",
    "\tgovernance.stage",
    "\N{NO-BREAK SPACE}governance.stage",
    "\N{IDEOGRAPHIC SPACE}governance.stage",
    "ｇｏｖｅｒｎａｎｃｅ.stage",  # noqa: RUF001  (full-width letters)
    "governance\N{FULLWIDTH FULL STOP}stage",
    "governance\N{ONE DOT LEADER}stage",
    "𝐠𝐨𝐯𝐞𝐫𝐧𝐚𝐧𝐜𝐞.stage",  # noqa: RUF001  (mathematical letters)
    "governance.\N{ZERO WIDTH SPACE}stage",
    "\N{ZERO WIDTH SPACE}governance.stage",
    "gover\N{SOFT HYPHEN}nance.stage",
    "\N{RIGHT-TO-LEFT MARK}governance.stage",
    "\N{ZERO WIDTH NO-BREAK SPACE}governance.stage",
    "governance.stage\0",
    "\0governance.stage",
]
THEIRS = ["stage", "governance", "governance_stage", "governances.x", "my.governance.stage", ""]


@pytest.mark.parametrize("key", OURS)
def test_a_look_alike_is_reserved_too(key: str) -> None:
    assert is_reserved(key)


@pytest.mark.parametrize("key", THEIRS)
def test_other_tags_are_nobodys_business(key: str) -> None:
    assert not is_reserved(key)


def test_tags_of_a_copied_version_lose_ours_and_keep_theirs() -> None:
    tags = [ModelVersionTag(key, "v") for key in ("team", "governance.stage", "GOVERNANCE.x")]

    assert [tag.key for tag in without_reserved(tags)] == ["team"]
    assert without_reserved(None) == []


def test_no_way_through_the_store_writes_one(governed: Governed) -> None:
    tag = RegisteredModelTag("Governance.stage", "Approved")
    governed.store.create_registered_model(NAME, [tag, RegisteredModelTag("team", "a")])
    governed.model()
    version = governed.store.create_model_version(
        NAME,
        "mlflow-artifacts:/1/models/m-1/artifacts",
        tags=[ModelVersionTag("governance.stage", "Approved"), ModelVersionTag("team", "a")],
    )

    assert governed.store.get_registered_model(NAME).tags == {"team": "a"}
    assert (version.tags["governance.stage"], version.tags["team"]) == ("Candidate", "a")
    for attempt in (
        lambda: governed.store.set_model_version_tag(NAME, 1, ModelVersionTag(*_SPOOF)),
        lambda: governed.store.delete_model_version_tag(NAME, 1, _SPOOF[0]),
        lambda: governed.store.set_registered_model_tag(NAME, RegisteredModelTag(*_SPOOF)),
        lambda: governed.store.delete_registered_model_tag(NAME, _SPOOF[0]),
    ):
        with pytest.raises(Refusal, match="alone") as refusal:
            attempt()
        assert refusal.value.get_http_status_code() == 403
    assert governed.store.get_model_version(NAME, 1).tags["governance.stage"] == "Candidate"


_SPOOF = ("GOVERNANCE.stage", "Approved")
