"""What changes when one bundle takes the place of another, in the words of who reviews it.

Rules are compared as syntax trees: comments and layout change the digest, and nothing here.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mlflow_governance.core import canonical
from mlflow_governance.errors import ConfigurationError
from mlflow_governance.policy import gate_check, names
from mlflow_governance.policy.bundle import MANIFEST, Bundle
from mlflow_governance.policy.syntax import Tree, parse

Path = tuple[str, ...]

_MISSING = object()
_SPAN = {"line", "col", "start", "end"}
_LAYOUT = {"span", "eidx", "sidx", "qidx"}


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that is otherwise. ``old`` or ``new`` is None where it was or is not there.

    ``kind`` is ``data``, ``mode``, ``waiver``, ``rule``, ``check``, ``manifest`` or ``file``;
    ``where`` a dotted path, a rule, a check of a gate, or a file.
    """

    kind: str
    where: str
    old: str | None
    new: str | None

    @property
    def act(self) -> str:
        """``added``, ``removed`` or ``changed``."""
        return "added" if self.old is None else "removed" if self.new is None else "changed"

    def to_document(self) -> dict[str, str | None]:
        """The change as JSON."""
        return {
            "kind": self.kind,
            "act": self.act,
            "where": self.where,
            "old": self.old,
            "new": self.new,
        }

    def lines(self) -> list[str]:
        """The lines that go and come, as in a unified diff; of a rule, without what stays far."""
        old, new = (self.old or "").splitlines(), (self.new or "").splitlines()
        told = difflib.unified_diff(old, new, lineterm="", n=1)
        return [line for line in told if not line.startswith(("---", "+++", "@@"))]


def differences(old: Bundle, new: Bundle) -> tuple[Change, ...]:
    """Everything that is otherwise in the new bundle.

    Raises:
        ConfigurationError: one of them does not parse, or uses itself.
    """
    before, after = _trees(old), _trees(new)
    return (
        *_checks(_codes(old, before), _codes(new, after)),
        *_data(old.data, new.data),
        *_rules(before, after),
        *_manifest(old, new),
        *_other_files(old, new),
    )


def _trees(bundle: Bundle) -> list[Tree]:
    trees, broken = parse(bundle.modules)
    broken += names.recursion(trees, names.collect(trees))
    if broken:
        raise ConfigurationError(
            f"the bundle {bundle.digest} cannot be compared: {broken[0]}",
            advice="Mend that first: mlflow-governance policy check --bundle FOLDER",
        )
    return trees


def _codes(bundle: Bundle, trees: list[Tree]) -> set[str]:
    return {
        f"{gate.value} {code}"
        for gate, codes in gate_check.codes(bundle, trees).items()
        for code in codes
    }


def _checks(old: set[str], new: set[str]) -> Iterator[Change]:
    for code in sorted(old ^ new):
        yield Change("check", code, code if code in old else None, code if code in new else None)


def _data(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
    for path, before, after in _values(old, new, ()):
        kind = "data"
        if path[-1].endswith("waivers"):
            yield from _waivers(".".join(path), before, after)
            continue
        if "modes" in path[:-1]:
            kind = "mode"
        yield Change(kind, ".".join(path), _shown(before), _shown(after))


def _values(
    old: Any, new: Any, path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], Any, Any]]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            yield from _values(old.get(key, _MISSING), new.get(key, _MISSING), (*path, key))
    elif _is_table(old) and _is_table(new) and len(old) == len(new):
        for number, (before, after) in enumerate(zip(old, new, strict=True)):
            yield from _values(before, after, (*path[:-1], f"{path[-1]}[{number}]"))
    elif old is _MISSING or new is _MISSING or canonical.encode(old) != canonical.encode(new):
        yield path, old, new


def _is_table(value: object) -> bool:
    # Waivers are told apart by their id, not by their place.
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(item, dict) and "id" not in item for item in value)
    )


def _waivers(where: str, old: Any, new: Any) -> Iterator[Change]:
    before, after = _by_id(old), _by_id(new)
    for name in sorted(before.keys() | after.keys()):
        shown = _shown(before.get(name, _MISSING)), _shown(after.get(name, _MISSING))
        if shown[0] != shown[1]:
            yield Change("waiver", f"{where} {name}", *shown)


def _by_id(value: Any) -> dict[str, Any]:
    listed = value if isinstance(value, list) else [] if value is _MISSING else [value]
    found: dict[str, Any] = {}
    for waiver in listed:
        name = waiver.get("id") if isinstance(waiver, dict) else None
        key = name if isinstance(name, str) and name else "without an id"
        while key in found:
            key += " again"
        found[key] = waiver
    return found


def _shown(value: Any) -> str | None:
    if value is _MISSING:
        return None
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def _rules(before: list[Tree], after: list[Tree]) -> Iterator[Change]:
    old, new = _by_name(before), _by_name(after)
    for name in sorted(old.keys() | new.keys()):
        ours, theirs = old.get(name, []), new.get(name, [])
        if [meaning for meaning, _ in ours] != [meaning for meaning, _ in theirs]:
            texts = ["\n\n".join(text for _, text in side) for side in (ours, theirs)]
            yield Change("rule", name, texts[0] or None, texts[1] or None)


def _by_name(trees: list[Tree]) -> dict[str, list[tuple[str, str]]]:
    found: dict[str, list[tuple[str, str]]] = {}
    for tree in trees:
        for node in tree.root["imports"]:
            text = tree.source(node["span"])
            found.setdefault(f"{tree.package} {text}", []).append((text, text))
        for rule in tree.rules:
            meaning = json.dumps([rule.kind, _meaning(tree, rule.node)], sort_keys=True)
            text = _without_comments(tree.source(rule.span))
            found.setdefault(f"{tree.package}.{rule.name}", []).append((meaning, text))
    return found


def _meaning(tree: Tree, node: Any) -> Any:
    # The tree without places. Some names are kept as places only: those are read from the text.
    if isinstance(node, list):
        return [_meaning(tree, item) for item in node]
    if not isinstance(node, dict):
        return node
    if node.keys() == _SPAN:
        return tree.source(node)
    return {
        key: _fields(tree, value) if key in ("fields", "field") else _meaning(tree, value)
        for key, value in node.items()
        if key not in _LAYOUT
    }


def _fields(tree: Tree, value: list[Any]) -> Any:
    # Of a member: where it stands, its name, its value.
    if value and isinstance(value[0], list):
        return [_meaning(tree, member[1:]) for member in value]
    return _meaning(tree, value[1:])


def _without_comments(text: str) -> str:
    kept = (line.rstrip() for line in text.splitlines() if not line.lstrip().startswith("#"))
    return "\n".join(line for line in kept if line)


def _manifest(old: Bundle, new: Bundle) -> Iterator[Change]:
    before, after = (canonical.decode_object(b.files[MANIFEST]) for b in (old, new))
    for path, ours, theirs in _values(before, after, ()):
        yield Change("manifest", ".".join(path), _shown(ours), _shown(theirs))


def _other_files(old: Bundle, new: Bundle) -> Iterator[Change]:
    for name in sorted(old.files.keys() | new.files.keys()):
        told = name == MANIFEST or name.endswith(".rego") or name.split("/")[-1] == "data.json"
        ours, theirs = old.files.get(name), new.files.get(name)
        if not told and ours != theirs:
            sizes = [None if f is None else f"{len(f)} bytes" for f in (ours, theirs)]
            yield Change("file", name, *sizes)
