"""The predicates a producer signs: provenance, test result, data sets, canary."""

from __future__ import annotations

import getpass
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from mlflow_governance.core import canonical, digest, moment
from mlflow_governance.errors import InvalidRequest, VerificationError
from mlflow_governance.evidence import predicate
from mlflow_governance.evidence.provenance import DATASET_URI
from mlflow_governance.submission.datasets import CONTEXT_TAG
from mlflow_governance.submission.facts import Dataset, Facts

BUILD_TYPE = "urn:mlflow-governance:mlflow-run:v1"
_MAX_RESULTS = 16 * 1024 * 1024
_MAX_NAME = 1000
_RESULTS = ("PASSED", "WARNED", "FAILED")


def provenance(facts: Facts, model_name: str, builder_id: str = "") -> dict[str, Any]:
    """SLSA provenance v1: which run, from which commit, with which parameters and data."""
    dependencies = [_dependency(found) for found in facts.datasets]
    if facts.commit:
        dependencies.append({"uri": _git(facts.repository), "digest": {"gitCommit": facts.commit}})
    metadata = {
        "invocationId": f"runs:/{facts.run_id}" if facts.run_id else "",
        "startedOn": _instant(facts.started),
        "finishedOn": _instant(facts.finished),
    }
    return {
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": {
                "model": model_name,
                "entryPoint": facts.entry_point,
                "parameters": dict(facts.parameters),
            },
            "internalParameters": {"flavors": list(facts.flavors)},
            "resolvedDependencies": dependencies,
        },
        "runDetails": {
            "builder": {"id": builder_id or f"urn:mlflow-governance:host:{_whoami()}"},
            "metadata": {key: value for key, value in metadata.items() if value},
        },
    }


def datasets(found: Sequence[Dataset]) -> dict[str, Any]:
    """The record of the data a model was trained on, and why it may be.

    Raises:
        InvalidRequest: MLflow recorded what no statement can say, such as a digest with blanks.
    """
    body = {"datasets": [entry.to_document() for entry in found]}
    try:
        predicate.check(predicate.DATASET, body)
    except VerificationError as error:
        raise InvalidRequest(f"the data sets of the run cannot be stated: {error}") from error
    return body


def _dependency(found: Dataset) -> dict[str, Any]:
    """A data set as a ResourceDescriptor.

    MLflow's digest is short and over a sample. A DigestSet is for cryptographic digests of the
    bytes (in-toto, digest_set.md), so it stands among the annotations.
    """
    algorithm, _, value = found.digest.partition(":")
    notes = {CONTEXT_TAG: found.context}
    entry: dict[str, Any] = {"name": found.name, "uri": DATASET_URI + found.digest}
    if algorithm == "sha256":
        entry["digest"] = {"sha256": value}
    else:
        notes["mlflow.digest"] = value
    if found.source:
        entry["downloadLocation"] = found.source
    stated = {key: text for key, text in notes.items() if text}
    return entry | ({"annotations": stated} if stated else {})


def _git(repository: str) -> str:
    """The repository as SLSA writes it (SPDX download location)."""
    if repository.startswith(("https://", "http://", "ssh://", "file://")):
        return f"git+{repository}"
    return repository or "git"


def dataset_file(path: Path) -> Dataset:
    """A data file by its SHA-256.

    Raises:
        InvalidRequest: it cannot be read.
    """
    import hashlib

    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InvalidRequest(f"the data file {path} cannot be read: {error.strerror}") from error
    return Dataset(path.name, f"sha256:{found}")


def test_result(path: Path) -> dict[str, Any]:
    """in-toto test result v0.1 from ``{"result": …}`` in JSON, or from a JUnit XML report.

    Raises:
        InvalidRequest: the file is neither, or is too large.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InvalidRequest(f"the test result {path} cannot be read: {error.strerror}") from error
    if len(data) > _MAX_RESULTS:
        raise InvalidRequest(f"the test result {path} has more than {_MAX_RESULTS} bytes")
    body = _junit(data) if b"<" in data.lstrip()[:4] else _json_result(data)
    source = {"name": path.name, "digest": {"sha256": digest.hex_of(digest.of_bytes(data))}}
    return {**body, "configuration": [source]}


def plain_result(result: str, at: datetime) -> dict[str, Any]:
    """A test result without a report, found at ``at``."""
    return {"result": result, "configuration": [], "at": moment.to_text(at)}


def canary(result: str, at: datetime, hours: float = 1.0) -> dict[str, Any]:
    """A canary result found at ``at`` over a window of some hours before it."""
    from datetime import timedelta

    return {
        "result": result,
        "at": moment.to_text(at),
        "window": {"from": moment.to_text(at - timedelta(hours=hours)), "to": moment.to_text(at)},
        "metrics": {},
    }


def _json_result(data: bytes) -> dict[str, Any]:
    document = canonical.decode_object(data)
    known = {"result", "passedTests", "warnedTests", "failedTests", "url"}
    if document.get("result") not in _RESULTS or set(document) - known:
        raise InvalidRequest(
            "the test result is not usable",
            advice=f'Write {{"result": …}} with {", ".join(_RESULTS)}, or JUnit XML.',
        )
    return document


class _Plain(ElementTree.TreeBuilder):
    # A report needs no document type; refusing it, in whatever encoding, refuses every kind of
    # entity trick.
    def doctype(self, *_: object) -> None:
        raise InvalidRequest("the JUnit report declares a document type, which is not read")


def _junit(data: bytes) -> dict[str, Any]:
    parser = ElementTree.XMLParser(target=_Plain())  # noqa: S314  (no document type: no entities)
    try:
        parser.feed(data)
        root = parser.close()
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise InvalidRequest(f"the JUnit report is not XML: {error}") from error
    passed, failed = [], []
    for case in root.iter("testcase"):
        name = f"{case.get('classname', '')}.{case.get('name', '')}"[:_MAX_NAME]
        bad = case.find("failure") is not None or case.find("error") is not None
        if bad:
            failed.append(name)
        elif case.find("skipped") is None:
            passed.append(name)
    if not passed and not failed:
        raise InvalidRequest("the JUnit report ran no test")
    # What went wrong outside a test, such as in its set-up, may be counted by the suite alone.
    counts = {
        suite.get(word, "0") for suite in root.iter("testsuite") for word in ("failures", "errors")
    }
    result = "FAILED" if failed or counts - {"", "0"} else "PASSED"
    return {"result": result, "passedTests": passed, "failedTests": failed}


def _instant(milliseconds: int | None) -> str:
    if not milliseconds:
        return ""
    return moment.to_text(datetime.fromtimestamp(milliseconds / 1000, UTC))


def _whoami() -> str:
    return f"{getpass.getuser()}@{platform.node()}"
