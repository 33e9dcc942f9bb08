"""The policy in force, the bundles that were, and what was said of proposals."""

from __future__ import annotations

from collections.abc import Iterator

from mlflow_governance.core import digest as digests
from mlflow_governance.errors import GovernanceError
from mlflow_governance.ledger.entry import stands_for
from mlflow_governance.policy import bundle as bundles
from mlflow_governance.workflows.validation.books import Books, PolicyWordRow, ProposalRow, Scene
from mlflow_governance.workflows.validation.findings import Finding, each, found

_SUBJECT = "the policy"


def check_policies(scene: Scene, books: Books) -> Iterator[Finding]:
    """The policy in force and every bundle that ever was: VAL-070 to VAL-073, VAL-076."""
    told, seen = scene.told.policy, scene.seen.policy
    if told.in_force != seen.in_force:
        yield found("VAL-070", _SUBJECT, seen.in_force, told.in_force)
    for digest, archive in sorted(told.kept.items()):
        if seen.kept.get(digest) != archive:
            yield found("VAL-071", f"policy {digest}", seen.kept.get(digest), archive)
            continue
        if seen.spans[digest] != told.spans[digest]:
            now, then = (_span(one.spans[digest]) for one in (seen, told))
            yield found("VAL-076", f"policy {digest}", now, then)
        data = books.manifest(archive)
        if data is None:
            yield found("VAL-071", f"policy {digest}", None, archive)
        elif digests.of_bytes(data) == archive:  # other bytes are VAL-054
            yield from _archive(digest, data)
    for digest in sorted(seen.kept.keys() - told.kept.keys()):
        yield found("VAL-073", f"policy {digest}", "kept as one that was in force", None)


def _span(span: tuple[str, str | None]) -> str:
    return f"in force from {span[0]} until {span[1] or 'now'}"


def _archive(digest: str, data: bytes) -> Iterator[Finding]:
    try:
        really = bundles.from_archive(data).digest
    except GovernanceError as error:
        yield found("VAL-072", f"policy {digest}", error.message, digest)
        return
    if really != digest:
        yield found("VAL-072", f"policy {digest}", really, digest)


def check_proposals(scene: Scene, books: Books) -> Iterator[Finding]:
    """Proposals, and what people said of them: VAL-074, VAL-075 and VAL-077."""
    told, seen = scene.told.policy, scene.seen.policy
    commitments = {p.person for p in told.proposals.values()} | {w.person for w in told.words}
    behind = books.private(commitments)

    def said_by(person: str, commitment: str) -> bool:
        known = behind.get(commitment)  # None: gone, a finding of its own
        return known is None or stands_for(commitment, known, person)

    def proposal(row: ProposalRow) -> Iterator[Finding]:
        one = told.proposals.get(row.uid)
        same = one is not None and one[:3] == (row.digest, row.before, row.archive_digest)
        if one is None or not same or not said_by(row.person, one.person):
            shown = f"{row.digest} instead of {row.before}, by {row.person}"
            record = None if one is None else f"{one.digest} instead of {one.before}"
            yield found("VAL-074", f"proposal {row.uid}", shown, record)

    left = list(told.words)
    given: list[tuple[PolicyWordRow, int]] = []

    def word(row: PolicyWordRow) -> Iterator[Finding]:
        key = (row.proposal_uid, row.role, row.decision, row.at)
        one = next((w for w in left if w[:4] == key and said_by(row.person, w.person)), None)
        if one is None:
            shown = f"{row.decision} by {row.person} at {row.at}"
            yield found("VAL-074", f"a word about proposal {row.proposal_uid}", shown, None)
            return
        left.remove(one)
        given.append((row, told.words.index(one)))

    yield from each(seen.proposals, proposal, lambda row: f"proposal {row.uid}")
    yield from each(seen.words, word, lambda row: f"a word about proposal {row.proposal_uid}")
    for uid in sorted(told.proposals.keys() - {row.uid for row in seen.proposals}):
        yield found("VAL-075", f"proposal {uid}", None, told.proposals[uid].digest)
    for lost in left:
        subject = f"a word about proposal {lost.proposal}"
        yield found("VAL-075", subject, None, f"{lost.decision} at {lost.at}")
    yield from _counting(given)


def _counting(given: list[tuple[PolicyWordRow, int]]) -> Iterator[Finding]:
    # A person's later word takes the place of the earlier one.
    last: dict[tuple[str, str], int] = {}
    for row, place in given:
        key = (row.proposal_uid, row.person)
        last[key] = max(place, last.get(key, place))
    for row, place in given:
        here, there = bool(row.withdrawn), place < last[row.proposal_uid, row.person]
        if here != there:
            words = {True: "withdrawn", False: "counts"}
            subject = f"a word about proposal {row.proposal_uid}"
            yield found("VAL-077", subject, words[here], words[there])
