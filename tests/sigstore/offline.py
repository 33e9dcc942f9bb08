"""Proof that nothing asks the network."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def no_network() -> Iterator[None]:
    """Every connection and every name looked up fails the test."""

    def refuse(*arguments: object, **_: object) -> None:
        pytest.fail(f"the network was asked: {arguments[1:2]}")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", refuse)
        patch.setattr(socket.socket, "connect_ex", refuse)
        patch.setattr(socket, "getaddrinfo", refuse)
        yield
