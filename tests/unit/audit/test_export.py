"""The ledger as files: written once, added to, gone on with, and refused where it does not fit."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from mlflow_governance.audit import folder as folders
from mlflow_governance.audit.export import KeptCheckpoint, export_ledger
from mlflow_governance.audit.folder import ExportFolder
from mlflow_governance.core.event import Act
from mlflow_governance.errors import Conflict, InvalidRequest, LedgerError, NotFound
from mlflow_governance.ledger import checkpoint
from mlflow_governance.ledger.handover import KeyHistory
from mlflow_governance.ledger.merkle import leaf_hash
from tests.unit.audit.builders import MemoryLedger, check, verifier
from tests.unit.ledger.builders import AT, encoded, signer


def _files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize("size", [1, 2, 255, 256, 257, 513])
def test_an_export_of_any_size_verifies(size: int, tmp_path: Path) -> None:
    ledger = MemoryLedger().grow(size)
    done = ledger.export(tmp_path / "out", ledger.kept())
    assert (done.size, done.added, done.checkpoints) == (size, size, 1)
    answer = check("ledger", tmp_path / "out", "--key", ledger.vkey)
    assert (answer.code, answer.report.get("root")) == (0, done.root), answer.problem


def test_a_second_export_only_adds(tmp_path: Path) -> None:
    ledger, out = MemoryLedger().grow(300), tmp_path / "out"
    ledger.export(out, ledger.kept())
    first = _files(out)
    ledger.grow(600).asked = 0
    assert ledger.export(out, ledger.kept()).added == 300
    second = _files(out)

    assert ledger.asked == 600 - 256, "whole tiles of before are not read again"
    gone = {name for name in first if name not in second}
    assert gone == {"tile/0/001.p/44", "tile/entries/001.p/44"}, "full now"
    assert {n for n in first if n in second and first[n] != second[n]} == {"checkpoint"}
    assert check("ledger", out, "--key", ledger.vkey).code == 0


def test_both_ways_lead_to_the_same_files(tmp_path: Path) -> None:
    ledger = MemoryLedger()
    for size in (1, 250, 256, 260, 513, 700):
        ledger.grow(size).export(tmp_path / "steps")
        assert check("ledger", tmp_path / "steps", "--key", ledger.vkey).code == 0
    ledger.export(tmp_path / "once")
    steps, once = _files(tmp_path / "steps"), _files(tmp_path / "once")
    assert {name: steps[name] for name in once} == once
    assert all(".p/" in name for name in steps.keys() - once.keys()), "partial tiles may stay"


def test_nothing_new_adds_nothing(tmp_path: Path) -> None:
    ledger = MemoryLedger().grow(256)
    ledger.export(tmp_path / "out")
    before = _files(tmp_path / "out")
    assert ledger.export(tmp_path / "out").added == 0
    assert _files(tmp_path / "out") == before
    assert not list(tmp_path.glob("*.unfinished"))


@pytest.mark.parametrize("times", [1, 300, 511])
def test_an_interrupted_export_goes_on(times: int, tmp_path: Path) -> None:
    ledger, out = MemoryLedger().grow(700), tmp_path / "out"

    class Killed(BaseException):
        pass

    class Dying(MemoryLedger):
        def stored(self, start, end):  # type: ignore[no-untyped-def]
            for number, row in enumerate(ledger.stored(start, end)):
                if number == times:
                    raise Killed
                yield row

    with pytest.raises(Killed):
        export_ledger(
            Dying(ledger.signer, note=ledger.note), out, KeyHistory((ledger.signer.key,)), []
        )
    assert not out.exists(), "half an export never has the name of a whole one"
    ledger.asked = 0
    ledger.export(out)
    assert ledger.asked == 700 - times // 256 * 256
    assert check("ledger", out, "--key", ledger.vkey).code == 0


def test_a_crash_while_publishing_is_mended_by_the_next_export(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger, out = MemoryLedger().grow(300), tmp_path / "out"
    ledger.export(out)
    ledger.grow(900)
    moved: list[Path] = []
    really = Path.replace

    def dying(self: Path, target: Path) -> Path:
        if len(moved) == 3:
            raise KeyboardInterrupt
        moved.append(self)
        return really(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", dying)
        with pytest.raises(KeyboardInterrupt):
            ledger.export(out)
    ledger.grow(901).export(out)
    assert check("ledger", out, "--key", ledger.vkey).code == 0


def test_another_ledger_is_refused_and_nothing_is_touched(tmp_path: Path) -> None:
    ours, out = MemoryLedger().grow(300), tmp_path / "out"
    ours.export(out)
    before = _files(out)
    forked = MemoryLedger(ours.signer)
    forked.append(*(encoded(index, person="eve") for index in range(600)))
    with pytest.raises(LedgerError, match="signed at 300 entries"):
        forked.export(out)
    with pytest.raises(InvalidRequest, match="no export of this ledger"):
        MemoryLedger(signer()).grow(600).export(out)
    assert _files(out) == before
    assert not list(tmp_path.glob("*.unfinished"))


def test_a_ledger_that_was_rolled_back_is_refused(tmp_path: Path) -> None:
    ledger, out = MemoryLedger().grow(600), tmp_path / "out"
    ledger.export(out)
    older = MemoryLedger(ledger.signer).grow(500)
    with pytest.raises(LedgerError, match="rolled back: it ends at 500"):
        older.export(out)
    with pytest.raises(LedgerError, match="rolled back: it ends at 500"):
        older.export(tmp_path / "new", ledger.kept())


def test_a_folder_whose_checkpoint_was_rolled_back_is_refused(tmp_path: Path) -> None:
    ledger, out = MemoryLedger().grow(200), tmp_path / "out"
    old = ledger.note
    ledger.grow(600).export(out)
    (out / "checkpoint").write_text(old, "utf-8")
    with pytest.raises(LedgerError, match="holds more"):
        MemoryLedger(ledger.signer).grow(250).export(out)


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine", "utf-8")
    with pytest.raises(InvalidRequest, match="no export of a ledger"):
        MemoryLedger().grow(3).export(tmp_path)
    assert _files(tmp_path) == {"notes.txt": b"mine"}


def test_an_empty_folder_is_as_good_as_none(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    MemoryLedger().grow(3).export(tmp_path / "out")
    assert (tmp_path / "out" / "checkpoint").is_file()


def test_a_ledger_nobody_used_has_nothing_to_export(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="nothing is recorded"):
        MemoryLedger().export(tmp_path / "out")


def test_two_exports_at_once_are_refused(tmp_path: Path) -> None:
    ledger = MemoryLedger().grow(3)
    with ExportFolder(tmp_path / "out"), pytest.raises(Conflict, match="another export"):
        ledger.export(tmp_path / "out")
    ledger.export(tmp_path / "out")


def _edit(ledger: MemoryLedger) -> None:
    index, data, leaf = ledger.rows[5]
    ledger.rows[5] = (index, data.replace(b"Staging", b"Revoked"), leaf)


def _edit_with_its_hash(ledger: MemoryLedger) -> None:
    data = ledger.rows[5][1].replace(b"Staging", b"Revoked")
    ledger.rows[5] = (5, data, leaf_hash(data))


def _drop(ledger: MemoryLedger) -> None:
    del ledger.rows[5]


def _cut(ledger: MemoryLedger) -> None:
    del ledger.rows[-1]


def _swap(ledger: MemoryLedger) -> None:
    ledger.rows[5], ledger.rows[6] = (5, *ledger.rows[6][1:]), (6, *ledger.rows[5][1:])


@pytest.mark.parametrize("change", [_edit, _edit_with_its_hash, _drop, _cut, _swap])
def test_a_ledger_that_does_not_verify_never_leaves(change: object, tmp_path: Path) -> None:
    ledger = MemoryLedger().grow(20)
    change(ledger)  # type: ignore[operator]
    with pytest.raises(LedgerError):
        ledger.export(tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_kept_checkpoint_of_a_fork_is_found(tmp_path: Path) -> None:
    ledger = MemoryLedger().grow(20)
    other = MemoryLedger(ledger.signer)
    other.append(*(encoded(index, person="eve") for index in range(12)))
    with pytest.raises(LedgerError, match="signed at 12 entries"):
        ledger.export(tmp_path / "out", other.kept())


def test_a_checkpoint_found_later_is_compared_with_the_files_of_before(tmp_path: Path) -> None:
    ledger, out = MemoryLedger().grow(290), tmp_path / "out"
    early = ledger.kept()
    notes = [MemoryLedger(ledger.signer).grow(size).kept() for size in (40, 256)]
    ledger.grow(800).export(out)
    assert ledger.grow(801).export(out, early, *notes).checkpoints == 3
    other = MemoryLedger(ledger.signer)
    other.append(*(encoded(index, person="eve") for index in range(40)))
    with pytest.raises(LedgerError, match="signed at 40 entries"):
        ledger.grow(802).export(out, other.kept())


def test_a_stamp_stands_beside_its_checkpoint(tmp_path: Path) -> None:
    ledger = MemoryLedger().grow(2)
    ledger.export(tmp_path / "out", ledger.kept(), KeptCheckpoint(ledger.note, b"a stamp"))
    (stamp,) = (tmp_path / "out" / "checkpoints").glob("*.tsr")
    assert stamp.read_bytes() == b"a stamp"
    assert stamp.with_suffix(".checkpoint").read_text("utf-8") == ledger.note
    assert stamp.name.startswith("2-")


def test_an_entry_too_long_for_a_tile_is_refused(tmp_path: Path) -> None:
    ledger = MemoryLedger()
    ledger.append(encoded(0, facts={"long": "x" * 66_000}))
    with pytest.raises(LedgerError, match="a tile tells 65535"):
        ledger.export(tmp_path / "out")


YEARS_LATER = AT + timedelta(days=3000)


def test_an_entry_whose_bytes_were_deleted_keeps_its_hash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verifier(), "now", lambda: YEARS_LATER)
    ledger = MemoryLedger().grow(3)
    facts = {"entries": "1", "count": 1, "years": 7, "before": "2027-01-01T00:00:00.000000Z"}
    ledger.append(encoded(3, act=Act.LEDGER_EXPIRED, at=YEARS_LATER, facts=facts))
    ledger.rows[1] = (1, b"", ledger.rows[1][2])
    ledger.export(tmp_path / "out")
    answer = check("ledger", tmp_path / "out", "--key", ledger.vkey)
    assert (answer.code, answer.report.get("expired")) == (0, 1), answer.problem


def test_an_entry_that_nothing_says_was_deleted_is_not_exported_as_if(tmp_path: Path) -> None:
    class Noticing(MemoryLedger):
        def first_untold(self, gone, key, size):  # type: ignore[no-untyped-def]
            assert (gone, size) == ([range(1, 2), range(300, 302)], 310)
            return 300

    ledger = Noticing().grow(310)
    for index in (1, 300, 301):
        ledger.rows[index] = (index, b"", ledger.rows[index][2])
    with pytest.raises(LedgerError, match="entry 300 is missing: its bytes were deleted"):
        ledger.export(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_keeps_the_entries_it_has_when_the_registry_lets_them_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verifier(), "now", lambda: YEARS_LATER)
    ledger, out = MemoryLedger().grow(300), tmp_path / "out"
    ledger.export(out)
    facts = {"entries": "5,290", "count": 2, "years": 7, "before": "2027-01-01T00:00:00.000000Z"}
    kept = [ledger.rows[5][1], ledger.rows[290][1]]
    for index in (5, 290):
        ledger.rows[index] = (index, b"", ledger.rows[index][2])
    ledger.append(encoded(300, act=Act.LEDGER_EXPIRED, at=YEARS_LATER, facts=facts))
    for more in (0, 219):  # the bundle is partial still, and then it is full
        for _ in range(more):
            ledger.append(encoded(len(ledger.rows), at=YEARS_LATER))
        ledger.export(out)
        answer = check("ledger", out, "--key", ledger.vkey)
        assert (answer.code, answer.report.get("expired")) == (0, 0), answer.problem
    files = b"".join(p.read_bytes() for p in (out / "tile/entries").rglob("*") if p.is_file())
    assert all(files.count(entry) == 1 for entry in kept)


def test_a_damaged_export_is_not_added_to(tmp_path: Path) -> None:
    ledger, out = MemoryLedger().grow(400), tmp_path / "out"
    ledger.export(out)
    (out / "tile" / "0" / "000").write_bytes(bytes(8192))
    with pytest.raises(LedgerError):
        ledger.grow(500).export(out)
    shutil.rmtree(out / "tile")
    ledger.export(out)  # nothing whole is left, so everything is written anew
    assert check("ledger", out, "--key", ledger.vkey).code == 0


def test_the_root_of_no_rows_is_that_of_the_empty_tree() -> None:
    assert folders.root_of([[]]) == checkpoint.parse(_empty()).root


def _empty() -> str:
    from mlflow_governance.ledger.merkle import EMPTY_ROOT

    return checkpoint.make(0, EMPTY_ROOT, signer())
