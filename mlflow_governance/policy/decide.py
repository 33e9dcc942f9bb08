"""From a dossier to a decision, whatever the engine does.

:func:`decide` never raises and never allows by accident. An answer counts only when it is
well-formed, agrees with itself and explains itself; everything else is a denial:

=================  ==================================================================
ENG-SCHEMA         the dossier is not what the schema says, so no engine sees it
ENG-SIZE           the dossier is too large, so no engine sees it
ENG-UNDEFINED      the gate has no answer
ENG-SHAPE          the answer is not a decision document of this gate
ENG-CONTRADICTION  it allows in spite of a reason, or ``allow`` is not "all checks that are
                   enforced and not waived are true, and there is one"
ENG-UNEXPLAINED    it denies without a reason
ENG-UNREACHABLE    the policy server cannot be reached
ENG-TIMEOUT        it, or a confined engine, did not answer within the deadline
ENG-MEMORY         a confined engine needed more memory than it may have
ENG-HTTP-n         it answered with HTTP status n
ENG-REVISION       it serves another policy than the one in force
ENG-ERROR          anything else
=================  ==================================================================
"""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Callable, Mapping
from typing import Any

from mlflow_governance.core import canonical, digest
from mlflow_governance.core.decision import Decision, Reason
from mlflow_governance.core.dossier import Dossier
from mlflow_governance.errors import GovernanceError
from mlflow_governance.policy.interface import MAX_DOSSIER_BYTES, EngineError, PolicyEngine
from mlflow_governance.policy.validity import refuse_unless_valid

_KEYS = {"gate", "allow", "checks", "reasons", "warnings", "obligations", "details"}
_RELIEF = {"modes", "waived", "shadow"}
_WAIVED = {"code", "waiver", "owner", "approver", "expires"}
_PLACEHOLDER = re.compile(r"\{(name|version|stage|to|actor)\}")
_MAX_PROBLEM = 600
_LOOK = "an operator sees why: mlflow-governance doctor"
_TOKEN = "an operator gives the registry a token it takes (opa in config.yaml); " + _LOOK
_SLOW = "ask again; if it stays so, an operator sees why: mlflow-governance doctor"
_MENDS = {
    # Of what came from outside alone: a decision of the rules is made again bit for bit.
    "ENG-UNREACHABLE": "ask again when the policy server is up; " + _LOOK,
    "ENG-TIMEOUT": _SLOW,
    "ENG-REVISION": "ask again when the policy server has the policy in force, which is told by: "
    "mlflow-governance policy status",
    "ENG-HTTP-401": _TOKEN,
    "ENG-HTTP-403": _TOKEN,
    "ENG-HTTP-503": _SLOW,
}


def decide(engine: PolicyEngine, dossier: Dossier) -> Decision:
    """Ask one gate; see the table above for what becomes of a bad answer."""
    started = time.perf_counter()
    try:
        encoded = _encoded(dossier)
        refuse_unless_valid(dossier)
        answer = _well_formed(dossier, engine.evaluate(dossier.gate, encoded))
        error = ""
    except EngineError as problem:
        answer, error = _denial(problem.reason_code, problem.message), problem.message
    except Exception as problem:
        error = f"{type(problem).__name__}: {problem}"
        answer = _denial("ENG-ERROR", "the policy engine broke")
    return Decision(
        gate=dossier.gate,
        **answer,
        policy_digest=engine.policy_digest,
        dossier_digest=_identity(dossier),
        engine=engine.name,
        error=_one_line(error),
        duration=round((time.perf_counter() - started) * 1_000_000),
    )


def _encoded(dossier: Dossier) -> bytes:
    try:
        encoded = dossier.encoded
    except GovernanceError as error:
        raise EngineError("ENG-SCHEMA", error.message) from error
    if len(encoded) > MAX_DOSSIER_BYTES:
        raise EngineError(
            "ENG-SIZE",
            f"the dossier has {len(encoded)} bytes; at most {MAX_DOSSIER_BYTES} are judged",
        )
    return encoded


def _identity(dossier: Dossier) -> digest.Digest:
    # A dossier without canonical form cannot be stored either; its decision still needs a name.
    try:
        return dossier.digest
    except GovernanceError:
        return digest.of_bytes(b"")


def _denial(code: str, message: str) -> dict[str, Any]:
    return {
        "allow": False,
        "checks": {code: False},
        "reasons": (Reason(code, "", _one_line(message), _MENDS.get(code, "")),),
    }


def _well_formed(dossier: Dossier, raw: object) -> dict[str, Any]:
    known = isinstance(raw, dict) and raw.keys() - _RELIEF == _KEYS
    if not isinstance(raw, dict) or not known or raw["gate"] != dossier.gate.value:
        raise EngineError(
            "ENG-SHAPE", f"the answer is no decision of the {dossier.gate.value} gate"
        )
    allow, checks, reasons = raw["allow"], raw["checks"], raw["reasons"]
    if not isinstance(allow, bool) or not _is_checks(checks):
        raise EngineError("ENG-SHAPE", "the answer's allow or checks are not truth values")
    if not isinstance(reasons, list) or not all(map(_is_reason, reasons)):
        raise EngineError("ENG-SHAPE", "the answer's reasons are malformed")
    modes, waived, shadow = _relief(raw, checks)
    aside = modes.keys() | {entry["code"] for entry in waived}
    deciding = (
        [ok for code, ok in checks.items() if code not in aside] if aside else checks.values()
    )
    if allow is not (bool(deciding) and all(deciding)) or (allow and reasons):
        raise EngineError(
            "ENG-CONTRADICTION", "the answer disagrees with its own checks or reasons"
        )
    if not allow and not reasons:
        raise EngineError("ENG-UNEXPLAINED", "the answer denies and does not say why")
    read = _reader(dossier) if reasons or aside else None
    return {
        "allow": allow,
        "checks": dict(sorted(checks.items())),
        "reasons": tuple(sorted(map(read, reasons))) if read else (),
        "warnings": _warnings(raw["warnings"], read),
        "obligations": _sorted_objects(raw["obligations"], "obligations"),
        "details": _details(raw["details"]),
        "modes": dict(sorted(modes.items())),
        "waived": tuple(sorted(waived, key=_canonical)),
        "shadow": tuple(sorted(map(read, shadow))) if read else (),
    }


def _relief(
    raw: Mapping[str, Any], checks: Mapping[str, bool]
) -> tuple[Mapping[str, str], list[Mapping[str, str]], list[Mapping[str, str]]]:
    # What did not decide, and why. An older bundle knows neither modes nor waivers of checks.
    modes, waived, shadow = raw.get("modes", {}), raw.get("waived", []), raw.get("shadow", [])
    if not isinstance(modes, dict) or not isinstance(waived, list) or not isinstance(shadow, list):
        raise EngineError("ENG-SHAPE", "the answer's modes, waived or shadow are malformed")
    if any(code not in checks or mode not in ("warn", "shadow") for code, mode in modes.items()):
        raise EngineError("ENG-SHAPE", "the answer relaxes a check it has not, or in no known mode")
    if not all(map(_is_waived, waived)) or any(checks.get(w["code"]) is not False for w in waived):
        raise EngineError("ENG-SHAPE", "the answer waives a check that did not fail")
    if not all(map(_is_reason, shadow)) or any(modes.get(r["code"]) != "shadow" for r in shadow):
        raise EngineError("ENG-SHAPE", "the answer's shadow reasons are malformed")
    return modes, waived, shadow


def _is_waived(entry: object) -> bool:
    return (
        isinstance(entry, dict)
        and entry.keys() == _WAIVED
        and all(isinstance(text, str) and text for text in entry.values())
    )


def _warnings(
    values: object, read: Callable[[Mapping[str, str]], Reason] | None
) -> tuple[Mapping[str, Any], ...]:
    # A failed check in warn mode is told in the words of a reason.
    found = _sorted_objects(values, "warnings")
    if read is None:
        return found
    told = [read(w).to_document() if _is_reason(w) else w for w in found]
    return tuple(sorted(told, key=_canonical))


def _is_checks(checks: object) -> bool:
    return (
        isinstance(checks, dict)
        and bool(checks)
        and all(_is_code(c) and isinstance(ok, bool) for c, ok in checks.items())
    )


def _is_code(code: object) -> bool:
    # What is not printable, half a character included, could not be recorded or shown as it is.
    return isinstance(code, str) and code.isprintable() and bool(code)


def _is_reason(reason: object) -> bool:
    return (
        isinstance(reason, dict)
        and {"code", "path", "message"} <= reason.keys() <= {"code", "path", "message", "fix"}
        and all(isinstance(text, str) for text in reason.values())
        and _is_code(reason["code"])
        and reason["path"].isprintable()
        and not reason["code"].startswith("ENG-")  # that prefix is the engine's own word
    )


def _sorted_objects(values: object, what: str) -> tuple[Mapping[str, Any], ...]:
    # OPA and regorus order a set of objects alike today; the record must not depend on it.
    if not isinstance(values, list) or not all(isinstance(v, dict) for v in values):
        raise EngineError("ENG-SHAPE", f"the answer's {what} are not a list of objects")
    return tuple(sorted(values, key=_canonical))


def _details(details: object) -> Mapping[str, Any]:
    if not isinstance(details, dict):
        raise EngineError("ENG-SHAPE", "the answer's details are not an object")
    if details:
        _canonical(details)
    return details


def _canonical(value: object) -> bytes:
    try:
        return canonical.encode(value)
    except GovernanceError as error:
        raise EngineError("ENG-SHAPE", f"the answer cannot be recorded: {error.message}") from error


def _reader(dossier: Dossier) -> Callable[[Mapping[str, str]], Reason]:
    values = {
        "name": dossier.subject.ref.name,
        "version": str(dossier.subject.ref.version),
        "stage": dossier.subject.stage.value,
        "to": str(dossier.action.get("to") or "another stage"),
        "actor": dossier.actor.person,
    }
    shown = {key: _one_line(value) for key, value in values.items()}
    # A fix is pasted into a shell, and people choose model names.
    quoted = {key: shlex.quote(value) for key, value in shown.items()}

    def read(reason: Mapping[str, str]) -> Reason:
        message = _printable(_fill(reason["message"], shown))
        problem = _problem(dossier, reason["path"])
        return Reason(
            code=reason["code"],
            path=reason["path"],
            message=f"{message}: {problem}" if problem else message,
            fix=_printable(_fill(reason.get("fix", ""), quoted)),
        )

    return read


def _fill(text: str, values: Mapping[str, str]) -> str:
    # One pass, so that a name like "{actor}" stays a name.
    return _PLACEHOLDER.sub(lambda found: values[found[1]], text)


def _problem(dossier: Dossier, path: str) -> str:
    room, _, rest = path.partition(".")
    outcome = dossier.evidence.get(rest.partition(".")[0]) if room == "evidence" else None
    return _one_line(outcome.problem) if outcome else ""


def _printable(text: str) -> str:
    # A message names licences, files and headings that a submitter chose: no line breaks, no
    # escape codes.
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else " " for c in text)


def _one_line(text: str) -> str:
    # What foreign bytes caused may say anything, and no novels.
    kept = _printable(text[: 2 * _MAX_PROBLEM])
    kept = " ".join(kept.split()) if "  " in kept or kept != kept.strip() else kept
    return kept if len(kept) <= _MAX_PROBLEM else kept[:_MAX_PROBLEM] + "…"
