"""Names of models and versions, and the ways people write them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote

from mlflow_governance.errors import InvalidRequest

DEFAULT_WORKSPACE = "default"
_MAX_NAME = 256


@dataclass(frozen=True, slots=True, order=True)
class VersionRef:
    """One version of a registered model, ``churn/3`` in commands."""

    name: str
    version: int
    workspace: str = DEFAULT_WORKSPACE

    def __post_init__(self) -> None:
        check_name(self.name)
        if self.version < 1 or self.version >= 2**31:
            raise InvalidRequest(f"version {self.version} is not a positive number")

    def __str__(self) -> str:
        return f"{self.name}/{self.version}"

    @classmethod
    def parse(cls, text: str) -> VersionRef:
        """Read ``churn/3`` or ``models:/churn/3``.

        Raises:
            InvalidRequest: it names no version.
        """
        name, _, version = text.removeprefix("models:/").rpartition("/")
        if not name or not re.fullmatch(r"[0-9]{1,9}", version):
            raise InvalidRequest(
                f"{text[:120]!r} names no model version",
                advice="Write NAME/VERSION, for example churn/3.",
            )
        return cls(name, int(version))

    @property
    def folder(self) -> str:
        """Where this version's evidence stands: ``governance/<model>/v<version>``.

        Several versions may share one artifact directory, so the path names both; the name is
        percent-encoded so that no name can leave the folder.
        """
        folder = quote(self.name, safe=" ")
        if folder == "evidence":  # where producers leave theirs, before a version has a number
            folder = "%65vidence"
        return f"governance/{folder}/v{self.version}"


def check_name(name: str) -> None:
    """Refuse names that are a path, a URI or a control sequence in disguise.

    Raises:
        InvalidRequest: the name is empty, too long or unsafe.
    """
    bad = (
        not name
        or len(name) > _MAX_NAME
        or name.strip() != name
        or name in (".", "..")
        or any(c in name for c in "/:\\")
        or any(ord(c) < 32 or ord(c) == 127 or 0xD800 <= ord(c) <= 0xDFFF for c in name)
    )
    if bad:
        raise InvalidRequest(f"not a usable model name: {name[:80]!r}")
