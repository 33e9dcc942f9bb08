"""The views about the policy in force and how another one comes into force."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from flask import Response

from mlflow_governance.core import digest as digests
from mlflow_governance.core import moment
from mlflow_governance.core.digest import Digest
from mlflow_governance.errors import InvalidRequest, NotFound
from mlflow_governance.web.answers import as_bytes
from mlflow_governance.web.fields import Values
from mlflow_governance.web.services import WebServices
from mlflow_governance.workflows.policy import POLICY
from mlflow_governance.workflows.policy_approval import propose, speak
from mlflow_governance.workflows.policy_change import Board, activate
from mlflow_governance.workflows.policy_ports import Proposal, ProposalState
from mlflow_governance.workflows.policy_verdict import Ballot
from mlflow_governance.workflows.ports import Ports, Reading

Document = dict[str, Any]


def policy(services: WebServices, values: Values) -> Document:
    """The policy bundle in force, since when and by whom, and what its source has."""
    ports = services.ports
    ports.policy.look()  # whoever asks wants to hear of the source as it is
    with ports.store.read() as reading:
        said = reading.in_force(POLICY)
        kept = reading.kept_policy(said) if said else None
        who = reading.private_at(kept.position) if kept else {}
    now = ports.policy.at(said)
    source, quorum = ports.policy.report(), ports.rules.policy_approvals
    files = sorted(now.bundle.files.items())
    return {
        "policy_digest": now.digest,
        "accepted_policy_digests": sorted(
            {
                now.digest,
                *ports.rules.accepted_policy_digests,
                *now.still_accepted(ports.clock()),
            }
        ),
        "engine": now.engine.name,
        "files": [{"path": p, "size": len(d), "digest": digests.of_bytes(d)} for p, d in files],
        "since": moment.to_text(kept.at) if kept else None,
        "by": who.get("actor"),
        "reason": who.get("reason"),
        "entry": kept.position if kept else None,
        "source": {"name": source.name, "digest": source.digest, "note": source.note},
        "approvals": {"count": quorum.count, "roles": list(quorum.roles)} if quorum else None,
    }


def policy_bundle(services: WebServices, values: Values) -> Response:
    """The archive of a bundle that is or was in force, or is proposed: a reproducible .tar.gz."""
    wanted = digests.parse(values.text("digest"))
    with services.ports.store.read() as reading:
        archive = reading.policy_archive(wanted) or _proposed(reading, wanted)
    if archive is None:
        raise NotFound(f"no policy {wanted} was ever in force, and none is proposed")
    response = as_bytes(archive, "application/gzip")
    name = f"policy-{digests.hex_of(wanted)[:16]}.tar.gz"
    response.headers.set("Content-Disposition", "attachment", filename=name)
    return response


def _proposed(reading: Reading, wanted: Digest) -> bytes | None:
    found = (p for p in reading.open_proposals() if p.digest == wanted)
    return next((reading.proposed_archive(proposal) for proposal in found), None)


def proposals(services: WebServices, values: Values) -> Document:
    """Proposed policies, newest first, with what was said of them."""
    with services.ports.store.read() as reading:
        found = reading.proposals(values.number("limit"))
        told = [_told(services.ports, reading, proposal) for proposal in found]
    return {"proposals": told}


def propose_policy(services: WebServices, values: Values) -> Document:
    """Propose a policy bundle: a new one as archive, or one that was in force by its digest."""
    ports, content = services.ports, values.text("content")
    wanted = values.text("digest")
    if bool(content) == bool(wanted):
        raise InvalidRequest("give either content or digest")
    board, reason = Board.of(ports), values.text("reason")
    if wanted:
        made = propose(board, services.actor(), reason, digest=digests.parse(wanted))
    else:
        made = propose(board, services.actor(), reason, archive=_decoded(content))
    with ports.store.read() as reading:
        return {"proposal": _told(ports, reading, made)}


def speak_of_policy(services: WebServices, values: Values) -> Document:
    """Approve or reject a proposed policy; the last approval puts it into force."""
    ports = services.ports
    wanted, decision = digests.parse(values.text("digest")), values.text("decision")
    spoken = speak(Board.of(ports), services.actor(), wanted, decision, values.text("reason"))
    with ports.store.read() as reading:
        told = _told(ports, reading, spoken.proposal)
    return {"proposal": {**told, "waits": spoken.waits}}


def activate_policy(services: WebServices, values: Values) -> Document:
    """Put a policy into force again that was so before; for administrators."""
    wanted = digests.parse(values.text("digest"))
    activate(Board.of(services.ports), services.actor(), wanted, values.text("reason"))
    return policy(services, values)


def _decoded(content: str) -> bytes:
    try:
        return base64.b64decode(content, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidRequest("content is not standard base64") from error


def _told(ports: Ports, reading: Reading, proposal: Proposal) -> Document:
    words, quorum = tuple(reading.words_of(proposal.uid)), ports.rules.policy_approvals
    ballot = Ballot(quorum, words) if quorum else None
    return {
        "digest": proposal.digest,
        "before": proposal.before,
        "person": proposal.person,
        "reason": proposal.reason,
        "at": moment.to_text(proposal.at),
        "state": proposal.state.value,
        "given": ballot.given if ballot else 0,
        "needed": quorum.count if quorum else 0,
        "waits": bool(ballot and ballot.enough and proposal.state is ProposalState.OPEN),
        "words": [
            {
                "person": word.person,
                "role": word.role,
                "decision": word.decision,
                "reason": word.reason,
                "at": moment.to_text(word.at),
            }
            for word in words
        ],
    }
