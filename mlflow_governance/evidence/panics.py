"""Libraries written in Rust that give up on foreign bytes.

A panic there reaches Python as a ``PanicException``, which is no :class:`Exception`: whoever
catches those to say no would let it end the thread.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

_MAX_TOLD = 200


class Panicked(Exception):
    """A library gave up; what it was asked is not known."""


@contextmanager
def contained() -> Iterator[None]:
    """Turn a panic into an error like any other.

    Raises:
        Panicked: a library panicked.
    """
    try:
        yield
    except BaseException as error:
        # PyO3 makes the class anew in each library and exports it from none.
        if type(error).__name__ != "PanicException":
            raise
        raise Panicked(f"a library gave up: {str(error)[:_MAX_TOLD]}") from error
