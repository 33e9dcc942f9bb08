"""One validation, from the ledger to the files; what is in flight is looked at twice."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from mlflow_governance.errors import LedgerError
from mlflow_governance.ledger.replay import Replay
from mlflow_governance.workflows.validation.books import Books, GovernedRow, Scene, Shelves
from mlflow_governance.workflows.validation.documents import (
    check_approvals,
    check_decisions,
    check_documents,
    check_evidence,
)
from mlflow_governance.workflows.validation.files import Progress, Stock, check_files
from mlflow_governance.workflows.validation.findings import Finding, Severity, found
from mlflow_governance.workflows.validation.people import check_erasures, check_private
from mlflow_governance.workflows.validation.pointers import check_aliases, check_blocked
from mlflow_governance.workflows.validation.policies import check_policies, check_proposals
from mlflow_governance.workflows.validation.versions import (
    check_catalogue,
    check_governed,
    check_submitters,
    check_tasks,
)

_SETTLE_SECONDS = 2.0
_STEP = 5000


@dataclass(frozen=True)
class Scope:
    """What is looked at.

    Args:
        name: pattern of model names (``churn*``); the ledger is always verified whole.
        files: hash the files in the artifact store.
        since: hash only versions registered at this moment (RFC 3339, UTC) or later.
        left_out: decides by name whether a model is excluded from governance.
    """

    name: str = "*"
    files: bool = True
    since: str = ""
    left_out: Callable[[str], bool] = lambda _: False

    def has(self, name: str) -> bool:
        """True when a model of this name is looked at."""
        return fnmatchcase(str(name), self.name)


@dataclass(frozen=True)
class Report:
    """What a validation found, and how much it looked at."""

    findings: tuple[Finding, ...]
    entries: int
    versions: int
    aliases: int
    hashed: int
    """Versions whose files were read."""

    @property
    def clean(self) -> bool:
        """True when nothing contradicts the record; there may be warnings."""
        return all(finding.severity is not Severity.ERROR for finding in self.findings)


def validate(
    books: Books,
    shelves: Shelves,
    scope: Scope,
    *,
    progress: Progress = lambda what, done, total: None,
    pause: Callable[[float], None] = time.sleep,
) -> Report:
    """Compare everything the registry keeps with what its ledger says; nothing is changed.

    A server may run meanwhile: what disagrees is looked at once more before it is reported.

    Args:
        books: the registry's database.
        shelves: the artifact store.
        scope: what is looked at.
        progress: told how far it is.
        pause: waits so many seconds before the second look.

    Raises:
        Unavailable: the database or the artifact store does not answer.
        ConfigurationError: the tables are not there.
    """
    first = _Look(books, shelves, scope, progress).report(lambda row: True)
    if not first.findings:
        return first
    pause(_SETTLE_SECONDS)
    suspects = {finding.subject.partition(":")[0] for finding in first.findings}
    again = _Look(books, shelves, scope, progress)
    second = again.report(lambda row: again.named(row) in suspects)
    seen = {(finding.code, finding.subject) for finding in first.findings}
    lasting = (f for f in second.findings if (f.code, f.subject) in seen)
    return replace(second, findings=tuple(lasting), hashed=first.hashed)


def replay(books: Books, size: int, told: Replay, progress: Progress) -> None:
    """Bring a replay up to that many entries."""
    start = told.size
    for index, data in books.entries(start, size):
        told.apply(index, data)
        if index % _STEP == 0:
            progress("entries replayed", index, size)
    told.size = max(told.size, size)


class _Look:
    def __init__(self, books: Books, shelves: Shelves, scope: Scope, progress: Progress) -> None:
        self._books, self._shelves, self._scope = books, shelves, scope
        self._progress = progress
        self._told = Replay()
        self._verified: list[Finding] = []
        size = self._ledger()
        # Most of it before the snapshot: that one should not last.
        replay(books, size, self._told, progress)
        seen = books.look()
        replay(books, seen.ledger_size, self._told, progress)
        self._scene = Scene(self._told, seen, scope.has, scope.left_out)

    def named(self, row: GovernedRow) -> str:
        """A version as findings name it."""
        return self._scene.subject(row.uid)

    def report(self, wanted: Callable[[GovernedRow], bool]) -> Report:
        """Everything found; files are read of the versions wanted."""
        scene, since = self._scene, self._scope.since

        def is_wanted(row: GovernedRow) -> bool:
            registered = scene.told.versions[row.uid].at  # what the row says could be edited
            return self._scope.files and registered >= since and wanted(row)

        stock = Stock(self._books, self._shelves, is_wanted, self._progress)
        findings = sorted(self._findings(stock), key=lambda f: (f.severity, f.code, f.subject))
        rows = [row for row in scene.seen.governed if scene.looks_at(row.uid)]
        return Report(
            findings=tuple(findings),
            entries=self._told.size,
            versions=len(rows),
            aliases=sum(scene.in_scope(key.name) for key in scene.seen.aliases),
            hashed=sum(map(is_wanted, rows)),
        )

    def _ledger(self) -> int:
        try:
            return self._books.verify_ledger()
        except LedgerError as error:
            index = error.details.get("index")
            subject = "the ledger" if index is None else f"entry {index}"
            self._verified.append(found("VAL-001", subject, error.message, "as it was signed"))
            return 0

    def _findings(self, stock: Stock) -> Iterator[Finding]:
        scene, books = self._scene, self._books
        yield from self._verified
        for problem in scene.told.problems:
            yield found("VAL-002", f"entry {problem.place}", problem.message, "what came before")
        looks: Iterable[Iterator[Finding]] = (
            check_governed(scene),
            check_submitters(scene, books),
            check_catalogue(scene, self._shelves),
            check_tasks(scene),
            check_aliases(scene),
            check_blocked(scene),
            check_decisions(scene, books),
            check_approvals(scene, books),
            check_evidence(scene),
            check_documents(scene, books),
            check_policies(scene, books),
            check_proposals(scene, books),
            check_private(scene, books),
            check_erasures(scene, books),
            check_files(scene, stock),
        )
        for look in looks:
            yield from look
