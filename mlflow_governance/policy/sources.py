"""Where the policies come from: a folder, a file, a web server or an OCI image.

What comes from elsewhere counts when somebody trusted for ``policy`` signed it. A copy of the
last one that did is kept, so that a server can start while the source is away; it is verified
again when it is used, and using it is told.
"""

from __future__ import annotations

import hashlib
import io
import logging
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from mlflow_governance.core import moment
from mlflow_governance.errors import Unavailable
from mlflow_governance.policy import bundle as bundles
from mlflow_governance.policy import signing
from mlflow_governance.policy.archive import MAX_TOTAL_BYTES, unpack
from mlflow_governance.policy.bundle import Bundle
from mlflow_governance.policy.download import Access, Download
from mlflow_governance.policy.oci import SCHEME, Layout
from mlflow_governance.policy.signing import TrustedKey

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Loaded:
    """A bundle, and how it came here.

    ``signer`` is who signed it, None where nobody had to. ``stale`` says why it is the kept copy
    and not what the source has now; empty when it is that.
    """

    bundle: Bundle
    origin: str
    signer: str | None = None
    stale: str = ""
    mark: str = field(default="", repr=False)
    files: Mapping[str, bytes] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Demand:
    """What a bundle must show.

    Args:
        keys: whose signature counts now; asked whenever one must be verified.
        signed: ask local bundles for a signature, too.
        scope: what signatures must say they are for; empty: nothing.
    """

    keys: Callable[[], Sequence[TrustedKey]]
    signed: bool = False
    scope: str = ""


class PolicySource:
    """One place, read at the start and whenever somebody asks.

    Args:
        place: a folder or ``.tar.gz``, an ``https://`` address (``http://`` on this machine), or
            ``oci:DIR[:TAG]``.
        demand: what a bundle must show.
        home: where ``policy-cache/`` is, and what relative places are below.
        access: how a web server is asked.

    Raises:
        ConfigurationError: the place is not usable.
    """

    def __init__(
        self, place: Path | str, demand: Demand, home: Path, access: Access | None = None
    ) -> None:
        self._place = _place(place, home, access or Access())
        self._demand = demand
        name = hashlib.sha256(str(place).encode("utf-8", "surrogateescape")).hexdigest()
        self._kept = home / "policy-cache" / f"{name[:32]}.tar.gz"

    @property
    def origin(self) -> str:
        """The place in words, without secrets."""
        return self._place.shown

    def fetch(self, previous: Loaded | None = None) -> Loaded:
        """The bundle as it is there now; ``previous`` itself where the source says it is that.

        Every signature is verified again, so that a signer withdrawn meanwhile is noticed.

        Raises:
            Unavailable: the source is away, and there is ``previous`` to go on with, or no copy.
            VerificationError: it is not signed as it must be, or not what its digest says.
            ConfigurationError: it is not a bundle every engine reads alike.
        """
        try:
            copy = self._place.read(previous.mark if previous else "")
        except Unavailable as error:
            if previous is not None or not self._place.foreign:
                raise
            return self._last_good(error)
        if copy is None:
            return self._unchanged(previous)
        loaded = self.accept(copy.files)
        if copy.archive:
            self._keep(copy.archive)
        return replace(loaded, mark=copy.mark)

    def _unchanged(self, previous: Loaded | None) -> Loaded:
        if previous is None:
            raise Unavailable(f"{self.origin} says that nothing changed, and nobody asked that")
        signer = self._signer(previous.files)
        return previous if signer == previous.signer else replace(previous, signer=signer)

    @property
    def signed(self) -> bool:
        """True when a bundle must be signed: from elsewhere always, and where that is asked."""
        return self._place.foreign or self._demand.signed

    def accept(self, files: Mapping[str, bytes]) -> Loaded:
        """A bundle of these files, if it shows what it must.

        Raises:
            VerificationError: it is not signed as it must be.
            ConfigurationError: it is not a bundle every engine reads alike.
        """
        signer = self._signer(files)
        return Loaded(bundles.from_files(files), self.origin, signer, files=files)

    def _signer(self, files: Mapping[str, bytes]) -> str | None:
        if not self.signed:
            return None
        return signing.verify(files, self._demand.keys(), moment.now(), self._demand.scope)

    def _last_good(self, away: Unavailable) -> Loaded:
        try:
            with self._kept.open("rb") as file:
                files = dict(unpack(io.BytesIO(file.read(MAX_TOTAL_BYTES + 1)), "the kept copy"))
        except OSError as error:
            raise Unavailable(
                f"{away.message}; and no copy of an earlier one is kept", advice=away.advice
            ) from error
        loaded = replace(self.accept(files), stale=away.message)
        _log.warning("%s; the kept copy is used: %s", away.message, loaded.bundle.digest)
        return loaded

    def _keep(self, archive: bytes) -> None:
        try:
            write_atomically(self._kept, archive)
        except OSError as error:
            _log.warning("no copy of the policies can be kept at %s: %s", self._kept, error)


class Feed:
    """A source that one process looks at again and again: it remembers what was there last."""

    def __init__(self, source: PolicySource) -> None:
        self._source = source
        self._last: Loaded | None = None

    @property
    def name(self) -> str:
        """The place in words."""
        return self._source.origin

    @property
    def signed(self) -> bool:
        """True when a bundle must be signed by somebody trusted for it."""
        return self._source.signed

    def fetch(self) -> Bundle:
        """The bundle that is there now.

        Raises:
            GovernanceError: see :meth:`PolicySource.fetch`.
        """
        self._last = self._source.fetch(self._last)
        return self._last.bundle

    def open(self, archive: bytes) -> Bundle:
        """A bundle somebody brought, held to the same demand.

        Raises:
            VerificationError: it is not signed as it must be.
            ConfigurationError: it is not a bundle every engine reads alike.
        """
        return self._source.accept(dict(unpack(io.BytesIO(archive), "the archive"))).bundle


def write_atomically(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Put a file in place in a single rename, for whoever looks and whenever this dies."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, made = tempfile.mkstemp(prefix=".new-", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            Path(made).chmod(mode)
            os.fsync(file.fileno())
        Path(made).replace(path)
    finally:
        Path(made).unlink(missing_ok=True)


@dataclass(frozen=True)
class _Copy:
    """What a place holds. The archive is what to keep; empty for what is local anyway."""

    files: Mapping[str, bytes]
    mark: str = ""
    archive: bytes = b""

    @classmethod
    def of(cls, archive: bytes, mark: str, shown: str) -> _Copy:
        return cls(dict(unpack(io.BytesIO(archive), shown)), mark, archive)


class _Place(Protocol):
    """Something that holds a bundle; ``foreign`` where others may write there."""

    @property
    def foreign(self) -> bool: ...

    @property
    def shown(self) -> str: ...

    def read(self, mark: str) -> _Copy | None:
        """What it holds; None where that is still what ``mark`` stands for."""


@dataclass(frozen=True)
class _Local:
    path: Path
    foreign = False

    @property
    def shown(self) -> str:
        return str(self.path)

    def read(self, mark: str) -> _Copy | None:
        return _Copy(bundles.read(self.path))


@dataclass(frozen=True)
class _Web:
    download: Download
    foreign = True

    @property
    def shown(self) -> str:
        return self.download.shown

    def read(self, mark: str) -> _Copy | None:
        got = self.download.get(mark)
        return _Copy.of(*got, self.shown) if got else None


@dataclass(frozen=True)
class _Image:
    layout: Layout
    reference: str
    foreign = True

    @property
    def shown(self) -> str:
        return self.reference

    def read(self, mark: str) -> _Copy | None:
        archive, found = self.layout.layer()
        return _Copy.of(archive, found, self.shown) if found != mark else None


def _place(place: Path | str, home: Path, access: Access) -> _Place:
    if isinstance(place, Path):
        return _Local(place)
    if place.startswith(SCHEME):
        return _Image(Layout.parse(place, home), place)
    return _Web(Download(place, access))
