"""What the registry was at an instant, and why: from its proved ledger and from nothing else.

No table of the registry is asked, so nothing that somebody wrote into one can change the answer.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any

from mlflow_governance.core import moment
from mlflow_governance.core.stage import WITHDRAWN
from mlflow_governance.errors import InvalidRequest
from mlflow_governance.ledger.past import Odd, Past
from mlflow_governance.ledger.replay import Replay
from mlflow_governance.ledger.told import AliasKey, Telling, ToldApproval, ToldVersion
from mlflow_governance.ledger.verify import LedgerReport
from mlflow_governance.workflows.chronicle import Chronicle, Names, Witnessed

Document = dict[str, Any]
Progress = Callable[[int], None]
_TELL = 4096
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


@dataclass(frozen=True)
class Question:
    """What is asked.

    Args:
        at: the instant.
        until: a later one, to hear of what changed between the two.
        model: a glob over names of models.
        workspace: only this one; None takes all.
    """

    at: datetime
    until: datetime | None = None
    model: str = "*"
    workspace: str | None = None

    def holds(self, workspace: object, name: object) -> bool:
        """True for a model that is asked about."""
        return self.workspace in (None, workspace) and fnmatchcase(str(name), self.model)

    def concerns(self, entry: Mapping[str, Any]) -> bool:
        """True for an entry about such a model, or about the registry itself."""
        subject = entry["subject"]
        return subject["name"] is None or self.holds(subject["workspace"], subject["name"])


def instant_of(text: str, now: datetime) -> datetime:
    """An RFC 3339 instant, or a date: the end of that day in UTC, which is now while it lasts.

    Raises:
        InvalidRequest: it is neither.
    """
    if not _DAY.fullmatch(text):
        return moment.parse(text)
    begin = moment.parse(f"{text}T00:00:00Z")
    try:
        end = begin + timedelta(days=1, microseconds=-1)
    except OverflowError:  # the last day there is
        end = begin
    return now if begin <= now < end else end


def as_of(
    witnessed: Witnessed, question: Question, now: datetime, progress: Progress = lambda done: None
) -> Seen:
    """The state at an instant.

    The whole ledger is proved against its signed head, and the entries that were proved are read.

    Args:
        witnessed: the ledger, and what it is held against.
        question: what is asked.
        now: the present instant.
        progress: told now and then how many entries are read.

    Raises:
        InvalidRequest: the instant is still to come, or the end is before the beginning.
        NotFound: nothing was ever recorded.
        LedgerError: the ledger does not verify; the message names the entry.
    """
    _refuse_future(question, now)
    until = moment.to_text(question.until) if question.until else ""
    past = Past(moment.to_text(question.at), until, question.concerns)

    def take(index: int, data: bytes) -> None:
        past.take(index, data)
        if index % _TELL == 0:
            progress(index)

    return Seen(past, question, witnessed.read(take, past.pass_over, past.tree))


def _refuse_future(question: Question, now: datetime) -> None:
    for asked in (question.at, question.until):
        if asked is not None and asked > now:
            raise InvalidRequest(
                f"{moment.to_text(asked)} is still to come; now it is {moment.to_text(now)}",
                advice="Ask for an instant of the past, such as 2026-11-01 or 1h.",
            )
    if question.until is not None and question.until < question.at:
        raise InvalidRequest("the end is before the beginning")


class Seen:
    """What was seen at an instant. People are commitments here; their names may yet be erased."""

    def __init__(self, past: Past, question: Question, report: LedgerReport) -> None:
        self._past, self._told, self._report = past, past.told, report
        told = self._told
        self._versions = sorted(
            (v for v in told.living() if question.holds(v.ref.workspace, v.ref.name)),
            key=lambda version: version.ref,
        )
        self._aliases = sorted(
            key
            for key, pointing in told.aliases.items()
            if pointing.version is not None and question.holds(key.workspace, key.name)
        )
        mine = {version.uid for version in self._versions}
        self._words: dict[str, list[ToldApproval]] = defaultdict(list)
        for word in told.approvals:
            if word.uid in mine and word.approval not in told.withdrawn:
                self._words[word.uid].append(word)

    @property
    def final(self) -> bool:
        """True when nothing that is appended later can change it."""
        return self._past.behind

    def _commitments(self) -> Iterator[str | None]:
        tellings = [v.moved for v in self._versions] + [*self._told.forced.values()]
        tellings += [self._told.pointed[key] for key in self._aliases]
        for telling in filter(None, tellings):
            yield from (telling.actor, telling.reason)
        yield from (version.submitter for version in self._versions)
        yield from (word.person for words in self._words.values() for word in words)
        for _, entry in self._past.changes:
            yield from (entry["actor"], entry["reason"])

    def document(self, ledger: Chronicle) -> Document:
        """The state as JSON, in clear text as far as that is kept now.

        Raises:
            LedgerError: a stored name is not the one that was committed to.
        """
        past, told, names = self._past, self._told, Names.of(ledger, self._commitments())
        blocked = told.blocked()
        return {
            "at": past.at,
            "until": past.until or None,
            "ledger": _proved(past, self._report),
            "policy": _forced(told, "policy", told.policy.in_force, names),
            "trust": _forced(told, "trust", told.trust, names),
            "versions": [self._version(v, blocked, names) for v in self._versions],
            "aliases": [_alias(told, key, names) for key in self._aliases],
            "changes": [change(index, entry, names) for index, entry in past.changes],
            "backdated": _odd(past.backdated),
            "left_out": _odd(past.left_out),
            "contradictions": [
                {"entry": place, "message": message} for place, message in told.problems
            ],
        }

    def _version(self, one: ToldVersion, blocked: Mapping[str, str], names: Names) -> Document:
        ref, told = one.ref, self._told
        here = (k for k in self._aliases if (k.workspace, k.name) == (ref.workspace, ref.name))
        return {
            "workspace": ref.workspace,
            "name": ref.name,
            "version": ref.version,
            "uid": one.uid,
            "stage": one.stage,
            "quarantined_from": one.quarantined_from,
            "digest": one.digest,
            "blocked": one.stage not in WITHDRAWN and one.digest in blocked,
            "policy_digest": one.state.get("policy_digest"),
            "submitter": names(one.submitter),
            "registered": one.at,
            **_known_from(one.moved, names),
            "aliases": [k.alias for k in here if told.aliases[k].version == ref.version],
            "approvals": [_word(told, one, word, names) for word in self._words[one.uid]],
        }


def _proved(past: Past, report: LedgerReport) -> Document:
    return {
        "origin": report.origin,
        "size": past.told.size,
        "root": past.root.hex(),
        "first": past.first or None,
        "last": past.last or None,
        "proved_size": report.size,
        "proved_root": report.root,
        "checkpoints": report.checkpoints,
        "deleted": past.deleted,
    }


def _forced(told: Replay, what: str, digest: str | None, names: Names) -> Document | None:
    if digest is None:
        return None
    return {"digest": digest, **_known_from(told.forced[what], names)}


def _alias(told: Replay, key: AliasKey, names: Names) -> Document:
    pointing = told.aliases[key]
    return {
        **key._asdict(),
        "version": pointing.version,
        "before": pointing.before,
        **_known_from(told.pointed[key], names),
    }


def _word(told: Replay, version: ToldVersion, word: ToldApproval, names: Names) -> Document:
    current = (word.model_digest, word.policy_digest) == (version.digest, told.policy.in_force)
    return {
        "person": names(word.person),
        "role": word.role,
        "decision": word.decision,
        "at": word.at,
        "current": current,
        "entry": word.place,
    }


def _known_from(telling: Telling | None, names: Names) -> Document:
    if telling is None:
        return {"since": None, "by": None, "reason": None, "decision_id": "", "entry": None}
    return {
        "since": telling.at,
        "by": names(telling.actor),
        "reason": names(telling.reason),
        "decision_id": telling.decision_id,
        "entry": telling.place,
    }


def change(index: int, entry: Mapping[str, Any], names: Names) -> Document:
    """An entry as it is told: ``{index, at, act, actor, reason, …}`` in clear text."""
    told = ("at", "act", "allowed", "subject", "before", "after", "decision_id", "facts")
    return {
        "index": index,
        **{key: entry[key] for key in told},
        "actor": names(entry["actor"]),
        "reason": names(entry["reason"]),
    }


def _odd(found: Odd) -> Document:
    first = [{"entry": one.place, "at": one.at, "behind": one.behind} for one in found.first]
    return {"count": found.count, "first": first}
