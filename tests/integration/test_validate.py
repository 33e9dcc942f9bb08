"""A real server that lived a full life agrees with its ledger; what was planted is named."""

from __future__ import annotations

import itertools
import json
import re
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import mlflow
import pytest

from examples.local_server import LocalServer
from mlflow_governance import config
from mlflow_governance.bootstrap import ledger_key
from mlflow_governance.plugin.inspection import InspectedArtifacts
from mlflow_governance.store.books import SqlBooks
from mlflow_governance.store.sessions import session_factory_for
from mlflow_governance.workflows.validation.run import Report, Scope, validate
from tests.integration.world import World

GONE = "sha256:" + "0" * 64
PROMPT = "greeting"


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A server of its own, with every kind of history."""
    folder = tmp_path_factory.mktemp("life")
    with LocalServer(folder) as server:
        world = World(server)
        world.populate()
        live(world)
        yield world


def live(world: World) -> None:
    """Released, aliased, revoked, quarantined, deleted and registered again, refused, a prompt."""
    world.approved("churn", seed=501)
    world.candidate("fraud", seed=502)
    world.here("sam", "revoke", "fraud/1", "--reason", "it leaks")
    world.candidate("spam", seed=503)
    world.here("sam", "quarantine", "spam/1", "--reason", "odd")
    world.candidate("again", seed=504)
    with world.speaking_as("alice") as client:
        client.set_registered_model_alias("churn", "champion", "1")
        client.delete_model_version("again", "1")
    with world.speaking_as("admin") as client:
        client.delete_registered_model("again")
        client.register_prompt(PROMPT, "Good morning, {{name}}")
        client.set_prompt_alias(PROMPT, "polite", 1)
    world.candidate("again", seed=505)
    world.log("raw", seed=506)


class Inspector:
    """The validator in this process, beside the running server."""

    def __init__(self, world: World) -> None:
        self.world = world
        settings = config.load(world.server.home)
        self._sessions = session_factory_for(world.server.backend)
        exported = [path.read_text() for path in settings.checkpoint_folder.glob("*.checkpoint")]
        self._books = SqlBooks(self._sessions, ledger_key(settings), exported)
        self.place = world.artifacts / self._column("location", "churn")
        self.digest = self._column("digest", "fraud")
        self.last = self.query(
            "select decision_id from governance_decisions where gate = 'promote' and allow"
            " and version_uid = (select uid from governance_versions where name = 'churn')"
            " order by id desc limit 1"
        )

    def _column(self, column: str, name: str) -> str:
        return self.query(f"select {column} from governance_versions where name = '{name}'")

    def look(self, pause: Callable[[float], None] = lambda seconds: None) -> Report:
        return validate(self._books, InspectedArtifacts(), Scope(), pause=pause)

    def query(self, sql: str) -> str:
        with closing(sqlite3.connect(self.world.folder / "mlflow.db", timeout=20)) as database:
            return str(database.execute(sql).fetchone()[0])

    @contextmanager
    def tampered(self, plant: Plant) -> Iterator[None]:
        """The tables named, or the model's files, as somebody left them; then mended again."""
        with self._files_tampered(plant), self._tables_tampered(plant):
            yield

    @contextmanager
    def _files_tampered(self, plant: Plant) -> Iterator[None]:
        copy = self.place.with_name("copy")
        shutil.copytree(self.place, copy)
        try:
            plant.act(self.place)
            yield
        finally:
            shutil.rmtree(self.place)
            copy.rename(self.place)

    @contextmanager
    def _tables_tampered(self, plant: Plant) -> Iterator[None]:
        with closing(sqlite3.connect(self.world.folder / "mlflow.db", timeout=20)) as database:
            kept = {
                table: database.execute(f"select * from {table}").fetchall()
                for table in plant.tables
            }
            with database:
                for statement in plant.statements:
                    filled = statement.format(digest=self.digest, last=self.last, gone=GONE)
                    assert database.execute(filled).rowcount >= 1, filled
            try:
                yield
            finally:
                with database:
                    for table, rows in kept.items():
                        marks = ",".join("?" * len(rows[0]))
                        database.execute(f"delete from {table}")
                        database.executemany(f"insert into {table} values ({marks})", rows)


class Plant:
    """What somebody does behind the registry's back, and what the validator says to it."""

    def __init__(
        self,
        code: str,
        subject: str,
        *statements: str,
        act: Callable[[Path], object] = lambda folder: None,
    ) -> None:
        self.code, self.subject, self.statements, self.act = code, subject, statements, act
        verbs = re.compile("^(?:update|insert into|delete from) ([a-z_]+)")
        self.tables = {found[1] for found in map(verbs.match, statements) if found}


@pytest.fixture(scope="module")
def inspector(life: World) -> Iterator[Inspector]:
    variables = {
        "_MLFLOW_SERVER_FILE_STORE": life.server.backend,
        "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
        "_MLFLOW_SERVER_ARTIFACT_DESTINATION": f"governance+{life.artifacts.as_uri()}",
        "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
    }
    with pytest.MonkeyPatch.context() as environment:
        for name, value in variables.items():
            environment.setenv(name, value)
        yield Inspector(life)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


NOTES = "governance/churn/v1/release/release_notes.md"
CHURN = "where name = 'churn'"
UID = f"(select uid from governance_versions {CHURN})"
PLANTED = {
    "an entry edited": Plant(
        "VAL-001", "entry 3",
        "update governance_ledger_entries set entry = replace(entry, 'allowed', 'allowod')"
        " where position = 3",
    ),
    "an entry deleted": Plant(
        "VAL-001", "entry 3", "delete from governance_ledger_entries where position = 3"
    ),
    "the version row deleted": Plant(
        "VAL-010", "churn/1", f"delete from governance_versions {CHURN}"
    ),
    "our stage set": Plant(
        "VAL-013", "spam/1",
        "update governance_versions set stage = 'Approved' where name = 'spam'",
    ),
    "our digest set": Plant(
        "VAL-014", "fraud/1",
        "update governance_versions set digest = '{gone}' where name = 'fraud'",
    ),
    "the way back set": Plant(
        "VAL-015", "spam/1",
        "update governance_versions set quarantined_from = 'Approved' where name = 'spam'",
    ),
    "the place set": Plant(
        "VAL-016", "churn/1", f"update governance_versions set location = 'elsewhere' {CHURN}"
    ),
    "the submitter set": Plant(
        "VAL-017", "churn/1", f"update governance_versions set submitter = 'mallory' {CHURN}"
    ),
    "the facts set": Plant(
        "VAL-019", "churn/1", f"update governance_versions set facts = '{{{{}}}}' {CHURN}"
    ),
    "MLflow's stage set": Plant(
        "VAL-020", "fraud/1",
        "update model_versions set current_stage = 'Approved' where name = 'fraud'",
    ),
    "MLflow's row deleted": Plant(
        "VAL-021", "spam/1", "delete from model_versions where name = 'spam'"
    ),
    "MLflow's row inserted": Plant(
        "VAL-022", "loose/1",
        "insert into model_versions (workspace, name, version, current_stage, source)"
        " values ('default', 'loose', 1, 'Production', 'mlflow-artifacts:/1/x')",
    ),
    "MLflow's place set": Plant(
        "VAL-023", "churn/1",
        f"update model_versions set storage_location = 'mlflow-artifacts:/9/x' {CHURN}",
    ),
    "a tag edited": Plant(
        "VAL-024", "fraud/1:governance.stage",
        "update model_version_tags set value = 'Approved'"
        " where name = 'fraud' and key = 'governance.stage'",
    ),
    "an alias moved": Plant(
        "VAL-030", "churn@champion", f"update registered_model_aliases set version = 7 {CHURN}"
    ),
    "an alias deleted": Plant(
        "VAL-031", "churn@champion", f"delete from registered_model_aliases {CHURN}"
    ),
    "an alias inserted": Plant(
        "VAL-032", "fraud@production",
        "insert into registered_model_aliases (workspace, name, alias, version)"
        " values ('default', 'fraud', 'production', 1)",
    ),
    "a block deleted": Plant(
        "VAL-040", "{digest}", "delete from governance_blocked where digest = '{digest}'"
    ),
    "a decision edited": Plant(
        "VAL-050", "decision {last}",
        "update governance_decisions set document = replace(document, 'allow', 'allov')"
        " where decision_id = '{last}'",
    ),
    "a dossier edited": Plant(
        "VAL-054", "dossier of decision {last}",
        "update governance_blobs set data = '[]' where digest ="
        " (select dossier_digest from governance_decisions where decision_id = '{last}')",
    ),
    "an approval forged": Plant(
        "VAL-056", "security approval of churn/1",
        "insert into governance_approvals select 999, 'forged', version_uid, 'mallory', role,"
        " decision, model_digest, policy_digest, reason, at, withdrawn"
        f" from governance_approvals where version_uid = {UID} and role = 'security'",
    ),
    "an approval deleted": Plant(
        "VAL-057", "product approval of churn/1",
        f"delete from governance_approvals where version_uid = {UID} and role = 'product'",
    ),
    "a byte flipped": Plant(
        "VAL-060", "churn/1:MLmodel", act=lambda folder: flip(folder / "MLmodel")
    ),
    "a file deleted": Plant(
        "VAL-061", "churn/1:MLmodel", act=lambda folder: (folder / "MLmodel").unlink()
    ),
    "a file added": Plant(
        "VAL-062", "churn/1:evil.py", act=lambda folder: (folder / "evil.py").write_text("boo")
    ),
    "an attachment deleted": Plant(
        "VAL-064", f"churn/1:{NOTES}", act=lambda folder: (folder / NOTES).unlink()
    ),
    "an attachment changed": Plant(
        "VAL-065", f"churn/1:{NOTES}", act=lambda folder: flip(folder / NOTES)
    ),
}  # fmt: skip


def test_a_full_life_is_clean_while_the_server_runs(life: World, inspector: Inspector) -> None:
    report = inspector.look()

    assert [finding.to_document() for finding in report.findings] == []
    assert (report.versions, report.hashed) == (5, 5)
    assert report.aliases == 2
    assert report.entries == life.ledger_verifies()["size"]


@pytest.mark.parametrize("name", PLANTED)
def test_what_was_planted_is_named(inspector: Inspector, name: str) -> None:
    plant = PLANTED[name]
    subject = plant.subject.format(digest=inspector.digest, last=inspector.last)

    with inspector.tampered(plant):
        found = {(finding.code, finding.subject) for finding in inspector.look().findings}

    assert (plant.code, subject) in found


def test_after_all_of_that_it_is_clean_again(inspector: Inspector) -> None:
    assert inspector.look().findings == ()


def flags(world: World) -> list[str]:
    return [
        *("--backend-store-uri", world.server.backend, "--home", str(world.server.home)),
        *("--artifacts-destination", str(world.artifacts)),
    ]


def test_the_command_tells_programs_and_people(life: World, inspector: Inspector) -> None:
    done = life.command("admin", "validate", *flags(life), "--json")
    assert json.loads(done.stdout)["clean"] is True

    with inspector.tampered(PLANTED["a byte flipped"]):
        done = life.command("admin", "validate", *flags(life), "--name", "churn", check=False)
        spared = life.command("admin", "validate", *flags(life), "--no-hash")
    assert done.returncode == 3
    assert "VAL-060 error   churn/1:MLmodel: a file of the model was changed" in done.stdout
    assert "mend    mlflow-governance quarantine churn/1" in done.stdout
    assert "everything agrees" in spared.stdout


def test_every_check_is_listed_with_its_code(life: World) -> None:
    listed = life.here("admin", "validate", "--list")

    for plant in PLANTED.values():
        assert f"{plant.code}  " in listed


def test_it_is_clean_while_people_work(life: World, inspector: Inspector) -> None:
    over = threading.Event()
    failed: list[BaseException] = []

    def work() -> None:
        try:
            with life.speaking_as("alice"):
                client = mlflow.MlflowClient()
            for turn in itertools.count():
                if over.is_set():
                    return
                alias = f"turn-{turn % 3}"
                client.set_registered_model_alias("churn", alias, "1")
                if turn % 3 == 2:
                    client.delete_registered_model_alias("churn", alias)
                version = client.create_model_version("raw", source, model_id=model_id)
                client.delete_model_version("raw", version.version)
        except BaseException as error:
            failed.append(error)

    source = life.log(seed=507)
    model_id = source.removeprefix("models:/")
    with life.speaking_as("alice"):
        worker = threading.Thread(target=work)
        worker.start()
        looks = [inspector.look(pause=time.sleep)]
        deadline = time.monotonic() + 30
        while looks[-1].entries < looks[0].entries + 40 and time.monotonic() < deadline:
            looks.append(inspector.look(pause=time.sleep))
        over.set()
        worker.join()
    assert failed == []
    assert [f.to_document() for look in looks for f in look.findings] == []
    assert looks[-1].entries >= looks[0].entries + 40, "too little happened to say anything"


def test_it_is_clean_once_the_server_has_stopped(life: World) -> None:
    # Last of all: it stops the server.
    life.server.stop()

    done = life.command("admin", "validate", *flags(life), "--json")

    assert json.loads(done.stdout)["clean"] is True
