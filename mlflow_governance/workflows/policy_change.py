"""How another bundle comes into force: from its source, by approvals, or by an administrator.

Without approvals, whoever may write the source decides, and a bundle of the source comes into
force **once**: one that was in force before returns by :func:`activate` alone. So replicas whose
sources are not alike yet, or were put back, cannot take turns. With approvals nothing comes from
the source (:mod:`~mlflow_governance.workflows.policy_approval`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from mlflow_governance.approval.request import MAX_REASON
from mlflow_governance.core import canonical
from mlflow_governance.core.actor import ANONYMOUS, Actor
from mlflow_governance.core.digest import Digest, of_bytes
from mlflow_governance.core.event import Act, Event
from mlflow_governance.errors import Conflict, Denied, InvalidRequest, NotFound, Unauthenticated
from mlflow_governance.policy import bundle as bundles
from mlflow_governance.policy.bundle import Bundle
from mlflow_governance.workflows.policy import ACTIVATION, POLICY, Change, bring_into_force
from mlflow_governance.workflows.policy_ports import Policies, Quorum
from mlflow_governance.workflows.policy_verdict import Ballot, Verdict, weigh_bundle
from mlflow_governance.workflows.ports import Ports, Reading, Store, UnitOfWork

REFUSED = "policy.refused"
"""Under this name the last refused change is remembered, so that it is recorded once."""


@dataclass(frozen=True)
class Board:
    """What a change of policy needs of the registry."""

    store: Store
    policy: Policies
    clock: Callable[[], datetime]
    quorum: Quorum | None

    @classmethod
    def of(cls, ports: Ports) -> Board:
        """The board of a registry."""
        return cls(ports.store, ports.policy, ports.clock, ports.rules.policy_approvals)


def activate(board: Board, actor: Actor, digest: Digest, reason: str) -> None:
    """Put a bundle into force that was so before: an administrator's way back.

    Raises:
        Unauthenticated: nobody is logged in.
        Denied: not an administrator, approvals are asked for, or it is not fit any more; that is
            recorded.
        NotFound: it was never in force.
        Conflict: it is in force, or another came into force meanwhile.
    """
    check_person(actor, reason)
    load = kept(board, digest)
    with board.store.read() as reading:
        before = in_force(reading)
    if before == digest:
        raise Conflict(f"{digest} is in force already")
    if not actor.admin:
        raise _recorded(board, actor, digest)
    ballot = Ballot(board.quorum) if board.quorum else None
    verdict = weigh_bundle(board.policy, load, before, ballot)
    with board.store.begin() as uow:
        if verdict.policy is None or not verdict.allow:
            record_refusal(board, uow, verdict, actor.person, reason)
        else:
            bundle, document = verdict.policy.bundle, verdict.document
            change = Change(bundle, before, ACTIVATION, document, actor.person, reason)
            bring_into_force(uow, board.clock(), change)
    if not verdict.allow:
        advice = f"mlflow-governance policy propose {digest} --reason WHY" if ballot else ""
        raise Denied(
            f"{digest} cannot come into force:\n{verdict.told}", advice=advice or verdict.mend
        )
    board.policy.refresh()


def _recorded(board: Board, actor: Actor, digest: Digest) -> Denied:
    with board.store.begin() as uow:
        uow.record(
            Event(
                act=Act.REQUEST_REFUSED,
                person=actor.person,
                at=board.clock(),
                allowed=False,
                facts={"asked": "activate policy", "policy_digest": digest},
            )
        )
    return Denied(
        f"{actor.person} is no administrator", advice="Ask an administrator to activate it."
    )


def record_refusal(
    board: Board,
    uow: UnitOfWork,
    verdict: Verdict,
    person: str = Actor.system("server").person,
    reason: str = "",
) -> None:
    """Record that a change was refused; what no person asked for is recorded once."""
    document = canonical.encode(dict(verdict.document))
    said = of_bytes(document)
    if not reason and uow.in_force(REFUSED) == said:
        return
    uow.put_in_force(REFUSED, said, document)
    state = {"policy_digest": uow.in_force(POLICY)}
    uow.record(
        Event(
            act=Act.POLICY_CHANGED,
            person=person,
            at=board.clock(),
            before=state,
            after=state,
            allowed=False,
            reason=reason,
            facts={"decision": dict(verdict.document)},
        )
    )


def check_person(actor: Actor, reason: str) -> None:
    """Refuse who is not known, and who says not why.

    Raises:
        Unauthenticated: nobody is logged in.
        InvalidRequest: no reason, or too long a one.
    """
    if not actor.authenticated or actor.person in ("", ANONYMOUS):
        raise Unauthenticated(
            "a change of policy needs a known person",
            advice="Log in (MLFLOW_TRACKING_USERNAME, MLFLOW_TRACKING_PASSWORD) and repeat.",
        )
    if not reason.strip():
        raise InvalidRequest("a change of policy needs a reason", advice="Add --reason WHY.")
    if len(reason) > MAX_REASON:
        raise InvalidRequest(f"the reason has more than {MAX_REASON} characters")


def in_force(reading: Reading) -> Digest:
    """What is in force.

    Raises:
        Conflict: nothing ever was.
    """
    before = reading.in_force(POLICY)
    if before is None:
        raise Conflict("no policy is in force yet", advice="Start the server.")
    return before


def kept(board: Board, digest: Digest) -> Callable[[], Bundle]:
    """Reads a bundle that was in force before.

    Raises:
        NotFound: it never was.
    """
    with board.store.read() as reading:
        archive = reading.policy_archive(digest)
    if archive is None:
        raise NotFound(
            f"no policy {digest} was ever in force",
            advice="See which one is: mlflow-governance policy status",
        )
    return lambda: bundles.kept_as(archive, digest)
