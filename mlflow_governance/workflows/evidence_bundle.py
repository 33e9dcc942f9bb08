"""Collecting everything about a version, or about a period, in one reading transaction.

Whatever is collected is checked on the way: bytes against their digests, entries against the
signed head, decisions and approvals against the entries that tell of them, the version's row
against what its entries lead to. A row that was changed stops the export, and is named.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import quote

from mlflow_governance.core import canonical, moment
from mlflow_governance.core.digest import Digest, hex_of, of_bytes
from mlflow_governance.core.event import Act
from mlflow_governance.core.manifest import refuse_unsafe_name
from mlflow_governance.core.model_ref import DEFAULT_WORKSPACE, VersionRef
from mlflow_governance.core.stage import WITHDRAWN
from mlflow_governance.errors import Conflict, LedgerError, VerificationError
from mlflow_governance.ledger import checkpoint, merkle
from mlflow_governance.ledger.entry import carries_columns, opens, read_entry
from mlflow_governance.ledger.note import NoteKey
from mlflow_governance.ledger.proof import InclusionProof
from mlflow_governance.ledger.replay import ToldVersion
from mlflow_governance.policy import bundle as bundles
from mlflow_governance.workflows.evidence_export import (
    Exported,
    OfVersion,
    entries_about,
    listed,
)
from mlflow_governance.workflows.evidence_persons import Persons
from mlflow_governance.workflows.evidence_ports import EvidenceReading, GivenWord
from mlflow_governance.workflows.evidence_told import (
    Told,
    ToldEntry,
    ToldFile,
    ToldOne,
    ToldWord,
)
from mlflow_governance.workflows.explain import kept_bundle
from mlflow_governance.workflows.ports import VersionRecord
from mlflow_governance.workflows.recorded import read as read_decision

_MANIFEST_BYTES = 256 * 1024 * 1024
_SNAPSHOT = "release/policy_snapshot/"
_ADVICE = "Find out what else was changed: mlflow-governance validate"
_NAMED = "it names people, and this archive does not"


class File(NamedTuple):
    """One file of the archive."""

    path: str
    data: bytes


def folder_of(ref: VersionRef) -> str:
    """Where the files about a version stand: ``versions/<name>/<number>``, percent-encoded."""
    whole = ref.name if ref.workspace == DEFAULT_WORKSPACE else f"{ref.workspace}:{ref.name}"
    folder = quote(whole, safe=" ")
    return f"versions/{'%2E' + folder[1:] if folder.startswith('.') else folder}/{ref.version}"


class Collection:
    """The files of one bundle, and what they tell.

    Args:
        reading: the moment it is collected in.
        exported: what was recorded as exported.
        key: the ledger's key, which the head has to be signed with.
    """

    def __init__(self, reading: EvidenceReading, exported: Exported, key: NoteKey) -> None:
        self._reading = reading
        self._note = reading.head()
        signed = checkpoint.verify(self._note, key)
        self.told = Told(
            exported,
            Persons(exported.asked.pseudonymous),
            origin=signed.origin,
            size=signed.size,
        )
        self._signed = signed
        self._openings: dict[str, dict[str, str]] = {}

    def files(self) -> Iterator[File]:
        """Every file but those that are about the whole archive; ``told`` is complete after.

        Raises:
            VerificationError: something is not what was stored, or not what the ledger tells.
            Conflict: something happened to the version since the export was recorded.
        """
        yield File("ledger/checkpoint", self._note.encode())
        yield from self._entries()
        for ref in self._refs():
            yield from self._version(ref)
        yield from self._decisions()
        yield from self._policies()
        yield File("openings.json", canonical.encode(self._openings))
        yield File("approvals.json", canonical.encode(self._approvals()))

    # The ledger

    def _entries(self) -> Iterator[File]:
        exported = self.told.exported
        wanted = [*exported.entries, exported.index]
        if len(exported.entries) != len(listed(exported.entries).get("entries", ())):
            yield File("ledger/listed.json", canonical.encode(list(exported.entries)))
        paths = self._reading.inclusion_paths(wanted, self._signed.size)
        missing = set(wanted)
        for index, data in self._reading.entries_at(wanted):
            missing.discard(index)
            entry = self._entry(index, data, paths[index])
            self.told.replay.apply(index, data)
            self.told.entries.append(entry)
            yield File(f"ledger/entries/{index}.json", data)
            proof = InclusionProof(index, paths[index], self._note).encode()
            yield File(f"ledger/proofs/{index}.tlog-proof", proof.encode())
        if missing:
            raise LedgerError(f"entry {min(missing)} is missing from the ledger", advice=_ADVICE)

    def _entry(self, index: int, data: bytes, path: tuple[bytes, ...]) -> ToldEntry:
        leaf = merkle.leaf_hash(data)
        if merkle.root_from_inclusion(index, self._signed.size, leaf, path) != self._signed.root:
            raise LedgerError(
                f"entry {index} was changed: it is not in the ledger as signed",
                advice="Prove the ledger: mlflow-governance ledger verify",
            )
        document = read_entry(data)
        if document["index"] != index:
            raise LedgerError(f"entry {index} names the index {document['index']}")
        uid = document["subject"]["uid"] or ""
        if not carries_columns(data, document["act"], document["at"], uid):
            raise LedgerError(f"entry {index} is not as the registry writes entries")
        return self._opened(document)

    def _opened(self, document: dict[str, Any]) -> ToldEntry:
        texts: dict[str, str | None] = {"actor": None, "reason": None}
        found = self._reading.openings(c for c in (document[key] for key in texts) if c)
        for key in texts:
            opening = found.get(document[key] or "")
            if opening is None:
                continue
            if not opens(document[key], opening.salt, opening.text):
                raise VerificationError(
                    f"entry {document['index']}: the {key} was changed in the database: it does "
                    "not open its commitment",
                    advice=_ADVICE,
                )
            texts[key] = opening.text
            if not self.told.persons.pseudonymous:
                sealed = {"salt": opening.salt.hex(), "text": opening.text}
                self._openings[document[key]] = sealed
        persons = self.told.persons
        persons.meet([texts["actor"]])
        if document["act"] == Act.DOWNLOAD_DENIED:  # there may be very many, and one is like another
            document["facts"] = {}
        return ToldEntry(document, persons.told(texts["actor"]), persons.reason(texts["reason"]))

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

    # Versions

    def _version(self, ref: VersionRef) -> Iterator[File]:
        record = self._reading.version(ref)
        one = ToldOne(ref, exists=record is not None)
        self.told.versions.append(one)
        one.state = self._state(ref, record)
        if record is not None:
            one.submitter = self.told.persons.told(record.submitter)
            self._check_record(record, one.state)
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
            raise _alarm(f"{record.ref}", "the ledger tells nothing of its registration")
        told = {"stage": state.stage, "decision": state.decision_id, "digest": state.digest}
        here = {"stage": record.stage.value, "decision": record.decision_id}
        here["digest"] = record.digest or ""
        for name, value in here.items():
            # A version that nobody judged yet has a digest no entry tells of.
            if value != (told[name] or "") and not (name == "digest" and not told[name]):
                raise _alarm(
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
            data = self._reading.document(Digest(digest))
            if data is None and digest != latest:
                continue
            whole = self._checked(data, digest, f"the manifest of {one.ref}")
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
            data = self._checked(
                self._reading.document(digest), digest, f"{path} of {record.ref}"
            )
            by, folder = ("registry", "attached") if attached else ("producer", "evidence")
            if not attached:
                present[path] = digest
            one.files.append(ToldFile(by, path, digest, len(data)))
            yield File(f"{folder}/{path}", data)
        for item in self._reading.verdicts(record.digest) if record.digest else ():
            if of_bytes(item.data) not in present.values():
                present[item.name] = of_bytes(item.data)
                one.files.append(
                    ToldFile("others", item.name, of_bytes(item.data), len(item.data))
                )
                yield File(f"evidence/{item.name}", item.data)
        self._check_attached(record, one, present)

    def _check_attached(
        self, record: VersionRecord, one: ToldOne, present: Mapping[str, str]
    ) -> None:
        # Past None evidence is never taken away, so what was decided upon has to be there still.
        if record.stage.value == "None":
            return
        told = {e.name: e.digest for e in self.told.replay.evidence if e.uid == record.uid}
        told |= {file["name"]: file["digest"] for file in one.dossier.get("attached", ())}
        for name, digest in sorted(told.items()):
            if present.get(name) != digest and digest not in present.values():
                raise _alarm(f"{record.ref}", f"its evidence {name} of {digest} was removed")

    def _words(self, record: VersionRecord, one: ToldOne) -> None:
        proofs = [a for a in self.told.replay.approvals if a.uid == record.uid]
        for word in self._reading.words_about(record.uid):
            given = word.approval
            proof = next(
                (p for p in proofs if _proves(p, word, self._openings_of(p.person))), None
            )
            if proof is None:
                raise _alarm(
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
            raise _alarm(f"{record.ref}", f"the approval of entry {proofs[0].place} was removed")

    def _openings_of(self, commitment: str) -> str | None:
        opening = self._reading.openings([commitment]).get(commitment)
        return None if opening is None else opening.text

    # Decisions and policies

    def _decisions(self) -> Iterator[File]:
        named = self.told.replay.decisions
        uids = [uid for one in self.told.versions for uid in self._reading.uids_of(one.ref)]
        for decision_id in self._reading.decisions_about(uids):
            if decision_id not in named:
                raise _alarm(f"decision {decision_id}", "no entry of the ledger tells of it")
        dossiers = set()
        for decision_id, digest in named.items():
            row = self._reading.decision_row(decision_id)
            if row is None:
                raise _alarm(f"decision {decision_id}", "it was removed from the database")
            if row.digest != digest:
                raise _alarm(f"decision {decision_id}", f"the ledger names {digest}")
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
            for origin, archive in self._archives(Digest(digest)):
                self.told.policies[digest] = origin
                yield from self._given(path, archive)
                break
            else:
                self.told.left_out.append((path, "the registry did not keep that policy"))

    def _archives(self, digest: Digest) -> Iterator[tuple[str, bytes]]:
        kept = kept_bundle(self._reading, digest)
        if kept is not None:
            yield "the registry", kept.archive()
        for one in self.told.versions:
            record = self._reading.version(one.ref)
            files = {
                path.removeprefix(_SNAPSHOT): self._reading.document(at) or b""
                for attached, path, at in (self._reading.linked_files(record.uid) if record else ())
                if attached and path.startswith(_SNAPSHOT)
            }
            found = bundles.from_files(files) if files else None
            if found is not None and found.digest == digest:
                yield f"the release of {one.ref}", found.archive()

    def _approvals(self) -> list[dict[str, Any]]:
        return [
            {**word._asdict(), "version": str(one.ref), "workspace": one.ref.workspace}
            for one in self.told.versions
            for word in one.words
        ]

    # Files

    def _given(self, path: str, data: bytes, *, may: bool = True) -> Iterator[File]:
        if may and self.told.persons.may_leave(data):
            yield File(path, data)
        else:
            self.told.left_out.append((path, _NAMED))

    def _checked(self, data: bytes | None, digest: str, what: str) -> bytes:
        if data is None:
            raise _alarm(what, f"its bytes of {digest} were removed from the database")
        if of_bytes(data) != digest:
            raise _alarm(what, f"its bytes were changed in the database: they are not of {digest}")
        return data


def _proves(proof: Any, word: GivenWord, person: str | None) -> bool:
    given = word.approval
    return (
        (proof.role, proof.decision) == (given.role, given.decision)
        and proof.at == moment.to_text(given.at)
        and proof.model_digest == given.model_digest
        and person in (None, given.person)
    )


def _alarm(what: str, found: str) -> VerificationError:
    return VerificationError(f"integrity alarm: {what}: {found}", advice=_ADVICE)

