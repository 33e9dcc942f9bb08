"""What the names in a set of modules mean, and names the engines resolve differently."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

from mlflow_governance.policy.finding import Finding
from mlflow_governance.policy.syntax import Node, Rule, Tree, name, nodes, path

Key = tuple[str, str]
"""A rule: package and name."""

_FUTURE = {"contains", "every", "if", "in"}


@dataclass(frozen=True)
class Names:
    """Every rule of a set of modules. Made by :func:`collect`."""

    rules: frozenset[Key]
    arities: Mapping[Key, frozenset[int]]

    def absolute(self, tree: Tree, steps: tuple[str, ...]) -> tuple[str, ...]:
        """A path below ``data``, or nothing for what is no rule or data."""
        if steps[0] == "data":
            return steps[1:]
        stands_for = tree.aliases.get(steps[0], ())
        if stands_for:
            return (*stands_for[1:], *steps[1:]) if stands_for[0] == "data" else ()
        if (tree.package, steps[0]) in self.rules:
            return (*tree.package.split("."), *steps)
        return ()

    def function(self, tree: Tree, steps: tuple[str, ...]) -> Key | None:
        """The function of the bundle that a call means."""
        package, _, last = ".".join(self.absolute(tree, steps)).rpartition(".")
        return (package, last) if (package, last) in self.arities else None

    def meant(self, full: tuple[str, ...]) -> Iterator[Key]:
        """The rules a path below ``data`` reaches: one, or all below a package."""
        for cut in range(len(full), 1, -1):
            key = (".".join(full[: cut - 1]), full[cut - 1])
            if key in self.rules:
                yield key
                return
        known = full[: full.index("?")] if "?" in full else full
        for package, rule in self.rules:
            if package.split(".")[: len(known)] == list(known):
                yield package, rule


def collect(trees: list[Tree]) -> Names:
    """The names that modules define."""
    arities: dict[Key, set[int]] = {}
    rules = set()
    for tree in trees:
        for rule in tree.rules:
            rules.add((tree.package, rule.name))
            if rule.kind == "Func" or rule.arguments:
                arities.setdefault((tree.package, rule.name), set()).add(len(rule.arguments))
    return Names(frozenset(rules), {key: frozenset(found) for key, found in arities.items()})


def resolved_differently(trees: list[Tree], names: Names) -> Iterator[Finding]:
    """Findings ``recursion``, ``default-twice``, ``shadowed-name`` and ``future-import``."""
    yield from recursion(trees, names)
    yield from _twice(trees)
    for tree in trees:
        yield from _imports(tree)
        yield from _shadowed(tree, names)


def recursion(trees: list[Tree], names: Names) -> Iterator[Finding]:
    """Rules that use themselves, over whatever way, one finding a ring.

    OPA refuses them; the embedded engine follows a function until its process dies.
    """
    places: dict[Key, tuple[Tree, Rule]] = {}
    graph: dict[Key, set[Key]] = {}
    for tree in trees:
        for rule in tree.rules:
            key = (tree.package, rule.name)
            places.setdefault(key, (tree, rule))
            graph.setdefault(key, set()).update(_uses(tree, rule, names))
    while True:
        try:
            TopologicalSorter(graph).prepare()
        except CycleError as cycle:
            ring: list[Key] = cycle.args[1][::-1]  # in the order of use
            tree, rule = places[ring[0]]
            told = " uses ".join(".".join(key) for key in ring)
            yield _finding(tree, rule.span, "recursion", told)
            graph[ring[0]].discard(ring[1])
        else:
            return


def _uses(tree: Tree, rule: Rule, names: Names) -> Iterator[Key]:
    local = bound(tree, rule)
    for steps, called in references(rule.node):
        if called or steps[0] not in local:
            full = names.absolute(tree, steps)
            if full:
                yield from names.meant(full)


def references(node: object) -> Iterator[tuple[tuple[str, ...], bool]]:
    """Each name an expression uses, and whether it is called."""
    if isinstance(node, list):
        for item in node:
            yield from references(item)
    if not isinstance(node, Mapping):
        return
    for kind, inner in node.items():
        if kind in ("Var", "RefDot", "RefBrack"):
            yield path(node), False
            yield from _indexes(node)
        elif kind == "Call":
            yield path(inner["fcn"]), True
            yield from references(inner["params"])
        elif kind == "with_mods":
            yield from references([mod["as"] for mod in inner])
        elif kind == "head":
            ((_, head),) = inner.items()
            yield from references([value for k, value in head.items() if k != "refr"])
        elif kind != "refr":
            yield from references(inner)


def _indexes(node: Node) -> Iterator[tuple[tuple[str, ...], bool]]:
    while "Var" not in node:
        kind, inner = next(iter(node.items()))
        if kind == "RefBrack":
            yield from references(inner["index"])
        elif kind != "RefDot":
            yield from references(node)
            return
        node = inner["refr"]


def bound(tree: Tree, rule: Rule) -> set[str]:
    """The names a rule binds itself: parameters, ``some``, ``every`` and ``:=``."""
    found = {name(node) for argument in rule.arguments for node in variables(argument)}
    for kind, inner in rule.nodes:
        if kind == "SomeVars":
            found.update(tree.source(span) for span in inner["vars"])
        elif kind == "SomeIn":
            patterns = [inner["key"], inner["value"]]
            found.update(name(node) for node in variables(patterns))
        elif kind == "Every":
            found.update(tree.source(inner[k]) for k in ("key", "value") if inner[k])
        elif kind == "AssignExpr" and inner["op"] == "ColEq":
            found.update(name(node) for node in variables(inner["lhs"]))
    return found


def variables(pattern: object) -> Iterator[Node]:
    """The variables of a pattern, as nodes."""
    for kind, inner in nodes(pattern):
        if kind == "Var":
            yield {"Var": inner}


def _twice(trees: list[Tree]) -> Iterator[Finding]:
    seen: Counter[Key] = Counter()
    for tree in trees:
        for rule in tree.rules:
            if rule.kind == "Default":
                seen[tree.package, rule.name] += 1
                if seen[tree.package, rule.name] == 2:
                    told = f"{rule.name} has a second default; OPA refuses that"
                    yield _finding(tree, rule.span, "default-twice", told)


def _imports(tree: Tree) -> Iterator[Finding]:
    seen: set[str] = set()
    for node in tree.root["imports"]:
        steps, alias = path(node["refr"]), tree.alias(node)
        if steps[0] == "future" and not set(steps[2:]) <= _FUTURE:
            told = f"{'.'.join(steps)} is not known to every engine"
            yield _finding(tree, node["span"], "future-import", told)
        if steps[0] in ("data", "input"):
            if alias in seen or alias in ("input", "data"):
                told = f"the import hides another {alias}; OPA refuses that"
                yield _finding(tree, node["span"], "shadowed-name", told)
            seen.add(alias)


def _shadowed(tree: Tree, names: Names) -> Iterator[Finding]:
    for rule in tree.rules:
        if rule.name in tree.aliases:
            told = f"{rule.name} is imported, too: one engine takes the rule, the other the import"
            yield _finding(tree, rule.span, "shadowed-name", told)
        for node in variables(rule.arguments):
            if name(node) in ("input", "data"):
                told = f"a parameter hides {name(node)}; OPA refuses that"
                yield _finding(tree, node["Var"]["span"], "shadowed-name", told)
        told = (
            "a name stands for two arguments: one engine takes the last, the other asks for equals"
        )
        counted = Counter(name(node) for node in variables(rule.arguments))
        if any(times > 1 for word, times in counted.items() if word != "_"):
            yield _finding(tree, rule.span, "shadowed-name", told)
        for word, span in _declared(tree, rule):
            if word in tree.aliases or (tree.package, word) in names.rules:
                told = f"`some {word}` hides a rule or import; one engine refuses that"
                yield _finding(tree, span, "shadowed-name", told)


def _declared(tree: Tree, rule: Rule) -> Iterator[tuple[str, Node]]:
    for kind, inner in rule.nodes:
        if kind == "SomeVars":
            yield from ((tree.source(span), span) for span in inner["vars"])
        elif kind == "SomeIn":
            for node in variables([inner["key"], inner["value"]]):
                yield name(node), node["Var"]["span"]


def _finding(tree: Tree, span: Node, rule: str, message: str) -> Finding:
    return Finding(tree.file, span["line"], span["col"], rule, message)
