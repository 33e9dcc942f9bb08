"""What a ledger tells, entry by entry: versions, words, statements, aliases, and where from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple


class Ref(NamedTuple):
    """A version as entries name it, unchecked."""

    workspace: str
    name: str
    version: int


class AliasKey(NamedTuple):
    """An alias as it was written."""

    workspace: str
    name: str
    alias: str


class Pointing(NamedTuple):
    """Where an alias points, and where it pointed before; None is nowhere."""

    version: int | None
    before: int | None


class Problem(NamedTuple):
    """An entry that cannot be applied; ``place`` is its index in the ledger."""

    place: int
    message: str


class Telling(NamedTuple):
    """The entry something is known from: its index, time and decision, and who and why.

    ``actor`` and ``reason`` are commitments; an entry without a reason has none.
    """

    place: int
    at: str
    actor: str
    reason: str | None
    decision_id: str

    @classmethod
    def of(cls, index: int, entry: Mapping[str, Any]) -> Telling:
        """What there is to know of an entry."""
        said = entry["at"], entry["actor"], entry["reason"], entry["decision_id"]
        return cls(index, *said)


@dataclass(slots=True)
class ToldVersion:
    """One version as the ledger tells it."""

    uid: str
    ref: Ref
    stage: str
    state: Mapping[str, Any]
    """What the last move said of it after: ``stage``, ``policy_digest``, ``trust_digest``; an
    absent key was not told."""
    digest: str | None = None
    quarantined_from: str | None = None
    decision_id: str = ""
    """The decision that brought it into its stage."""
    bound: str = ""
    """The decision whose dossier holds the facts proved for it."""
    judged: list[str] = field(default_factory=list)
    """Its newest judgement, and before it the one that a mere confirmation followed."""
    submitter: str | None = None
    """The commitment to who registered it; None for an adopted version: nobody is known."""
    location_digest: str | None = None
    at: str = ""
    """When it was registered."""
    deleted: bool = False
    moved: Telling | None = None
    """The entry that brought it into its stage."""


class ToldApproval(NamedTuple):
    """One person's word as the ledger tells it, in the entry with the index ``place``.

    ``uid`` is the version's, ``approval`` the word's own, ``person`` the commitment.
    """

    place: int
    uid: str
    role: str
    decision: str
    at: str
    model_digest: str | None
    policy_digest: str | None
    person: str
    approval: str


class Release(NamedTuple):
    """A move to Approved: the index of its entry, and the version's uid."""

    place: int
    uid: str


class ToldEvidence(NamedTuple):
    """A statement attached after registration."""

    uid: str
    name: str
    digest: str
    replaceable: bool
    """At stage None a new submission may still replace it."""
