"""A zip whose bytes depend on nothing but what is in it, written file by file."""

from __future__ import annotations

import zipfile
from typing import BinaryIO

from mlflow_governance.core.digest import Digest, of_bytes
from mlflow_governance.errors import VerificationError

_EPOCH = (1980, 1, 1, 0, 0, 0)
_UNIX, _PLAIN_FILE = 3, 0o100644 << 16
_LEVEL = 6


class Archive:
    """Writes files into a zip and remembers their digests.

    Args:
        to: where the bytes go; only written to, and never sought.
    """

    def __init__(self, to: BinaryIO) -> None:
        self._to = _Forward(to)
        self._zip = zipfile.ZipFile(self._to, "w", zipfile.ZIP_DEFLATED, compresslevel=_LEVEL)
        self._names: set[str] = set()
        self.files: dict[str, Digest] = {}

    def add(self, path: str, data: bytes) -> None:
        """Add a file.

        Raises:
            VerificationError: another file stands there, or would on a system that takes upper
                and lower case for the same.
        """
        if path.casefold() in self._names:
            raise VerificationError(f"two files of the archive would be {path[:200]!r}")
        self._names.add(path.casefold())
        info = zipfile.ZipInfo(path, _EPOCH)
        info.create_system, info.external_attr = _UNIX, _PLAIN_FILE
        info.compress_type = zipfile.ZIP_DEFLATED
        self._zip.writestr(info, data)
        self.files[path] = of_bytes(data)

    def __enter__(self) -> Archive:
        """The archive, which is whole once the block ends well."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Write the directory; after an error nothing more is written, and it opens nowhere."""
        self._to.silent = kind is not None
        self._zip.close()


class _Forward:
    # Without tell and seek, zipfile writes sizes behind each file instead of going back.
    def __init__(self, to: BinaryIO) -> None:
        self._to = to
        self.silent = False

    def write(self, data: bytes) -> int:
        return len(data) if self.silent else self._to.write(data)

    def flush(self) -> None:
        if not self.silent:
            self._to.flush()

    def close(self) -> None:
        """Whoever gave it closes it."""
