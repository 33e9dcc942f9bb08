"""What is kept beside the ledger: decisions and dossiers, approvals, evidence, manifests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from mlflow_governance.approval.request import REJECT
from mlflow_governance.core import canonical
from mlflow_governance.core.digest import of_bytes
from mlflow_governance.errors import InvalidRequest
from mlflow_governance.ledger.entry import stands_for
from mlflow_governance.ledger.told import ToldApproval, ToldVersion
from mlflow_governance.workflows.validation.books import (
    DECISION,
    ApprovalRow,
    Books,
    DecisionRow,
    Scene,
    Use,
)
from mlflow_governance.workflows.validation.findings import Finding, each, found

_BATCH = 500


def check_decisions(scene: Scene, books: Books) -> Iterator[Finding]:
    """Decisions, the facts taken from them, and what releases rest on: VAL-019, VAL-050 to
    VAL-053, VAL-083."""
    bound = {told.bound: told for told in scene.told.living() if told.bound}
    seen: set[str] = set()
    rows = books.decisions(scene.seen.last_decision)
    while batch := list(islice(rows, _BATCH)):
        seen.update(row.decision_id for row in batch)
        mine = [bound[row.decision_id].uid for row in batch if row.decision_id in bound]
        facts = books.facts(mine)

        def check(row: DecisionRow, facts: dict[str, bytes | None] = facts) -> Iterator[Finding]:
            if _concerns(scene, row.version_uid):
                yield from _decision(scene, row)
                yield from _facts(scene, row, bound.get(row.decision_id), facts)
                yield from _released(scene, row)

        yield from each(batch, check, lambda row: _decided(row.decision_id))
    for decision_id in scene.told.decisions.keys() - seen:
        yield found("VAL-051", _decided(decision_id), "no row", scene.told.decisions[decision_id])


def _concerns(scene: Scene, uid: str) -> bool:
    version = scene.told.versions.get(uid)
    return version is None or scene.in_scope(version.ref.name)


def _decision(scene: Scene, row: DecisionRow) -> Iterator[Finding]:
    name, told = _decided(row.decision_id), scene.told.decisions.get(row.decision_id)
    really: str = of_bytes(row.document)
    if row.document_now == really:  # redacted by an erasure that the ledger proves
        really = row.digest
    if told is None or (told != really and really == row.digest):
        yield found("VAL-052", name, row.digest, told)
    elif told != really:
        yield found("VAL-050", name, f"bytes of digest {really}", told)
        return  # what they say is worth nothing
    document = canonical.decode_object(row.document)
    dossier = {} if row.dossier is None else canonical.decode_object(row.dossier)
    said = {
        "decision_id": document["decision_id"],
        "digest": really,
        "gate": document["gate"],
        "allow": document["allow"],
        "dossier_digest": document["dossier_digest"],
        "version_uid": dossier.get("subject", {}).get("uid", row.version_uid),
    }
    for key, value in said.items():
        if getattr(row, key) != value:
            yield found("VAL-053", name, f"{key} {getattr(row, key)}", f"{key} {value}")


def _facts(
    scene: Scene, row: DecisionRow, told: ToldVersion | None, facts: dict[str, bytes | None]
) -> Iterator[Finding]:
    digest = row.dossier_now or row.dossier_digest
    if told is None or row.dossier is None or of_bytes(row.dossier) != digest:
        return  # a dossier that is gone or was changed is a finding of its own
    stored = facts.get(told.uid)
    now: Any = {} if stored is None else _parsed(stored)
    then = canonical.decode_object(row.dossier)["evidence"]
    if told.uid in facts and now != then:
        kinds = [k for k in {*now, *then} if now.get(k) != then.get(k)] if now else ["everything"]
        what = ", ".join(sorted(kinds))
        yield found("VAL-019", scene.subject(told.uid), f"other {what}", _decided(row.decision_id))


def _released(scene: Scene, row: DecisionRow) -> Iterator[Finding]:
    """What a release rests on, against the words that stood at its place in the ledger.

    Of a person who was erased the word stands in no later dossier, so approvals may be absent; an
    objection may not.
    """
    release, digest = scene.told.released.get(row.decision_id), row.dossier_now
    if release is None or row.dossier is None:
        return
    if of_bytes(row.dossier) != (digest or row.dossier_digest):
        return  # a finding of its own
    stood = [_word(one._asdict()) for one in scene.told.standing(release.uid, release.place)]
    counted = [_word(one) for one in canonical.decode_object(row.dossier)["approvals"]]
    subject = scene.subject(release.uid)
    for role, decision, at, *_ in (word for word in counted if word not in stood):
        yield found("VAL-083", subject, f"{decision} as {role} of {at} counted", "it did not stand")
    for role, decision, at, *_ in (word for word in stood if word not in counted):
        if decision == REJECT:
            yield found(
                "VAL-083", subject, f"{decision} as {role} left out", f"it stood since {at}"
            )


def _word(one: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(one[k] for k in ("role", "decision", "at", "model_digest", "policy_digest"))


def _parsed(data: bytes) -> dict[str, Any]:
    try:
        return canonical.decode_object(data)
    except InvalidRequest:
        return {"unreadable": True}


def check_documents(scene: Scene, books: Books) -> Iterator[Finding]:
    """Evidence, attachments, manifests and dossiers by their digests: VAL-054 and VAL-055."""
    changed = list(books.changed_documents())
    used: set[str] = set()
    for use in books.uses(changed):
        used.add(use.digest)
        if _is_mine(scene, use):
            yield found("VAL-054", _used(scene, use), "other bytes", use.digest)
    for digest in sorted(set(changed) - used):
        yield found("VAL-054", digest, "other bytes", digest)
    for use in books.lost_documents():
        if _is_mine(scene, use):
            yield found("VAL-055", _used(scene, use), None, use.digest)


def _is_mine(scene: Scene, use: Use) -> bool:
    return use.path == DECISION or _concerns(scene, use.owner)


def _used(scene: Scene, use: Use) -> str:
    if use.path == DECISION:
        return f"dossier of {_decided(use.owner)}"
    return scene.subject(use.owner, f":{use.path}")


def _decided(decision_id: str) -> str:
    return f"decision {decision_id}"


def check_approvals(scene: Scene, books: Books) -> Iterator[Finding]:
    """Approvals and objections, each against the entry about it: VAL-056 to VAL-058."""
    told = {a.approval: a for a in scene.told.approvals if scene.looks_at(a.uid)}
    behind = books.private({one.person for one in told.values()})
    left = dict(told)

    def check(row: ApprovalRow) -> Iterator[Finding]:
        entry = left.get(row.uid)
        if entry is None or not _fits(row, entry, behind):
            said = f"{row.decision} by {row.person} at {row.at}"
            yield found("VAL-056", _approval(scene, row), said, "no entry about it")
            return
        del left[row.uid]
        words = {True: "withdrawn", False: "counts"}
        here, there = bool(row.withdrawn), row.uid in scene.told.withdrawn
        if here != there:
            yield found("VAL-058", _approval(scene, row), words[here], words[there])

    rows = [row for row in scene.seen.approvals if _concerns(scene, row.version_uid)]
    yield from each(rows, check, lambda row: f"approval {row.uid}")
    for one in left.values():
        subject = f"{one.role} approval of {scene.subject(one.uid)}"
        yield found("VAL-057", subject, "no row", f"{one.decision} at {one.at}")


def _fits(row: ApprovalRow, told: ToldApproval, behind: dict[str, tuple[bytes, str]]) -> bool:
    person = behind.get(told.person)  # None: gone, a finding of its own
    stored = (row.version_uid, row.role, row.decision, row.at, row.model_digest, row.policy_digest)
    return stored == (
        told.uid, told.role, told.decision, told.at, told.model_digest, told.policy_digest,
    ) and (person is None or stands_for(told.person, person, row.person))  # fmt: skip


def _approval(scene: Scene, row: ApprovalRow) -> str:
    return f"{row.role} approval of {scene.subject(row.version_uid)}"


def check_evidence(scene: Scene) -> Iterator[Finding]:
    """Statements attached after registration are still there: VAL-059."""
    kept = {(f.version_uid, f.path): f.digest for f in scene.seen.files if f.role == "evidence"}
    for told in scene.told.evidence:
        stored = kept.get((told.uid, told.name))
        changed = stored != told.digest and not told.replaceable
        if scene.looks_at(told.uid) and (stored is None or changed):
            yield found("VAL-059", scene.subject(told.uid, f":{told.name}"), stored, told.digest)
