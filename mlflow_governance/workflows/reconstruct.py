"""A past decision in full: what was verified and by whom, which approvals stood, under which
policy, what it led to; each part against what is kept and against the proved ledger."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlflow_governance.core import canonical
from mlflow_governance.core.digest import parse
from mlflow_governance.core.event import Act
from mlflow_governance.core.model_ref import VersionRef
from mlflow_governance.errors import GovernanceError, InvalidRequest, NotFound, VerificationError
from mlflow_governance.evidence.attestation import claimed
from mlflow_governance.evidence.interface import EvidenceItem
from mlflow_governance.evidence.predicate import purpose_of
from mlflow_governance.ledger import checkpoint
from mlflow_governance.ledger.entry import read_entry
from mlflow_governance.ledger.proof import InclusionProof
from mlflow_governance.policy.bundle import MANIFEST, Bundle
from mlflow_governance.workflows.chronicle import About, Witnessed
from mlflow_governance.workflows.explain import Again, Explanation, explain
from mlflow_governance.workflows.ports import Reading
from mlflow_governance.workflows.recorded import Recorded
from mlflow_governance.workflows.validation.books import DecisionRow

KEPT, GONE, CHANGED = "kept", "gone", "changed"
"""What became of a file that was examined."""
_THEN = 20
"""Entries that are told of what came after."""
_PAGE = 500
_MOVING = frozenset({Act.VERSION_REJUDGED, Act.VERSION_DELETED, Act.ALIAS_MOVED, Act.ALIAS_DELETED})

Document = dict[str, Any]
Entry = Mapping[str, Any]


@dataclass(frozen=True)
class Reconstruction:
    """A decision rebuilt.

    Args:
        explanation: the decision, told and made again.
        row: its bytes and those of its dossier, as stored.
        entry: the bytes of its ledger entry.
        proof: that the entry is in the ledger, verified.
        document: everything as JSON.
        alarms: what is not as it was decided; empty where all is.
    """

    explanation: Explanation
    row: DecisionRow
    entry: bytes
    proof: InclusionProof
    document: Document
    alarms: tuple[str, ...]

    def files(self) -> dict[str, bytes]:
        """What anybody needs to decide it again and to check that it was decided so, by name."""
        found = {
            "dossier.json": self.row.dossier or b"",
            "decision.json": self.row.document,
            "entry.json": self.entry,
            "entry.tlog-proof": self.proof.encode().encode(),
        }
        bundle = self.explanation.bundle
        return found if bundle is None else {**found, "policy.tar.gz": bundle.archive()}


def reconstruct(
    reading: Reading,
    witnessed: Witnessed,
    row: DecisionRow,
    at_hand: Iterable[tuple[str, Bundle]] = (),
) -> Reconstruction:
    """Rebuild a stored decision from everything that is kept of it.

    Args:
        reading: the registry's tables.
        witnessed: the ledger.
        row: the decision as stored.
        at_hand: further bundles to look for the right one in.

    Raises:
        VerificationError: decision, dossier or entry are not as they were stored; the ledger does
            not prove the entry.
    """
    found = explain(reading, row, at_hand)
    data, proof = _proved(witnessed, found.index, row)
    timeline = reading.timeline(row.version_uid)
    files = _files(reading, found.recorded)
    approvals = [
        _approval(timeline, found.index, dict(a)) for a in found.recorded.dossier.approvals
    ]
    policy = _policy(reading, found)
    unproved = [p for p in _entries(approvals, policy) if not _is_proved(witnessed, p, timeline)]
    alarms = (*_alarms(found, files, approvals, policy), *map(_unproved, unproved))
    told = next(one for one in timeline if one["index"] == found.index)
    document = {
        **found.to_document(),
        "verified": list(_verified(found.recorded, files)),
        "files": files,
        "approvals": approvals,
        "policy": policy,
        "entry": _brief(told),
        "proved": _head(proof, witnessed),
        "then": [_brief(one) for one in timeline if _came_after(one, found.index)][:_THEN],
        "alarms": list(alarms),
    }
    return Reconstruction(found, row, data, proof, document, alarms)


def decision_of(reading: Reading, ref: VersionRef) -> str:
    """The decision that brought a version into its stage, or else the last one about it.

    Raises:
        NotFound: nobody knows the version, or nothing was ever decided about it.
    """
    record = reading.version(ref)
    if record is not None and record.decision_id:
        return record.decision_id
    last = ""
    for entry in whole_history(reading, About(ref.workspace, ref.name, ref.version)):
        if entry["subject"]["version"] == ref.version and entry["decision_id"]:
            last = str(entry["decision_id"])
    if not last:
        raise NotFound(f"nothing was ever decided about {ref}")
    return last


def whole_history(reading: Reading, about: About) -> Iterator[Entry]:
    """Every entry about a version or model, oldest first."""
    after: int | None = -1
    while after is not None:
        told = reading.history(about, after, _PAGE)
        yield from told.entries
        after = told.after


def _proved(witnessed: Witnessed, index: int, row: DecisionRow) -> tuple[bytes, InclusionProof]:
    data, proof = witnessed.entry(index)
    entry = read_entry(data)
    said = (entry["decision_id"], entry["decision_digest"], entry["subject"]["uid"])
    if said != (row.decision_id, row.digest, row.version_uid):
        raise VerificationError(f"entry {index} of the ledger is not about this decision")
    return data, proof


def _head(proof: InclusionProof, witnessed: Witnessed) -> Document:
    signed = checkpoint.verify(proof.checkpoint, witnessed.key)
    return {"origin": signed.origin, "size": signed.size, "root": signed.root.hex()}


def _verified(recorded: Recorded, files: Sequence[Document]) -> Iterator[Document]:
    for kind, outcome in recorded.dossier.evidence.items():
        facts = outcome.facts
        signers = facts.get("signers") or ([facts["signer"]] if facts.get("signer") else [])
        yield {
            "kind": kind,
            "status": outcome.status.value,
            "problem": outcome.problem,
            "signers": signers,
            "at": facts.get("at") or facts.get("finished_at"),
            "files": [file["name"] for file in files if file["kind"] == kind],
        }


def _files(reading: Reading, recorded: Recorded) -> list[Document]:
    found = []
    for file in recorded.dossier.attached:
        try:
            data = reading.document(parse(file["digest"]))
        except (InvalidRequest, VerificationError):
            data, state = None, CHANGED
        else:
            state = GONE if data is None else KEPT
        kind = _kind(file["name"], data) if data is not None else ""
        found.append({**file, "state": state, "kind": kind})
    return found


def _kind(name: str, data: bytes) -> str:
    # What a statement says it is; whether anybody trusted said so is in the outcome of its kind.
    try:
        statement = claimed(EvidenceItem(name, data))
        purpose = purpose_of(statement.predicate_type, statement.predicate)
    except GovernanceError:
        return ""
    return "" if purpose is None else purpose.value.replace("-", "_")


def _approval(timeline: Sequence[Entry], index: int, given: Document) -> Document:
    told = (
        entry
        for entry in timeline
        if entry["act"] == Act.APPROVAL_GIVEN
        and entry["index"] < index
        and entry["at"] == given["at"]
        and (entry["facts"]["role"], entry["facts"]["decision"])
        == (given["role"], given["decision"])
        and entry["actor"] in (None, given["person"])
    )
    entry = next(told, None)
    if entry is None:
        return {**given, "reason": None, "entry": None, "taken_back": None}
    uid = entry["facts"].get("approval")
    later = (one for one in timeline if one["index"] > index and _ends(one, uid))
    ended = next(later, None)
    return {
        **given,
        "person": entry["actor"],
        "reason": entry["reason"],
        "entry": entry["index"],
        "taken_back": None if ended is None else ended["index"],
    }


def _ends(entry: Entry, uid: object) -> bool:
    facts = entry["facts"]
    if uid is None:
        return False
    if entry["act"] == Act.APPROVAL_WITHDRAWN:
        return bool(facts.get("approval") == uid)
    return bool(entry["act"] == Act.APPROVAL_GIVEN and facts.get("supersedes") == uid)


def _policy(reading: Reading, found: Explanation) -> Document:
    digest = str(found.recorded.document["policy_digest"])
    changes = reading.of_registry(Act.POLICY_CHANGED)
    before = [one for one in changes if one["index"] < found.index]
    after = [one for one in changes if one["index"] > found.index]
    since = before[-1] if before else None
    in_force = since["after"]["policy_digest"] if since else None
    return {
        "digest": digest,
        "title": _title(found.bundle),
        "in_force": in_force,
        "since": _brief(since) if since and in_force == digest else None,
        "how": since["facts"].get("how") if since and in_force == digest else None,
        "until": after[0]["at"] if after else None,
    }


def _title(bundle: Bundle | None) -> str:
    if bundle is None:
        return ""
    try:
        metadata = canonical.decode_object(bundle.files[MANIFEST]).get("metadata")
    except (InvalidRequest, KeyError):
        return ""
    title = metadata.get("title") if isinstance(metadata, dict) else ""
    return title if isinstance(title, str) else ""


def _entries(approvals: Sequence[Document], policy: Document) -> list[int]:
    known = [one["entry"] for one in approvals] + [(policy["since"] or {}).get("index")]
    return [index for index in known if index is not None]


def _is_proved(witnessed: Witnessed, index: int, timeline: Sequence[Entry]) -> bool:
    data, _ = witnessed.entry(index)
    told = next((one for one in timeline if one["index"] == index), None)
    if told is None:
        return bool(read_entry(data)["act"] == Act.POLICY_CHANGED)
    said = {key: value for key, value in told.items() if key != "commitments"}
    return bool(read_entry(data) == {**said, **told["commitments"]})


def _unproved(index: int) -> str:
    return f"entry {index} is another one in the proved ledger"


def _alarms(
    found: Explanation,
    files: Sequence[Document],
    approvals: Sequence[Document],
    policy: Document,
) -> Iterator[str]:
    if found.again is Again.DIFFERENT:
        yield f"made again, the decision is another: {'; '.join(found.differences[:20])}"
    for file in files:
        if file["state"] == CHANGED:
            yield f"the bytes of {file['name']} are not those of {file['digest']} any more"
    for one in approvals:
        if one["entry"] is None:
            yield f"no entry tells of the word of {one['person']} for {one['role']} that it knew"
    if policy["in_force"] not in (None, policy["digest"]):
        yield f"in force was the policy {policy['in_force']}, and not {policy['digest']}"


def _came_after(entry: Entry, index: int) -> bool:
    moved = entry["before"].get("stage") != entry["after"].get("stage")
    return bool(entry["index"] > index and entry["allowed"] and (moved or entry["act"] in _MOVING))


def _brief(entry: Entry) -> Document:
    told = (
        "index", "act", "at", "actor", "reason", "allowed", "subject", "before", "after",
        "decision_id", "facts",
    )  # fmt: skip
    return {key: entry[key] for key in told}
