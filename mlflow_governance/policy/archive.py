"""Bundles as ``.tar.gz``: the same bytes on any machine out, bounded and strict in."""

from __future__ import annotations

import gzip
import io
import struct
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from typing import BinaryIO

from mlflow_governance.errors import ConfigurationError

MAX_FILE_BYTES = 1024 * 1024
MAX_TOTAL_BYTES = 8 * 1024 * 1024

_UNPACKED = 2 * MAX_TOTAL_BYTES
_BLOCK = 0xFFFF
_ADVICE = "Compare the policy folder with the one that ships (policies/README.md)."


def refused(message: str) -> ConfigurationError:
    """The error that says why a bundle is not read."""
    return ConfigurationError(f"the policy bundle is refused: {message}", advice=_ADVICE)


def pack(files: Mapping[str, bytes]) -> bytes:
    """Files by path as a reproducible ``.tar.gz``: sorted, without times, owners or compression.

    Nothing is compressed, because two versions of zlib compress the same bytes differently.
    """
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name in sorted(files):
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(files[name]), 0o644
            tar.addfile(member, io.BytesIO(files[name]))
    return _stored(buffer.getvalue())


def unpack(stream: BinaryIO, shown: str) -> Iterator[tuple[str, bytes]]:
    """The files of a ``.tar.gz`` by path; ``shown`` names it in errors.

    Bounded, so that neither a small file that unpacks to gigabytes nor an endless list of headers
    is read further than the limits.

    Raises:
        ConfigurationError: not a ``.tar.gz``, too large, or it holds links or a name twice.
    """
    seen: set[str] = set()
    try:
        with gzip.open(stream) as packed:
            plain = packed.read(_UNPACKED + 1)
        if len(plain) > _UNPACKED:
            raise refused(f"it unpacks to more than {_UNPACKED} bytes")
        with tarfile.open(fileobj=io.BytesIO(plain), mode="r:") as tar:
            for member in tar:
                name = member.name.removeprefix("./").removeprefix("/")
                if member.isdir():
                    continue
                # A sparse file says how large it is: a header of 512 bytes would become a mebibyte.
                if not member.isreg() or member.issparse() or member.size > MAX_FILE_BYTES:
                    raise refused(f"{name[:100]!r} is a link, a device, sparse or too large")
                if name in seen:
                    raise refused(f"it holds {name[:100]!r} twice")
                seen.add(name)
                file = tar.extractfile(member)
                yield name, file.read() if file else b""
    except (gzip.BadGzipFile, tarfile.TarError, EOFError, zlib.error, ValueError) as error:
        raise refused(f"{shown} is not a .tar.gz: {error}") from error


def _stored(data: bytes) -> bytes:
    """RFC 1952 around RFC 1951's stored blocks; time 0 and operating system unknown."""
    parts = [b"\x1f\x8b\x08\0\0\0\0\0\0\xff"]
    for start in range(0, len(data), _BLOCK):
        block = data[start : start + _BLOCK]
        last = start + _BLOCK >= len(data)
        parts += [struct.pack("<BHH", last, len(block), len(block) ^ _BLOCK), block]
    parts.append(struct.pack("<II", zlib.crc32(data), len(data)))
    return b"".join(parts)
