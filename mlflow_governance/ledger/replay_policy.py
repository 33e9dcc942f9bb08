"""Which policy is in force, and what was said of proposed ones, from nothing but the ledger."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from mlflow_governance.core.event import Act


class ToldProposal(NamedTuple):
    """A proposal as the ledger tells it; ``person`` is the commitment."""

    digest: str
    before: str
    archive_digest: str
    person: str


class ToldWord(NamedTuple):
    """One person's word about a proposal; ``person`` is the commitment."""

    proposal: str
    role: str
    decision: str
    at: str
    person: str


@dataclass
class PolicyReplay:
    """Applies entries about policy, one after the other.

    ``in_force`` is the digest of the policy in force, ``kept`` the digest of the archive of each
    that ever was, ``spans`` from when until when each was in force last, ``proposals`` those that
    were accepted as such by their uid.
    """

    in_force: str | None = None
    kept: dict[str, str] = field(default_factory=dict)
    spans: dict[str, tuple[str, str | None]] = field(default_factory=dict)
    proposals: dict[str, ToldProposal] = field(default_factory=dict)
    words: list[ToldWord] = field(default_factory=list)

    def apply(self, entry: Mapping[str, Any]) -> Iterator[str]:
        """Apply one entry that was allowed; yields what contradicts those before it."""
        act, facts = entry["act"], entry["facts"]
        before = entry["before"].get("policy_digest")
        if act == Act.POLICY_CHANGED:
            if before != self.in_force:
                yield f"it takes the place of policy {before}, and in force was {self.in_force}"
            if facts["proposal"] and facts["proposal"] not in self.proposals:
                yield "it names a proposal that nobody made"
            at = str(entry["at"])
            if self.in_force is not None:
                self.spans[self.in_force] = (self.spans[self.in_force][0], at)
            self.in_force = str(entry["after"]["policy_digest"])
            self.spans[self.in_force] = (at, None)
            self.kept[self.in_force] = str(facts["archive_digest"])
        elif act == Act.POLICY_PROPOSED:
            self.proposals[str(facts["proposal"])] = ToldProposal(
                str(facts["proposed"]), str(before), str(facts["archive_digest"]), entry["actor"]
            )
        elif act == Act.POLICY_APPROVED:
            self.words.append(
                ToldWord(
                    str(facts["proposal"]),
                    str(facts["role"]),
                    str(facts["decision"]),
                    str(entry["at"]),
                    str(entry["actor"]),
                )
            )
