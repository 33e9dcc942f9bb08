"""The evidence bundle: one archive that an auditor takes home and verifies there.

::

    README.txt                       what it is, and the command that verifies it
    verify.py                        the verifier, in one file
    report.html, report.pdf          the answer, for people
    manifest.json                    {schema, of, made_at, registry, ledger, files: {path: digest}}
    manifest.dsse                    the registry's signature over manifest.json
    keys/ledger.vkeys, registry.pub  to be compared with keys from elsewhere
    trust.yaml                       who may sign what
    ledger/checkpoint, handovers/, entries/, proofs/
    decisions/, dossiers/, policies/, erasures/, openings.json, approvals.json
    versions/<name>/<number>/        manifest.json, evidence/…, attached/…

The same record gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from typing import BinaryIO

from mlflow_governance.audit import controls, html, pdf, report
from mlflow_governance.audit.archive import Archive
from mlflow_governance.audit.content import visible
from mlflow_governance.core import canonical, moment
from mlflow_governance.core.digest import Digest, of_bytes
from mlflow_governance.core.event import Act
from mlflow_governance.errors import ConfigurationError
from mlflow_governance.evidence import envelope
from mlflow_governance.evidence.keys import PrivateKey
from mlflow_governance.ledger.entry import read_entry
from mlflow_governance.ledger.handover import KeyHistory
from mlflow_governance.workflows.evidence_bundle import Collection
from mlflow_governance.workflows.evidence_export import (
    Asked,
    Exported,
    record_export,
    require_auditor,
)
from mlflow_governance.workflows.evidence_ledger import NAMED
from mlflow_governance.workflows.evidence_ports import EvidenceStore
from mlflow_governance.workflows.evidence_told import Told
from mlflow_governance.workflows.explain import kept_bundle
from mlflow_governance.workflows.policy import POLICY

SCHEMA = 1
PAYLOAD_TYPE = "application/vnd.mlflow-governance.evidence+json"
VERIFIER = "verify.py"
_ONE_FILE = "verifier.py"


@dataclass(frozen=True)
class Made:
    """An archive that was written.

    Args:
        index: the ledger entry that says so.
        files: how many files it holds.
        manifest: the digest of its ``manifest.json``, which names every other file.
        answer: what the report opens with.
    """

    index: int
    files: int
    manifest: Digest
    answer: str


@dataclass(frozen=True)
class Exporter:
    """Makes evidence bundles.

    Args:
        store: the registry's tables.
        clock: what time it is.
        registry: the registry's name.
        ledger_keys: public keys of the ledger, with their handovers.
        signer: gives the registry's own key.
        trust: gives who may sign what, as YAML.
        own_controls: the folder of the installation's own mappings to controls.
        stamp: gives the RFC 3161 time stamp of a checkpoint, if there is one.
    """

    store: EvidenceStore
    clock: Callable[[], datetime]
    registry: str
    ledger_keys: KeyHistory
    signer: Callable[[], PrivateKey]
    trust: Callable[[], bytes]
    own_controls: Path
    stamp: Callable[[str], bytes | None] = lambda note: None

    def export(self, asked: Asked, to: BinaryIO) -> Made:
        """Record the export, and write the archive.

        Raises:
            Denied: the person is no auditor; that is recorded.
            NotFound: there never was such a version.
            ConfigurationError: the registry's key is another one than it started with.
        VerificationError: something in the database is not what was stored; it is named.
            Conflict: something happened to the version meanwhile.
        """
        now = self.clock()
        require_auditor(self.store, asked, now)
        frameworks, trust, signer = self._frameworks(), self.trust(), self.signer()
        self._refuse_other_key(signer)
        exported = record_export(self.store, asked, now)
        with Archive(to) as archive:
            told = self._collect(archive, exported)
            archive.add("keys/registry.pub", signer.public.pem.encode())
            if told.persons.may_leave(trust):
                archive.add("trust.yaml", trust)
            else:
                told.left_out.append(("trust.yaml", NAMED))
            answer = self._for_people(archive, told, frameworks)
            manifest = self._manifest(archive, told)
            archive.add("manifest.json", manifest)
            archive.add("manifest.dsse", envelope.sign(manifest, PAYLOAD_TYPE, [signer]))
        return Made(exported.index, len(archive.files), of_bytes(manifest), answer)

    def _collect(self, archive: Archive, exported: Exported) -> Told:
        with self.store.read() as reading:
            collection = Collection(reading, exported, self.ledger_keys)
            for file in collection.files():
                archive.add(*file)
            archive.add("keys/ledger.vkeys", collection.keys.encode().encode())
            stamp = self.stamp(reading.head())
        if stamp is not None:
            archive.add("ledger/checkpoint.tsr", stamp)
        return collection.told

    def _frameworks(self) -> list[controls.Framework]:
        # Read before anything is recorded: a file with a mistake in it must not leave a trace of
        # an export that was none.
        with self.store.read() as reading:
            said = reading.in_force(POLICY)
            kept = kept_bundle(reading, said) if said else None
        return controls.load(self.own_controls, [kept] if kept else [])

    def _refuse_other_key(self, signer: PrivateKey) -> None:
        # The verifier believes the key that the ledger says the registry started with last.
        with self.store.read() as reading:
            started = dict(reading.entries_at(reading.indices_of((Act.REGISTRY_STARTED,))[-1:]))
        for data in started.values():
            named = read_entry(data)["facts"].get("keys", {}).get("registry", signer.public.key_id)
            if named != signer.public.key_id:
                raise ConfigurationError(
                    f"the registry started with the key {named}, and {signer.public.key_id} is "
                    "here: nobody could verify the archive",
                    advice="Start the server with the key that signs: mlflow-governance server",
                )

    def _for_people(
        self, archive: Archive, told: Told, frameworks: Sequence[controls.Framework]
    ) -> str:
        found = report.build(told, frameworks, self.registry)
        archive.add("report.html", html.render(found))
        archive.add("report.pdf", pdf.render(found))
        verifier = one_file_verifier()
        if verifier is not None:
            archive.add(VERIFIER, verifier)
        archive.add("README.txt", _readme(told.exported, self.registry, found.answer).encode())
        return found.answer

    def _manifest(self, archive: Archive, told: Told) -> bytes:
        return canonical.encode(
            {
                "schema": SCHEMA,
                "of": told.exported.asked.of.to_document(),
                "made_at": moment.to_text(told.exported.at),
                "registry": self.registry,
                "ledger": {"origin": told.origin, "size": told.size},
                "files": dict(sorted(archive.files.items())),
            }
        )


def one_file_verifier() -> bytes | None:
    """The verifier that goes into every archive; None in an installation without it."""
    path = files("mlflow_governance.audit") / _ONE_FILE
    return path.read_bytes() if path.is_file() else None


def default_name(asked: Asked) -> str:
    """What a file with the bundle is called when nobody says."""
    plain = "".join(c if c.isalnum() or c in "-._" else "-" for c in str(asked.of))
    return f"evidence-{plain.strip('.-')[:80] or 'bundle'}.zip"


def _readme(exported: Exported, registry: str, answer: str) -> str:
    return f"""\
Evidence of {visible(str(exported.asked.of))}

{visible(answer)}

Made by the registry {visible(registry)} at {moment.to_text(exported.at)},
which its ledger says in entry {exported.index}.

Read report.html or report.pdf: both say the same.

Verify it without the registry, on any machine with Python and the package "cryptography":

    {report.COMMAND}

LEDGER_KEY is a file with any public key the registry's ledger ever had, as you got it from the
registry's operators. Take it from there and not from keys/ of this archive: whoever could change
the archive could change those, too. Every other key is found from that one.
"""
