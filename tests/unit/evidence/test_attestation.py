import json
import os
import subprocess
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlflow_governance.core import canonical, digest
from mlflow_governance.core.manifest import FileEntry, Manifest
from mlflow_governance.errors import EvidenceMissing, GovernanceError, VerificationError
from mlflow_governance.evidence import (
    attestation,
    bundle,
    envelope,
    evaluation,
    instant,
    provenance,
)
from mlflow_governance.evidence.attestation import CANARY, DATASET, SLSA_PROVENANCE, TEST_RESULT
from mlflow_governance.evidence.dataset import DatasetVerifier
from mlflow_governance.evidence.predicate import Purpose
from mlflow_governance.evidence.trust import Threshold, TrustPolicy
from tests.unit.evidence import builders
from tests.unit.evidence.builders import HOUR, NOW, attest, canary_body, case, results_body, signer

ITEM = "tests.intoto.json"
GOOD = attest(TEST_RESULT, results_body())
STATEMENT = attestation.statement("m", builders.MANIFEST.digest, TEST_RESULT, results_body())
OTHER_MODEL = Manifest.of([FileEntry("other", 1, "0" * 64)])
cosign_only = pytest.mark.skipif(
    builders.cosign() is None, reason="no cosign: set COSIGN to its path"
)


def _find(*items, **changes):
    return attestation.find_statements(case(*items, **changes), TEST_RESULT)


def test_a_trusted_statement_about_the_model_counts():
    [found] = _find((ITEM, GOOD))

    assert found.signers == ("pipeline",)
    assert found.item_name == ITEM
    assert found.statement.predicate == results_body()


def test_nothing_attached_is_missing_and_not_failed():
    for items in ([], [("notes.txt", b"x")], [("c.intoto.json", attest(CANARY, canary_body()))]):
        with pytest.raises(EvidenceMissing):
            _find(*items)


def test_every_file_that_does_not_count_is_named_with_its_reason():
    with pytest.raises(VerificationError) as refused:
        _find(
            ("a.intoto.json", attest(TEST_RESULT, results_body(), by=[builders.key("stranger")])),
            ("b.intoto.json", attest(TEST_RESULT, results_body(), manifest=OTHER_MODEL)),
            ("c.intoto.json", attest(TEST_RESULT, {"result": "MAYBE"})),
            ("d.intoto.json", b"junk"),
        )

    a, b, c, d = refused.value.message.split("; ", 3)[0], *["b.int", "c.int", "d.int"]
    assert a == "a.intoto.json: the signature is of no key in the trust policy"
    assert all(name in refused.value.message for name in (b, c, d))
    assert "another subject" in refused.value.message
    assert not isinstance(refused.value, EvidenceMissing)


def test_one_that_counts_outweighs_any_that_do_not():
    stranger = attest(TEST_RESULT, results_body("FAILED"), by=[builders.key("stranger")])

    assert len(_find(("a.intoto.json", stranger), (ITEM, GOOD), ("z.intoto.json", b"junk"))) == 1


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"until": NOW}, "the key of pipeline expired at 2026-11-21T12:00:00.000000Z"),
        ({"since": NOW + HOUR}, "the key of pipeline is not valid before 2026-11-21T13"),
        ({"models": ("fraud-*",)}, "pipeline is not trusted for the model churn"),
        ({"purposes": frozenset({Purpose.SBOM})}, "pipeline is not trusted for test-result"),
    ],
)
def test_a_known_key_that_does_not_count_is_refused_by_name(changes, problem):
    with pytest.raises(VerificationError, match=problem):
        _find((ITEM, GOOD), policy=builders.trust(signer(**changes)))


def test_with_trust_in_nobody_nothing_counts():
    with pytest.raises(VerificationError):
        _find((ITEM, GOOD), policy=builders.TrustPolicy.empty())


def test_another_purpose_can_be_asked_for():
    policy = builders.trust(signer(purposes=frozenset({Purpose.MODEL_CARD})))
    asked = case((ITEM, GOOD), policy=policy)

    assert len(attestation.find_statements(asked, TEST_RESULT, Purpose.MODEL_CARD)) == 1


def test_nobody_may_attest_an_unknown_type():
    with pytest.raises(VerificationError, match="nobody may attest"):
        attestation.find_statements(case((ITEM, GOOD)), "https://example.com/new")


def test_a_bundle_around_the_envelope_counts_as_well():
    wrapped = bundle.wrap(GOOD, bundle.cosign_hint(builders.key().public))

    assert len(_find((ITEM, wrapped))) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"mediaType": "application/vnd.dev.sigstore.bundle+json;version=0.1"},
        {"verificationMaterial": {"certificate": {"rawBytes": "AA=="}}},
        {"verificationMaterial": None},
        {"dsseEnvelope": "AA=="},
        {"dsseEnvelope": {}},
    ],
)
def test_a_bundle_of_another_kind_is_refused(changes):
    document = json.loads(bundle.wrap(GOOD, "hint")) | changes

    with pytest.raises(VerificationError):
        _find((ITEM, canonical.encode(document)))


def test_another_payload_type_is_refused():
    signed = envelope.sign(json.dumps(STATEMENT).encode(), "application/json", [builders.key()])

    with pytest.raises(VerificationError, match="the payload is not"):
        _find((ITEM, signed))


@pytest.mark.parametrize(
    "changes",
    [
        {"_type": "https://in-toto.io/Statement/v0.2"},
        {"subject": []},
        {"subject": {}},
        {"subject": [1]},
        {"subject": [{"name": "m"}]},
        {"subject": [{"name": 1, "digest": {"sha256": "a" * 64}}]},
        {"subject": [{"name": "m", "digest": {"sha256": "A" * 64}}]},
        {"subject": [{"name": "m", "digest": {}}]},
        {"subject": STATEMENT["subject"] * 2000},
        {"predicateType": ""},
        {"predicateType": 1},
        {"predicate": []},
        {"predicate": None},
    ],
)
def test_what_is_no_statement_is_refused(changes):
    with pytest.raises(VerificationError):
        attestation.parse_statement(json.dumps(STATEMENT | changes).encode())


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=10,
    )
)
def test_foreign_predicates_are_held_to_their_schema_without_surprise(value):
    for kind in (SLSA_PROVENANCE, TEST_RESULT, CANARY, attestation.DATASET):
        data = json.dumps(STATEMENT | {"predicateType": kind, "predicate": value}).encode()
        signed = envelope.sign(data, envelope.IN_TOTO, [builders.key()])
        with pytest.raises(GovernanceError):
            attestation.find_statements(case((ITEM, signed)), kind)


@settings(max_examples=300)
@given(position=st.integers(0, len(GOOD) - 1), flip=st.integers(1, 255))
def test_a_changed_byte_never_changes_what_counts(position, flip):
    data = bytearray(GOOD)
    data[position] ^= flip
    try:
        [found] = _find((ITEM, bytes(data)))
    except VerificationError:
        return
    assert found.statement.predicate == results_body()


# --- the verifiers -------------------------------------------------------------------------


def test_provenance_says_who_built_the_model():
    item = ("p.intoto.json", attest(SLSA_PROVENANCE, builders.PROVENANCE_BODY))

    assert provenance.ProvenanceVerifier().verify(case(item)) == {
        "builder_id": "https://example.com/builder",
        "build_type": "https://example.com/train/v1",
        "invocation_id": "run-1",
        "resolved_dependencies": 1,
        "datasets": [],
        "source": None,
        "signers": ["pipeline"],
        "finished_at": None,
        "at": None,
    }


def test_provenance_that_contradicts_itself_is_refused():
    other = builders.PROVENANCE_BODY | {"runDetails": {"builder": {"id": "elsewhere"}}}
    items = [
        (f"{n}.intoto.json", attest(SLSA_PROVENANCE, body))
        for n, body in enumerate([builders.PROVENANCE_BODY, other])
    ]

    with pytest.raises(VerificationError, match=r"contradict.*0\.intoto\.json, 1\.intoto\.json"):
        provenance.ProvenanceVerifier().verify(case(*items))


@pytest.mark.parametrize(
    ("results", "expected"),
    [
        (["PASSED"], "PASSED"),
        (["PASSED", "WARNED"], "WARNED"),
        (["FAILED", "PASSED", "WARNED"], "FAILED"),
        (["PASSED", "FAILED", "PASSED"], "FAILED"),
    ],
)
def test_the_worst_test_result_counts(results, expected):
    items = [
        (f"{n}.intoto.json", attest(TEST_RESULT, results_body(result, failedTests=[f"t{n}"])))
        for n, result in enumerate(results)
    ]

    facts = evaluation.TestResultVerifier().verify(case(*items))

    assert facts["result"] == expected
    assert facts["statements"] == len(results)
    assert facts["failed_tests"] == [f"t{n}" for n in range(len(results))]


def test_a_failure_signed_by_a_stranger_spoils_nothing():
    stranger = attest(TEST_RESULT, results_body("FAILED"), by=[builders.key("stranger")])

    facts = evaluation.TestResultVerifier().verify(case((ITEM, GOOD), ("s.intoto.json", stranger)))

    assert facts["result"] == "PASSED"


def test_of_two_canaries_alike_it_does_not_matter_which_file_is_first():
    one, other = ({**canary_body(), "metrics": {"errors": share}} for share in (0.01, 0.02))

    assert _canary(one, other) == _canary(other, one)


def _canary(*bodies, **changes):
    items = [(f"{n}.intoto.json", attest(CANARY, body)) for n, body in enumerate(bodies)]
    return evaluation.CanaryVerifier().verify(case(*items, **changes))


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ([("PROCEED", 1)], "PROCEED"),
        ([("PROCEED", 2), ("ROLLBACK", 1)], "ROLLBACK"),
        ([("ROLLBACK", 1), ("PROCEED", 2)], "ROLLBACK"),
        ([("ROLLBACK", 2), ("PROCEED", 1)], "PROCEED"),
        ([("PROCEED", 1), ("ROLLBACK", 1)], "ROLLBACK"),
        ([("PROCEED", 3), ("ROLLBACK", 2), ("INCONCLUSIVE", 1)], "INCONCLUSIVE"),
    ],
)
def test_the_newest_canary_counts_and_the_worse_of_two_at_once(told, expected):
    facts = _canary(*[canary_body(result, NOW - hours * HOUR) for result, hours in told])

    assert facts["result"] == expected


def test_a_canary_states_its_window_and_metrics():
    assert _canary(canary_body()) == {
        "result": "PROCEED",
        "at": "2026-11-21T11:00:00.000000Z",
        "window": {"from": "2026-11-21T10:00:00.000000Z", "to": "2026-11-21T11:00:00.000000Z"},
        "metrics": {"auc": 0.91},
        "signers": ["pipeline"],
    }


def _two_must_agree(purpose):
    names = ("pipeline", "lab")
    circle = Threshold(frozenset({purpose}), 2, frozenset(names))
    return TrustPolicy(tuple(map(builders.signer, names)), (circle,))


@pytest.mark.parametrize("of_lab", [("ROLLBACK", 2), ("PROCEED", 3)])
def test_a_threshold_counts_who_says_proceed_with_the_last_word(of_lab):
    result, hours = of_lab
    before = attest(CANARY, canary_body(result, NOW - hours * HOUR), by=[builders.key("lab")])
    now = attest(CANARY, canary_body())
    judged = case(
        ("a.intoto.json", before), ("b.intoto.json", now), policy=_two_must_agree(Purpose.CANARY)
    )

    if result == "PROCEED":
        assert evaluation.CanaryVerifier().verify(judged)["result"] == "PROCEED"
    else:
        with pytest.raises(VerificationError, match="1 did: pipeline"):
            evaluation.CanaryVerifier().verify(judged)


def test_a_threshold_counts_who_names_the_same_data():
    def said(name, by):
        entry = {"name": name, "digest": "sha256:" + name * 64}
        return attest(DATASET, {"datasets": [entry]}, by=[builders.key(by)])

    one, other = ("a.intoto.json", said("a", "pipeline")), ("b.intoto.json", said("b", "lab"))
    policy = _two_must_agree(Purpose.DATASET)

    with pytest.raises(VerificationError, match="1 did"):
        DatasetVerifier().verify(case(one, other, policy=policy))
    same = ("c.intoto.json", said("a", "lab"))
    assert len(DatasetVerifier().verify(case(one, same, policy=policy))["datasets"]) == 1


def test_a_canary_from_the_future_is_refused():
    _canary(canary_body(at=NOW + instant.CLOCK_SKEW))
    with pytest.raises(VerificationError, match="future"):
        _canary(canary_body(), canary_body(at=NOW + instant.CLOCK_SKEW + timedelta(seconds=1)))


@pytest.mark.parametrize(
    "window",
    [
        {"from": "2026-11-21T10:00:00Z", "to": "2026-11-21T11:00:01Z"},
        {"from": "2026-11-21T10:30:00Z", "to": "2026-11-21T10:00:00Z"},
        {"from": "2026-11-31T10:30:00Z", "to": "2026-11-21T10:00:00Z"},
    ],
)
def test_a_canary_with_an_impossible_window_is_refused(window):
    with pytest.raises(VerificationError):
        _canary(canary_body() | {"window": window})


# --- the real cosign -----------------------------------------------------------------------


def _cosign(folder, *arguments) -> subprocess.CompletedProcess[bytes]:
    environment = os.environ | {"COSIGN_PASSWORD": "hello"}
    return subprocess.run(
        [builders.cosign(), *arguments], cwd=folder, env=environment, capture_output=True
    )


@pytest.fixture
def blob(tmp_path):
    """A folder with a key of cosign's own making and the manifest of the model as a file."""
    assert _cosign(tmp_path, "generate-key-pair").returncode == 0
    (tmp_path / "manifest.json").write_bytes(canonical.encode(builders.MANIFEST.to_document()))
    (tmp_path / "other.json").write_bytes(b"[]")
    assert digest.of_bytes((tmp_path / "manifest.json").read_bytes()) == builders.MANIFEST.digest
    return tmp_path


@cosign_only
@pytest.mark.parametrize(("option", "wrapped"), [("--bundle", True), ("--signature", False)])
def test_cosign_verifies_our_statements_against_the_manifest(blob, option, wrapped):
    private = builders.keys.load_private_key(blob / "cosign.key", b"hello")
    signed = attest(TEST_RESULT, results_body(), by=[private])
    hint = bundle.cosign_hint(private.public)
    (blob / "att.json").write_bytes(bundle.wrap(signed, hint) if wrapped else signed)
    verify = ["verify-blob-attestation", "--key", "cosign.pub", option, "att.json"]
    verify += ["--type", TEST_RESULT, "--insecure-ignore-tlog=true"]

    assert _cosign(blob, *verify, "manifest.json").returncode == 0
    assert _cosign(blob, *verify, "other.json").returncode != 0


@cosign_only
def test_a_statement_signed_by_cosign_counts(blob):
    (blob / "statement.json").write_text(json.dumps(STATEMENT))
    (blob / "offline.json").write_text(
        '{"mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json"}'
    )
    sign = ["attest-blob", "--key", "cosign.key", "--statement", "statement.json", "--yes"]
    done = _cosign(blob, *sign, "--signing-config", "offline.json", "--bundle", "att.json")
    assert done.returncode == 0, done.stderr

    private = builders.keys.load_private_key(blob / "cosign.key", b"hello")
    policy = builders.trust(signer("cosign", private))

    [found] = _find((ITEM, (blob / "att.json").read_bytes()), policy=policy)
    assert found.signers == ("cosign",)
