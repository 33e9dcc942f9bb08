"""Do the gates answer as gates must? Found by asking them: nothing, good dossiers and others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from mlflow_governance.core.decision import Decision
from mlflow_governance.core.digest import Digest
from mlflow_governance.core.dossier import Dossier, Gate
from mlflow_governance.policy import gate_text
from mlflow_governance.policy.bundle import Bundle
from mlflow_governance.policy.decide import decide
from mlflow_governance.policy.finding import Finding
from mlflow_governance.policy.interface import EngineError
from mlflow_governance.policy.interpreter import UNDEFINED, Interpreter
from mlflow_governance.policy.metadata import blocks
from mlflow_governance.policy.samples import Sample, samples, starts
from mlflow_governance.policy.syntax import Tree

Answers = list[tuple[Sample, Decision]]
Place = tuple[str, int, int]

SAMPLES = 300
_FIXES = {
    "ENG-UNDEFINED": "give every part of `decision` a value for every dossier (default, else)",
    "ENG-SHAPE": "answer with the members of policies/README.md",
    "ENG-CONTRADICTION": "allow if lib.all_pass(checks), and no reasons where it allows",
    "ENG-UNEXPLAINED": "give every failed check a reason: lib.reasons(checks, texts)",
    "ENG-ERROR": "guard what comes from the dossier: is_string(...), is_array(...), object.get",
}


class _Asked:
    """The embedded engine without its refusals, so that every gate can be asked."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self.interpreter = Interpreter(bundle.modules, bundle.data)

    name = "check"

    @property
    def policy_digest(self) -> Digest:
        return self._bundle.digest

    def evaluate(self, gate: Gate, document: bytes) -> Any:
        found = self.query(f"registry.{gate.value}.decision", document)
        if found is None or found == UNDEFINED:
            raise EngineError("ENG-UNDEFINED", f"the {gate.value} gate has no answer")
        return found

    def query(self, rule: str, document: bytes) -> Any:
        try:
            return self.interpreter.evaluate(rule, document)
        except EngineError:
            self.interpreter = Interpreter(self._bundle.modules, self._bundle.data)
            raise


def findings(bundle: Bundle, trees: list[Tree]) -> Iterator[Finding]:
    """What is wrong with the answers of a bundle that compiles, at most one of a kind a gate."""
    asked = _Asked(bundle)
    for gate in Gate:
        place = _decision(trees, gate)
        if place is None:
            file = f"registry/{gate.value}/{gate.value}.rego"
            told = f"there is no rule data.registry.{gate.value}.decision"
            yield Finding(file, 1, 1, "gate-missing", told, "start from the gate that ships")
            continue
        answers = [
            (sample, decide(asked, sample.dossier))
            for sample in _tried()
            if sample.dossier.gate is gate
        ]
        for rule, message, fix in (*_careless(asked, gate), *_no_answers(gate, answers)):
            yield Finding(*place, rule, message, fix)
        if not _is_entrypoint(trees, place):
            told = f"the decision of the {gate.value} gate is not marked as an entry point"
            fix = "write before it: # METADATA, # title: …, # entrypoint: true"
            yield Finding(*place, "entrypoint", told, fix)
        told_of = {**_texts(asked, gate, answers), **_said(answers)}
        codes = {code for _, decision in answers if not decision.error for code in decision.checks}
        yield from _untold(gate_text.written_codes(trees, gate), codes, told_of, place)


@cache
def _tried() -> tuple[Sample, ...]:
    return tuple(samples(SAMPLES))


def codes(bundle: Bundle, trees: list[Tree]) -> dict[Gate, set[str]]:
    """The checks of each gate: those its source names, and those it answers good dossiers with."""
    asked = _Asked(bundle)
    found = {gate: {w.code for w in gate_text.written_codes(trees, gate)} for gate in Gate}
    for start in starts():
        dossier = Dossier.from_document(start)
        decision = decide(asked, dossier)
        if not decision.error:
            found[dossier.gate] |= decision.checks.keys()
    return found


def _decision(trees: list[Tree], gate: Gate) -> Place | None:
    for tree in trees:
        for rule in tree.rules:
            if tree.package == gate_text.package_of(gate) and rule.name == "decision":
                return tree.file, rule.span["line"], rule.span["col"]
    return None


def _is_entrypoint(trees: list[Tree], place: Place) -> bool:
    return any(
        note.about == place[1] and note.values.get("entrypoint") is True
        for tree in trees
        if tree.file == place[0]
        for note in blocks(tree.text)
    )


def _careless(asked: _Asked, gate: Gate) -> Iterator[tuple[str, str, str]]:
    try:
        answer = asked.evaluate(gate, b"{}")
    except EngineError:
        return  # no answer is a denial
    if not isinstance(answer, dict) or answer.get("allow") is not False:
        told = f"the {gate.value} gate does not deny an empty dossier"
        yield "empty-allowed", told, "give every check default … := false"


def _no_answers(gate: Gate, answers: Answers) -> Iterator[tuple[str, str, str]]:
    seen = set()
    for sample, decision in answers:
        code = decision.reasons[0].code if decision.error else ""
        if code and code not in seen:
            seen.add(code)
            where = f" with another {', '.join(sample.changed)}" if sample.changed else ""
            told = f"the {gate.value} gate gives no decision{where}: {code} {decision.error[:300]}"
            yield "decision", told, _FIXES.get(code, "")


def _untold(
    written: tuple[gate_text.Written, ...],
    seen: set[str],
    told: Mapping[str, Mapping[str, Any]],
    place: Place,
) -> Iterator[Finding]:
    # Every code a person can be refused with says what is wrong and what to do.
    places = {w.code: (w.file, int(w.span["line"]), int(w.span["col"])) for w in written}
    for code in sorted(seen | places.keys()):
        text = told.get(code, {})
        said = text.get("message") not in (None, "", code)
        if not said or not text.get("fix"):
            lacks = "no fix in its text" if said else "no text"
            fix = 'give it a "path", a "message" and a "fix" in the texts of its gate'
            yield Finding(*places.get(code, place), "undocumented", f"{code} has {lacks}", fix)


def _said(answers: Answers) -> dict[str, Mapping[str, Any]]:
    return {
        reason.code: reason.to_document()
        for _, decision in answers
        if not decision.error
        for reason in (*decision.reasons, *decision.shadow)
    }


def _texts(asked: _Asked, gate: Gate, answers: Answers) -> dict[str, Mapping[str, Any]]:
    # A text may be put together from the dossier; the good ones have most to tell.
    texts: dict[str, Mapping[str, Any]] = {}
    good = [sample.dossier.encoded for sample, _ in answers if not sample.changed]
    for document in (b"{}", *good):
        try:
            found = asked.query(f"registry.{gate.value}.texts", document)
        except EngineError:
            continue
        if isinstance(found, dict):
            texts.update((code, text) for code, text in found.items() if isinstance(text, dict))
    return texts
