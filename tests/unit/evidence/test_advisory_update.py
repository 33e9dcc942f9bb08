"""New advisories are taken in completely or not at all."""

from __future__ import annotations

import gzip
import io
import json
import os
import signal
import stat
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from mlflow_governance.errors import (
    ConfigurationError,
    Conflict,
    InvalidRequest,
    NotFound,
    VerificationError,
)
from mlflow_governance.evidence import advisories, advisory_archive, exploited, osv
from mlflow_governance.evidence.advisory_index import FILE_NAME
from mlflow_governance.evidence.advisory_update import Change, Offer, present, update
from mlflow_governance.evidence.vulnerability import VulnerabilityVerifier
from tests.unit.evidence.bom_builders import advisory, bom, bom_case, library
from tests.unit.evidence.builders import NOW

Documents = dict[str, Any]


def documents(count: int = 1, *, day: int = 1) -> Documents:
    modified = f"2026-01-{day:02}T00:00:00Z"
    return {
        f"PYSEC-2026-{i}.json": advisory(
            "leftpad" if i == 1 else f"p{i}", id=f"PYSEC-2026-{i}", aliases=[], modified=modified
        )
        for i in range(1, count + 1)
    }


def zipped(path: Path, found: Documents) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, document in found.items():
            archive.writestr(name, _bytes(document))
    return path


def tarred(path: Path, found: Documents, mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, document in found.items():
            info = tarfile.TarInfo(name)
            info.size = len(_bytes(document))
            archive.addfile(info, io.BytesIO(_bytes(document)))
    return path


def foldered(path: Path, found: Documents) -> Path:
    for name, document in found.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(_bytes(document))
    return path


def _bytes(document: Any) -> bytes:
    return document if isinstance(document, bytes) else json.dumps(document).encode()


PACKERS: dict[str, Callable[[Path, Documents], Path]] = {
    "all.zip": zipped,
    "all.tar.gz": tarred,
    "all.tar": lambda path, found: tarred(path, found, "w"),
    "folder": foldered,
}


def take(home: Path, offered: Path | None = None, **more: Any) -> dict[str, Change]:
    files = {name: more.pop(name) for name in ("kev", "epss") if name in more}
    return update(home, Offer(offered, **files), more.pop("now", NOW), **more)


def kev(path: Path, *names: str, **more: Any) -> Path:
    listed = [{"cveID": name, "knownRansomwareCampaignUse": "Unknown"} for name in names]
    document = {
        "title": "CISA Catalog of Known Exploited Vulnerabilities",
        "catalogVersion": "2026.11.20",
        "dateReleased": "2026-11-20T15:00:05.2841Z",
        "count": len(listed),
        "vulnerabilities": listed,
    }
    path.write_text(json.dumps({**document, **more}))
    return path


def epss(path: Path, *rows: str, comment: str = "#model_version:v2025.03.14,score_date:") -> Path:
    day = comment + "2026-11-20T12:55:00Z" if comment.endswith(":") else comment
    text = "\n".join([day, "cve,epss,percentile", *rows]) + "\n"
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def found(home: Path) -> Any:
    case = bom_case(bom(library("leftpad")))
    return VulnerabilityVerifier(home).verify(case)["vulnerabilities"]


@pytest.mark.parametrize("name", PACKERS)
def test_every_kind_of_archive_is_taken_in(tmp_path: Path, name: str) -> None:
    offered = PACKERS[name](tmp_path / name, {**documents(3), "README.txt": b"not read"})
    home = tmp_path / "advisories"

    change = take(home, offered)["advisories"]

    assert (change.before.count, change.after.count) == (0, 3)
    assert change.after.newest == datetime(2026, 1, 1, tzinfo=UTC)
    assert [f["id"] for f in found(home)] == ["PYSEC-2026-1"]
    assert sorted(p.name for p in home.iterdir()) == [".lock", FILE_NAME]
    assert stat.S_IMODE(home.stat().st_mode) == 0o700


def test_withdrawn_advisories_and_other_ecosystems_are_left_out(tmp_path: Path) -> None:
    npm = {"package": {"ecosystem": "npm", "name": "leftpad"}}
    more = {
        "a.json": advisory(withdrawn="2026-01-01T00:00:00Z", modified="2026-02-01T00:00:00Z"),
        "b.json": advisory(affected=[npm]),
    }
    change = take(tmp_path / "home", zipped(tmp_path / "a.zip", {**documents(), **more}))

    assert change["advisories"].after.count == 1
    assert change["advisories"].after.newest == datetime(2026, 2, 1, tzinfo=UTC)


def test_a_reader_sees_the_new_index_and_keeps_the_one_it_has(tmp_path: Path) -> None:
    home = tmp_path / "home"
    take(home, zipped(tmp_path / "a.zip", documents(1)))
    before = advisories.load(home)
    take(home, zipped(tmp_path / "b.zip", documents(2, day=2)))

    assert (before.count, advisories.load(home).count) == (1, 2)
    assert [a.id for a in before.matching("p2", "1.0")] == []
    assert [a.id for a in advisories.load(home).matching("p2", "1.0")] == ["PYSEC-2026-2"]


def test_own_advisories_beside_the_index_count_as_well(tmp_path: Path) -> None:
    home = tmp_path / "home"
    take(home, zipped(tmp_path / "a.zip", documents(1)))
    own = advisory(id="ACME-1", aliases=[], modified="2026-05-01T00:00:00Z")
    (home / "acme.json").write_text(json.dumps(own))

    assert [f["id"] for f in found(home)] == ["ACME-1", "PYSEC-2026-1"]
    assert advisories.load(home).newest == datetime(2026, 5, 1, tzinfo=UTC)


def test_exploited_and_likely_vulnerabilities_are_marked_by_any_of_their_names(
    tmp_path: Path,
) -> None:
    home = tmp_path / "home"
    known = {"a.json": advisory(aliases=["CVE-2026-0001", "CVE-2026-0002"])}
    scores = ("CVE-2026-0001,0.00043,0.1", "CVE-2026-0002,0.97,0.99")
    take(
        home,
        zipped(tmp_path / "a.zip", known),
        kev=kev(tmp_path / "k.json", "CVE-2026-0002", "CVE-2026-0002"),
        epss=epss(tmp_path / "e.csv.gz", *scores),
    )
    (marked,) = found(home)

    assert (marked["kev"], marked["epss"]) == (True, 0.97)


def test_what_is_not_offered_stays(tmp_path: Path) -> None:
    home = tmp_path / "home"
    take(home, zipped(tmp_path / "a.zip", documents(2)), kev=kev(tmp_path / "k", "CVE-2026-1234"))
    change = take(home, epss=epss(tmp_path / "e.csv", "CVE-2026-1234,0.5,0.9"))

    assert {name: c.after.count for name, c in change.items()} == {
        "advisories": 2, "kev": 1, "epss": 1,
    }  # fmt: skip
    assert change["advisories"].before == change["advisories"].after
    assert advisories.load(home).is_exploited(["x", "CVE-2026-1234"])
    assert advisories.load(home).likelihood(["CVE-2026-1234"]) == 0.5
    assert len(found(home)) == 1


@pytest.mark.parametrize(
    ("new", "why"),
    [
        (documents(4, day=1), "is older"),
        (documents(1, day=3), "less than half"),
    ],
)
def test_an_older_or_far_smaller_archive_is_refused_unless_forced(
    tmp_path: Path, new: Documents, why: str
) -> None:
    home, offered = tmp_path / "home", zipped(tmp_path / "b.zip", new)
    take(home, zipped(tmp_path / "a.zip", documents(4, day=2)))

    with pytest.raises(Conflict, match=why) as refused:
        take(home, offered)
    assert "--force" in refused.value.advice
    assert present(home)["advisories"].count == 4
    take(home, offered, force=True)
    assert present(home)["advisories"].count == len(new)


def test_the_same_archive_again_is_no_news_and_no_error(tmp_path: Path) -> None:
    offered = zipped(tmp_path / "a.zip", documents(2))
    take(tmp_path / "home", offered)
    change = take(tmp_path / "home", offered)["advisories"]

    assert change.before == change.after


def test_an_older_catalogue_or_older_scores_are_refused(tmp_path: Path) -> None:
    home = tmp_path / "home"
    take(
        home,
        kev=kev(tmp_path / "k", "CVE-2026-1234"),
        epss=epss(tmp_path / "e", "CVE-2026-1234,1,1"),
    )
    old = "#score_date:2020-01-01T00:00:00+0000"

    with pytest.raises(Conflict, match="kev is older"):
        take(home, kev=kev(tmp_path / "k", "CVE-2026-1234", dateReleased="2020-01-01T00:00:00Z"))
    with pytest.raises(Conflict, match="epss is older"):
        take(home, epss=epss(tmp_path / "e", "CVE-2026-1234,1,1", comment=old))


def _link(path: Path) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        info = tarfile.TarInfo("a.json")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(info)
    return path


def _zip_link(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        info = zipfile.ZipInfo("a.json")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    return path


def _folder_link(path: Path) -> Path:
    path.mkdir()
    (path / "a.json").symlink_to("/etc/passwd")
    return path


def _long_header(path: Path) -> Path:
    with tarfile.open(path, "w:gz", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo("a.json")
        info.pax_headers = {"comment": "x" * (osv.MAX_ADVISORY_BYTES + 4096)}
        archive.addfile(info)
    return path


def _written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def _later(days: float) -> Documents:
    at = (NOW + timedelta(days=days)).isoformat()
    return {"a.json": advisory(modified=at)}


BAD: dict[str, tuple[Callable[[Path], Path], str]] = {
    "escape.zip": (lambda p: zipped(p, {"../../a.json": advisory()}), "leads elsewhere"),
    "absolute.zip": (lambda p: zipped(p, {"/a.json": advisory()}), "leads elsewhere"),
    "backslash.zip": (lambda p: zipped(p, {"x\\..\\a.json": advisory()}), "leads elsewhere"),
    "escape.tar.gz": (lambda p: tarred(p, {"x/../../a.json": advisory()}), "leads elsewhere"),
    "link.tar.gz": (_link, "link or a device"),
    "link.zip": (_zip_link, "is a link"),
    "folder": (_folder_link, "is a link"),
    "header.tar.gz": (_long_header, "at once"),
    "malformed.zip": (lambda p: zipped(p, {"a.json": b"{"}), "a.json is malformed"),
    "undated.zip": (lambda p: zipped(p, {"a.json": advisory(modified=None)}), "when it was"),
    "future.zip": (lambda p: zipped(p, _later(2)), "in the future"),
    "empty.zip": (lambda p: zipped(p, {}), "no advisory about a PyPI package"),
    "npm.zip": (lambda p: zipped(p, {"a.json": advisory(affected=[])}), "no advisory about"),
    "junk": (lambda p: _written(p, b"junk"), "cannot be read"),
    "short.tar.gz": (lambda p: _written(p, gzip.compress(b"junk" * 9999)[:-9]), "cannot be read"),
    "truncated.zip": (
        lambda p: _written(p, zipped(p, documents(50)).read_bytes()[:-40]), "cannot be read",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_bad_archive_changes_nothing(tmp_path: Path, name: str) -> None:
    home, (make, why) = tmp_path / "home", BAD[name]
    take(home, zipped(tmp_path / "good.zip", documents(1)))
    before = (home / FILE_NAME).read_bytes()

    with pytest.raises(VerificationError, match=why):
        take(home, make(tmp_path / name), force=True)
    assert (home / FILE_NAME).read_bytes() == before
    assert sorted(p.name for p in home.iterdir()) == [".lock", FILE_NAME]


@pytest.mark.parametrize("name", PACKERS)
def test_a_bomb_is_not_unpacked(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(osv, "MAX_ADVISORY_BYTES", 64 * 1024)
    bomb = {"a.json": b" " * 10_000_000}

    with pytest.raises(VerificationError, match=r"more than|at once"):
        take(tmp_path / "home", PACKERS[name](tmp_path / name, bomb))


@pytest.mark.parametrize("name", PACKERS)
@pytest.mark.parametrize("bound", ["MAX_TOTAL_BYTES", "MAX_ADVISORIES"])
def test_all_files_together_are_bounded(
    tmp_path: Path, name: str, bound: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module: Any = osv if bound == "MAX_ADVISORIES" else advisory_archive
    monkeypatch.setattr(module, bound, {"MAX_TOTAL_BYTES": 1000, "MAX_ADVISORIES": 5}[bound])

    with pytest.raises(VerificationError, match="more than"):
        take(tmp_path / "home", PACKERS[name](tmp_path / name, documents(20)))


def test_a_huge_archive_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(advisory_archive, "MAX_ARCHIVE_BYTES", 10)

    with pytest.raises(VerificationError, match="more than 10 bytes"):
        take(tmp_path / "home", zipped(tmp_path / "a.zip", documents(1)))


def test_what_is_not_there_or_not_named_is_said(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no archive"):
        take(tmp_path / "home", tmp_path / "nothing.zip")
    with pytest.raises(NotFound, match="no file"):
        take(tmp_path / "home", kev=tmp_path / "nothing.json")
    with pytest.raises(InvalidRequest, match="nothing to take in"):
        take(tmp_path / "home")


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "{}", '{"vulnerabilities": []}', '{"vulnerabilities": [{}]}',
        '{"vulnerabilities": [{"cveID": 1}], "dateReleased": "2026-01-01T00:00:00Z"}',
        '{"vulnerabilities": [{"cveID": "x"}], "dateReleased": "2026-01-01T00:00:00Z"}',
        '{"vulnerabilities": [{"cveID": "CVE-2026-1234"}], "dateReleased": "yesterday"}',
        '{"vulnerabilities": {"cveID": "CVE-2026-1234"}, "dateReleased": "2026-01-01T00:00:00Z"}',
        "\x1f\x8bnot gzip", "[" * 100_000,
    ],
)  # fmt: skip
def test_a_malformed_catalogue_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "kev.json").write_bytes(text.encode("latin-1"))

    with pytest.raises(VerificationError):
        exploited.read_kev(tmp_path / "kev.json")


@pytest.mark.parametrize(
    "rows",
    [
        (), ("CVE-2026-1234,nan,1",), ("CVE-2026-1234,1.5,1",), ("CVE-2026-1234,-0.1,1",),
        ("CVE-2026-1234,,1",), ("CVE-2026-1234",), ("cve,0.5,1",), (",0.5,1",),
        ('"CVE-2026-1234,0.5,1',), ("CVE-2026-1234,0.5,1", "\x00,0.1,1"),
    ],
)  # fmt: skip
def test_malformed_scores_are_refused(tmp_path: Path, rows: tuple[str, ...]) -> None:
    with pytest.raises(VerificationError):
        exploited.read_epss(epss(tmp_path / "epss.csv.gz", *rows))


@pytest.mark.parametrize(
    "data",
    [
        b"", b"cve,epss,percentile\nCVE-2026-1234,0.5,1\n", b"#score_date:never\ncve,epss\n",
        b"\xff\xfe", b"#score_date:2026-01-01\nid,score\nCVE-2026-1234,1\n",
        gzip.compress(b"#score_date:2026-01-01\n" + b"x" * 10_000, mtime=0)[:-20],
    ],
)  # fmt: skip
def test_a_file_that_holds_no_scores_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "epss").write_bytes(data)

    with pytest.raises(VerificationError):
        exploited.read_epss(tmp_path / "epss")


def test_a_bomb_of_scores_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exploited, "MAX_EPSS_BYTES", 1000)

    with pytest.raises(VerificationError, match="more than 1000 bytes"):
        exploited.read_epss(epss(tmp_path / "epss.csv.gz", "x" * 1_000_000))


def test_an_index_that_was_damaged_is_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    home, offered = tmp_path / "home", zipped(tmp_path / "a.zip", documents(200))
    take(home, offered)
    whole = (home / FILE_NAME).read_bytes()
    for data in (b"", b"junk", whole[:5000], whole[:4096] + bytes(len(whole) - 4096)):
        (home / FILE_NAME).write_bytes(data)
        with pytest.raises(VerificationError, match="advisories update ARCHIVE"):
            found(home)
        with pytest.raises(VerificationError):
            take(home, offered)
    take(home, offered, force=True)
    assert len(found(home)) == 1


def test_a_folder_that_cannot_be_written_is_the_operators_to_mend(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file")

    with pytest.raises(ConfigurationError):
        take(tmp_path / "home", zipped(tmp_path / "a.zip", documents(1)))


def test_two_updates_at_once_are_one_update(tmp_path: Path) -> None:
    home, offered = tmp_path / "home", zipped(tmp_path / "a.zip", documents(30))
    inside, go = threading.Event(), threading.Event()

    def wait(done: int) -> None:
        inside.set()
        go.wait(10)

    first = threading.Thread(target=take, args=(home, offered), kwargs={"progress": wait})
    first.start()
    inside.wait(10)
    try:
        with pytest.raises(Conflict, match="under way"):
            take(home, offered)
    finally:
        go.set()
        first.join()
    assert present(home)["advisories"].count == 30


_KILLED = """
import sys, time
from pathlib import Path
from mlflow_governance.core import moment
from mlflow_governance.evidence.advisory_update import Offer, update
def slowly(done):
    print(done, flush=True)
    time.sleep(0.002)
update(Path(sys.argv[1]), Offer(Path(sys.argv[2])), moment.now(), progress=slowly)
print("done", flush=True)
"""


@pytest.mark.parametrize("moment", ["1", "150", "300", "done"])
def test_a_killed_update_leaves_the_old_index_or_the_new_one(tmp_path: Path, moment: str) -> None:
    home = tmp_path / "home"
    take(home, zipped(tmp_path / "a.zip", documents(1)))
    new = zipped(tmp_path / "b.zip", documents(300, day=2))
    process = subprocess.Popen(
        [sys.executable, "-c", _KILLED, str(home), str(new)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip() == moment:
            break
    os.kill(process.pid, signal.SIGKILL)
    process.wait(10)
    process.stdout.close()

    count = advisories.load(home).count
    assert count == (300 if moment == "done" else 1) or moment == "300"
    assert len(found(home)) == 1
    take(home, new, force=True)  # and the next one clears what was left behind
    assert sorted(p.name for p in home.iterdir()) == [".lock", FILE_NAME]
    assert advisories.load(home).count == 300


def test_readers_never_meet_half_an_index(tmp_path: Path) -> None:
    home = tmp_path / "home"
    archives = [zipped(tmp_path / f"{n}.zip", documents(n)) for n in (40, 60)]
    take(home, archives[0])
    seen: set[tuple[int, int]] = set()
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            index = advisories.load(home)
            has = sum(bool(list(index.matching(f"p{i}", "1.0"))) for i in (2, 40, 41, 60))
            seen.add((index.count, has))

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    until = time.monotonic() + 1.0
    while time.monotonic() < until:
        for archive in reversed(archives):
            take(home, archive, force=True)
    stop.set()
    for reader in readers:
        reader.join()
    assert seen <= {(40, 2), (60, 4)}


def test_thousands_of_advisories_cost_a_reader_nothing(tmp_path: Path) -> None:
    home = tmp_path / "home"
    take(home, zipped(tmp_path / "a.zip", documents(5000)))
    begun = time.perf_counter()
    index = advisories.load(home)
    assert index.count == 5000
    assert sum(1 for i in range(200) for _ in index.matching(f"p{i}", "1.0")) == 198
    assert time.perf_counter() - begun < 10
