"""MLflow's registry store, governed.

A mixin over both of MLflow's SQL stores. Every method that changes the registry or discloses
where bytes are goes through a workflow; everything else is MLflow's own.
"""

from __future__ import annotations

import os
from typing import Any

from mlflow.entities.model_registry import ModelVersion, RegisteredModelTag
from mlflow.store.model_registry.dbmodels.models import SqlModelVersion
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore
from mlflow.store.model_registry.sqlalchemy_workspace_store import WorkspaceAwareSqlAlchemyStore
from sqlalchemy import select

from mlflow_governance.core.actor import Actor
from mlflow_governance.core.model_ref import VersionRef
from mlflow_governance.core.stage import Stage
from mlflow_governance.errors import (
    Conflict,
    InvalidRequest,
    NotFound,
)
from mlflow_governance.plugin import compat
from mlflow_governance.plugin.assembly import Assembly
from mlflow_governance.plugin.refusals import refusing
from mlflow_governance.plugin.registration import Registration
from mlflow_governance.plugin.reserved import is_reserved, without_reserved
from mlflow_governance.plugin.sessions import JoinableSessions
from mlflow_governance.workflows.admit import admit
from mlflow_governance.workflows.alias import AliasMove, move_alias
from mlflow_governance.workflows.delete import delete_version, refuse_if_governed
from mlflow_governance.workflows.ports import Ports, Request, VersionRecord
from mlflow_governance.workflows.promote import transition
from mlflow_governance.workflows.refuse import Refused, refuse

_READY = "READY"


class GovernedStore(Registration):
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
        target = Stage.parse(stage)
        if archive_existing_versions and target is not Stage.APPROVED:
            raise InvalidRequest(
                "archive_existing_versions is possible only with Approved (Production)"
            )
        actor = self.governance.identity.current()
        ref = self._ref(name, version)
        ports = self.governance.ports
        transition(ports, Request(actor, ref, self._reason()), target)
        if archive_existing_versions:
            with ports.store.read() as reading:
                others = reading.versions(name, Stage.APPROVED, workspace=ref.workspace)
            for other in others:
                if other.ref != ref:
                    transition(ports, Request(actor, other.ref), Stage.DEPRECATED)
        return super().get_model_version(name, ref.version)

    @staticmethod
    def _reason() -> str:
        # The stock client has no field for a reason; a pipeline may send one as a header.
        import flask

        if not flask.has_request_context():
            return ""
        return str(flask.request.headers.get("X-Governance-Reason", ""))[:2000]

    def get_latest_versions(self, name: str, stages: Any = None) -> list[ModelVersion]:
        """The newest version of each stage; governed stages and MLflow's words alike."""
        wanted = {Stage.parse(stage).value for stage in stages} if stages else set(Stage)
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
            return latest

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

    # Aliases ----------------------------------------------------------------------------------

    @refusing
    def set_registered_model_alias(self, name: str, alias: str, version: Any) -> None:
        """Point an alias at a version, if the alias gate permits."""
        self._move_alias(name, alias, version, delete=False)

    @refusing
    def delete_registered_model_alias(self, name: str, alias: str) -> None:
        """Take an alias away, if the alias gate permits."""
        self._move_alias(name, alias, None, delete=True)

    def _move_alias(self, name: str, alias: str, version: Any, *, delete: bool) -> None:
        base: Any = super()

        def apply() -> None:
            if delete:
                base.delete_registered_model_alias(name, alias)
            else:
                base.set_registered_model_alias(name, alias, version)

        before = self._aliased(name, alias)
        if self._is_prompt(name) or (delete and before is None):
            apply()
            return
        ref = self._ref(name, before if delete else version)
        request = Request(self.governance.identity.current(), ref, self._reason())
        move = AliasMove(alias, before, delete)
        move_alias(self.governance.ports, request, move, apply)

    def _aliased(self, name: str, alias: str) -> int | None:
        with self.ManagedSessionMaker() as session:
            row = self._get_registered_model_alias(session, name, alias)
            return int(row.version) if row is not None else None

    # Deletion and renaming --------------------------------------------------------------------

    @refusing
    def delete_model_version(self, name: str, version: Any) -> None:
        """Delete a version that was never released."""
        if self._is_prompt(name):
            super().delete_model_version(name, version)
            return
        self._delete(Request(self.governance.identity.current(), self._ref(name, version)))

    def _delete(self, request: Request) -> None:
        base: Any = super()
        name, version = request.ref.name, request.ref.version
        delete_version(
            self.governance.ports, request, lambda: base.delete_model_version(name, version)
        )

    @refusing
    def delete_registered_model(self, name: str) -> None:
        """MLflow's own, for models without governed versions."""
        refuse_if_governed(*self._asked(name), "delete")
        super().delete_registered_model(name)

    @refusing
    def rename_registered_model(self, name: str, new_name: str) -> Any:
        """MLflow's own, for models without governed versions."""
        refuse_if_governed(*self._asked(name), "rename")
        return super().rename_registered_model(name, new_name)

    # Helpers ----------------------------------------------------------------------------------

    def _ref(self, name: str, version: Any) -> VersionRef:
        try:
            number = int(version)
        except (TypeError, ValueError) as error:
            raise InvalidRequest(f"not a version number: {str(version)[:40]!r}") from error
        return VersionRef(name, number, self._get_active_workspace())

    def _asked(self, name: str) -> tuple[Ports, Actor, str, str]:
        actor = self.governance.identity.current()
        return self.governance.ports, actor, name, self._get_active_workspace()

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
