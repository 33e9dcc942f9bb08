"""Collecting ledger entries with their proofs, and opening what they commit to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from mlflow_governance.core import canonical
from mlflow_governance.core.digest import of_bytes
from mlflow_governance.core.event import Act
from mlflow_governance.errors import Conflict, LedgerError, VerificationError
from mlflow_governance.ledger import checkpoint, merkle
from mlflow_governance.ledger.entry import carries_columns, opens, read_entry
from mlflow_governance.ledger.handover import KeyHistory
from mlflow_governance.ledger.proof import InclusionProof
from mlflow_governance.ledger.redaction import proves
from mlflow_governance.workflows.evidence_export import Exported, listed
from mlflow_governance.workflows.evidence_persons import Persons
from mlflow_governance.workflows.evidence_ports import EvidenceReading
from mlflow_governance.workflows.evidence_told import Told, ToldEntry

_ERASED = b'{"act":"%b"' % Act.PERSON_ERASED.value.encode()
ADVICE = "Find out what else was changed: mlflow-governance validate"
NAMED = "it names people, and this archive does not"


class File(NamedTuple):
    """One file of the archive."""

    path: str
    data: bytes


class LedgerPart:
    """Collects entries.

    Args:
        reading: the moment everything is collected in.
        exported: what was recorded as exported.
        keys: those of the ledger that are known; ``keys`` are all of them afterwards, of which
            the last signed the head.
    """

    def __init__(self, reading: EvidenceReading, exported: Exported, keys: KeyHistory) -> None:
        self._reading = reading
        self._note = reading.head()
        self._handovers = reading.handovers()
        self.keys = keys.following(self._handovers)
        signed = checkpoint.verify(self._note, self.keys)
        self.told = Told(
            exported,
            Persons(exported.asked.pseudonymous),
            origin=signed.origin,
            size=signed.size,
        )
        self._signed = signed
        self._openings: dict[str, dict[str, str]] = {}
        self._replaced: dict[str, str] = {}

    def _checkpoints(self) -> Iterator[File]:
        yield File("ledger/checkpoint", self._note.encode())
        notes = self.keys.proofs(self._handovers)
        for handed in self.keys.handovers:
            if handed not in notes:
                raise alarm(
                    "the ledger's key",
                    f"the checkpoint of {handed.at.size} entries that handed it over was removed",
                )
            yield File(f"ledger/handovers/{handed.at.size}.checkpoint", notes[handed].encode())

    def _entries(self) -> Iterator[File]:
        exported = self.told.exported
        wanted = [*exported.entries, exported.index]
        if len(exported.entries) != len(listed(exported.entries).get("entries", ())):
            yield File("ledger/listed.json", canonical.encode(list(exported.entries)))
        paths = self._reading.inclusion_paths(wanted, self._signed.size)
        missing = set(wanted)
        entries = list(self._reading.entries_at(wanted))
        for index, data in entries:
            if data.startswith(_ERASED):
                yield self._erasure(index, data)
        for index, data in entries:
            missing.discard(index)
            entry = self._entry(index, data, paths[index])
            self.told.replay.apply(index, data)
            self.told.entries.append(entry)
            yield File(f"ledger/entries/{index}.json", data)
            proof = InclusionProof(index, paths[index], self._note).encode()
            yield File(f"ledger/proofs/{index}.tlog-proof", proof.encode())
        if missing:
            raise LedgerError(f"entry {min(missing)} is missing from the ledger", advice=ADVICE)

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

    def _erasure(self, index: int, data: bytes) -> File:
        found = sorted(self._reading.erasure(index))
        if not proves(read_entry(data), found):
            raise alarm(f"erasure {index}", "what passes for erased is not what the ledger says")
        self._replaced |= {one.before: one.after for one in found}
        return File(f"erasures/{index}.json", canonical.encode([list(one) for one in found]))

    def _require_erasures(self, digests: Iterable[str]) -> None:
        """Refuse to go on where somebody was erased since the export was recorded."""
        since = self._reading.erasures_of(digests) - set(self.told.exported.entries)
        if since:
            raise Conflict(
                f"somebody was erased while it was collected (entry {min(since)})",
                advice="Ask for the bundle again.",
            )

    def _opened(self, document: dict[str, Any]) -> ToldEntry:
        texts: dict[str, str | None] = {"actor": None, "reason": None}
        found = self._reading.openings(c for c in (document[key] for key in texts) if c)
        for key in texts:
            opening = found.get(document[key] or "")
            if opening is None:
                texts[key] = self._pseudonym(document[key]) if document[key] else None
                continue
            if not opens(document[key], opening.salt, opening.text):
                raise VerificationError(
                    f"entry {document['index']}: the {key} was changed in the database: it does "
                    "not open its commitment",
                    advice=ADVICE,
                )
            texts[key] = opening.text
            if not self.told.persons.pseudonymous:
                sealed = {"salt": opening.salt.hex(), "text": opening.text}
                self._openings[document[key]] = sealed
        persons = self.told.persons
        persons.meet([texts["actor"]])
        if document["act"] == Act.DOWNLOAD_DENIED:
            document["facts"] = {}  # there may be very many, and one is like another
        return ToldEntry(document, persons.told(texts["actor"]), persons.reason(texts["reason"]))

    def _opening_of(self, commitment: str) -> str | None:
        opening = self._reading.openings([commitment]).get(commitment)
        return self._pseudonym(commitment) if opening is None else opening.text

    def _pseudonym(self, commitment: str) -> str | None:
        if commitment not in self._replaced:
            self._require_erasures([commitment])
            raise alarm(f"the text behind {commitment}", "it is gone, and no erasure took it")
        return self._replaced[commitment] or None

    def _given(self, path: str, data: bytes, *, may: bool = True) -> Iterator[File]:
        if may and self.told.persons.may_leave(data):
            yield File(path, data)
        else:
            self.told.left_out.append((path, NAMED))


def checked(data: bytes | None, digest: str, what: str) -> bytes:
    """Stored bytes, if they are those that were stored.

    Raises:
        VerificationError: they are not, or they are gone.
    """
    if data is None:
        raise alarm(what, f"its bytes of {digest} were removed from the database")
    if of_bytes(data) != digest:
        raise alarm(what, f"its bytes were changed in the database: they are not of {digest}")
    return data


def alarm(what: str, found: str) -> VerificationError:
    """What stops an export: something is not what was stored."""
    return VerificationError(f"integrity alarm: {what}: {found}", advice=ADVICE)
