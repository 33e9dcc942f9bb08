"""What the consuming side asks of the world outside. Everything it gets back is verified."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from mlflow_governance.core.digest import Digest
from mlflow_governance.core.model_ref import VersionRef
from mlflow_governance.serving.uri import ModelUri


@dataclass(frozen=True, slots=True)
class Located:
    """The version a URI stands for now.

    ``digest`` is where a copy may already be in the cache. It is a hint: what is loaded is
    hashed, and the registry's signed summary must name that hash.
    """

    ref: VersionRef
    digest: Digest | None = None


class ModelSource(Protocol):
    """The registry's models."""

    def locate(self, uri: ModelUri) -> Located:
        """The version a URI stands for.

        Raises:
            NotFound: there is none.
            Denied: the server does not say.
            Unavailable: the server does not answer.
        """

    def download(self, ref: VersionRef, destination: Path, part: str = "") -> Path:
        """Copy a version's files into an empty directory; returns where they are inside it.

        Args:
            ref: which version.
            destination: a directory only this user may enter.
            part: only this folder of the model directory.

        Raises:
            NotFound: there is nothing.
            Denied: the download gate said no.
            Unavailable: it cannot be fetched now.
        """


class Fetcher(Protocol):
    """The small documents of the registry."""

    def revocations(self) -> bytes:
        """The signed revocation list.

        Raises:
            Unavailable: it cannot be had now.
            Denied, NotFound: the server said so.
        """

    def policy_digests(self) -> frozenset[Digest]:
        """The policy bundles whose word counts now.

        Raises:
            Unavailable: the server does not answer, or there is none.
            Denied, NotFound: the server said so.
            VerificationError: the answer is malformed.
        """
