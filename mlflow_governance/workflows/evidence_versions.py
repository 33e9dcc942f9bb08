"""Collecting what hangs on a version, each part held against what the ledger tells of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from urllib.parse import quote

from mlflow_governance.core import canonical, moment
from mlflow_governance.core.digest import Digest, hex_of, of_bytes
from mlflow_governance.core.manifest import refuse_unsafe_name
from mlflow_governance.core.model_ref import DEFAULT_WORKSPACE, VersionRef
from mlflow_governance.core.stage import WITHDRAWN, Stage
from mlflow_governance.ledger.told import ToldApproval, ToldVersion
from mlflow_governance.workflows.evidence_ledger import File, LedgerPart, alarm, checked
from mlflow_governance.workflows.evidence_ports import GivenWord
from mlflow_governance.workflows.evidence_told import ToldFile, ToldOne, ToldWord
from mlflow_governance.workflows.ports import VersionRecord
from mlflow_governance.workflows.recorded import read as read_decision

_MANIFEST_BYTES = 256 * 1024 * 1024


def folder_of(ref: VersionRef) -> str:
    """Where the files about a version stand: ``versions/<name>/<number>``, percent-encoded."""
    whole = ref.name if ref.workspace == DEFAULT_WORKSPACE else f"{ref.workspace}:{ref.name}"
    folder = quote(whole, safe=" ")
    return f"versions/{'%2E' + folder[1:] if folder.startswith('.') else folder}/{ref.version}"


class VersionPart(LedgerPart):
    """Collects versions."""

    def _version(self, ref: VersionRef) -> Iterator[File]:
        record = self._reading.version(ref)
        one = ToldOne(ref, exists=record is not None)
        self.told.versions.append(one)
        one.state = self._state(ref, record)
        if record is not None:
            one.submitter = self.told.persons.told(record.submitter)
            self._check_record(record, one.state)
        elif one.state is not None and one.state.submitter:
            one.submitter = self.told.persons.told(self._opening_of(one.state.submitter))
        self._judged(one)
        yield from self._manifest(one)
        if record is not None:
            for file in self._linked(record, one):
                yield from self._given(f"{folder_of(ref)}/{file.path}", file.data)
            self._words(record, one)

    def _state(self, ref: VersionRef, record: VersionRecord | None) -> ToldVersion | None:
        replay = self.told.replay
        if record is not None:
            return replay.versions.get(record.uid)
        gone = self._reading.uids_of(ref)
        return next((replay.versions[uid] for uid in gone[::-1] if uid in replay.versions), None)

    def _check_record(self, record: VersionRecord, state: ToldVersion | None) -> None:
        if state is None:
            raise alarm(f"{record.ref}", "the ledger tells nothing of its registration")
        told = {"stage": state.stage, "decision": state.decision_id, "digest": state.digest}
        here = {"stage": record.stage.value, "decision": record.decision_id}
        here["digest"] = record.digest or ""
        for name, value in here.items():
            # A version that nobody judged yet has a digest no entry tells of.
            if value != (told[name] or "") and not (name == "digest" and not told[name]):
                raise alarm(
                    f"{record.ref}", f"its {name} is {value}, and the ledger tells {told[name]}"
                )

    def _judged(self, one: ToldOne) -> None:
        state = one.state
        if state is None:
            return
        last = state.judged[-1] if state.judged else ""
        # A withdrawal proves nothing of its own: what was judged before it says more.
        chosen = last if state.stage in WITHDRAWN or not state.bound else state.bound
        row = self._reading.decision_row(chosen) if chosen else None
        if row is not None:
            recorded = read_decision(row)
            one.judged, one.dossier = recorded.document, recorded.dossier.to_document()
            self.told.persons.meet(a["person"] for a in one.dossier["approvals"])

    def _manifest(self, one: ToldOne) -> Iterator[File]:
        digests = {
            str(entry.document["subject"]["digest"])
            for entry in self.told.about(one)
            if entry.document["subject"]["digest"]
            and entry.document["subject"]["version"] == one.ref.version
        }
        latest = one.state.digest if one.state else None
        for digest in sorted(digests):
            data = self._reading.stored_document(Digest(digest))
            if data is None and digest != latest:
                continue
            whole = checked(data, digest, f"the manifest of {one.ref}")
            files = canonical.decode(whole, max_bytes=_MANIFEST_BYTES)
            name = "manifest.json"
            if digest == latest:
                one.model_files = len(files), sum(file["size"] for file in files)
            else:
                name = f"manifest-{hex_of(Digest(digest))}.json"
            yield from self._given(f"{folder_of(one.ref)}/{name}", whole)

    def _linked(self, record: VersionRecord, one: ToldOne) -> Iterator[File]:
        present = {}
        for attached, path, digest in self._reading.linked_files(record.uid):
            refuse_unsafe_name(path)
            data = checked(self._reading.stored_document(digest), digest, f"{path} of {record.ref}")
            by, folder = ("registry", "attached") if attached else ("producer", "evidence")
            if not attached:
                present[path] = digest
            one.files.append(ToldFile(by, path, digest, len(data)))
            yield File(f"{folder}/{path}", data)
        for item in self._reading.verdicts(record.digest) if record.digest else ():
            if of_bytes(item.data) not in present.values():
                present[item.name] = of_bytes(item.data)
                one.files.append(ToldFile("others", item.name, of_bytes(item.data), len(item.data)))
                yield File(f"evidence/{item.name}", item.data)
        self._check_attached(record, one, present)

    def _check_attached(
        self, record: VersionRecord, one: ToldOne, present: Mapping[str, str]
    ) -> None:
        # Past None evidence is never taken away, so what was decided upon has to be there still.
        if record.stage is Stage.NONE:
            return
        told = {e.name: e.digest for e in self.told.replay.evidence if e.uid == record.uid}
        told |= {file["name"]: file["digest"] for file in one.dossier.get("attached", ())}
        for name, digest in sorted(told.items()):
            if present.get(name) != digest and digest not in present.values():
                raise alarm(f"{record.ref}", f"its evidence {name} of {digest} was removed")

    def _words(self, record: VersionRecord, one: ToldOne) -> None:
        proofs = [a for a in self.told.replay.approvals if a.uid == record.uid]
        for word in self._reading.words_about(record.uid):
            given = word.approval
            proof = next((p for p in proofs if _proves(p, word, self._opening_of(p.person))), None)
            if proof is None:
                raise alarm(
                    f"{record.ref}", f"its approval {given.uid} is in no entry of the ledger"
                )
            proofs.remove(proof)
            current = given.model_digest == record.digest
            one.words.append(
                ToldWord(
                    self.told.persons.told(given.person), given.role, given.decision,
                    moment.to_text(given.at), self.told.persons.reason(given.reason),
                    current and not word.withdrawn, word.withdrawn, proof.place,
                )
            )  # fmt: skip
        if proofs:
            raise alarm(f"{record.ref}", f"the approval of entry {proofs[0].place} was removed")


def _proves(proof: ToldApproval, word: GivenWord, person: str | None) -> bool:
    given = word.approval
    return (
        (proof.role, proof.decision) == (given.role, given.decision)
        and proof.at == moment.to_text(given.at)
        and proof.model_digest == given.model_digest
        and person in (None, given.person)
    )
