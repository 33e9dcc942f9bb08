"""Keys in devices and services, which may hang: every answer has a deadline.

The head of the ledger is signed while everybody else waits for it. A device that does not answer
is given up, the change is refused, and whoever waited goes on.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from mlflow_governance.errors import Unavailable
from mlflow_governance.evidence import key_reference
from mlflow_governance.evidence.keys import PrivateKey, PublicKey, open_key

SIGN_SECONDS = 5.0
"""For one signature. Others wait 20 seconds for their turn, and a change has up to three."""
OPEN_SECONDS = 15.0
"""For the first word of a device: libraries are imported and sessions opened."""

Answer = TypeVar("Answer")

_ONE_TOKEN = threading.Lock()
"""A PKCS#11 token knows one login a process: signatures take turns, whichever key they are of."""


@dataclass
class DeviceKey:
    """A key kept elsewhere, which answers in time or not at all: a ``PrivateKey``."""

    inner: PrivateKey
    place: str
    seconds: float = SIGN_SECONDS
    turn: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _late: threading.Thread | None = field(default=None, repr=False)

    @property
    def public(self) -> PublicKey:
        """Its public half."""
        return self.inner.public

    def sign(self, data: bytes) -> bytes:
        """The signature over ``data``.

        Raises:
            Unavailable: the device does not answer in time, or still hangs from before.
            ConfigurationError: it answers something else than a signature of this key.
        """
        if self._late is not None and self._late.is_alive():
            raise self._silent()  # nobody waits behind a call that hangs
        if not self.turn.acquire(timeout=self.seconds):
            raise self._silent()

        def sign() -> bytes:
            try:
                return self.inner.sign(data)
            finally:
                self.turn.release()

        return within(self.seconds, sign, self._silent, self._note)

    def _note(self, thread: threading.Thread) -> None:
        self._late = thread

    def _silent(self) -> Unavailable:
        return Unavailable(
            f"the key {self.place} did not answer within {self.seconds:g} seconds",
            advice="Nothing was changed. Look at the device or service, then ask again.",
        )


def open_place(place: Path | str) -> PrivateKey:
    """The private key a setting names: a file, or a reference that is given a deadline.

    Raises:
        ConfigurationError: absent, out of reach, or not a usable key.
        Unavailable: the service that keeps the key does not answer.
    """
    if isinstance(place, Path) or not key_reference.is_reference(place):
        return open_key(Path(place))

    def silent() -> Unavailable:
        return Unavailable(
            f"the key {place} did not answer within {OPEN_SECONDS:g} seconds",
            advice="Look at the device or service, then start again.",
        )

    key = within(OPEN_SECONDS, lambda: open_key(place), silent)
    turn = _ONE_TOKEN if place.startswith("hsm:") else threading.Lock()
    return DeviceKey(key, place, turn=turn)


def within(
    seconds: float,
    call: Callable[[], Answer],
    silent: Callable[[], Exception],
    late: Callable[[threading.Thread], None] = lambda _: None,
) -> Answer:
    """What a call answers in time.

    Args:
        seconds: the deadline.
        call: what may hang; it is left behind in a thread if it does.
        silent: makes what is raised then.
        late: is told of that thread.
    """
    answers: list[Answer] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            answers.append(call())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, name="key", daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not answers:
        late(thread)
        raise silent()
    return answers[0]
