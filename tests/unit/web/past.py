"""The entries that a version, put into a store as it stands, would have come by."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

from mlflow_governance.core import canonical
from mlflow_governance.core.event import Act, Event
from mlflow_governance.core.stage import WITHDRAWN, Stage
from mlflow_governance.ledger.entry import Commitments, Sealed, build_entry, seal
from mlflow_governance.workflows.ports import ApprovalRecord, VersionRecord, subject_of
from mlflow_governance.workflows.record import state_of

_WAY = [Stage.NONE, Stage.CANDIDATE, Stage.STAGING, Stage.APPROVED, Stage.DEPRECATED]


def sealed(name: str) -> Sealed:
    return seal(name, hashlib.sha256(name.encode()).digest())


def dossier(record: VersionRecord) -> bytes:
    facts = record.facts or {}
    return canonical.encode({"evidence": {k.value: o.to_document() for k, o in facts.items()}})


def entries(record: VersionRecord, words: Sequence[ApprovalRecord]) -> list[tuple[int, bytes]]:
    return [
        (index, canonical.encode(build_entry(event, index, Commitments(sealed(event.person)))))
        for index, event in enumerate(_events(record, words))
    ]


def _events(record: VersionRecord, words: Sequence[ApprovalRecord]) -> Iterator[Event]:
    at = record.created_at
    assert at is not None

    def made(act: Act, person: str, **more: Any) -> Event:
        return Event(act, person, at, subject=subject_of(record), **more)

    none = state_of(record.with_(stage=Stage.NONE))
    adopted = {} if record.submitter else {"stage": "None"}
    yield made(Act.VERSION_REGISTERED, record.submitter, before=adopted, after=none)
    origin = record.quarantined_from or Stage.NONE
    reached = origin if record.stage in WITHDRAWN else record.stage
    way = _WAY[: _WAY.index(reached) + 1] + ([record.stage] if record.stage in WITHDRAWN else [])
    for number, (before, after) in enumerate(pairwise(way), start=2):
        decision = record.decision_id if number == len(way) else f"{record.uid}-{number}"
        moved = [state_of(record.with_(stage=stage)) for stage in (before, after)]
        act = Act.VERSION_REVOKED if after is Stage.REVOKED else Act.VERSION_TRANSITIONED
        yield made(
            act, "sam", before=moved[0], after=moved[1], decision_id=decision,
            facts={"dossier_digest": "sha256:" + hashlib.sha256(dossier(record)).hexdigest()},
        )  # fmt: skip
    for word in words:
        facts = {
            "role": word.role, "decision": word.decision, "policy_digest": word.policy_digest,
            "approval": word.uid, "supersedes": None,
        }  # fmt: skip
        yield Event(Act.APPROVAL_GIVEN, word.person, word.at,
                    subject={**subject_of(record), "digest": word.model_digest},
                    before=none, after=none, facts=facts)  # fmt: skip
