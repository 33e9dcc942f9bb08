from __future__ import annotations

import json
from typing import Any

import pytest

from mlflow_governance.core.digest import Digest
from mlflow_governance.errors import ConfigurationError
from mlflow_governance.policy import difference
from mlflow_governance.policy.bundle import Bundle, from_files
from mlflow_governance.policy.difference import Change, differences
from mlflow_governance.policy.syntax import Tree
from tests.unit.policy.builders import configured, shipped, with_module

ALIAS = "registry/alias/alias.rego"
WAIVER = {"id": "W-1", "vulnerability": "CVE-9", "model": "x", "owner": "sam"}
OTHER = {**WAIVER, "model": "y"}

_read = difference._trees
_trees: dict[Digest, list[Tree]] = {}


@pytest.fixture(autouse=True)
def read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nearly every test compares with the shipped bundle: it is parsed for the first one."""

    def trees(bundle: Bundle) -> list[Tree]:
        if bundle.digest not in _trees:
            _trees[bundle.digest] = _read(bundle)
        return _trees[bundle.digest]

    monkeypatch.setattr(difference, "_trees", trees)


def edited(old: str, new: str, name: str = ALIAS) -> Bundle:
    text = shipped().files[name].decode()
    assert old in text
    return from_files({**shipped().files, name: text.replace(old, new, 1).encode()})


def told(new: Bundle, old: Bundle | None = None) -> list[tuple[str, str, str]]:
    return [(c.kind, c.act, c.where) for c in differences(old or shipped(), new)]


def test_a_bundle_does_not_differ_from_itself() -> None:
    assert differences(shipped(), shipped()) == ()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("default protected := false", "# said otherwise\ndefault protected := false # so"),
        ("\tis_string(input.action.alias)\n", "\n\n  is_string( input.action.alias )\n\n"),
        ("# title: Aliases", "# title: About aliases"),
    ],
)
def test_comments_and_layout_change_the_digest_and_nothing_else(old: str, new: str) -> None:
    changed = edited(old, new)

    assert changed.digest != shipped().digest
    assert differences(shipped(), changed) == ()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('input.action.alias != ""', 'input.action.alias != " "'),
        ("is_string(input.action.alias)", "is_string(input.action.other)"),
        ("some rule in config.alias_rules", "some n, rule in config.alias_rules"),
        ("default alias_named := false", "default alias_named := true"),
    ],
)
def test_what_means_something_else_is_told_with_its_lines(old: str, new: str) -> None:
    (change,) = differences(shipped(), edited(old, new))

    assert (change.kind, change.act) == ("rule", "changed")
    assert change.where.startswith("registry.alias.")
    lines = change.lines()
    assert any(line.startswith("-") and old.split()[0] in line for line in lines)
    assert any(line.startswith("+") and new in line for line in lines)


def test_rules_and_imports_that_come_and_go_are_told() -> None:
    more = with_module(
        "package registry.extra\n\nimport data.registry.lib\n\na if lib.authenticated(input)\n"
    )
    expected = {"registry.extra.a", "registry.extra import data.registry.lib"}

    assert {(act, where) for _, act, where in told(more)} == {("added", w) for w in expected}
    assert {(act, where) for _, act, where in told(shipped(), more)} == {
        ("removed", w) for w in expected
    }


def test_checks_that_come_and_go_are_told_by_gate() -> None:
    more = edited('\t"ALI-001": alias_named,', '\t"ALI-001": alias_named,\n\t"OWN-001": true,')

    assert ("check", "added", "alias OWN-001") in told(more)
    assert ("check", "removed", "alias OWN-001") in told(shipped(), more)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"blocking_cvss": 9.0}, ("data", "changed", "registry.config.blocking_cvss")),
        ({"more": [1]}, ("data", "added", "registry.config.more")),
        ({"modes": {"ACC-012": "shadow"}}, ("mode", "added", "registry.config.modes.ACC-012")),
        ({"waivers": [WAIVER]}, ("waiver", "added", "registry.config.waivers W-1")),
        ({"waivers": [{}]}, ("waiver", "added", "registry.config.waivers without an id")),
        ({"deployable_stages": ["Approved"]},
         ("data", "changed", "registry.config.deployable_stages")),
    ],
)  # fmt: skip
def test_data_is_told_by_path(settings: dict[str, Any], expected: tuple[str, str, str]) -> None:
    assert told(configured(**settings)) == [expected]


def test_old_and_new_values_are_shown() -> None:
    (change,) = differences(configured(waivers=[WAIVER]), configured(waivers=[OTHER]))

    assert change.act == "changed"
    assert json.loads(change.old or "")["model"] == "x"
    assert json.loads(change.new or "")["model"] == "y"
    assert change.to_document()["kind"] == "waiver"


def test_the_same_number_written_otherwise_is_no_difference() -> None:
    assert differences(shipped(), configured(blocking_cvss=7)) == ()


def test_the_manifest_is_compared_and_its_revision_is_not() -> None:
    manifest = json.loads(shipped().files[".manifest"])
    manifest["metadata"]["owner"] = "risk"
    changed = from_files({**shipped().files, ".manifest": json.dumps(manifest).encode()})

    assert told(changed) == [("manifest", "added", "metadata.owner")]


def test_another_schema_is_told() -> None:
    schema = shipped().files["dossier.schema.json"] + b"\n"

    assert told(from_files({**shipped().files, "dossier.schema.json": schema})) == [
        ("file", "changed", "dossier.schema.json")
    ]


def test_what_uses_itself_cannot_be_compared() -> None:
    with pytest.raises(ConfigurationError, match="uses"):
        differences(shipped(), with_module("package registry.x\n\nf(x) := f(x)\n"))


def test_a_rule_that_is_new_is_shown_whole() -> None:
    assert Change("rule", "a.b", None, "b := 1\nb := 2").lines() == ["+b := 1", "+b := 2"]
