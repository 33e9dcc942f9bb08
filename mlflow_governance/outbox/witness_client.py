"""Asking witnesses for their cosignature (c2sp.org/tlog-witness, ``add-checkpoint``)."""

from __future__ import annotations

import re
from collections.abc import Callable

import requests
import urllib3

from mlflow_governance.core import moment
from mlflow_governance.errors import GovernanceError, LedgerError, Unavailable
from mlflow_governance.ledger import checkpoint as checkpoints
from mlflow_governance.ledger import cosignature
from mlflow_governance.ledger.checkpoint import Checkpoint
from mlflow_governance.ledger.recovery import Prove
from mlflow_governance.ledger.witnessing import SIZE_TYPE, Request
from mlflow_governance.outbox.checkpoint_options import WitnessOptions
from mlflow_governance.outbox.session import new_session

_TIMEOUT = (5.0, 15.0)
_MAX_ANSWER = 64 * 1024
_SIZE = re.compile(rb"(0|[1-9][0-9]{0,18})\n")
_TRIES = 3
"""Somebody else may show the witness a newer checkpoint between two of our questions."""
_CLOCK_SECONDS = 3600
"""A witness whose clock is as far from ours is not believed about the time."""


class Contradicted(LedgerError):
    """A witness has seen another ledger than ours: larger, or one that ours does not continue."""


class WitnessClient:
    """One witness. Remembers the size it said last; the witness is who knows it.

    Args:
        options: its key and address.
    """

    def __init__(self, options: WitnessOptions) -> None:
        self.key = options.key
        self._url = f"{options.url}/add-checkpoint"
        self._ca_file = options.ca_file
        self._size = 0

    def cosign(self, note: str, prove: Prove, current: Callable[[], int]) -> str:
        """The witness's signature line under a checkpoint.

        Args:
            note: the signed checkpoint.
            prove: the ledger's consistency proofs.
            current: the size of the ledger now, asked when the witness knows more than the note.

        Raises:
            Contradicted: the witness has seen another ledger.
            Unavailable: it does not answer, or otherwise than the protocol says.
        """
        asked = checkpoints.parse(note)
        for _ in range(_TRIES):
            proof = tuple(prove(self._size, asked.size)) if self._size else ()
            status, kind, body = self._post(Request(self._size, proof, note).encode())
            if status == 200:
                self._size = asked.size
                return self._line(note, body)
            if status != 409:
                raise self._refused(status, asked, body)
            self._size = self._told(kind, body)
            if self._size > asked.size:
                raise self._ahead(asked, current())
        raise Unavailable(f"the witness {self.key.name} cannot say which size it knows")

    def _told(self, kind: str, body: bytes) -> int:
        match = _SIZE.fullmatch(body)
        if match is None or kind.partition(";")[0].strip() != SIZE_TYPE:
            raise Unavailable(f"the witness {self.key.name} does not say which size it knows")
        return int(match[1])

    def _ahead(self, asked: Checkpoint, current: int) -> GovernanceError:
        if self._size <= current:  # the ledger has grown meanwhile, and another worker told it
            return Unavailable(f"the witness {self.key.name} is already ahead of {asked.size}")
        return Contradicted(
            f"the witness {self.key.name} has cosigned this ledger at {self._size} entries, and "
            f"the database has {current}: it was rolled back"
        )

    def _refused(self, status: int, asked: Checkpoint, body: bytes) -> GovernanceError:
        if status == 422:
            return Contradicted(
                f"the witness {self.key.name} refuses the checkpoint of {asked.size} entries: it "
                f"is no continuation of the ledger of {self._size} that the witness cosigned"
            )
        told = body[:200].decode("utf-8", "replace").strip()
        why = {
            403: "it does not trust the ledger's key", 404: "it does not know this ledger"
        }.get(status, f"HTTP {status}")  # fmt: skip
        return Unavailable(f"the witness {self.key.name} does not cosign: {why} ({told})")

    def _line(self, note: str, body: bytes) -> str:
        lines = body.decode("utf-8", "replace").splitlines(keepends=True)
        text = note.rpartition("\n\n")[0] + "\n"
        for line in lines:
            if not line.startswith(f"\N{EM DASH} {self.key.name} "):
                continue  # of a key nobody here knows
            try:
                found = cosignature.cosigned(f"{text}\n{line}", [self.key])
            except LedgerError as error:
                raise Unavailable(f"the witness {self.key.name}: {error.message}") from error
            if self.key in found:
                self._refuse_time(found[self.key])
                return line
        raise Unavailable(f"the witness {self.key.name} answers without its cosignature")

    def _refuse_time(self, second: int) -> None:
        if abs(second - moment.now().timestamp()) > _CLOCK_SECONDS:
            raise Unavailable(f"the clock of the witness {self.key.name} is wrong")

    def _post(self, body: bytes) -> tuple[int, str, bytes]:
        try:
            with (
                new_session(self._ca_file) as session,
                session.post(
                    self._url, data=body, timeout=_TIMEOUT, allow_redirects=False, stream=True
                ) as answer,
            ):
                kind = answer.headers.get("Content-Type", "")
                return answer.status_code, kind, answer.raw.read(_MAX_ANSWER)
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            raise Unavailable(
                f"the witness {self.key.name} does not answer: {type(error).__name__}"
            ) from error
