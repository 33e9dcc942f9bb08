"""The state of the registry, from nothing but its ledger.

Entries are applied in their order. What comes out is what the registry's tables should say; the
validator compares the two. A contradiction inside the ledger (a version that leaves a stage it
was not in) is kept as a problem, and the replay goes on with what the later entry says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from mlflow_governance.core import canonical
from mlflow_governance.core.event import Act
from mlflow_governance.core.stage import WITHDRAWN, Stage, exists
from mlflow_governance.errors import InvalidRequest
from mlflow_governance.ledger.replay_policy import PolicyReplay
from mlflow_governance.ledger.told import (
    AliasKey,
    Pointing,
    Problem,
    Ref,
    Release,
    Telling,
    ToldApproval,
    ToldEvidence,
    ToldVersion,
)

_JUDGING = ("accept", "promote")
"""Gates whose decisions are a judgement of the version itself."""


class Replay:
    """Applies entries, one after the other.

    ``versions`` has every version that was ever governed by its uid, ``aliases`` every alias that
    was ever moved, ``decisions`` the digest of each decision by its id, ``policy`` the policy in
    force, ``approvals`` every word that was given, and ``withdrawn`` by the uid of a word the entry
    in which it was taken back or another took its place. ``released`` has each move to Approved by
    its decision. ``pointed`` has the entry that last moved
    each alias, ``forced`` the one that put ``policy`` and ``trust`` into force.
    ``erasures`` has what each erasure of a person replaced (``ledger.redaction``) by its index.
    """

    def __init__(self) -> None:
        self.size = 0
        self.versions: dict[str, ToldVersion] = {}
        self.aliases: dict[AliasKey, Pointing] = {}
        self.decisions: dict[str, str] = {}
        self.approvals: list[ToldApproval] = []
        self.withdrawn: dict[str, int] = {}
        self.released: dict[str, Release] = {}
        self.evidence: list[ToldEvidence] = []
        self.policy = PolicyReplay()
        self.trust: str | None = None
        self.pointed: dict[AliasKey, Telling] = {}
        self.forced: dict[str, Telling] = {}
        self.erasures: dict[int, str] = {}
        self.problems: list[Problem] = []
        self._living: dict[Ref, str] = {}
        self._gone: set[Ref] = set()

    def apply(self, index: int, data: bytes) -> None:
        """Apply the entry with this index; one that cannot be read becomes a problem."""
        self.take(index, lambda: canonical.decode_object(data))

    def take(self, index: int, read: Callable[[], Mapping[str, Any]]) -> None:
        """The same with the entry as ``read`` gives it, or raises that it cannot."""
        self.size = index + 1
        try:
            self._apply(index, read())
        except (InvalidRequest, KeyError, TypeError, ValueError, AttributeError) as error:
            self._problem(index, f"it cannot be read: {error!r}"[:200])

    def standing(self, uid: str, place: int) -> list[ToldApproval]:
        """The words that stood about a version when the entry with this index was written."""
        return [
            word
            for word in self.approvals
            if word.uid == uid and word.place < place < self.withdrawn.get(word.approval, self.size)
        ]

    def living(self) -> Iterator[ToldVersion]:
        """The versions that were not deleted."""
        return (version for version in self.versions.values() if not version.deleted)

    def at(self, ref: Ref) -> ToldVersion | None:
        """The version that has this name and number now."""
        uid = self._living.get(ref)
        return None if uid is None else self.versions[uid]

    def was_deleted(self, ref: Ref) -> bool:
        """True when a version of this name and number was deleted."""
        return ref in self._gone

    def blocked(self) -> dict[str, str]:
        """Every digest that is withdrawn with some version, and its stage; revoked weighs more."""
        found: dict[str, str] = {}
        for version in self.living():
            withdrawn = version.digest and version.stage in WITHDRAWN
            if withdrawn and found.get(version.digest or "") != Stage.REVOKED:
                found[str(version.digest)] = version.stage
        return found

    def _apply(self, index: int, entry: Mapping[str, Any]) -> None:
        if entry["index"] != index:
            self._problem(index, f"it names the index {entry['index']}")
        self._note_decision(index, entry)
        act = entry["act"]
        if act == Act.VERSION_REFUSED:
            self._refused(entry)
        elif entry["allowed"] and act in _POLICY:
            for problem in self.policy.apply(entry):
                self._problem(index, problem)
            if act == Act.POLICY_CHANGED:
                self.forced["policy"] = Telling.of(index, entry)
        elif entry["allowed"] and act in _ACTS:
            _ACTS[act](self, index, entry)

    def _note_decision(self, index: int, entry: Mapping[str, Any]) -> None:
        decision_id = entry["decision_id"]
        if not decision_id:
            return
        if decision_id in self.decisions:
            self._problem(index, f"it names decision {decision_id}, as another entry did")
        self.decisions[str(decision_id)] = str(entry["decision_digest"])
        version = self.versions.get(str(entry["subject"]["uid"]))
        if version is not None and entry["facts"].get("gate") in _JUDGING:
            confirmed = entry["act"] == Act.VERSION_REJUDGED and entry["allowed"]
            version.judged = [*(version.judged if confirmed else ()), decision_id]

    def _registered(self, index: int, entry: Mapping[str, Any]) -> None:
        subject, ref = entry["subject"], _ref(entry)
        version = ToldVersion(
            uid=str(subject["uid"]),
            ref=ref,
            stage=str(entry["after"]["stage"]),
            state=entry["after"],
            digest=subject["digest"],
            submitter=None if entry["before"] else str(entry["actor"]),
            location_digest=entry["facts"].get("location_digest"),
            at=str(entry["at"]),
            moved=Telling.of(index, entry),
        )
        if version.uid in self.versions or ref in self._living:
            self._problem(index, f"it registers {ref.name}/{ref.version}, which is there already")
        if version.stage != Stage.NONE:
            self._problem(index, f"it registers {ref.name}/{ref.version} as {version.stage}")
        self.versions[version.uid] = version
        self._living[ref] = version.uid

    def _refused(self, entry: Mapping[str, Any]) -> None:
        version = self.versions.get(str(entry["subject"]["uid"]))
        if version is not None and version.stage == Stage.NONE:
            version.digest = entry["subject"]["digest"]  # hashed anew, as long as it is at None

    def _moved(self, index: int, entry: Mapping[str, Any]) -> None:
        version = self._known(index, entry)
        before, after = str(entry["before"]["stage"]), str(entry["after"]["stage"])
        if version.stage != before:
            self._problem(index, f"it leaves {before}, and the version was {version.stage}")
        version.digest, version.state = entry["subject"]["digest"], entry["after"]
        if before == after:
            return  # withdrawn before it was hashed: now the digest is known
        if not _possible(before, after, version.quarantined_from):
            self._problem(index, f"the life cycle has no way from {before} to {after}")
        version.stage = after
        version.quarantined_from = before if after == Stage.QUARANTINED else None
        version.decision_id = version.bound = str(entry["decision_id"])
        version.moved = Telling.of(index, entry)
        if after == Stage.APPROVED:
            self.released[version.decision_id] = Release(index, version.uid)

    def _rejudged(self, index: int, entry: Mapping[str, Any]) -> None:
        version = self._known(index, entry)
        # A confirmation writes nothing, so it may have been overtaken by a move.
        if entry["after"]["stage"] == version.stage:
            version.state, version.bound = entry["after"], str(entry["decision_id"])

    def _deleted(self, index: int, entry: Mapping[str, Any]) -> None:
        version = self._known(index, entry)
        gone = version.ref
        version.deleted = True
        self._living.pop(gone, None)
        self._gone.add(gone)
        for key, (now, before) in list(self.aliases.items()):
            if (key.workspace, key.name) == (gone.workspace, gone.name):
                self.aliases[key] = Pointing(
                    None if now == gone.version else now,
                    None if before == gone.version else before,
                )
                if now == gone.version:
                    self.pointed[key] = Telling.of(index, entry)

    def _alias(self, index: int, entry: Mapping[str, Any]) -> None:
        action, ref = entry["facts"]["action"], self._known(index, entry).ref
        key = AliasKey(ref.workspace, ref.name, str(action.get("as_written", action["alias"])))
        known = self.aliases.get(key, Pointing(None, None))
        target = action["to_version"]
        if target != known.version:
            self.aliases[key] = Pointing(target, action["from_version"])
            self.pointed[key] = Telling.of(index, entry)

    def _trusted(self, index: int, entry: Mapping[str, Any]) -> None:
        before = entry["before"]["trust_digest"]
        if before != self.trust:
            self._problem(index, f"it takes the place of trust {before}, and it was {self.trust}")
        self.trust = str(entry["after"]["trust_digest"])
        self.forced["trust"] = Telling.of(index, entry)

    def _approved(self, index: int, entry: Mapping[str, Any]) -> None:
        version, facts = self._known(index, entry), entry["facts"]
        self.approvals.append(
            ToldApproval(
                place=index,
                uid=version.uid,
                role=str(facts["role"]),
                decision=str(facts["decision"]),
                at=str(entry["at"]),
                model_digest=entry["subject"]["digest"],
                policy_digest=facts["policy_digest"],
                person=str(entry["actor"]),
                approval=str(facts["approval"]),
            )
        )
        if facts["supersedes"] is not None:
            self._take_back(index, version, str(facts["supersedes"]), str(facts["role"]))

    def _unsaid(self, index: int, entry: Mapping[str, Any]) -> None:
        version, facts = self._known(index, entry), entry["facts"]
        self._take_back(index, version, str(facts["approval"]), str(facts["role"]))

    def _take_back(self, index: int, version: ToldVersion, approval: str, role: str) -> None:
        word = next((a for a in reversed(self.approvals) if a.approval == approval), None)
        if word is None or (word.uid, word.role) != (version.uid, role):
            self._problem(index, f"it takes back the word {approval}, which nobody gave")
        elif approval in self.withdrawn:
            self._problem(index, f"it takes back the word {approval}, which did not stand any more")
        self.withdrawn[approval] = index

    def _attached(self, index: int, entry: Mapping[str, Any]) -> None:
        version, facts = self._known(index, entry), entry["facts"]
        early = version.stage == Stage.NONE
        self.evidence.append(
            ToldEvidence(version.uid, str(facts["name"]), str(facts["digest"]), early)
        )

    def _erased(self, index: int, entry: Mapping[str, Any]) -> None:
        self.erasures[index] = str(entry["facts"]["replaced"])

    def _known(self, index: int, entry: Mapping[str, Any]) -> ToldVersion:
        subject = entry["subject"]
        version = self.versions.get(str(subject["uid"]))
        if version is None:
            raise KeyError(f"version {subject['uid']} was never registered")
        if version.deleted:
            self._problem(index, f"it is about {version.uid}, which was deleted before")
        if version.ref != _ref(entry):
            self._problem(index, f"it calls {version.ref.name}/{version.ref.version} otherwise")
        return version

    def _problem(self, index: int, message: str) -> None:
        self.problems.append(Problem(index, message))


_POLICY = (Act.POLICY_CHANGED, Act.POLICY_PROPOSED, Act.POLICY_APPROVED)
_ACTS: dict[str, Callable[[Replay, int, Mapping[str, Any]], None]] = {
    Act.VERSION_REGISTERED: Replay._registered,
    Act.VERSION_TRANSITIONED: Replay._moved,
    Act.VERSION_REVOKED: Replay._moved,
    Act.VERSION_REJUDGED: Replay._rejudged,
    Act.VERSION_DELETED: Replay._deleted,
    Act.ALIAS_MOVED: Replay._alias,
    Act.ALIAS_DELETED: Replay._alias,
    Act.APPROVAL_GIVEN: Replay._approved,
    Act.APPROVAL_WITHDRAWN: Replay._unsaid,
    Act.EVIDENCE_ATTACHED: Replay._attached,
    Act.TRUST_CHANGED: Replay._trusted,
    Act.PERSON_ERASED: Replay._erased,
}
CHANGING = frozenset({*_ACTS, Act.POLICY_CHANGED})
"""Acts that, where they were allowed, make the state another one."""


def _ref(entry: Mapping[str, Any]) -> Ref:
    subject = entry["subject"]
    return Ref(str(subject["workspace"]), str(subject["name"]), int(subject["version"]))


def _possible(before: str, after: str, origin: str | None) -> bool:
    return exists(Stage(before), Stage(after), Stage(origin) if origin else None)
