"""Would both engines read these policies alike?

OPA and the embedded engine disagree about a few constructs, mostly in the direction that matters
(OPA lifts ``input.x`` out of ``not f(input.x)``, so a missing ``x`` undoes the rule). A set of
policies without those constructs gives the same decision in both; this module finds them in the
syntax tree, with file, line and column. What no syntax tree shows, :mod:`.twin` finds by asking.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from functools import lru_cache

from mlflow_governance.errors import ConfigurationError
from mlflow_governance.policy import names, traps
from mlflow_governance.policy.bundle import Bundle
from mlflow_governance.policy.finding import Finding
from mlflow_governance.policy.portable import IMPURE, PORTABLE
from mlflow_governance.policy.syntax import Rule, Tree, parse

__all__ = ["FIXES", "IMPURE", "PORTABLE", "Finding", "inspect", "lint", "refuse_hazards"]

FIXES: Mapping[str, str] = {
    "negation": "name the expression as a rule and negate that, or compare a call with false",
    "impure-builtin": "take it from the dossier; the time is input.now",
    "unknown-function": "define it in the bundle, or use one of the portable builtins",
    "differing-builtin": "write it with other builtins, or have the registry put it in a dossier",
    "sprintf": 'concat("", [...]), or sprintf with %v and as many arguments',
    "regex": "write the characters out, e.g. [0-9] instead of \\d",
    "glob": "write *, {a,b} and [a-z]; ?, [!a] and ** do not mean the same in both engines",
    "instant": "lib.instant(...), which is nothing for what is no instant",
    "arity": "call the function with the arguments it is defined with",
    "recursion": "unroll it: rules may not use themselves",
    "unguarded": "iterate over lib.array_or_empty(...), or ask is_array(...) first",
    "membership": "make it a rule: default r := false, r if x in y",
    "precedence": "use a difference of sets, or (x in y) == false over what is surely there",
    "object-pattern": 'name the members: some o in list; o.name == "x"',
    "number": "write it out with at most 15 digits",
    "fraction": "calculate with whole numbers",
    "partial-head": "write one rule with a comprehension: r := {k: v | ...}",
    "default-twice": "keep one default",
    "shadowed-name": "give one of the two another name",
    "future-import": "leave the import out; only what every OPA reads is portable",
    "nesting": "give the inner parts names of their own",
    "with": "pass what differs as an argument of a function; `with` is for tests",
    "syntax": "mend the module; Rego v1 is the language",
}
"""How each kind of finding is mended."""


def lint(bundle: Bundle) -> tuple[Finding, ...]:
    """Everything in the bundle that the engines could read differently, in order.

    Raises:
        ConfigurationError: a module does not parse.
    """
    trees, broken = parse(bundle.modules)
    if broken:
        raise ConfigurationError(
            "the policies do not parse: " + "; ".join(map(str, broken)),
            advice="Check them: mlflow-governance policy check --bundle FOLDER",
        )
    return inspect(trees)


def refuse_hazards(bundle: Bundle) -> None:
    """Before the engine sees it: what would end this very process, or keep it for ever.

    Raises:
        ConfigurationError: a function uses itself, or brackets are nested too deeply.
    """
    found = _hazards(tuple(bundle.modules.items()))
    if found:
        raise ConfigurationError(
            f"the policies cannot be evaluated: {found[0]}",
            advice="Check them: mlflow-governance policy check --bundle FOLDER",
        )


@lru_cache(maxsize=16)
def _hazards(modules: tuple[tuple[str, str], ...]) -> tuple[Finding, ...]:
    trees, broken = parse(dict(modules))
    deep = [finding for finding in broken if finding.rule == "nesting"]
    return (*deep, *names.recursion(trees, names.collect(trees)))


def inspect(trees: list[Tree]) -> tuple[Finding, ...]:
    """The same for modules that are parsed."""
    known = names.collect(trees)
    found = set(names.resolved_differently(trees, known))
    for tree in trees:
        for rule in tree.rules:
            found.update(
                Finding(tree.file, span["line"], span["col"], kind, message)
                for span, kind, message in _traps(traps.around(tree, known, rule), rule)
            )
    return tuple(sorted(dataclasses.replace(f, fix=FIXES[f.rule]) for f in found))


def _traps(module: traps.Module, rule: Rule) -> Iterator[traps.Trap]:
    yield from traps.head(rule)
    yield from traps.function_reference(module, rule)
    for argument in rule.arguments:
        yield from traps.object_pattern(argument)
    for kind, inner in rule.nodes:
        if kind in traps.NODES:
            yield from traps.NODES[kind](module, inner)
        elif kind == "assign" and inner:
            yield from traps.head_value(module, inner["value"])
