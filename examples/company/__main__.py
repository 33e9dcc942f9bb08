"""A company that starts in warn, replays, and switches to enforce; in two minutes.

python -m examples.company; with --keep the server is left running.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import re
import secrets
import shutil
import sys
import tempfile
import time
import warnings
from contextlib import chdir
from pathlib import Path
from typing import Any

import requests

from examples.company import models, policies
from examples.local_server import LocalServer
from examples.telling import answered, attempt, command, expect, title, typed, wait_for
from mlflow_governance.core import moment

CONFIG = """\
policies: ../company
policy_approvals: {count: 2, roles: [security]}
"""
PATH = "/api/2.0/mlflow-governance"
_started = time.monotonic()


def main() -> int:
    """Tell the story; exit code 0 when every act ended as it should."""
    parser = argparse.ArgumentParser(prog="python -m examples.company", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave the server running")
    keep = parser.parse_args().keep
    folder = Path(tempfile.mkdtemp(prefix="mlflow-governance-company-"))
    server = LocalServer(folder)
    try:
        Story(server).tell()
    finally:
        if keep:
            server.stay(f"the server goes on at {server.uri}/governance")
        else:
            server.stop()
            shutil.rmtree(folder, ignore_errors=True)
    return 0


class Story:
    """Each method is one act; each says what has to come of it."""

    def __init__(self, server: LocalServer) -> None:
        self.server = server
        self.folder = server.folder
        self.old = self.new = ""

    def tell(self) -> None:
        """All acts in order."""
        self.a_policy_to_begin_with()
        self.a_registry_starts_with_it()
        self.teams_are_warned_and_not_stopped()
        self.what_it_would_deny()
        self.two_people_put_it_into_force()
        self.the_next_model_needs_a_card()
        self.an_old_decision_is_made_again()
        print(f"\nDone in {time.monotonic() - _started:.0f} s.")

    def a_policy_to_begin_with(self) -> None:
        """A starting bundle, and what the company decides in data."""
        title("Olga writes the company's policy: no Rego, one file of data")
        self.local("olga", "policy", "init", "company", "--name", "Policies of Example Bank")
        policies.relaxed(self.folder / "company", moment.now())
        typed("olga", "$EDITOR company/registry/config/data.json")
        answered(policies.shown(self.folder / "company"))
        said = self.local("olga", *check("company"))
        expect("the bundle is usable" in said, "a changed data.json should be usable")
        self.old = digest_in(said)
        said = self.local("olga", "policy", "test", "--bundle", "company")
        expect("PASS" in said, "its tests should pass")

    def a_registry_starts_with_it(self) -> None:
        """People, keys, trust."""
        title("A governed MLflow starts with it; another policy needs two people of security")
        self.server.home.mkdir(mode=0o700)
        (self.server.home / "config.yaml").write_text(CONFIG)
        typed("admin", "cat home/config.yaml")
        answered(CONFIG.strip())
        typed("admin", "mlflow-governance server --home home")
        self.server.start()
        answered(f"{self.server.uri}/governance")
        for name, *roles in (
            ("olga", "product"), ("sam", "security"), ("kim", "security"),
            ("ana",), ("ben",), ("cleo",),
        ):  # fmt: skip
            self.add_user(name, *roles)
        for key, purposes in (
            ("training", "signature,provenance,sbom,model-card,dataset"),
            ("ci", "test-result"),
            ("canary", "canary"),
        ):
            self.quietly("admin", "keys", "new", f"{key}.pem")
            known = ("trust", "add", key, "--key", f"{key}.pub", "--for", purposes)
            self.quietly("admin", *known, "--home", "home")
        (self.folder / "tests.json").write_text('{"result": "PASSED"}')
        said = self.command("olga", "policy", "status")
        expect(self.old in said and "2 of security" in said, "her policy should be in force")

    def teams_are_warned_and_not_stopped(self) -> None:
        """Three teams; one has a complete card."""
        title("Ana's model has all that is asked for, and is released by two people")
        said = self.submit("ana", "tumour", models.RISKS, models.LICENCE)
        expect("warning" not in said, "nobody warns of a complete card")
        self.command("ana", *canary("tumour"))
        self.promote("ana", "tumour", "Staging")
        for person, role in (("sam", "security"), ("olga", "product")):
            self.command(person, "approve", "tumour/1", "--as", role, "--reason", "looked at it")
        self.promote("ana", "tumour", "Approved")

        title("Ben's card is incomplete, and his tests are waived: he is told, and not stopped")
        said = self.submit("ben", "wine", models.LICENCE, tests=False)
        expect("ACC-006" in said and "lacks risks" in said, "he should be warned")
        expect(policies.WAIVER in said, "he should be told that he lives on a waiver")
        self.command("ben", *canary("wine"))
        self.promote("ben", "wine", "Staging")
        self.promote("ben", "wine", "Approved")
        typed("ben", 'MlflowClient().get_model_version("wine", 1).tags["governance.warnings"]')
        answered(told := models.warnings_of("wine", 1))
        expect("PRO-009" in told, "the stock client should show the warning")

        title("Cleo's card is incomplete, too, and names no licence, of which nobody speaks yet")
        said = self.submit("cleo", "digits")
        expect("ACC-006" in said and "ACC-012" not in said, "shadow is told to nobody")
        self.promote("cleo", "digits", "Staging")

    def what_it_would_deny(self) -> None:
        """Rates, difference, replay."""
        title("A month later Olga looks at what the relaxed checks would have denied")
        said = self.command("olga", "policy", "rates", "--since", "30d")
        expect(row(said, "accept", "ACC-006")[3:6] == ["3", "2", "2"], "two of three")
        expect(row(said, "promote", "PRO-009")[3:6] == ["2", "1", "1"], "one of two")
        expect(row(said, "accept", "ACC-012")[3:6] == ["3", "1", "1"], "one without a licence")
        expect(row(said, policies.WAIVER)[1:4] == ["accept", "ACC-001", "1"], "the waiver")

        title("She enforces the card in a copy, and sees whom that would have met")
        policies.enforced(self.folder / "company", self.folder / "enforced")
        typed("olga", "cp -r company enforced; $EDITOR enforced/registry/config/data.json")
        answered(policies.shown(self.folder / "enforced").splitlines()[0])
        self.new = digest_in(self.local("olga", *check("enforced")))
        self.local("olga", "policy", "test", "--bundle", "enforced")
        said = self.command("olga", "policy", "diff", "enforced", "--bundle", "company", expect=1)
        expect('ACC-006: "warn"' in said, "the mode should be named")
        replay = ("policy", "replay", "--bundle", "enforced", "--since", "1d")
        said = self.command("olga", *replay, "--html", "report.html")
        expect(row(said, "accept", "ACC-006")[-4:] == ["digits", "1,", "wine", "1"], "two teams")
        expect(row(said, "promote", "PRO-009")[-2:] == ["wine", "1"], "and one release")
        expect("newly denied           3" in said, "three decisions")
        page = (self.folder / "report.html").read_text()
        expect("ACC-006" in page and "wine" in page, "the page should say the same")
        said = self.command("olga", *replay, "--standing", "--home", "home")
        served = said.partition("versions that are served")[2]
        expect("newly denied           0" in served, "nothing that is served should be lost")

    def two_people_put_it_into_force(self) -> None:
        """Proposed by one, approved by two others; no restart."""
        title("Olga proposes it, Sam and Kim approve, and it is in force: nothing restarts")
        why = ("--reason", "every model says its risks")
        self.command("olga", "policy", "propose", "--bundle", "enforced", *why)
        said = self.command("olga", "policy", "approve", self.new, *why, expect=4)
        expect("proposed" in said, "nobody approves what they proposed")
        self.command("sam", "policy", "fetch", self.new, "-o", "proposed.tar.gz")
        compare = ("policy", "diff", "proposed.tar.gz", "--bundle", "company")
        expect("ACC-006" in self.command("sam", *compare, expect=1), "he sees what changes")
        for person, count in (("sam", "1 of 2"), ("kim", "2 of 2")):
            said = self.command(
                person, "policy", "approve", self.new, "--reason", "read the replay"
            )
            expect(count in said, f"it should be {count}")
        typed("olga", "cp -r enforced/. company")
        shutil.copytree(self.folder / "enforced", self.folder / "company", dirs_exist_ok=True)
        wait_for(self.at_rest, "the server to see the same in its folder", 60)
        said = self.command("olga", "policy", "status")
        expect(self.new in said and "by kim" in said, "it should be in force")
        expect("company: the same" in said, "nothing waits any more")
        self.command("olga", "policy", "proposals")
        entry = json.loads(self.asked("/policy"))["entry"]
        typed("kim", f"curl {PATH}/ledger/entries?start={entry}&count=1")
        (found,) = json.loads(self.asked(f"/ledger/entries?start={entry}&count=1"))["entries"]
        told = json.loads(found["entry"])
        answered(json.dumps({key: told[key] for key in ("act", "before", "after")}, indent=1))
        expect(told["act"] == "policy.changed", "the ledger should say so")
        expect(told["after"]["policy_digest"] == self.new, "and to which policy")

    def the_next_model_needs_a_card(self) -> None:
        """Refused, mended, accepted; what was released is served on."""
        title("Ben's next model is refused, with the reason and what mends it")
        said = self.submit("ben", "wine", models.LICENCE, tests=False, version=2, expect=4)
        expect("ACC-006" in said and "lacks risks" in said, "he should be told what is missing")
        typed("ben", "$EDITOR wine.yaml    # risks and safeguards")
        said = self.submit(
            "ben", "models:/wine/2", models.RISKS, models.LICENCE, tests=False, version=2
        )
        expect("wine/2 is at Candidate" in said, "it should be accepted now")

        title("Cleo's model, accepted under the old policy, is not released under the new one")
        self.command("cleo", *canary("digits"))
        said = self.promote("cleo", "digits", "Approved", fails=True)
        expect("PRO-009" in said, "the card counts now")

        title("What was released before is served on, for policy_grace_days")
        self.speak_as("cleo")
        for name in ("tumour", "wine"):
            call = f'mlflow.pyfunc.load_model("models:/{name}/1").predict(three)'
            attempt("cleo", call, models.predict, name, 1, fails=False)

    def an_old_decision_is_made_again(self) -> None:
        """Bit for bit, with the bundle of then; and the ledger verifies."""
        title("An auditor asks why Ben's first model was accepted")
        self.command("kim", "history", "wine/1")
        timeline = json.loads(self.server.run("kim", "history", "wine/1", "--json").stdout)
        entry = next(e for e in timeline if e["after"].get("stage") == "Candidate")
        said = self.command("kim", "policy", "explain", entry["decision_id"], "--home", "home")
        expect(self.old in said, "it was decided under the old policy")
        expect("re-executed: the same answer" in said, "and the same bytes came out")
        self.command("kim", "ledger", "verify", "--home", "home")

    def submit(
        self, user: str, model: str, *card: str, tests: bool = True, version: int = 1,
        expect: int = 0,
    ) -> str:  # fmt: skip
        """Train, unless the model is registered already, and submit with a card."""
        name = model.removeprefix("models:/").partition("/")[0]
        (self.folder / f"{name}.yaml").write_text(models.card(name, user, *card))
        arguments = ["submit", model, "--key", "training.pem", "--model-card", f"{name}.yaml"]
        if name == model:
            self.speak_as(user)
            arguments[1] = models.train(name, version)
            arguments += ["--name", name]
        if tests:
            arguments += ["--test-result", "tests.json", "--test-key", "ci.pem"]
        return self.command(user, *arguments, expect=expect)

    def promote(self, user: str, name: str, stage: str, *, fails: bool = False) -> str:
        """Ask for a stage with the stock client."""
        text = f'MlflowClient().transition_model_version_stage("{name}", 1, "{stage}")'
        self.speak_as(user)
        return attempt(user, text, models.promote, name, 1, stage, fails=fails)

    def command(self, user: str, *arguments: str, **options: Any) -> str:
        """One of our commands, as somebody."""
        return command(self.server, user, *arguments, **options)

    def local(self, user: str, *arguments: str) -> str:
        """One of our commands before there is a server."""
        return command(self.server, user, *arguments, environment=dict(os.environ))

    def quietly(self, user: str, *arguments: str, stdin: str = "") -> None:
        """A command nobody looks at, in this process: a start of its own takes seconds."""
        from click.testing import CliRunner

        from mlflow_governance.cli.main import cli

        self.speak_as(user)
        with chdir(self.folder):
            CliRunner().invoke(
                cli, arguments, input=stdin, standalone_mode=False, catch_exceptions=False
            )

    def add_user(self, name: str, *roles: str) -> None:
        """A person with roles."""
        password = self.server.passwords[name] = secrets.token_urlsafe(16)
        flags = [word for role in roles for word in ("--role", role)]
        self.quietly("admin", "users", "add", name, *flags, "--password-stdin", stdin=password)

    def speak_as(self, user: str) -> None:
        """The stock client in this process speaks as somebody from now on."""
        os.environ.update(self.server.environment(user))

    def asked(self, path: str) -> str:
        """What the HTTP interface answers."""
        who = ("kim", self.server.password("kim"))
        return requests.get(f"{self.server.uri}{PATH}{path}", auth=who, timeout=60).text

    def at_rest(self) -> bool:
        """The folder holds what is in force, and the server has seen it."""
        return bool(json.loads(self.asked("/policy"))["source"]["digest"] == self.new)


def check(bundle: str) -> tuple[str, ...]:
    """The command that checks a bundle; with a real opa at hand, on 200 made-up dossiers."""
    return ("policy", "check", "--bundle", bundle, "--inputs", "200")


def canary(name: str) -> tuple[str, ...]:
    """The command that attests that a canary of version 1 went well."""
    return ("attest", f"{name}/1", "canary", "--result", "PROCEED", "--key", "canary.pem")


def digest_in(text: str) -> str:
    """The first digest in a text."""
    found = re.search(r"sha256:[0-9a-f]{64}", text)
    expect(found is not None, "there should be a digest")
    return found[0] if found else ""


def row(table: str, *words: str) -> list[str]:
    """The words of the line of a table that begins so."""
    for line in table.splitlines():
        if line.split()[: len(words)] == list(words):
            return line.split()
    raise SystemExit(f"no line begins with {' '.join(words)}")


if __name__ == "__main__":
    logging.disable(logging.INFO)
    os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
    os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"
    warnings.simplefilter("ignore")  # MLflow's own, about stages and integer columns
    sys.exit(main())
