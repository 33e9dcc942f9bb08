"""What is called harmless by somebody trusted for it, and everything that does not count."""

from __future__ import annotations

import copy
import json
import random
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlflow_governance.core import canonical
from mlflow_governance.errors import VerificationError
from mlflow_governance.evidence import attestation, cyclonedx_vex, openvex, predicate, vers
from mlflow_governance.evidence.examiner import EvidenceExaminer
from mlflow_governance.evidence.interface import Case, EvidenceItem, Kind
from mlflow_governance.evidence.predicate import OPENVEX, OPENVEX_OF_COSIGN, Purpose
from mlflow_governance.evidence.vex_claims import Scope
from mlflow_governance.evidence.vulnerability import VulnerabilityVerifier
from tests.unit.evidence import vex_builders as vex
from tests.unit.evidence.bom_builders import advisory, bom, library, write_advisory
from tests.unit.evidence.builders import (
    MANIFEST,
    NOW,
    attest,
    case,
    key,
    signer,
    trust,
)
from tests.unit.evidence.vex_builders import analysed, cyclonedx, link, statement, vex_case

CLEARED = {
    "status": "not_affected",
    "justification": "vulnerable_code_not_in_execute_path",
    "signer": "security",
}
LATER = "2026-11-21T09:00:00Z"


@pytest.fixture(scope="module")
def dump(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_advisory(tmp_path_factory.mktemp("osv") / "osv", advisory())


def judged(dump: Path, case: Case) -> tuple[Any, list[str]]:
    """What is said about the one vulnerability there is, and the problems."""
    facts = VulnerabilityVerifier(dump).verify(case)
    (found,) = facts["vulnerabilities"]
    assert found["id"] == "PYSEC-2026-1", "a VEX never removes a finding"
    return found["vex"], facts["vex_problems"]


def status(dump: Path, *documents: dict[str, Any], **more: Any) -> str | None:
    verdict, _ = judged(dump, vex_case(*documents, **more))
    return verdict and str(verdict["status"])


@pytest.mark.parametrize("kind", [OPENVEX, OPENVEX_OF_COSIGN])
def test_an_openvex_statement_of_a_trusted_signer_is_told(dump: Path, kind: str) -> None:
    assert judged(dump, vex_case(vex.openvex(), kind=kind)) == (CLEARED, [])


def test_a_cyclonedx_analysis_of_a_trusted_signer_is_told(dump: Path) -> None:
    said = {**CLEARED, "justification": "code_not_reachable"}

    assert judged(dump, vex_case(cyclonedx())) == (said, [])


@pytest.mark.parametrize("document", [vex.openvex(), cyclonedx()])
def test_who_may_sign_an_sbom_may_not_call_anything_harmless(
    dump: Path, document: dict[str, Any]
) -> None:
    verdict, problems = judged(dump, vex_case(document, by="pipeline"))

    assert verdict is None
    assert "vex-0.intoto.json" in problems[0]


def test_trust_for_vex_is_held_to_model_names(dump: Path) -> None:
    policy = trust(
        signer("pipeline", purposes=frozenset({Purpose.SBOM})),
        signer("security", purposes=frozenset({Purpose.VEX}), models=("fraud",)),
    )

    assert status(dump, vex.openvex(), policy=policy) is None


def test_a_statement_about_other_bytes_clears_nothing(dump: Path) -> None:
    good = vex_case()
    other = type(MANIFEST).of([*MANIFEST.files][:1])
    item = EvidenceItem(
        "attestations/vex.intoto.json",
        attest(OPENVEX, vex.openvex(), by=[key("security")], manifest=other),
    )
    verdict, problems = judged(dump, case(*_pairs([*good.items, item]), policy=good.trust))

    assert verdict is None
    assert "another subject" in problems[0]


def _pairs(items: Any) -> list[tuple[str, bytes]]:
    return [(item.name, item.data) for item in items]


def test_an_analysis_inside_the_sbom_clears_nothing(dump: Path) -> None:
    document = bom(library("leftpad"), vulnerabilities=[analysed()])
    signed = attest(attestation.CYCLONEDX, document, by=[key("pipeline")])
    everything = trust(signer("pipeline"))
    facts = VulnerabilityVerifier(dump).verify(
        case(("attestations/sbom.intoto.json", signed), policy=everything)
    )

    assert [found["vex"] for found in facts["vulnerabilities"]] == [None]


def test_a_cyclonedx_vex_is_no_second_sbom(dump: Path) -> None:
    both = frozenset({Purpose.SBOM, Purpose.VEX})
    policy = trust(signer("pipeline"), signer("security", purposes=both))

    assert status(dump, cyclonedx(), policy=policy) == "not_affected"


def test_a_vex_may_be_attached_by_anybody_if_a_trusted_signer_made_it() -> None:
    for document in (vex.openvex(), cyclonedx()):
        good, bad = vex_case(document), vex_case(document, by="pipeline")
        examiner = EvidenceExaminer(good.trust, ())
        examiner.recognise(MANIFEST, "churn", good.items[1], NOW)
        with pytest.raises(VerificationError):
            examiner.recognise(MANIFEST, "churn", bad.items[1], NOW)


@pytest.mark.parametrize(
    ("name", "clears"),
    [
        ("CVE-2026-0001", True),
        ("PYSEC-2026-1", True),
        ("pysec-2026-1 ", True),
        ("CVE-2026-00011", False),
        ("CVE-2026-000", False),
    ],
)
def test_the_vulnerability_is_known_by_any_of_its_names(
    dump: Path, name: str, clears: bool
) -> None:
    said = vex.openvex(statement(vulnerability={"name": name}))
    alias = vex.openvex(statement(vulnerability={"name": "X-1", "aliases": [name]}))

    assert (status(dump, said) is not None) is clears
    assert (status(dump, alias) is not None) is clears


@pytest.mark.parametrize(
    ("products", "clears"),
    [
        ([{"@id": "pkg:pypi/leftpad@1.0"}], True),
        ([{"@id": "pkg:pypi/LeftPad@1.0.0"}], True),
        ([{"@id": "pkg:pypi/leftpad"}], True),
        ([{"@id": "https://x", "identifiers": {"purl": "pkg:pypi/leftpad@1.0"}}], True),
        ([{"@id": "pkg:pypi/other@1"}, {"@id": "pkg:pypi/leftpad@1.0"}], True),
        ([{"hashes": {"sha-256": vex.MODEL_HEX}}], True),
        ([{"@id": "pkg:mlflow/churn@3?repository_url=https://mlflow.example"}], True),
        ([{"@id": "models:/churn/3"}], True),
        ([{"@id": "churn"}], True),
        ([{"@id": "models:/churn/3", "subcomponents": [{"@id": "pkg:pypi/leftpad@1.0"}]}], True),
        ([], True),
        ([{"@id": "pkg:pypi/leftpad@1.1"}], False),
        ([{"@id": "pkg:npm/leftpad@1.0"}], False),
        ([{"@id": "pkg:pypi/leftpad@1.0?arch=x86_64"}], False),
        ([{"@id": "pkg:pypi/leftpad@1.0#src"}], False),
        ([{"@id": "pkg:pypi/numpy@1.0"}], False),
        ([{"hashes": {"sha-256": "0" * 64}}], False),
        ([{"@id": "models:/churn/3", "hashes": {"sha-256": "0" * 64}}], False),
        ([{"hashes": {"md5": "0" * 32}}], False),
        ([{"@id": "pkg:mlflow/fraud@3"}], False),
        ([{"@id": "models:/fraud/3"}], False),
        ([{"@id": "models:/churn/3", "subcomponents": [{"@id": "pkg:pypi/numpy@1.0"}]}], False),
        ([{"@id": "models:/churn/3", "subcomponents": [{"hashes": {"sha1": "0"}}]}], False),
        ([{"@id": vex.LEFTPAD, "subcomponents": [{"@id": "pkg:generic/openblas"}]}], False),
    ],
)
def test_the_product_must_be_the_component_or_the_model(
    dump: Path, products: list[Any], clears: bool
) -> None:
    said = vex.openvex(statement(products=products))

    assert (status(dump, said) is not None) is clears


@pytest.mark.parametrize(
    ("ref", "clears"),
    [
        (vex.LEFTPAD, True),
        ("product", True),
        (link("pkg%3Apypi%2Fleftpad%401.0"), True),
        (link("pkg:pypi/leftpad@1.0"), True),
        (link("model"), True),
        (f"urn:cdx:{vex.SERIAL}/1", True),
        ("models:/churn/3", True),
        (link("pkg:pypi/leftpad@1.0", version=2), False),
        (link("pkg:pypi/numpy@1.0"), False),
        (link("nothing"), False),
        ("urn:cdx:00000000-0000-4000-8000-000000000000/1#model", False),
        ("pkg:pypi/numpy", False),
        ("elsewhere", False),
    ],
)
def test_a_reference_must_lead_to_the_component_or_the_model(
    dump: Path, ref: str, clears: bool
) -> None:
    assert (status(dump, cyclonedx(analysed(ref=ref))) is not None) is clears
    assert (status(dump, cyclonedx(analysed("exploitable", ref=ref))) == "affected") is (
        clears or "numpy" not in ref
    ), "an accusation nobody can place is taken at its word"


UNAFFECTED = {"status": "unaffected"}


@pytest.mark.parametrize(
    ("versions", "clears", "accuses"),
    [
        ([], True, True),
        ([{"version": "1.0", **UNAFFECTED}], True, False),
        ([{"version": "1.0.0", **UNAFFECTED}], True, False),
        ([{"range": "vers:pypi/<2.0", **UNAFFECTED}], True, False),
        ([{"range": "vers:pypi/>=1.1", **UNAFFECTED}], False, True),
        ([{"range": "vers:pypi/*", **UNAFFECTED}, {"version": "1.0"}], False, True),
        ([{"range": "vers:pypi/*", **UNAFFECTED}, {"version": "9.0"}], True, False),
        ([{"version": "1.0"}], False, True),
        ([{"version": "1.0", "status": "unknown"}], False, True),
        ([{"version": "2.0"}], False, False),
        ([{"range": "vers:npm/<2.0", **UNAFFECTED}], False, True),
        ([{"range": "<2.0", **UNAFFECTED}], False, True),
        ([{"range": "vers:npm/<2.0", "status": "affected"}], False, True),
        ([{"version": "one", **UNAFFECTED}], False, True),
    ],
)
def test_versions_must_be_called_unaffected_in_so_many_words(
    dump: Path, versions: list[Any], clears: bool, accuses: bool
) -> None:
    cleared = status(dump, cyclonedx(analysed(versions=versions)))
    accused = status(dump, cyclonedx(analysed("exploitable", versions=versions)))

    assert (cleared == "not_affected") is clears
    assert (accused == "affected") is accuses


def test_versions_of_the_model_are_not_told_apart(dump: Path) -> None:
    said = cyclonedx(analysed(ref="product", versions=[{"version": "1.0", **UNAFFECTED}]))
    verdict, problems = judged(dump, vex_case(said))

    assert verdict is None
    assert "the model itself" in problems[0]


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("vers:pypi/*", ["0", "9!1"], []),
        ("vers:pypi/1.2.3", ["1.2.3"], ["1.2.4"]),
        ("vers:pypi/=1.2.3|=2.0", ["1.2.3", "2"], ["1.5"]),
        ("vers:pypi/>=1.0|<2.0", ["1.0", "1.9"], ["2.0", "0.9", "2.0.1"]),
        ("vers:pypi/<2.0|>=1.0", ["1.0"], ["2.0"]),
        ("vers:pypi/>1.0|<=2.0", ["2.0", "1.0.1"], ["1.0"]),
        ("vers:pypi/<1.0|>2.0", ["0.1", "3"], ["1.0", "1.5", "2.0"]),
        ("vers:pypi/>=1.0|<2.0|>=3.0|<4.0", ["1.5", "3.5"], ["2.5", "4.0"]),
        ("vers:pypi/>=1.0|!=1.5|<2.0", ["1.4"], ["1.5"]),
        ("vers:pypi/!=1.5", ["1.4"], ["1.5"]),
        ("vers:pypi/>=1.0|<2.0|2.5", ["2.5"], ["2.4"]),
        ("vers:pypi/>=1.0%2Bcu118", ["1.0+cu118"], ["1.0"]),
    ],
)
def test_ranges_are_read_as_vers_defines_them(
    text: str, inside: list[str], outside: list[str]
) -> None:
    from packaging.version import Version

    found = vers.Range.parse(text)

    assert found is not None
    assert [found.has(Version(v)) for v in inside] == [True] * len(inside)
    assert [found.has(Version(v)) for v in outside] == [False] * len(outside)


@pytest.mark.parametrize(
    "text",
    [
        "", "vers:", "vers:pypi/", "vers:npm/*", "vers:pypi/>=", "vers:pypi/1|1.0", "vers:pypi/||",
        "vers:pypi/>=1|junk", "pypi/>1", "vers:pypi/" + "|".join(map(str, range(300))),
    ],
)  # fmt: skip
def test_a_range_that_cannot_be_read_is_none(text: str) -> None:
    assert vers.Range.parse(text) is None


def test_the_newest_word_counts_whatever_the_order(dump: Path) -> None:
    cleared = vex.openvex()
    accused = vex.openvex(statement("affected"), **{"@id": "https://x/2"}, timestamp=LATER)
    again = cyclonedx(analysed("resolved", lastUpdated="2026-11-21T10:00:00Z"))

    for documents in ((cleared, accused), (accused, cleared)):
        assert status(dump, *documents) == "affected"
    assert status(dump, cleared, accused, again) == "fixed"
    within = [statement(timestamp="2026-11-01T00:00:00Z"), statement("under_investigation")]
    assert status(dump, vex.openvex(*within)) == "under_investigation"


def test_of_words_of_the_same_moment_the_graver_counts(dump: Path) -> None:
    for statements in ([statement(), statement("affected")], [statement("affected"), statement()]):
        assert status(dump, vex.openvex(*statements)) == "affected"


def test_what_clears_is_as_old_as_its_first_word_and_what_accuses_as_new_as_its_last(
    dump: Path,
) -> None:
    early, middle, late = (f"2026-11-{day}T00:00:00Z" for day in (10, 12, 14))
    updated = [
        statement(timestamp=early, last_updated=late),
        statement("affected", timestamp=middle),
    ]
    accused = [
        statement("affected", timestamp=early, last_updated=late),
        statement(timestamp=middle),
    ]

    assert status(dump, vex.openvex(*updated)) == "affected"
    assert status(dump, vex.openvex(*accused)) == "affected"


def test_a_higher_version_takes_the_place_of_a_lower_one(dump: Path) -> None:
    first = vex.openvex()
    retracted = vex.openvex(statement(vulnerability={"name": "CVE-2020-1"}), version=2)

    assert status(dump, first, retracted) is None
    elsewhere = {**retracted, "@id": "https://another"}
    assert status(dump, first, elsewhere) == "not_affected"


@pytest.mark.parametrize(
    ("document", "why"),
    [
        (vex.openvex(timestamp="2026-11-21T12:00:01Z"), "from the future"),
        (vex.openvex(statement(timestamp="2027-01-01T00:00:00Z")), "from the future"),
        (vex.openvex(timestamp="2026-13-01T00:00:00Z"), "not an RFC 3339 instant"),
        (vex.openvex(statement(products=[{"@id": "pkg:nonsense"}])), "no package URL"),
        (vex.openvex(statement(status="harmless")), "malformed"),
        (vex.openvex(statement(justification=None)), "malformed"),
        (vex.openvex({**statement(), "justification": "we_think_so"}), "malformed"),
        (vex.openvex(statement(product=[{"@id": vex.LEFTPAD}])), "malformed"),
        (vex.openvex(statement(products=[{"@id": "x", "subcomponent": []}])), "malformed"),
        (vex.openvex(**{"@context": "https://openvex.dev/ns/v9"}), "malformed"),
        (vex.openvex(*[statement()] * 2001), "malformed"),
        (cyclonedx(analysed(lastUpdated="2026-12-01T00:00:00Z")), "from the future"),
        (cyclonedx(metadata={}), "no time"),
        (cyclonedx(analysed(justification="", detail=" ")), "malformed"),
        (cyclonedx({"id": "CVE-2026-0001", "analysis": {"state": "not_affected"}}), "needs a"),
        (cyclonedx(specVersion="1.3"), "malformed"),
        (cyclonedx(analysed(ref="elsewhere")), "neither the model"),
    ],
)
def test_what_does_not_count_clears_nothing_and_is_told(
    dump: Path, document: dict[str, Any], why: str
) -> None:
    verdict, problems = judged(dump, vex_case(document))

    assert verdict is None
    assert why in problems[0]


def test_not_affected_needs_a_reason_and_fixed_does_not(dump: Path) -> None:
    bare = {k: v for k, v in statement().items() if k != "justification"}
    verdict, _ = judged(dump, vex_case(vex.openvex({**bare, "impact_statement": "never called"})))

    assert status(dump, vex.openvex(bare)) is None
    assert status(dump, vex.openvex({**bare, "impact_statement": " "})) is None
    assert verdict["justification"] == "never called"
    assert status(dump, vex.openvex({**bare, "status": "fixed"})) == "fixed"


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("resolved", "fixed"),
        ("resolved_with_pedigree", "fixed"),
        ("false_positive", "not_affected"),
        ("not_affected", "not_affected"),
        ("exploitable", "affected"),
        ("in_triage", "under_investigation"),
    ],
)
def test_every_state_of_cyclonedx_has_its_status(dump: Path, state: str, expected: str) -> None:
    assert status(dump, cyclonedx(analysed(state))) == expected


def test_one_bad_document_does_not_silence_a_good_one(dump: Path) -> None:
    verdict, problems = judged(dump, vex_case(vex.openvex(author=7), vex.openvex()))

    assert verdict == CLEARED
    assert len(problems) == 1


def test_many_problems_are_counted(dump: Path) -> None:
    future = [statement(timestamp="2027-01-01T00:00:00Z")] * 100
    _, problems = judged(dump, vex_case(vex.openvex(*future)))

    assert len(problems) == 21
    assert problems[-1] == "and 80 more"


def test_what_cannot_be_read_is_a_problem_and_nothing_else(dump: Path) -> None:
    good = vex_case(vex.openvex())
    junk = ("attestations/junk.intoto.json", b"\xff\x00")
    verdict, problems = judged(dump, case(*_pairs(good.items), junk, policy=good.trust))

    assert verdict == CLEARED
    assert problems[0].startswith("attestations/junk.intoto.json: ")


def test_a_submitters_further_names_clear_nothing() -> None:
    listed = {"id": "CVE-2026-9", "references": [{"id": "CVE-2026-0001", "source": {"name": "x"}}],
              "affects": [{"ref": vex.LEFTPAD}]}  # fmt: skip
    document = bom(library("leftpad"), vulnerabilities=[listed])
    signed = attest(attestation.CYCLONEDX, document, by=[key("pipeline")])
    said = attest(OPENVEX, vex.openvex(), by=[key("security")])
    items = ("attestations/sbom.intoto.json", signed), ("attestations/v.intoto.json", said)
    facts = VulnerabilityVerifier(None).verify(case(*items, policy=vex.EVERYBODY))

    assert [found["vex"] for found in facts["vulnerabilities"]] == [None]


SCOPE = Scope("churn", vex.MODEL_HEX, frozenset({"churn"}), f"urn:cdx:{vex.SERIAL}/1", "model")
GOLDEN = {
    "openvex": vex.openvex(statement(), statement("affected", last_updated=LATER)),
    "cyclonedx": cyclonedx(analysed(versions=[{"range": "vers:pypi/<2", **UNAFFECTED}])),
}


def _read(document: dict[str, Any]) -> None:
    if "bomFormat" in document:
        cyclonedx_vex.check(document)
        list(cyclonedx_vex.claims(document, SCOPE))
    else:
        predicate.check(OPENVEX, document)
        list(openvex.claims(document, SCOPE))


JUNK: tuple[Any, ...] = (
    None, True, 0, -1, 1e300, "", "x", "pkg:", "pkg:pypi/", "vers:pypi/>", "2026-02-30T00:00:00Z",
    "urn:cdx:", "\ud800", [], {}, [[]], [None], {"@id": 1}, "a" * 9000, "not_affected", "affected",
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(name=st.sampled_from(sorted(GOLDEN)), seed=st.integers(0, 2**32))
def test_a_spoilt_document_raises_nothing_but_what_it_should(name: str, seed: int) -> None:
    source = random.Random(seed)
    document = copy.deepcopy(GOLDEN[name])
    for _ in range(source.randint(1, 3)):
        _spoil(document, source)
    with suppress(VerificationError):
        _read(document)


def _spoil(value: Any, source: random.Random) -> None:
    while True:
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        if not keys:
            return
        step = source.choice(keys)
        if isinstance(value[step], dict | list) and source.random() < 0.7:
            value = value[step]
            continue
        if source.random() < 0.2:
            del value[step]
        else:
            value[step] = copy.deepcopy(source.choice(JUNK))
        return


@settings(max_examples=60, deadline=None)
@given(bit=st.integers(0), cyclone=st.booleans())
def test_an_envelope_with_a_bit_turned_clears_nothing(dump: Path, bit: int, cyclone: bool) -> None:
    good = vex_case(cyclonedx() if cyclone else vex.openvex())
    sbom, item = good.items
    data = bytearray(item.data)
    data[bit // 8 % len(data)] ^= 1 << bit % 8
    spoilt = case((sbom.name, sbom.data), (item.name, bytes(data)), policy=good.trust)
    verdict, _ = judged(dump, spoilt)

    assert verdict is None or _means_the_same(bytes(data), item.data)


def _means_the_same(data: bytes, before: bytes) -> bool:
    # Not every bit is signed: white space, or a key id that is a hint.
    left, right = (json.loads(d) for d in (data, before))
    return bool(left["payload"] == right["payload"])


def test_facts_of_strange_documents_fit_into_a_dossier(dump: Path) -> None:
    strange = vex.openvex(
        {**statement("affected"), "impact_statement": "\u2028\u0000é"},
        statement(products=[{"@id": "pkg:pypi/\u00e9@1"}]),
    )
    good = vex_case(strange)
    outcome = EvidenceExaminer(good.trust, [VulnerabilityVerifier(dump)]).examine(
        MANIFEST, "churn", good.items, NOW
    )[Kind.VULNERABILITIES]

    assert outcome.status.value == "passed"
    assert canonical.encode(dict(outcome.facts))
