"""The artifact store and MLflow's addresses, for the validator."""

from __future__ import annotations

import posixpath

from mlflow_governance.core.digest import Digest, of_bytes
from mlflow_governance.core.model_ref import DEFAULT_WORKSPACE
from mlflow_governance.evidence.hashing import read_file, walk
from mlflow_governance.evidence.interface import MAX_TOTAL_BYTES
from mlflow_governance.plugin import compat
from mlflow_governance.plugin.artifacts import ServerArtifacts


class InspectedArtifacts(ServerArtifacts):
    """``workflows.validation.books.Shelves`` over MLflow's artifact repositories.

    MLflow finds the artifact destination in the environment, as in a server.
    """

    def beside(self, location: str, folder: str) -> dict[str, Digest]:
        """See :class:`~mlflow_governance.workflows.validation.books.Shelves`."""
        repository, root = self._open(location)
        local = self._local(repository, root)
        if local is not None:
            return {
                posixpath.relpath(found.name, folder): of_bytes(read_file(found, MAX_TOTAL_BYTES))
                for found in walk(local, folder)
            }
        return {
            name: of_bytes(self._read(repository, info))
            for name, info in self._walk(repository, posixpath.join(root, folder))
        }

    def locate(self, uri: str, workspace: str = DEFAULT_WORKSPACE) -> str:
        """See :class:`~mlflow_governance.workflows.validation.books.Shelves`."""
        with compat.in_workspace(workspace):
            return super().locate(uri)
