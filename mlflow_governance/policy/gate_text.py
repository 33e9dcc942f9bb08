"""What the source of a gate says about its checks: their codes and their texts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from mlflow_governance.core.dossier import Gate
from mlflow_governance.policy.finding import Finding
from mlflow_governance.policy.syntax import Node, Tree, first_span, name, nodes, path, text_of

CODE = re.compile(r"[A-Z][A-Z0-9]{1,9}-[0-9]{3,4}")
_PLACEHOLDER = re.compile(r"\{([A-Za-z_]\w*)\}")
_JOINS = {"object.union": 2, "object.remove": 1, "object.filter": 1}
"""How many of the leading arguments end up in the result."""
_FILLED = {"name", "version", "stage", "to", "actor"}


@dataclass(frozen=True)
class Written:
    """A code of a check, and where it is written."""

    code: str
    file: str
    span: Node


def package_of(gate: Gate) -> str:
    """The package that answers for a gate."""
    return f"registry.{gate.value}"


def written_codes(trees: list[Tree], gate: Gate) -> tuple[Written, ...]:
    """The codes that the source of a gate names as checks, once each.

    Followed are ``checks`` itself and the rules of the same package that it is put together from.
    """
    found: dict[str, Written] = {}
    parts, seen = ["checks"], {"checks"}
    while parts:
        part = parts.pop()
        for tree, value in _values(trees, package_of(gate), part):
            for code, span in _keys(value):
                found.setdefault(code, Written(code, tree.file, span))
            fresh = set(_put_together(value)) - seen
            seen |= fresh
            parts += sorted(fresh)
    return tuple(found.values())


def _values(trees: list[Tree], package: str, rule_name: str) -> Iterator[tuple[Tree, Node]]:
    for tree in trees:
        for rule in tree.rules if tree.package == package else ():
            if rule.name != rule_name:
                continue
            index = rule.head["refr"].get("RefBrack", {}).get("index")
            if index is not None and text_of(index) is not None:  # checks["OWN-001"] := …
                yield tree, {"Object": {"fields": [(None, index, {})]}}
            bodies = rule.node.get("bodies", ())
            assigned = [rule.head.get("assign"), *(body["assign"] for body in bodies)]
            if rule.kind == "Default":
                yield tree, rule.head["value"]
            yield from ((tree, given["value"]) for given in assigned if given)


def _keys(value: Node) -> Iterator[tuple[str, Node]]:
    if "Object" in value:
        for _, key, _ in value["Object"]["fields"]:
            code = text_of(key)
            if code is not None:
                yield code, first_span(key)
    for part in _parts(value):
        yield from _keys(part)


def _put_together(value: Node) -> Iterator[str]:
    if "Var" in value:
        yield name(value)
    for part in _parts(value):
        yield from _put_together(part)


def _parts(value: Node) -> list[Node]:
    # Of what makes one object of others; what another function makes of them is its own.
    called = value.get("Call")
    if called is None:
        return []
    takes = _JOINS.get(".".join(path(called["fcn"])), 0)
    return list(called["params"][:takes])


def name_findings(trees: list[Tree]) -> Iterator[Finding]:
    """Codes that are no codes, or stand for two things; texts with a place nothing fills."""
    seen: dict[str, Gate] = {}
    for gate in Gate:
        for written in written_codes(trees, gate):
            place = (written.file, written.span["line"], written.span["col"])
            if not CODE.fullmatch(written.code) or written.code.startswith("ENG-"):
                told = f"{written.code[:60]!r} is no code of a check"
                yield Finding(*place, "check-name", told, "write it like OWN-001; ENG- is taken")
            other = seen.setdefault(written.code, gate)
            if other is not gate:
                told = f"{written.code} is a check of the {other.value} gate, too"
                yield Finding(*place, "check-twice", told, "give each check a code of its own")
    for tree in trees:
        yield from _placeholders(tree)


def _placeholders(tree: Tree) -> Iterator[Finding]:
    for kind, inner in (node for rule in tree.rules for node in rule.nodes):
        if kind != "Object":
            continue
        for _, key, value in inner["fields"]:
            if text_of(key) not in ("message", "fix"):
                continue
            for _, text in nodes([value]):
                said = text.get("value") if isinstance(text, dict) else None
                unknown = set(_PLACEHOLDER.findall(said)) - _FILLED if isinstance(said, str) else ()
                for word in sorted(unknown):
                    span = text["span"]
                    told = f"nothing fills {{{word}}}"
                    fix = "use {name}, {version}, {stage}, {to} or {actor}"
                    yield Finding(tree.file, span["line"], span["col"], "placeholder", told, fix)
