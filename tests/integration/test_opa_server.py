"""A whole registry on a real OPA server: TLS, a token, a signed bundle that OPA verifies as well.

What OPA answers counts, while it serves what is in force; nothing else ever does.
"""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from mlflow.exceptions import MlflowException
from requests import HTTPError

from examples.local_server import LocalServer
from mlflow_governance.core.resources import folder
from mlflow_governance.errors import VerificationError
from mlflow_governance.evidence.authority import KeyHolder
from mlflow_governance.evidence.keys import PublicKey, generate_key_pair
from mlflow_governance.evidence.predicate import Purpose
from mlflow_governance.evidence.trust import Signer, add_signer
from tests.contract.policy.binary import needs_opa
from tests.integration.opa_server import TOKEN, OpaServer, place
from tests.integration.world import World, wait_for
from tests.unit.policy.authority import Authority

pytestmark = needs_opa


class Governed(World):
    """A registry whose bundle is a signed file, and the OPA it asks."""

    def __init__(self, server: LocalServer) -> None:
        super().__init__(server)
        self.server.home.mkdir(mode=0o700, parents=True)
        generate_key_pair(self.folder / "security.pem")
        key = KeyHolder(PublicKey.from_pem((self.folder / "security.pub").read_bytes()))
        signer = Signer("security", key, frozenset({Purpose.POLICY}))
        add_signer(self.server.home / "trust.yaml", signer)
        self.opa = OpaServer(self.folder / "opa", self.folder / "security.pem")
        self.token = self.folder / "token"
        self.token.write_text(TOKEN)
        self.source = self.server.home / "bundle.tar.gz"
        self.configure()

    def configure(self) -> None:
        """Write config.yaml."""
        opa = {
            "url": self.opa.url,
            "ca_file": self.opa.authority.certificate,
            "token_file": str(self.token),
            "deadline_seconds": 5,
        }
        settings = {
            "policies": self.source.name,
            "policy_signed": True,
            "policy_reload_seconds": 1,
            "opa": opa,
        }
        (self.server.home / "config.yaml").write_text(json.dumps(settings))

    def built(self, name: str, **changed: Any) -> Path:
        """A signed bundle: the policies that ship, with changes of their data."""
        policies = self.folder / name
        shutil.copytree(folder("policies"), policies)
        data = policies / "registry" / "config" / "data.json"
        if changed:
            data.write_text(json.dumps({**json.loads(data.read_text()), **changed}))
        return self.signed(policies)

    def signed(self, policies: Path) -> Path:
        """Build and sign a folder as people do."""
        from click.testing import CliRunner

        from mlflow_governance.cli.main import cli

        made = policies.with_suffix(".tar.gz")
        arguments = ["policy", "build", "--bundle", str(policies), "-o", str(made)]
        arguments += ["--key", str(self.folder / "security.pem"), "--key-id", "security"]
        done = CliRunner().invoke(cli, arguments)
        assert done.exit_code == 0, done.output
        return made

    def policy(self) -> dict[str, Any]:
        """What the registry says of its policy."""
        path = "/api/2.0/mlflow-governance/policy"
        found: dict[str, Any] = self.ask("rita", "GET", path).json()
        return found

    def in_force(self) -> str:
        """The digest in force."""
        return str(self.policy()["policy_digest"])

    def judged(self, name: str) -> dict[str, Any]:
        """A judgement without its side effects mattering: the decision, or the refusal."""
        body = {"name": name, "version": 1}
        answer = self.ask("alice", "POST", "/api/2.0/mlflow-governance/judge", json=body).json()
        found: dict[str, Any] = answer.get("decision", answer)
        return found

    def changes(self) -> list[dict[str, Any]]:
        """The ledger's entries about the policy."""
        path = "/api/2.0/mlflow-governance/ledger/entries"
        found = self.ask("rita", "GET", path, params={"count": 1000}).json()["entries"]
        entries = [json.loads(e["entry"]) for e in found]
        return [entry for entry in entries if entry["act"] == "policy.changed"]

    def decisions(self, name: str) -> list[dict[str, Any]]:
        """Every recorded decision about version 1."""
        entries = json.loads(self.here("sam", "history", f"{name}/1", "--json"))
        path = "/api/2.0/mlflow-governance/decision"
        ids = [entry["decision_id"] for entry in entries if entry["decision_id"]]
        found = [self.ask("sam", "GET", path, params={"id": known}).json() for known in ids]
        return [one.get("decision", one) for one in found]

    def explain(self, decision: str) -> str:
        """What `policy explain` prints, which decides again with the embedded engine."""
        flags = ("--home", str(self.server.home), "--backend-store-uri", self.server.backend)
        return self.here("admin", "policy", "explain", decision, *flags)

    def doctor(self) -> str:
        """What `doctor` says."""
        home = ("--home", str(self.server.home))
        return self.command("admin", "doctor", *home, check=False).stdout


def put(bundle: Path, where: Path) -> None:
    """Replace a file at once, as deployments do."""
    fresh = where.with_name(f".{where.name}.new")
    shutil.copyfile(bundle, fresh)
    fresh.replace(where)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Governed]:
    """One registry for all; each test finds OPA serving what is in force."""
    governed = Governed(LocalServer(tmp_path_factory.mktemp("opa")))
    put(governed.built("first"), governed.source)
    governed.opa.serve(governed.source)
    try:
        with governed.server:
            governed.populate()
            yield governed
    finally:
        governed.opa.kill()


@pytest.fixture
def opa(world: Governed) -> OpaServer:
    """OPA serves what is in force, whatever the test before it did."""
    world.token.write_text(TOKEN)
    world.opa.serve(world.source)
    return world.opa


@pytest.fixture(scope="module")
def whole(world: Governed) -> str:
    """An approved model."""
    world.approved("whole")
    return "whole"


def codes(decision: dict[str, Any]) -> list[str]:
    return [reason["code"] for reason in decision["reasons"]]


def refused(world: Governed, name: str, user: str = "rita") -> str:
    # An equal question of the same second may have been answered with yes, for the place of the
    # files; MLflow's client then meets the refusal at the first of them.
    with pytest.raises((MlflowException, HTTPError)) as raised:
        world.load(f"models:/{name}/1", user)
    return str(raised.value)


def test_a_whole_life_is_decided_by_opa_and_the_embedded_engine_agrees(
    world: Governed, opa: OpaServer
) -> None:
    world.candidate("life")
    early = refused(world, "life")
    world.move("life", 1, "Staging")
    with pytest.raises(MlflowException, match="PRO-012"):
        world.move("life", 1, "Approved")
    world.canary("life")
    world.approve("life", "sam", "security")
    world.approve("life", "pia", "product")
    world.move("life", 1, "Approved")
    assert world.load("models:/life/1") is not None

    decided = world.decisions("life")
    name = opa.url.replace("https://", "opa ")
    assert {d["engine"] for d in decided} == {name}
    assert {d["gate"] for d in decided} >= {"accept", "promote"}
    assert {d["allow"] for d in decided} == {True, False}
    assert "DLD-002" in early
    for decision in decided:
        assert "re-executed: the same answer" in world.explain(decision["decision_id"])
    assert "policy server: https://localhost" in world.doctor()


def test_without_opa_nothing_is_allowed_and_with_it_everything_goes_on(
    world: Governed, opa: OpaServer, whole: str
) -> None:
    world.candidate("stopped", seed=1)

    opa.kill()

    with pytest.raises(MlflowException, match="ENG-UNREACHABLE") as raised:
        world.move("stopped", 1, "Staging")
    for said in (str(raised.value), refused(world, whole)):
        assert "ENG-UNREACHABLE the policy server cannot be reached: Connection refused" in said
        assert "fix: ask again when the policy server is up" in said
        assert "mlflow-governance doctor" in said
        assert str(opa.url.rpartition(":")[2]) not in said
    assert "FAILED   policy server" in world.doctor()
    assert world.show("stopped")["stage"] == "Candidate"

    opa.serve(world.source)

    assert world.load(f"models:/{whole}/1") is not None
    assert world.move("stopped", 1, "Staging") == "Staging"


def test_a_token_that_opa_does_not_take_is_a_no(
    world: Governed, opa: OpaServer, whole: str
) -> None:
    world.token.write_text("somebody-else")
    decision = world.judged(whole)

    assert (codes(decision), decision["engine"][:4]) == (["ENG-HTTP-401"], "opa ")
    assert "token" in decision["reasons"][0]["fix"]
    assert "ENG-HTTP-401" in refused(world, whole)
    assert "ENG-HTTP-401" in world.doctor()

    world.token.unlink()
    assert codes(world.judged(whole)) == ["ENG-ERROR"]

    world.token.write_text(TOKEN)
    assert world.judged(whole)["allow"] is True


def test_an_opa_of_another_authority_is_not_believed(
    world: Governed, opa: OpaServer, whole: str, tmp_path: Path
) -> None:
    opa.serve(world.source, Authority(tmp_path))

    decision = world.judged(whole)

    assert (codes(decision), decision["engine"][:4]) == (["ENG-UNREACHABLE"], "opa ")
    assert "certificate" in decision["reasons"][0]["message"]
    assert "ENG-UNREACHABLE" in refused(world, whole)


def all_allowed(place: Path, **manifest: str) -> Path:
    """A bundle whose gates allow whatever is asked."""
    for gate in ("accept", "alias", "download", "promote", "withdraw"):
        (place / gate).mkdir(parents=True, exist_ok=True)
        answer = {"allow": True, "gate": gate, "checks": {"YES-001": True}}
        empty: dict[str, Any] = {"reasons": [], "warnings": [], "obligations": [], "details": {}}
        decision = f"package registry.{gate}\n\ndecision := {json.dumps(answer | empty)}\n"
        (place / gate / f"{gate}.rego").write_text(decision)
    (place / ".manifest").write_text(json.dumps({"roots": ["registry"], **manifest}))
    return place


@pytest.mark.parametrize("manifest", [{}, {"revision": ""}, {"revision": "sha256:" + "0" * 64}])
def test_an_opa_that_allows_everything_is_not_asked_twice(
    world: Governed, opa: OpaServer, whole: str, tmp_path: Path, manifest: dict[str, str]
) -> None:
    opa.pretend(all_allowed(tmp_path / "yes", **manifest))
    assert opa.ask("GET", "/v1/data/registry/download/decision/allow")["result"] is True

    decision = world.judged(whole)

    assert decision["checks"] == {"ENG-REVISION": False}
    assert "ENG-REVISION" in refused(world, whole)


def test_an_opa_that_lies_about_its_bundle_is_found_out(
    world: Governed, opa: OpaServer, tmp_path: Path
) -> None:
    # What it says of itself is all the registry has; the record shows what it did.
    world.candidate("lied", seed=2)
    false = all_allowed(tmp_path / "lie", revision=world.in_force())
    opa.pretend(false)
    world.move("lied", 1, "Staging")
    opa.serve(world.source)

    (*_, lie) = (d for d in world.decisions("lied") if "YES-001" in d["checks"])
    with pytest.raises(VerificationError, match="INTEGRITY ALARM"):
        world.explain(lie["decision_id"])


def test_nobody_writes_into_what_opa_serves(world: Governed, opa: OpaServer, whole: str) -> None:
    assert opa.ask("PUT", "/v1/data/registry/config/blocking_cvss", 10) == 400
    assert opa.ask("PUT", "/v1/data/registry/config", {}) == 400
    assert opa.ask("PUT", "/v1/policies/registry", "package registry.download") == 400
    assert opa.ask("DELETE", "/v1/policies/registry/download/download.rego") in (400, 404)
    assert world.judged(whole)["allow"] is True


def test_a_changed_bundle_decides_when_source_and_opa_have_it(world: Governed) -> None:
    world.candidate("hot", seed=3)
    served = world.opa.folder / "served" / "bundle.tar.gz"
    put(world.source, served)
    first = world.in_force()
    with place(served.parent) as url, asking(world, "hot") as answers:
        world.opa.follow(url)
        wait_for(lambda: world.opa.revision() == first, "OPA has the bundle")

        second = the_source_is_first(world, served, answers)
        third = opa_is_first(world, served, answers)

    shown = {first: {}, second: {"ACC-012": "shadow"}, third: {"ACC-012": "warn"}}
    assert {a["policy_digest"] for a in answers if a["allow"]} == set(shown)
    for answer in answers:
        if answer["allow"]:
            assert answer["modes"] == shown[answer["policy_digest"]]
        else:
            assert answer["checks"].keys() <= {"ENG-REVISION", "ENG-UNREACHABLE"}
    changes = [(c["before"]["policy_digest"], c["after"]["policy_digest"]) for c in world.changes()]
    assert changes[-2:] == [(first, second), (second, third)]
    assert world.ledger_verifies()


def the_source_is_first(world: Governed, served: Path, answers: list[dict[str, Any]]) -> str:
    before = world.in_force()
    bundle = world.built("second", modes={"ACC-012": "shadow"})
    put(bundle, world.source)
    wait_for(lambda: "does not serve" in world.policy()["source"]["note"], "the source is seen")
    assert world.in_force() == before
    decision = answers[-1]
    assert (decision["allow"], decision["policy_digest"]) == (True, before)

    put(bundle, served)
    wait_for(lambda: world.in_force() != before, "the second bundle is in force")
    wait_for(lambda: answers[-1]["modes"] == {"ACC-012": "shadow"}, "it decides")
    return world.in_force()


def opa_is_first(world: Governed, served: Path, answers: list[dict[str, Any]]) -> str:
    before = world.in_force()
    bundle = world.built("third", modes={"ACC-012": "warn"})
    put(bundle, served)
    wait_for(lambda: world.opa.revision() not in ("", before), "OPA has the third bundle")
    wait_for(lambda: not answers[-1]["allow"], "the registry meets it")
    decision = answers[-1]
    assert decision["checks"] == {"ENG-REVISION": False}
    assert "policy status" in decision["reasons"][0]["fix"]
    assert world.opa.revision() in decision["reasons"][0]["message"]
    assert "ENG-REVISION" in refused(world, "hot", "eve")
    assert world.in_force() == before

    put(bundle, world.source)
    wait_for(lambda: answers[-1]["allow"], "the third bundle is in force")
    assert world.in_force() == world.opa.revision()
    return world.in_force()


@contextmanager
def asking(world: Governed, name: str) -> Iterator[list[dict[str, Any]]]:
    """Somebody asks for a judgement again and again; the answers."""
    answers: list[dict[str, Any]] = []
    stop = threading.Event()

    def ask() -> None:
        while not stop.wait(0.02):
            answers.append(world.judged(name))

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield answers
    finally:
        stop.set()
        thread.join()
