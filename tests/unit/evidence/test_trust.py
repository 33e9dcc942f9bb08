import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_governance.errors import ConfigurationError
from mlflow_governance.evidence.predicate import Purpose
from mlflow_governance.evidence.trust import TrustPolicy, add_signer
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
    assert (entry.name, entry.key) == ("pipeline", A)
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
