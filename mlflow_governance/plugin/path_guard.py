"""What may be read and written below a repository's root, whatever path asks for it."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NoReturn

from mlflow_governance.core.digest import Digest
from mlflow_governance.core.manifest import EVIDENCE_FOLDER
from mlflow_governance.core.stage import WITHDRAWN, Stage
from mlflow_governance.errors import Denied
from mlflow_governance.plugin import compat
from mlflow_governance.plugin.artifacts import SUBMITTED
from mlflow_governance.plugin.assembly import Assembly
from mlflow_governance.plugin.blocked_files import BlockedFiles, files_at
from mlflow_governance.plugin.places import Root
from mlflow_governance.plugin.refusals import refusing
from mlflow_governance.workflows.admit import admit, permits
from mlflow_governance.workflows.judge import Standing
from mlflow_governance.workflows.policy import POLICY
from mlflow_governance.workflows.ports import Request, VersionRecord
from mlflow_governance.workflows.record import subject_of
from mlflow_governance.workflows.refuse import Refused, refuse

_RELEASED = frozenset({Stage.STAGING, Stage.APPROVED, Stage.DEPRECATED})
_DOOR: Literal["artifact"] = "artifact"
_blocked_files = BlockedFiles()


@dataclass(frozen=True)
class Permit:
    """A path that may be read, as far as its name goes.

    Args:
        path: as it was asked for.
        judged: digests of the released versions it belongs to.
        blocked: every blocked digest; none where the path belongs to a version whose files
            cannot change any more and are in its digest: that has decided.
    """

    path: str
    judged: tuple[Digest, ...]
    blocked: frozenset[Digest]


@dataclass(frozen=True)
class _Around:
    """Versions at or above a path, and versions below it."""

    holding: list[Standing]
    below: list[Standing]
    fixed: bool
    blocked: frozenset[Digest]


class Guard:
    """Decides about paths below one repository's root."""

    def __init__(self, root: Root) -> None:
        self._root = root

    @refusing
    def check_read(self, path: str | None) -> Permit:
        """Refuse to hand out what the download gate does not permit, the path or all below it.

        Raises:
            Refusal: a governed version's bytes, and the gate said no.
        """
        around = self._around(path)
        self._refuse_unless_permitted(around.holding, counted=True)
        for location in {standing.record.location for standing in around.below}:
            here = [s for s in around.below if s.record.location == location]
            # What holds the folder is permitted: only withdrawal closes a part of it.
            self._refuse_unless_permitted(here, only_withdrawn=bool(around.holding), counted=True)
        return Permit(
            path=str(path or ""),
            judged=tuple(
                s.record.digest
                for s in around.holding
                if s.record.digest and s.record.stage in _RELEASED
            ),
            blocked=around.blocked,
        )

    @refusing
    def check_list(self, path: str | None) -> None:
        """Refuse to list what may not be read; folders above a version show runs and models.

        Raises:
            Refusal: a governed version's folder, and the gate said no.
        """
        self._refuse_unless_permitted(self._around(path).holding)

    @refusing
    def check_bytes(self, permit: Permit, files: Path) -> None:
        """Refuse a file, or a folder with one, that is a withdrawn model's under another name.

        Raises:
            Refusal: the bytes are those of a blocked model.
        """
        if not permit.blocked:
            return
        governance = _governance()
        found = _blocked_files.find(
            governance.ports.store, permit.blocked, files_at(files), permit.judged
        )
        if found is not None:
            refuse(
                governance.ports,
                governance.identity.current(fresh=False),
                Refused("read files", {"digest": found}),
                f"{permit.path} holds bytes of a model that was revoked or quarantined",
                "Revoked content is served under no name. Train a new version, or have a "
                "quarantined one returned: mlflow-governance restore NAME/VERSION --reason WHY",
            )

    @refusing
    def may_be_blocked(self, permit: Permit, size: int | None) -> bool:
        """True when a file of so many bytes has to be hashed before it is handed out."""
        if not permit.blocked:
            return False
        return size is None or _blocked_files.may_have(
            _governance().ports.store, permit.blocked, size
        )

    @refusing
    def check_write(self, path: str | None) -> None:
        """Refuse to change what was accepted, or anything the registry itself attaches.

        Raises:
            Refusal: the path belongs to an accepted version, or holds the registry's records.
        """
        around = self._around(path)
        for record in (standing.record for standing in [*around.holding, *around.below]):
            if record.stage is not Stage.NONE:
                _refuse(
                    record,
                    f"the files of {record.ref} are read-only: it is {record.stage}",
                    "A changed model is a new version: log and register it again.",
                )
            for place in self._root.places(path):
                inside = posixpath.relpath(place, record.location)
                if inside.startswith(EVIDENCE_FOLDER + "/") and not _submittable(inside):
                    _refuse(
                        record,
                        f"{inside} is written by the registry alone",
                        f"Evidence for a version at None belongs into {SUBMITTED}/.",
                    )

    @refusing
    def check_delete(self, path: str | None) -> None:
        """Refuse to delete what may not be changed.

        Raises:
            Refusal: it is, or may take with it, an accepted version.
        """
        self.check_write(path)
        if self._root.folder is not None:
            return
        # MLflow 3.14 deletes every key of a bucket that begins so, not only what lies below.
        for place in self._root.places(path):
            with _governance().ports.store.read() as reading:
                found = reading.versions_beginning(place)
            for record in found:
                if record.stage is not Stage.NONE:
                    _refuse(
                        record,
                        f"deleting what begins with {place!r} could take the files of {record.ref}",
                        "Name the folder or the file itself.",
                    )

    @refusing
    def refuse_link(self, path: str | None) -> NoReturn:
        """Refuse a link that would write past the guard, at any time until it expires.

        Raises:
            Refusal: always.
        """
        governance = _governance()
        refuse(
            governance.ports,
            governance.identity.current(fresh=False),
            Refused("upload link"),
            "this server hands out no links to upload with: they would write past its guard",
            "Upload through the server, as MLflow's client does: "
            "mlflow.log_artifact(FILE, artifact_path=FOLDER)",
        )

    def _refuse_unless_permitted(
        self, here: Sequence[Standing], *, only_withdrawn: bool = False, counted: bool = False
    ) -> None:
        if not here:
            return
        governance = _governance()
        actor, ports = governance.identity.current(fresh=False), governance.ports
        # Several versions may share one directory. A withdrawn one blocks it for all. A released
        # one opens it; otherwise the oldest decides, so that registering a directory again gives
        # nobody the author's access.
        for found in here:
            if found.blocked or found.record.stage in WITHDRAWN:
                admit(ports, Request(actor, found.record.ref), _DOOR, found)
        if only_withdrawn:
            return
        # Of folders within one another the innermost decides: who registered it was permitted
        # what lies around it, and a folder registered above must not take over what is below.
        inner = max((found.record.location for found in here), key=len)
        here = [found for found in here if found.record.location == inner]
        first = min(here, key=lambda found: str(found.record.created_at))
        released = [s for s in here if s.record.stage in _RELEASED]
        for found in released:
            request = Request(actor, found.record.ref)
            if permits(ports, request, _DOOR, found):
                if counted:  # bytes, not names: whoever keeps count of downloads is told
                    admit(ports, request, _DOOR, found)
                return
        admit(ports, Request(actor, first.record.ref), _DOOR, first)

    def _around(self, path: str | None) -> _Around:
        places = self._root.places(path)
        above = {at for place in places for at in at_and_above(place)}
        with _governance().ports.store.read() as reading:
            near = reading.versions_around(list(above), places)
            policy = reading.in_force(POLICY) if near else None
            found = [Standing(*one, (), policy) for one in near]
            holding = [s for s in found if s.record.location in above]
            fixed = any(_is_fixed(s.record, place) for s in holding for place in places)
            blocked = frozenset() if fixed else reading.blocked_digests()
        below = [s for s in found if s.record.location not in above]
        return _Around(holding, below, fixed, blocked)


def at_and_above(place: str) -> list[str]:
    """A location and every folder it lies in."""
    parts = place.split("/")
    return ["/".join(parts[:depth]) for depth in range(1, len(parts) + 1)]


def _is_fixed(record: VersionRecord, place: str) -> bool:
    if record.stage not in _RELEASED:
        return False  # nobody but its submitter has looked at it
    # What lies in the evidence folder is in no digest.
    evidence = posixpath.join(record.location, EVIDENCE_FOLDER)
    return not f"{place}/".startswith(f"{evidence}/")


def _refuse(record: VersionRecord, message: str, advice: str) -> NoReturn:
    governance = _governance()
    actor = governance.identity.current(fresh=False)
    refuse(governance.ports, actor, Refused("write files", subject_of(record)), message, advice)


def _submittable(inside: str) -> bool:
    return inside == SUBMITTED or inside.startswith(SUBMITTED + "/")


def _governance() -> Assembly:
    store = compat.live_registry_store()
    governance = getattr(store, "governance", None)
    if not isinstance(governance, Assembly):
        raise Denied("the server's registry store is not governed; no artifact is handed out")
    return governance
