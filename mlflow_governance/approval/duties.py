"""Separation of duties: what must hold before a person's word is recorded.

1. The actor is authenticated (a pipeline or an anonymous caller agrees to nothing).
2. The version has a digest and stands where agreement means something.
3. The actor did not submit it, and it is known who did.
4. The actor holds the role they speak in. Being an administrator replaces no role.
5. The actor has not spoken in another role about the same content under the same policy.

Policy checks all of this again when it decides: these rules spare people a useless approval,
they are not what the release rests on. A rejection needs 1, 2 and 4 only: a submitter may always
speak against their own version.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mlflow_governance.approval.request import APPROVE, ApprovalRequest
from mlflow_governance.core.actor import ANONYMOUS, Actor
from mlflow_governance.core.decision import Reason
from mlflow_governance.core.dossier import Subject
from mlflow_governance.core.stage import Stage
from mlflow_governance.errors import Denied, Unauthenticated

STAGES = (Stage.CANDIDATE, Stage.STAGING, Stage.APPROVED)
"""Where an approval leads somewhere."""


def refuse_unfit(
    request: ApprovalRequest, subject: Subject, given: Sequence[Mapping[str, Any]]
) -> None:
    """Refuse a word the person may not give, naming every duty it would break.

    Args:
        request: who says what, in which role.
        subject: the version it is about.
        given: words already recorded about it, ``{person, role, model_digest, policy_digest}``.

    Raises:
        Unauthenticated: nobody is logged in.
        Denied: one of the duties is broken; ``details["reasons"]`` names each.
    """
    if not request.actor.authenticated or request.actor.person in ("", ANONYMOUS):
        raise Unauthenticated(
            "an approval needs a known person",
            advice="Log in (MLFLOW_TRACKING_USERNAME, MLFLOW_TRACKING_PASSWORD) and repeat.",
        )
    reasons = [*_place(subject), *_role(request)]
    if request.decision == APPROVE:
        reasons += [*_submitter(request.actor, subject), *_one_role(request, subject, given)]
    if reasons:
        headline = f"{request.actor.person} may not {request.decision} {subject.ref}"
        raise Denied(
            "\n".join([headline, *(f"  - {r.code} {r.message}" for r in reasons)]),
            advice="\n".join(dict.fromkeys(r.fix for r in reasons)),
            reasons=[r.to_document() for r in reasons],
        )


def _place(subject: Subject) -> Iterable[Reason]:
    ref = subject.ref
    if subject.blocked or subject.stage not in STAGES:
        yield Reason(
            "DUTY-STAGE",
            "subject.stage",
            f"{ref} is {subject.stage.value}: there is nothing to agree to",
            f"Look where it stands: mlflow-governance show {ref}",
        )
    if subject.digest is None:
        yield Reason(
            "DUTY-DIGEST",
            "subject.digest",
            f"{ref} has no digest yet, so a word about it would bind to nothing",
            f"Wait for its registration to finish: mlflow-governance show {ref}",
        )


def _role(request: ApprovalRequest) -> Iterable[Reason]:
    held = request.actor.roles
    if request.role not in held:
        yield Reason(
            "DUTY-ROLE",
            "actor.roles",
            f"the role {request.role} is not held (held: {', '.join(sorted(held)) or 'none'})",
            f"Ask an administrator for the role {request.role}, or somebody who holds it.",
        )


def _submitter(actor: Actor, subject: Subject) -> Iterable[Reason]:
    submitter = Actor(subject.submitter).person
    if submitter == actor.person:
        yield Reason(
            "DUTY-SUBMITTER",
            "subject.submitter",
            "who submitted a version may not approve it",
            "Ask somebody else with the role.",
        )
    elif submitter in ("", ANONYMOUS):
        yield Reason(
            "DUTY-SUBMITTER",
            "subject.submitter",
            "nobody knows who submitted it, so nobody can be shown to be somebody else",
            "Register it again while logged in.",
        )


def _one_role(
    request: ApprovalRequest, subject: Subject, given: Sequence[Mapping[str, Any]]
) -> Iterable[Reason]:
    others = {
        str(word["role"])
        for word in given
        if Actor(str(word["person"])).person == request.actor.person
        and word["role"] != request.role
        and word["model_digest"] == subject.digest
        and request.policy_digest in (None, word["policy_digest"])
    }
    if others:
        yield Reason(
            "DUTY-ONE-ROLE",
            "approvals",
            f"the same person already spoke as {', '.join(sorted(others))}",
            f"Ask somebody else with the role {request.role}.",
        )
