"""What scanners found: in-toto vulnerability attestations v0.1 and v0.2.

Beside what the registry itself finds in advisories (``vulnerability.py``), this is what a trusted
scanner said of exactly these bytes, and when.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from mlflow_governance.core import moment
from mlflow_governance.errors import EvidenceMissing, InvalidRequest, VerificationError
from mlflow_governance.evidence import severity
from mlflow_governance.evidence.attestation import VerifiedStatement, find_statements
from mlflow_governance.evidence.instant import CLOCK_SKEW
from mlflow_governance.evidence.interface import Case, Kind
from mlflow_governance.evidence.predicate import VULNERABILITY_SCAN, VULNERABILITY_SCAN_V01
from mlflow_governance.evidence.severity import WORDS, Severity

_MAX_NAMED = 100


class VulnerabilityScanVerifier:
    """Proves what trusted scanners found in this model; of each scanner and signer the newest.

    Facts: ``scans``, sorted by scanner, each ``{scanner, version, database_updated, started,
    finished, signers, found, worst}``: ``found`` counts vulnerabilities by ``critical``, ``high``,
    ``medium``, ``low``, ``none`` and ``unknown``, each by the gravest word or score it was given;
    ``worst`` names up to 100 ids of the gravest word found, sorted. Of two scans of one scanner
    that ended at the same instant the graver counts. Whoever submits chooses which scans to
    attach: a policy that relies on one should bound the age of ``finished``.
    """

    kind = Kind.VULNERABILITY_SCAN

    def verify(self, case: Case) -> Mapping[str, Any]:
        """The facts of the scans.

        Raises:
            EvidenceMissing: there is no scan.
            VerificationError: none counts, or one is from the future: it would outlive newer ones.
        """
        newest: dict[tuple[str, tuple[str, ...]], dict[str, Any]] = {}
        for entry in _statements(case):
            scan = _scan(entry, case.now)
            key = (scan["scanner"], entry.signers)
            newest[key] = max(newest.get(key, scan), scan, key=_rank)
        return {"scans": [newest[key] for key in sorted(newest)]}


def _statements(case: Case) -> list[VerifiedStatement]:
    found: list[VerifiedStatement] = []
    problems: list[str] = []
    missing: EvidenceMissing | None = None
    for kind in (VULNERABILITY_SCAN, VULNERABILITY_SCAN_V01):
        try:
            found += find_statements(case, kind)
        except EvidenceMissing as error:
            missing = missing or error
        except VerificationError as error:
            problems.append(error.message)
    if found:
        return found
    if problems or missing is None:
        raise VerificationError("; ".join(dict.fromkeys(problems)))
    raise missing


def _scan(entry: VerifiedStatement, now: datetime) -> dict[str, Any]:
    scanner, times = entry.statement.predicate["scanner"], entry.statement.predicate["metadata"]
    try:
        started, finished = (
            moment.parse(times[word]) for word in ("scanStartedOn", "scanFinishedOn")
        )
        updated = moment.parse(scanner["db"]["lastUpdate"])
    except InvalidRequest as error:
        raise VerificationError(f"{entry.item_name}: {error.message}") from error
    if finished > now + CLOCK_SKEW or started > finished:
        raise VerificationError(
            f"{entry.item_name}: the scan is from the future, or ended too soon"
        )
    graded = [(_grade(result), result) for result in scanner["result"]]
    gravest = max((word for word, _ in graded), key=WORDS.index, default="none")
    ids = {_vulnerability(result)["id"] for word, result in graded if word == gravest}
    return {
        "scanner": scanner["uri"],
        "version": scanner.get("version", ""),
        "database_updated": moment.to_text(updated),
        "started": moment.to_text(started),
        "finished": moment.to_text(finished),
        "signers": list(entry.signers),
        "found": {word: sum(w == word for w, _ in graded) for word in reversed(WORDS)},
        "worst": sorted(ids)[:_MAX_NAMED],
    }


def _rank(scan: Mapping[str, Any]) -> tuple[str, list[int]]:
    return scan["finished"], list(scan["found"].values())


def _vulnerability(result: Mapping[str, Any]) -> Mapping[str, Any]:
    # v0.1 in its own text and in its own example.
    inner: Mapping[str, Any] = result if "id" in result else result["vulnerability"]
    return inner


def _grade(result: Mapping[str, Any]) -> str:
    """The gravest of what a vulnerability was given: a word, a CVSS score, or a CVSS vector."""
    grade = severity.UNKNOWN
    for given in _vulnerability(result)["severity"]:
        grade = grade.worst(_severity(given["score"]))
    return grade.word


def _severity(score: str) -> Severity:
    stated = severity.of_word(score)
    if stated.word != "unknown":
        return stated
    if "/" in score:
        return severity.of_vector(score)
    try:
        number = float(score)
    except ValueError:
        return severity.UNKNOWN
    return severity.of_score(number) if math.isfinite(number) else severity.UNKNOWN
