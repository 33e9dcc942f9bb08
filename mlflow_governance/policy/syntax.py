"""The syntax trees of Rego modules, as the embedded engine gives them.

A node is a JSON object with one key, its kind (``Call``, ``RefDot``, …); this module knows that
shape so that the rules of :mod:`.lint` need not.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from mlflow_governance.policy.finding import Finding

Node = Mapping[str, Any]

MAX_NESTING = 12
"""Brackets within brackets. The parser takes twice as long for each; twenty are a minute."""

_PLACE = re.compile(r"--> [^\n]*?:(\d+):(\d+)")
_ERROR = re.compile(r"error: (.+)")
_INERT = re.compile(r'"(?:[^"\\\n]|\\.)*"|`[^`]*`|#[^\n]*')
_V0 = "`if` keyword is required|`contains` keyword"


@dataclass(frozen=True)
class Rule:
    """One rule, function or default as written. ``node`` is everything of it."""

    name: str
    kind: str
    """``Compr`` (a value), ``Set``, ``Func`` or ``Default``."""
    head: Node
    node: Node
    span: Node

    @property
    def arguments(self) -> list[Node]:
        """The patterns of a function's parameters."""
        return list(self.head.get("args") or ())

    @cached_property
    def nodes(self) -> tuple[tuple[str, Any], ...]:
        """Every ``(kind, content)`` of the rule, outermost first."""
        return tuple(nodes(self.node))


@dataclass(frozen=True)
class Tree:
    """One parsed module."""

    file: str
    text: str
    root: Node

    @cached_property
    def package(self) -> str:
        """The package, dotted, without ``data``."""
        return ".".join(path(self.root["package"]["refr"]))

    @cached_property
    def rules(self) -> tuple[Rule, ...]:
        """The rules in the order they are written."""
        return tuple(_rule(node) for node in self.root["rules"])

    @cached_property
    def aliases(self) -> Mapping[str, tuple[str, ...]]:
        """What each imported name stands for: a path that starts with ``data`` or ``input``."""
        found = {}
        for node in self.root["imports"]:
            steps = path(node["refr"])
            if steps[0] in ("data", "input"):
                found[self.alias(node)] = steps
        return found

    def alias(self, node: Node) -> str:
        """The name an import introduces."""
        given = node.get("as")
        return self.source(given) if given else path(node["refr"])[-1]

    def source(self, span: Node) -> str:
        """The text of a span."""
        return self.text.encode()[span["start"] : span["end"]].decode()


def _rule(node: Node) -> Rule:
    if "Default" in node:
        inner = node["Default"]
        return Rule(name(inner["refr"]), "Default", inner, inner, inner["span"])
    inner = node["Spec"]
    ((kind, head),) = inner["head"].items()
    return Rule(name(head["refr"]), kind, head, inner, inner["span"])


def parse(modules: Mapping[str, str]) -> tuple[list[Tree], list[Finding]]:
    """The trees of those modules that parse, and what is wrong with the others."""
    trees: list[Tree] = []
    broken: list[Finding] = []
    for file, text in modules.items():
        deep = _too_deep(file, text)
        if deep is not None:
            broken.append(deep)
            continue
        try:
            trees.append(Tree(file, text, _parsed(file, text)))
        except RuntimeError as error:
            broken.append(explained(str(error), file))
    return trees, broken


def _too_deep(file: str, text: str) -> Finding | None:
    depth = 0
    plain = _INERT.sub(lambda found: " " * len(found[0]), text)
    for offset, letter in enumerate(plain):
        if letter in "[{":
            depth += 1
        elif letter in "]}":
            depth = max(0, depth - 1)
        if depth > MAX_NESTING:
            line = plain.count("\n", 0, offset) + 1
            told = (
                f"more than {MAX_NESTING} brackets within each other: reading that takes for ever"
            )
            fix = "give the inner parts names of their own"
            column = offset - plain.rfind("\n", 0, offset)
            return Finding(file, line, column, "nesting", told, fix)
    return None


def _parsed(file: str, text: str) -> Node:
    import regorus

    engine = regorus.Engine()
    try:
        engine.add_policy(file, text)
        root: Node = json.loads(engine.get_ast_as_json())[0]["ast"]
        return root
    finally:
        engine = None  # the traceback of an error must not keep an interpreter


def explained(error: str, file: str) -> Finding:
    """The engine's own words about a module, without its stack trace."""
    text = error.split("Stack backtrace")[0]
    place, said = _PLACE.search(text), _ERROR.search(text)
    line, column = (int(place[1]), int(place[2])) if place else (1, 1)
    message = said[1] if said else " ".join(text.split())[:300]
    fix = "mend the module; Rego v1 is the language"
    if re.search(_V0, message):
        fix = "this is Rego v0: write `if` before a body and `contains` for sets (opa fmt --v0-v1)"
    elif "invalid character" in message:
        fix = 'template strings are unknown to the embedded engine: concat("", [...]) or sprintf'
    return Finding(file, line, column, "syntax", message, fix)


def nodes(node: object) -> Iterator[tuple[str, Any]]:
    """Every ``(kind, content)`` below a node, outermost first."""
    waiting = [node]
    while waiting:
        here = waiting.pop()
        if isinstance(here, list):
            waiting += reversed(here)
        elif isinstance(here, dict) and "line" not in here:  # a span holds nothing
            yield from here.items()
            waiting += reversed(here.values())


def path(node: Node) -> tuple[str, ...]:
    """The steps of a dotted name; ``?`` for whatever is computed."""
    if "Var" in node:
        return (str(node["Var"]["value"]),)
    if "RefDot" in node:
        return (*path(node["RefDot"]["refr"]), str(node["RefDot"]["field"][1]))
    if "RefBrack" in node:
        return (*path(node["RefBrack"]["refr"]), text_of(node["RefBrack"]["index"]) or "?")
    return ("?",)


def name(node: Node) -> str:
    """The first step of a name."""
    return path(node)[0]


def text_of(node: Node) -> str | None:
    """The value of a text constant."""
    for kind in ("String", "RawString"):
        if kind in node:
            return str(node[kind]["value"])
    return None


def first_span(node: Node) -> Node:
    """Where an expression begins; the span of a dotted name is that of its dot."""
    while "RefDot" in node or "RefBrack" in node:
        node = next(iter(node.values()))["refr"]
    inner = next(iter(node.values()))
    for key in ("fcn", "lhs"):
        if isinstance(inner.get(key), Mapping):
            return first_span(inner[key])
    span: Node = inner["span"]
    return span
