"""The verifier over an export: what was done to it is found, and named."""

from __future__ import annotations

import ast
import base64
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlflow_governance.audit import tiles
from mlflow_governance.core.event import Act
from mlflow_governance.ledger import checkpoint, note, recovery
from mlflow_governance.ledger.merkle import leaf_hash
from mlflow_governance.ledger.note import Ed25519Signer
from tests.unit.audit.builders import VERIFIER, Answer, MemoryLedger, check, run, verifier
from tests.unit.ledger.builders import NAME, encoded, signer

SIZE = 600
ENTRIES = "tile/entries/001"


@pytest.fixture(scope="module")
def ledger() -> MemoryLedger:
    return MemoryLedger().grow(SIZE)


@pytest.fixture(scope="module")
def whole(ledger: MemoryLedger, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("export") / "out"
    kept = [MemoryLedger(ledger.signer).grow(size).kept() for size in (1, 100, 300, SIZE)]
    ledger.export(out, *kept)
    return out


@pytest.fixture
def out(whole: Path, tmp_path: Path) -> Path:
    shutil.copytree(whole, tmp_path / "out")
    return tmp_path / "out"


def _bundle(out: Path, change: Callable[[list[bytes]], None], number: int = 1) -> None:
    """Change the entries of one bundle, and nothing else."""
    path = out / tiles.bundle_path(number)
    entries = verifier().split_bundle(path.read_bytes(), "")
    change(entries)
    path.write_bytes(tiles.bundle(entries))


def _with_hashes(out: Path, change: Callable[[list[bytes]], None]) -> None:
    _bundle(out, change)
    entries = verifier().split_bundle((out / ENTRIES).read_bytes(), "")
    (out / "tile/0/001").write_bytes(b"".join(map(leaf_hash, entries)))


def _replace(entries: list[bytes]) -> None:
    entries[44] = entries[44].replace(b"Staging", b"Revoked")


def _delete(entries: list[bytes]) -> None:
    del entries[44]


def _insert(entries: list[bytes]) -> None:
    entries.insert(44, encoded(300, person="eve"))


def _insert_twin(entries: list[bytes]) -> None:
    entries.insert(44, entries[43])


def _swap(entries: list[bytes]) -> None:
    entries[44], entries[50] = entries[50], entries[44]


def _append(entries: list[bytes]) -> None:
    entries.append(encoded(512))


def _empty(entries: list[bytes]) -> None:
    entries[44] = b""


def _forge(out: Path, ledger: MemoryLedger) -> None:
    """Whoever has every file and not the key: all of the tree is made anew."""
    forged = MemoryLedger(signer())
    forged.append(*(encoded(i, person="eve" if i == 300 else "ann") for i in range(SIZE)))
    note = (out / "checkpoint").read_bytes()
    shutil.rmtree(out / "tile")
    forged.export(out.parent / "forged")
    shutil.move(out.parent / "forged" / "tile", out / "tile")
    (out / "checkpoint").write_bytes(note)


def _fork(out: Path, ledger: MemoryLedger) -> None:
    """Whoever has the key as well: everything is signed anew, but not what others kept."""
    forged = MemoryLedger(ledger.signer)
    forged.append(*(encoded(i, person="eve" if i == 200 else "ann") for i in range(SIZE)))
    kept = out.parent / "kept"
    shutil.move(out / "checkpoints", kept)
    shutil.rmtree(out)
    forged.export(out)
    shutil.move(kept, out / "checkpoints")


def _roll_back(out: Path, ledger: MemoryLedger) -> None:
    kept = (out / "checkpoints").glob(f"{SIZE}-*")
    older = MemoryLedger(ledger.signer).grow(300)
    notes = {path.name: path.read_bytes() for path in kept}
    shutil.rmtree(out)
    older.export(out)
    (out / "checkpoints").mkdir()
    for name, data in notes.items():
        (out / "checkpoints" / name).write_bytes(data)


def _two_roots(out: Path, ledger: MemoryLedger) -> None:
    forged = MemoryLedger(ledger.signer)
    forged.append(*(encoded(i, person="eve") for i in range(100)))
    (out / "checkpoints" / "100-00000000.checkpoint").write_text(forged.note, "utf-8")


def _flip(name: str, at: int) -> Callable[[Path, MemoryLedger], object]:
    def change(out: Path, _: MemoryLedger) -> None:
        data = bytearray((out / name).read_bytes())
        data[at] ^= 1
        (out / name).write_bytes(data)

    return change


def _remove(name: str) -> Callable[[Path, MemoryLedger], object]:
    return lambda out, _: (out / name).unlink()


def _add(name: str, data: bytes = b"x") -> Callable[[Path, MemoryLedger], object]:
    def change(out: Path, _: MemoryLedger) -> None:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_bytes(data)

    return change


def _link(name: str, target: str) -> Callable[[Path, MemoryLedger], object]:
    def change(out: Path, _: MemoryLedger) -> None:
        path = out / name
        path.rename(out.parent / "elsewhere")
        path.symlink_to(target or out.parent / "elsewhere")

    return change


def _resign(out: Path, ledger: MemoryLedger) -> None:
    other = Ed25519Signer(NAME, Ed25519PrivateKey.generate())
    told = checkpoint.parse(ledger.note)
    (out / "checkpoint").write_text(checkpoint.make(told.size, told.root, other), "utf-8")


TAMPERED: dict[str, tuple[Callable[[Path, MemoryLedger], object], str]] = {
    "edited": (lambda o, _: _bundle(o, _replace), "entry 300 was edited"),
    "edited with its hash": (lambda o, _: _with_hashes(o, _replace), "entries 256 to 511"),
    "edited with every hash": (_forge, "between 300 and 599"),
    "deleted": (lambda o, _: _bundle(o, _delete), "entry 300 is missing"),
    "deleted with its hash": (lambda o, _: _with_hashes(o, _delete), "entry 300 is missing"),
    "inserted": (lambda o, _: _bundle(o, _insert), "entry 300"),
    "inserted twice": (lambda o, _: _bundle(o, _insert_twin), "299 was inserted"),
    "inserted at the end": (lambda o, _: _bundle(o, _append), "entry 512 was edited"),
    "reordered": (lambda o, _: _bundle(o, _swap), "reordered"),
    "reordered with its hashes": (lambda o, _: _with_hashes(o, _swap), "reordered"),
    "emptied": (lambda o, _: _bundle(o, _empty), "entry 300 is missing: no later entry says"),
    "truncated": (_remove("tile/entries/002.p/88"), "tile/entries/002.p/88: is missing"),
    "cut inside an entry": (
        lambda o, _: os.truncate(o / "tile/entries/002.p/88", 700), "ends inside an entry"
    ),
    "cut behind an entry": (
        lambda o, _: (o / "tile/entries/002.p/88").write_bytes(
            tiles.bundle([encoded(512), encoded(513)])
        ),
        "entry 514 is missing",
    ),
    "forked": (_fork, "forked"),
    "forked, two roots": (_two_roots, "the ledger forked"),
    "rolled back": (_roll_back, "truncated or rolled back"),
    "rolled back, the checkpoint alone": (
        lambda o, of: (o / "checkpoint").write_text(MemoryLedger(of.signer).grow(100).note),
        "rolled back",
    ),
    "a leaf hash": (_flip("tile/0/001", 44 * 32), "entry 300 was edited"),
    "a hash above": (_flip("tile/1/000.p/2", 33), "entries 256 to 511"),
    "a tile gone": (_remove("tile/0/000"), "tile/0/000: is missing"),
    "a tile too many": (_add("tile/0/005"), "holds more than"),
    "a tile of a level too high": (_add("tile/2/000.p/1"), "holds more than"),
    "another name of a tile": (_add("tile/0/x000/000"), "is no name of a tile"),
    "a part that is none": (_add("tile/0/000.p/5", bytes(160)), "tile/0/000.p/5"),
    "a part of entries that is none": (_add("tile/entries/000.p/5", b"\0\0"), "beginning"),
    "a file too many": (_add("report.html"), "no part of an export"),
    "a checkpoint edited": (_flip("checkpoint", 40), "checkpoint"),
    "a checkpoint by another key": (_resign, "is not signed with a key given"),
    "a checkpoint under another size": (
        lambda o, _: next((o / "checkpoints").glob("100-*")).rename(
            o / "checkpoints" / "101-00000000.checkpoint"
        ),
        "is of 100 entries",
    ),
    "no checkpoint": (_remove("checkpoint"), "checkpoint: is missing"),
    "no keys": (_remove("keys/ledger.vkeys"), "ledger.vkeys: is missing"),
    "a link": (_link("tile/0/000", ""), "is a link"),
    "a link to a device": (_link("tile/entries/000", "/dev/zero"), "is a link"),
    "a link to a folder": (_link("tile/0", ""), "is a link"),
    "a pipe": (lambda o, _: os.mkfifo(o / "tile" / "0" / "009"), "is a link or a device"),
}  # fmt: skip


@pytest.mark.parametrize("name", TAMPERED)
def test_what_was_done_to_an_export_is_named(name: str, out: Path, ledger: MemoryLedger) -> None:
    change, expected = TAMPERED[name]
    change(out, ledger)
    answer = check("ledger", out, "--key", ledger.vkey)
    assert (answer.code, expected in answer.problem) == (1, True), answer


@pytest.mark.parametrize("name", ["edited", "forked", "rolled back", "a link to a device"])
def test_an_auditor_alone_finds_the_same(
    name: str, out: Path, ledger: MemoryLedger, tmp_path: Path
) -> None:
    change, expected = TAMPERED[name]
    change(out, ledger)
    desk = tmp_path / "desk"
    desk.mkdir()
    answer = run("ledger", out, "--key", ledger.vkey, cwd=desk)
    assert (answer.code, answer.report["result"]) == (1, "does not verify")
    assert expected in answer.problem


def test_the_verifier_needs_an_old_python_and_one_package() -> None:
    tree = ast.parse(VERIFIER.read_text("utf-8"), feature_version=(3, 9))
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {name.name for node in nodes if isinstance(node, ast.Import) for name in node.names}
    names |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    foreign = {name.partition(".")[0] for name in names} - sys.stdlib_module_names
    assert foreign == {"cryptography"}


def test_the_file_runs_as_it_is(whole: Path, ledger: MemoryLedger, tmp_path: Path) -> None:
    (tmp_path / "verify.py").write_bytes(VERIFIER.read_bytes())
    command = [sys.executable, "-I", "verify.py", "ledger", str(whole), "--key", ledger.vkey]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.splitlines()[0], done.stderr) == (0, "VERIFIED", "")
    assert [path.name for path in tmp_path.iterdir()] == ["verify.py"], "it writes nothing"


def _code(answer: Answer) -> int:
    return answer.code


def test_without_a_key_nothing_is_verified(whole: Path, tmp_path: Path) -> None:
    assert "no key" in check("ledger", whole).problem
    assert run("ledger", whole, cwd=tmp_path).code == 2
    assert run("ledger", cwd=tmp_path).code == 2, "wrong usage"


def test_the_key_of_another_ledger_is_told_from_a_bad_one(
    whole: Path, ledger: MemoryLedger
) -> None:
    assert _code(check("ledger", whole, "--key", signer().key.encode())) == 1
    for bad in ("ann", "a+b+c", ledger.vkey[:-4], ledger.vkey + "=", "nowhere.vkey"):
        assert _code(check("ledger", whole, "--key", bad)) == 2, bad


def test_keys_may_come_in_a_file(whole: Path, ledger: MemoryLedger, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(f"# from the operators, by telephone\n{ledger.vkey}\n", "utf-8")
    assert _code(check("ledger", whole, "--key", file)) == 0


def test_a_checkpoint_kept_elsewhere_finds_a_rollback_and_a_fork(
    whole: Path, ledger: MemoryLedger, tmp_path: Path
) -> None:
    def held(notes: str) -> Answer:
        (tmp_path / "kept").write_text(notes, "utf-8")
        return check("ledger", whole, "--key", ledger.vkey, "--checkpoint", tmp_path / "kept")

    assert held(MemoryLedger(ledger.signer).grow(77).note).code == 0
    larger = held(MemoryLedger(ledger.signer).grow(SIZE + 1).note)
    assert (larger.code, "rolled back" in larger.problem) == (1, True)
    other = MemoryLedger(ledger.signer)
    other.append(*(encoded(i, person="eve") for i in range(77)))
    forked = held(other.note)
    assert (forked.code, "forked" in forked.problem) == (1, True)
    assert held(MemoryLedger().grow(5).note).code == 1
    assert held("hello\n").code == 1
    missing = check("ledger", whole, "--key", ledger.vkey, "--checkpoint", tmp_path / "no")
    assert missing.code == 2


# Entries that are gone, by right and not

AT = datetime(2026, 11, 21, 3, 4, 5, tzinfo=UTC)
LATER = AT + timedelta(days=8 * 366)


def _let_go(
    *gone: int, named: str = "2-3,5", at: int = 8, before: str = "2027-01-01T00:00:00.000000Z",
    years: float = 7, act: Act = Act.LEDGER_EXPIRED, allowed: bool = True, neighbour: datetime = AT,
) -> MemoryLedger:  # fmt: skip
    """Ten entries, of which these have no bytes and the one at ``at`` says why."""
    ledger = MemoryLedger()
    for index in range(10):
        if index == at:
            facts = {"entries": named, "before": before, "years": years}
            changes = {"act": act, "at": LATER, "allowed": allowed, "facts": facts}
        else:
            changes = {"at": neighbour if index == 1 else AT}
        ledger.append(encoded(index, **changes))
    ledger.rows = [(i, b"" if i in gone else data, leaf) for i, data, leaf in ledger.rows]
    return ledger


def _exported(ledger: MemoryLedger, folder: Path) -> Answer:
    ledger.export(folder / "out")
    return check("ledger", folder / "out", "--key", ledger.vkey)


@pytest.mark.parametrize(("gone", "years"), [((2, 3, 5), 7), ((3,), 7.5), ((), 7)])
def test_an_entry_let_go_after_its_time_is_no_gap(
    gone: tuple[int, ...], years: float, tmp_path: Path
) -> None:
    answer = _exported(_let_go(*gone, years=years), tmp_path)
    assert (answer.code, answer.report.get("expired")) == (0, len(gone)), answer


NOT_LET_GO: dict[str, tuple[MemoryLedger, str]] = {
    "nobody says so": (_let_go(4), "entry 4 is missing"),
    "an earlier entry says so": (_let_go(5, at=4), "or of some not before it"),
    "it says so of itself": (_let_go(8), "entry 8 is missing"),
    "who says so is gone": (_let_go(2, 3, 8), "entry 2 is missing"),
    "it was refused": (_let_go(2, allowed=False), "entry 2 is missing"),
    "it is another act": (_let_go(2, act=Act.LEDGER_EXPORTED), "entry 2 is missing"),
    "before its time": (_let_go(2, before="2028-01-01T00:00:00.000000Z"), "before their time"),
    "of no age": (_let_go(2, years=0), "before their time"),
    "of an age that is none": (_let_go(2, years=-9), "before their time"),
    "younger than it is said to be": (
        _let_go(2, neighbour=AT + timedelta(days=60)), "entry 2 is missing"
    ),
    "no ranges": (_let_go(2, named="2-"), "lets go of no entries, or"),
    "no ranges at all": (_let_go(2, named=""), "lets go of no entries, or"),
    "no moment": (_let_go(2, before="long ago"), "not of the form it has"),
    "no number": (_let_go(2, years="7"), "not of the form it has"),  # type: ignore[arg-type]
    "the first of all": (_let_go(0, named="0"), "entry 0 is missing"),
}  # fmt: skip


@pytest.mark.parametrize("why", NOT_LET_GO)
def test_an_entry_that_is_gone_otherwise_is_missing(why: str, tmp_path: Path) -> None:
    ledger, said = NOT_LET_GO[why]
    answer = _exported(ledger, tmp_path)
    assert (answer.code, said in answer.problem) == (1, True), answer


# Entries that were lost


def _recovering(notes: Sequence[str], **changes: object) -> MemoryLedger:
    ledger = MemoryLedger().grow(5)
    for text in notes:
        head = checkpoint.parse(ledger.note)
        facts = {**recovery.facts_of(text, head), **changes}
        ledger.append(encoded(len(ledger.rows), act=Act.LEDGER_RECOVERED, facts=facts))
    return ledger.grow(20)


@pytest.mark.parametrize("size", [3, 60])
def test_a_lost_checkpoint_passes_where_an_entry_owns_up_to_it(size: int, tmp_path: Path) -> None:
    key = signer()
    lost = MemoryLedger(key)
    lost.append(*(encoded(i, person="eve") for i in range(size)))
    (tmp_path / "kept").write_text(lost.note, "utf-8")

    def held(*notes: str, **changes: object) -> Answer:
        ledger = MemoryLedger(key)
        ledger.append(*(row[1] for row in _recovering(notes, **changes).rows))
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
        ledger.export(tmp_path / "out")
        words = ("--key", ledger.vkey, "--checkpoint", tmp_path / "kept")
        return check("ledger", tmp_path / "out", *words)

    good = held(lost.note)
    assert (good.code, len(good.report.get("recovered") or ())) == (0, 1), good  # type: ignore[arg-type]
    assert f"{size} entries were signed" in str(good.report["recovered"])
    other = MemoryLedger(key).grow(size + 1).note
    forged = {"size": size, "root": "00", "note": "sha256:00"}
    assert [held().code, held(other).code, held(lost.note, lost=forged).code] == [1, 1, 1]
    assert held(lost.note, continues={"size": 6}).code == 1, "from an entry that came later"
    assert "not of the form" in held(lost.note, lost=None).problem
    assert held(lost.note, other).code == 0, "one that is not contradicted may be named as well"


def test_the_head_itself_is_never_lost(tmp_path: Path) -> None:
    ledger = _recovering([MemoryLedger().grow(3).note])
    ledger.export(tmp_path / "out")
    assert check("ledger", tmp_path / "out", "--key", ledger.vkey).code == 0
    path = tmp_path / "out" / "tile" / "entries" / "000.p" / "20"
    assert path.is_file()
    told = checkpoint.parse(ledger.note)
    (tmp_path / "out" / "checkpoint").write_text(
        checkpoint.make(told.size, bytes(32), ledger.signer), "utf-8"
    )
    assert check("ledger", tmp_path / "out", "--key", ledger.vkey).code == 1


# Witnesses


def _witness(name: str) -> tuple[Ed25519PrivateKey, str]:
    private = Ed25519PrivateKey.generate()
    raw = b"\x04" + private.public_key().public_bytes_raw()
    digest = hashlib.sha256(name.encode() + b"\n" + raw).digest()[:4]
    return private, f"{name}+{digest.hex()}+{base64.b64encode(raw).decode()}"


def _cosigned(text: str, *witnesses: tuple[Ed25519PrivateKey, str], at: int = 1_800_000_000) -> str:
    """c2sp.org/tlog-cosignature, written down once more and from its text alone."""
    body = text.split("\n\n")[0] + "\n"
    for private, vkey in witnesses:
        name, key_id, _ = vkey.split("+", 2)
        made = private.sign(f"cosignature/v1\ntime {at}\n{body}".encode())
        raw = bytes.fromhex(key_id) + at.to_bytes(8, "big") + made
        text += f"\N{EM DASH} {name} {base64.b64encode(raw).decode()}\n"
    return text


def test_a_quorum_of_witnesses_is_counted(out: Path, ledger: MemoryLedger, tmp_path: Path) -> None:
    one, two, three = (_witness(f"witness.example/{n}") for n in range(3))
    words = ("ledger", out, "--key", ledger.vkey)
    asked = [*words, "--witness", one[1], "--witness", two[1], "--witness", three[1]]
    assert "none is cosigned" in check(*asked).problem
    (tmp_path / "kept").write_text(
        _cosigned(MemoryLedger(ledger.signer).grow(300).note, one, two), "utf-8"
    )
    asked += ["--checkpoint", tmp_path / "kept"]
    assert check(*asked, "--quorum", 2).report["witnessed"] == 300
    assert _code(check(*asked)) == 1, "all three unless told otherwise"
    (out / "checkpoint").write_text(_cosigned(ledger.note, one, one, two), "utf-8")
    assert check(*asked, "--quorum", 2).report["witnessed"] == SIZE
    assert _code(check(*asked, "--quorum", 3)) == 1, "one witness twice is one"
    for quorum in (-1, 0, 4):
        assert _code(check(*asked, "--quorum", quorum)) == 2
    assert _code(check(*words, "--witness", ledger.vkey)) == 2, "no key of a witness"
    assert _code(check("ledger", out, "--key", one[1])) == 2, "no key of a ledger"


def test_a_false_cosignature_of_a_known_witness_refuses_the_note(
    out: Path, ledger: MemoryLedger
) -> None:
    one = _witness("witness.example/1")
    late = _cosigned(ledger.note, one).splitlines()[-1]
    early = _cosigned(MemoryLedger(ledger.signer).grow(5).note, one).splitlines()[-1]
    assert late != early
    (out / "checkpoint").write_text(f"{ledger.note}{early}\n", "utf-8")
    answer = check("ledger", out, "--key", ledger.vkey, "--witness", one[1])
    assert "does not verify" in answer.problem
    assert _code(check("ledger", out, "--key", ledger.vkey)) == 0, "nobody asked for witnesses"


# Keys


@dataclass
class HandedOver:
    """A ledger whose key changed at 40 of 60 entries."""

    ledger: MemoryLedger
    old: Ed25519Signer
    new: Ed25519Signer
    notes: list[str]

    def export(self, path: Path, keys: Sequence[Ed25519Signer] = ()) -> Path:
        self.ledger.export(path)
        (path / "checkpoints").mkdir()
        for number, text in enumerate(self.notes):
            name = f"{checkpoint.parse(text).size}-{number:08x}.checkpoint"
            (path / "checkpoints" / name).write_text(text, "utf-8")
        vkeys = "".join(f"{key.key.encode()}\n" for key in keys or (self.old, self.new))
        (path / "keys" / "ledger.vkeys").write_text(vkeys, "utf-8")
        return path


def _rekeyed(heir: str, former: Ed25519Signer) -> dict[str, str]:
    return {"key": heir, "former": former.key.key_id.hex()}


def _handed_over(told: str = "", by: tuple[int, ...] = (0, 1), size: int = 40) -> HandedOver:
    old, new = signer(), signer()
    ledger = MemoryLedger(old).grow(size - 1)
    notes, heir = [ledger.note], new.key.encode()
    ledger.append(encoded(size - 1, act=Act.LEDGER_REKEYED, facts=_rekeyed(told or heir, old)))
    text = ledger.note.split("\n\n")[0] + f"\nledger.rekeyed {heir}\n"
    lines = [note.sign(text, (old, new)[place]).split("\n\n")[1] for place in by]
    notes.append(f"{text}\n{''.join(lines)}")
    ledger.signer = new
    return HandedOver(ledger.grow(60), old, new, notes)


def test_a_ledger_that_changed_its_key_verifies_by_either(tmp_path: Path) -> None:
    changed = _handed_over()
    out = changed.export(tmp_path / "out")
    old, new = (["--key", one.key.encode()] for one in (changed.old, changed.new))
    for words in (old, new, [*old, *new]):
        answer = check("ledger", out, *words)
        assert answer.code == 0, answer.problem


def _signed(changed: HandedOver, by: Ed25519Signer, size: int) -> str:
    told = checkpoint.parse(MemoryLedger(by).grow(size).note)
    if size > 39:
        told = checkpoint.parse(changed.ledger.note)
    return checkpoint.make(told.size, told.root, by)


def test_a_key_counts_for_its_time_alone(tmp_path: Path) -> None:
    late = _handed_over()
    late.notes.append(_signed(late, late.old, 60))
    early = _handed_over()
    early.notes.append(_signed(early, early.new, 12))
    for number, (changed, size) in enumerate(((late, 60), (early, 12))):
        out = changed.export(tmp_path / str(number))
        answer = check("ledger", out, "--key", changed.new.key.encode())
        expected = f"was not the ledger's at {size} entries"
        assert (answer.code, expected in answer.problem) == (1, True), answer


@pytest.mark.parametrize("by", [(0,), (1,)])
def test_a_handover_is_signed_by_both(by: tuple[int, ...], tmp_path: Path) -> None:
    changed = _handed_over(by=by)
    answer = check("ledger", changed.export(tmp_path / "out"), "--key", changed.new.key.encode())
    said = "names other keys than the checkpoints"
    assert (answer.code, said in answer.problem) == (1, True), answer


def test_a_handover_is_what_the_entry_says(tmp_path: Path) -> None:
    changed = _handed_over(told=signer().key.encode())
    answer = check("ledger", changed.export(tmp_path / "out"), "--key", changed.new.key.encode())
    said = "entry 39: entries and checkpoints tell of different"
    assert (answer.code, said in answer.problem) == (1, True), answer


def test_a_handover_without_its_entry_is_none(tmp_path: Path) -> None:
    changed = _handed_over()
    other = MemoryLedger(changed.old).grow(40)  # another act stands where it should be
    text = other.note.split("\n\n")[0] + f"\nledger.rekeyed {changed.new.key.encode()}\n"
    lines = [note.sign(text, one).split("\n\n")[1] for one in (changed.old, changed.new)]
    other.signer = changed.new
    found = HandedOver(other.grow(60), changed.old, changed.new, [f"{text}\n{''.join(lines)}"])
    answer = check("ledger", found.export(tmp_path / "out"), "--key", changed.new.key.encode())
    said = "entry 39: entries and checkpoints tell of different"
    assert (answer.code, said in answer.problem) == (1, True), answer


def test_nobody_puts_a_key_beside_the_ledgers(tmp_path: Path) -> None:
    changed = _handed_over()
    thief = signer()
    out = changed.export(tmp_path / "out", [changed.old, changed.new, thief])
    assert _code(check("ledger", out, "--key", changed.new.key.encode())) == 1
    # A note anybody may sign beside the ledger's key is no handover to them.
    text = changed.notes[0].split("\n\n")[0] + "\n"
    changed.notes.append(changed.notes[0] + note.sign(text, thief).split("\n\n")[1])
    shutil.rmtree(out)
    changed.export(out, [changed.old, changed.new, thief])
    assert _code(check("ledger", out, "--key", changed.old.key.encode())) == 1


def test_a_ledger_rolled_back_to_before_its_new_key_is_found(tmp_path: Path) -> None:
    changed = _handed_over()
    older = MemoryLedger(changed.old).grow(30)
    older.export(tmp_path / "out")
    answer = check("ledger", tmp_path / "out", "--key", changed.new.key.encode())
    assert (answer.code, "rolled back" in answer.problem) == (1, True)


@pytest.mark.parametrize(("size", "said"), [(30, "older than the handover"), (40, "newest key")])
def test_a_retired_key_makes_no_ledger_any_more(size: int, said: str, tmp_path: Path) -> None:
    changed = _handed_over()
    stolen = MemoryLedger(changed.old).grow(size)
    out = HandedOver(stolen, changed.old, changed.new, changed.notes[1:]).export(tmp_path / "out")
    answer = check("ledger", out, "--key", changed.new.key.encode())
    assert (answer.code, said in answer.problem) == (1, True), answer


def test_a_handover_is_never_lost(tmp_path: Path) -> None:
    changed = _handed_over()
    told = checkpoint.parse(changed.notes[1])
    digest = recovery.note_digest(changed.notes[1])
    forged = MemoryLedger(changed.old).grow(38)
    lost = {"size": told.size, "root": told.root.hex(), "note": digest}
    facts = {"lost": lost, "continues": {"size": 38, "root": ""}}
    forged.append(encoded(38, act=Act.LEDGER_RECOVERED, facts=facts))
    rekeyed = _rekeyed(changed.new.key.encode(), changed.old)
    forged.append(encoded(39, act=Act.LEDGER_REKEYED, facts=rekeyed))
    forged.signer = changed.new  # whatever went on from there
    out = HandedOver(forged.grow(60), changed.old, changed.new, changed.notes[1:])
    answer = check("ledger", out.export(tmp_path / "out"), "--key", changed.new.key.encode())
    assert (answer.code, "is never lost" in answer.problem) == (1, True), answer


def test_a_ledger_of_an_ecdsa_key_verifies(tmp_path: Path) -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    der = private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    key_id = hashlib.sha256(der).digest()[:4]
    vkey = f"{NAME}+{key_id.hex()}+{base64.b64encode(bytes([2]) + der).decode()}"
    ledger = MemoryLedger().grow(3)
    ledger.export(tmp_path / "out")
    text = ledger.note.split("\n\n")[0] + "\n"
    made = base64.b64encode(key_id + private.sign(text.encode(), ec.ECDSA(SHA256()))).decode()
    (tmp_path / "out" / "checkpoint").write_text(f"{text}\n\N{EM DASH} {NAME} {made}\n", "utf-8")
    (tmp_path / "out" / "keys" / "ledger.vkeys").write_text(vkey + "\n", "utf-8")
    answer = check("ledger", tmp_path / "out", "--key", vkey)
    assert answer.code == 0, answer.problem
    (tmp_path / "out" / "checkpoint").write_text(
        f"{text}\n\N{EM DASH} {NAME} {made[:-8]}AAAA{made[-4:]}\n", "utf-8"
    )
    assert _code(check("ledger", tmp_path / "out", "--key", vkey)) == 1


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(drawn=st.data())
def test_no_changed_byte_passes(drawn: st.DataObject, whole: Path, ledger: MemoryLedger) -> None:
    """Property: of the files an export has, none can be changed and the whole still verify."""
    names = sorted(p.relative_to(whole).as_posix() for p in whole.rglob("*") if p.is_file())
    path = whole / drawn.draw(st.sampled_from(names))
    before = path.read_bytes()
    data = bytearray(before)
    at = drawn.draw(st.integers(0, len(data) - 1))
    data[at] ^= drawn.draw(st.integers(1, 255))
    try:
        path.write_bytes(data)
        answer = check("ledger", whole, "--key", ledger.vkey)
    finally:
        path.write_bytes(before)
    assert answer.code in (1, 2), (path, at)
    assert answer.code == 1 or path.name == "ledger.vkeys"
