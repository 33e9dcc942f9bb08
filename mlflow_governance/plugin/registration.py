"""Registration and adoption: how a version comes under governance."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from mlflow_governance.core.model_ref import VersionRef
from mlflow_governance.core.stage import WITHDRAWN, Stage
from mlflow_governance.errors import Conflict, Denied, NotFound, VerificationError
from mlflow_governance.plugin import compat
from mlflow_governance.plugin.assembly import Assembly
from mlflow_governance.plugin.path_guard import at_and_above
from mlflow_governance.plugin.refusals import refusing
from mlflow_governance.plugin.reserved import without_reserved
from mlflow_governance.workflows.accept import register, settle
from mlflow_governance.workflows.administer import register_ungoverned
from mlflow_governance.workflows.admit import admit
from mlflow_governance.workflows.ports import Request, VersionRecord
from mlflow_governance.workflows.record import subject_of
from mlflow_governance.workflows.refuse import Refused, refuse

if TYPE_CHECKING:
    from typing import Any as _Base  # MLflow ships no types, and GovernedStore stands on us
else:
    _Base = object

_log = logging.getLogger(__name__)
_PENDING = "PENDING_REGISTRATION"


class Registration(_Base):
    """What ``GovernedStore`` does when a version is created or adopted."""

    governance: Assembly

    @refusing
    def create_model_version(  # noqa: PLR0913  (MLflow's signature)
        self,
        name: str,
        source: str,
        run_id: str | None = None,
        tags: Any = None,
        run_link: str | None = None,
        description: str | None = None,
        local_model_path: str | None = None,
        model_id: str | None = None,
    ) -> ModelVersion:
        """Register a version at stage None, then hash and judge it."""
        kept = without_reserved(tags)

        def create() -> ModelVersion:
            return super(Registration, self).create_model_version(
                name, source, run_id, kept, run_link, description, local_model_path, model_id
            )

        if self._is_prompt(name):
            return create()
        location = self._location(source)
        pattern = self.governance.ports.rules.exclusion(name)
        if pattern is not None:
            return self._leave_to_mlflow(name, pattern, create)
        later, rules = self._is_large(location), self.governance.ports.rules
        actor = self.governance.identity.current()

        def create_row() -> tuple[VersionRef, str]:
            # Again: writers take turns, and this is ours.
            if compat.named_version(source) is None and self._nested(location) is not None:
                raise Conflict("files inside or around these were registered meanwhile")
            version = create()
            ref = self._ref(name, version.version)
            if later:
                self._set_pending(ref)
            return ref, location

        record = register(
            self.governance.ports, lambda ref: Request(actor, ref), create_row, later=later
        )
        if not later:
            self._settle(Request(actor, record.ref), strict=rules.strict_registration)
        return super().get_model_version(name, record.ref.version)

    def _leave_to_mlflow(
        self, name: str, pattern: str, create: Callable[[], ModelVersion]
    ) -> ModelVersion:
        def created() -> tuple[VersionRef, ModelVersion]:
            version = create()
            return self._ref(name, version.version), version

        governance = self.governance
        actor = governance.identity.current()
        return register_ungoverned(governance.ports, actor, pattern, created)

    def _is_large(self, location: str) -> bool:
        try:
            size = self.governance.artifacts.size(location)
        except VerificationError:
            return False  # an unsafe file: no work is lost, and judging says which one
        return size > self.governance.ports.rules.sync_limit_bytes

    def _settle(self, request: Request, *, strict: bool) -> None:
        try:
            judgement = settle(self.governance.ports, request)
        except Exception:
            if strict:
                raise
            _log.exception("%s stands at None; the worker judges it again", request.ref)
            return
        if strict and not judgement.decision.allow:
            self._delete(request)
            raise judgement.refuse(f"the registration of {request.ref.name!r} was refused")

    def _location(self, source: str) -> str:
        named = compat.named_version(source)
        if named is None:
            if (logged := compat.logged_model(source)) is not None:
                compat.warm_client_store(logged)
            location = self.governance.artifacts.locate(source)
            self._refuse_taken(location)
            return location
        # A copy of a governed version: its bytes must be permitted to whoever copies them.
        return str(self._admit(self._ref(*named)).location)

    def _refuse_taken(self, location: str) -> None:
        # Registering a directory again must not open it: its bytes have to be permitted already.
        ports, actor = self.governance.ports, self.governance.identity.current()
        if (other := self._nested(location)) is not None:
            refuse(
                ports,
                actor,
                Refused("register", subject_of(other)),
                f"these files lie inside or around those of {other.ref}",
                "Log the model to a folder of its own, and register that.",
            )
        with ports.store.read() as reading:
            others = reading.versions_at([location])
        for other in others:
            if other.stage not in WITHDRAWN:
                admit(ports, Request(actor, other.ref), "artifact")

    def _nested(self, location: str) -> VersionRecord | None:
        # What is attached to one would be a changed file of the other, and neither verdict would
        # be about a whole model any more.
        with self.governance.ports.store.read() as reading:
            around = reading.versions_around(at_and_above(location), [location])
        return next((other for other, _ in around if other.location != location), None)

    def _set_pending(self, ref: VersionRef) -> None:
        with self.ManagedSessionMaker(read_only=False) as session:
            row = self._get_sql_model_version(session, ref.name, ref.version)
            row.status = _PENDING
            row.status_message = "governance: the worker is hashing and judging this model"

    def adopt(self, ref: VersionRef) -> None:
        """Take responsibility for a version MLflow already has.

        Whatever stage it had, it starts at None; who submitted it is unknown, so it can be
        tested and staged, and has to be registered again to be approved.

        Raises:
            NotFound: MLflow does not know it either.
            Denied: the actor is neither an administrator nor of the role ``security``.
            Conflict: it is a prompt.
        """
        actor = self.governance.identity.current()
        if not actor.authenticated or not (actor.admin or "security" in actor.roles):
            raise Denied(
                f"{ref} is not governed, and {actor.person} may not adopt it",
                advice=f"An administrator can: mlflow-governance judge {ref}",
            )
        try:
            version = super().get_model_version(ref.name, ref.version)
        except MlflowException as error:
            raise NotFound(f"MLflow knows no version {ref}: {error.message}") from error
        if self._is_prompt(ref.name):
            raise Conflict(f"{ref.name!r} is a prompt; prompts are not governed")
        location = self._location(version.source)

        def row() -> tuple[VersionRef, str]:
            self._reset_stage(ref)
            return ref, location

        register(
            self.governance.ports,
            lambda r: Request(actor, r),
            row,
            later=False,
            adopted_from=version.current_stage,
        )

    def _reset_stage(self, ref: VersionRef) -> None:
        # What an ungoverned registry called Production was never judged by anybody.
        with self.ManagedSessionMaker(read_only=False) as session:
            row = self._get_sql_model_version(session, ref.name, ref.version)
            row.current_stage = Stage.NONE.value
