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
        self._busy: set[str] = set()
        self._turn = threading.Lock()

    def bundle(self, asked: Asked) -> Spool:
        """Record that somebody takes a bundle, and make it.

        Raises:
            Conflict: the same person is being given one.
            GovernanceError: as :meth:`.bundle.Exporter.export`.
        """
        from mlflow_governance.audit.bundle import default_name

        with ExitStack() as held:
            held.enter_context(self._alone(asked.actor.person))
            file = held.enter_context(tempfile.TemporaryFile())
            self._exporter().export(asked, file)
            return Spool(default_name(asked), file, held.pop_all())

    @contextmanager
    def _alone(self, person: str) -> Iterator[None]:
        with self._turn:
            if person in self._busy:
                raise _twice()
            self._busy.add(person)
        try:
            with _locked(self._lock, person):
                yield
        finally:
            with self._turn:
                self._busy.discard(person)


@contextmanager
def _locked(path: Path, person: str) -> Iterator[None]:
    # One byte a person in a shared file: the system frees it when a process dies.
    if sys.platform == "win32":
        yield
        return
    import fcntl

    place = int.from_bytes(hashlib.sha256(person.encode()).digest()[:8], "big") % _PLACES
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
        except OSError as error:
            raise _twice() from error
        try:
            yield
        finally:
            fcntl.lockf(file, fcntl.LOCK_UN, 1, place)


def _twice() -> Conflict:
    return Conflict(
        "you are being given an evidence bundle already", advice="Ask again when it has arrived."
    )
