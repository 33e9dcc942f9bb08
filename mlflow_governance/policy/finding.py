"""One thing that is wrong with a bundle, where it stands, and how to mend it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """What ``policy check`` says about one place. Lines and columns count from 1."""

    file: str
    """Path inside the bundle."""
    line: int
    column: int
    rule: str
    """Which rule of the check it is, e.g. ``negation``; see :mod:`.lint` and :mod:`.check`."""
    message: str
    fix: str = ""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.rule}: {self.message}"

    def to_document(self) -> dict[str, str | int]:
        """The finding as JSON."""
        return {
            "file": self.file,
            "line": self.line,
            "column": self.column,
            "rule": self.rule,
            "message": self.message,
            "fix": self.fix,
        }
