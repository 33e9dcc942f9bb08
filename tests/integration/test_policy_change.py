"""A changed policy: what was released under the old one counts no longer, unless it is named; it
comes into force without a restart, without a gap, and with approvals where they are asked for."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from mlflow.exceptions import MlflowException

from mlflow_governance.errors import Denied, NotFound, VerificationError
from mlflow_governance.serving import ServingSettings, load_model
from tests.integration.told import Told
from tests.integration.world import wait_for


def tighten(told: Told, limit: float = 6.9) -> None:
    """The organisation blocks vulnerabilities a little earlier."""
    path = told.server.home / "policies" / "registry" / "config" / "data.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "blocking_cvss": limit}))


def policy(told: Told) -> dict[str, Any]:
    found: dict[str, Any] = told.ask("rita", "GET", "/api/2.0/mlflow-governance/policy").json()
    return found


def served(told: Told, name: str, place: Path) -> object:
    """Load as a serving host with a cache of its own does."""
    told.here("rita", "trust", "export", "-o", str(place / "trust.yaml"))
    variables = {
        "MLFLOW_GOVERNANCE_TRUST": str(place / "trust.yaml"),
        "MLFLOW_GOVERNANCE_CACHE": str(place / "cache"),
        "MLFLOW_TRACKING_URI": told.server.uri,
    }
    with told.speaking_as("rita"):
        return load_model(f"models:/{name}/1", settings=ServingSettings.from_env(variables))


def test_a_release_lives_as_long_as_its_policy_counts(told: Told, tmp_path: Path) -> None:
    told.approved("first", seed=110)
    told.approved("second", seed=111)
    old = policy(told)["policy_digest"]
    assert served(told, "first", tmp_path) is not None

    tighten(told)
    told.configure(policy_grace_days=0)
    told.restart()

    new = policy(told)["policy_digest"]
    assert new != old
    the_old_releases_are_refused(told, tmp_path)
    one_is_approved_and_judged_again(told, tmp_path)

    told.configure(old, policy_grace_days=0)
    told.restart()

    assert policy(told)["accepted_policy_digests"] == sorted([old, new])
    for name in ("first", "second"):
        assert told.load(f"models:/{name}/1") is not None
        assert served(told, name, tmp_path) is not None


def the_old_releases_are_refused(told: Told, place: Path) -> None:
    for name in ("first", "second"):
        with pytest.raises(MlflowException, match="DLD-004"):
            told.load(f"models:/{name}/1", "admin")
    with pytest.raises((Denied, VerificationError)):
        served(told, "first", place)


def one_is_approved_and_judged_again(told: Told, place: Path) -> None:
    # The approvals were given under the old policy, too.
    with pytest.raises(Denied, match="does not pass"):
        told.here("alice", "judge", "first/1")
    told.approve("first", "sam", "security")
    told.approve("first", "pia", "product")
    told.here("alice", "judge", "first/1")

    assert told.load("models:/first/1") is not None
    assert served(told, "first", place) is not None
    with pytest.raises(MlflowException, match="DLD-004"):
        told.load("models:/second/1")


def in_force(told: Told) -> str:
    return str(policy(told)["policy_digest"])


def valid(told: Told) -> dict[str, Any]:
    flags = ("--home", str(told.server.home), "--backend-store-uri", told.server.backend)
    ran = told.command("admin", "validate", *flags, "--no-hash", "--json", check=False)
    found: dict[str, Any] = json.loads(ran.stdout)
    return found


def test_an_edit_comes_into_force_while_people_work_and_nobody_meets_an_error(told: Told) -> None:
    names = [f"steady-{number}" for number in range(3)]  # one each: of two at once one wins
    for number, name in enumerate(names):
        told.candidate(name, seed=120 + number)
    before, seen = in_force(told), set()
    wrong: list[str] = []
    stop = threading.Event()

    def judge(name: str) -> None:
        while not stop.wait(0.05):  # people pause; a server under full load weighs for long
            body = {"name": name, "version": 1}
            answer = told.ask("alice", "POST", "/api/2.0/mlflow-governance/judge", json=body)
            if answer.status_code != 200:
                wrong.append(answer.text)
                continue
            decision = answer.json()["decision"]
            seen.add(decision["policy_digest"])
            if not decision["allow"] or any("ENG" in code for code in decision["checks"]):
                wrong.append(answer.text)

    threads = [threading.Thread(target=judge, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    try:
        for limit in (6.1, 6.2, 6.3):
            last = in_force(told)
            tighten(told, limit)
            wait_for(lambda known=last: in_force(told) != known, "the edit is in force")
    finally:
        stop.set()
        for thread in threads:
            thread.join()

    assert not wrong
    assert len(seen) >= 3
    assert before not in (in_force(told),)
    assert valid(told)["findings"] == []


def test_a_broken_edit_changes_nothing_and_is_told(told: Told) -> None:
    before = in_force(told)
    rules = told.server.home / "policies" / "registry" / "download" / "download.rego"
    good = rules.read_text()
    rules.write_text(good + "\nbroken :=\n")
    try:
        note = wait_for(lambda: policy(told)["source"]["note"], "the problem is told")
        status = told.here("rita", "policy", "status")
    finally:
        rules.write_text(good)

    assert "POL-001" in note
    assert "POL-001" in status
    assert in_force(told) == before
    wait_for(lambda: not policy(told)["source"]["note"], "it is mended")


def test_an_administrator_goes_back_to_an_earlier_policy(told: Told) -> None:
    newest = in_force(told)
    tighten(told, 6.4)
    wait_for(lambda: in_force(told) != newest, "the edit is in force")

    told.here("admin", "policy", "activate", newest, "--reason", "it denied too much")

    found = policy(told)
    assert (found["policy_digest"], found["by"]) == (newest, "admin")
    wait_for(lambda: "policy activate" in policy(told)["source"]["note"], "the edit waits")
    assert in_force(told) == newest


def test_with_approvals_a_policy_comes_into_force_by_the_last_of_them(
    told: Told, tmp_path: Path
) -> None:
    told.configure(policy_approvals={"count": 2, "roles": ["security"]})
    told.restart()
    before = in_force(told)
    tighten(told, 6.5)
    bundle = str(told.server.home / "policies")
    wait_for(lambda: "policy propose" in policy(told)["source"]["note"], "the edit waits")
    with pytest.raises(Denied, match="POL-004"):
        told.here("admin", "policy", "activate", some_other(told, before), "--reason", "quick")

    said = told.here("pia", "policy", "propose", "--bundle", bundle, "--reason", "stricter")
    digest = said.split()[0]
    for user, why in (("pia", "proposed"), ("admin", "none of the roles")):
        with pytest.raises(Denied, match=why):
            told.here(user, "policy", "approve", digest, "--reason", "quick")
    told.here("sam", "policy", "fetch", digest, "-o", str(tmp_path / "proposed.tar.gz"))
    assert "open, 1 of 2" in told.here("sam", "policy", "approve", digest, "--reason", "fine")
    assert in_force(told) == before
    assert "in force" in told.here("alice", "policy", "approve", digest, "--reason", "fine")

    assert in_force(told) == digest
    assert policy(told)["by"] == "alice"
    assert digest in told.here("rita", "policy", "proposals")
    with pytest.raises(NotFound):
        told.here("sam", "policy", "reject", digest, "--reason", "too late")
    assert valid(told)["findings"] == []
    assert told.ledger_verifies()


def some_other(told: Told, present: str) -> str:
    """A policy that was in force before."""
    entries = told.ask(
        "rita", "GET", "/api/2.0/mlflow-governance/ledger/entries", params={"count": 1000}
    ).json()["entries"]
    changed = [json.loads(e["entry"]) for e in entries]
    digests = [e["after"]["policy_digest"] for e in changed if e["act"] == "policy.changed"]
    return str(next(digest for digest in digests if digest != present))
