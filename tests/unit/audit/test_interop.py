"""Another program that reads tiled logs: transparency-dev's ``fsck`` accepts what we export."""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from mlflow_governance.audit import tiles
from tests.unit.audit.builders import MemoryLedger, verifier

FSCK = shutil.which("tlog-fsck")

pytestmark = pytest.mark.skipif(
    FSCK is None, reason="tlog-fsck (transparency-dev/tessera) is not there: make tools"
)


def _accepts(url: str, vkey: str, folder: Path) -> bool:
    """Whether fsck says so; its exit code is 0 either way."""
    (folder / "log.vkey").write_text(vkey, "utf-8")
    assert FSCK is not None
    # With one worker it waits for ever once that worker has found something.
    command = [FSCK, f"-storage_url={url}", f"-public_key={folder / 'log.vkey'}", "-ui=false"]
    command.append("-N=8")
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    told = done.stderr + done.stdout
    assert ("Successfully fsck'd" in told) != ("fsck failed" in told), told
    return "Successfully fsck'd" in told


@pytest.mark.parametrize("size", [1, 255, 256, 257, 700, 65_537])
def test_fsck_accepts_an_export(size: int, tmp_path: Path) -> None:
    ledger = MemoryLedger().grow(min(size, 700))
    if size > 700:  # with short entries: it is the tree above them that is asked for here
        ledger.append(*(b'{"index":%d,"reason":null}' % i for i in range(700, size)))
    ledger.export(tmp_path / "out", ledger.kept())
    assert _accepts(f"file://{tmp_path}/out", ledger.vkey, tmp_path)


def test_fsck_accepts_an_export_that_was_added_to(tmp_path: Path) -> None:
    ledger = MemoryLedger()
    for size in (10, 300, 515):
        ledger.grow(size).export(tmp_path / "out")
        assert _accepts(f"file://{tmp_path}/out", ledger.vkey, tmp_path)


def test_fsck_reads_it_from_a_plain_web_server(tmp_path: Path) -> None:
    ledger = MemoryLedger().grow(300)
    ledger.export(tmp_path / "out")
    with _served(tmp_path / "out") as url:
        assert _accepts(url, ledger.vkey, tmp_path)


@pytest.mark.parametrize("what", ["entry", "tile/0/000", "tile/1/000.p/1", "checkpoint"])
def test_fsck_refuses_what_was_tampered_with(what: str, tmp_path: Path) -> None:
    ledger = MemoryLedger().grow(300)
    out = tmp_path / "out"
    ledger.export(out)
    path = out / (tiles.bundle_path(0) if what == "entry" else what)
    data = path.read_bytes()
    if what == "entry":
        entries = verifier().split_bundle(data, "")
        entries[7] = entries[7].replace(b"Staging", b"Revoked")
        data = tiles.bundle(entries)
    else:
        data = data[:30] + bytes([data[30] ^ 1]) + data[31:]
    path.write_bytes(data)
    assert not _accepts(f"file://{out}", ledger.vkey, tmp_path)


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def _served(folder: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
