from __future__ import annotations

import copy
from typing import Any

import pytest

from mlflow_governance.core import moment
from mlflow_governance.errors import EvidenceMissing, VerificationError
from mlflow_governance.evidence import predicate
from mlflow_governance.evidence.predicate import (
    PACKAGE_RELEASE,
    PACKAGE_RELEASE_V01,
    VULNERABILITY_SCAN,
    VULNERABILITY_SCAN_V01,
    Purpose,
)
from mlflow_governance.evidence.scan_result import VulnerabilityScanVerifier
from tests.unit.evidence.builders import HOUR, NOW, attest, case, key, signer, trust

verify = VulnerabilityScanVerifier().verify
TRIVY = "pkg:github/aquasecurity/trivy@244fd47e07d1004f0aed9"


def vulnerability(name: str, *scores: str) -> dict[str, Any]:
    return {"id": name, "severity": [{"method": "nvd", "score": score} for score in scores]}


def body(*results: Any, scanner: str = TRIVY, finished: Any = NOW - HOUR) -> dict[str, Any]:
    """The example of the specification, with these results."""
    return {
        "scanner": {
            "uri": scanner,
            "version": "0.19.2",
            "db": {
                "uri": "pkg:github/aquasecurity/trivy-db/commit/4c76bb580b2736d67751410fa4ab66d2",
                "version": "v1-2021080612",
                "lastUpdate": "2021-08-06T17:45:50.52Z",
            },
            "result": list(results),
        },
        "metadata": {
            "scanStartedOn": moment.to_text(finished - HOUR),
            "scanFinishedOn": moment.to_text(finished),
        },
    }


def item(name: str, document: Any, kind: str = VULNERABILITY_SCAN, by: str = "pipeline") -> Any:
    return f"attestations/{name}.intoto.json", attest(kind, document, by=[key(by)])


def test_what_a_scanner_found_is_counted_by_the_gravest_word_it_gave() -> None:
    found = body(
        vulnerability("CVE-1", "medium", "9.8"),
        vulnerability("CVE-2", "High"),
        vulnerability("CVE-3", "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"),
        vulnerability("CVE-4", "bad"),
        vulnerability("CVE-5"),
        vulnerability("CVE-6", "nan"),
        vulnerability("CVE-7", "11"),
    )

    (scan,) = verify(case(item("scan", found)))["scans"]

    assert scan["found"] == {
        "critical": 2, "high": 1, "medium": 0, "low": 0, "none": 0, "unknown": 4,
    }  # fmt: skip
    assert scan["worst"] == ["CVE-1", "CVE-3"]
    assert (scan["scanner"], scan["version"]) == (TRIVY, "0.19.2")
    assert scan["database_updated"] == "2021-08-06T17:45:50.520000Z"
    assert scan["finished"] == moment.to_text(NOW - HOUR)
    assert scan["signers"] == ["pipeline"]


def test_a_scan_that_found_nothing_says_so() -> None:
    (scan,) = verify(case(item("scan", body())))["scans"]

    assert sum(scan["found"].values()) == 0
    assert scan["worst"] == []


@pytest.mark.parametrize("wrapped", [True, False])
def test_both_readings_of_the_first_version_are_read(wrapped: bool) -> None:
    found = vulnerability("CVE-1", "high")
    document = body({"vulnerability": found} if wrapped else found)

    (scan,) = verify(case(item("scan", document, VULNERABILITY_SCAN_V01)))["scans"]

    assert scan["worst"] == ["CVE-1"]


def test_the_newest_scan_of_a_scanner_counts() -> None:
    older = body(vulnerability("CVE-1", "critical"), finished=NOW - 2 * HOUR)
    newer = body(vulnerability("CVE-2", "low"))

    (scan,) = verify(case(item("a", newer), item("b", older, VULNERABILITY_SCAN_V01)))["scans"]

    assert scan["worst"] == ["CVE-2"]


def test_of_two_scans_at_one_instant_the_graver_counts() -> None:
    bad, good = item("a", body(vulnerability("CVE-1", "critical"))), item("b", body())

    for items in ((bad, good), (("attestations/c.intoto.json", good[1]), bad)):
        (scan,) = verify(case(*items))["scans"]
        assert scan["worst"] == ["CVE-1"]


def test_one_signer_does_not_outdate_what_another_found() -> None:
    policy = trust(signer(), signer("second"))
    first = item("a", body(vulnerability("CVE-1", "critical"), finished=NOW - 2 * HOUR))
    second = item("b", body(), by="second")

    scans = verify(case(first, second, policy=policy))["scans"]

    assert [scan["signers"] for scan in scans] == [["pipeline"], ["second"]]


def test_without_a_scan_nothing_is_known() -> None:
    with pytest.raises(EvidenceMissing):
        verify(case())


def test_a_scan_by_somebody_not_trusted_for_it_does_not_count() -> None:
    purposes = frozenset(Purpose) - {Purpose.VULNERABILITY_SCAN}

    with pytest.raises(VerificationError, match="not trusted for vulnerability-scan"):
        verify(case(item("a", body()), policy=trust(signer(purposes=purposes))))


def test_a_scan_that_counts_is_not_outweighed_by_one_that_does_not() -> None:
    good, bad = item("a", body(), VULNERABILITY_SCAN_V01), item("b", {"scanner": {}})

    assert len(verify(case(good, bad))["scans"]) == 1
    with pytest.raises(VerificationError, match="malformed"):
        verify(case(bad))


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("metadata", "scanFinishedOn"), moment.to_text(NOW + HOUR)),
        (("metadata", "scanStartedOn"), moment.to_text(NOW)),
        (("metadata", "scanStartedOn"), "2026-13-41T00:00:00Z"),
        (("metadata", "scanStartedOn"), None),
        (("scanner", "uri"), ""),
        (("scanner", "db"), {}),
        (("scanner", "result"), None),
        (("scanner", "result"), [{"id": "CVE-1"}]),
        (("scanner", "result"), [{"vulnerability": {"severity": []}}]),
        (("scanner", "result"), [vulnerability("CVE-1", "x" * 1025)]),
        (("scanner", "result"), [{"id": "CVE-1", "severity": "high"}]),
    ],
)
def test_a_malformed_scan_is_refused(place: tuple[str, str], value: Any) -> None:
    document = copy.deepcopy(body())
    document[place[0]][place[1]] = value

    with pytest.raises(VerificationError):
        verify(case(item("a", document)))


@pytest.mark.parametrize("kind", [PACKAGE_RELEASE, PACKAGE_RELEASE_V01])
@pytest.mark.parametrize(
    "purl",
    [
        "pkg:npm/@angular/http@7.2.16",
        "pkg:npm/%40angular/http@7.2.16",
        "pkg:pypi/urllib3@2.1.0",
        "pkg:oci/my-image@sha256%3Afedcba09?repository_url=registry.example.com/my-image&tag=v1",
    ],
)
def test_releases_of_the_specification_fit_their_schema(kind: str, purl: str) -> None:
    predicate.check(kind, {"purl": purl, "packageId": "1234567890"})


@pytest.mark.parametrize(
    "purl",
    ["pkg:pypi/urllib3", "urllib3@2.1.0", "pkg:npm/@angular/http", "pkg:pypi/urllib3@", "", None],
)
def test_a_release_without_a_version_is_refused(purl: object) -> None:
    with pytest.raises(VerificationError, match="purl"):
        predicate.check(PACKAGE_RELEASE, {"purl": purl})


def test_every_predicate_with_a_schema_has_a_purpose_and_a_name() -> None:
    assert predicate.checked().keys() <= predicate.PURPOSES.keys()
    assert predicate.checked()[VULNERABILITY_SCAN] == "vulnerability-scan"
