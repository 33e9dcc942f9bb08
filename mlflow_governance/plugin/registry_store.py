"""MLflow's registry store, governed.

A mixin over both of MLflow's SQL stores. Every method that changes the registry or discloses
where bytes are goes through a workflow; everything else is MLflow's own.
"""

from __future__ import annotations

import os
from typing import Any

from mlflow.entities.model_registry import ModelVersion, RegisteredModelTag
from mlflow.entities.model_registry.model_version_stages import ALL_STAGES
from mlflow.store.model_registry.dbmodels.models import SqlModelVersion
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore
from mlflow.store.model_registry.sqlalchemy_workspace_store import WorkspaceAwareSqlAlchemyStore
from sqlalchemy import select

from mlflow_governance.core.model_ref import VersionRef
from mlflow_governance.core.stage import Stage
from mlflow_governance.errors import (
    Conflict,
    InvalidRequest,
    NotFound,
)
from mlflow_governance.plugin import compat
from mlflow_governance.plugin.assembly import Assembly
from mlflow_governance.plugin.disclosure import Disclosure
from mlflow_governance.plugin.names import Names
from mlflow_governance.plugin.refusals import refusing
from mlflow_governance.plugin.registration import Registration
from mlflow_governance.plugin.reserved import is_reserved, without_reserved
from mlflow_governance.plugin.sessions import JoinableSessions
from mlflow_governance.workflows.admit import admit
from mlflow_governance.workflows.ports import Request, VersionRecord
from mlflow_governance.workflows.promote import transition
from mlflow_governance.workflows.refuse import Refused, refuse

_READY = "READY"


class GovernedStore(Registration, Names, Disclosure):
    """The governed registry store.

    Args:
        store_uri: ``governance+<database URI>``.
        read_db_uri: MLflow's read replica; governance itself reads from the primary only.
    """

    ManagedSessionMaker: Any  # MLflow's attribute, replaced below

    def __init__(self, store_uri: str, read_db_uri: str | None = None) -> None:
        super().__init__(compat.plain_uri(store_uri), read_db_uri)
        self.sessions = JoinableSessions(self.ManagedSessionMaker, self.engine)
        self.ManagedSessionMaker = self.sessions.for_mlflow
        self.governance = Assembly.build(self.engine, self.sessions)

    # Registration -----------------------------------------------------------------------------

    @refusing
    def create_registered_model(
        self, name: str, tags: Any = None, description: Any = None, **rest: Any
    ) -> Any:
        """MLflow's own; tags in our name space are dropped."""
        return super().create_registered_model(name, without_reserved(tags), description, **rest)

    # Stages -----------------------------------------------------------------------------------

    @refusing
    def transition_model_version_stage(
        self, name: str, version: Any, stage: str, archive_existing_versions: bool
    ) -> ModelVersion:
        """Move a version; with ``archive_existing_versions`` deprecate the others afterwards."""
        ref = self._ref(name, version)
        if self._is_excluded(ref):
            if archive_existing_versions:
                self._refuse_to_archive_governed(ref)
            return super().transition_model_version_stage(
                name, version, stage, archive_existing_versions
            )
        target = Stage.parse(stage)
        if archive_existing_versions and target is not Stage.APPROVED:
            raise InvalidRequest(
                "archive_existing_versions is possible only with Approved (Production)"
            )
        actor, ports = self.governance.identity.current(), self.governance.ports
        transition(ports, Request(actor, ref, self._reason()), target)
        if archive_existing_versions:
            with ports.store.read() as reading:
                others = reading.versions(name, Stage.APPROVED, workspace=ref.workspace)
            for other in others:
                if other.ref != ref:
                    transition(ports, Request(actor, other.ref), Stage.DEPRECATED)
        return super().get_model_version(name, ref.version)

    def _refuse_to_archive_governed(self, ref: VersionRef) -> None:
        with self.governance.ports.store.read() as reading:
            governed = reading.versions(ref.name, workspace=ref.workspace, limit=1)
        if governed:
            raise InvalidRequest(
                f"{ref.name!r} has governed versions, which MLflow would archive past their gates",
                advice="Leave archive_existing_versions out.",
            )

    @staticmethod
    def _reason() -> str:
        # The stock client has no field for a reason; a pipeline may send one as a header.
        import flask

        if not flask.has_request_context():
            return ""
        return str(flask.request.headers.get("X-Governance-Reason", ""))[:2000]

    def get_latest_versions(self, name: str, stages: Any = None) -> list[ModelVersion]:
        """The newest version of each stage; governed stages and MLflow's words alike."""
        wanted = {Stage.parse(stage).value for stage in stages or Stage}
        if self.governance.ports.rules.exclusion(name) is not None:
            wanted |= {str(stage).capitalize() for stage in stages or ALL_STAGES}
        with self.ManagedSessionMaker() as session:
            model = self._get_registered_model(session, name)
            entity = model.to_mlflow_entity()
            latest = [v for v in entity.latest_versions or [] if v.current_stage in wanted]
            for version in latest:
                version.aliases = [
                    alias.alias
                    for alias in model.registered_model_aliases
                    if alias.version == version.version
                ]
        return self._told(latest)

    get_latest_versions = refusing(get_latest_versions)

    # Bytes ------------------------------------------------------------------------------------

    @refusing
    def get_model_version_download_uri(self, name: str, version: Any) -> str:
        """Where the bytes are, if the download gate permits."""
        ref = self._ref(name, version)
        status, location = self._status_and_location(ref)
        if status != _READY:
            raise Conflict(
                f"{ref} is still being verified ({status})",
                advice="Wait until its status is READY.",
            )
        if not self._is_excluded(ref):
            self._admit(ref)
        return str(location)

    def _status_and_location(self, ref: VersionRef) -> tuple[str, str]:
        table = SqlModelVersion
        query = select(table.status, table.storage_location, table.source).where(
            table.workspace == ref.workspace,
            table.name == ref.name,
            table.version == ref.version,
            table.current_stage != compat.DELETED_STAGE,
        )
        with self.sessions.for_us(read_only=True) as session:
            row = session.execute(query).first()
        if row is None:
            raise NotFound(f"Model Version (name={ref.name}, version={ref.version}) not found")
        return row.status, row.storage_location or row.source

    def _admit(self, ref: VersionRef) -> VersionRecord:
        actor = self.governance.identity.current(fresh=False)
        return admit(self.governance.ports, Request(actor, ref), "registry")

    # Tags -------------------------------------------------------------------------------------

    @refusing
    def set_model_version_tag(self, name: str, version: Any, tag: Any) -> None:
        """MLflow's own, except in our name space."""
        self._refuse_reserved("set tag", tag.key, {"name": name, "version": str(version)})
        super().set_model_version_tag(name, version, tag)

    @refusing
    def delete_model_version_tag(self, name: str, version: Any, key: str) -> None:
        """MLflow's own, except in our name space."""
        self._refuse_reserved("delete tag", key, {"name": name, "version": str(version)})
        super().delete_model_version_tag(name, version, key)

    @refusing
    def set_registered_model_tag(self, name: str, tag: RegisteredModelTag) -> None:
        """MLflow's own, except in our name space; models and prompts do not become each other."""
        self._refuse_reserved("set tag", tag.key, {"name": name})
        if tag.key == compat.IS_PROMPT_TAG and self._is_prompt(name) != _says_prompt(tag.value):
            raise InvalidRequest("a model is a prompt from its creation on, or never")
        super().set_registered_model_tag(name, tag)

    @refusing
    def delete_registered_model_tag(self, name: str, key: str) -> None:
        """MLflow's own, except in our name space; a prompt stays one."""
        self._refuse_reserved("delete tag", key, {"name": name})
        if key == compat.IS_PROMPT_TAG:
            raise InvalidRequest("a prompt cannot be turned into a model")
        super().delete_registered_model_tag(name, key)

    # Helpers ----------------------------------------------------------------------------------

    def _ref(self, name: str, version: Any) -> VersionRef:
        try:
            number = int(version)
        except (TypeError, ValueError) as error:
            raise InvalidRequest(f"not a version number: {str(version)[:40]!r}") from error
        return VersionRef(name, number, self._get_active_workspace())

    def _is_outside(self, ref: VersionRef) -> bool:
        """True for what is left to MLflow: prompts, and names that are excluded."""
        return self._is_excluded(ref) or self._is_prompt(ref.name)

    def _is_excluded(self, ref: VersionRef) -> bool:
        ports = self.governance.ports
        if ports.rules.exclusion(ref.name) is None:
            return False
        with ports.store.read() as reading:
            return reading.version(ref) is None  # governed once is governed for good

    def _refuse_reserved(self, asked: str, key: str, subject: dict[str, Any]) -> None:
        if is_reserved(key):
            refuse(
                self.governance.ports,
                self.governance.identity.current(),
                Refused(asked, subject),
                f"the tag {key[:80]!r} is written by the registry alone",
                "Change the stage instead: transition_model_version_stage(name, version, stage)",
            )

    def _is_prompt(self, name: str) -> bool:
        with self.ManagedSessionMaker() as session:
            tag = self._get_registered_model_tag(session, name, compat.IS_PROMPT_TAG)
            return tag is not None and _says_prompt(tag.value)


def _says_prompt(value: object) -> bool:
    return str(value).lower() == "true"


class GovernedSqlStore(GovernedStore, SqlAlchemyStore):
    """Governed store of a server without workspaces."""


class GovernedWorkspaceStore(GovernedStore, WorkspaceAwareSqlAlchemyStore):
    """Governed store of a server with workspaces."""


_REPLICA = "_MLFLOW_SERVER_READ_REPLICA_BACKEND_STORE"


def build(store_uri: str) -> GovernedStore:
    """The governed store for a ``governance+…`` URI, as the server's environment asks for it."""
    from mlflow.environment_variables import MLFLOW_ENABLE_WORKSPACES

    kind = GovernedWorkspaceStore if MLFLOW_ENABLE_WORKSPACES.get() else GovernedSqlStore
    return kind(store_uri, os.environ.get(_REPLICA) or None)
