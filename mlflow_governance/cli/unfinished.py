"""A verification that was interrupted: how far it was, so that it need not begin anew.

The file says what the rows before a place led to when they were read. Going on from there is one
verification with a pause, and no more: rows that were changed in the pause are found by reading
them again. So it is used only where somebody asks for it, on the same database under the same key,
within a day; what it says has to lead to the signed head; and the report says what was read when.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path

from mlflow_governance.core import canonical, digest, moment
from mlflow_governance.errors import GovernanceError, InvalidRequest
from mlflow_governance.ledger.merkle import CompactRange

_FILE = "verification.json"
_SCHEMA = 1
_LONGEST = timedelta(days=1)
_MAX_BYTES = 16 * 1024
_ADVICE = "Begin anew: mlflow-governance ledger verify"


@dataclass(frozen=True)
class Run:
    """What a verification is of: the ledger key as published, a database, and since when."""

    key: str
    database: str
    began: str

    @classmethod
    def new(cls, key: str, url: str) -> Run:
        """One that begins now. Of the URL, which may hold a password, only the digest is kept."""
        place = digest.of_bytes(url.removeprefix("governance+").encode())
        return cls(key, place, moment.to_text(moment.now()))


@dataclass(frozen=True)
class Unfinished:
    """How far a run was: the subtrees of every entry it read."""

    run: Run
    tree: CompactRange

    def save(self, home: Path) -> None:
        """Write it down. Where the folder cannot be written, a run cannot be gone on with."""
        document = {
            "schema": _SCHEMA,
            **asdict(self.run),
            "size": self.tree.size,
            "root": self.tree.root.hex(),
            "subtrees": self.tree.to_bytes().hex(),
        }
        part = home / f"{_FILE}.part"
        try:
            part.unlink(missing_ok=True)
            # Nobody else may say what was verified.
            with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                json.dump(document, file)
            part.replace(home / _FILE)
        except OSError:
            return

    @staticmethod
    def forget(home: Path) -> None:
        """There is nothing to go on with any more."""
        try:
            (home / _FILE).unlink(missing_ok=True)
        except OSError:
            return

    @classmethod
    def load(cls, home: Path, run: Run) -> Unfinished:
        """What an interrupted run of the same ledger left behind.

        Raises:
            InvalidRequest: there is none, it is of something else, too old, or not ours.
        """
        path = home / _FILE
        try:
            about = path.stat()
            data = path.read_bytes() if about.st_size <= _MAX_BYTES else b""
        except OSError as error:
            raise InvalidRequest("no verification was interrupted here", advice=_ADVICE) from error
        if about.st_mode & 0o022 or about.st_uid != os.geteuid():
            raise InvalidRequest(f"{path} can be written by others", advice=_ADVICE)
        try:
            found = canonical.decode_object(data)
            was = Run(str(found["key"]), str(found["database"]), str(found["began"]))
            tree = CompactRange.from_bytes(int(found["size"]), bytes.fromhex(found["subtrees"]))
            age = moment.now() - moment.parse(was.began)
        except (GovernanceError, KeyError, TypeError, ValueError) as error:
            raise InvalidRequest(f"{path} cannot be read", advice=_ADVICE) from error
        if (was.key, was.database) != (run.key, run.database) or found.get("schema") != _SCHEMA:
            raise InvalidRequest(
                "the interrupted verification is of another ledger", advice=_ADVICE
            )
        if not timedelta(0) <= age <= _LONGEST:
            raise InvalidRequest(
                f"the interrupted verification began at {was.began}: too long ago", advice=_ADVICE
            )
        return cls(was, tree)
