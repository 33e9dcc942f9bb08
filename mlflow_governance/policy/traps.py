"""Expressions that the engines read differently, each found where it stands.

Every function takes the module it is about and the content of one syntax node, and yields places
and what is wrong there: ``(span, rule, message)``. The contract test asks both engines about each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mlflow_governance.policy.names import Names, bound, references
from mlflow_governance.policy.portable import (
    DIFFERING,
    IMPURE,
    PORTABLE,
    glob_problem,
    regex_problem,
    separators_problem,
    sprintf_problem,
)
from mlflow_governance.policy.syntax import Node, Rule, Tree, first_span, nodes, path, text_of

Trap = tuple[Node, str, str]

_CONSTANTS = {"String", "RawString", "Number", "Bool", "Null"}
_INSTANT = "time.parse_rfc3339_ns"
_IMPURE = "depends on more than the dossier"
_GUARDS = {"is_array", "is_object", "is_set", "is_string", "is_number", "is_boolean"}


@dataclass(frozen=True)
class Module:
    """One rule's surroundings: its module, the names of all, and what the rule asks the type of."""

    tree: Tree
    names: Names
    guarded: frozenset[str] = frozenset()
    instants: frozenset[str] = frozenset()
    """What the rule holds against a regular expression, or asks ``is_instant`` about."""


def around(tree: Tree, names: Names, rule: Rule) -> Module:
    """The surroundings of a rule."""
    guarded = {
        tree.source(next(iter(param.values()))["span"])
        for kind, inner in rule.nodes
        if kind == "Call" and path(inner["fcn"])[0] in _GUARDS
        for param in inner["params"]
    }
    instants = {
        tree.source(inner["params"][-1][kind]["span"])
        for node_kind, inner in rule.nodes
        if node_kind == "Call" and inner["params"]
        if path(inner["fcn"])[-1] == "is_instant" or path(inner["fcn"]) == ("regex", "match")
        for kind in inner["params"][-1]
    }
    return Module(tree, names, frozenset(guarded), frozenset(instants))


def negation(_: Module, node: Node) -> Iterator[Trap]:
    """OPA takes ``input.x`` out of ``not f(input.x)``: where it is missing, nothing is denied."""
    if not _safe_under_not(node["expr"]):
        yield node["span"], "negation", "the engines differ about `not` before anything but a rule"


def _safe_under_not(expression: Node) -> bool:
    # Safe are a name, a dotted path, and either compared with a constant.
    if _is_dotted(expression):
        return True
    comparison = expression.get("BoolExpr", {})
    sides = [comparison.get(side, {}) for side in ("lhs", "rhs")]
    constant = [bool(set(side) & _CONSTANTS) for side in sides]
    plain = [_is_dotted(side) for side in sides]
    return comparison.get("op") == "Eq" and any(constant) and any(plain)


def _is_dotted(expression: Node) -> bool:
    while "RefDot" in expression:
        expression = expression["RefDot"]["refr"]
    return "Var" in expression


def call(module: Module, node: Node) -> Iterator[Trap]:
    """Functions that are unknown, impure, differ, or are given other arguments than they take."""
    steps, span = path(node["fcn"]), first_span(node["fcn"])
    named = ".".join(steps)
    own = module.names.function(module.tree, steps)
    if own is not None:
        takes = module.names.arities[own]
        if len(node["params"]) not in takes:
            told = f"{named} takes {sorted(takes)[0]} arguments; OPA refuses {len(node['params'])}"
            yield span, "arity", told
    elif named in IMPURE:
        only = "has no place outside tests" if named in ("print", "trace") else _IMPURE
        yield span, "impure-builtin", f"{named} {only}"
    elif named in DIFFERING:
        yield span, "differing-builtin", f"{named}: {DIFFERING[named]}"
    elif named not in PORTABLE:
        yield span, "unknown-function", f"{named} is not a function both engines have"
    elif named == _INSTANT and any(_may_be_no_instant(module, p) for p in node["params"]):
        told = "the engines differ about instants like 2026-12-31t23:59:60z"
        yield span, "instant", told
    else:
        yield from _patterns(named, node["params"], span)


def _may_be_no_instant(module: Module, node: Node) -> bool:
    # The registry itself writes what is called now.
    ((kind, inner),) = node.items()
    named = kind in ("Var", "RefDot", "RefBrack")
    text = module.tree.source(inner["span"])
    return named and path(node)[-1] != "now" and text not in module.instants


def _patterns(named: str, params: list[Node], span: Node) -> Iterator[Trap]:
    text = text_of(params[0]) if params else None
    if named == "sprintf":
        listed = params[1].get("Array") if len(params) > 1 else None
        problem = sprintf_problem(text, len(listed["items"]) if listed else None)
    elif text is not None and named == "regex.match":
        problem = regex_problem(text)
    elif text is not None and named == "glob.match":
        problem = glob_problem(text) or separators_problem(_texts(params[1]))
    else:
        return
    if problem:
        yield span, named.partition(".")[0], problem


def _texts(node: Node) -> list[str]:
    # The members of a list that is written out.
    listed = node.get("Array", {}).get("items", ())
    return [text for item in listed if (text := text_of(item)) is not None]


def function_reference(module: Module, rule: Rule) -> Iterator[Trap]:
    """A function that is named and not called: OPA refuses it."""
    local = bound(module.tree, rule)
    for steps, called in references(rule.node):
        if not called and steps[0] not in local and module.names.function(module.tree, steps):
            told = f"{'.'.join(steps)} is a function and is not called; OPA refuses that"
            yield rule.span, "arity", told


def statements(module: Module, stmts: list[Node]) -> Iterator[Trap]:
    """One body: what it iterates over, and what it takes the truth of ``in`` from."""
    for stmt in stmts:
        literal = stmt["literal"]
        iterated = literal.get("SomeIn", {}).get("collection")
        if iterated and _is_foreign(module, iterated):
            told = "where this is no list, one engine finds nothing and the other fails"
            yield first_span(iterated), "unguarded", told
        for inner in _values(literal):
            if any(_may_be_anything(module, part) for part in inner):
                yield _missing(inner[0])


def head_value(module: Module, value: Node) -> Iterator[Trap]:
    """The value of a rule: ``in`` over what may be missing."""
    for inner in _memberships(value):
        if any(_may_be_anything(module, part) for part in inner):
            yield _missing(inner[0])


def _missing(node: Node) -> Trap:
    told = "as a value, `in` over what is missing is false in one engine and undefined in the other"
    return first_span(node), "membership", told


def _values(literal: Node) -> Iterator[tuple[Node, Node]]:
    # As a statement of its own both engines read `in` alike.
    expression = literal.get("Expr", {}).get("expr")
    if expression and "Membership" in expression:
        inner = expression["Membership"]
        yield from _memberships([inner["value"], inner["collection"]])
    elif expression:
        yield from _memberships(expression)


def _memberships(node: object) -> Iterator[tuple[Node, Node]]:
    # A comprehension and `every` have bodies of their own.
    if isinstance(node, list):
        for item in node:
            yield from _memberships(item)
    elif isinstance(node, Mapping):
        for kind, inner in node.items():
            if kind == "Membership":
                yield inner["value"], inner["collection"]
            if kind != "query":
                yield from _memberships(inner)


def _may_be_anything(module: Module, node: Node) -> bool:
    # A path into the dossier (or into what a function was given) that nothing has looked at.
    if "RefDot" not in node and "RefBrack" not in node:
        return False
    inner = next(iter(node.values()))
    root = path(node)[0]
    own = root == "data" or module.tree.aliases.get(root, ("",))[0] == "data"
    return not own and root != "?" and module.tree.source(inner["span"]) not in module.guarded


def _is_foreign(module: Module, node: Node) -> bool:
    # What other people's documents say, and not what a rule of the bundle made of it.
    if not _may_be_anything(module, node):
        return False
    steps = path(node)
    steps = (*module.tree.aliases.get(steps[0], steps[:1]), *steps[1:])
    return steps[0] == "input" or steps[1] in ("evidence", "action")


def precedence(_: Module, node: Node) -> Iterator[Trap]:
    """``x in y == false`` asks whether x is in the truth value ``y == false``."""
    if "BoolExpr" in node["collection"]:
        told = "`in` binds looser than a comparison: this is x in (y == …), which is never true"
        yield first_span(node["value"]), "precedence", told


def assignment(_: Module, node: Node) -> Iterator[Trap]:
    """An object as a pattern matches other members too, in one engine."""
    yield from object_pattern(node["lhs"])
    if node["op"] == "Eq":
        yield from object_pattern(node["rhs"])


def some_in(_: Module, node: Node) -> Iterator[Trap]:
    """The same in ``some {"a": x} in xs``."""
    for side in (node["key"], node["value"]):
        if side:
            yield from object_pattern(side)


def object_pattern(node: Node) -> Iterator[Trap]:
    """An object with variables inside, where values are taken apart."""
    for kind, inner in nodes(node):
        if kind == "Object" and any(k == "Var" for k, _ in nodes(inner["fields"])):
            told = "an object pattern matches more members in one engine than in the other"
            yield inner["span"], "object-pattern", told


def number(module: Module, node: Node) -> Iterator[Trap]:
    """Numbers that are printed, or held, differently."""
    text = module.tree.source(node["span"])
    if "e" in text.lower() or abs(node["value"]) > 2**53:
        yield node["span"], "number", f"the engines keep and print {text[:40]} differently"


def replacement(module: Module, mods: list[Node]) -> Iterator[Trap]:
    """``with`` in place of a rule or function: one engine goes on with the one that is written."""
    for mod in mods:
        full = module.names.absolute(module.tree, path(mod["refr"]))
        if full and any(True for _ in module.names.meant(full)):
            named = ".".join(path(mod["refr"]))
            told = f"the engines differ about `with` in place of {named}, which is written here"
            yield mod["span"], "with", told


def arithmetic(_: Module, node: Node) -> Iterator[Trap]:
    """One engine calculates in binary fractions, the other in decimal ones."""
    for side in (node["lhs"], node["rhs"]):
        value = side.get("Number", {}).get("value", 0)
        if value != int(value):
            told = f"the engines calculate with {value} to different last digits"
            yield side["Number"]["span"], "fraction", told


def head(rule: Rule) -> Iterator[Trap]:
    """Partial rules in parts of a name: with no match one engine has nothing, the other ``{}``."""
    refr = rule.head["refr"]
    indexed = "RefBrack" in refr and "Var" in refr["RefBrack"]["refr"]
    if "Var" not in refr and not (rule.kind == "Compr" and indexed):
        told = "with no match, one engine has nothing here and the other an empty object"
        yield rule.span, "partial-head", told


NODES: Mapping[str, Callable[[Module, Any], Iterator[Trap]]] = {
    "NotExpr": negation,
    "Call": call,
    "stmts": statements,
    "with_mods": replacement,
    "Membership": precedence,
    "AssignExpr": assignment,
    "SomeIn": some_in,
    "Number": number,
    "ArithExpr": arithmetic,
}
"""Which function looks at which kind of node."""
