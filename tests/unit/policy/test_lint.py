from __future__ import annotations

import pytest

from mlflow_governance.errors import ConfigurationError
from mlflow_governance.policy.lint import lint
from tests.unit.policy.builders import shipped, with_module

HEAD = "package registry.extra\n\nimport data.registry.lib\nimport data.registry.lib as l\n\n"
FILE = "registry/extra/extra.rego"


def test_the_shipped_policies_are_portable() -> None:
    assert lint(shipped()) == ()


@pytest.mark.parametrize(
    ("rule", "kind", "column"),
    [
        ('a if not lib.passed(input, "sbom")', "negation", 6),
        ("a if not input.x in [1]", "negation", 6),
        ("a if not input.xs[input.k]", "negation", 6),
        ('a if not input.x != "b"', "negation", 6),
        ("a if not input.x == input.y", "negation", 6),
        ("a if not lower(input.x) == `b`", "negation", 6),
        ("a := [x | some x in [input.x]; not x in [1]]", "negation", 32),
        ("a := time.now_ns()", "impure-builtin", 6),
        ('a := http.send({"url": input.u})', "impure-builtin", 6),
        ('a := rand.intn("x", 3)', "impure-builtin", 6),
        ("a := opa.runtime()", "impure-builtin", 6),
        ('a := uuid.rfc4122("x")', "impure-builtin", 6),
        ('a if print("x")', "impure-builtin", 6),
        ("a := crypto.sha256(input.x)", "unknown-function", 6),
        ("a := io.jwt.decode(input.x)", "unknown-function", 6),
        ("a := lib.nothing(1)", "unknown-function", 6),
        ("a := nothing(1)", "unknown-function", 6),
        ('a := sprintf("%s", [1])', "sprintf", 6),
        ("a if { x := 1; x in [2] == false }", "precedence", 16),
        ("a if { x := lib.array_or_empty(input.x)[0]; x in [2] == true }", "precedence", 45),
        ('a := sprintf("%v %5.1f", [1, 2])', "sprintf", 6),
        ("a := sprintf(input.x, [1])", "sprintf", 6),
    ],
)
def test_what_the_engines_read_differently_is_found(rule: str, kind: str, column: int) -> None:
    (found,) = lint(with_module(HEAD + rule + "\n"))

    assert (found.file, found.line, found.column, found.rule) == (FILE, 6, column, kind)
    assert str(found).startswith(f"{FILE}:6:{column}: {kind}: ")


@pytest.mark.parametrize(
    "rule",
    [
        "a if not b\n\nb if input.x",
        "a if not lib.x",
        "a if not input.x.y",
        'a if not input.x.y == "z"',
        "a := own(1)\n\nown(x) := x",
        'a if l.passed(input, "sbom")',
        'a if data.registry.lib.passed(input, "sbom")',
        'a := sprintf("%v of %v %%", [1, 2])',
        "a := [x | some x in lib.array_or_empty(input.x)]",
        "a := [x | is_array(input.x); some x in input.x]",
        "a := [x | some x in input.x] if is_array(input.x)",
        "a if input.x in [1]",
        "a if { is_string(input.x); y := input.x in [1]; y == false }",
        "a if every x in [1] { x in input.y }",
        "a := {k: v | some k, v in input}",
        "a[x] := 1 if some x in [1]",
        'a := regex.match(`^[0-9]{1,3}\\.\\x{41}\\p{Lu}$`, "1")',
        'a := glob.match("{a,b}[a-c]*", ["/"], "a")',
        'a := {"b": b} if b := 1',
        "f(x) := g(x)\n\ng(x) := x\n\nh(f) := f",
        'a := x.y if x := {"y": 1}',
        "a := 0.5 > input.x",
        "a if own with input.x as 1\n\nown if input.x",
        'a := "[[[[[[[[[[[[[[[[[[[[" # {{{{{{{{{{{{{{{{{{{{',
    ],
)
def test_what_both_engines_read_alike_passes(rule: str) -> None:
    assert lint(with_module(HEAD + rule + "\n")) == ()


def test_every_finding_is_reported_in_order() -> None:
    found = lint(with_module(HEAD + "b := time.now_ns()\na := rand.intn(`x`, 3)\n"))

    assert [f.line for f in found] == [6, 7]


def test_a_module_that_does_not_parse_is_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError, match=r"extra\.rego:"):
        lint(with_module(HEAD + "a if {\n"))
