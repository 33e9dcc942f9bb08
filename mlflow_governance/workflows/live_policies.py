"""The policy of a running process: it follows the database, and brings in what its source has.

One snapshot is replaced by the next in one assignment, when the next is compiled already: nobody
waits for a change, and no answer comes of two bundles.

The rule that no two replicas can quarrel: *the source's bundle comes into force only if it never
was before.* Each replica may have another source, or an older one; a bundle that was in force
returns by ``policy activate`` alone. A change of the source counts when two looks in a row found
the same, so that a folder in the midst of being written is left alone.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from mlflow_governance.core.digest import Digest, of_bytes
from mlflow_governance.errors import (
    ConfigurationError,
    GovernanceError,
    LedgerError,
    Unavailable,
    VerificationError,
)
from mlflow_governance.policy import bundle as bundles
from mlflow_governance.policy.bundle import Bundle
from mlflow_governance.policy.embedded import EmbeddedEngine
from mlflow_governance.policy.interface import EngineError, PolicyEngine, PolicyInForce
from mlflow_governance.workflows.policy import (
    FIRST,
    POLICY,
    SOURCE,
    Change,
    PolicyChanged,
    bring_into_force,
)
from mlflow_governance.workflows.policy_approval import settle_waiting
from mlflow_governance.workflows.policy_change import Board, record_refusal
from mlflow_governance.workflows.policy_ports import PolicySource, Quorum, SourceReport
from mlflow_governance.workflows.policy_verdict import Verdict, weigh_bundle
from mlflow_governance.workflows.ports import Reading, Store
from mlflow_governance.workflows.proven_policy import require_in_force

_log = logging.getLogger(__name__)
_AT_ONCE_SECONDS = 1.0
"""Between two looks that somebody asks for: a policy server that serves something else must not
have the source fetched for every decision."""


@dataclass(frozen=True)
class Engines:
    """Makes engines.

    Args:
        make: the engine of this installation for a bundle.
        remote: it is a policy server, which has bundles of its own.
    """

    make: Callable[[Bundle], PolicyEngine]
    remote: bool = False


class LivePolicies:
    """``workflows.ports.Policies`` of a running process. Safe to share between threads.

    Args:
        store: the database.
        source: where bundles come from.
        engines: what evaluates them.
        clock: the time.
        every: seconds between two looks at the source.
        quorum: who must approve a bundle; None takes the source's.
        grace: how long what was released under a bundle is served after it was replaced.
    """

    def __init__(  # noqa: PLR0913  (keyword-only parts)
        self,
        *,
        store: Store,
        source: PolicySource,
        engines: Engines,
        clock: Callable[[], datetime],
        every: float = 5.0,
        quorum: Quorum | None = None,
        grace: timedelta = timedelta(),
    ) -> None:
        self._board = Board(store, self, clock, quorum)
        self._source, self._engines, self._every = source, engines, every
        self._grace = grace
        self._loading = threading.Lock()
        self._looking = threading.Lock()
        self._looked = float("-inf")
        self._seen: object = None
        self._told: set[Digest] = set()
        self._report = SourceReport(source.name)
        self._policy: PolicyInForce | None = None

    @property
    def source(self) -> PolicySource:
        """Where bundles come from."""
        return self._source

    def start(self) -> PolicyInForce:
        """Load what is in force; at the very first start that is what the source has.

        A start is the operator's own act, so what the source has counts at once. A source that
        cannot be used stops no start as long as something is in force.

        Raises:
            GovernanceError: nothing is in force, and the source has nothing that can be.
            LedgerError: what is in force is not what the ledger says.
        """
        problem: GovernanceError | None = None
        try:
            self._follow()
        except LedgerError:
            raise  # what the source has must not take the place of what was taken away
        except GovernanceError as error:
            problem = error
            _log.error("the policy in force cannot be loaded: %s", error)
        with self._looking:
            self._look(patient=False)
        if self._policy is None:
            raise problem or ConfigurationError(
                f"no policy can come into force: {self._report.note}",
                advice="Check it: mlflow-governance policy check --bundle FOLDER",
            )
        return self._policy

    def current(self) -> PolicyInForce:
        """What this process knows to be in force."""
        return self._policy or self.start()

    def at(self, digest: Digest | None) -> PolicyInForce:
        """What is in force where the database was just seen to say ``digest``.

        Raises:
            GovernanceError: the bundle in force cannot be loaded here, so nothing is decided.
        """
        known = self.current()
        if time.monotonic() - self._looked > self._every:
            self._look_aside()
        return known if digest in (None, known.digest) else self._follow() or known

    def refresh(self) -> PolicyInForce:
        """Look at the database and the source now; what is new there comes into force."""
        known = self._follow()
        with self._looking:
            if time.monotonic() - self._looked > _AT_ONCE_SECONDS:
                self._look(patient=not self._engines.remote)
        return self._policy or known or self.start()

    def prepare(self, bundle: Bundle) -> PolicyInForce:
        """Compile a bundle; one that a policy server evaluates is compiled here as well.

        Raises:
            ConfigurationError: it does not compile, lacks a gate, or says yes to nothing.
        """
        # Making the engine tries the bundle in a process of its own; only then is it parsed here.
        engine = self._engines.make(bundle)
        if self._engines.remote:
            EmbeddedEngine(bundle)
        return PolicyInForce(engine, bundle)

    def serves(self, policy: PolicyInForce) -> bool:
        """False until the policy server has answered with this bundle, whatever the hindrance."""
        if not self._engines.remote:
            return True
        from mlflow_governance.core.dossier import Gate

        try:
            policy.engine.evaluate(Gate.DOWNLOAD, b"{}")
        except EngineError:
            return False
        return True

    def report(self) -> SourceReport:
        """What the last look at the source found."""
        return self._report

    def look(self) -> None:
        """Look at the source, if it is time; problems are logged and reported, never raised."""
        if time.monotonic() - self._looked > self._every:
            self._look_in_turn()

    def _look_aside(self) -> None:
        # Nobody who asks for a decision waits for the source.
        if not self._looking.locked():
            threading.Thread(target=self._look_in_turn, name="policy-source", daemon=True).start()

    def _look_in_turn(self) -> None:
        if not self._looking.acquire(blocking=False):
            return
        try:
            if time.monotonic() - self._looked > self._every:
                self._follow()
                self._look(patient=True)
        except Exception:
            _log.exception("the policy source could not be looked at")
        finally:
            self._looking.release()

    def _follow(self) -> PolicyInForce | None:
        """Load what the database says is in force; None before the very first start."""
        with self._loading:
            with self._board.store.read() as reading:
                said = reading.in_force(POLICY)
                known = self._policy
                if known is not None and said in (None, known.digest):
                    return known
                require_in_force(self._board.store, reading, said)
                if said is None:
                    return None
                archive = reading.policy_archive(said)
                former = self._former(reading)
            if archive is None:
                raise VerificationError(
                    f"policy {said} is in force and was not kept",
                    advice="Restore the database from a backup; see: mlflow-governance validate",
                )
            self._policy = replace(self.prepare(bundles.kept_as(archive, said)), former=former)
            _log.warning("policy %s is in force", said)
            return self._policy

    def _former(self, reading: Reading) -> Mapping[Digest, datetime]:
        return {digest: at + self._grace for digest, at in reading.former_policies()}

    def _look(self, *, patient: bool) -> None:
        try:
            if self._board.quorum is None or self._policy is None:
                note = self._offer(patient=patient)
            else:
                settle_waiting(self._board)
                note = self._compare()
            if note and note != self._report.note:
                _log.warning("the policy of %s is not in force: %s", self._source.name, note)
            self._report = SourceReport(self._source.name, self._found(), note)
            if self._policy is not None:
                self._follow()
        except PolicyChanged:
            self._follow()  # another process was faster
        finally:
            self._looked = time.monotonic()

    def _found(self) -> Digest | None:
        return self._seen.digest if isinstance(self._seen, Bundle) else None

    def _compare(self) -> str:
        note = self._fetch()
        bundle = self._seen
        if note or not isinstance(bundle, Bundle) or bundle.digest == self.current().digest:
            return note
        with self._board.store.read() as reading:
            kept = reading.kept_policy(bundle.digest)
        if kept is not None:
            return (
                f"{bundle.digest} was in force before; to return to it: "
                f"mlflow-governance policy propose {bundle.digest} --reason WHY"
            )
        return f"{bundle.digest} is not approved: mlflow-governance policy propose --reason WHY"

    def _fetch(self) -> str:
        try:
            self._seen = self._source.fetch()
        except GovernanceError as error:
            self._seen = error
            return error.message
        return ""

    def _offer(self, *, patient: bool) -> str:
        """Have the source's bundle come into force if it is new; says why it does not."""
        before = _mark(self._seen)
        self._fetch()
        if isinstance(self._seen, Unavailable):
            return self._seen.message
        if patient and _mark(self._seen) != before:
            return self._report.note  # perhaps it is being written; look once more
        known, found = self._policy, self._seen
        if known is not None and isinstance(found, Bundle):
            if found.digest == known.digest:
                return ""
            with self._board.store.read() as reading:
                kept = reading.kept_policy(found.digest)
            if kept is not None:
                return (
                    f"{found.digest} was in force before; to return to it: "
                    f"mlflow-governance policy activate {found.digest} --reason WHY"
                )
        if _mark(found) in self._told:
            return self._report.note
        verdict = weigh_bundle(self, self._load_seen, known.digest if known else None)
        return self._bring(verdict, known) if verdict.allow else self._refuse(verdict)

    def _load_seen(self) -> Bundle:
        if isinstance(self._seen, Bundle):
            return self._seen
        assert isinstance(self._seen, GovernanceError)  # noqa: S101  (nothing else is kept)
        raise self._seen

    def _bring(self, verdict: Verdict, known: PolicyInForce | None) -> str:
        policy = verdict.policy
        assert policy is not None  # noqa: S101  (allowed)
        if known is not None and not self.serves(policy):
            return (
                f"the policy server does not serve {policy.digest} yet; "
                "whether it answers at all says: mlflow-governance doctor"
            )
        change = Change(
            bundle=policy.bundle,
            before=known.digest if known else None,
            how=SOURCE if known else FIRST,
            decision=verdict.document,
        )
        with self._board.store.begin() as uow:
            bring_into_force(uow, self._board.clock(), change)
            former = self._former(uow)
        with self._loading:
            self._policy = replace(policy, former=former)
        _log.warning("policy %s is in force, from %s", policy.digest, self._source.name)
        return ""

    def _refuse(self, verdict: Verdict) -> str:
        mark = _mark(self._seen)
        if mark not in self._told and self._policy is not None:
            with self._board.store.begin() as uow:
                record_refusal(self._board, uow, verdict)
        self._told.add(mark)
        return verdict.told


def _mark(seen: object) -> Digest:
    if isinstance(seen, Bundle):
        return seen.digest
    return of_bytes(seen.message.encode() if isinstance(seen, GovernanceError) else b"")
