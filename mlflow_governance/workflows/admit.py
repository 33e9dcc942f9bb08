"""The download gate: may these bytes be handed out?

This is the hot path. Signatures are not verified again here: the outcomes proved when the
version entered its stage are used, unless the trust policy has changed since. The verdict
itself is made anew each time, from the stage, revocation and policy of now.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from mlflow_governance.core.actor import Actor
from mlflow_governance.core.dossier import Gate, Outcome
from mlflow_governance.core.model_ref import VersionRef
from mlflow_governance.evidence.interface import Kind
from mlflow_governance.policy.interface import PolicyEngine
from mlflow_governance.workflows.judge import (
    Examined,
    Judgement,
    Standing,
    examine,
    load,
    standing,
    weigh,
)
from mlflow_governance.workflows.policy import under_one_policy
from mlflow_governance.workflows.ports import Ports, Request, Rules, VersionRecord
from mlflow_governance.workflows.proven import account, alarmed, proven_record
from mlflow_governance.workflows.record import write_download_denial

Door = Literal["registry", "artifact"]


@under_one_policy
def admit(
    ports: Ports, request: Request, door: Door, found: Standing | None = None
) -> VersionRecord:
    """Ask the download gate; a denial is recorded and raised.

    Args:
        ports: everything a workflow needs.
        request: who wants the bytes of which version.
        door: ``registry`` for ``models:/name/…``, ``artifact`` for a raw artifact path.
        found: what the store says about the version, where it was read just now.

    Raises:
        NotFound: the version is not governed.
        Denied: the gate said no.
    """
    judgement = _judge(ports, request, door, found)
    if not judgement.decision.allow:
        raise write_download_denial(ports, judgement).refuse(f"{request.ref} may not be downloaded")
    ports.permitted(judgement.decision, judgement.dossier)
    return judgement.record


def permits(ports: Ports, request: Request, door: Door, found: Standing | None = None) -> bool:
    """The same question without a record of a no, for listings and pages."""
    return _judge(ports, request, door, found).decision.allow


def _judge(ports: Ports, request: Request, door: Door, found: Standing | None) -> Judgement:
    if found is None:
        with ports.store.read() as reading:
            found = standing(reading, request.ref, approvals=False)
    found = _proven(ports, found)
    evidence = proved(ports, found.record)
    # To the second: of the many files of one model most are asked for in the same one, and then
    # it is the same question, which is answered once.
    now = ports.clock().replace(microsecond=0)
    question = _Question(
        ports.policy.at(found.policy).engine, ports.rules, request, door, found, evidence, now
    )
    last = _answered.get((request.ref, request.actor, door))
    if last is not None and last[0] == question:
        return last[1]
    judgement = weigh(
        ports, Gate.DOWNLOAD, request, {"door": door}, found, Examined(evidence), now=now
    )
    if judgement.decision.allow:  # a denial is recorded, each under an id of its own
        if len(_answered) >= _REMEMBERED:
            _answered.clear()
        answered = replace(question, engine=judgement.policy.engine)
        _answered[request.ref, request.actor, door] = answered, judgement
    return judgement


def _proven(ports: Ports, found: Standing) -> Standing:
    known = _rows.get(found.record.uid)
    if known is not None and known[0] == found.record:
        return replace(found, record=known[1])
    with ports.store.read() as reading:
        # Together with what the ledger says of it: it may have moved on since it was read.
        now = load(reading, found.record.ref)
        told = account(reading, now, whole=False)
    with alarmed(ports, now):
        proven = proven_record(ports.store, now, told)
    if len(_rows) >= _REMEMBERED:
        _rows.clear()
    _rows[now.uid] = now, proven
    return replace(found, record=proven)


_rows: dict[str, tuple[VersionRecord, VersionRecord]] = {}
"""Rows of versions as they stood when the ledger proved them, and what was proved."""


@dataclass(frozen=True)
class _Question:
    """Everything a dossier and its decision are made of. Equal questions have equal answers."""

    engine: PolicyEngine
    rules: Rules
    request: Request
    door: Door
    found: Standing
    evidence: Mapping[Kind, Outcome]
    now: datetime


_REMEMBERED = 1024
_answered: dict[tuple[VersionRef, Actor, Door], tuple[_Question, Judgement]] = {}
"""The last question of each actor about each version that was answered with yes."""


def proved(ports: Ports, record: VersionRecord) -> Mapping[Kind, Outcome]:
    """The facts proved for a version, proved again if the trust policy changed."""
    if record.facts is not None and record.trust_digest == ports.examiner.trust_digest:
        return record.facts
    return examine(ports, record).outcomes
