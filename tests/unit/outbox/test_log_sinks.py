from __future__ import annotations

import gzip
import json
import multiprocessing
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from werkzeug.wrappers import Response

from mlflow_governance.errors import ConfigurationError
from mlflow_governance.outbox.log_options import LogOptions, read_options
from mlflow_governance.outbox.log_sinks import (
    MAX_CHUNK_BYTES,
    MAX_CHUNK_RECORDS,
    FileSink,
    HttpSink,
    Refused,
    chunks,
    sinks_of,
)
from tests.unit.outbox.builders import Received, Receiver, free_port


def sink(folder: Path, max_bytes: int = 1 << 20, keep: int = 3) -> FileSink:
    return FileSink(folder / "log" / "decisions.jsonl", max_bytes, keep)


def lines(folder: Path) -> list[bytes]:
    return (folder / "log" / "decisions.jsonl").read_bytes().splitlines()


def test_lines_are_appended_to_a_private_file(tmp_path: Path) -> None:
    made = sink(tmp_path)

    assert made.write([b'{"a":1}', b'{"a":2}']) == 0
    made.write([b'{"a":3}'])

    assert lines(tmp_path) == [b'{"a":1}', b'{"a":2}', b'{"a":3}']
    assert (tmp_path / "log" / "decisions.jsonl").stat().st_mode & 0o777 == 0o600


def test_a_file_others_could_read_becomes_private(tmp_path: Path) -> None:
    path = tmp_path / "log" / "decisions.jsonl"
    path.parent.mkdir()
    path.touch(0o644)

    sink(tmp_path).write([b"{}"])

    assert path.stat().st_mode & 0o777 == 0o600


def test_a_full_file_is_moved_and_the_oldest_is_dropped(tmp_path: Path) -> None:
    made = sink(tmp_path, max_bytes=20, keep=2)

    for number in range(8):
        made.write([b'{"number":%d}' % number])

    folder = tmp_path / "log"
    kept = {p.name: p.read_bytes() for p in folder.iterdir() if not p.name.endswith(".lock")}
    assert kept == {
        "decisions.jsonl": b'{"number":7}\n',
        "decisions.jsonl.1": b'{"number":6}\n',
        "decisions.jsonl.2": b'{"number":5}\n',
    }


def test_a_line_somebody_was_killed_over_spoils_no_other(tmp_path: Path) -> None:
    made = sink(tmp_path)
    made.write([b"{}"])
    with (tmp_path / "log" / "decisions.jsonl").open("ab") as file:
        file.write(b'{"torn":')

    made.write([b'{"whole":1}'])

    assert lines(tmp_path) == [b"{}", b'{"torn":', b'{"whole":1}']


def test_a_full_disk_leaves_whole_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, write = sink(tmp_path), os.write
    made.write([b"{}"])
    written = []

    def half(descriptor: int, data: Any) -> int:
        if written:
            raise OSError(28, "No space left on device")
        written.append(write(descriptor, bytes(data)[:5]))
        return written[0]

    monkeypatch.setattr(os, "write", half)
    with pytest.raises(Refused, match="No space"):
        made.write([b'{"much":1}'])
    monkeypatch.undo()

    assert lines(tmp_path) == [b"{}"]
    made.write([b'{"again":1}'])
    assert lines(tmp_path) == [b"{}", b'{"again":1}']


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "elsewhere"
    target.write_text("mine")
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "decisions.jsonl").symlink_to(target)

    with pytest.raises(Refused):
        sink(tmp_path).write([b"{}"])

    assert target.read_text() == "mine"


def _write_many(folder: Path, name: str) -> None:
    made = sink(folder, max_bytes=20_000, keep=100)
    for number in range(100):
        made.write([json.dumps({"who": name, "number": number, "pad": "x" * 100}).encode()])


def test_several_processes_share_a_file_and_its_rotation(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [
        context.Process(target=_write_many, args=(tmp_path, name)) for name in ("a", "b", "c")
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)

    found = [
        json.loads(line)
        for path in (tmp_path / "log").iterdir()
        if not path.name.endswith(".lock")
        for line in path.read_bytes().splitlines()
    ]
    assert len(found) == 300
    assert {(one["who"], one["number"]) for one in found} == {
        (name, number) for name in "abc" for number in range(100)
    }


def test_chunks_are_bounded_in_bytes_and_number() -> None:
    small = [b"x"] * (2 * MAX_CHUNK_RECORDS + 1)
    assert [len(chunk) for chunk in chunks(small)] == [MAX_CHUNK_RECORDS, MAX_CHUNK_RECORDS, 1]
    large = [b"x" * (MAX_CHUNK_BYTES // 2)] * 3 + [b"y" * (2 * MAX_CHUNK_BYTES)] + [b"z"]
    assert [len(chunk) for chunk in chunks(large)] == [1, 1, 1, 1, 1]
    assert list(chunks([])) == []


def uploaded(receiver: Receiver) -> list[Any]:
    return [one for got in receiver.got for one in json.loads(gzip.decompress(got.body))]


def test_records_are_posted_as_opa_posts_them() -> None:
    with Receiver().listening() as receiver:
        assert HttpSink(receiver.url, "s3cret").write([b'{"a":1}', b'{"a":2}']) == 0

    (got,) = receiver.got
    assert uploaded(receiver) == [{"a": 1}, {"a": 2}]
    assert got.headers["content-encoding"] == "gzip"
    assert got.headers["content-type"] == "application/json"
    assert got.headers["authorization"] == "Bearer s3cret"


def test_without_a_path_of_its_own_the_path_is_that_of_opa(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    paths: list[str] = []

    def app(environ: Any, start: Any) -> Any:
        paths.append(environ["PATH_INFO"])
        return Response(status=200)(environ, start)

    from tests.unit.outbox.builders import serving

    with serving(app) as url:
        HttpSink(url).write([b"{}"])
        HttpSink(url + "/").write([b"{}"])
        HttpSink(url + "/collect/here").write([b"{}"])
    assert paths == ["/logs", "/logs", "/collect/here"]


@pytest.mark.parametrize("status", [301, 401, 403, 404, 408, 429, 500, 503])
def test_what_is_not_taken_is_refused_and_kept(status: int) -> None:
    def answer(_: Received) -> Response:
        return Response(status=status, headers={"Retry-After": "7", "Location": "/elsewhere"})

    with Receiver(answer).listening() as receiver, pytest.raises(Refused) as refusal:
        HttpSink(receiver.url).write([b"{}"])

    assert len(receiver.got) == 1
    assert refusal.value.patience == 7
    assert str(status) in refusal.value.message


def test_a_record_the_endpoint_cannot_take_holds_up_no_other() -> None:
    def answer(got: Received) -> Response:
        return Response(status=413 if b"poison" in gzip.decompress(got.body) else 204)

    with Receiver(answer).listening() as receiver:
        left_out = HttpSink(receiver.url).write([b"1", b"2", b'"poison"', b"4", b"5", b"6", b"7"])

    assert left_out == 1
    taken = [one for got in receiver.got if b"poison" not in gzip.decompress(got.body)
             for one in json.loads(gzip.decompress(got.body))]  # fmt: skip
    assert sorted(taken) == [1, 2, 4, 5, 6, 7]


def test_a_closed_port_is_a_refusal() -> None:
    with pytest.raises(Refused):
        HttpSink(f"http://127.0.0.1:{free_port()}").write([b"{}"])


def test_the_settings_are_read_completely(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOG_TOKEN", "s3cret")
    options = read_options(
        tmp_path,
        {"file": "logs/d.jsonl", "url": "https://logs.example.org", "token_variable": "LOG_TOKEN",
         "mask": ["/input/evidence", {"hash": "/input/actor/id"}], "labels": {"site": 5},
         "downloads": 0.25, "max_mebibytes": 1, "keep": 2},
    )  # fmt: skip

    assert options.file == tmp_path / "logs/d.jsonl"
    assert options.labels == {"site": "5"}
    assert options.share == 0.25
    assert [sink.name for sink in sinks_of(options)] == ["decision-log/file", "decision-log/http"]


@pytest.mark.parametrize(
    "document",
    [
        [], {}, {"file": "x", "colour": "red"}, {"url": "ftp://x"}, {"url": "https://u:p@x"},
        {"url": "http://logs.example.org"}, {"url": "https://"}, {"file": "x", "mask": ["/labels"]},
        {"file": "x", "downloads": "some"}, {"file": "x", "downloads": 2},
        {"file": "x", "downloads": True}, {"file": "x", "keep": 0}, {"file": "x", "mask": 5},
        {"file": "x", "labels": []}, {"file": "x", "max_mebibytes": "1"},
    ],
)  # fmt: skip
def test_settings_that_cannot_be_meant_are_refused(tmp_path: Path, document: Any) -> None:
    from mlflow_governance import config

    (tmp_path / "config.yaml").write_text(json.dumps({"decision_log": document}))
    with pytest.raises(ConfigurationError):
        config.load(tmp_path)


def test_a_token_that_is_not_there_is_said_at_the_start() -> None:
    with pytest.raises(ConfigurationError, match="NOWHERE"):
        sinks_of(LogOptions(url="https://x.example", token_variable="NOWHERE"))


def test_plain_http_is_for_this_machine() -> None:
    for url in ("http://localhost:1", "http://127.0.0.1:1", "http://[::1]:1"):
        LogOptions(url=url)


def test_threads_write_whole_lines(tmp_path: Path) -> None:
    made = sink(tmp_path)
    threads = [
        threading.Thread(target=lambda: [made.write([b'{"x":1}', b'{"y":1}']) for _ in range(20)])
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len([json.loads(line) for line in lines(tmp_path)]) == 160
