"""A change of policy is a decision: four checks, each with its mend, in one document.

=======  =======================================================================
POL-001  the bundle loads, compiles, has every gate, and none says yes to nothing
POL-002  it is signed by somebody trusted for it, where that is asked
POL-003  every engine reads it alike
POL-004  enough people approved it, where that is asked
=======  =======================================================================

The document is ``{gate: "policy", allow, checks, reasons, policy_digest, before}``. A check that
was not reached, because one before it failed, is false and has no reason of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from mlflow_governance.approval.request import APPROVE, REJECT
from mlflow_governance.core.decision import Reason
from mlflow_governance.core.digest import Digest
from mlflow_governance.errors import ConfigurationError, GovernanceError, VerificationError
from mlflow_governance.policy.bundle import Bundle
from mlflow_governance.policy.interface import PolicyInForce
from mlflow_governance.policy.lint import lint
from mlflow_governance.workflows.policy_ports import Policies, Quorum, Word

CODES = ("POL-001", "POL-002", "POL-003", "POL-004")
GATE = "policy"

_CHECK = "mlflow-governance policy check --bundle FOLDER"
_SHOWN = 3
_MAX_MESSAGE = 600


@dataclass(frozen=True)
class Ballot:
    """What was said of a proposal, and what is asked for."""

    quorum: Quorum
    words: tuple[Word, ...] = ()

    @property
    def given(self) -> int:
        """People who approved in a role that is asked for now; each counts once."""
        approved = (word for word in self.words if word.decision == APPROVE)
        return len({word.person for word in approved if word.role in self.quorum.roles})

    @property
    def against(self) -> int:
        """People who rejected."""
        return len({word.person for word in self.words if word.decision == REJECT})

    @property
    def enough(self) -> bool:
        """True when as many approved as must, and nobody stands against it."""
        return self.given >= self.quorum.count and not self.against


@dataclass(frozen=True)
class Verdict:
    """The decision about a bundle; ``policy`` is it, compiled, where it can be."""

    document: Mapping[str, Any]
    policy: PolicyInForce | None = None

    @property
    def allow(self) -> bool:
        """True when it may come into force."""
        return self.document["allow"] is True

    @property
    def told(self) -> str:
        """Why not, one line a failed check."""
        return "\n".join(f"{r['code']} {r['message']}" for r in self.document["reasons"])

    @property
    def mend(self) -> str:
        """What to do, one line a failed check."""
        return "\n".join(dict.fromkeys(r["fix"] for r in self.document["reasons"] if r["fix"]))


def weigh_bundle(
    policies: Policies,
    load: Callable[[], Bundle],
    before: Digest | None,
    ballot: Ballot | None = None,
) -> Verdict:
    """Decide about a bundle; nothing is written.

    Args:
        policies: compiles it.
        load: reads it.
        before: what it would take the place of.
        ballot: what people said of it; None where nobody is asked.

    Raises:
        Unavailable: its place does not answer.
    """
    try:
        bundle = load()
    except VerificationError as error:
        return Verdict(_document(None, before, {"POL-001"}, [_reason("POL-002", error)]))
    except ConfigurationError as error:
        return Verdict(_document(None, before, set(), [_reason("POL-001", error)]))
    try:
        policy = policies.prepare(bundle)
    except ConfigurationError as error:
        passed = {"POL-002"}
        return Verdict(_document(bundle.digest, before, passed, [_reason("POL-001", error)]))
    reasons = [*_portability(bundle), *_approvals(bundle, ballot)]
    passed = set(CODES) - {reason.code for reason in reasons}
    return Verdict(_document(bundle.digest, before, passed, reasons), policy)


def counted(verdict: Verdict, ballot: Ballot) -> Verdict:
    """The verdict about the same bundle after these words about it."""
    document = verdict.document
    if verdict.policy is None:
        return verdict
    about = list(_approvals(verdict.policy.bundle, ballot))
    kept = [Reason(**r) for r in document["reasons"] if r["code"] != "POL-004"]
    passed = {code for code, ok in document["checks"].items() if ok} | {"POL-004"}
    passed -= {reason.code for reason in about}
    reasons = [*kept, *about]
    digest, before = document["policy_digest"], document["before"]
    return Verdict(_document(digest, before, passed, reasons), verdict.policy)


def _portability(bundle: Bundle) -> Iterable[Reason]:
    problems = lint(bundle)
    if problems:
        shown = "; ".join(str(problem) for problem in problems[:_SHOWN])
        message = f"{len(problems)} places that engines read differently: {shown}"
        yield Reason("POL-003", "", message[:_MAX_MESSAGE], _CHECK)


def _approvals(bundle: Bundle, ballot: Ballot | None) -> Iterable[Reason]:
    if ballot is None or ballot.enough:
        return
    roles = " or ".join(ballot.quorum.roles)
    message = f"{ballot.given} of {ballot.quorum.count} people with the role {roles} approved it"
    if ballot.against:
        message += f", and {ballot.against} rejected it"
    fix = f"mlflow-governance policy approve {bundle.digest} --reason WHY"
    yield Reason("POL-004", "", message, fix)


def _reason(code: str, error: GovernanceError) -> Reason:
    # What foreign bytes caused may say anything: no line breaks, no novels.
    message = " ".join("".join(c if c.isprintable() else " " for c in error.message).split())
    fix = _CHECK if code == "POL-001" else error.advice
    return Reason(code, "", message[:_MAX_MESSAGE], fix)


def _document(
    digest: Digest | None, before: Digest | None, passed: set[str], reasons: Iterable[Reason]
) -> dict[str, Any]:
    checks = {code: code in passed for code in CODES}
    return {
        "gate": GATE,
        "allow": all(checks.values()),
        "checks": checks,
        "reasons": [reason.to_document() for reason in reasons],
        "policy_digest": digest,
        "before": before,
    }
