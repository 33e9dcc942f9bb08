"""Each construct the lint finds is read differently by the two engines, and here is how."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from mlflow_governance.policy.lint import FIXES, inspect
from mlflow_governance.policy.syntax import parse
from tests.contract.policy.binary import needs_opa, run

pytestmark = needs_opa

MISSING = "{}"
TRAPS: tuple[tuple[str, str, str], ...] = (
    ("negation", "d if not input.x in [1]", MISSING),
    ("negation", 'd if not startswith(input.x, "a")', MISSING),
    ("negation", "d if not input.xs[input.k]", '{"xs": {}}'),
    ("negation", 'd if not input.x != "b"', MISSING),
    ("negation", "d if not lower(input.x) == `b`", MISSING),
    ("negation", "d if not input.x > 3", MISSING),
    ("negation", "d if not (input.x + 1) == 2", MISSING),
    ("negation", "d if not input[input.x]", MISSING),
    ("differing-builtin", "d := ceil(-0.5)", MISSING),
    ("differing-builtin", "d := floor(-0.5)", MISSING),
    ("differing-builtin", 'd := indexof("abc", "")', MISSING),
    ("differing-builtin", 'd := regex.split("x*", "axb")', MISSING),
    ("differing-builtin", 'd := time.parse_duration_ns("1d")', MISSING),
    ("differing-builtin", 'd := to_number(" 1")', MISSING),
    ("differing-builtin", 'd := upper("\u00df")', MISSING),
    ("unknown-function", "d := crypto.sha256(input.x)", '{"x": "a"}'),
    ("impure-builtin", 'd := http.send({"method": "get", "url": input.u})', '{"u": "http://[::1]"}'),
    ("sprintf", 'd := sprintf("%s", [1])', MISSING),
    ("sprintf", 'd := sprintf("%5v", ["a"])', MISSING),
    ("sprintf", 'd := sprintf("%d %d", [1])', MISSING),
    ("sprintf", 'd := sprintf("%v %v", input.xs)', '{"xs": [1]}'),
    ("regex", "d := regex.match(`^\\d$`, input.x)", '{"x": "\u0663"}'),
    ("regex", "d := regex.match(`^\\w$`, input.x)", '{"x": "\u00e9"}'),
    ("regex", "d := regex.match(`a\\b`, input.x)", '{"x": "a\u00e9"}'),
    ("regex", "d := regex.match(`[a&&b]`, input.x)", '{"x": "a"}'),
    ("regex", "d := regex.match(`(?x) a # b`, input.x)", '{"x": "a"}'),
    ("regex", "d := regex.match(`a{1001}`, input.x)", '{"x": "a"}'),
    ("regex", "d := regex.match(`{`, input.x)", '{"x": "{"}'),
    ("regex", "d := regex.match(`\\Qa\\E`, input.x)", '{"x": "a"}'),
    ("glob", 'd := glob.match("a**c", ["/"], "a/b/c")', MISSING),
    ("glob", 'd := glob.match("[^a]c", ["/"], "bc")', MISSING),
    ("glob", 'd := glob.match("a{b", ["/"], "a{b")', MISSING),
    ("sprintf", 'd := sprintf("%d", [input.x])', '{"x": -1}'),
    ("regex", "d := regex.match(`\\141`, input.x)", '{"x": "a"}'),
    ("regex", "d := regex.match(`[[a]]`, input.x)", '{"x": "a"}'),
    ("regex", "d := regex.match(`a++`, input.x)", '{"x": "a"}'),
    ("regex", "d := regex.match(`\\p{Script=Greek}`, input.x)", '{"x": "a"}'),
    ("regex", "d := regex.match(`\\p{IsGreek}`, input.x)", '{"x": "a"}'),
    ("glob", 'd := glob.match("a?", ["/"], "a\u00e9")', MISSING),
    ("glob", 'd := glob.match("[!a]", ["/"], "\u00e9")', MISSING),
    ("glob", 'd := glob.match("[a-]", ["/"], "a")', MISSING),
    ("glob", 'd := glob.match("[]a]", ["/"], "a")', MISSING),
    ("glob", 'd := glob.match("a\\\\", ["/"], "a")', MISSING),
    ("glob", 'd := glob.match("{a,}", ["/"], "")', MISSING),
    ("glob", 'd := glob.match("a*", [""], "ab")', MISSING),
    ("instant", "d := time.parse_rfc3339_ns(input.x)", '{"x": "2026-12-31T23:59:60Z"}'),
    ("instant", "d := time.parse_rfc3339_ns(input.x)", '{"x": "2026-01-01t00:00:00z"}'),
    ("shadowed-name", "d := f(1, 2)\nf(x, x) := 1", MISSING),
    ("arity", "d := 1\nz := f(1)\nf(_, _) := 1", MISSING),
    ("arity", "d := 1\nz := data.p.f\nf(x) := x", MISSING),
    ("recursion", "d := 1\nz := f(1)\nf(x) := f(x)", MISSING),
    ("recursion", "d := data.p[input.k]\nx := 1", '{"k": "x"}'),
    ("unguarded", "d := [x | some x in input.m]", '{"m": 5}'),
    ("unguarded", "d := f(input)\nf(y) := [x | some x in y.evidence.m]", '{"evidence": {"m": 5}}'),
    ("membership", "d := input.x in [1]", MISSING),
    ("membership", "d := 1 in input.x", MISSING),
    ("membership", 'd := {"a": input.x in [1]}', MISSING),
    ("membership", "d if (input.x in [1]) == false", MISSING),
    ("membership", "d if { y := input.x in [1]; y == false }", MISSING),
    ("object-pattern", 'd := a if { {"k": a} = input.x }', '{"x": {"k": 1, "l": 2}}'),
    ("object-pattern", 'd if { some {"k": a} in input.x; a == 2 }', '{"x": [{"k": 2, "l": 2}]}'),
    ("object-pattern", 'd := f(input.x)\nf({"k": a}) := a', '{"x": {"k": 1, "l": 2}}'),
    ("number", 'd := sprintf("%v", [1e5])', MISSING),
    ("number", "d := 18446744073709551617", MISSING),
    ("fraction", "d := input.x - 0.9", '{"x": 1}'),
    ("partial-head", "d := x\nx[k] contains v if { some k, v in input.m }", MISSING),
    ("partial-head", "d := x\nx.a := 1 if input.z", MISSING),
    ("default-twice", "default d := 1\ndefault d := 2", MISSING),
    ("shadowed-name", "import data.q\nq := 1\nd := q", MISSING),
    ("shadowed-name", "q := 7\nd := {q | some q in [1]}", MISSING),
    ("shadowed-name", "d := f(1)\nf(input) := input", MISSING),
    ("shadowed-name", "import data.q\nimport data.r as q\nd := q", MISSING),
    ("with", "d := x if { x := y with data.p.f as 5 }\ny := f(1)\nf(z) := z", MISSING),
    ("future-import", "import future.keywords.maybe\nd := 1", MISSING),
)  # fmt: skip
NO_DIFFERENCE = {"precedence", "nesting", "syntax"}
"""What both engines read alike, and not as it was meant, or not at all."""

_EMBEDDED = """
import json, sys, regorus
source, document = json.load(sys.stdin)
engine = regorus.Engine()
try:
    engine.add_policy("p.rego", source)
    engine.add_data_json("{}")
    engine.set_input_json(document)
    print(engine.eval_rule_as_json("data.p.d"))
except RuntimeError:
    print('"<error>"')
"""


def embedded(source: str, document: str) -> object:
    # In a process of its own: one of the traps ends it.
    done = subprocess.run(
        [sys.executable, "-c", _EMBEDDED],
        input=json.dumps([source, document]),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return json.loads(done.stdout) if done.returncode == 0 else "<dead>"


def opa(source: str, document: str, folder: Path) -> object:
    (folder / "p.rego").write_text(source)
    (folder / "input.json").write_text(document)
    files = ("-d", str(folder / "p.rego"), "-i", str(folder / "input.json"))
    done = json.loads(run("eval", "--strict-builtin-errors", *files, "data.p.d").stdout)
    if "errors" in done:
        codes = {error["code"] for error in done["errors"]}
        return "<error>" if codes == {"eval_builtin_error"} else "<refused>"
    return done["result"][0]["expressions"][0]["value"] if done.get("result") else "<undefined>"


def found(body: str) -> set[str]:
    trees, broken = parse({"p.rego": f"package p\n\n{body}\n"})
    return {finding.rule for finding in (*inspect(trees), *broken)}


@pytest.mark.parametrize(("rule", "body", "document"), TRAPS)
def test_the_engines_differ_and_the_lint_says_so(
    rule: str, body: str, document: str, tmp_path: Path
) -> None:
    source = f"package p\n\n{body}\n"

    assert embedded(source, document) != opa(source, document, tmp_path)
    assert rule in found(body)


def test_every_rule_of_the_lint_is_proved() -> None:
    assert {rule for rule, _, _ in TRAPS} == set(FIXES) - NO_DIFFERENCE


def test_in_binds_looser_than_a_comparison(tmp_path: Path) -> None:
    body = 'd if { x := "a"; x in {"b"} == false }'
    source = f"package p\n\n{body}\n"

    assert embedded(source, MISSING) == opa(source, MISSING, tmp_path) == "<undefined>"
    assert found(body) == {"precedence"}


def test_a_function_that_uses_itself_ends_the_process_of_the_embedded_engine() -> None:
    assert embedded("package p\n\nd := f(1)\n\nf(x) := f(x)\n", MISSING) == "<dead>"
