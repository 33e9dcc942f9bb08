import json
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_governance.errors import ConfigurationError, VerificationError
from mlflow_governance.evidence import envelope, trust_file
from mlflow_governance.evidence.authority import IdentityHolder, KeyHolder, When
from mlflow_governance.evidence.predicate import Purpose
from mlflow_governance.evidence.trust import (
    Threshold,
    TrustPolicy,
    Withdrawal,
    add_signer,
    withdraw_signer,
)
from tests.unit.evidence import builders
from tests.unit.evidence.builders import HOUR, NOW, signer

A, B = builders.key("a").public, builders.key("b").public
TEXT = """\
version: 1
signers:
  # the training pipeline
  - name: pipeline
    key: {file: a.pub}
    for: [signature, test-result]
    models: ["churn-*"]
    valid: {from: 2026-11-21T11:00:00Z, until: 2026-11-21T14:00:00+01:00}
"""


@pytest.fixture
def home(tmp_path):
    (tmp_path / "a.pub").write_text(A.pem)
    (tmp_path / "trust.yaml").write_text(TEXT)
    return tmp_path


def test_a_policy_says_who_may_attest_what(home):
    policy = TrustPolicy.load(home / "trust.yaml")

    [entry] = policy.keys_for(Purpose.SIGNATURE, "churn-eu", NOW)
    assert (entry.name, entry.by) == ("pipeline", KeyHolder(A))
    assert policy.keys_for(Purpose.SBOM, "churn-eu", NOW) == []


@pytest.mark.parametrize(
    ("name", "there"),
    [
        ("churn-", True),
        ("churn-eu", True),
        ("Churn-eu", False),
        ("my-churn-eu", False),
        ("", False),
    ],
)
def test_a_pattern_covers_the_whole_name_and_its_case(home, name, there):
    policy = TrustPolicy.load(home / "trust.yaml")

    assert bool(policy.keys_for(Purpose.SIGNATURE, name, NOW)) is there


@pytest.mark.parametrize(
    ("now", "there"),
    [
        (NOW - HOUR, True),
        (NOW - 1.001 * HOUR, False),
        (NOW + 0.999 * HOUR, True),
        (NOW + HOUR, False),
    ],
)
def test_a_key_counts_from_its_first_instant_until_before_its_last(home, now, there):
    policy = TrustPolicy.load(home / "trust.yaml")

    assert bool(policy.keys_for(Purpose.SIGNATURE, "churn-eu", now)) is there


def test_nobody_is_trusted_by_the_empty_policy():
    assert TrustPolicy.empty().keys_for(Purpose.SIGNATURE, "m", NOW) == []
    assert TrustPolicy.parse(b"version: 1\nsigners: []", Path()) == TrustPolicy.empty()


def test_the_digest_follows_the_meaning_and_not_the_spelling(home):
    loaded = TrustPolicy.load(home / "trust.yaml")
    inline = TEXT.replace("{file: a.pub}", repr(A.pem).replace("'", '"')).replace(
        "  # the", "  # a"
    )
    assert TrustPolicy.parse(inline.encode(), home).digest == loaded.digest

    (home / "a.pub").write_text(B.pem)
    others = [
        TEXT,
        TEXT.replace("churn-*", "churn"),
        TEXT.replace("test-result", "sbom"),
        TEXT.replace("14:00", "15:00"),
    ]
    digests = {TrustPolicy.parse(text.encode(), home).digest for text in others}
    assert len(digests | {loaded.digest}) == 5
    assert (
        TrustPolicy((signer("a"), signer("b"))).digest
        == TrustPolicy((signer("b"), signer("a"))).digest
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "version: 2\nsigners: []",
        "version: 1",
        "version: 1\nsigners: []\nsigners: []",
        "version: 1\nsigners: []\nextra: 1",
        "version: 1\nsigners: [",
        "version: &v 1\nsigners: *v",
        "!!python/object/apply:os.system ['true']",
        "\x00",
        "? a\n? b",
        "version: 1\nsigners: []\nnull: 1",
        "version: 1\nsigners: !!set {a}",
        "version: 1\nsigners: !!binary AAAA",
        "version: 1\nsigners: .nan",
        "version: 1" + "0" * 5000 + "\nsigners: []",
        "version: 1\nsigners: " + "[" * 5000,
        "{a: 1, a: 2}",
        "[{}, {[]: 1}]",
        TEXT.replace("a.pub", "absent.pub"),
        TEXT.replace("a.pub", "trust.yaml"),
        TEXT.replace("{file: a.pub}", "nonsense"),
        TEXT.replace("{file: a.pub}", "{file: a.pub, more: 1}"),
        TEXT.replace("test-result", "everything"),
        TEXT.replace("[signature, test-result]", "[]"),
        TEXT.replace('["churn-*"]', "[]"),
        TEXT.replace("11:00:00Z", "11:00:00"),
        TEXT.replace("2026-11-21T11:00:00Z", "2026-13-21T11:00:00Z"),
        TEXT.replace("2026-11-21T11:00:00Z", "2027-11-21T11:00:00Z"),
        TEXT.replace("name: pipeline", "name: ''"),
    ],
)
def test_a_malformed_policy_is_refused(home, text):
    with pytest.raises(ConfigurationError):
        TrustPolicy.parse(text.encode(), home)


def test_one_key_under_two_names_is_refused(home):
    again = TEXT.split("signers:\n")[1].replace("pipeline", "reviewer")

    with pytest.raises(ConfigurationError, match="one key under two names: pipeline and reviewer"):
        TrustPolicy.parse((TEXT + again).encode(), home)


def test_one_name_may_have_several_entries(home):
    again = TEXT.split("signers:\n")[1].replace("churn", "fraud")
    policy = TrustPolicy.parse((TEXT + again).encode(), home)

    assert len(policy.signers) == 2


@given(
    st.one_of(
        st.binary(max_size=100), st.text(max_size=100).map(lambda t: TEXT + t).map(str.encode)
    )
)
def test_foreign_bytes_are_refused_without_surprise(data):
    try:
        policy = TrustPolicy.parse(data, Path("/nonexistent"))
    except ConfigurationError:
        return
    assert policy.signers == ()  # no key file is there, but trusting nobody needs none


def test_an_absent_policy_is_refused_and_not_taken_for_an_empty_one(tmp_path):
    with pytest.raises(ConfigurationError):
        TrustPolicy.load(tmp_path / "trust.yaml")


def test_a_signer_is_added_and_the_comments_stay(home):
    added = signer("b", since=NOW, until=NOW + HOUR, models=("x", "y*"))

    policy = add_signer(home / "trust.yaml", added)

    text = (home / "trust.yaml").read_text()
    assert text.startswith(TEXT)
    assert "-----BEGIN PUBLIC KEY-----\n" in text
    assert policy.signers[1] == added
    assert TrustPolicy.load(home / "trust.yaml") == policy
    assert sorted(p.name for p in home.iterdir()) == ["a.pub", "trust.yaml"]


@pytest.mark.parametrize(
    "text",
    [None, "version: 1\nsigners: []\n", "signers: []\nversion: 1", "{version: 1, signers: []}"],
)
def test_the_first_signer_is_added_to_any_spelling(tmp_path, text):
    path = tmp_path / "trust.yaml"
    if text:
        path.write_text(text)

    assert add_signer(path, signer("a")).signers == (signer("a"),)
    assert len(add_signer(path, signer("b")).signers) == 2


def test_a_signer_that_would_spoil_the_policy_leaves_it_as_it_was(home):
    with pytest.raises(ConfigurationError):
        add_signer(home / "trust.yaml", signer("thief", builders.key("a")))

    assert (home / "trust.yaml").read_text() == TEXT
    assert sorted(p.name for p in home.iterdir()) == ["a.pub", "trust.yaml"]


def test_of_signers_added_at_once_none_is_lost(tmp_path):
    path = tmp_path / "trust.yaml"
    names = [f"s{n}" for n in range(8)]
    entries = [signer(name) for name in names]
    threads = [threading.Thread(target=add_signer, args=(path, entry)) for entry in entries]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert {entry.name for entry in TrustPolicy.load(path).signers} == set(names)


def test_a_huge_policy_is_not_read(tmp_path):
    (tmp_path / "trust.yaml").write_bytes(b"#" * (5 * 1024 * 1024))

    with pytest.raises(ConfigurationError, match="not read"):
        TrustPolicy.load(tmp_path / "trust.yaml")


def test_a_key_that_cannot_be_read_is_named_by_its_signer(home):
    (home / "a.pub").write_text("junk")

    with pytest.raises(ConfigurationError, match="signer pipeline: not a PEM public key"):
        TrustPolicy.load(home / "trust.yaml")


def _signed_by(*names):
    payload = b"{}"
    keys = [builders.key(name) for name in names]
    return envelope.parse(envelope.sign(payload, envelope.IN_TOTO, keys))


def _verify(policy, *names):
    found = policy.verify(_signed_by(*names), Purpose.TEST_RESULT, "churn", NOW)
    return {entry.name for entry in found}


def test_several_trusted_signers_of_one_envelope_are_all_named():
    policy = TrustPolicy((signer("a"), signer("b"), signer("c")))

    assert _verify(policy, "a", "c", "unknown") == {"a", "c"}


def test_a_withdrawn_key_does_not_count_and_the_refusal_says_why():
    gone = Withdrawal(NOW + HOUR, "the laptop was stolen")
    policy = TrustPolicy((signer("a", withdrawn=gone), signer("b")))

    assert _verify(policy, "a", "b") == {"b"}
    # Not even before that instant: nothing proves when this was signed.
    with pytest.raises(VerificationError, match="the laptop was stolen"):
        _verify(policy, "a")


@pytest.mark.parametrize(
    ("when", "counts"),
    [
        (When(NOW - HOUR, NOW - HOUR, proved=True), True),
        (When(NOW - HOUR, NOW - HOUR), False),
        (When(NOW, NOW, proved=True), False),
        (When(NOW - HOUR, NOW, proved=True), False),
    ],
)
def test_what_is_proved_to_be_older_than_a_withdrawal_goes_on_counting(when, counts):
    entry = signer("a", withdrawn=Withdrawal(NOW, "lost"))

    assert (not entry.untimely(when)) is counts


def test_what_is_proved_to_be_older_than_the_expiry_goes_on_counting():
    entry = signer("a", until=NOW - HOUR)

    assert entry.untimely(When(NOW, NOW))
    assert not entry.untimely(When(NOW - 2 * HOUR, NOW - 2 * HOUR, proved=True))


def _threshold(least, *names, **more):
    return Threshold(frozenset({Purpose.TEST_RESULT}), least, frozenset(names), **more)


def test_a_threshold_counts_different_names_of_its_own_circle():
    policy = TrustPolicy((), (_threshold(2, "a", "b", "c"),))

    policy.require(Purpose.TEST_RESULT, "churn", ["a", "c"])
    for names in ([], ["a"], ["a", "a"], ["a", "d", "e"]):
        with pytest.raises(VerificationError, match="2 of a, b, c must sign"):
            policy.require(Purpose.TEST_RESULT, "churn", names)


def test_a_threshold_is_for_its_purposes_and_models_only():
    policy = TrustPolicy((), (_threshold(2, models=("churn-*",)),))

    policy.require(Purpose.TEST_RESULT, "fraud", ["a"])
    policy.require(Purpose.SBOM, "churn-eu", ["a"])
    with pytest.raises(VerificationError):
        policy.require(Purpose.TEST_RESULT, "churn-eu", ["a"])


def test_every_threshold_that_applies_must_be_met():
    policy = TrustPolicy((), (_threshold(2), _threshold(2, "c", "d")))

    with pytest.raises(VerificationError, match="of c, d must sign"):
        policy.require(Purpose.TEST_RESULT, "churn", ["a", "b", "c"])


@pytest.mark.parametrize(
    "more",
    [
        "thresholds: [{for: [sbom], least: 2, of: [pipeline]}]",
        "thresholds: [{for: [sbom], least: 2, of: [pipeline, nobody]}]",
        "thresholds: [{for: [sbom], least: 1}]",
        "thresholds: [{for: [sbom], least: two}]",
        "thresholds: [{least: 2}]",
        "thresholds: 2",
        "timestamping: [{name: tsa, chain: {file: absent.pem}}]",
        "timestamping: [{name: tsa, chain: nonsense}]",
    ],
)
def test_a_threshold_nobody_can_meet_and_a_malformed_one_are_refused(home, more):
    with pytest.raises(ConfigurationError):
        TrustPolicy.parse(f"{TEXT}{more}\n".encode(), home)


@pytest.mark.parametrize(
    "instead",
    [
        "keyless: {issuer: https://i.example, identity: ''}",
        "keyless: {issuer: '', identity: a@b.example}",
        "keyless: {issuer: https://i.example}",
        "keyless: {issuer: https://i.example, identity: a@b.example, root: nonsense}",
        "keyless: {issuer: https://i.example, identity: a@b.example, root: '{'}",
        "certificate: {roots: nonsense, identity: a@b.example}",
        "certificate: {roots: {file: a.pub}, identity: a@b.example}",
        "certificate: {roots: {file: a.pub}, identity: ''}",
        "key: {file: a.pub}\n    keyless: {issuer: https://i.example, identity: a@b.example}",
        "models: ['*']",
    ],
)
def test_an_entry_names_one_authority_completely(home, instead):
    with pytest.raises(ConfigurationError):
        TrustPolicy.parse(TEXT.replace("key: {file: a.pub}", instead).encode(), home)


def test_a_keyless_entry_is_read_and_written_whole(home):
    said = "keyless: {issuer: https://i.example, identity: a@b.example, root: {file: root.json}}"
    (home / "root.json").write_text('{"mediaType": "x"}')
    path = home / "trust.yaml"
    path.write_text(TEXT.replace("key: {file: a.pub}", said))
    policy = TrustPolicy.load(path)

    [entry] = policy.signers
    assert entry.by == IdentityHolder("https://i.example", "a@b.example", '{"mediaType": "x"}')
    again = TrustPolicy.parse(json.dumps(policy.to_document()).encode(), Path())
    assert again.digest == policy.digest
    assert trust_file.files(path) == (home / "root.json",)


def test_withdrawing_marks_every_entry_of_the_name_and_never_moves_to_later(home):
    path = home / "trust.yaml"
    add_signer(path, signer("b"))

    withdraw_signer(path, "pipeline", Withdrawal(NOW, "left"))
    policy = withdraw_signer(path, "pipeline", Withdrawal(NOW + HOUR, "later"))

    assert {s.name: s.withdrawn for s in policy.signers} == {
        "pipeline": Withdrawal(NOW, "left"),
        "b": None,
    }
    with pytest.raises(ConfigurationError, match="names no signer"):
        withdraw_signer(path, "nobody", Withdrawal(NOW, "left"))


def test_a_withdrawn_key_does_not_come_back_in_another_entry(home):
    path = home / "trust.yaml"
    withdraw_signer(path, "pipeline", Withdrawal(NOW, "stolen"))
    before = path.read_bytes()

    with pytest.raises(ConfigurationError, match="withdraws pipeline"):
        add_signer(path, builders.signer("pipeline", builders.key("a")))

    assert path.read_bytes() == before
    add_signer(path, builders.signer("pipeline", builders.key("b")))


def with_rsa(purposes):
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric import rsa

    pem = (
        rsa.generate_private_key(65537, 2048)
        .public_key()
        .public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)
    )
    return {"name": "lab", "key": pem.decode(), "for": purposes}


def test_an_rsa_key_is_trusted_for_policy_and_nothing_else(tmp_path):
    document = {"version": 1, "signers": [with_rsa(["policy"])]}
    policy = TrustPolicy.parse(json.dumps(document).encode(), tmp_path)
    [entry] = policy.keys_for(Purpose.POLICY, "*", NOW)
    assert entry.by.key.algorithm == "rsa"
    with pytest.raises(VerificationError, match="nothing else"):
        entry.by.key.verify(b"signature", b"data")

    for purposes in (["signature"], ["policy", "registry"]):
        document["signers"] = [with_rsa(purposes)]
        with pytest.raises(ConfigurationError, match="trusted for policy and nothing else"):
            TrustPolicy.parse(json.dumps(document).encode(), tmp_path)


def test_a_policy_bundle_is_signed_by_a_key_and_by_one(tmp_path):
    keyless = {"issuer": "https://issuer.example", "identity": "someone@acme.example"}
    document = {"version": 1, "signers": [{"name": "a", "keyless": keyless, "for": ["policy"]}]}
    with pytest.raises(ConfigurationError, match="knows keys alone"):
        TrustPolicy.parse(json.dumps(document).encode(), tmp_path)

    document["signers"] = [{"name": "a", "key": A.pem, "for": ["policy"]}]
    assert TrustPolicy.parse(json.dumps(document).encode(), tmp_path)
    document["thresholds"] = [{"for": ["policy"], "least": 2}]
    with pytest.raises(ConfigurationError, match="one signature"):
        TrustPolicy.parse(json.dumps(document).encode(), tmp_path)
