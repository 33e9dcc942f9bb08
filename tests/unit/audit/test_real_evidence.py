"""What a registry really hands out, verified by the first key its ledger ever had, and tampered."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from mlflow_governance.audit import tiles
from mlflow_governance.core import canonical
from mlflow_governance.core.actor import Actor
from mlflow_governance.core.event import Act, Event
from mlflow_governance.core.model_ref import VersionRef
from mlflow_governance.core.stage import Stage
from mlflow_governance.errors import ConfigurationError, Denied, VerificationError
from mlflow_governance.evidence import envelope
from mlflow_governance.evidence.keys import generate_key_pair, load_private_key
from mlflow_governance.ledger import checkpoint, note, recovery
from mlflow_governance.ledger.note import Ed25519Signer
from mlflow_governance.store import tables
from mlflow_governance.store.unit_of_work import SqlStore
from mlflow_governance.workflows import retention
from mlflow_governance.workflows.admit import admit
from mlflow_governance.workflows.ports import Request
from mlflow_governance.workflows.retention_options import Retention
from mlflow_governance.workflows.withdraw import withdraw
from tests.unit.audit.builders import Answer, check, run, verifier
from tests.unit.audit.bundle_builders import CHURN, NOVEMBER, Bundle
from tests.unit.audit.evidence import PAYLOAD_TYPE, Files, Story, digest, zipped
from tests.unit.audit.living import Living
from tests.unit.ledger.builders import signer
from tests.unit.workflows.builders import ROOT, SAM

FRAUD = VersionRef("fraud", 1)


@dataclass(frozen=True)
class Handed:
    """What an auditor was given, before and after the ledger changed its key."""

    registry: Living
    folder: Path
    early: Bundle
    late: Bundle
    period: Bundle

    @property
    def vkey(self) -> str:
        return self.registry.vkey


@pytest.fixture(scope="module")
def handed(tmp_path_factory: pytest.TempPathFactory) -> Handed:
    folder = tmp_path_factory.mktemp("handed")
    registry = Living(folder / "registry")
    registry.start()
    registry.approved("churn")
    registry.accepted("fraud")
    registry.keep()
    early = registry.take(CHURN)
    registry.export(folder / "early")
    registry.rotate()
    registry.start()
    withdraw(registry.ports, Request(SAM, CHURN, "a leak"), Stage.REVOKED)
    found = Handed(registry, folder, early, registry.take(CHURN), registry.take(NOVEMBER))
    registry.keep()
    registry.export(folder / "late")
    for name in ("early", "late", "period"):
        (folder / f"{name}.zip").write_bytes(getattr(found, name).data)
    registry.sessions.dispose()
    return found


@pytest.mark.parametrize("what", ["early", "late", "period"])
def test_an_auditor_with_the_first_key_alone_verifies_all_of_it(
    what: str, handed: Handed, tmp_path: Path
) -> None:
    bundle = run("bundle", handed.folder / f"{what}.zip", "--key", handed.vkey, cwd=tmp_path)
    assert bundle.code == 0, bundle.problem
    if what == "period":
        return
    words = ("--key", handed.vkey, "--ledger", handed.folder / "late")
    held = check("bundle", handed.folder / f"{what}.zip", *words)
    assert held.code == 0, held.problem
    ledger = run("ledger", handed.folder / what, "--key", handed.vkey, cwd=tmp_path)
    assert ledger.code == 0, ledger.problem


def test_any_key_of_the_history_or_all_of_them_will_do(handed: Handed, tmp_path: Path) -> None:
    newest = handed.registry.signer.key.encode()
    keys = tmp_path / "ledger.vkeys"
    for lines in ([newest], [handed.vkey, newest], [newest, handed.vkey]):
        keys.write_text("\n".join(lines) + "\n", "utf-8")
        for kind, name in (("bundle", "late.zip"), ("ledger", "late")):
            answer = check(kind, handed.folder / name, "--key", keys)
            assert answer.code == 0, answer.problem
    both = check("bundle", handed.folder / "early.zip", "--key", keys)
    said = "nothing leads from"  # a thief of the first key could have made it since
    assert (both.code, said in both.problem) == (2, True), both


def test_a_proof_under_a_later_key_is_followed_from_the_first(
    handed: Handed, tmp_path: Path
) -> None:
    files = handed.late.files
    index = handed.late.made.index
    entry, proof, handover = (tmp_path / name for name in ("entry", "proof", "handover"))
    entry.write_bytes(files[f"ledger/entries/{index}.json"])
    proof.write_bytes(files[f"ledger/proofs/{index}.tlog-proof"])
    handover.write_bytes(next(d for n, d in files.items() if n.startswith("ledger/handovers/")))
    words = ("proof", proof, "--entry", entry, "--key", handed.vkey)
    assert check(*words).code == 1, "nothing says that the ledger changed its key"
    assert check(*words, "--handover", handover).code == 0


def test_the_bundle_carries_what_leads_from_key_to_key(handed: Handed) -> None:
    (handover,) = [n for n in handed.late.files if n.startswith("ledger/handovers/")]
    assert handover in handed.late.json("manifest.json")["files"]
    acts = [entry["act"] for entry in handed.late.entries.values()]
    assert (acts.count(Act.LEDGER_REKEYED), acts.count(Act.REGISTRY_STARTED)) == (1, 1)
    assert len(handed.late.files["keys/ledger.vkeys"].splitlines()) == 2


# Tampering with it


def _resigned(files: Files, change: Callable[[Files], object], handed: Handed) -> Files:
    """Changed by the registry itself: it has its own key, and not the ledger's."""
    files = dict(files)
    change(files)
    manifest = json.loads(files.pop("manifest.json"))
    del files["manifest.dsse"]
    manifest["files"] = {name: digest(data) for name, data in sorted(files.items())}
    data = canonical.encode(manifest)
    key = load_private_key(handed.registry.folder / "registry.pem")
    return {**files, "manifest.json": data,
            "manifest.dsse": envelope.sign(data, PAYLOAD_TYPE, [key])}  # fmt: skip


def _name(files: Files, start: str, holding: bytes = b"") -> str:
    return next(n for n in sorted(files) if n.startswith(start) and holding in files[n])


def _drop(start: str, holding: bytes = b"") -> Callable[[Files], object]:
    return lambda files: files.pop(_name(files, start, holding))


def _swap(start: str, old: bytes, new: bytes) -> Callable[[Files], object]:
    def change(files: Files) -> None:
        name = _name(files, start, old)
        files[name] = files[name].replace(old, new)

    return change


def _without(act: Act) -> Callable[[Files], object]:
    def change(files: Files) -> None:
        name = _name(files, "ledger/entries/", b'{"act":"%b"' % act.encode())
        del files[name], files[name.replace("entries", "proofs").replace(".json", ".tlog-proof")]

    return change


REAL: dict[str, tuple[Callable[[Files], object], str]] = {
    "an entry": (_swap("ledger/entries/", b"Revoked", b"Staging"), "of the signed ledger"),
    "an entry dropped": (_without(Act.VERSION_REVOKED), "exported other entries"),
    "the rotation dropped": (_without(Act.LEDGER_REKEYED), "exported other entries"),
    "the start dropped": (_without(Act.REGISTRY_STARTED), "exported other entries"),
    "the handover dropped": (_drop("ledger/handovers/"), "is not signed with a key given"),
    "the handover to another": (
        _swap("ledger/handovers/", b"rekeyed test", b"rekeyed t3st"), "hands the ledger over to no"
    ),
    "the handover moved": (_swap("ledger/handovers/", b"\n", b"\n1"), "ledger/handovers/"),
    "the keys": (lambda f: f.update({"keys/ledger.vkeys": b"x\n"}), "is not a verifier key"),
    "the checkpoint": (_swap("ledger/checkpoint", b"\n", b"\n1"), "ledger/checkpoint"),
    "a proof": (_swap("ledger/proofs/", b"=\n", b"=\n" + b"A" * 43 + b"=\n"), "ledger/proofs/"),
    "a decision": (_swap("decisions/", b'"allow":true', b'"allow":false'), "it was edited"),
    "a dossier": (_swap("dossiers/", b'"to":"Approved"', b'"to":"Staging"'), "it was edited"),
    "a policy": (_swap("policies/", b"", b"x"), "policies/"),
    "a name": (_swap("openings.json", b'"text":"sam"', b'"text":"eve"'), "does not open"),
    "a word": (_swap("approvals.json", b'"role":"security"', b'"role":"legal"'), "does not say"),
    "a word that stands": (
        _swap("approvals.json", b'"withdrawn":true', b'"withdrawn":false'), "stands is not so"
    ),
    "the model": (_swap("versions/churn/1/manifest.json", b"MLmodel", b"x"), "is not the model"),
    "another model": (lambda f: f.update({"versions/x/1/manifest.json": b"[]"}), "no entry names"),
    "another decision": (lambda f: f.update({"decisions/x.json": b"{}"}), "no entry leads to it"),
    "an erasure": (lambda f: f.update({"erasures/3.json": b"[]"}), "no entry tells of this"),
}  # fmt: skip


@pytest.mark.parametrize("what", REAL)
def test_what_the_registry_changes_in_its_own_bundle_is_named(
    what: str, handed: Handed, tmp_path: Path
) -> None:
    change, said = REAL[what]
    files = _resigned(handed.late.files, change, handed)
    (tmp_path / "x.zip").write_bytes(zipped(files))
    answer = check("bundle", tmp_path / "x.zip", "--key", handed.vkey)
    assert (answer.code, said in answer.problem) == (1, True), answer


@pytest.mark.parametrize("name", ["report.html", "README.txt", "trust.yaml", "verify.py"])
def test_what_anybody_changes_in_a_bundle_is_named(
    name: str, handed: Handed, tmp_path: Path
) -> None:
    files = {**handed.late.files, name: b"changed"}
    (tmp_path / "x.zip").write_bytes(zipped(files))
    answer = check("bundle", tmp_path / "x.zip", "--key", handed.vkey)
    assert (answer.code, f"{name}: is not the file" in answer.problem) == (1, True), answer


def test_a_bundle_signed_by_whoever_is_refused(handed: Handed, tmp_path: Path) -> None:
    """With a key of their own beside it: the ledger names another one."""
    generate_key_pair(tmp_path / "own.pem", algorithm="ed25519")
    key = load_private_key(tmp_path / "own.pem")
    files = dict(handed.late.files)
    files |= {"keys/registry.pub": key.public.pem.encode(), "report.html": b"released"}
    manifest = json.loads(files.pop("manifest.json"))
    del files["manifest.dsse"]
    manifest["files"] = {name: digest(data) for name, data in sorted(files.items())}
    data = canonical.encode(manifest)
    signed = envelope.sign(data, PAYLOAD_TYPE, [key])
    made = zipped({**files, "manifest.json": data, "manifest.dsse": signed})
    (tmp_path / "x.zip").write_bytes(made)
    answer = check("bundle", tmp_path / "x.zip", "--key", handed.vkey)
    assert (answer.code, "the registry started with the key" in answer.problem) == (1, True), answer


def test_a_registry_with_another_key_than_it_started_with_makes_no_bundle(tmp_path: Path) -> None:
    registry = Living(tmp_path)
    registry.start()
    registry.accepted("churn")
    before = registry.entries()
    for suffix in (".pem", ".pub"):
        (tmp_path / f"registry{suffix}").unlink()
    generate_key_pair(tmp_path / "registry.pem", algorithm="ed25519")

    with pytest.raises(ConfigurationError, match="the registry started with the key"):
        registry.take(CHURN)

    assert registry.entries() == before


# Keys that are stolen


def _stolen(handed: Handed, out: Path, thief: Ed25519Signer, by: Ed25519Signer) -> Answer:
    """The ledger as it was, and on top of it a checkpoint of now by another key."""
    shutil.copytree(handed.folder / "late", out)
    head = checkpoint.parse((out / "checkpoint").read_bytes())
    signed = note.sign(f"{head.text()}ledger.rekeyed {thief.key.encode()}\n", by, thief)
    (out / "checkpoints" / f"{head.size}-00000000.checkpoint").write_text(signed, "utf-8")
    return check("ledger", out, "--key", handed.vkey)


def test_whoever_steals_a_retired_key_hands_nothing_over(handed: Handed, tmp_path: Path) -> None:
    answer = _stolen(handed, tmp_path / "out", signer("test/ledger"), handed.registry.first)
    assert (answer.code, "more than one hands the ledger over" in answer.problem) == (1, True)


def test_a_retired_key_signs_nothing_any_more(handed: Handed, tmp_path: Path) -> None:
    head = checkpoint.parse((handed.folder / "late" / "checkpoint").read_bytes())
    late = checkpoint.make(head.size, head.root, handed.registry.first)
    (tmp_path / "kept").write_text(late, "utf-8")
    words = ("--key", handed.vkey, "--checkpoint", tmp_path / "kept")
    answer = check("ledger", handed.folder / "late", *words)
    assert (answer.code, "was not the ledger's at" in answer.problem) == (1, True), answer


# People who were erased


@pytest.fixture(scope="module")
def redacted(tmp_path_factory: pytest.TempPathFactory) -> Handed:
    folder = tmp_path_factory.mktemp("redacted")
    registry = Living(folder / "registry")
    registry.start()
    registry.approved("churn")
    early = registry.take(CHURN)
    for person in ("sam", "alice"):
        registry.erase(person)
    found = Handed(registry, folder, early, registry.take(CHURN), registry.take(NOVEMBER))
    registry.export(folder / "late")
    registry.sessions.dispose()
    return found


@pytest.mark.parametrize("what", ["early", "late", "period"])
def test_what_an_erasure_redacted_verifies_and_is_told(
    what: str, redacted: Handed, tmp_path: Path
) -> None:
    (tmp_path / "x.zip").write_bytes(getattr(redacted, what).data)
    words = ("--key", redacted.vkey, "--ledger", redacted.folder / "late")
    answer = check("bundle", tmp_path / "x.zip", *words)
    assert answer.code == 0, answer.problem
    last = max(i for i, e in redacted.late.entries.items() if e["act"] == Act.PERSON_ERASED)
    said = f"redacted: person erased by entry {last}"
    assert (said in str(answer.report["remarks"])) == (what != "early")


def test_an_erased_name_is_nowhere_in_a_bundle(redacted: Handed) -> None:
    for name, data in redacted.late.files.items():
        if name.endswith(".json") and not name.startswith("versions/"):
            assert b'"sam"' not in data, name
    people = [word["person"] for word in redacted.late.json("approvals.json")]
    assert sorted(person[:7] for person in people) == ["erased-", "pia", "pia"]
    assert "erased-" in redacted.late.html


def _submitter_as_approver(files: Files) -> None:
    """What an erasure replaced is what its entry commits to, pseudonym by pseudonym."""
    for name in [n for n in files if n.startswith("erasures/")]:
        pairs = json.loads(files[name])
        files[name] = canonical.encode([[a, "erased-00000000" if b else b] for a, b in pairs])


REDACTED: dict[str, tuple[Callable[[Files], object], str]] = {
    "the dossier once more": (_swap("dossiers/", b"erased-", b"erazed-"), "it was edited"),
    "no list of what was replaced": (_drop("erasures/"), "it was edited"),
    "another list": (_submitter_as_approver, "no entry tells of this erasure"),
    "the erasure dropped": (_without(Act.PERSON_ERASED), "exported other entries"),
    "a name in the place of a pseudonym": (
        _swap("approvals.json", b'"person":"erased-', b'"person":"eve'), "of somebody else"
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", REDACTED)
def test_nothing_else_passes_for_an_erasure(what: str, redacted: Handed, tmp_path: Path) -> None:
    change, said = REDACTED[what]
    files = _resigned(redacted.late.files, change, redacted)
    (tmp_path / "x.zip").write_bytes(zipped(files))
    answer = check("bundle", tmp_path / "x.zip", "--key", redacted.vkey)
    assert (answer.code, said in answer.problem) == (1, True), answer


def test_an_erasure_before_the_entry_replaces_nothing_in_it(tmp_path: Path) -> None:
    """Else a registry could erase first what it is about to decide."""
    story = Story()
    story.register()
    dossier = canonical.encode({"approvals": [], "another": "dossier"})
    pairs = canonical.encode([[digest(dossier), digest(b"{}")]])
    erased = story.entry("person.erased", facts={"replaced": digest(pairs)}, before={}, after={})
    story.files[f"erasures/{erased}.json"] = pairs
    story.move("Candidate", decision={"dossier_digest": digest(dossier)})
    story.files[f"dossiers/{digest(dossier)[7:]}.json"] = b"{}"
    story.export()
    (tmp_path / "registry.pub").write_bytes(story.registry_pem())
    (tmp_path / "x.zip").write_bytes(zipped(story.bundle()))
    words = ("--key", story.vkey, "--registry-key", tmp_path / "registry.pub")
    answer = check("bundle", tmp_path / "x.zip", *words)
    assert (answer.code, "it was edited" in answer.problem) == (1, True), answer


def test_a_name_that_is_gone_without_an_erasure_stops_the_export(tmp_path: Path) -> None:
    registry = Living(tmp_path)
    registry.accepted("churn")
    registry.run(sa.delete(tables.private).where(tables.private.c.text == "alice"))
    with pytest.raises(VerificationError, match="no erasure took it"):
        registry.take(CHURN)


# Entries that were lost


def test_lost_entries_are_owned_up_to_or_the_ledger_does_not_verify(tmp_path: Path) -> None:
    registry = Living(tmp_path / "registry")
    registry.start()
    registry.accepted("churn")
    registry.sessions.dispose()
    backup = (tmp_path / "registry" / "registry.db").read_bytes()
    registry.accepted("fraud")
    lost, bundle = registry.keep(), registry.take(FRAUD)
    (tmp_path / "kept").write_text(lost, "utf-8")
    (tmp_path / "x.zip").write_bytes(bundle.data)
    registry.sessions.dispose()
    (tmp_path / "registry" / "registry.db").write_bytes(backup)
    registry.go_on(registry.first)

    def held(folder: str, *words: object) -> Answer:
        out = registry.export(tmp_path / folder)
        kept = ("--checkpoint", tmp_path / "kept", *words)
        return check("ledger", out, "--key", registry.vkey, *kept)

    rolled = held("rolled")
    assert (rolled.code, "truncated or rolled back" in rolled.problem) == (1, True), rolled
    head = checkpoint.parse(registry.ledger.head())
    for _ in range(12):
        registry.act(Act.REGISTRY_ALARMED)
    forked = held("forked")
    assert (forked.code, "forked" in forked.problem) == (1, True), forked
    registry.act(Act.LEDGER_RECOVERED, **recovery.facts_of(lost, head))
    told = held("told")
    assert (told.code, len(told.report.get("recovered") or ())) == (0, 1), told.problem  # type: ignore[arg-type]
    words = ("--key", registry.vkey, "--ledger", tmp_path / "told")
    answer = check("bundle", tmp_path / "x.zip", *words)
    assert (answer.code, "not the one signed at 8" in answer.problem) == (1, True), answer
    shown = run("ledger", tmp_path / "told", "--key", registry.vkey, cwd=tmp_path).report
    assert len(shown["recovered"]) == 1  # type: ignore[arg-type]
    another = checkpoint.parse(lost)
    (tmp_path / "kept").write_text(
        checkpoint.make(another.size - 1, another.root, registry.first), "utf-8"
    )
    assert held("another").code == 1, "one acknowledged checkpoint is no other"
    registry.sessions.dispose()


# Entries whose time was over


def test_what_was_let_go_after_its_time_is_no_gap_and_anything_else_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = Living(tmp_path / "registry")
    monkeypatch.setattr(verifier(), "now", registry.ports.clock)
    registry.start()
    registry.approved("churn")
    refused = registry.accepted("fraud")
    for location in ("one", "two", "three"):
        with pytest.raises(Denied):
            admit(registry.ports, Request(Actor(location), refused), "registry")
    for _ in range(60):  # a ledger in use: years that nobody recorded anything in make nothing old
        registry.ports.clock.now += timedelta(days=55)
        with registry.ports.store.begin() as uow:
            uow.record(Event(Act.ADVISORIES_CHANGED, "os:ops", registry.ports.clock()))
    registry.start()
    review = retention.Review(Retention(7.0), registry.ports.clock())
    groups = review.read(registry.ledger.entries()).groups(registry.ledger.entries())
    gone = retention.expire(
        SqlStore(registry.sessions, ledger_signer=registry.signer), review, groups, ROOT
    )
    out, bundle = registry.export(tmp_path / "out"), registry.take(NOVEMBER)
    table = tables.ledger_entries
    registry.run(sa.update(table).where(table.c.position == 3).values(entry=b""))
    with pytest.raises(VerificationError, match="entry 3 was emptied"):
        registry.take(NOVEMBER)
    registry.sessions.dispose()

    answer = check("ledger", out, "--key", registry.vkey)
    assert (answer.code, answer.report.get("expired"), gone > 3) == (0, gone, True), answer
    (tmp_path / "x.zip").write_bytes(bundle.data)
    words = ("--key", registry.vkey, "--ledger", out)
    assert check("bundle", tmp_path / "x.zip", *words[:2]).code == 0
    (path,) = (out / "tile" / "entries").rglob("0??.p/*")
    entries = verifier().split_bundle(path.read_bytes(), "")
    path.write_bytes(tiles.bundle([*entries[:3], b"", *entries[4:]]))
    answer = check("ledger", out, "--key", registry.vkey)
    assert (answer.code, "entry 3 is missing" in answer.problem) == (1, True), answer
