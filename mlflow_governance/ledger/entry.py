"""Ledger entries: an event as RFC 8785 bytes, with nothing personal in them.

Who acted and why are *commitments*, ``sha256(salt || text)``. Salt and text are kept outside the
ledger: whoever has them can show that they belong to the entry, and once they are erased nobody
can guess them, while every proof stays whole.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from mlflow_governance.core import canonical, digest, moment
from mlflow_governance.core.digest import Digest
from mlflow_governance.core.event import PEOPLE, Event
from mlflow_governance.errors import InvalidRequest, LedgerError

SCHEMA = 1
SALT_BYTES = 32
MAX_BYTES = 2**16 - 1
"""No entry is longer: bundles of entries (c2sp.org/tlog-tiles) give each a length of two bytes."""

_SUBJECT = ("name", "version", "workspace", "uid", "digest")
_PERSON = "person"
"""The fact that names whom an export or erasure is about, to nobody who is told of it."""
_INDEX = b'"index":'
_HEAD = 64
_NAMED = re.compile(rb'"index":(0|[1-9][0-9]{0,18}),"reason":')


@dataclass(frozen=True, slots=True)
class Sealed:
    """A personal text, its salt (32 random bytes), and what stands in the entry for it."""

    text: str
    salt: bytes
    commitment: Digest


@dataclass(frozen=True, slots=True)
class Commitments:
    """The personal parts of one event. An event without a reason has none."""

    actor: Sealed
    reason: Sealed | None = None


def seal(text: str, salt: bytes) -> Sealed:
    """Commit to a text. Characters no database keeps (NUL, lone surrogates) become U+FFFD.

    Raises:
        ValueError: the salt is too short to hide a guessable text.
    """
    if len(salt) < SALT_BYTES:
        raise ValueError(f"a salt has {SALT_BYTES} bytes")
    kept = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    kept = kept.replace("\0", "\N{REPLACEMENT CHARACTER}")
    return Sealed(kept, salt, digest.of_bytes(salt + kept.encode()))


def act_of(data: bytes) -> str:
    """The act that the bytes of an entry name, which costs nothing; empty where they name none.

    It is the first member of each canonical entry.
    """
    head, _, rest = data[:_HEAD].partition(b'{"act":"')
    return "" if head else rest.partition(b'"')[0].decode("ascii", "replace")


def opens(commitment: str, salt: bytes, text: str) -> bool:
    """True when this salt and text are what the commitment was made of."""
    return digest.of_bytes(salt + text.encode("utf-8", "replace")) == commitment


def stands_for(commitment: str, known: tuple[bytes, str], person: str) -> bool:
    """True when a person is the one behind a commitment.

    Args:
        commitment: from the entry.
        known: salt and text behind it; no salt and the pseudonym of a person who was erased.
        person: as another table has them.
    """
    salt, text = known
    return opens(commitment, salt, person) if salt else person == text


def build_entry(event: Event, index: int, commitments: Commitments) -> dict[str, Any]:
    """The entry document of an event at its place in the ledger.

    Raises:
        InvalidRequest: the subject says more than name, version, workspace, uid and digest.
    """
    return {
        "schema": SCHEMA,
        "index": index,
        "event_id": event.event_id,
        "act": event.act.value,
        "at": moment.to_text(event.at),
        "actor": commitments.actor.commitment,
        "reason": commitments.reason.commitment if commitments.reason else None,
        "allowed": event.allowed,
        "subject": subject_of(event),
        "before": dict(event.before),
        "after": dict(event.after),
        "decision_id": event.decision_id,
        "decision_digest": event.decision_digest,
        "facts": dict(event.facts),
    }


def encode_entry(document: Mapping[str, Any]) -> bytes:
    """The RFC 8785 bytes of an entry document.

    Raises:
        InvalidRequest: it has none, or they are too long to leave the registry as a tile.
    """
    data = canonical.encode(document)
    if len(data) > MAX_BYTES:
        raise InvalidRequest(
            f"the ledger entry of this {document['act']} would have {len(data)} bytes, and an "
            f"entry has at most {MAX_BYTES}",
            advice="Nothing was changed. Ask for less at once.",
        )
    return data


def subject_of(event: Event) -> dict[str, Any]:
    """``{name, version, workspace, uid, digest}``, null where the event does not say.

    Raises:
        InvalidRequest: the subject says something else.
    """
    foreign = sorted(set(event.subject) - set(_SUBJECT))
    if foreign:
        raise InvalidRequest(f"an event's subject has no {', '.join(foreign)}")
    return {name: event.subject.get(name) for name in _SUBJECT}


def event_document(
    document: Mapping[str, Any], private: Mapping[str, str], root: bytes
) -> dict[str, Any]:
    """What leaves the registry about an act: in clear text, with its place in the ledger.

    Args:
        document: from :func:`read_entry`.
        private: text by commitment; what is not there was erased.
        root: of the tree once the entry was appended.
    """
    sealed = commitments_of(document)
    clear = {name: private.get(commitment, "") for name, commitment in sealed.items()}
    people = {name: clear[name] for name in PEOPLE if name in clear}
    told = ("act", "at", "subject", "before", "after", "allowed", "decision_id")
    return {
        **{name: document[name] for name in told},
        "id": document["event_id"],
        "actor": clear["actor"],
        "reason": clear.get("reason", ""),
        "facts": {**document["facts"], **people},
        "ledger_index": document["index"],
        "ledger_root": root.hex(),
    }


def carries_index(data: bytes, index: int) -> bool:
    """True when entry bytes name this index, without parsing them.

    In RFC 8785 form the subject is the only object behind ``index``, it has no such key
    (:func:`build_entry`), and inside a string the quotes would be escaped: so the last
    occurrence is the entry's own.
    """
    return data.startswith(b'"index":%d,"reason":' % index, data.rfind(_INDEX))


def named_index(data: bytes) -> int | None:
    """The index that entry bytes name, if any."""
    found = _NAMED.match(data, max(0, data.rfind(_INDEX)))
    return int(found[1]) if found else None


def carries_columns(data: bytes, act: Any, at: Any, uid: Any) -> bool:
    """True when the columns an entry is searched by say what its bytes say.

    Args:
        data: bytes that belong to the ledger.
        act: e.g. ``version.registered``.
        at: the moment, as text.
        uid: the version's uid, or empty for the registry itself.

    A column may hold anything; what is not text says nothing.
    """
    if not (type(act) is type(at) is type(uid) is str):
        return False
    subject = data.rfind(b'"subject":{')
    return (
        data.startswith(_act_of(act))
        and b',"at":"%b","before":' % at.encode() in data
        and data.find(_uid_of(uid), subject) > subject
    )


@lru_cache(maxsize=64)
def _act_of(act: str) -> bytes:
    return b'{"act":"%b","actor":' % act.encode()


@lru_cache(maxsize=4096)
def _uid_of(uid: str) -> bytes:
    return b'"uid":%b,"version":' % (canonical.encode(uid) if uid else b"null")


def commitments_of(document: Mapping[str, Any]) -> dict[str, str]:
    """The commitments in an entry: ``actor``, ``reason``, and whom it is about."""
    found = {"actor": document["actor"], "reason": document["reason"]}
    for name in (*PEOPLE, _PERSON):
        about = document["facts"].get(name)
        if isinstance(about, str) and about.startswith("sha256:"):
            found[name] = about
    return {name: commitment for name, commitment in found.items() if commitment}


def read_entry(data: bytes) -> dict[str, Any]:
    """The document in stored entry bytes.

    Raises:
        LedgerError: they are not an entry in RFC 8785 form.
    """
    try:
        document = canonical.decode_object(data)
        exact = canonical.encode(document) == data
    except InvalidRequest as error:
        raise LedgerError(f"the ledger entry cannot be read: {error.message}") from error
    if not exact or document.get("schema") != SCHEMA:
        raise LedgerError("the ledger entry is not in the form it was written in")
    return document


def resolve(document: Mapping[str, Any], private: Mapping[str, str]) -> dict[str, Any]:
    """An entry document with people and reasons in clear text, None where they were erased.

    Args:
        document: from :func:`read_entry`.
        private: text by commitment.
    """
    sealed = {key: document[key] for key in ("actor", "reason")}
    clear = {key: private.get(value) for key, value in sealed.items()}
    return {**document, **clear, "commitments": sealed}
