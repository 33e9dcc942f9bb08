"""Would both engines read these policies alike?

OPA and the embedded engine disagree about a few constructs, always in the direction that matters
(OPA lifts ``input.x`` out of ``not f(input.x)``, so a missing ``x`` undoes the rule). A set of
policies without those constructs gives the same decision in both; this module finds them in the
syntax tree, with file, line and column.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mlflow_governance.errors import ConfigurationError
from mlflow_governance.policy.bundle import Bundle


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


PORTABLE = _words(
    """
    count sum product max min sort abs ceil floor round
    array.concat array.reverse array.slice intersection union
    object.get object.keys object.remove object.union object.union_n object.filter object.subset
    concat contains endswith startswith indexof lower upper replace split sprintf substring
    trim trim_left trim_prefix trim_right trim_space trim_suffix format_int
    strings.any_prefix_match strings.any_suffix_match strings.reverse
    regex.match regex.is_valid regex.split glob.match numbers.range to_number
    is_array is_boolean is_null is_number is_object is_set is_string type_name
    time.parse_rfc3339_ns time.parse_duration_ns
    base64.decode base64.encode base64.is_valid hex.decode hex.encode json.is_valid
    """
)
"""Builtins both engines have and agree about, and that depend on nothing but their arguments."""

IMPURE = _words(
    """
    http.send net.lookup_ip_addr opa.runtime print rand.intn rego.parse_module time.now_ns trace
    uuid.rfc4122
    """
)
"""Builtins whose answer depends on more than the dossier: no decision could be replayed."""

_UNSAFE_UNDER_NOT = ("Call", "Membership", "RefBrack")
_DIRECTIVE = re.compile(r"%(?:%|[-+# 0]*[0-9.]*([A-Za-z]))")


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One construct that is not portable. Lines and columns count from 1."""

    file: str
    line: int
    column: int
    rule: str
    """``negation``, ``impure-builtin``, ``unknown-function`` or ``sprintf``."""
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.rule}: {self.message}"


def lint(bundle: Bundle) -> tuple[Finding, ...]:
    """Everything in the bundle that the engines could read differently, in order.

    Raises:
        ConfigurationError: a module does not parse.
    """
    trees = _parse(bundle.modules)
    functions = {(tree.package, name) for tree in trees for name in tree.functions()}
    found: set[Finding] = set()
    for tree in trees:
        module = _Module(tree.source["file"], tree.package, dict(tree.aliases()), functions)
        found.update(module.findings(tree.root))
    return tuple(sorted(found))


def _parse(modules: Mapping[str, str]) -> list[_Tree]:
    import regorus

    engine = regorus.Engine()
    try:
        for name, source in modules.items():
            engine.add_policy(name, source)
    except RuntimeError as error:
        text = str(error).split("Stack backtrace")[0].strip()
        raise ConfigurationError(
            f"the policies do not parse: {text[:1000]}",
            advice="Check them: mlflow-governance policy check --bundle FOLDER",
        ) from None
    return [_Tree(m["source"], m["ast"]) for m in json.loads(engine.get_ast_as_json())]


@dataclass(frozen=True)
class _Tree:
    source: Mapping[str, str]
    root: Mapping[str, Any]

    @property
    def package(self) -> str:
        return ".".join(_path(self.root["package"]["refr"]))

    def functions(self) -> Iterator[str]:
        for rule in self.root["rules"]:
            head = rule.get("Spec", {}).get("head", {}).get("Func")
            if head is not None:
                yield _path(head["refr"])[-1]

    def aliases(self) -> Iterator[tuple[str, str]]:
        text = self.source["contents"].encode()
        for imported in self.root["imports"]:
            path, alias = _path(imported["refr"]), imported.get("as")
            name = text[alias["start"] : alias["end"]].decode() if alias else path[-1]
            yield name, ".".join(path[1:])


@dataclass(frozen=True)
class _Module:
    file: str
    package: str
    aliases: Mapping[str, str]
    functions: set[tuple[str, str]]

    def findings(self, node: object) -> Iterator[Finding]:
        if isinstance(node, list):
            for item in node:
                yield from self.findings(item)
        if not isinstance(node, Mapping):
            return
        if "NotExpr" in node:
            yield from self._negation(node["NotExpr"])
        if "Call" in node:
            yield from self._call(node["Call"])
        for inner in node.values():
            yield from self.findings(inner)

    def _negation(self, node: Mapping[str, Any]) -> Iterator[Finding]:
        if not _safe_under_not(node["expr"]):
            yield self._finding(
                node["span"],
                "negation",
                "the engines differ about `not` before anything but a rule; name the expression "
                "as a rule and negate that, or compare a call with false",
            )

    def _call(self, node: Mapping[str, Any]) -> Iterator[Finding]:
        path = _path(node["fcn"])
        name, span = ".".join(path), _first_span(node["fcn"])
        if name == "sprintf":
            yield from self._sprintf(node)
        if name in IMPURE:
            yield self._finding(span, "impure-builtin", f"{name} depends on more than the dossier")
        elif name not in PORTABLE and not self._is_own(path):
            yield self._finding(
                span, "unknown-function", f"{name} is not a function both engines have"
            )

    def _is_own(self, path: tuple[str, ...]) -> bool:
        if path[0] == "data":
            full = path[1:]
        elif path[0] in self.aliases:
            full = (self.aliases[path[0]], *path[1:])
        else:
            full = (self.package, *path)
        package, _, name = ".".join(full).rpartition(".")
        return (package, name) in self.functions

    def _sprintf(self, node: Mapping[str, Any]) -> Iterator[Finding]:
        pattern = node["params"][0].get("String") if node["params"] else None
        letters = _DIRECTIVE.findall(pattern["value"]) if pattern else ["?"]
        if any(letter not in ("", "v", "d") for letter in letters):
            yield self._finding(
                _first_span(node["fcn"]),
                "sprintf",
                "the engines print this differently; use a literal format with %v or %d only",
            )

    def _finding(self, span: Mapping[str, Any], rule: str, message: str) -> Finding:
        return Finding(self.file, span["line"], span["col"], rule, message)


def _safe_under_not(expression: Mapping[str, Any]) -> bool:
    # Safe are a name, a dotted path, and either compared with a constant.
    if any(kind in _kinds(expression) for kind in _UNSAFE_UNDER_NOT):
        return False
    if "Var" in expression or "RefDot" in expression:
        return True
    comparison = expression.get("BoolExpr", {})
    constants = {"String", "Number", "Bool", "Null"}
    sides = [set(comparison.get(side, {})) for side in ("lhs", "rhs")]
    return comparison.get("op") == "Eq" and any(side & constants for side in sides)


def _kinds(node: object) -> set[str]:
    if isinstance(node, dict):
        return set(node).union(*(_kinds(inner) for inner in node.values()))
    if isinstance(node, list):
        return set().union(*(_kinds(inner) for inner in node))
    return set()


def _path(node: Mapping[str, Any]) -> tuple[str, ...]:
    if "Var" in node:
        return (str(node["Var"]["value"]),)
    if "RefDot" in node:
        return (*_path(node["RefDot"]["refr"]), str(node["RefDot"]["field"][1]))
    return ("?",)


def _first_span(node: Mapping[str, Any]) -> Mapping[str, Any]:
    while "RefDot" in node:
        node = node["RefDot"]["refr"]
    span: Mapping[str, Any] = next(iter(node.values()))["span"]
    return span
