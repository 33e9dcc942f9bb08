"""``models:/…`` where models are loaded: what MLflow's own loaders get has verified.

MLflow asks for the repository of a ``models:/`` URI whenever it reads a model, whatever the
flavor. With ``MLFLOW_GOVERNANCE_TRUST`` set, a registered version is verified by
:mod:`mlflow_governance.serving` before a byte of it is handed out, and what is handed out are the
verified bytes. Without it everything is as MLflow has it, and the process says so once.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mlflow
import yaml
from mlflow.entities import FileInfo
from mlflow.store.artifact.artifact_repo import ArtifactRepository
from mlflow.store.artifact.models_artifact_repo import (
    REGISTERED_MODEL_META_FILE_NAME,
    ModelsArtifactRepository,
)
from mlflow.utils.credentials import read_mlflow_creds

from mlflow_governance.errors import InvalidRequest, VerificationError
from mlflow_governance.plugin import compat
from mlflow_governance.serving import handout
from mlflow_governance.serving.fetch import LiveFetcher
from mlflow_governance.serving.loader import warn_if_deprecated
from mlflow_governance.serving.settings import ServingSettings
from mlflow_governance.serving.source import MlflowSource
from mlflow_governance.serving.verify import Connections, Verified, verify

TRUST = "MLFLOW_GOVERNANCE_TRUST"

_log = logging.getLogger(__name__)
_said = threading.Event()


def build(uri: str, options: Mapping[str, str | None]) -> ModelsArtifactRepository:
    """The repository for a ``models:/`` URI, by what the environment says now.

    Args:
        uri: any URI of that scheme.
        options: ``tracking_uri`` and ``registry_uri`` as MLflow passes them.
    """
    if not os.environ.get(TRUST):
        return UnverifiedModels(uri, **options)
    if compat.is_logged_model(uri):
        return UnregisteredModels(uri, **options)
    return VerifiedModels(uri, **options)


class UnverifiedModels(ModelsArtifactRepository):
    """Stock MLflow, which a client is told once."""

    def download_artifacts(self, *args: Any, **kwargs: Any) -> str:
        """As MLflow."""
        self._say_so()
        return str(super().download_artifacts(*args, **kwargs))

    def _download_file(self, remote_file_path: str, local_path: str) -> None:
        self._say_so()
        super()._download_file(remote_file_path, local_path)

    def _say_so(self) -> None:
        # The server has its gates, and a logged model no version that could be verified.
        if self.is_logged_model_uri or compat.in_governed_server() or _said.is_set():
            return
        _said.set()
        _log.warning(
            "%s is loaded without being verified: %s is not set. "
            "mlflow-governance trust export -o trust.yaml makes the file it names.",
            self.artifact_uri,
            TRUST,
        )


class UnregisteredModels(ModelsArtifactRepository):
    """``models:/m-…`` where only verified models are read. Writing and listing are as in MLflow."""

    def download_artifacts(self, *args: Any, **kwargs: Any) -> str:
        """Refused.

        Raises:
            VerificationError: always.
        """
        raise _unregistered(self.artifact_uri)

    def _download_file(self, remote_file_path: str, local_path: str) -> None:
        raise _unregistered(self.artifact_uri)


class VerifiedModels(ModelsArtifactRepository):
    """A registered version, verified anew at each use."""

    def __init__(
        self, artifact_uri: str, tracking_uri: str | None = None, registry_uri: str | None = None
    ) -> None:
        # Not MLflow's own, which asks the registry where the bytes are: nobody may go there.
        ArtifactRepository.__init__(self, artifact_uri, tracking_uri, registry_uri)
        self.is_logged_model_uri = False

    def download_artifacts(
        self,
        artifact_path: str | None,
        dst_path: str | os.PathLike[str] | None = None,
        lineage_header_info: object = None,
    ) -> str:
        """Where the verified files are: the read-only copy itself, or a copy in ``dst_path``.

        Args:
            artifact_path: a file or folder of the model; empty for the whole.
            dst_path: an existing folder, which must hold nothing else where a folder is wanted.
            lineage_header_info: of no meaning here.

        Raises:
            VerificationError: it may not be loaded, or the path leads to evidence.
            NotFound: there is no such version, or no such file in it.
            InvalidRequest: no registered version, or ``dst_path`` is not usable.
            Denied, Unavailable, ConfigurationError: as for ``serving.verify``.
        """
        verified = self._verified()
        warn_if_deprecated(verified)
        part = handout.part_of(verified.snapshot.manifest, artifact_path)
        if not dst_path:
            _leave_no_bytecode(verified)
            return str(verified.path / part)
        folder = Path(os.path.abspath(dst_path))
        if part:
            return str(handout.copy_to(verified, part, folder))
        path = handout.copy_to(verified, part, folder, also=REGISTERED_MODEL_META_FILE_NAME)
        _add_meta_file(verified, path)
        return str(path)

    def list_artifacts(self, path: str | None = None) -> list[FileInfo]:
        """The files and folders directly in a folder of the verified model; none in a file."""
        manifest = self._verified().snapshot.manifest
        part = handout.part_of(manifest, path)
        inside = f"{part}/" if part else ""
        found: dict[str, FileInfo] = {}
        for file in handout.files_of(manifest, part):
            name, deeper, _ = file.name.removeprefix(inside).partition("/")
            if file.name != part:
                size = None if deeper else file.size
                found[name] = FileInfo(inside + name, bool(deeper), size)
        return sorted(found.values(), key=lambda info: str(info.path))

    def _download_file(self, remote_file_path: str, local_path: str) -> None:
        verified = self._verified()
        manifest = verified.snapshot.manifest
        part = handout.part_of(manifest, remote_file_path)
        (entry, *others) = handout.files_of(manifest, part)
        if others or entry.name != part:
            raise InvalidRequest(f"{remote_file_path!r} is a folder")
        handout.copy_file(verified, entry, Path(local_path))

    def _verified(self) -> Verified:
        tracking = self.tracking_uri or mlflow.get_tracking_uri()
        registry = self.registry_uri or mlflow.get_registry_uri()
        environment = _environment(tracking, registry)
        settings = ServingSettings.from_env(environment)
        source = None if settings.offline else MlflowSource(tracking, registry)
        return verify(
            self.artifact_uri, settings, Connections(source, LiveFetcher(settings, environment))
        )


def _environment(tracking: str, registry: str) -> dict[str, str]:
    """The process's, with what MLflow reads from elsewhere: code, and ~/.mlflow/credentials."""
    found = {
        **os.environ,
        "MLFLOW_TRACKING_URI": tracking,
        "MLFLOW_REGISTRY_URI": registry,
    }
    user, password = read_mlflow_creds()
    if user and password:
        found |= {"MLFLOW_TRACKING_USERNAME": user, "MLFLOW_TRACKING_PASSWORD": password}
    return found


def unresolved(uri: str) -> str:
    """What MLflow's short cuts to the storage get instead, where models are verified.

    Raises:
        VerificationError: a logged model, which nobody decided about.
    """
    if compat.is_logged_model(uri):
        raise _unregistered(uri)
    return uri


def _unregistered(uri: str) -> VerificationError:
    return VerificationError(
        f"{uri} is no registered version, so nobody decided about it: it may not be loaded "
        f"where {TRUST} is set",
        advice="Register it and load models:/NAME/VERSION: mlflow-governance submit "
        f"{uri} --name NAME. On a host that trains: unset {TRUST}.",
    )


def _leave_no_bytecode(verified: Verified) -> None:
    """Keep Python, here and in processes started from here, from writing into the copy.

    Its folders are read-only, which does not stop root. A ``__pycache__`` beside the model's code
    would be a file nobody signed.
    """
    has_code = any(file.name.endswith(".py") for file in verified.snapshot.manifest.files)
    if has_code and os.access(verified.path, os.W_OK):
        sys.dont_write_bytecode = True
        os.environ["PYTHONDONTWRITEBYTECODE"] = "1"


def _add_meta_file(verified: Verified, folder: Path) -> None:
    """The file MLflow puts beside a downloaded version, unless the model has one of its own."""
    names = {file.name for file in verified.snapshot.manifest.files}
    if "MLmodel" in names and REGISTERED_MODEL_META_FILE_NAME not in names:
        meta = {"model_name": verified.name, "model_version": str(verified.version)}
        text = yaml.safe_dump(meta, allow_unicode=True, sort_keys=False)
        (folder / REGISTERED_MODEL_META_FILE_NAME).write_text(text, encoding="utf-8")
