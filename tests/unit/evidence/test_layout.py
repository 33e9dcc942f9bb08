from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlflow_governance.errors import EvidenceMissing, VerificationError
from mlflow_governance.evidence import in_toto_files, predicate
from mlflow_governance.evidence import layout as rooms
from mlflow_governance.evidence.layout import ROOT, LayoutVerifier, link_name
from tests.unit.evidence import layout_builders as make
from tests.unit.evidence.builders import NOW

verify = LayoutVerifier().verify
BOTH = pytest.mark.parametrize("dsse", [True, False], ids=["dsse", "metablock"])


def changed(name: str, **changes: Any) -> dict[str, Any]:
    return {name: {**make.LINKS[name], **changes}}


def refused(items: dict[str, bytes], match: str, **changes: Any) -> VerificationError:
    with pytest.raises(VerificationError, match=match) as caught:
        verify(make.case_of(items, **changes))
    return caught.value


@BOTH
def test_a_pipeline_followed_to_the_letter_is_proved(dsse: bool) -> None:
    facts = verify(make.case_of(make.evidence(dsse=dsse)))

    assert facts["owners"] == ["owner"]
    assert facts["expires"] == "2027-01-01T00:00:00.000000Z"
    assert facts["products"] == 2
    assert [(entry["name"], entry["threshold"]) for entry in facts["steps"]] == [
        ("prepare", 1), ("train", 1), ("evaluate", 2), ("package", 1),
    ]  # fmt: skip
    assert facts["steps"][2]["functionaries"] == sorted(
        [make.public("evaluate").key_id, make.public("second evaluator").key_id]
    )


@BOTH
def test_what_we_accept_the_stock_library_accepts(dsse: bool, tmp_path: Path) -> None:
    from in_toto.models.metadata import Metadata
    from in_toto.verifylib import in_toto_verify

    items = make.evidence(dsse=dsse)
    for name, data in items.items():
        (tmp_path / name.removeprefix(rooms.FOLDER)).write_bytes(data)
    keys = {make.keyid("owner"): make.key_entry("owner")}

    in_toto_verify(Metadata.load(str(tmp_path / "root.layout")), keys, str(tmp_path))
    verify(make.case_of(items))


def test_without_a_layout_there_is_no_evidence() -> None:
    with pytest.raises(EvidenceMissing, match="no in-toto layout"):
        verify(make.case_of({}))


def test_links_without_a_layout_are_refused() -> None:
    items = make.evidence()
    del items[ROOT]

    refused(items, "root.layout is attached 0 times")


# The attacks of the reference


@BOTH
def test_a_layout_of_another_owner_is_refused(dsse: bool) -> None:
    items = make.evidence(dsse=dsse)
    items[ROOT] = make.signed(make.layout(), "mallory", dsse=dsse)

    error = refused(items, "signed by nobody trusted for layouts of churn")

    assert "trust add NAME" in error.advice


@BOTH
def test_a_layout_expires_by_the_clock_of_the_case_not_of_the_machine(dsse: bool) -> None:
    items = make.evidence(make.layout(expires="2099-01-01T00:00:00Z"), dsse=dsse)

    refused(items, "expired at 2099", now=datetime(2099, 1, 1, tzinfo=UTC))
    verify(make.case_of(items, now=datetime(2098, 12, 31, tzinfo=UTC)))

    past = make.evidence(make.layout(expires="2001-01-01T00:00:00Z"), dsse=dsse)
    verify(make.case_of(past, now=datetime(2000, 12, 31, tzinfo=UTC)))


@BOTH
def test_fewer_links_than_the_threshold_are_refused(dsse: bool) -> None:
    refused(make.evidence(by={"evaluate": ["evaluate"]}, dsse=dsse), "'evaluate' requires.*'2'")


@BOTH
def test_a_missing_link_is_refused(dsse: bool) -> None:
    refused(make.evidence(by={"train": []}, dsse=dsse), "'train' requires at least '1'")


def test_a_tampered_link_is_refused() -> None:
    items = make.evidence(dsse=False)
    name = link_name("train", make.keyid("train"))
    document = json.loads(items[name])
    document["signed"]["products"]["out/model.bin"]["sha256"] = "0" * 64
    items[name] = json.dumps(document).encode()

    refused(items, "'train' requires at least '1'")


@BOTH
def test_a_link_by_somebody_the_layout_does_not_name_is_refused(dsse: bool) -> None:
    refused(make.evidence(by={"train": ["mallory"]}, dsse=dsse), "of no step and functionary")


@BOTH
def test_a_link_under_a_functionarys_name_by_another_hand_is_refused(dsse: bool) -> None:
    items = make.evidence(dsse=dsse)
    items[link_name("train", make.keyid("train"))] = make.signed(
        make.LINKS["train"], "prepare", dsse=dsse
    )

    refused(items, "'train' requires at least '1'")


@BOTH
def test_a_model_replaced_between_two_steps_is_refused(dsse: bool) -> None:
    poisoned = make.artifacts({"out/model.bin": b"poison"})

    error = refused(
        make.evidence(links=changed("evaluate", materials=poisoned), dsse=dsse),
        r"the materials of the step evaluate: .*out/model.bin",
    )

    assert "\n" not in error.message


# Nothing is run


@BOTH
def test_a_layout_that_asks_to_run_commands_is_refused_and_runs_none(
    dsse: bool, tmp_path: Path
) -> None:
    proof = tmp_path / "ran"
    inspection = {
        "_type": "inspection",
        "name": "look",
        "run": [sys.executable, "-c", f"open({str(proof)!r}, 'w')"],
        "expected_materials": [],
        "expected_products": [],
    }

    refused(make.evidence(make.layout(inspect=[inspection]), dsse=dsse), "asks to run commands")

    assert not proof.exists()


def test_expected_commands_are_not_looked_at(caplog: pytest.LogCaptureFixture) -> None:
    steps = [make.step(name, expected_command=["rm", "-rf", "/"]) for name in make.RULES]

    verify(make.case_of(make.evidence(make.layout(*steps))))

    assert not caplog.records


class _Watch:
    """Audit hooks stay for good, so this one looks only when told."""

    def __init__(self) -> None:
        self.looking = False
        self.seen: list[str] = []

    def __call__(self, event: str, _: object) -> None:
        kinds = ("subprocess.", "os.exec", "os.posix_spawn", "os.fork", "os.system", "os.chdir")
        if self.looking and event.startswith(kinds):
            self.seen.append(event)


def test_no_program_is_started_and_no_folder_entered() -> None:
    watch = _Watch()
    sys.addaudithook(watch)
    watch.looking = True
    try:
        verify(make.case_of(make.evidence()))
        verify(make.case_of(make.evidence(dsse=False)))
    finally:
        watch.looking = False

    assert watch.seen == []


# Whose word counts


def test_one_owner_of_several_is_enough_and_only_those_who_signed_are_facts() -> None:
    items = make.evidence()

    assert verify(make.case_of(items, make.owner("mallory"), make.owner()))["owners"] == ["owner"]


def test_an_owner_must_be_trusted_for_layouts() -> None:
    narrow = make.owner(purposes=frozenset(predicate.Purpose) - {predicate.Purpose.LAYOUT})

    with pytest.raises(VerificationError, match="nobody trusted"):
        verify(make.case_of(make.evidence(), narrow))


@pytest.mark.parametrize(
    "limits", [{"models": ("fraud",)}, {"until": NOW}, {"since": NOW.max.replace(tzinfo=UTC)}]
)
def test_an_owner_must_be_trusted_for_the_model_and_at_the_moment(limits: dict[str, Any]) -> None:
    with pytest.raises(VerificationError, match="nobody trusted"):
        verify(make.case_of(make.evidence(), make.owner(**limits)))


def test_one_key_under_two_ids_does_not_count_twice() -> None:
    twin = "0" * 64
    keys = make.layout()["keys"]
    keys[twin] = make.key_entry("evaluate", keyid=twin)
    step = make.step("evaluate", pubkeys=[make.keyid("evaluate"), twin])
    root = make.layout(
        *[step if name == "evaluate" else make.step(name) for name in make.RULES], keys=keys
    )
    items = make.evidence(root, by={"evaluate": ["evaluate"]}, dsse=False)
    copy = json.loads(items[link_name("evaluate", make.keyid("evaluate"))])
    copy["signatures"][0]["keyid"] = twin
    items[link_name("evaluate", twin)] = json.dumps(copy).encode()

    refused(items, "one key under two ids")


def test_a_key_whose_id_contradicts_itself_is_refused() -> None:
    keys = make.layout()["keys"]
    keys[make.keyid("train")] = make.key_entry("train", keyid=make.keyid("prepare"))

    refused(make.evidence(make.layout(keys=keys)), "a key under two ids")


def test_two_signatures_by_one_hand_on_one_link_are_one_link() -> None:
    items = make.evidence(by={"evaluate": ["evaluate"]}, dsse=False)
    name = link_name("evaluate", make.keyid("evaluate"))
    document = json.loads(items[name])
    document["signatures"] *= 2
    items[name] = json.dumps(document).encode()

    refused(items, "'evaluate' requires at least '2'")


def test_a_link_more_than_needed_must_count_as_well() -> None:
    steps = [make.step(name, threshold=1) for name in make.RULES]
    items = make.evidence(make.layout(*steps))
    name = link_name("evaluate", make.keyid("second evaluator"))
    items[name] = make.signed(make.LINKS["evaluate"], "mallory")

    refused(items, "is not signed by the functionary")


def test_a_threshold_of_one_does_not_choose_between_two_stories() -> None:
    steps = [make.step(name, threshold=1) for name in make.RULES]
    items = make.evidence(make.layout(*steps))
    other = make.link("evaluate", make.WEIGHTS, make.artifacts({"out/metrics.json": b"better"}))
    name = link_name("evaluate", make.keyid("second evaluator"))
    items[name] = make.signed(other, "second evaluator")

    refused(items, "disagree on products")


def test_the_link_of_one_step_does_not_stand_in_for_another() -> None:
    step = make.step("train", pubkeys=[make.keyid("prepare")])
    root = make.layout(*[step if name == "train" else make.step(name) for name in make.RULES])
    items = make.evidence(root, by={"train": []})
    items[link_name("train", make.keyid("prepare"))] = make.signed(
        {**make.LINKS["train"], "name": "prepare"}, "prepare"
    )

    refused(items, "is the link of another step")


def test_key_ids_that_begin_alike_are_refused() -> None:
    first, second = "a" * 8 + "1" * 56, "a" * 8 + "2" * 56
    keys = {
        first: make.key_entry("evaluate", keyid=first),
        second: make.key_entry("second evaluator", keyid=second),
    }
    step = make.step("evaluate", pubkeys=[first, second])

    refused({ROOT: make.signed(make.layout(step, keys=keys), "owner")}, "two links alike")


# The rules


@pytest.mark.parametrize(
    "name",
    [
        "data/../../etc/passwd",
        "../train.csv",
        "/etc/passwd",
        "data\\train.csv",
        "./data/train.csv",
        "data//x",
        ".",
    ],
)
def test_names_that_leave_their_folder_pass_no_rule(name: str) -> None:
    sneaked = {**make.TRAIN, **make.artifacts({name: b"x"})}
    step = make.step("prepare", expected_products=[["ALLOW", "*"]])
    root = make.layout(*[step if n == "prepare" else make.step(n) for n in make.RULES])

    refused(make.evidence(root, changed("prepare", products=sneaked)), "unsafe file name")


@pytest.mark.parametrize("rules", [[], [["CREATE", "data/train.csv"]]])
def test_what_no_rule_speaks_of_is_refused(rules: list[list[str]]) -> None:
    more = {**make.TRAIN, **make.artifacts({"data/more.csv": b"x"})}
    step = make.step("prepare", expected_products=rules)
    root = make.layout(*[step if name == "prepare" else make.step(name) for name in make.RULES])

    refused(make.evidence(root, changed("prepare", products=more)), "the products .*more.csv")


@pytest.mark.parametrize(
    "rule",
    [
        ["MATCH", "*"],
        ["BURN", "*"],
        ["MATCH", "*", "WITH", "ASHES", "FROM", "train"],
        ["ALLOW", "*", "*"],
    ],
)
def test_rules_nobody_knows_are_refused(rule: list[str]) -> None:
    root = make.layout(make.step("prepare", expected_products=[rule]))

    refused({ROOT: make.signed(root, "owner")}, "rule")


def test_rules_are_followed_in_many_threads_at_once() -> None:
    good = make.case_of(make.evidence())
    bad = make.case_of(make.evidence(links=changed("train", materials=make.RAW)))

    def outcome(number: int) -> str:
        try:
            verify(good if number % 2 else bad)
        except VerificationError as error:
            return error.message
        return "good"

    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(outcome, range(64)))

    assert set(outcomes[1::2]) == {"good"}
    assert len(set(outcomes[::2])) == 1
    assert outcomes[0].startswith("the materials of the step train")


# The model


@pytest.mark.parametrize(
    ("files", "match"),
    [
        ({"MLmodel": b"abc", "data/weights.bin": b"other"}, "file changed: data/weights.bin"),
        ({"MLmodel": b"abc"}, "file missing: data/weights.bin"),
        ({**make.MODEL_FILES, "evil.py": b"x"}, "file added: evil.py"),
        ({"a": b"x"}, "file missing: MLmodel; .*file added: a"),
    ],
)
def test_the_model_must_be_what_the_last_step_made(files: dict[str, bytes], match: str) -> None:
    refused(make.evidence(), match, manifest=make.manifest(files))


@pytest.mark.parametrize("prefix", ["", "model/", "out/deep/model/", "data/"])
def test_the_products_may_be_in_any_one_folder(prefix: str) -> None:
    products = make.artifacts(make.MODEL_FILES, prefix)
    step = make.step("package", expected_products=[["ALLOW", "*"]])
    root = make.layout(*[step if name == "package" else make.step(name) for name in make.RULES])

    verify(make.case_of(make.evidence(root, changed("package", products=products))))


@pytest.mark.parametrize(
    "products",
    [
        {"a/MLmodel": b"abc", "b/data/weights.bin": b"1234"},
        {"model/MLmodel": b"abc", "model2/MLmodel": b"abc", "model/data/weights.bin": b"1234"},
        {"mod/MLmodel": b"abc", "model/data/weights.bin": b"1234"},
        {"model/MLmodel": b"abc", "model/data/weights.bin": b"1234", "report.html": b"x"},
        {},
    ],
)
def test_products_in_several_folders_are_not_a_model(products: dict[str, bytes]) -> None:
    step = make.step("package", expected_products=[["ALLOW", "*"]])
    root = make.layout(*[step if name == "package" else make.step(name) for name in make.RULES])

    refused(
        make.evidence(root, changed("package", products=make.artifacts(products))),
        "not what the last step made",
    )


def test_only_the_last_step_of_the_layout_makes_the_model() -> None:
    steps = [make.step(name) for name in ("prepare", "train", "package", "evaluate")]

    refused(make.evidence(make.layout(*steps)), "not what the last step made")


# Foreign bytes


@BOTH
def test_a_layout_in_a_link_s_place_is_refused(dsse: bool) -> None:
    items = make.evidence(dsse=dsse)
    items[link_name("train", make.keyid("train"))] = make.signed(make.layout(), "train", dsse=dsse)

    refused(items, "sublayouts are not followed")


@BOTH
def test_a_link_in_the_layout_s_place_is_refused(dsse: bool) -> None:
    items = make.evidence(dsse=dsse)
    items[ROOT] = make.signed(make.LINKS["train"], "owner", dsse=dsse)

    refused(items, "malformed")


@pytest.mark.parametrize(
    "digests",
    [
        {},
        {"md5": "a" * 32},
        {"sha256": "A" * 64},
        {"sha256": "a" * 63},
        {"sha256": "a" * 64, "sha1": "b" * 40},
        "a" * 64,
    ],
)
def test_artifacts_without_a_sound_digest_are_refused(digests: Any) -> None:
    refused(
        make.evidence(links=changed("train", materials={"data/train.csv": digests})), "malformed"
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"subkeys": {}},
        {"keytype": "rsa", "scheme": "pgp+rsa-pkcsv1.5"},
        {"scheme": "ecdsa-sha2-nistp384"},
        {"keytype": "ed25519", "scheme": "ed25519"},
        {"keyval": {"public": "x"}},
        {"keyval": {"public": "x", "private": "y"}},
    ],
)
def test_keys_that_are_not_what_they_say_are_refused(changes: dict[str, Any]) -> None:
    keys = make.layout()["keys"]
    keys[make.keyid("train")] = make.key_entry("train", **changes)

    refused(make.evidence(make.layout(keys=keys)), "key|keys")


def test_a_short_rsa_key_is_refused() -> None:
    from cryptography.hazmat.primitives.asymmetric import rsa
    from securesystemslib.signer import CryptoSigner

    for bits, match in ((1024, "not of the kind"), (2048, "requires at least")):
        weak = CryptoSigner(rsa.generate_private_key(65537, bits)).public_key
        keys = {weak.keyid: {"keyid": weak.keyid, **weak.to_dict()}}
        root = make.layout(make.step("train", pubkeys=[weak.keyid]), keys=keys)
        refused({ROOT: make.signed(root, "owner")}, match)


@pytest.mark.parametrize("threshold", [0, -1, 33, True, "1", 1.5])
def test_a_threshold_that_asks_nobody_is_refused(threshold: Any) -> None:
    root = make.layout(make.step("train", threshold=threshold))

    refused({ROOT: make.signed(root, "owner")}, "malformed")


@pytest.mark.parametrize(
    "changes",
    [
        {"steps": []},
        {"keys": {}},
        {"expires": "tomorrow"},
        {"expires": "2027-13-41T00:00:00Z"},
        {"rootcas": {}},
        {"inspect": {}},
        {"readme": 1},
    ],
)
def test_a_malformed_layout_is_refused(changes: dict[str, Any]) -> None:
    refused(
        {ROOT: make.signed({**make.layout(), **changes}, "owner")}, "malformed|not an RFC|expire"
    )


def test_a_layout_beyond_the_bounds_is_refused() -> None:
    refused(make.evidence(make.layout(readme="x" * in_toto_files.MAX_LAYOUT_BYTES)), "bytes")
    steps = [{**make.step("train"), "name": f"s{i}"} for i in range(17)]
    refused({ROOT: make.signed(make.layout(*steps), "owner")}, "malformed")


def test_a_link_beyond_the_bounds_is_refused() -> None:
    output = {"stdout": "x" * in_toto_files.MAX_LINK_BYTES}
    refused(make.evidence(links=changed("train", byproducts=output)), "bytes")


def test_too_many_links_are_refused_unread() -> None:
    items = make.evidence() | {f"layout/x.{i:08}.link": b"" for i in range(rooms.MAX_LINKS)}

    refused(items, "at most 48 are read")


@pytest.mark.parametrize(
    ("artifacts", "rules"),
    [
        (19_000, [["ALLOW", f"*a*b*c*{i}"] for i in range(60)]),
        (2_000, [["ALLOW", "*a" * 500 + "b"]]),
    ],
)
def test_more_work_than_a_pipeline_needs_is_refused(artifacts: int, rules: list[list[str]]) -> None:
    many = make.artifacts({f"data/{i}": b"x" for i in range(artifacts)})
    step = make.step("prepare", expected_products=rules)
    root = make.layout(*[step if name == "prepare" else make.step(name) for name in make.RULES])

    refused(make.evidence(root, changed("prepare", products=many)), "too many rules")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"\xff",
        b"[" * 100_000,
        b'{"signed": 1, "signatures": []}',
        b'{"signed": {}, "payload": ""}',
        b'{"signed": {"_type": "layout"}, "signatures": [{"keyid": "", "sig": ""}]}',
        b'{"signed": {"_type": "link", "self": 1},'
        b' "signatures": [{"keyid": "00000000", "sig": "00000000"}]}',
    ],
)
def test_junk_is_refused(data: bytes) -> None:
    items = make.evidence()

    refused({**items, ROOT: data}, ".")
    refused({**items, link_name("train", make.keyid("train")): data}, ".")


def test_json_with_two_meanings_is_refused() -> None:
    items = make.evidence(dsse=False)
    items[ROOT] = items[ROOT].replace(b'"readme": ""', b'"readme": "", "readme": ""')

    refused(items, "same key twice")


def test_signatures_of_openpgp_are_not_read() -> None:
    items = make.evidence(dsse=False)
    document = json.loads(items[ROOT])
    document["signatures"].append({"keyid": "a" * 8, "signature": "00", "other_headers": "00"})
    items[ROOT] = json.dumps(document).encode()

    refused(items, "of a kind that is not supported")


def test_base64_the_library_would_read_otherwise_means_the_same_to_both() -> None:
    items = make.evidence(make.layout(readme="???>>>???~~~"))
    envelope = json.loads(items[ROOT])
    for entry in envelope["signatures"]:
        entry["sig"] = entry["sig"].replace("+", "-").replace("/", "_")
    envelope["payload"] = envelope["payload"].replace("+", "-").replace("/", "_")
    items[ROOT] = json.dumps(envelope).encode()

    assert {"-", "_"} & set(envelope["payload"])
    assert verify(make.case_of(items))["products"] == 2


_GOOD = {dsse: make.evidence(dsse=dsse) for dsse in (True, False)}


@settings(max_examples=300, deadline=None)
@given(data=st.data(), dsse=st.booleans())
def test_any_bit_turned_is_refused_or_changes_no_fact(data: st.DataObject, dsse: bool) -> None:
    items = dict(_GOOD[dsse])
    name = data.draw(st.sampled_from(sorted(items)))
    mutated = bytearray(items[name])
    place = data.draw(st.integers(0, len(mutated) - 1))
    mutated[place] ^= 1 << data.draw(st.integers(0, 7))
    items[name] = bytes(mutated)

    try:
        facts = verify(make.case_of(items))
    except VerificationError:
        return
    assert facts == verify(make.case_of(_GOOD[dsse]))
