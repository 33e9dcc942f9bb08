"""How a model did: offline test results and canaries."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from mlflow_governance.core import moment
from mlflow_governance.errors import InvalidRequest, VerificationError
from mlflow_governance.evidence import instant
from mlflow_governance.evidence.attestation import (
    CANARY,
    TEST_RESULT,
    Purpose,
    VerifiedStatement,
    find_statements,
)
from mlflow_governance.evidence.interface import Case, Kind

PROCEED = "PROCEED"
_SEVERITY = ("PASSED", "WARNED", "FAILED")
_MAX_NAMED = 100


class TestResultVerifier:
    """Proves how the tests ended; one trusted FAILED outweighs any number of PASSED.

    Facts: ``result`` (PASSED, WARNED or FAILED: the worst of all statements), ``failed_tests``
    and ``warned_tests`` (names, the first 100), ``statements`` (how many), ``signers`` (names),
    ``at`` (since when as many said it as a threshold asks for; null where nobody says when: the
    predicate has no field for it, ``attest`` writes ``at``).
    """

    kind = Kind.TEST_RESULT

    def verify(self, case: Case) -> Mapping[str, Any]:
        """The facts of all test results together.

        Raises:
            EvidenceMissing: there is no test result.
            VerificationError: none counts.
        """
        found = find_statements(case, TEST_RESULT)
        bodies = [entry.statement.predicate for entry in found]
        said = [
            (instant.of(entry, entry.statement.predicate.get("at"), case.now), entry.signers)
            for entry in found
        ]
        return {
            "result": max((body["result"] for body in bodies), key=_SEVERITY.index),
            "failed_tests": _named(bodies, "failedTests"),
            "warned_tests": _named(bodies, "warnedTests"),
            "statements": len(found),
            "signers": sorted({name for entry in found for name in entry.signers}),
            "at": instant.text(instant.since(case, Purpose.TEST_RESULT, said)),
        }


class CanaryVerifier:
    """Proves how the last canary ended. Of two at the same instant the worse counts.

    Facts: ``result`` (PROCEED, ROLLBACK or INCONCLUSIVE), ``at``, ``window`` (``from``, ``to``),
    ``metrics``, ``signers`` (names of those who signed that statement).
    """

    kind = Kind.CANARY

    def verify(self, case: Case) -> Mapping[str, Any]:
        """The facts of the newest canary statement, by the instant in it.

        Raises:
            EvidenceMissing: there is no canary statement.
            VerificationError: none counts, one is from the future: it would outlive a rollback; or
                fewer signers say PROCEED, each with the last word, than a threshold asks for.
        """
        dated = instant.dated(find_statements(case, CANARY), case.now)
        for _, entry in dated:
            _refuse_early(entry)
        at, newest = max(dated, key=_later)
        body = newest.statement.predicate
        if body["result"] == PROCEED:
            case.trust.require(Purpose.CANARY, case.model_name, _proceeding(dated))
        return {
            "result": body["result"],
            "at": moment.to_text(at),
            "window": {
                word: moment.to_text(moment.parse(body["window"][word])) for word in ("from", "to")
            },
            "metrics": body["metrics"],
            "signers": list(newest.signers),
        }


def _later(dated: tuple[datetime, VerifiedStatement]) -> tuple[datetime, bool, str]:
    at, entry = dated
    body = entry.statement.predicate
    # What else is said tells two apart that are alike: not which of their files is read first.
    rest = json.dumps([body, entry.signers], sort_keys=True)
    return at, body["result"] != PROCEED, rest


def _proceeding(dated: list[tuple[datetime, VerifiedStatement]]) -> set[str]:
    last: dict[str, str] = {}
    for _, entry in sorted(dated, key=_later):
        last |= dict.fromkeys(entry.signers, entry.statement.predicate["result"])
    return {name for name, result in last.items() if result == PROCEED}


def _refuse_early(entry: VerifiedStatement) -> None:
    body = entry.statement.predicate
    try:
        at, begin, end = map(moment.parse, (body["at"], *map(body["window"].get, ("from", "to"))))
    except InvalidRequest as error:
        raise VerificationError(f"{entry.item_name}: {error.message}") from error
    if not begin <= end <= at:
        raise VerificationError(f"{entry.item_name}: the canary ended before its window did")


def _named(bodies: list[Mapping[str, Any]], field: str) -> list[str]:
    return sorted({name for body in bodies for name in body.get(field, [])})[:_MAX_NAMED]
