"""What replies say of where bytes are.

A version's ``source`` leads to its bytes. While they are not released, it is told to whoever
submitted the version and to nobody else; all others see ``models:/NAME/VERSION`` in its place,
which leads through the download gate. Stage, revocation and submitter decide that, without a
question to the policy engine: a search lists thousands, and the bytes have a gate of their own.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from mlflow_governance.core.model_ref import VersionRef
from mlflow_governance.core.stage import Stage
from mlflow_governance.errors import InvalidRequest
from mlflow_governance.plugin import compat
from mlflow_governance.plugin.assembly import Assembly
from mlflow_governance.plugin.refusals import refusing
from mlflow_governance.workflows.ports import Whereabouts

if TYPE_CHECKING:
    from typing import Any as _Base  # MLflow ships no types, and GovernedStore stands on us
else:
    _Base = object

_RELEASED = frozenset({Stage.STAGING, Stage.APPROVED, Stage.DEPRECATED})
_OPEN_TO_SUBMITTER = frozenset({Stage.NONE, Stage.CANDIDATE})


class Disclosure(_Base):
    """What ``GovernedStore`` leaves out of MLflow's replies."""

    governance: Assembly

    @refusing
    def get_model_version(self, name: str, version: Any) -> Any:
        """MLflow's own, without a source that is not the caller's to know."""
        return self._told([super().get_model_version(name, version)])[0]

    @refusing
    def get_model_version_by_alias(self, name: str, alias: str) -> Any:
        """MLflow's own, without a source that is not the caller's to know."""
        return self._told([super().get_model_version_by_alias(name, alias)])[0]

    @refusing
    def search_model_versions(self, *args: Any, **kwargs: Any) -> Any:
        """MLflow's own, without sources that are not the caller's to know."""
        asked = str(kwargs.get("filter_string") or (args[0] if args else ""))
        if "source_path" in asked.lower():
            # Whether a hidden source matches would tell it, a letter at a time.
            raise InvalidRequest(
                "versions are not searched by source_path here: it may not be yours to know",
                advice="Filter by name, run_id or a tag instead.",
            )
        found = super().search_model_versions(*args, **kwargs)
        self._told(found)
        return found

    @refusing
    def update_model_version(self, name: str, version: Any, description: Any = None) -> Any:
        """MLflow's own, without a source that is not the caller's to know."""
        return self._told([super().update_model_version(name, version, description)])[0]

    @refusing
    def update_registered_model(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """MLflow's own, without sources that are not the caller's to know."""
        model = super().update_registered_model(name, *args, **kwargs)
        self._told(model.latest_versions or ())
        return model

    @refusing
    def get_registered_model(self, name: str) -> Any:
        """MLflow's own, without sources that are not the caller's to know."""
        model = super().get_registered_model(name)
        self._told(model.latest_versions or ())
        return model

    @refusing
    def search_registered_models(self, *args: Any, **kwargs: Any) -> Any:
        """MLflow's own, without sources that are not the caller's to know."""
        found = super().search_registered_models(*args, **kwargs)
        self._told([version for model in found for version in model.latest_versions or ()])
        return found

    def _told(self, versions: Iterable[Any]) -> list[Any]:
        """Take the sources out of MLflow's entities that the caller may not see."""
        shown = list(versions)
        if not shown:
            return shown
        wanted = [(version.name, int(version.version)) for version in shown]
        with self.governance.ports.store.read() as reading:
            known = reading.whereabouts(wanted, self._get_active_workspace())
        person = self.governance.identity.current(fresh=False).person
        for version in shown:
            where = known.get((version.name, int(version.version)))
            if where is not None and not _may_know(where, person):
                ref = VersionRef(version.name, int(version.version))
                compat.replace_source(version, f"models:/{ref}")
        return shown


def _may_know(where: Whereabouts, person: str) -> bool:
    if where.blocked:
        return False
    if where.stage in _RELEASED:
        return True
    return where.stage in _OPEN_TO_SUBMITTER and where.submitter == person
