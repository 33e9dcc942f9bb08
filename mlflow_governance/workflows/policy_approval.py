"""Another bundle by approvals: proposed by one, approved by others, in force with the last word.

A word is bound to the proposal, and so to the bundle proposed and to the one it would take the
place of: when another comes into force meanwhile, all proposals are void. There is no way round
for administrators; the way round is the settings file, and each start records what it says.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from mlflow_governance.approval.request import APPROVE
from mlflow_governance.core.actor import Actor
from mlflow_governance.core.digest import Digest, of_bytes
from mlflow_governance.core.event import Act, Event
from mlflow_governance.errors import Conflict, Denied, NotFound
from mlflow_governance.policy import bundle as bundles
from mlflow_governance.policy.bundle import Bundle
from mlflow_governance.workflows.policy import PROPOSAL, Change, bring_into_force
from mlflow_governance.workflows.policy_change import (
    Board,
    check_person,
    in_force,
    kept,
    record_refusal,
)
from mlflow_governance.workflows.policy_ports import Proposal, ProposalState, Quorum, Word
from mlflow_governance.workflows.policy_verdict import Ballot, Verdict, counted, weigh_bundle
from mlflow_governance.workflows.ports import Reading, UnitOfWork
from mlflow_governance.workflows.proven_policy import require_words

_MOST_OPEN, _MOST_OF_ONE, _MANY = 20, 3, 1000
_examining = threading.Lock()
_LIST = "See what is proposed: mlflow-governance policy proposals"


def propose(
    board: Board, actor: Actor, reason: str, *, archive: bytes = b"", digest: Digest | None = None
) -> Proposal:
    """Propose a bundle.

    Args:
        board: the registry.
        actor: who proposes.
        reason: why.
        archive: the bundle as ``.tar.gz``; or else
        digest: one that was in force before.

    Raises:
        Unauthenticated: nobody is logged in.
        Conflict: no approvals are asked for here, it is in force, it is proposed already, or
            another one is being examined.
        Denied: it is not fit to come into force; that is recorded.
        NotFound: no bundle with that digest was ever in force.
    """
    check_person(actor, reason)
    quorum = _asked(board)
    load = _brought(board, archive) if digest is None else kept(board, digest)
    with board.store.read() as reading:
        before = in_force(reading)
    with _one_at_a_time():
        verdict = weigh_bundle(board.policy, load, before)
    if verdict.policy is None or not verdict.allow:
        with board.store.begin() as uow:
            uow.record(_proposed(board, actor, reason, verdict))
        raise Denied(f"the policy cannot be proposed:\n{verdict.told}", advice=verdict.mend)
    data = verdict.policy.bundle.archive()
    proposal = Proposal(
        uid=uuid.uuid4().hex,
        digest=verdict.policy.digest,
        before=before,
        archive_digest=of_bytes(data),
        person=actor.person,
        reason=reason,
        at=board.clock(),
    )
    with board.store.begin() as uow:
        _refuse_proposal(uow, proposal)
        uow.add_proposal(proposal, data)
        uow.record(_proposed(board, actor, reason, counted(verdict, Ballot(quorum)), proposal))
    return proposal


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    # Everybody logged in may propose, and a trial may take all of its budget.
    if not _examining.acquire(blocking=False):
        raise Conflict("another proposed policy is being examined", advice="Repeat it in a moment.")
    try:
        yield
    finally:
        _examining.release()


def _refuse_proposal(uow: UnitOfWork, proposal: Proposal) -> None:
    if in_force(uow) != proposal.before:
        raise Conflict("another policy came into force meanwhile", advice="Look again and repeat.")
    if proposal.digest == proposal.before:
        raise Conflict(f"{proposal.digest} is in force already")
    opened = uow.open_proposals()
    if any(other.digest == proposal.digest for other in opened):
        raise Conflict(
            f"{proposal.digest} is proposed already",
            advice=f"mlflow-governance policy approve {proposal.digest} --reason WHY",
        )
    mine = [other for other in opened if other.person == proposal.person]
    if len(opened) >= _MOST_OPEN or len(mine) >= _MOST_OF_ONE:
        raise Conflict(
            f"{len(opened)} proposals are open, {len(mine)} of them yours",
            advice="Take one back: mlflow-governance policy reject DIGEST --reason WHY",
        )


@dataclass(frozen=True)
class Spoken:
    """What came of a word.

    Args:
        proposal: the proposal as it stands now.
        ballot: what was said of it so far.
        waits: enough people approved it, and the policy server does not serve it yet.
    """

    proposal: Proposal
    ballot: Ballot
    waits: bool = False


def speak(board: Board, actor: Actor, digest: Digest, decision: str, reason: str) -> Spoken:
    """Approve or reject a proposed bundle; the last approval puts it into force.

    Who proposed it approves nothing, and may take it back by rejecting it.

    Raises:
        Unauthenticated: nobody is logged in.
        NotFound: no such bundle is proposed.
        Denied: the person may not say so (recorded), or the bundle is not fit any more.
        Conflict: another bundle came into force meanwhile, so the proposal is void.
        LedgerError: the ledger does not prove what was said of it so far.
    """
    check_person(actor, reason)
    quorum = _asked(board)
    with board.store.read() as reading:
        proposal = _open(reading, digest)
        data = reading.proposed_archive(proposal)
    role = next((r for r in sorted(quorum.roles) if r in actor.roles), "")
    refusal = _unfit(actor, proposal, decision, role, quorum)
    word = Word(proposal.uid, actor.person, role, decision, reason, board.clock())
    if refusal is not None:
        # Before anything is compiled: everybody logged in may ask, again and again.
        with board.store.begin() as uow:
            uow.record(_spoken(word, proposal, allowed=False))
        raise refusal
    verdict = weigh_bundle(board.policy, _proposed_bundle(proposal, data), proposal.before)
    serves = verdict.policy is not None and board.policy.serves(verdict.policy)
    with board.store.begin() as uow:
        if _open(uow, digest).uid != proposal.uid or in_force(uow) != proposal.before:
            raise Conflict("the proposal is void by now", advice=_LIST)
        require_words(board.store, uow, proposal)
        uow.record(_spoken(word, proposal, allowed=True))
        ballot = _count(uow, word, proposal, quorum)
        if ballot.enough and (serves or not verdict.allow):
            settle(board, uow, proposal, counted(verdict, ballot), actor.person)
    board.policy.refresh()
    with board.store.read() as reading:
        now = next(p for p in reading.proposals(_MANY) if p.uid == proposal.uid)
    return Spoken(now, ballot, waits=ballot.enough and now.state is ProposalState.OPEN)


def _count(uow: UnitOfWork, word: Word, proposal: Proposal, quorum: Quorum) -> Ballot:
    """Keep a word; returns what was said so far."""
    uow.add_word(word)
    if word.person == proposal.person:
        uow.void_proposal(proposal.uid)
    return Ballot(quorum, tuple(uow.words_of(proposal.uid)))


def settle(
    board: Board, uow: UnitOfWork, proposal: Proposal, verdict: Verdict, person: str
) -> None:
    """Put an approved proposal into force, or record why it cannot be."""
    if verdict.policy is None or not verdict.allow:
        record_refusal(board, uow, verdict)
        return
    bring_into_force(
        uow,
        board.clock(),
        Change(
            bundle=verdict.policy.bundle,
            before=proposal.before,
            how=PROPOSAL,
            decision=verdict.document,
            person=person,
            reason=proposal.reason,
            proposal=proposal.uid,
        ),
    )


def settle_waiting(board: Board) -> None:
    """Put into force what was approved while its policy server did not serve it yet."""
    if board.quorum is None:
        return
    with board.store.read() as reading:
        found = [
            (proposal, Ballot(board.quorum, tuple(reading.words_of(proposal.uid))))
            for proposal in reading.open_proposals()
        ]
        ready = [(p, b, reading.proposed_archive(p)) for p, b in found if b.enough]
        for proposal, _, _ in ready:
            require_words(board.store, reading, proposal)
    for proposal, ballot, data in ready:
        load = _proposed_bundle(proposal, data)
        verdict = weigh_bundle(board.policy, load, proposal.before, ballot)
        if verdict.policy is not None and not board.policy.serves(verdict.policy):
            continue
        with board.store.begin() as uow:
            if in_force(uow) == proposal.before and ballot.words == tuple(
                uow.words_of(proposal.uid)
            ):
                settle(board, uow, proposal, verdict, Actor.system("server").person)


def _asked(board: Board) -> Quorum:
    if board.quorum is None:
        raise Conflict(
            "no approvals are asked for here: a bundle comes into force from its source",
            advice="Change the source, or ask for approvals: policy_approvals in config.yaml",
        )
    return board.quorum


def _open(reading: Reading, digest: Digest) -> Proposal:
    for proposal in reading.open_proposals():
        if proposal.digest == digest:
            return proposal
    raise NotFound(f"{digest} is not proposed, or not any more", advice=_LIST)


def _brought(board: Board, archive: bytes) -> Callable[[], Bundle]:
    source = board.policy.source
    return lambda: bundles.from_archive(archive) if source is None else source.open(archive)


def _proposed_bundle(proposal: Proposal, data: bytes) -> Callable[[], Bundle]:
    # What was signed when it was proposed is bound by its digest since.
    return lambda: bundles.kept_as(data, proposal.digest)


def _unfit(
    actor: Actor, proposal: Proposal, decision: str, role: str, quorum: Quorum
) -> Denied | None:
    if actor.person == proposal.person:
        if decision != APPROVE:
            return None
        return Denied("who proposed a policy may not approve it", advice="Ask somebody else.")
    if not role:
        roles = " or ".join(quorum.roles)
        return Denied(
            f"{actor.person} holds none of the roles that may {decision} a policy: {roles}",
            advice=f"Ask somebody who holds the role {roles}.",
        )
    return None


def _proposed(
    board: Board, actor: Actor, reason: str, verdict: Verdict, proposal: Proposal | None = None
) -> Event:
    document = verdict.document
    state: Mapping[str, Any] = {"policy_digest": document["before"]}
    return Event(
        act=Act.POLICY_PROPOSED,
        person=actor.person,
        at=proposal.at if proposal else board.clock(),
        before=state,
        after=state,
        allowed=proposal is not None,
        reason=reason,
        facts={
            "proposal": proposal.uid if proposal else "",
            "proposed": document["policy_digest"],
            "archive_digest": proposal.archive_digest if proposal else None,
            "decision": dict(document),
        },
    )


def _spoken(word: Word, proposal: Proposal, *, allowed: bool) -> Event:
    state: Mapping[str, Any] = {"policy_digest": proposal.before}
    return Event(
        act=Act.POLICY_APPROVED,
        person=word.person,
        at=word.at,
        before=state,
        after=state,
        allowed=allowed,
        reason=word.reason,
        facts={
            "proposal": proposal.uid,
            "proposed": proposal.digest,
            "decision": word.decision,
            "role": word.role,
        },
    )
