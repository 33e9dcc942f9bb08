"""A past decision in full, each part held against what is kept and against the proved ledger."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import CliRunner, Result

from mlflow_governance.cli.explain import explain_command
from mlflow_governance.cli.main import cli
from mlflow_governance.cli.policy import policy
from mlflow_governance.core.digest import of_bytes
from mlflow_governance.core.dossier import Outcome
from mlflow_governance.core.model_ref import VersionRef
from mlflow_governance.core.stage import Stage
from mlflow_governance.errors import (
    Denied,
    InvalidRequest,
    LedgerError,
    NotFound,
    VerificationError,
)
from mlflow_governance.evidence.interface import Kind
from mlflow_governance.ledger.proof import InclusionProof
from mlflow_governance.policy.bundle import from_archive
from mlflow_governance.store import tables as ours
from mlflow_governance.workflows.approve import approve
from mlflow_governance.workflows.ports import Request
from mlflow_governance.workflows.promote import transition
from mlflow_governance.workflows.withdraw import withdraw
from tests.unit.policy.builders import shipped
from tests.unit.workflows.builders import ALICE, PIA, SAM
from tests.unit.workflows.erasing import erased
from tests.unit.workflows.homes import home_of, later
from tests.unit.workflows.watched import Watched

CHURN = VersionRef("churn", 1)


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lived")
    made = Watched(folder)
    made.approved("churn")
    made.sessions.dispose()
    return folder


@pytest.fixture
def registry(lived: Path, tmp_path: Path) -> Watched:
    return later(Watched(Path(shutil.copytree(lived, tmp_path / "copy"))))


def asked(registry: Watched, *words: object) -> Result:
    url, home = str(registry.sessions.engine.url), str(home_of(registry))
    command = ["explain", *map(str, words), "--backend-store-uri", url, "--home", home]
    return CliRunner().invoke(cli, command)


def explained(registry: Watched, *words: object) -> dict[str, Any]:
    result = asked(registry, *words, "--json")
    assert result.exit_code == 0, result.exception
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def index_of(registry: Watched, act: str, number: int = 0) -> int:
    entries = [json.loads(data) for _, data in registry.ledger.entries()]
    return int([entry["index"] for entry in entries if entry["act"] == act][number])


def test_it_is_one_command_under_two_names() -> None:
    assert policy.commands["explain"] is explain_command


def test_of_a_version_it_is_the_decision_that_brought_it_where_it_is(registry: Watched) -> None:
    document = explained(registry, "churn/1")

    assert document["decision_id"] == registry.record(CHURN).decision_id
    assert document["action"]["to"] == "Approved"
    assert document["entry"]["after"]["stage"] == "Approved"
    withdraw(registry.ports, Request(SAM, CHURN, "a leak"), Stage.QUARANTINED)
    assert explained(registry, "churn/1")["gate"] == "withdraw"


def test_of_a_version_nothing_moved_it_is_the_last_decision_about_it(registry: Watched) -> None:
    registry.outcomes.spoiled = {Kind.SIGNATURE: Outcome.failed("it was torn")}
    registry.accepted("torn")

    document = explained(registry, "torn/1")

    assert document["allow"] is False
    (signature,) = [one for one in document["verified"] if one["kind"] == "signature"]
    assert (signature["status"], signature["problem"]) == ("failed", "it was torn")
    assert "led to nothing: None, as before" in asked(registry, "torn/1").stdout


@pytest.mark.parametrize("wanted", ["nobody/1", "churn/2", "8755a641"])
def test_what_nobody_knows_is_not_found(registry: Watched, wanted: str) -> None:
    assert isinstance(asked(registry, wanted).exception, NotFound)


def test_a_version_of_another_workspace_is_another_version(registry: Watched) -> None:
    assert isinstance(asked(registry, "churn/1", "--workspace", "lab").exception, NotFound)


def test_the_approvals_that_stood_are_told_with_the_entry_of_each(registry: Watched) -> None:
    document = explained(registry, "churn/1")

    assert [
        (a["person"], a["role"], a["decision"], a["reason"], a["entry"], a["taken_back"])
        for a in document["approvals"]
    ] == [
        ("sam", "security", "approve", "read it", index_of(registry, "approval.given", 0), None),
        ("pia", "product", "approve", "well then", index_of(registry, "approval.given", 2), None),
    ]
    approve(registry.ports, Request(SAM, CHURN, "I erred"), "security", "withdraw")
    again = explained(registry, "churn/1")
    assert again["approvals"][0]["taken_back"] == index_of(registry, "approval.withdrawn")


def test_it_tells_the_policy_since_when_it_was_in_force_and_what_came_then(
    registry: Watched,
) -> None:
    document = explained(registry, "churn/1")

    assert document["policy"]["digest"] == shipped().digest
    assert document["policy"]["title"] == "Policies of the governed model registry"
    assert document["policy"]["since"]["index"] == index_of(registry, "policy.changed")
    assert document["policy"]["how"] == "first start"
    assert [one["act"] for one in document["then"]] == ["alias.moved"]


def test_the_entry_is_proved_against_the_signed_head(registry: Watched, tmp_path: Path) -> None:
    folder = tmp_path / "why"
    document = explained(registry, "churn/1", "--output", folder)

    assert document["proved"]["size"] == registry.entries()
    entry = (folder / "entry.json").read_bytes()
    proof = InclusionProof.parse((folder / "entry.tlog-proof").read_text())
    assert proof.verify(entry, registry.ledger_key).root.hex() == document["proved"]["root"]
    assert json.loads(entry)["decision_digest"] == of_bytes((folder / "decision.json").read_bytes())
    checked = CliRunner().invoke(
        cli,
        ["ledger", "check", str(folder / "entry.tlog-proof"), "--against",
         str(folder / "entry.json"), "--home", str(home_of(registry))],
    )  # fmt: skip
    assert checked.exit_code == 0, checked.exception


def test_what_is_written_is_the_very_input_and_the_very_policy(
    registry: Watched, tmp_path: Path
) -> None:
    document = explained(registry, "churn/1", "--output", tmp_path / "why", "--dossier",
                         tmp_path / "input.json")  # fmt: skip

    dossier = (tmp_path / "why" / "dossier.json").read_bytes()
    assert of_bytes(dossier) == document["dossier_digest"]
    assert (tmp_path / "input.json").read_bytes() == dossier
    archive = (tmp_path / "why" / "policy.tar.gz").read_bytes()
    assert from_archive(archive).digest == document["policy_digest"]


def test_nothing_is_written_beside_what_is_there_already(registry: Watched, tmp_path: Path) -> None:
    folder = tmp_path / "full"
    folder.mkdir()
    (folder / "letter").touch()
    for place, said in ((folder, "is not empty"), (folder / "letter" / "why", "written")):
        refused = asked(registry, "churn/1", "--output", place).exception
        assert isinstance(refused, InvalidRequest), refused
        assert said in refused.message
    assert [path.name for path in folder.iterdir()] == ["letter"]


def test_the_files_that_were_examined_are_told_and_whether_they_are_as_they_were(
    registry: Watched,
) -> None:
    (file,) = explained(registry, "churn/1")["files"]
    assert (file["name"], file["state"]) == ("attestations/canary.intoto.json", "kept")

    registry.run(
        sa.update(ours.blobs).where(ours.blobs.c.digest == file["digest"]).values(data=b"{}")
    )
    result = asked(registry, "churn/1")
    assert isinstance(result.exception, VerificationError)
    assert "the bytes of attestations/canary.intoto.json are not those" in str(result.exception)

    registry.run(sa.delete(ours.blobs).where(ours.blobs.c.digest == file["digest"]))
    assert explained(registry, "churn/1")["files"][0]["state"] == "gone"


def test_an_approval_nobody_gave_is_an_alarm(registry: Watched) -> None:
    # Somebody hides the entry about it from whoever looks for it by version.
    table = ours.ledger_entries
    place = index_of(registry, "approval.given")
    registry.run(sa.update(table).where(table.c.position == place).values(version_uid="other"))

    result = asked(registry, "churn/1")

    assert isinstance(result.exception, VerificationError)
    assert "no entry tells of the word of sam for security" in str(result.exception)


@pytest.mark.parametrize("act", ["approval.given", "version.transitioned", "policy.changed"])
def test_a_forged_entry_is_an_alarm(registry: Watched, act: str) -> None:
    table = ours.ledger_entries
    place = index_of(registry, act, -1 if act == "version.transitioned" else 0)
    ((_, data),) = registry.ledger.entries(place, 1)
    other = data.replace(b'"at":"2026', b'"at":"2025', 1)
    registry.run(sa.update(table).where(table.c.position == place).values(entry=other))

    result = asked(registry, "churn/1")

    assert isinstance(result.exception, VerificationError)
    assert "INTEGRITY ALARM" in str(result.exception)


def test_a_head_nobody_signed_is_an_alarm(registry: Watched, tmp_path: Path) -> None:
    other = Watched(tmp_path / "other")
    other.approved("churn")
    registry.run(sa.update(ours.ledger_head).values(note=other.ledger.head()))

    assert isinstance(asked(registry, "churn/1").exception, (LedgerError, VerificationError))


def test_whose_name_was_erased_is_told_as_erased(registry: Watched) -> None:
    pseudonym = erased(registry, "sam")

    document = explained(registry, "churn/1")

    assert document["approvals"][0]["person"] == pseudonym
    assert document["approvals"][0]["entry"] == index_of(registry, "approval.given")
    assert f"approve by {pseudonym} for security" in asked(registry, "churn/1").stdout


def test_a_version_that_is_gone_is_explained_by_its_ledger(registry: Watched) -> None:
    ref = registry.accepted("short")
    decision_id = registry.record(ref).decision_id
    registry.delete(ref)

    document = explained(registry, "short/1")

    assert document["decision_id"] == decision_id
    assert [one["act"] for one in document["then"]] == ["version.deleted"]


def test_a_refused_promotion_is_explained_as_one_that_is_not(registry: Watched) -> None:
    ref = registry.accepted("early")
    transition(registry.ports, Request(ALICE, ref), Stage.STAGING)
    with pytest.raises(Denied) as refusal:
        transition(registry.ports, Request(PIA, ref), Stage.APPROVED)

    document = explained(registry, refusal.value.details["decision_id"])

    assert (document["allow"], document["approvals"]) == (False, [])
    assert document["entry"]["allowed"] is False
    assert document["again"] == "the same answer"
