"""What a producer signs: reports are read strictly, and nothing is made up."""

from __future__ import annotations

import hashlib
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mlflow_governance.errors import InvalidRequest
from mlflow_governance.evidence import predicate
from mlflow_governance.submission import statements
from tests.unit.submission.builders import facts, write

GREEN = '<testsuites><testsuite><testcase classname="a" name="b"/></testsuite></testsuites>'


def result(tmp_path: Path, data: str | bytes) -> dict[str, object]:
    found = statements.test_result(write(tmp_path, "report", data))
    predicate.check(predicate.TEST_RESULT, found)
    return found


def test_a_junit_report_says_what_passed(tmp_path: Path) -> None:
    found = result(tmp_path, GREEN)

    assert (found["result"], found["passedTests"], found["failedTests"]) == ("PASSED", ["a.b"], [])
    assert found["configuration"] == [
        {"name": "report", "digest": {"sha256": hashlib.sha256(GREEN.encode()).hexdigest()}}
    ]


@pytest.mark.parametrize("bad", ["<failure/>", "<error>x</error>", "<skipped/><error/>"])
def test_one_failure_among_many_is_a_failure(tmp_path: Path, bad: str) -> None:
    found = result(
        tmp_path,
        f'<testsuite><testcase name="x"/><testcase name="y">{bad}</testcase></testsuite>',
    )

    assert (found["result"], found["failedTests"]) == ("FAILED", [".y"])


@pytest.mark.parametrize("count", ['failures="1"', 'errors="2"', 'errors="-1"'])
def test_what_only_the_suite_counted_is_a_failure(tmp_path: Path, count: str) -> None:
    found = result(tmp_path, f'<testsuite {count}><testcase name="x"/></testsuite>')

    assert found["result"] == "FAILED"


def test_a_suite_that_counts_nothing_wrong_passes(tmp_path: Path) -> None:
    text = '<testsuite failures="0" errors="0" tests="1"><testcase name="x"/></testsuite>'

    assert result(tmp_path, text)["result"] == "PASSED"


@pytest.mark.parametrize("body", ["", '<testcase name="x"><skipped/></testcase>', "<other/>"])
def test_a_report_that_ran_no_test_proves_nothing(tmp_path: Path, body: str) -> None:
    with pytest.raises(InvalidRequest, match="ran no test"):
        result(tmp_path, f"<testsuite>{body}</testsuite>")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize(
    "prologue",
    [
        '<!DOCTYPE a [<!ENTITY b "x">]>',
        '<!DOCTYPE a SYSTEM "file:///etc/passwd">',
        '<!DOCTYPE a [<!ENTITY % p SYSTEM "http://example.org/x"> %p;]>',
        "<!DOCTYPE testsuites>",
    ],
)
def test_a_document_type_is_refused_in_every_encoding(
    tmp_path: Path, prologue: str, encoding: str
) -> None:
    with pytest.raises(InvalidRequest, match="document type"):
        result(tmp_path, (prologue + GREEN).encode(encoding))


def test_words_that_only_look_like_a_document_type_are_read(tmp_path: Path) -> None:
    text = "<testsuite><testcase name='x'/><system-out><![CDATA[<!DOCTYPE]]></system-out>"

    assert result(tmp_path, text + "</testsuite>")["result"] == "PASSED"
    assert result(tmp_path, GREEN.encode("utf-16"))["result"] == "PASSED"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<",
        b"<a>",
        b"<a>\xff</a>",
        b'<?xml version="1.0" encoding="nonsense"?><a/>',
        b'<?xml version="1.0" encoding="utf-7"?><a/>',
        b"<a>&undefined;</a>",
        b"\0" * 100,
        b"PASSED",
        b"{",
        b"[]",
        b'{"result": "PASSED", "result": "PASSED"}',
        b'{"result": "passed"}',
        b'{"result": true}',
        b'{"result": ["PASSED"]}',
        b'{"outcome": "PASSED"}',
        b'{"result": "PASSED", "signature": "x"}',
        b'{"result": NaN}',
        b"[" * 100_000,
    ],
)
def test_what_is_no_report_is_refused(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(InvalidRequest):
        result(tmp_path, data)


def test_a_huge_report_is_refused_and_a_deep_one_ends(tmp_path: Path) -> None:
    huge = write(tmp_path, "huge", b"")
    with huge.open("wb") as file:
        file.truncate(200 * 1024 * 1024)
    with pytest.raises(InvalidRequest, match="more than"):
        statements.test_result(huge)

    started = time.monotonic()
    with pytest.raises(InvalidRequest):
        result(tmp_path, b"<a>" * 300_000)
    assert time.monotonic() - started < 10


def test_a_report_that_is_not_there_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(InvalidRequest, match="cannot be read"):
            statements.test_result(path)


def test_a_result_in_json_is_taken_as_it_is(tmp_path: Path) -> None:
    found = result(tmp_path, '{"result": "WARNED", "warnedTests": ["x"]}')

    assert (found["result"], found["warnedTests"]) == ("WARNED", ["x"])


def test_a_long_name_is_cut(tmp_path: Path) -> None:
    found = result(tmp_path, f'<testsuite><testcase name="{"x" * 5000}"/></testsuite>')

    (name,) = found["passedTests"]  # type: ignore[misc]
    assert len(name) == 1000


def test_provenance_says_which_run_made_the_model_from_what() -> None:
    body = statements.provenance(facts(), "churn")

    predicate.check(predicate.SLSA_PROVENANCE, body)
    dependencies = body["buildDefinition"]["resolvedDependencies"]
    assert {"gitCommit": "a" * 40} in [entry.get("digest") for entry in dependencies]
    assert body["runDetails"]["metadata"]["invocationId"] == "runs:/r1"
    assert body["runDetails"]["metadata"]["startedOn"].startswith("2023-11-14T22:13:20")
    assert body["runDetails"]["builder"]["id"].startswith("urn:mlflow-governance:host:")
    assert statements.provenance(facts(), "churn", "https://ci/1")["runDetails"]["builder"] == {
        "id": "https://ci/1"
    }


def test_provenance_of_a_model_without_a_run_makes_nothing_up() -> None:
    bare = facts(run_id="", started=None, finished=None, commit="", datasets=())

    body = statements.provenance(bare, "churn")

    assert body["runDetails"]["metadata"] == {}
    assert body["buildDefinition"]["resolvedDependencies"] == []


def test_a_data_file_is_named_by_its_sha256(tmp_path: Path) -> None:
    path = write(tmp_path, "train.csv", "a,b\n")

    found = statements.dataset_file(path)

    assert found.digest == "sha256:" + hashlib.sha256(b"a,b\n").hexdigest()
    predicate.check(predicate.DATASET, statements.datasets([found]))
    with pytest.raises(InvalidRequest, match="cannot be read"):
        statements.dataset_file(tmp_path / "none.csv")


@pytest.mark.parametrize("word", ["PROCEED", "ROLLBACK", "INCONCLUSIVE"])
def test_a_canary_says_when_it_was_found_and_over_which_window(word: str) -> None:
    at = datetime(2026, 11, 21, 12, tzinfo=UTC)

    body = statements.canary(word, at, hours=2)

    predicate.check(predicate.CANARY, body)
    assert body["window"] == {
        "from": "2026-11-21T10:00:00.000000Z",
        "to": "2026-11-21T12:00:00.000000Z",
    }
