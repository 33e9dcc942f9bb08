"""The bypass hunter: doors times stages times people.

Who may have which bytes is written down here by hand, from docs/policy.md and the shipped
policy, and is not asked of the product.
"""

from __future__ import annotations

import base64
import gzip
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import mlflow
import pytest

from examples.local_server import LocalServer
from mlflow_governance.core.stage import Stage
from tests.integration import doors, doors_by_name, state_doors
from tests.integration.asking import Asker
from tests.integration.doors import Door
from tests.integration.planted import (
    FILE,
    Markers,
    Target,
    bear_planted_files,
    plant,
    share,
)
from tests.integration.registry_state import State, unrecorded
from tests.integration.spellings import SPELLINGS
from tests.integration.state_doors import StateDoor
from tests.integration.world import World

KNOWN = ("alice", "rita", "eve", "serve", "sam", "admin")
PEOPLE = ("", *KNOWN)
"""Nobody; the author; a colleague she shared everything with; an evaluator; a serving account; an
approver; an administrator."""

_ALL, _NONE = frozenset(KNOWN), frozenset[str]()
BY_NAME: dict[Stage, frozenset[str]] = {
    Stage.NONE: frozenset({"eve"}),
    Stage.CANDIDATE: frozenset({"eve"}),
    Stage.STAGING: _ALL,
    Stage.APPROVED: _ALL,
    Stage.DEPRECATED: _ALL,
    Stage.QUARANTINED: _NONE,
    Stage.REVOKED: _NONE,
}
"""Who may load a version by its name: evaluators what is not released, nobody what is withdrawn."""

_AUTHOR = {Stage.NONE: frozenset({"alice"}), Stage.CANDIDATE: frozenset({"alice"})}
BY_PATH = {stage: people | _AUTHOR.get(stage, _NONE) for stage, people in BY_NAME.items()}
"""Who may read its files by path: the author of what is not released, too."""

_LONG = os.environ.get("GOVERNANCE_HUNT") == "long"
"""Every spelling and every dear door for everybody at every stage; takes many minutes."""


@dataclass
class Hunt:
    """A governed server with planted versions."""

    world: World
    targets: list[Target]
    markers: Markers
    relogged: dict[str, str] = field(default_factory=dict)

    def denied(self, kind: str, user: str) -> set[str]:
        """Of which versions somebody may see nothing."""
        table = BY_NAME if kind == "registry" else BY_PATH
        return {s for t in self.targets if user not in table[t.stage] for s in t.secrets}


@pytest.fixture(scope="module")
def hunt(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hunt]:
    folder = tmp_path_factory.mktemp("hunt")
    bear_planted_files(folder / "home")
    with LocalServer(folder) as server:
        world = World(server)
        world.populate()
        world.add_user("serve", "serving")
        hunt = Hunt(world, [], Markers())
        in_runs = {Stage.CANDIDATE, Stage.REVOKED}
        for stage in Stage:
            for logged in (True, False) if stage in in_runs else (True,):
                name = f"{'model' if logged else 'older'}-{stage.value.lower()}"
                keep = _keeper(hunt)
                target = plant(world, name, stage, logged=logged, released=keep)
                hunt.targets.append(target)
                hunt.markers.add(target.secrets)
        share(world, hunt.targets)
        yield hunt


def _keeper(hunt: Hunt) -> Callable[[str, str], None]:
    """Copies made while the bytes may be had: of the version, of its folder, of the bytes."""

    def keep(name: str, place: str) -> None:
        world = hunt.world
        kept = world.folder / "kept" / name
        with world.speaking_as("rita") as client:
            client.copy_model_version(f"models:/{name}/1", f"copied-{name}")
            folder = mlflow.artifacts.download_artifacts(
                f"mlflow-artifacts:/{place}", dst_path=str(kept)
            )
            shutil.rmtree(Path(folder) / "governance")
            mlflow.set_experiment("laundry")
            for again in ("registered", "only-logged"):
                with mlflow.start_run() as run:
                    mlflow.log_artifacts(folder, "model")
                hunt.relogged[f"{again}-{name}"] = run.info.run_id
            mlflow.register_model(
                f"runs:/{hunt.relogged[f'registered-{name}']}/model", f"laundered-{name}"
            )

    return keep


Finding = tuple[str, str, str, str]
"""Door, version, person, and what is wrong."""


def _try(hunt: Hunt, who: Asker, door: Door, target: Target) -> Iterator[Finding]:
    door.open(who, target)
    answers = who.listen()
    seen = hunt.markers.found(answers)
    for name in sorted(seen & hunt.denied(door.kind, who.user)):
        yield door.name, target.name, who.user or "nobody", f"got {name}"
    allowed = target.name not in hunt.denied(door.kind, who.user)
    if door.main and allowed and target.name not in seen:
        yield door.name, target.name, who.user, f"did not get them: {answers[:200]!r}"
    for stumble in who.stumbled():
        yield door.name, target.name, who.user or "nobody", stumble


def _everybody(hunt: Hunt, task: Callable[[Asker], Iterable[Finding]]) -> list[Finding]:
    """Have everybody do the same at the same time."""

    def run(user: str) -> list[Finding]:
        with closing(Asker(hunt.world, user)) as who:
            return list(task(who))

    with ThreadPoolExecutor(len(PEOPLE)) as pool:
        return [finding for findings in pool.map(run, PEOPLE) for finding in findings]


def _report(findings: list[Finding]) -> None:
    lines = [" | ".join(f"{cell:<24}" for cell in finding) for finding in findings]
    different = {re.sub(r"[0-9a-f]{8,}", "…", line): line for line in lines}
    assert not findings, f"{len(different)} findings\n" + "\n".join(different.values())


def test_no_door_hands_out_what_its_visitor_may_not_load(hunt: Hunt) -> None:
    def visit(who: Asker) -> Iterator[Finding]:
        for target in hunt.targets:
            for door in doors.CATALOGUE:
                if target.family in door.families and _worth_it(who.user, target, door):
                    yield from _try(hunt, who, door, target)

    _report(_everybody(hunt, visit))


_DEAR = {"alice": ("model-revoked",), "rita": ("model-none", "older-candidate", "model-revoked")}


def _worth_it(user: str, target: Target, door: Door) -> bool:
    """Everybody at every main door; of the others, those who could be thought to differ."""
    if door.main or _LONG:
        return True
    if door.dear:
        return target.name in _DEAR.get(user, ())
    return user in ("alice", "rita") or (user in ("eve", "admin") and target.logged)


_CLIENTS = {
    "alice": ("model-revoked",),
    "rita": ("model-none",),
    "eve": ("older-candidate",),
    "serve": ("model-approved",),
}


def test_the_stock_client_gets_what_may_be_had_and_nothing_else(hunt: Hunt) -> None:
    findings: list[Finding] = []
    for user, watched in _CLIENTS.items():
        with closing(Asker(hunt.world, user)) as who:
            for target in hunt.targets:
                for door in doors.CLIENT if target.name in watched or _LONG else ():
                    if target.family in door.families:
                        findings += _try(hunt, who, door, target)
    _report(findings)


def test_no_spelling_of_a_path_gets_around(hunt: Hunt) -> None:
    def visit(who: Asker) -> Iterator[Finding]:
        for target in hunt.targets:
            if _LONG or target.name in _DEAR.get(who.user, ()):
                for name, spell in SPELLINGS.items():
                    for method, address in doors.spelled(target, spell):
                        kind = "registry" if "model-versions" in address else "artifact"
                        door = Door(f"{name}: {method} {address}", kind, _asking(method, address))
                        yield from _try(hunt, who, door, target)

    _report(_everybody(hunt, visit))


def _asking(method: str, address: str) -> Callable[[Asker, Target], object]:
    return lambda who, target: who.ask(method, address)


def test_no_reply_says_where_bytes_are_that_its_reader_may_not_load(hunt: Hunt) -> None:
    def visit(who: Asker) -> Iterator[Finding]:
        for target in hunt.targets if who.user in ("alice", "rita", "serve", "admin") else ():
            if who.user not in BY_PATH[target.stage]:
                where = {target.uri, f"mlflow-artifacts:/{target.place}"}
                for name, answer in doors_by_name.replies(who, target):
                    if leaks := where & set(doors_by_name.sources(answer.json(), target.name)):
                        yield name, target.name, who.user, str(leaks)

    _report(_everybody(hunt, visit))


def test_no_refusal_names_files_its_reader_may_not_list(hunt: Hunt) -> None:
    target = plant(hunt.world, "altered", Stage.NONE)
    share(hunt.world, [target])
    named = Markers()
    named.add(target.secrets)
    with closing(Asker(hunt.world, "alice")) as alice:
        file = f"{target.place}/{target.label.hex()}.txt"
        assert alice.ask("DELETE", f"/api/2.0/mlflow-artifacts/artifacts/{file}").status == 200
    findings: list[Finding] = []
    for user in ("rita", "admin"):
        with closing(Asker(hunt.world, user)) as who:
            for door in state_doors.CATALOGUE:
                # Not by way of Candidate: that takes the files as they are now.
                if door.name in ("to Staging", "to Approved", "to Production"):
                    door.open(who, target)
                    findings += [(door.name, "altered", user, n) for n in named.found(who.listen())]
    _report(findings)


def test_copies_share_the_fate_of_what_they_were_copied_from(hunt: Hunt) -> None:
    def visit(who: Asker) -> Iterator[Finding]:
        for target in hunt.targets:
            if target.stage in (Stage.QUARANTINED, Stage.REVOKED):
                for door in _copies(hunt, target):
                    yield from _try(hunt, who, door, target)

    _report(_everybody(hunt, visit))


def _copies(hunt: Hunt, target: Target) -> Iterator[Door]:
    for kind in ("copied", "laundered"):
        name = f"{kind}-{target.name}"
        query = {"name": name, "version": 1, "path": FILE}
        yield Door(kind, "registry", lambda w, t, n=name: doors_by_name.by_version(w, n, 1))
        yield Door(
            f"{kind} artifact",
            "registry",
            lambda w, t, q=query: w.ask("GET", "/model-versions/get-artifact", query=q),
        )
    for kind in ("registered", "only-logged"):
        run = hunt.relogged[f"{kind}-{target.name}"]
        query = {"run_id": run, "path": f"model/{FILE}"}
        yield Door(
            f"{kind} again",
            "artifact",
            lambda w, t, q=query: w.ask("GET", "/get-artifact", query=q),
        )


def test_the_oracle_sees_a_marker_in_every_dress(hunt: Hunt) -> None:
    marker = secrets.token_bytes(64)
    markers = Markers()
    markers.add({"it": marker})

    for dressed in (
        b"x" + marker[5:30],
        b'{"a": "' + marker.hex().encode() + b'"}',
        base64.b64encode(b"ab" + marker + b"c"),
        gzip.compress(marker.hex().encode()),
        b"y" * 100_000 + marker,
    ):
        assert markers.found(dressed) == {"it"}
    assert markers.found(secrets.token_bytes(5000)) == set()


# State ------------------------------------------------------------------------------------------


def test_no_door_changes_what_its_visitor_may_not_change(hunt: Hunt) -> None:
    state = State(hunt.world)
    findings: list[Finding] = []
    before = state.look()
    for user in _WATCHED:
        with closing(Asker(hunt.world, user)) as who:
            for target, door in _closed(user, hunt.targets):
                door.open(who, target)
                after = state.look()
                if changed := before.changed(after):
                    findings.append((door.name, target.name, user or "nobody", _briefly(changed)))
                stumbles = who.stumbled()
                findings += [(door.name, target.name, user or "nobody", s) for s in stumbles]
                before = after
    _report(findings)


def test_what_is_permitted_happens_and_is_in_the_ledger(hunt: Hunt) -> None:
    state, findings = State(hunt.world), []
    for name, act, kind in _permitted(hunt.world):
        before = state.look()
        act()
        changed, entries = before.changed(state.look()), state.entries(before.ledger)
        if kind not in changed:
            findings.append((name, "", "", f"changed nothing: {_briefly(changed)}"))
        findings += [(name, "", "", f"unrecorded {_briefly({k: rows})}")
                     for k, rows in unrecorded(changed, entries).items()]  # fmt: skip
    _report(findings)


def _permitted(world: World) -> Iterator[tuple[str, Callable[[], object], str]]:
    """One of each change somebody is allowed to make: what, how, and the kind of row it changes."""

    def client(user: str, method: str, *args: str) -> Callable[[], None]:
        def act() -> None:
            with world.speaking_as(user) as speaking:
                getattr(speaking, method)(*args)

        return act

    alias = ("followed", "champion")
    why = ("--reason", "tested")
    yield "register", partial(plant, world, "followed", Stage.CANDIDATE), "governed"
    yield "stage", partial(world.move, "followed", 1, "Staging"), "row"
    yield "evidence", partial(world.canary, "followed"), "evidence"
    yield "approve", partial(world.approve, "followed", "sam", "security"), "approval"
    yield "approve too", partial(world.approve, "followed", "pia", "product"), "approval"
    yield "release", partial(world.move, "followed", 1, "Production"), "governed"
    yield "alias", client("alice", "set_registered_model_alias", *alias, "1"), "alias"
    yield "copy", client("rita", "copy_model_version", "models:/followed/1", "mine"), "governed"
    yield "quarantine", partial(world.here, "admin", "quarantine", "followed/1", *why), "blocked"
    yield "restore", partial(world.here, "sam", "restore", "followed/1", *why), "blocked"
    yield "no alias", client("alice", "delete_registered_model_alias", *alias), "alias"
    yield "deprecate", partial(world.move, "followed", 1, "Archived"), "row"
    yield "revoke", partial(world.here, "sam", "revoke", "followed/1", *why), "blocked"
    yield "draft", partial(plant, world, "dropped", Stage.NONE), "row"
    yield "delete", client("alice", "delete_model_version", "dropped", "1"), "governed"


_WATCHED = {
    "alice": ("model-none", "model-candidate", "model-approved", "model-quarantined",
              "model-revoked", "older-revoked"),
    "rita": ("model-approved",),
    "sam": ("model-approved",),
    "admin": ("model-approved", "model-revoked"),
    "": ("model-approved",),
}  # fmt: skip


def _closed(user: str, targets: Iterable[Target]) -> Iterator[tuple[Target, StateDoor]]:
    for target in targets:
        for door in state_doors.CATALOGUE if _LONG or target.name in _WATCHED[user] else ():
            if not door.may(target, user):
                yield target, door


def _briefly(changed: dict[str, set[tuple[object, ...]]]) -> str:
    return "; ".join(f"{kind}: {sorted(map(str, rows))}"[:160] for kind, rows in changed.items())
