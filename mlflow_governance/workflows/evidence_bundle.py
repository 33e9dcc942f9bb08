"""Collecting everything about a version, or about a period, in one reading transaction.

Whatever is collected is checked on the way: bytes against their digests, entries against the
signed head, decisions and approvals against the entries that tell of them, the version's row
against what its entries lead to. A row that was changed stops the export, and is named.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from mlflow_governance.core import canonical, moment
from mlflow_governance.core.digest import Digest, hex_of
from mlflow_governance.core.model_ref import VersionRef
from mlflow_governance.errors import Conflict
from mlflow_governance.policy import bundle as bundles
from mlflow_governance.policy.bundle import Bundle
from mlflow_governance.workflows.evidence_export import OfVersion, entries_about
from mlflow_governance.workflows.evidence_ledger import File, alarm
from mlflow_governance.workflows.evidence_versions import VersionPart
from mlflow_governance.workflows.explain import kept_bundle
from mlflow_governance.workflows.recorded import read as read_decision

_SNAPSHOT = "release/policy_snapshot/"


class Collection(VersionPart):
    """The files of one bundle, and what they tell."""

    def files(self) -> Iterator[File]:
        """Every file but those that are about the whole archive; ``told`` is complete after.

        Raises:
            VerificationError: something is not what was stored, or not what the ledger tells.
            Conflict: something happened to the version since the export was recorded.
        """
        yield from self._checkpoints()
        yield from self._entries()
        for ref in self._refs():
            yield from self._version(ref)
        yield from self._decisions()
        yield from self._policies()
        yield File("openings.json", canonical.encode(self._openings))
        yield File("approvals.json", canonical.encode(self._approvals()))

    def _refs(self) -> list[VersionRef]:
        asked = self.told.exported.asked.of
        if isinstance(asked, OfVersion):
            found = {asked.ref}
        else:
            since, until = (moment.to_text(at) for at in (asked.since, asked.until))
            found = {
                VersionRef(subject["name"], subject["version"], subject["workspace"])
                for subject, at in (
                    (e.document["subject"], e.document["at"]) for e in self.told.entries
                )
                if subject["uid"] and since <= at < until
            }
        for ref in found:
            self._refuse_overtaken(ref)
        return sorted(found)

    def _refuse_overtaken(self, ref: VersionRef) -> None:
        # An entry of before that is not listed now was hidden then; one of after came later.
        exported = self.told.exported
        others = entries_about(self._reading, ref) - set(exported.entries) - {exported.index}
        if others:
            raise Conflict(
                f"something happened to {ref} while it was collected (entry {min(others)})",
                advice="Ask for the bundle again.",
            )

    def _decisions(self) -> Iterator[File]:
        named = self.told.replay.decisions
        uids = [uid for one in self.told.versions for uid in self._reading.uids_of(one.ref)]
        for decision_id in self._reading.decisions_about(uids):
            if decision_id not in named:
                raise alarm(f"decision {decision_id}", "no entry of the ledger tells of it")
        dossiers = set()
        for decision_id, digest in named.items():
            row = self._reading.decision_row(decision_id)
            if row is None:
                raise alarm(f"decision {decision_id}", "it was removed from the database")
            if row.digest != digest:
                raise alarm(f"decision {decision_id}", f"the ledger names {digest}")
            if row.redacted:
                self._require_erasures([row.digest, row.dossier_digest])
            recorded = read_decision(row)
            dossier = recorded.dossier.to_document()
            may = self.told.persons.dossier_may_leave(dossier)
            yield from self._given(f"decisions/{decision_id}.json", row.document)
            self.told.policies.setdefault(str(recorded.document["policy_digest"]), "")
            if recorded.document["gate"] != "download":
                self.told.decisions[decision_id] = recorded.document
            if row.dossier_digest not in dossiers:
                dossiers.add(row.dossier_digest)
                path = f"dossiers/{hex_of(Digest(row.dossier_digest))}.json"
                yield from self._given(path, row.dossier or b"", may=may)

    def _policies(self) -> Iterator[File]:
        for digest in sorted(self.told.policies):
            path = f"policies/{hex_of(Digest(digest))}.tar.gz"
            for origin, bundle in self._bundles(Digest(digest)):
                self.told.policies[digest], self.told.bundles[digest] = origin, bundle
                yield from self._given(path, bundle.archive())
                break
            else:
                self.told.left_out.append((path, "the registry did not keep that policy"))

    def _bundles(self, digest: Digest) -> Iterator[tuple[str, Bundle]]:
        kept = kept_bundle(self._reading, digest)
        if kept is not None:
            yield "the registry", kept
        for one in self.told.versions:
            record = self._reading.version(one.ref)
            files = {
                path.removeprefix(_SNAPSHOT): self._reading.stored_document(at) or b""
                for attached, path, at in (self._reading.linked_files(record.uid) if record else ())
                if attached and path.startswith(_SNAPSHOT)
            }
            found = bundles.from_files(files) if files else None
            if found is not None and found.digest == digest:
                yield f"the release of {one.ref}", found

    def _approvals(self) -> list[dict[str, Any]]:
        return [
            {**asdict(word), "version": str(one.ref), "workspace": one.ref.workspace}
            for one in self.told.versions
            for word in one.words
        ]
