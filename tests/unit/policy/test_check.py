from __future__ import annotations

import json
from pathlib import Path

import pytest

from mlflow_governance.core.dossier import Gate
from mlflow_governance.core.resources import folder
from mlflow_governance.policy import config_schema
from mlflow_governance.policy.bundle import read
from mlflow_governance.policy.check import RULES, examine
from mlflow_governance.policy.json_place import place

FILES = read(folder("policies"))
ALIAS = "registry/alias/alias.rego"
DATA = "registry/config/data.json"


def changed(name: str, old: str, new: str) -> dict[str, bytes]:
    text = FILES[name].decode()
    assert old in text
    return {**FILES, name: text.replace(old, new, 1).encode()}


def found(files: dict[str, bytes]) -> list[tuple[str, str]]:
    return [(finding.rule, finding.file) for finding in examine(files).findings]


def test_the_shipped_bundle_has_nothing_wrong_with_it() -> None:
    examination = examine(FILES)

    assert examination.findings == ()
    assert examination.bundle is not None


def test_everything_is_found_at_once_with_its_place_and_a_fix() -> None:
    files = {
        **changed(
            ALIAS, "default protected := false", "default protected := false\n\np if not f(input.x)"
        ),
        "registry/own/a.rego": b"package registry.own\n\na if {\n",
        "registry/own/b.rego": b'package registry.own\n\nb := $"{input.x}"\n',
        "registry/old/c.rego": b"package registry.old\n\nc { true }\n",
        "registry/data.json": b'{\n  "alias": {"allow": true}\n}\n',
    }

    examination = examine(files)

    places = {(f.rule, f.file, f.line) for f in examination.findings}
    assert places >= {
        ("syntax", "registry/own/a.rego", 4),
        ("syntax", "registry/own/b.rego", 3),
        ("syntax", "registry/old/c.rego", 3),
        ("data-over-rules", "registry/data.json", 2),
    }
    assert {"negation", "unknown-function"} <= {rule for rule, _, _ in places}
    assert all(
        f.line > 0 and f.column > 0 and f.fix and f.rule in RULES for f in examination.findings
    )
    assert "concat" in next(f.fix for f in examination.findings if f.file.endswith("b.rego"))
    assert "v0" in next(f.fix for f in examination.findings if f.file.endswith("c.rego"))


def test_a_setting_the_schema_does_not_admit_has_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = config_schema.Problem("licences.incompatible[0].because", "it is not a text")
    monkeypatch.setattr(config_schema, "problems", lambda _: [wrong])

    (finding,) = examine(FILES).findings

    line = FILES[DATA].decode().splitlines()[finding.line - 1]
    assert (finding.rule, finding.file) == ("config", DATA)
    assert line.strip().startswith('"because"')


def test_a_bundle_that_uses_itself_is_not_evaluated() -> None:
    files = {**FILES, "registry/own/a.rego": b"package registry.own\n\nf(x) := f(x)\n"}

    examination = examine(files)

    assert examination.bundle is None
    assert ("recursion", "registry/own/a.rego") in found(files)


@pytest.mark.parametrize("gate", Gate)
def test_a_gate_that_is_not_there_is_named(gate: Gate) -> None:
    missing = f"registry/{gate.value}/{gate.value}.rego"

    files = {name: data for name, data in FILES.items() if name != missing}

    assert found(files) == [("gate-missing", missing)]


def test_each_careless_gate_is_found() -> None:
    files = dict(FILES)
    for gate in ("alias", "download"):
        name = f"registry/{gate}/{gate}.rego"
        text = files[name].decode().replace('"allow": allow,', '"allow": true,')
        files[name] = text.encode()

    rules = found(files)

    assert [rule for rule in rules if rule[0] == "empty-allowed"] == [
        ("empty-allowed", ALIAS), ("empty-allowed", "registry/download/download.rego"),
    ]  # fmt: skip
    assert ("decision", ALIAS) in rules


@pytest.mark.parametrize(
    ("old", "new", "rule", "told"),
    [
        ('\t"warnings": noted,\n', "", "decision", "ENG-SHAPE"),
        ('"gate": "alias",\n\t"allow"', '"gate": "alais",\n\t"allow"', "decision", "ENG-SHAPE"),
        ('"reasons": reasons,', '"reasons": [],', "decision", "ENG-UNEXPLAINED"),
        ("alias_named if {", "alias_named if {\n\tlower(input.action.to_version) == `x`",
         "decision", "ENG-ERROR"),
        ('\t"ALI-001": alias_named,', '\t"ALI-001": alias_named,\n\t"ALI-009": false,',
         "undocumented", "ALI-009 has no text"),
        ('"fix": "name the alias",', '"fix": "",', "undocumented", "ALI-001 has no fix"),
        ('"ALI-001": alias_named,', '"ali1": alias_named,', "check-name", "'ali1'"),
        ('"ALI-001": alias_named,', '"ENG-001": alias_named,', "check-name", "'ENG-001'"),
        ('"ALI-003": stage_fits', '"DLD-003": stage_fits', "check-twice", "DLD-003 is a check of"),
        ("a version in stage {stage} cannot", "a version in stage {stgae} cannot",
         "placeholder", "{stgae}"),
        ("# entrypoint: true\n", "", "entrypoint", "alias gate"),
        ("# METADATA\n# title: Aliases\n", "# title: Aliases\n", "metadata", "registry.alias"),
        ("# title: Aliases", "# title: a: b {c", "metadata", "not YAML"),
    ],
)  # fmt: skip
def test_a_gate_says_what_people_need_to_know(old: str, new: str, rule: str, told: str) -> None:
    findings = examine(changed(ALIAS, old, new)).findings

    assert any(f.rule == rule and told in f.message and f.file == ALIAS for f in findings), findings


def test_a_check_of_another_package_needs_a_text_too() -> None:
    more = 'shipped := object.union({"OWN-001": true, "OWN-002": false}, seeds)\n\nseeds := {'

    findings = examine(changed(ALIAS, "shipped := {", more)).findings

    assert {f.message for f in findings if f.rule == "undocumented"} == {
        "OWN-001 has no text", "OWN-002 has no text"
    }  # fmt: skip


def test_what_the_loader_refuses_is_a_finding(tmp_path: Path) -> None:
    for name, data, told in (
        ("registry/notes.txt", b"x", "neither"),
        (".manifest", b'{"roots": ["registry"]}', "rego_version"),
        ("registry/own/a_test.rego", b"package registry.own_test\n", "tests stand in tests/"),
        (DATA, b"{", "JSON"),
        ("other/a.rego", b"# METADATA\n# title: x\n# description: y\npackage other\n\na := 1\n",
         "outside the roots"),
    ):  # fmt: skip
        findings = examine({**FILES, name: data}).findings
        assert any(f.rule == "bundle" and told in f.message for f in findings), (name, findings)


def test_kinds_of_findings_can_be_overlooked() -> None:
    files = changed(
        ALIAS,
        "default protected := false",
        "default p := 1\n\np if not f(input.x)\n\nf(x) := x\n\ndefault protected := false",
    )

    assert found(files) == [("negation", ALIAS)]
    assert examine(files, frozenset({"negation"})).findings == ()


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (("a",), (2, 3)), (("a", "b"), (2, 9)), (("c", 1), (3, 12)), (("c", 1, "d"), (3, 13)),
        (("c", 7), (3, 3)), (("nowhere",), (1, 1)), ((), (1, 1)),
    ],
)  # fmt: skip
def test_a_value_of_a_data_document_has_a_place(
    path: tuple[str | int, ...], expected: tuple[int, int]
) -> None:
    text = '{\n  "a": {"b": [1, "}{"]},\n  "c": [0, {"d": "\\"x"}]\n}\n'
    json.loads(text)

    assert place(text, path) == expected
    assert place(text[:20], path)[0] >= 1
    assert place("", path) == (1, 1)
