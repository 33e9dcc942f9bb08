"""MLflow's own rows about a version that follow ours after the commit."""

from __future__ import annotations

from collections.abc import Mapping

from mlflow.store.model_registry.dbmodels.models import SqlModelVersion, SqlModelVersionTag

from mlflow_governance.plugin.compat import DELETED_STAGE
from mlflow_governance.plugin.sessions import JoinableSessions
from mlflow_governance.workflows.ports import VersionRecord


class MlflowCatalogue:
    """``workflows.ports.Catalogue`` over MLflow's tables."""

    def __init__(self, sessions: JoinableSessions) -> None:
        self._sessions = sessions

    def mirror(self, record: VersionRecord, tags: Mapping[str, str]) -> None:
        """Set these tags, inside the open unit of work if there is one.

        A version MLflow deleted is left alone.
        """
        key = {
            "workspace": record.ref.workspace,
            "name": record.ref.name,
            "version": record.ref.version,
        }
        with self._sessions.for_mlflow(read_only=False) as session:
            row = session.get(SqlModelVersion, key)
            if row is None or row.current_stage == DELETED_STAGE:
                return
            present = {
                tag.key: tag
                for tag in session.query(SqlModelVersionTag)
                .filter_by(**key)
                .filter(SqlModelVersionTag.key.in_(list(tags)))
            }
            for name, value in tags.items():
                if name not in present:
                    session.add(SqlModelVersionTag(**key, key=name, value=value))
                elif present[name].value != value:
                    present[name].value = value

    def set_status(self, record: VersionRecord, status: str, message: str) -> None:
        """Set the registration status the client polls; messages are cut at 500 characters."""
        with self._sessions.for_mlflow(read_only=False) as session:
            row = session.get(
                SqlModelVersion,
                {
                    "workspace": record.ref.workspace,
                    "name": record.ref.name,
                    "version": record.ref.version,
                },
            )
            if row is not None:
                row.status = status
                row.status_message = message[:500] or None
