"""The registry's models through the stock MLflow client."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mlflow_governance.core import digest
from mlflow_governance.core.digest import Digest
from mlflow_governance.core.model_ref import VersionRef
from mlflow_governance.errors import (
    Denied,
    GovernanceError,
    InvalidRequest,
    NotFound,
    Unauthenticated,
    Unavailable,
    VerificationError,
)
from mlflow_governance.serving.interface import Located
from mlflow_governance.serving.uri import ModelUri

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

_DIGEST_TAG = "governance.digest"
_BY_STATUS: dict[int, type[GovernanceError]] = {401: Unauthenticated, 403: Denied, 404: NotFound}


@dataclass(frozen=True)
class MlflowSource:
    """Fulfils :class:`~mlflow_governance.serving.interface.ModelSource`.

    Args:
        tracking_uri: where runs and logged models are; None is MLflow's own setting.
        registry_uri: where versions are; None is MLflow's own setting.
    """

    tracking_uri: str | None = None
    registry_uri: str | None = None

    def locate(self, uri: ModelUri) -> Located:
        """Ask the registry which version a URI stands for."""
        with _translated(f"{uri} cannot be resolved"):
            found = _find(self._client(), uri)
            ref = VersionRef(uri.name, int(found.version))
        return Located(ref, _hint(found.tags.get(_DIGEST_TAG)))

    def download(self, ref: VersionRef, destination: Path, part: str = "") -> Path:
        """Copy the files from where the registry says they are.

        Not through ``models:/``: MLflow would add a file of its own to the copy, which nobody
        signed, and what verifies ``models:/`` URIs asks here.
        """
        from mlflow.artifacts import download_artifacts

        with _translated(f"models:/{ref} cannot be downloaded"):
            location = _location(self._client(), ref).rstrip("/")
            copied = download_artifacts(
                artifact_uri=f"{location}/{part}" if part else location,
                dst_path=str(destination),
                tracking_uri=self.tracking_uri,
                registry_uri=self.registry_uri,
            )
        path = Path(copied)
        if path.is_symlink() or not path.resolve().is_relative_to(destination.resolve()):
            raise VerificationError(f"models:/{ref} was not copied to where it was asked for")
        return path

    def _client(self) -> MlflowClient:
        from mlflow import MlflowClient

        return MlflowClient(self.tracking_uri, self.registry_uri)


def _find(client: MlflowClient, uri: ModelUri) -> ModelVersion:
    if uri.version is not None:
        return client.get_model_version(uri.name, str(uri.version))
    if uri.alias:
        return client.get_model_version_by_alias(uri.name, uri.alias)
    with warnings.catch_warnings():
        # MLflow deprecates stages; the governed life cycle lives in them on purpose.
        warnings.simplefilter("ignore", FutureWarning)
        found = client.get_latest_versions(uri.name, [uri.stage] if uri.stage else None)
    if not found:
        raise NotFound(f"no version of {uri.name} is at {uri.stage or 'any stage'}")
    return max(found, key=lambda version: int(version.version))


def _location(client: MlflowClient, ref: VersionRef) -> str:
    """The storage behind a version, as the server follows it too."""
    location = str(client.get_model_version_download_uri(ref.name, str(ref.version)))
    scheme, _, rest = location.partition(":/")
    if scheme.lower() == "models":
        location = str(client.get_logged_model(rest).artifact_location)
    elif scheme.lower() == "runs":
        run_id, _, path = rest.partition("/")
        location = f"{client.get_run(run_id).info.artifact_uri}/{path}"
    if location.partition(":")[0].lower() in ("models", "runs"):
        # MLflow would ask us again what it is.
        raise VerificationError(f"the registry says models:/{ref} is at {location[:200]!r}")
    return location


def _hint(text: object) -> Digest | None:
    try:
        return digest.parse(text)
    except InvalidRequest:
        return None


@contextmanager
def _translated(what: str) -> Iterator[None]:
    """Whatever the client and its storage adapters raise becomes an error of ours."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except GovernanceError:
        raise
    except MlflowException as error:
        kind = _BY_STATUS.get(error.get_http_status_code(), Unavailable)
        raise kind(f"{what}: {error.message}") from error
    except Exception as error:
        raise Unavailable(f"{what}: {type(error).__name__}: {error}") from error
