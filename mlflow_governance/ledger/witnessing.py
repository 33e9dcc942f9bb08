"""What a witness answers (c2sp.org/tlog-witness), as a pure function over what it saw before.

A witness cosigns a checkpoint of a ledger it knows when the ledger shows, by a consistency proof,
that it continues the last checkpoint the witness cosigned. It keeps that one checkpoint and
nothing else of the ledger.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass

from mlflow_governance.errors import InvalidRequest, LedgerError
from mlflow_governance.ledger import checkpoint as checkpoints
from mlflow_governance.ledger import cosignature, merkle
from mlflow_governance.ledger import note as notes
from mlflow_governance.ledger.checkpoint import Checkpoint
from mlflow_governance.ledger.note import NoteKey, NoteSigner

MAX_PROOF = 63
"""Consistency proof lines in a request at most."""
SIZE_TYPE = "text/x.tlog.size"
_OLD = re.compile(r"old (0|[1-9][0-9]{0,18})")
_DASH = "\N{EM DASH} "


@dataclass(frozen=True, slots=True)
class Request:
    """An ``add-checkpoint`` request: the size its proof begins at, the proof, the signed note."""

    old: int
    proof: tuple[bytes, ...]
    note: str

    def encode(self) -> bytes:
        """The body to send."""
        lines = [f"old {self.old}", *map(_base64, self.proof), "", self.note]
        return "\n".join(lines).encode()

    @classmethod
    def parse(cls, body: bytes) -> Request:
        """Read a body.

        Raises:
            InvalidRequest: it is not one.
        """
        try:
            head, separator, note = body.decode().partition("\n\n")
            first, *rest = head.split("\n")
            old = _OLD.fullmatch(first)
            proof = tuple(map(notes.decode_base64, rest[: MAX_PROOF + 1]))
        except (UnicodeDecodeError, LedgerError) as error:
            raise InvalidRequest("not an add-checkpoint request") from error
        if not separator or old is None or len(proof) > MAX_PROOF:
            raise InvalidRequest("not an add-checkpoint request")
        if any(len(node) != merkle.HASH_BYTES for node in proof):
            raise InvalidRequest("the proof holds something else than SHA-256 hashes")
        return cls(int(old[1]), proof, note)

    def checkpoint(self) -> Checkpoint:
        """What the note says, unverified.

        Raises:
            InvalidRequest: it is not a checkpoint.
        """
        try:
            return checkpoints.parse(self.note)
        except LedgerError as error:
            raise InvalidRequest(error.message) from error


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer. ``note`` is what must be on the disk before it is given, if anything."""

    status: int
    body: str
    kind: str = "text/plain; charset=utf-8"
    note: str = ""


def answer(
    request: Request, keys: Sequence[NoteKey], last: Checkpoint | None, signer: NoteSigner, now: int
) -> Answer:
    """What a witness says to a checkpoint.

    Args:
        request: what it is asked.
        keys: the keys it trusts for the ledger of that origin; none: it does not know the ledger.
        last: the checkpoint of that ledger it cosigned last; None: it never did.
        signer: its own key.
        now: seconds since 1970.

    Raises:
        InvalidRequest: the note is not a checkpoint.
    """
    asked = request.checkpoint()
    known = [key for key in keys if key.name == asked.origin]
    if not known:
        return Answer(404, "this ledger is not known here\n")
    lines = _trusted_lines(request.note, known)
    if not lines:
        return Answer(403, "the checkpoint is not signed by a key that is trusted for its ledger\n")
    if request.old > asked.size:
        return Answer(400, "the old size is larger than the checkpoint\n")
    latest = last.size if last is not None else 0
    if request.old != latest:
        return Answer(409, f"{latest}\n", SIZE_TYPE)
    if refusal := _inconsistent(request, asked, last):
        return Answer(422, refusal)
    text, _ = notes.split(request.note)
    line = cosignature.cosign(text, signer, now)
    return Answer(200, line, note="".join([text, "\n", *lines, line]))


def _trusted_lines(note: str, keys: Sequence[NoteKey]) -> list[str]:
    # Lines of strangers are dropped; one under a trusted name that fails spoils the note.
    text, signatures = notes.split(note)
    lines = []
    for name, signature in signatures:
        mine = [key for key in keys if (key.name, key.key_id) == (name, signature[:4])]
        if any(not key.verify(text.encode(), signature[4:]) for key in mine):
            return []
        if mine:
            lines.append(f"{_DASH}{name} {_base64(signature)}\n")
    return lines


def _inconsistent(request: Request, asked: Checkpoint, last: Checkpoint | None) -> str:
    if asked.size == 0 and asked.root != merkle.EMPTY_ROOT:
        return "an empty ledger has another root\n"
    if last is None or last.size == 0:
        return "an old size of zero takes no proof\n" if request.proof else ""
    try:
        merkle.verify_consistency((last.size, last.root), (asked.size, asked.root), request.proof)
    except LedgerError as error:
        return f"{error.message}\n"
    return ""


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
