"""A registry in one process that lives: starts, changes its key, exports; and random lives."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from mlflow_governance.audit.export import KeptCheckpoint, export_ledger
from mlflow_governance.core.actor import Actor
from mlflow_governance.core.dossier import Outcome
from mlflow_governance.core.event import Act, Event
from mlflow_governance.core.model_ref import VersionRef
from mlflow_governance.core.person import Person
from mlflow_governance.core.stage import Stage
from mlflow_governance.errors import GovernanceError
from mlflow_governance.evidence.interface import EvidenceItem, Kind
from mlflow_governance.evidence.keys import load_private_key
from mlflow_governance.ledger import checkpoint
from mlflow_governance.ledger.handover import KeyHistory
from mlflow_governance.ledger.note import Ed25519Signer
from mlflow_governance.store import mlflow_tables as theirs
from mlflow_governance.store.checkpoint_book import SqlCheckpointBook
from mlflow_governance.store.unit_of_work import SqlStore
from mlflow_governance.workflows.admit import admit
from mlflow_governance.workflows.approve import approve
from mlflow_governance.workflows.attach import attach
from mlflow_governance.workflows.download_count import DownloadCount
from mlflow_governance.workflows.download_options import DownloadEntries
from mlflow_governance.workflows.ports import Request
from mlflow_governance.workflows.privacy import Erasure, Office, erase
from mlflow_governance.workflows.promote import rejudge, transition
from mlflow_governance.workflows.rejudge import rejudge_all
from mlflow_governance.workflows.start import record_start
from mlflow_governance.workflows.withdraw import withdraw
from tests.unit.audit.bundle_builders import Audited, Bundle
from tests.unit.ledger.builders import signer
from tests.unit.workflows.builders import ALICE, EVE, NOBODY, PIA, ROOT, SAM

PEOPLE = [ALICE, SAM, PIA, EVE, ROOT, NOBODY]
AWAY = {Kind.CANARY: Outcome.missing("no canary ran")}


class Living(Audited):
    """A registry, its exports, and its changes of key."""

    def __init__(self, folder: Path, **options: Any) -> None:
        super().__init__(folder, **options)
        self.first = self.signer

    @property
    def vkey(self) -> str:
        """The ledger's first key."""
        return self.first.key.encode()

    def start(self) -> None:
        """As a server starts, without its settings."""
        public = load_private_key(self.folder / "registry.pem").public
        record_start(self.ports, {"keys": {"ledger": self.vkey, "registry": public.key_id}})

    def act(self, act: Act, **facts: Any) -> int:
        """An entry about the registry itself; returns its index."""
        with self.ports.store.begin() as uow:
            return uow.record(Event(act, "os:root", self.ports.clock(), facts=facts))

    def rotate(self) -> Ed25519Signer:
        """Hand the ledger over to a key made now."""
        heir = signer(self.signer.name)
        with self.ports.store.begin() as uow:
            uow.hand_over(Event(Act.LEDGER_REKEYED, "os:root", self.ports.clock()), heir)
        self.go_on(heir)
        return heir

    def erase(self, person: str) -> int | None:
        """Erase a person; returns the index of the entry."""
        office = Office(self.ports.store, self.ports.signer, self.ports.clock)  # type: ignore[arg-type]
        operator = Actor("os:ops", authenticated=True)
        return erase(office, Erasure(Person.known_as(person), operator, "request 17")).index

    def go_on(self, key: Ed25519Signer) -> None:
        """Sign with this key from now on."""
        self.signer = key
        self.ports = replace(self.ports, store=SqlStore(self.sessions, ledger_signer=key))

    def forget_row(self, ref: VersionRef) -> None:
        """MLflow's row of a version that was deleted goes."""
        table = theirs.model_versions
        self.run(sa.delete(table).where(table.c.name == ref.name, table.c.version == ref.version))

    def keep(self) -> str:
        """Keep the head, as the worker does from time to time."""
        note = self.ledger.head()
        self.ledger.add_checkpoint(note)
        return note

    def export(self, folder: Path, *more: str) -> Path:
        """Export the ledger, with every checkpoint kept."""
        self.act(Act.LEDGER_EXPORTED, size=checkpoint.parse(self.ledger.head()).size)
        keys = KeyHistory((self.first.key,)).following(self.ledger.handovers())
        notes = [one.note for one in SqlCheckpointBook(self.sessions).all()]
        export_ledger(self.ledger, folder, keys, map(KeptCheckpoint, [*notes, *more]))
        return folder


class Life:
    """Random acts by random people, allowed and not."""

    def __init__(self, registry: Living, seed: int) -> None:
        self.registry, self.draw = registry, random.Random(seed)
        self.refs: list[VersionRef] = []
        self.taken: list[Bundle] = []
        registry.start()
        self.new_count()

    def live(self, acts: int) -> None:
        """So many acts; refusals are part of life."""
        self.register()
        for _ in range(acts):
            with suppress(GovernanceError):
                self.draw.choice(self.rules())()
        with suppress(GovernanceError):
            self.count.flush()

    def rules(self) -> list[Callable[[], object]]:
        forward = [self.promote] * 8 + [self.say] * 8
        return [*forward, self.register, self.register, self.withdraw, self.back, self.attach,
                self.download, self.download, self.rejudge, self.alias, self.delete, self.canary,
                self.again, self.rotate, self.erase, self.take, self.registry.start]  # fmt: skip

    def new_count(self) -> None:
        ports = self.registry.ports
        self.count = DownloadCount(ports.store, DownloadEntries(), ports.clock)
        self.registry.ports = replace(ports, permitted=self.count)

    def request(self, reason: str = "because") -> Request:
        return Request(self.draw.choice(PEOPLE), self.draw.choice(self.refs), reason)

    def there(self, ref: VersionRef) -> bool:
        with self.registry.ports.store.read() as reading:
            return reading.version(ref) is not None

    def register(self) -> None:
        number = len(self.refs) + 1
        if number > 4:
            return
        name = self.draw.choice(["churn", "Ünïc.ode", ".hidden"])
        ref = self.registry.register(name, number, location=self.draw.choice(["", "shared"]))
        self.refs.append(ref)
        if self.draw.random() < 0.7:
            self.registry.settle(ref)

    def promote(self) -> None:
        request = self.request("")
        if not self.there(request.ref):
            return
        stages = {Stage.NONE: Stage.CANDIDATE, Stage.CANDIDATE: Stage.STAGING,
                  Stage.STAGING: Stage.APPROVED, Stage.APPROVED: Stage.DEPRECATED}  # fmt: skip
        wanted = stages.get(self.registry.record(request.ref).stage, Stage.APPROVED)
        transition(self.registry.ports, request, wanted)

    def say(self) -> None:
        decision = self.draw.choice(["approve", "approve", "approve", "reject", "withdraw"])
        request = self.request()
        actor = self.draw.choice([SAM, PIA, request.actor])
        role = (actor.roles or ("security",))[0]
        approve(self.registry.ports, replace(request, actor=actor), role, decision)

    def withdraw(self) -> None:
        to = self.draw.choice([Stage.QUARANTINED, Stage.QUARANTINED, Stage.REVOKED])
        withdraw(self.registry.ports, self.request("an incident"), to)

    def back(self) -> None:
        request = self.request("it was nothing")
        if not self.there(request.ref):
            return
        origin = self.registry.record(request.ref).quarantined_from
        if origin is not None:
            withdraw(self.registry.ports, replace(request, actor=SAM), origin)

    def attach(self) -> None:
        item = EvidenceItem(f"attestations/{self.draw.randint(0, 3)}.intoto.json",
                            b'{"n": %d}' % self.draw.randint(0, 9))  # fmt: skip
        attach(self.registry.ports, self.request(), item)

    def download(self) -> None:
        admit(self.registry.ports, self.request(), "registry")

    def rejudge(self) -> None:
        if self.draw.random() < 0.5:
            rejudge(self.registry.ports, self.request())
        else:
            list(rejudge_all(self.registry.ports, (Stage.STAGING, Stage.APPROVED)))

    def alias(self) -> None:
        self.registry.alias(self.draw.choice(self.refs), self.draw.choice(["champion", "next"]))

    def delete(self) -> None:
        if len(self.refs) > 1:
            self.registry.delete(self.draw.choice(self.refs))

    def canary(self) -> None:
        self.registry.outcomes.spoiled = self.draw.choice([{}, {}, AWAY])

    def again(self) -> None:
        """Registered once more under the name and number of one that was deleted."""
        ref = self.draw.choice(self.refs)
        if self.there(ref):
            return
        self.registry.forget_row(ref)
        self.registry.register(ref.name, ref.version, location=self.draw.choice(["", "shared"]))

    def rotate(self) -> None:
        if self.draw.random() < 0.3:
            self.count.flush()
            self.registry.rotate()
            self.new_count()

    def erase(self) -> None:
        if self.draw.random() < 0.3:
            self.registry.erase(self.draw.choice(["alice", "sam", "pia", "eve"]))

    def take(self) -> None:
        hidden = self.draw.random() < 0.3
        self.taken.append(self.registry.take(self.draw.choice(self.refs), pseudonymous=hidden))
