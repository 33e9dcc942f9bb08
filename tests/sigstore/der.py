"""As much DER (X.690) as a CT log and a time stamp authority need."""

from __future__ import annotations

from datetime import datetime

SEQUENCE, SET, OCTETS, INTEGER, NULL, TEXT = 0x30, 0x31, 0x04, 0x02, 0x05, 0x0C


def tlv(tag: int, *content: bytes) -> bytes:
    """One value: tag, length, content."""
    body = b"".join(content)
    if len(body) < 0x80:
        return bytes([tag, len(body)]) + body
    size = (len(body).bit_length() + 7) // 8
    return bytes([tag, 0x80 | size]) + len(body).to_bytes(size, "big") + body


def oid(dotted: str) -> bytes:
    """An object identifier."""
    first, second, *rest = map(int, dotted.split("."))
    out = bytearray([40 * first + second])
    for number in rest:
        groups = [number & 0x7F]
        while number := number >> 7:
            groups.append(0x80 | number & 0x7F)
        out += bytes(reversed(groups))
    return tlv(0x06, bytes(out))


def integer(value: int) -> bytes:
    """A non-negative INTEGER."""
    return tlv(INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def generalized_time(at: datetime) -> bytes:
    """An instant in UTC, whole seconds."""
    return tlv(0x18, at.strftime("%Y%m%d%H%M%SZ").encode())


def parts(value: bytes) -> list[bytes]:
    """The values inside a constructed one, each with its tag and length."""
    found, rest = [], _content(value)
    while rest:
        size = len(rest) - len(_content_after(rest))
        found.append(rest[:size])
        rest = rest[size:]
    return found


def _head(value: bytes) -> tuple[int, int]:
    """Where the content begins and ends."""
    if value[1] < 0x80:
        return 2, 2 + value[1]
    start = 2 + (value[1] & 0x7F)
    return start, start + int.from_bytes(value[2:start], "big")


def _content(value: bytes) -> bytes:
    start, end = _head(value)
    return value[start:end]


def _content_after(value: bytes) -> bytes:
    return value[_head(value)[1] :]
