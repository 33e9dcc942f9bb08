"""The ground under versions: nothing a governed version stands on is deleted or moved away.

On the live stores themselves, so that no route, and no part of MLflow that deletes as a side
effect, gets around it. What comes back is MLflow's business: restoring is never refused.

MLflow's deletions are soft: a run, an experiment or a logged model is marked, its files stay and
it can be restored, until an operator runs ``mlflow gc`` on the host. That is why a registration
that overtakes a deletion loses nothing: the deletion looks again after it and undoes itself.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NoReturn

from mlflow_governance.core.model_ref import VersionRef
from mlflow_governance.core.stage import Stage
from mlflow_governance.errors import Denied
from mlflow_governance.plugin import compat
from mlflow_governance.plugin.assembly import Assembly
from mlflow_governance.plugin.path_guard import at_and_above
from mlflow_governance.plugin.places import root_anywhere
from mlflow_governance.plugin.refusals import refusing
from mlflow_governance.workflows.ports import VersionRecord
from mlflow_governance.workflows.record import subject_of
from mlflow_governance.workflows.refuse import Refused, refuse

_UNRELEASED = frozenset({Stage.NONE, Stage.CANDIDATE})


def keep_ground(governance: Assembly) -> None:
    """Guard the live tracking store, and the store of workspaces where there is one."""
    ground = Ground(governance)
    tracking = compat.live_tracking_store()
    for name, kind in compat.DELETIONS.items():
        if hasattr(tracking, name):
            setattr(tracking, name, _checked(getattr(tracking, name), ground, kind))
    workspaces = compat.live_workspace_store()
    if workspaces is None:
        return
    for name, check in (
        ("delete_workspace", ground.check_workspace_deletion),
        ("create_workspace", ground.check_workspace),
        ("update_workspace", ground.check_workspace),
    ):
        setattr(workspaces, name, _asking_first(getattr(workspaces, name), check))


class Ground:
    """Finds the versions that stand on something."""

    def __init__(self, governance: Assembly) -> None:
        self._governance = governance

    @refusing
    def check_deletion(self, kind: str, identifier: str) -> None:
        """Refuse to delete what holds the files of a governed version, at any stage.

        Raises:
            Refusal: it does; recorded.
        """
        records = self.standing_on(kind, identifier)
        if records:
            self._refuse(f"delete {kind}", records, f"the {kind} {identifier}")

    @refusing
    def check_again(self, kind: str, identifier: str) -> None:
        """Undo a deletion that a registration overtook.

        Raises:
            Refusal: it did; recorded.
        """
        if self.standing_on(kind, identifier):
            compat.bring_back(kind, identifier)
            self.check_deletion(kind, identifier)

    @refusing
    def check_workspace_deletion(self, workspace: str, *_: Any, **__: Any) -> None:
        """Refuse to delete a workspace with governed versions, or to move them out of it.

        Raises:
            Refusal: it has some; recorded.
        """
        with self._governance.ports.store.read() as reading:
            records = reading.versions(workspace=workspace, limit=100)
        if records:
            self._refuse("delete workspace", records, f"the workspace {workspace}")

    @refusing
    def check_workspace(self, workspace: Any) -> None:
        """Refuse a workspace that keeps artifacts past the guard, or archives traces under it.

        Raises:
            Refusal: its artifact root is not the server's own, or its archive lies inside.
        """
        root = workspace.default_artifact_root
        if root and not root.startswith("mlflow-artifacts:"):
            self._refuse_place(root, "keep artifacts", "Create it without an artifact root.")
        archive = workspace.trace_archival_location
        if archive and self._inside(archive):
            self._refuse_place(
                archive, "archive traces", "Choose a place outside the artifact destination."
            )

    def standing_on(self, kind: str, identifier: str) -> list[VersionRecord]:
        """Governed versions whose files lie there, or that were registered from there."""
        uri = compat.artifact_uri_of(kind, identifier)
        if uri is None:
            return []
        try:
            location = self._governance.artifacts.locate(uri)
        except Denied:
            location = None  # outside the destination nothing is registered
        with self._governance.ports.store.read() as reading:
            found = (
                {
                    record.uid: record
                    for record, _ in reading.versions_around(at_and_above(location), [location])
                }
                if location
                else {}
            )
            for workspace, name, version in compat.registered_from(kind, identifier):
                record = reading.version(VersionRef(name, version, workspace))
                if record is not None:
                    found[record.uid] = record
        return list(found.values())

    @staticmethod
    def _inside(uri: str) -> bool:
        destination = compat.plain_uri(compat.artifact_destination_uri())
        folder = compat.local_folder(uri)
        return not root_anywhere(destination, uri, folder, compat.local_folder(destination)).base

    def _refuse(self, asked: str, records: list[VersionRecord], what: str) -> NoReturn:
        first = min(records, key=lambda record: (record.stage in _UNRELEASED, str(record.ref)))
        more = f" and {len(records) - 1} more" if len(records) > 1 else ""
        name, version = first.ref.name, first.ref.version
        advice = (
            "Delete the version first, it was never released: "
            f'client.delete_model_version("{name}", "{version}")'
            if first.stage in _UNRELEASED
            else "What was released keeps its files. To end its use, withdraw it: "
            f"mlflow-governance revoke {first.ref} --reason WHY"
        )
        governance = self._governance
        refuse(
            governance.ports,
            governance.identity.current(),
            Refused(asked, subject_of(first)),
            f"{first.ref}{more} stands on {what}, which is not deleted",
            advice,
        )

    def _refuse_place(self, uri: str, asked: str, advice: str) -> NoReturn:
        governance = self._governance
        refuse(
            governance.ports,
            governance.identity.current(),
            Refused("change workspace"),
            f"a workspace may not {asked} at {uri[:200]!r}: nothing there would be guarded",
            advice,
        )


def _checked(original: Callable[..., Any], ground: Ground, kind: str) -> Callable[..., Any]:
    @functools.wraps(original)
    def delete(*args: Any, **kwargs: Any) -> Any:
        identifier = str(next(iter([*args, *kwargs.values()]), ""))
        ground.check_deletion(kind, identifier)
        result = original(*args, **kwargs)
        ground.check_again(kind, identifier)
        return result

    return delete


def _asking_first(original: Callable[..., Any], check: Callable[..., None]) -> Callable[..., Any]:
    @functools.wraps(original)
    def asked(*args: Any, **kwargs: Any) -> Any:
        check(*args, **kwargs)
        return original(*args, **kwargs)

    return asked
