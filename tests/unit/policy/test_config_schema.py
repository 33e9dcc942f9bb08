"""What the settings of the policies may be: refused at load, in words that name the mend."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from mlflow_governance import bootstrap
from mlflow_governance.config import Settings
from mlflow_governance.core.dossier import Gate
from mlflow_governance.core.resources import folder
from mlflow_governance.errors import ConfigurationError
from mlflow_governance.evidence.dataset import LEGAL_BASES
from mlflow_governance.evidence.interface import Kind
from mlflow_governance.policy import config_schema
from mlflow_governance.policy.bundle import Bundle, from_files, load
from mlflow_governance.policy.embedded import EmbeddedEngine
from tests.unit.policy.builders import CONFIG, configured, dossier, everything, shipped

WAIVER = {"id": "W-1", "model": "*", "owner": "sam", "approver": "ann", "reason": "known"}


def places(**settings: Any) -> dict[str, str]:
    return {p.path: p.message for p in config_schema.problems(configured(**settings))}


def without(*names: str) -> Bundle:
    bundle = shipped()
    config = json.loads(bundle.files[CONFIG])
    kept = {name: value for name, value in config.items() if name not in names}
    return from_files({**bundle.files, CONFIG: json.dumps(kept).encode()})


def test_what_ships_has_no_problem_with_everything_on_either() -> None:
    assert config_schema.problems(shipped()) == []
    assert config_schema.problems(everything()) == []


def test_a_bundle_without_these_settings_is_another_bundle() -> None:
    bundle = shipped()
    files = {name: data for name, data in bundle.files.items() if name != CONFIG}

    assert config_schema.problems(from_files(files)) == []
    assert (
        config_schema.problems(from_files({**files, "data.json": b'{"registry": {"mine": 1}}'}))
        == []
    )


def test_a_misspelt_key_is_refused_with_the_one_that_was_meant() -> None:
    assert "did you mean blocking_cvss?" in places(blocking_cvs=7)["registry/config/data.json"]
    assert "did you mean canary?" in places(library={"canery": []})["library"]
    assert "did you mean expires?" in places(waivers=[{**WAIVER, "expiry": "x"}])["waivers[0]"]
    at_metrics = places(library={"metrics": [{"metric": "auc", "at_lest": 1, "at_most": 2}]})
    assert "did you mean at_least?" in at_metrics["library.metrics[0]"]


@pytest.mark.parametrize(
    ("settings", "place"),
    [
        ({"blocking_cvss": "7"}, "blocking_cvss"),
        ({"blocking_cvss": 11}, "blocking_cvss"),
        ({"epss_blocks": 50}, "epss_blocks"),
        ({"kev_blocks": "no"}, "kev_blocks"),
        ({"tolerated_severities": ["Low"]}, "tolerated_severities[0]"),
        ({"default_floor": "Medium"}, "default_floor"),
        ({"risk_floors": [{"pattern": "a**", "tier": "low"}]}, "risk_floors[0].pattern"),
        ({"risk_floors": [{"pattern": "{a", "tier": "low"}]}, "risk_floors[0].pattern"),
        ({"risk_floors": [{"pattern": "a[", "tier": "low"}]}, "risk_floors[0].pattern"),
        ({"quorum": {"low": {}, "medium": {}, "high": {"security": 0}}}, "quorum.high.security"),
        ({"quorum": {"low": {}, "medium": {}, "high": {"Security": 1}}}, "quorum.high"),
        ({"quorum": {"low": {}, "medium": {}}}, "quorum"),
        ({"quorum": {"low": {}, "medium": {}, "high": dict.fromkeys("abcde", 1)}}, "quorum.high"),
        ({"required_evidence": {"release": ["slo"]}}, "required_evidence.release[0]"),
        ({"waiver_notice_days": -1}, "waiver_notice_days"),
        ({"waivers": [{**WAIVER, "owner": 7}]}, "waivers[0].owner"),
        ({"modes": {"PRO-015": "wran"}}, "modes.PRO-015"),
        ({"modes": {"PRO-15": "warn"}}, "modes.PRO-15"),
        ({"check_waivers": [{**WAIVER, "check": "PRO-999"}]}, "check_waivers[0].check"),
        ({"library": {"metrics": [{"metric": "auc"}]}}, "library.metrics[0]"),
        ({"library": {"canary": [{}]}}, "library.canary[0]"),
        ({"library": {"freeze": [{"from": "15:00", "to": "18:00"}]}}, "library.freeze[0].from"),
        ({"library": {"evidence_age": [{"max_days": {"sbon": 1}}]}},
         "library.evidence_age[0].max_days"),
        ({"alias_rules": [{"aliases": ["a"], "stages": ["Revoked"], "roles": []}]},
         "alias_rules[0].stages[0]"),
        ({"licences": {}}, "licences"),
        ({"required_roles": ["security", "product"]}, "registry/config/data.json"),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_refused_at_its_place(settings: dict[str, Any], place: str) -> None:
    assert place in places(**settings)


def test_a_day_no_calendar_has_is_no_instant() -> None:
    window = {"from": "2027-02-29T00:00:00Z", "to": "2027-03-01T00:00:00Z"}

    assert "library.freeze[0].from" in places(library={"freeze": [window]})


def test_an_incomplete_waiver_is_for_the_decision_to_tell_and_not_for_the_start() -> None:
    assert places(waivers=[{"id": "W-1", "model": "*", "vulnerability": "CVE-1"}]) == {}


def test_custom_is_free_and_null_asks_nothing() -> None:
    assert places(custom={"anything": [{"goes": 1}]}, library={"slo": None, "canary": []}) == {}


def test_everything_wrong_is_named_at_once_and_not_without_end() -> None:
    bundle = configured(
        blocking_cvss="x", epss_blocks=2, modes={f"X-{n}": "warn" for n in range(40)}
    )

    with pytest.raises(ConfigurationError) as refused:
        config_schema.require(bundle)

    assert "  - blocking_cvss: " in refused.value.message
    assert "  - epss_blocks: " in refused.value.message
    assert "more" in refused.value.message.splitlines()[-1]
    assert "policy check" in refused.value.advice


def test_the_server_does_not_start_on_a_misspelt_setting(tmp_path: Path) -> None:
    for name, data in configured(blocking_cvs=7.0).files.items():
        path = tmp_path / "policies" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    settings = Settings(home=tmp_path, policies=tmp_path / "policies")
    misspelt = bootstrap.load_bundle(settings)

    with pytest.raises(ConfigurationError, match="did you mean blocking_cvss"):
        bootstrap.policy_engine(settings, misspelt)


def test_the_schema_lies_beside_the_bundle_and_decides_nothing() -> None:
    assert (folder("policies") / "config.schema.json").is_file()
    assert "config.schema.json" not in load(folder("policies")).files
    other = from_files({**shipped().files, "config.schema.json": b"{}"})
    assert other.digest == shipped().digest


@pytest.mark.parametrize(
    "name", ["library", "required_evidence", "custom", "waiver_notice_days", "$schema"]
)
def test_a_setting_that_may_be_absent_may_be(name: str) -> None:
    bundle = without(name)
    engine = EmbeddedEngine(bundle)

    assert config_schema.problems(bundle) == []
    for gate in Gate:
        assert engine.evaluate(gate, dossier(gate).encoded)["allow"] is True


def test_what_ships_has_every_other_setting() -> None:
    present = json.loads(shipped().files[CONFIG]).keys()

    assert set(config_schema.schema()["properties"]) - present == {"$schema"}
    for name in config_schema.schema()["required"]:
        assert config_schema.problems(without(name)) != []


def _nodes(node: object) -> Iterator[Mapping[str, Any]]:
    if isinstance(node, Mapping):
        if "properties" in node and "type" in node:
            yield node
        for inner in node.values():
            yield from _nodes(inner)
    elif isinstance(node, list):
        for inner in node:
            yield from _nodes(inner)


def test_every_key_is_described_and_no_other_is_taken() -> None:
    schema = config_schema.schema()
    for node in _nodes(schema):
        assert node.get("additionalProperties") is False
        for name, said in node["properties"].items():
            target = schema["$defs"][said["$ref"].split("/")[-1]] if "$ref" in said else said
            assert (said.get("description") or target.get("description", "")).endswith("."), name


def test_words_shared_with_evidence_are_the_same() -> None:
    definitions = config_schema.schema()["$defs"]

    assert set(definitions["legal_basis"]["enum"]) == set(LEGAL_BASES)
    assert set(definitions["kind"]["enum"]) >= {kind.value for kind in Kind}
    dossier_kinds = json.loads((folder("policies") / "dossier.schema.json").read_text())
    assert set(definitions["kind"]["enum"]) == set(
        dossier_kinds["properties"]["evidence"]["properties"]
    )


def test_every_rule_of_the_library_has_a_code_a_text_and_an_example() -> None:
    rules = config_schema.schema()["properties"]["library"]["properties"]
    engine = EmbeddedEngine(everything())
    every_step = {
        name: [{**rule["examples"][0][0], "steps": ["release"], "tiers": ["high"]}]
        for name, rule in rules.items()
    }
    answer = EmbeddedEngine(configured(library=every_step)).evaluate(
        Gate.PROMOTE, json.dumps({"action": {"to": "Approved"}}).encode()
    )
    codes = {code for code in answer["checks"] if code.startswith("LIB-")}

    assert engine.evaluate(Gate.PROMOTE, dossier(Gate.PROMOTE).encoded)["allow"] is True
    assert codes == {f"LIB-{number:03}" for number in range(1, len(rules) + 1)}
    for rule in rules.values():
        assert any(rule["description"].endswith(f"Check {code}.") for code in codes)
