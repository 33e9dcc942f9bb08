"""What the registry found by reading a model's own files: a fact about one digest, whoever asks.

Files are read once, when they are hashed; verifiers work on this record. It says which scanner
made it, so that a newer one is noticed and the files are read again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from mlflow_governance.core import digest
from mlflow_governance.core.digest import Digest
from mlflow_governance.errors import InvalidRequest, VerificationError

MAX_FINDINGS = 200
"""More are counted, not kept."""


class CodeVerdict(StrEnum):
    """What loading the model would run, from harmless to unknown."""

    CLEAN = "clean"
    """Nothing but data and the constructors on the allow-list of the model's flavor."""
    CODE = "contains_code"
    """Code of the author that can be named: Python files, pickled functions."""
    REFUSED = "refused"
    """Something that is on no list, malformed, hidden, or beyond the bounds."""


@dataclass(frozen=True, slots=True, order=True)
class CodeFinding:
    """One reason for a verdict: the file, the rule (``pickle-global``), and what was found."""

    file: str
    rule: str
    detail: str
    verdict: CodeVerdict = CodeVerdict.REFUSED

    def to_document(self) -> dict[str, str]:
        """The finding as policy sees it."""
        return {
            "file": self.file,
            "rule": self.rule,
            "detail": self.detail,
            "verdict": self.verdict.value,
        }


@dataclass(frozen=True)
class Inspection:
    """The record of one reading.

    ``scanner`` is the digest over the rules it was made with, ``requirements`` are the
    requirement lines (PEP 508) MLflow recorded with the model, sorted.
    """

    scanner: Digest
    verdict: CodeVerdict
    findings: tuple[CodeFinding, ...] = ()
    requirements: tuple[str, ...] = ()
    files: int = 0
    """How many files were read."""

    def to_document(self) -> dict[str, Any]:
        """The record as it is stored."""
        return {
            "scanner": self.scanner,
            "verdict": self.verdict.value,
            "findings": [finding.to_document() for finding in self.findings],
            "requirements": list(self.requirements),
            "files": self.files,
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Inspection:
        """Read back a stored record.

        Raises:
            VerificationError: it is none.
        """
        try:
            return cls(
                digest.parse(document["scanner"]),
                CodeVerdict(document["verdict"]),
                tuple(
                    CodeFinding(f["file"], f["rule"], f["detail"], CodeVerdict(f["verdict"]))
                    for f in document["findings"]
                ),
                tuple(map(str, document["requirements"])),
                int(document["files"]),
            )
        except (KeyError, TypeError, ValueError, InvalidRequest) as error:
            raise VerificationError("the stored inspection is malformed") from error
