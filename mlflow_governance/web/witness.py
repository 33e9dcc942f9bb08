"""A witness of one's own (c2sp.org/tlog-witness): a small server for a second department.

It keeps one file for each ledger, the checkpoint it cosigned last, in the very form it is
published in. Reading it, judging what is asked and writing the new one happen under a lock of the
file, and the new one is on the disk before the answer is given. It runs on one host.
"""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mlflow_governance.core import moment
from mlflow_governance.errors import ConfigurationError, InvalidRequest, LedgerError
from mlflow_governance.ledger import checkpoint as checkpoints
from mlflow_governance.ledger import cosignature, witnessing
from mlflow_governance.ledger.checkpoint import Checkpoint
from mlflow_governance.ledger.note import NoteKey, NoteSigner
from mlflow_governance.ledger.witnessing import Answer, Request

if TYPE_CHECKING:
    import flask

MAX_REQUEST_BYTES = 128 * 1024
"""A checkpoint with 16 signatures of 5 kB, and a proof."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Witness:
    """One witness.

    Args:
        signer: its key.
        logs: the keys of the ledgers it watches; several of one origin while a key is replaced.
        folder: its state; made with mode 0700.
        now: seconds since 1970.

    Raises:
        ConfigurationError: it is to cosign with the key of a ledger, or for no ledger.
    """

    signer: NoteSigner
    logs: Sequence[NoteKey]
    folder: Path
    now: Callable[[], int] = lambda: int(moment.now().timestamp())

    def __post_init__(self) -> None:
        if not self.logs:
            raise ConfigurationError("a witness watches at least one ledger")
        if self.signer.key.public in [key.public for key in self.logs]:
            raise ConfigurationError("a ledger cannot be its own witness: the keys are the same")
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(f"{self.folder} cannot be made: {error.strerror}") from error

    def add_checkpoint(self, body: bytes) -> Answer:
        """The answer to ``POST /add-checkpoint``.

        Raises:
            ConfigurationError: its own state is damaged; it then cosigns nothing.
        """
        try:
            request = Request.parse(body)
            origin = request.checkpoint().origin
        except InvalidRequest as error:
            return Answer(400, f"{error.message}\n")
        if all(key.name != origin for key in self.logs):
            return Answer(404, "this ledger is not known here\n")
        with self._locked(origin):
            last = self._last(origin)
            given = witnessing.answer(request, self.logs, last, self.signer, self.now())
            if given.note:
                self._write(origin, given.note)
        if given.status == 422:
            _log.error("REFUSED, it is no continuation of %s:\n%s", last, request.note)
        return given

    def checkpoint(self, origin_hash: str) -> str | None:
        """The checkpoint cosigned last of the ledger whose origin has this SHA-256, in hex."""
        for key in self.logs:
            if _hash(key.name) == origin_hash:
                return self._read(key.name)
        return None

    def forget(self, origin: str) -> Path:
        """Begin anew with a ledger that lost entries; the checkpoint stays under another name.

        Raises:
            ConfigurationError: nothing of that ledger was ever cosigned.
        """
        with self._locked(origin):
            path = self._path(origin)
            kept = path.with_suffix(f".before-{self.now()}")
            try:
                path.rename(kept)
            except FileNotFoundError:
                raise ConfigurationError(f"nothing of {origin} was ever cosigned here") from None
        return kept

    def _last(self, origin: str) -> Checkpoint | None:
        note = self._read(origin)
        if note is None:
            return None
        try:
            last = checkpoints.parse(note)
            mine = cosignature.cosigned(note, [cosignature.witness_key(self.signer)])
        except LedgerError as error:
            raise self._damaged(origin) from error
        if last.origin != origin or not mine:
            raise self._damaged(origin)
        return last

    def _damaged(self, origin: str) -> ConfigurationError:
        return ConfigurationError(f"{self._path(origin)} is not what this witness wrote")

    def _path(self, origin: str) -> Path:
        return self.folder / f"{_hash(origin)}.checkpoint"

    def _read(self, origin: str) -> str | None:
        try:
            return self._path(origin).read_text("utf-8")
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise self._damaged(origin) from error

    def _write(self, origin: str, note: str) -> None:
        path = self._path(origin)
        temporary = path.with_suffix(f".{secrets.token_hex(8)}")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
                file.write(note)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        folder = os.open(self.folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    @contextmanager
    def _locked(self, origin: str) -> Iterator[None]:
        import fcntl

        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
        lock = os.open(self._path(origin).with_suffix(".lock"), flags, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)  # of threads, too: each has opened it for itself
            yield
        finally:
            os.close(lock)


def app_of(witness: Witness) -> flask.Flask:
    """The witness as a WSGI application."""
    import flask

    app = flask.Flask("mlflow-governance-witness", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_REQUEST_BYTES

    @app.post("/add-checkpoint")
    def add_checkpoint() -> flask.Response:
        given = witness.add_checkpoint(flask.request.get_data())
        response = flask.Response(given.body, given.status)
        response.headers["Content-Type"] = given.kind
        return response

    @app.get("/<origin_hash>/checkpoint")
    def checkpoint(origin_hash: str) -> flask.Response:
        note = witness.checkpoint(origin_hash)
        return flask.Response(note or "", 404 if note is None else 200, mimetype="text/plain")

    @app.errorhandler(ConfigurationError)
    def damaged(error: ConfigurationError) -> flask.Response:
        _log.error("%s", error.message)
        return flask.Response("the witness must be mended\n", 500, mimetype="text/plain")

    return app


def _hash(origin: str) -> str:
    return hashlib.sha256(origin.encode()).hexdigest()
