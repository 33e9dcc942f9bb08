"""What was found out while an evidence bundle was collected: the material of its report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from mlflow_governance.core.digest import Digest
from mlflow_governance.core.model_ref import VersionRef
from mlflow_governance.ledger.replay import Replay
from mlflow_governance.ledger.told import ToldVersion
from mlflow_governance.policy.bundle import Bundle
from mlflow_governance.workflows.evidence_export import Exported
from mlflow_governance.workflows.evidence_persons import Persons

Document = Mapping[str, Any]


class ToldFile(NamedTuple):
    """A file about a version: ``by`` is ``producer``, ``registry``, or ``others`` who judged it."""

    by: str
    path: str
    digest: Digest
    size: int


@dataclass(frozen=True)
class ToldEntry:
    """A ledger entry with people and reasons as they may be told."""

    document: Document
    actor: str
    reason: str

    @property
    def index(self) -> int:
        """Its place."""
        return int(self.document["index"])


@dataclass(frozen=True)
class ToldWord:
    """What somebody said for a role; ``index`` of the entry that proves it."""

    person: str
    role: str
    decision: str
    at: str
    reason: str
    current: bool
    withdrawn: bool
    index: int


@dataclass
class ToldOne:
    """One version.

    Args:
        ref: its name and number.
        state: as the ledger tells it; None for one the ledger does not tell.
        submitter: who registered it, as they may be told.
        files: what hangs on it.
        model_files: how many files its manifest lists, and their bytes; None without a manifest.
        words: what people said of it.
        judged: the decision it stands on, or else the last one about it.
        dossier: what that decision was made from.
        exists: False for one that was deleted.
    """

    ref: VersionRef
    state: ToldVersion | None = None
    submitter: str = ""
    files: list[ToldFile] = field(default_factory=list)
    model_files: tuple[int, int] | None = None
    words: list[ToldWord] = field(default_factory=list)
    judged: Document = field(default_factory=dict)
    dossier: Document = field(default_factory=dict)
    exists: bool = True

    @property
    def evidence(self) -> Mapping[str, Document]:
        """The outcome of each kind, as that decision saw it."""
        found: Mapping[str, Document] = self.dossier.get("evidence", {})
        return found


@dataclass
class Told:
    """Everything the report is made of.

    Args:
        exported: what was asked, and the entry that says so.
        persons: how people are spoken of.
        origin: of the ledger.
        size: entries in the ledger as signed by the checkpoint.
        entries: those in the bundle, ascending.
        replay: the state they lead to.
        versions: those it is about.
        decisions: by id, without dossiers; refused downloads are not among them.
        policies: digest of each policy that decided → how its bundle came into the archive;
            empty where it is not there.
        bundles: those bundles, by the digest of the policy.
        left_out: files that are not there, each with why.
    """

    exported: Exported
    persons: Persons
    origin: str = ""
    size: int = 0
    entries: list[ToldEntry] = field(default_factory=list)
    replay: Replay = field(default_factory=Replay)
    versions: list[ToldOne] = field(default_factory=list)
    decisions: dict[str, Document] = field(default_factory=dict)
    policies: dict[str, str] = field(default_factory=dict)
    bundles: dict[str, Bundle] = field(default_factory=dict)
    left_out: list[tuple[str, str]] = field(default_factory=list)

    def about(self, one: ToldOne) -> Sequence[ToldEntry]:
        """The entries that concern a version, its aliases among them."""
        return [entry for entry in self.entries if _concerns(entry.document, one.ref)]

    def chief_entry(self, decision_id: str) -> ToldEntry | None:
        """The entry that names a decision."""
        return next((e for e in self.entries if e.document["decision_id"] == decision_id), None)


def _concerns(entry: Document, ref: VersionRef) -> bool:
    subject = entry["subject"]
    if (subject["name"], subject["workspace"]) != (ref.name, ref.workspace):
        return False
    action = entry["facts"].get("action") or {}
    return ref.version in (subject["version"], action.get("from_version"))
