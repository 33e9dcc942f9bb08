"""The verifier over an evidence bundle: everything the ledger's word can be held against."""

from __future__ import annotations

import gzip
import io
import json
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlflow_governance.core import canonical
from mlflow_governance.ledger import checkpoint, handover
from mlflow_governance.policy import bundle as policies
from mlflow_governance.policy.archive import pack
from tests.unit.audit.builders import Answer, MemoryLedger, check, run, verifier
from tests.unit.audit.evidence import Files, Story, digest, policy, told, unpacked, zipped
from tests.unit.ledger.builders import encoded, signer

Change = Callable[[Files], object]


@pytest.fixture(scope="module")
def story() -> Story:
    return told()


class Desk:
    """An auditor's desk: what they were handed, and the keys they got by telephone."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def check(self, story: Story, files: Files | bytes, *words: object) -> Answer:
        path = self.folder / "evidence.zip"
        path.write_bytes(files if isinstance(files, bytes) else zipped(files))
        (self.folder / "registry.pub").write_bytes(story.registry_pem())
        keys = ["--key", story.vkey, "--registry-key", self.folder / "registry.pub"]
        return check("bundle", path, *keys, *words)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_a_whole_bundle_verifies_zipped_and_unpacked(
    story: Story, desk: Desk, tmp_path: Path
) -> None:
    answer = desk.check(story, story.bundle())
    assert (answer.code, answer.report.get("entries")) == (0, 7), answer.problem
    inside = unpacked(story.bundle(), tmp_path / "unpacked")
    keys = ["--key", story.vkey, "--registry-key", tmp_path / "registry.pub"]
    assert check("bundle", inside, *keys).code == 0


def test_an_auditor_alone_verifies_it(story: Story, tmp_path: Path) -> None:
    (tmp_path / "evidence.zip").write_bytes(zipped(story.bundle()))
    (tmp_path / "registry.pub").write_bytes(story.registry_pem())
    words = ["--key", story.vkey, "--registry-key", "registry.pub"]
    assert run("bundle", "evidence.zip", *words, cwd=tmp_path).code == 0
    assert run("bundle", "evidence.zip", cwd=tmp_path).code == 2
    files = story.bundle()
    files["report.html"] = b"<h1>everything is fine</h1>"
    (tmp_path / "evidence.zip").write_bytes(zipped(files))
    answer = run("bundle", "evidence.zip", *words, cwd=tmp_path)
    assert (answer.code, "report.html: is not the file" in answer.problem) == (1, True)


def test_without_the_registrys_key_it_says_what_rests_on_it(story: Story, tmp_path: Path) -> None:
    (tmp_path / "evidence.zip").write_bytes(zipped(story.bundle()))
    for more in ([], ["--incomplete"]):
        answer = check("bundle", tmp_path / "evidence.zip", "--key", story.vkey, *more)
        assert (answer.code, "--registry-key" in answer.problem) == (2, True)


def test_other_keys_are_refused(story: Story, desk: Desk, tmp_path: Path) -> None:
    other = told()
    swapped = desk.check(story, other.bundle())
    assert (swapped.code, "did not sign this manifest" in swapped.problem) == (1, True)
    path = tmp_path / "evidence.zip"
    path.write_bytes(zipped(story.bundle()))
    (tmp_path / "r").write_bytes(other.registry_pem())
    ours, theirs = (one.vkey for one in (story, other))
    by_other = check("bundle", path, "--key", ours, "--registry-key", tmp_path / "r")
    assert (by_other.code, "did not sign this manifest" in by_other.problem) == (1, True)
    (tmp_path / "r").write_bytes(story.registry_pem())
    of_other = check("bundle", path, "--key", theirs, "--registry-key", tmp_path / "r")
    assert (of_other.code, "is not signed with a key given" in of_other.problem) == (1, True)


# Changed by whoever has the archive and no key


def _set(name: str, data: bytes) -> Change:
    return lambda files: files.__setitem__(name, data)


def _edit(start: str, old: bytes, new: bytes) -> Change:
    def change(files: Files) -> None:
        name = next(name for name in sorted(files) if name.startswith(start) and old in files[name])
        files[name] = files[name].replace(old, new)

    return change


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (_set("report.html", b"fine"), "report.html: is not the file that manifest.json lists"),
        (_set("extra.txt", b"x"), "extra.txt: is not listed"),
        (lambda files: files.pop("trust.yaml"), "trust.yaml: is missing"),
        (_edit("manifest.json", b"churn", b"chirp"), "is a signature over another manifest"),
        (lambda files: files.pop("manifest.dsse"), "manifest.dsse: is missing"),
        (_edit("manifest.dsse", b'"sig":"', b'"sig":"AAAA'), "manifest.dsse"),
        (_edit("manifest.dsse", b"evidence+json", b"something+json"), "over something else"),
    ],
)  # fmt: skip
def test_a_changed_archive_is_refused(
    change: Change, expected: str, story: Story, desk: Desk
) -> None:
    files = story.bundle()
    change(files)
    answer = desk.check(story, files)
    assert (answer.code, expected in answer.problem) == (1, True), answer


# Changed by whoever has the registry's key, and not the ledger's


def _drop(start: str) -> Change:
    return lambda files: files.pop(next(name for name in sorted(files) if name.startswith(start)))


def _swap_proofs(files: Files) -> None:
    one, two = "ledger/proofs/3.tlog-proof", "ledger/proofs/4.tlog-proof"
    files[one], files[two] = files[two], files[one]


def _leave_out(files: Files) -> None:
    files.pop("ledger/entries/7.json")
    files.pop("ledger/proofs/7.tlog-proof")


def _leave_out_the_last(files: Files) -> None:
    files.pop("ledger/entries/11.json")
    files.pop("ledger/proofs/11.tlog-proof")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (_edit("ledger/entries/4", b"Candidate", b"Revoked"), "is not number 4 of the signed"),
        (_edit("ledger/checkpoint", b"\n12\n", b"\n13\n"), "ledger/checkpoint"),
        (_edit("ledger/proofs/3", b"index 3", b"index 4"), "is about another entry"),
        (_edit("ledger/proofs/3", b"=\n", b"=\nAAAA\n"), "ledger/proofs/3"),
        (_drop("ledger/proofs/3"), "ledger/proofs/3.tlog-proof: is missing"),
        (_drop("ledger/entries/3"), "the registry said it exported other entries"),
        (_swap_proofs, "is about another entry"),
        (_leave_out, "the registry said it exported other entries"),
        (_leave_out_the_last, "the entry that says what was exported is not there"),
        (_edit("decisions/d4", b"promote", b"premote"), "is not what entry 4 names"),
        (_edit("dossiers/", b"Candidate", b"Revoked"), "it was edited"),
        (_set(f"policies/{policy().digest[7:]}.tar.gz", pack({"a.rego": b""})), "another policy"),
        (_set(f"policies/{'0' * 64}.tar.gz", policy().archive()), "no entry leads to it"),
        (_set("policies/x.tar.gz", b"junk"), "no entry leads to it"),
        (_set("decisions/d99.json", b"{}"), "no entry leads to it"),
        (_set("versions/churn/3/manifest.json", b"[]"), "is not the model"),
        (_set("versions/demand/3/manifest.json", b"[]"), "a version that no entry names"),
        (_edit("openings.json", b'"text":"bob"', b'"text":"eve"'), "does not open"),
        (_edit("approvals.json", b'"person":"ann"', b'"person":"eve"'), "is of somebody else"),
        (_edit("approvals.json", b'"role":"risk"', b'"role":"legal"'), "does not say that"),
        (_edit("approvals.json", b'"index":7', b'"index":6'), "does not say that"),
        (_set("openings.json", b"[]"), "is not of the form"),
        (_set("openings.json", b'{"a":1,"a":2}'), "names a key twice"),
        (_set("openings.json", b"["), "is not valid JSON"),
        (_set("ledger/entries/zero.json", b"{}"), "is no name of an entry"),
    ],
)  # fmt: skip
def test_a_registry_that_says_something_else_than_its_ledger_is_refused(
    change: Change, expected: str, story: Story, desk: Desk
) -> None:
    answer = desk.check(story, story.bundle(change))
    assert (answer.code, expected in answer.problem) == (1, True), answer


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (_drop("decisions/d8"), "its decision is not in the bundle"),
        (_drop("policies/"), "policy sha256:"),
        (_drop("versions/churn/3/manifest"), "manifest.json is not in the bundle"),
        (_drop("versions/churn/3/evidence"), "attestations/canary.intoto.json is not in"),
        (_set("openings.json", b"{}"), "cannot be told, as a name is not here"),
    ],
)  # fmt: skip
def test_what_is_missing_is_no_yes(change: Change, expected: str, story: Story, desk: Desk) -> None:
    def without(files: Files) -> None:
        change(files)
        if expected.startswith("its decision"):
            dossiers = [n for n in files if n.startswith("dossiers/")]
            last = next(n for n in dossiers if b'"to":"Approved"' in files[n])
            files.pop(last)

    answer = desk.check(story, story.bundle(without))
    assert (answer.code, expected in answer.problem) == (2, True), answer
    accepted = desk.check(story, story.bundle(without), "--incomplete")
    assert (accepted.code, expected in str(accepted.report.get("remarks"))) == (0, True), accepted


def test_a_pseudonymous_bundle_verifies_as_far_as_it_goes(desk: Desk) -> None:
    story = Story()
    story.register()
    story.move("Candidate")
    story.approve()
    story.move("Staging")
    story.export(pseudonymous=True)

    def withhold(files: Files) -> None:
        files["openings.json"] = b"{}"
        for name in [n for n in files if n.startswith(("dossiers/", "decisions/"))]:
            del files[name]
        files.pop(next(n for n in files if n.startswith("policies/")))

    answer = desk.check(story, story.bundle(withhold))
    assert answer.code == 0, answer.problem
    assert "withheld, as the ledger says" in str(answer.report["remarks"])


def test_a_manifest_of_another_kind_is_not_judged(story: Story, desk: Desk) -> None:
    answer = desk.check(story, story.bundle(schema=2))
    assert (answer.code, "newer than this verifier" in answer.problem) == (2, True)
    other = desk.check(story, story.bundle(of={"name": "demand"}))
    assert (other.code, "of something else" in other.problem) == (1, True)
    ledger = desk.check(story, story.bundle(ledger={"origin": "x", "size": 1}))
    assert (ledger.code, "names another ledger" in ledger.problem) == (1, True)


# Done by the registry itself, ledger's key and all


def _self_approved(story: Story) -> None:
    story.approve("bob")
    story.move("Approved")


def _approved_late(story: Story) -> None:
    word = {"person": "ann", "role": "risk", "decision": "approve",
            "at": story.at(len(story.ledger.rows) + 1), "model_digest": story.subject["digest"],
            "policy_digest": policy().digest}  # fmt: skip
    story.words.append(word)
    story.move("Approved")
    story.words.pop()
    story.approve()


def _approved_by_nobody(story: Story) -> None:
    story.approve()
    story.words[0] = {**story.words[0], "role": "legal"}
    story.move("Approved")


def _one_word_for_two(story: Story) -> None:
    story.approve()
    story.words.append(dict(story.words[0]))
    story.move("Approved")


def _taken_back(story: Story) -> None:
    story.approve()
    facts = {"role": "risk", "decision": "approve", "approval": "a0"}
    story.entry("approval.withdrawn", "ann", facts=facts)
    story.move("Approved")


def _superseded(story: Story) -> None:
    story.approve()
    story.approve(decision="reject", supersedes="a0")
    story.words.pop()
    story.approvals.pop()
    story.move("Approved")


def _other_content(story: Story) -> None:
    story.approve()
    story.words[0] = {**story.words[0], "model_digest": digest(b"other")}
    story.move("Approved")


def _by_another_name(story: Story) -> None:
    story.approve()
    story.words[0] = {**story.words[0], "person": "carl"}
    story.move("Approved")


def _denied(story: Story) -> None:
    story.move("Approved", decision={"allow": False})


def _skipped(story: Story) -> None:
    story.move("Deprecated")


def _out_of_thin_air(story: Story) -> None:
    story.stage = "Candidate"
    story.move("Staging")


def _after_the_end(story: Story) -> None:
    story.move("Revoked")
    story.move("Approved")


def _back_elsewhere(story: Story) -> None:
    story.move("Quarantined")
    story.move("Approved")


def _born_approved(story: Story) -> None:
    story.uid = "u2"
    story.entry("version.registered", before={}, after={"stage": "Approved"})


def _from_the_grave(story: Story) -> None:
    story.entry("version.deleted", after={})
    story.move("Approved")


def _twice(story: Story) -> None:
    story.entry("version.registered", before={}, after={"stage": "None"})


def _about_another(story: Story) -> None:
    story.move("Approved", dossier={"subject": {**story.subject, "uid": "u7", "stage": "Staging"}})


def _another_policy(story: Story) -> None:
    facts = {"gate": "promote", "policy_digest": digest(b"other"), "dossier_digest": None}
    story.move("Approved", entry={"facts": facts})


@pytest.mark.parametrize(
    ("deed", "expected"),
    [
        (_self_approved, "separation of duties is broken"),
        (_approved_late, "that nobody gave before"),
        (_approved_by_nobody, "an approval for legal that nobody gave"),
        (_one_word_for_two, "that nobody gave before"),
        (_taken_back, "that was taken back"),
        (_superseded, "that was taken back"),
        (_other_content, "that nobody gave before"),
        (_by_another_name, "that nobody gave before"),
        (_denied, "refused what entry"),
        (_skipped, "the life cycle has no way from Staging to Deprecated"),
        (_out_of_thin_air, "leaves Candidate, and the version was Staging"),
        (_after_the_end, "the life cycle has no way from Revoked"),
        (_back_elsewhere, "the life cycle has no way from Quarantined"),
        (_born_approved, "not at its beginning"),
        (_from_the_grave, "and the version was None"),
        (_twice, "registers a version that is there"),
        (_about_another, "is about something else than entry"),
        (_another_policy, "says something else than entry"),
    ],
)
def test_a_registry_that_did_wrong_is_found_out(
    deed: Callable[[Story], None], expected: str, desk: Desk
) -> None:
    story = Story()
    story.register()
    story.move("Candidate")
    story.move("Staging")
    deed(story)
    story.export()
    answer = desk.check(story, story.bundle())
    assert (answer.code, expected in answer.problem) == (1, True), answer


def test_every_way_that_exists_verifies(desk: Desk) -> None:
    story = Story(workspace="risk/eu", name="churn")
    story.register()
    for stage in ("Candidate", "Staging", "Quarantined", "Staging", "Approved", "Deprecated"):
        story.move(stage)
    story.move("Revoked", act="version.revoked")
    story.export()
    files = story.bundle()
    moved = {n.replace("risk/eu%3A", "risk%2Feu%3A"): d for n, d in story.collect().items()}
    made = story.manifest(moved)
    files = {**moved, "manifest.json": made, "manifest.dsse": story.sign(made)}
    answer = desk.check(story, files)
    assert answer.code == 0, answer.problem


def test_an_adopted_version_has_no_submitter(desk: Desk) -> None:
    story = Story()
    story.entry(
        "version.registered", "bob", before={"stage": "Production"}, after={"stage": "None"}
    )
    story.move("Candidate")
    story.approve("bob")
    story.move("Staging")
    story.export()
    assert desk.check(story, story.bundle()).code == 0


def test_what_a_submitter_objects_to_is_no_approval(desk: Desk) -> None:
    story = Story()
    story.register()
    story.move("Candidate")
    story.approve("bob", decision="reject")
    story.words[0]["decision"] = story.approvals[0]["decision"] = "reject"
    story.move("Staging")
    story.export()
    assert desk.check(story, story.bundle()).code == 0


def test_a_list_too_long_for_an_entry_is_named_by_its_digest(desk: Desk) -> None:
    def made(listed: list[int], shown: bytes) -> Answer:
        story = Story()
        story.register()
        story.move("Candidate")
        facts = {"count": len(listed), "entries_digest": digest(canonical.encode(listed))}
        story.export(entries=None, **facts)
        return desk.check(story, story.bundle(_set("ledger/listed.json", shown)))

    assert made([0, 1], b"[0,1]").code == 0
    assert "is not the list" in made([0, 1], b"[0]").problem
    assert "exported other entries" in made([0, 1, 2], b"[0,1,2]").problem


# Against the whole ledger


def test_the_whole_ledger_finds_what_the_registry_left_out(desk: Desk, tmp_path: Path) -> None:
    story = Story()
    story.register()
    story.move("Candidate")
    hidden = story.entry("version.transitioned", allowed=False)
    story.mine.remove(hidden)
    story.export()
    assert desk.check(story, story.bundle()).code == 0, "nobody can tell from the bundle alone"
    story.ledger.export(tmp_path / "ledger")
    answer = desk.check(story, story.bundle(), "--ledger", tmp_path / "ledger")
    assert (answer.code, f"entry {hidden}: is about this" in answer.problem) == (1, True), answer


def test_the_whole_ledger_may_have_grown_and_must_not_be_older(
    story: Story, desk: Desk, tmp_path: Path
) -> None:
    grown = told()
    files = grown.bundle()
    grown.others(300)
    grown.entry("version.transitioned", allowed=False)
    grown.ledger.export(tmp_path / "grown")
    answer = desk.check(grown, files, "--ledger", tmp_path / "grown")
    assert (answer.code, answer.report.get("ledger")) == (0, 313), answer.problem
    (tmp_path / "grown" / "checkpoint").rename(tmp_path / "elsewhere")
    assert desk.check(grown, files, "--ledger", tmp_path / "grown").code == 1
    young = Story(ledger=type(grown.ledger)(grown.ledger.signer))
    young.others(3)
    young.ledger.export(tmp_path / "young")
    answer = desk.check(grown, files, "--ledger", tmp_path / "young")
    assert (answer.code, "older than the bundle" in answer.problem) == (2, True)


def test_a_bundle_of_a_fork_is_found_by_the_ledger(desk: Desk, tmp_path: Path) -> None:
    forked = told()
    real = told(ledger=type(forked.ledger)(forked.ledger.signer))
    real.ledger.rows.clear()
    other = type(forked.ledger)(forked.ledger.signer)
    other.append(*(encoded(index, person="eve") for index in range(20)))
    other.export(tmp_path / "ledger")
    answer = desk.check(forked, forked.bundle(), "--ledger", tmp_path / "ledger")
    assert (answer.code, "forked" in answer.problem) == (1, True), answer


def test_a_period_is_held_against_every_entry_in_it(desk: Desk, tmp_path: Path) -> None:
    def made(hide: bool) -> Answer:
        story = Story()
        story.others(2)
        story.register()
        story.move("Candidate")
        stranger = story.entry("trust.changed", subject={**story.subject, "uid": None, "name": None,
                               "version": None, "workspace": None, "digest": None})  # fmt: skip
        if hide:
            story.mine.remove(stranger)
        since, until = story.at(2), story.at(len(story.ledger.rows))
        story.export(of={"since": since, "until": until})
        story.ledger.export(tmp_path / str(hide))
        return desk.check(story, story.bundle(), "--ledger", tmp_path / str(hide))

    assert made(hide=False).code == 0
    assert "leaves it out" in made(hide=True).problem


# Archives that are traps


def _zip(*members: tuple[str, bytes], kind: int = 0o100644) -> bytes:
    to = io.BytesIO()
    with zipfile.ZipFile(to, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members:
            info = zipfile.ZipInfo(name)
            info.external_attr, info.compress_type = kind << 16, zipfile.ZIP_DEFLATED
            archive.writestr(info, data)
    return to.getvalue()


def _bomb() -> bytes:
    return _zip(*((f"{n}", bytes(1024 * 1024)) for n in range(3)), ("manifest.json", b"{}"))


def _overlapping() -> bytes:
    """Two names in the directory that stand on the same bytes (as in a zip bomb)."""
    data = bytearray(_zip(("a", b"x" * 100), ("b", b"x" * 100)))
    first, second = (at for at in range(len(data)) if data[at : at + 4] == b"PK\x01\x02")
    data[second + 42 : second + 46] = struct.pack("<I", 5)
    del first
    return bytes(data)


def _said_size(size: int) -> bytes:
    data = bytearray(_zip(("manifest.json", b"{}")))
    at = data.find(b"PK\x01\x02")
    data[at + 24 : at + 28] = struct.pack("<I", size)
    return bytes(data)


TRAPS: dict[str, tuple[bytes, int]] = {
    "nothing": (b"", 2),
    "no zip": (b"PK\x03\x04" + b"junk" * 100, 2),
    "an empty zip": (_zip(), 1),
    "out of the folder": (_zip(("../manifest.json", b"{}")), 1),
    "absolute": (_zip(("/etc/passwd", b"{}")), 1),
    "of another system": (_zip(("..\\manifest.json", b"{}")), 1),
    "of a drive": (_zip(("C:/manifest.json", b"{}")), 1),
    "a folder": (_zip(("versions/", b"")), 1),
    "twice": (_zip(("a", b"1"), ("A", b"2")), 1),
    "a link": (_zip(("manifest.json", b"/etc/passwd"), kind=0o120777), 1),
    "a device": (_zip(("manifest.json", b""), kind=0o020666), 1),
    "something before it": (b"#!/bin/sh\n" + _zip(("manifest.json", b"{}")), 1),
    "overlapping": (_overlapping(), 1),
    "says it is huge": (_said_size(2**32 - 2), 1),
    "says it is smaller": (_said_size(1), 1),
    "unpacks to much": (_bomb(), 1),
    "damaged": (_zip(("manifest.json", b"{}" * 500)).replace(b"\xab\x56", b"\xab\x57", 1), 1),
    "cut": (zipped({"manifest.json": b"{}" * 500})[:-30], 2),
    "a manifest of another form": (_zip(("manifest.json", b"[1]")), 1),
    "a manifest that nests": (_zip(("manifest.json", b"[" * 200_000)), 1),
    "a manifest with a long number": (_zip(("manifest.json", b"1" * 1_000_000)), 1),
}


@pytest.mark.parametrize("name", TRAPS)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_archive_that_is_a_trap_is_refused(name: str, story: Story, desk: Desk) -> None:
    data, code = TRAPS[name]
    answer = desk.check(story, data)
    assert (answer.code, answer.problem != "") == (code, True), answer


def test_a_directory_too_large_to_read_is_not_read(
    story: Story, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verifier(), "LARGE", 2000)
    assert "directory is too large" in desk.check(story, zipped(story.bundle())).problem
    monkeypatch.undo()
    monkeypatch.setattr(verifier(), "MEMBERS", 5)
    assert "holds more than is read" in desk.check(story, zipped(story.bundle())).problem


def test_a_link_in_a_folder_is_refused(story: Story, tmp_path: Path) -> None:
    inside = unpacked(story.bundle(), tmp_path / "unpacked")
    (inside / "report.pdf").symlink_to("/dev/zero")
    answer = check("bundle", inside, "--key", story.vkey)
    assert (answer.code, "is a link" in answer.problem) == (1, True)


# The digest of a policy, reckoned a second time


def test_the_digest_of_a_policy_is_the_registrys() -> None:
    module = verifier()
    assert module.policy_digest(policy().archive(), "") == policy().digest
    signed = policy().archive(b'{"signatures":[]}')
    assert module.policy_digest(signed, "") == policy().digest
    beside = pack({**policy().published(), "tests/x_test.rego": b"package x", "README.md": b"#",
                   "config.schema.json": b"{}"})  # fmt: skip
    assert module.policy_digest(beside, "") == policies.from_archive(beside).digest


@pytest.mark.parametrize(
    "archive",
    [b"", b"junk", pack({"a": b"1"})[:-20], pack({"a": b"1"}) + pack({"b": b"2"}), pack({})[:10]],
)
def test_a_broken_archive_of_a_policy_is_refused(archive: bytes) -> None:
    module = verifier()
    with pytest.raises((module.DoesNotVerifyError, module.NotCheckedError)):
        module.policy_digest(archive, "policies/x.tar.gz")


# Properties


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(drawn=st.data())
def test_no_changed_byte_of_an_archive_passes(
    drawn: st.DataObject, story: Story, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Property: the files of a bundle are what was signed, or it does not verify."""
    desk = Desk(tmp_path_factory.mktemp("desk"))
    files = story.bundle()
    name = drawn.draw(st.sampled_from(sorted(files)))
    data = bytearray(files[name])
    at = drawn.draw(st.integers(0, len(data) - 1))
    data[at] ^= drawn.draw(st.integers(1, 255))
    answer = desk.check(story, {**files, name: bytes(data)})
    assert answer.code in (1, 2), (name, at)


# One proof


def test_a_proof_shows_one_entry(story: Story, tmp_path: Path) -> None:
    files = story.bundle()
    entry, proof = tmp_path / "entry", tmp_path / "proof"
    entry.write_bytes(files["ledger/entries/8.json"])
    proof.write_bytes(files["ledger/proofs/8.tlog-proof"])
    words = ("proof", proof, "--entry", entry, "--key", story.vkey)
    assert check(*words).report == {"origin": story.ledger.signer.name, "size": 12, "index": 8}
    assert run(*words, cwd=tmp_path).code == 0
    extra = files["ledger/proofs/8.tlog-proof"].replace(b"index", b"extra AAAA\nindex", 1)
    proof.write_bytes(extra)
    assert check(*words).code == 0
    for bad in (b"", b"x", files["ledger/proofs/7.tlog-proof"], extra.replace(b"@v1", b"@v2")):
        proof.write_bytes(bad)
        assert check(*words).code == 1, bad
    proof.write_bytes(files["ledger/proofs/8.tlog-proof"])
    entry.write_bytes(files["ledger/entries/7.json"])
    assert "is not number 8" in check(*words).problem
    entry.unlink()
    assert check(*words).code == 2


def test_a_retired_key_forges_no_bundle(desk: Desk, tmp_path: Path) -> None:
    """Its checkpoint is older than the handover, which is public, or nothing leads to the key."""
    story = told()
    old, new = story.ledger.signer, signer()
    real = MemoryLedger(old).grow(400)
    hand = handover.make(checkpoint.parse(real.note), old, new)
    keys = f"{old.key.encode()}\n{new.key.encode()}\n"

    def change(files: dict[str, bytes]) -> None:
        files["ledger/handovers/400.checkpoint"] = hand.encode()
        files["keys/ledger.vkeys"] = keys.encode()

    whole, bare = story.bundle(change), story.bundle()
    (tmp_path / "forged.zip").write_bytes(zipped(whole))
    (tmp_path / "bare.zip").write_bytes(zipped(bare))
    (tmp_path / "keys").write_text(keys)
    for name, key, code, said in [
        ("forged.zip", new.key.encode(), 1, "older than the handover of 400"),
        ("forged.zip", old.key.encode(), 1, "older than the handover of 400"),
        ("bare.zip", new.key.encode(), 1, "not signed with a key given"),
        ("bare.zip", str(tmp_path / "keys"), 2, "nothing leads from"),
    ]:
        answer = check("bundle", tmp_path / name, "--key", key)
        assert (answer.code, said in answer.problem) == (code, True), answer
    proof, entry, note = (tmp_path / one for one in ("proof", "entry", "note"))
    proof.write_bytes(whole[f"ledger/proofs/{story.mine[0]}.tlog-proof"])
    entry.write_bytes(whole[f"ledger/entries/{story.mine[0]}.json"])
    note.write_text(hand, "utf-8")
    words = ("proof", proof, "--entry", entry, "--handover", note, "--key")
    for one in (old, new):
        assert check(*words, one.key.encode()).code == 1


def _begun() -> Story:
    story = Story()
    story.others(3)
    story.register()
    for stage in ("Candidate", "Staging"):
        story.move(stage)
    return story


@pytest.mark.parametrize("name", ["Bob", "\uff42\uff4f\uff42", " bob "])
def test_a_submitter_spelt_otherwise_is_the_submitter(name: str, desk: Desk) -> None:
    story = _begun()
    story.approve(name)
    story.move("Approved")
    story.export()
    answer = desk.check(story, story.bundle())
    assert (answer.code, "separation of duties" in answer.problem) == (1, True), answer


def test_one_decision_is_of_one_move(desk: Desk) -> None:
    story = _begun()
    story.approve()
    story.move("Approved")
    story.move("Quarantined")
    entry = json.loads(story.ledger.rows[story.move("Approved")][1])
    story.move("Quarantined")
    decided = {name: entry[name] for name in ("decision_id", "decision_digest", "facts")}
    story.entry("version.transitioned", after={"stage": "Approved"}, **decided)
    story.export()
    answer = desk.check(story, story.bundle())
    assert (answer.code, "rests on the decision of" in answer.problem) == (1, True), answer


def test_a_version_lives_under_one_id(desk: Desk) -> None:
    story = _begun()
    story.move("Revoked", "version.revoked")
    story.uid, story.stage, story.words = "u2", "None", []
    story.register()
    story.export()
    answer = desk.check(story, story.bundle())
    assert (answer.code, "under another id" in answer.problem) == (1, True), answer


def test_allowed_is_yes_or_no(desk: Desk) -> None:
    story = _begun()
    story.entry("version.transitioned", after={"stage": "Approved"}, allowed=1, facts={})
    story.export()
    answer = desk.check(story, story.bundle())
    assert (answer.code, "whether it was allowed" in answer.problem) == (1, True), answer


def test_what_no_entry_tells_of_is_not_beside_them(story: Story, desk: Desk) -> None:
    def beside(files: Files) -> None:
        files["ledger/entries/007.json"] = b"{}"

    def emptied(files: Files) -> None:
        files["approvals.json"] = b"[]"

    for change, said in ((beside, "no name of an entry"), (emptied, "each approval")):
        answer = desk.check(story, story.bundle(change))
        assert (answer.code, said in answer.problem) == (1, True), answer


def test_an_archive_of_other_than_plain_files_is_refused() -> None:
    for kind in (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.SYMTYPE):
        info = tarfile.TarInfo("a")
        info.type = kind
        raw = info.tobuf(tarfile.USTAR_FORMAT) + b"\0" * 1024
        with pytest.raises(verifier().DoesNotVerifyError, match="else than plain files"):
            verifier().policy_digest(gzip.compress(raw), "policy")


def test_a_time_stamp_of_many_values_is_not_read() -> None:
    body = b"\x05\x00" * 40000
    with pytest.raises(verifier().DoesNotVerifyError, match="too many values"):
        verifier().verify_stamp(b"\x30\x83" + len(body).to_bytes(3, "big") + body, b"", [], "x")
