"""Everything that can be found wrong with a bundle before it decides about anything.

All findings at once, each with its place: a person mends them in one go. Nothing of a bundle is
evaluated that does not parse or that uses itself; the latter would end this process.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from mlflow_governance.core import canonical
from mlflow_governance.core.dossier import Gate
from mlflow_governance.errors import GovernanceError
from mlflow_governance.policy import config_schema, gate_check, gate_text
from mlflow_governance.policy.bundle import MANIFEST, Bundle, from_files
from mlflow_governance.policy.finding import Finding
from mlflow_governance.policy.json_place import place
from mlflow_governance.policy.lint import FIXES, inspect
from mlflow_governance.policy.metadata import blocks
from mlflow_governance.policy.syntax import Tree, explained, parse

_STEP = re.compile(r"[^.\[\]]+")

RULES: Mapping[str, str] = {
    **FIXES,
    "bundle": "compare the folder with the one that ships (policies/README.md)",
    "data-over-rules": "move the data to a path of its own, e.g. registry/config/data.json",
    "config": "see config.schema.json beside the policies that ship",
    "compile": "mend the module; the embedded engine refuses it",
    "metadata": "write before the package: # METADATA, # title: …, # description: …",
    "entrypoint": "write before decision: # METADATA, # title: …, # entrypoint: true",
    "gate-missing": "start from the gate that ships",
    "empty-allowed": "give every check default … := false",
    "decision": "answer with the members of policies/README.md",
    "undocumented": "give the code a path, a message and a fix in texts",
    "check-name": "write codes like OWN-001",
    "check-twice": "give each check a code of its own",
    "placeholder": "use {name}, {version}, {stage}, {to} or {actor}",
    "engines-differ": "see docs/policy.md, house rules; --save writes the dossier to try it with",
    "opa-refuses": "OPA does not load this: mend it, or it cannot be served by one",
}
"""The kinds of findings, and how each is mended in general."""


@dataclass(frozen=True)
class Examination:
    """What was found. ``bundle`` is there if the files are one and can be evaluated."""

    findings: tuple[Finding, ...]
    bundle: Bundle | None


def examine(files: Mapping[str, bytes], overlook: frozenset[str] = frozenset()) -> Examination:
    """Look at the files of a bundle; ``overlook`` names kinds of findings to leave out."""
    sources = {n: d for n, d in files.items() if n.endswith(".rego") and not _is_test(n)}
    trees, broken = parse({n: d.decode("utf-8", "replace") for n, d in sources.items()})
    found = [*broken, *inspect(trees), *_hidden_rules(files, trees), *_metadata(trees)]
    found += gate_text.name_findings(trees)
    bundle, refusals = _bundle(files, found)
    found += refusals
    fatal = bool(broken) or any(finding.rule == "recursion" for finding in found)
    if bundle is not None and not fatal:
        found += _configuration(bundle)
        refused = list(_compile(bundle, trees, found))
        found += refused or gate_check.findings(bundle, trees)
    kept = tuple(sorted({f for f in found if f.rule not in overlook}))
    return Examination(kept, None if fatal else bundle)


def _is_test(name: str) -> bool:
    return name.startswith("tests/") or name.endswith("_test.rego")


def _bundle(
    files: Mapping[str, bytes], found: list[Finding]
) -> tuple[Bundle | None, list[Finding]]:
    try:
        return from_files(files), []
    except GovernanceError as error:
        if "would hide rules" in error.message and any(f.rule == "data-over-rules" for f in found):
            return None, []
        message = error.message.removeprefix("the policy bundle is refused: ")
        named = next((name for name in sorted(files) if name in message), MANIFEST)
        return None, [Finding(named, 1, 1, "bundle", message, RULES["bundle"])]


def _hidden_rules(files: Mapping[str, bytes], trees: list[Tree]) -> Iterator[Finding]:
    # One engine prefers the data to the rule that stands at its path, the other refuses both.
    for name, data in files.items():
        if name.split("/")[-1] != "data.json" or _is_test(name):
            continue
        try:
            document = canonical.decode_object(data)
        except GovernanceError as error:
            yield Finding(name, 1, 1, "bundle", error.message, RULES["bundle"])
            continue
        above = tuple(name.split("/")[:-1])
        for package in sorted({tuple(tree.package.split(".")) for tree in trees}):
            for leaf in _leaves(document, above):
                shared = min(len(package), len(leaf))
                if package[:shared] == leaf[:shared]:
                    line, column = place(data.decode("utf-8", "replace"), leaf[len(above) :])
                    told = f"data at {'.'.join(leaf)} would hide rules of {'.'.join(package)}"
                    fix = RULES["data-over-rules"]
                    yield Finding(name, line, column, "data-over-rules", told, fix)


def _leaves(value: object, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _leaves(inner, (*path, key))
    else:
        yield path


def _metadata(trees: list[Tree]) -> Iterator[Finding]:
    described: set[str] = set()
    for tree in trees:
        line = tree.root["package"]["span"]["line"]
        for note in blocks(tree.text):
            if note.problem:
                told = f"OPA refuses this METADATA: {note.problem}"
                yield Finding(tree.file, note.line, 1, "metadata", told, "quote the text")
            if note.about == line and note.values.get("title") and note.values.get("description"):
                described.add(tree.package)
    for tree in trees:
        if tree.package not in described:
            described.add(tree.package)
            told = f"package {tree.package} has no METADATA with a title and a description"
            span = tree.root["package"]["span"]
            yield Finding(tree.file, span["line"], span["col"], "metadata", told, RULES["metadata"])


def _configuration(bundle: Bundle) -> Iterator[Finding]:
    file = "registry/config/data.json"
    text = bundle.files.get(file, b"{}").decode()
    for problem in config_schema.problems(bundle):
        steps = [int(s) if s.isdigit() else s for s in _STEP.findall(problem.path)]
        line, column = place(text, tuple(steps))
        told = f"{problem.path}: {problem.message}" if problem.path else problem.message
        yield Finding(file, line, column, "config", told, RULES["config"])


def _compile(bundle: Bundle, trees: list[Tree], found: list[Finding]) -> Iterator[Finding]:
    # The compiler sees what neither parser nor lint does, and stops at the first of it.
    import json

    import regorus

    there = {tree.package for tree in trees}
    gates = [package for package in map(gate_text.package_of, Gate) if package in there]
    entries = [f"data.{package}.decision" for package in gates]
    try:
        regorus.Program.compile_from_modules(
            json.dumps(bundle.data), list(bundle.modules.items()), entries
        )
    except RuntimeError as error:
        named = next((name for name in bundle.modules if f"--> {name}:" in str(error)), MANIFEST)
        said = explained(str(error), named)
        known = {(f.file, f.line) for f in found}
        if (said.file, said.line) not in known:
            yield Finding(
                said.file, said.line, said.column, "compile", said.message, RULES["compile"]
            )
