"""Where people on the network take evidence bundles: one at a time each, spooled on disk.

A bundle is complete before its first byte is sent, so that whoever gets bytes gets all of them.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

from mlflow_governance.errors import Conflict
from mlflow_governance.workflows.evidence_export import Asked

if TYPE_CHECKING:
    from mlflow_governance.audit.bundle import Exporter

_PIECE = 256 * 1024
_PLACES = 2**31


class Spool:
    """A bundle on disk, to be read once. Closing it deletes it and lets the person ask again."""

    def __init__(self, name: str, file: IO[bytes], held: ExitStack) -> None:
        self.name, self._file, self._held = name, file, held
        self.size = file.seek(0, os.SEEK_END)
        file.seek(0)

    def __iter__(self) -> Iterator[bytes]:
        """Its bytes, in pieces."""
        try:
            while piece := self._file.read(_PIECE):
                yield piece
        finally:
            self.close()

    def close(self) -> None:
        """Delete it; closing twice is closing once."""
        self._held.close()

    def __del__(self) -> None:
        self.close()


class Desk:
    """Gives bundles to people, never two at once to one person.

    Args:
        exporter: makes bundles; asked for when the first one is wanted.
        lock: a file all processes of the server share. It stays empty, and names nobody.
    """

    def __init__(self, exporter: Callable[[], Exporter], lock: Path) -> None:
        self._exporter, self._lock = exporter, lock

    def bundle(self, asked: Asked) -> Spool:
        """Record that somebody takes a bundle, and make it.

        Raises:
            Conflict: the same person is being given one.
            GovernanceError: as :meth:`.bundle.Exporter.export`.
        """
        from mlflow_governance.audit.bundle import default_name

        with ExitStack() as held:
            held.enter_context(_locked(self._lock, asked.actor.person))
            file = held.enter_context(tempfile.TemporaryFile())
            self._exporter().export(asked, file)
            return Spool(default_name(asked), file, held.pop_all())


class _Places:
    """The lock file: one byte a person, which the system frees when a process dies.

    It is opened once and never closed: with any descriptor of it that is closed, this process
    would lose every lock it has on it.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._held: set[int] = set()
        self._turn = threading.Lock()

    def take(self, place: int) -> None:
        # The system would give this process a place it has a second time.
        with self._turn:
            if place in self._held:
                raise _twice()
            self._lock(place)
            self._held.add(place)

    def free(self, place: int) -> None:
        with self._turn:
            self._held.discard(place)
            self._unlock(place)

    if sys.platform == "win32":

        def _lock(self, place: int) -> None:
            """One process serves there."""

        _unlock = _lock
    else:

        def _lock(self, place: int) -> None:
            import fcntl

            try:
                fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
            except OSError as error:
                raise _twice() from error

        def _unlock(self, place: int) -> None:
            import fcntl

            fcntl.lockf(self._file, fcntl.LOCK_UN, 1, place)


_opened: dict[Path, _Places] = {}
_opening = threading.Lock()


@contextmanager
def _locked(path: Path, person: str) -> Iterator[None]:
    path = path.resolve()
    with _opening:
        places = _opened.get(path) or _opened.setdefault(path, _Places(path))
    place = int.from_bytes(hashlib.sha256(person.encode()).digest()[:8], "big") % _PLACES
    places.take(place)
    try:
        yield
    finally:
        places.free(place)


def _twice() -> Conflict:
    return Conflict(
        "you are being given an evidence bundle already", advice="Ask again when it has arrived."
    )
