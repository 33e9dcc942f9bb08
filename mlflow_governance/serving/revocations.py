"""The revocation list: which contents nobody may load, signed, numbered and short-lived.

A DSSE envelope (v1.0) of the media type :data:`PAYLOAD_TYPE`, signed by a key trusted for
``registry``, around the RFC 8785 form of::

    {"schema": 1, "epoch": 812, "issued_at": "…Z", "expires_at": "…Z",
     "entries": [{"digest": "sha256:…", "stage": "Revoked", "at": "…Z"}]}

The epoch never goes back, so an old list cannot be replayed to whoever has seen a newer one; the
expiry bounds how long somebody cut off from the registry can be kept from seeing a newer one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from mlflow_governance.core import canonical, digest, moment
from mlflow_governance.core.digest import Digest
from mlflow_governance.core.stage import WITHDRAWN, Stage
from mlflow_governance.errors import EvidenceMissing, InvalidRequest, Unavailable, VerificationError
from mlflow_governance.evidence import envelope
from mlflow_governance.evidence.keys import PrivateKey
from mlflow_governance.evidence.predicate import Purpose
from mlflow_governance.evidence.trust import TrustPolicy
from mlflow_governance.serving.files import locked, read_file, replace_file

PAYLOAD_TYPE = "application/vnd.mlflow-governance.revocations+json"
SCHEMA = 1
CLOCK_SKEW = timedelta(minutes=5)
"""How far the registry's clock may be ahead of ours."""
MAX_BYTES = canonical.MAX_BYTES
"""Lists beyond this are not read; it is room for about fifty thousand entries."""

_FIELDS = {"schema", "epoch", "issued_at", "expires_at", "entries"}
_ENTRY_FIELDS = {"digest", "stage", "at"}
_EVERY_MODEL = "*"
_ADVICE = "Fetch the list of now: curl SERVER/api/2.0/mlflow-governance/revocations"


@dataclass(frozen=True, slots=True)
class Revocation:
    """One content nobody may load: ``stage`` is Quarantined or Revoked, since ``at``."""

    digest: Digest
    stage: str
    at: datetime


@dataclass(frozen=True)
class RevocationList:
    """A verified list."""

    epoch: int
    issued_at: datetime
    expires_at: datetime
    entries: Mapping[Digest, Revocation]

    def refuse(self, subject: Digest) -> None:
        """Raise when this content is on the list.

        Raises:
            VerificationError: it is.
        """
        entry = self.entries.get(subject)
        if entry is not None:
            raise VerificationError(
                f"the content {subject} is {entry.stage} since {moment.to_text(entry.at)}",
                advice="Load another version: mlflow-governance history NAME/VERSION says why.",
            )


def make_list(
    entries: Iterable[Revocation],
    epoch: int,
    issued_at: datetime,
    lifetime: timedelta,
    key: PrivateKey,
) -> bytes:
    """Sign a list.

    Args:
        entries: every blocked content, each once.
        epoch: at least 0; never lower than in a list issued before.
        issued_at: the moment the entries were read.
        lifetime: for how long the list may be used.
        key: the registry's.
    """
    if epoch < 0 or lifetime <= timedelta(0):
        raise ValueError("an epoch is not negative and a lifetime is positive")
    document = {
        "schema": SCHEMA,
        "epoch": epoch,
        "issued_at": moment.to_text(issued_at),
        "expires_at": moment.to_text(issued_at + lifetime),
        "entries": [
            {"digest": e.digest, "stage": Stage(e.stage).value, "at": moment.to_text(e.at)}
            for e in sorted(entries, key=lambda e: e.digest)
        ],
    }
    return envelope.sign(canonical.encode(document), PAYLOAD_TYPE, [key])


def verify_list(
    data: bytes, trust: TrustPolicy, now: datetime, minimum_epoch: int = 0
) -> RevocationList:
    """Check a list: signer, form, number, time.

    Args:
        data: the envelope.
        trust: must hold a signer trusted for ``registry`` and for every model.
        now: the instant the list must be valid at.
        minimum_epoch: the highest epoch seen before.

    Raises:
        VerificationError: any of it does not hold.
    """
    try:
        found = _parse(_signed_payload(data, trust, now))
    except VerificationError as error:
        raise VerificationError(
            f"the revocation list does not verify: {error.message}", advice=error.advice or _ADVICE
        ) from error
    if found.epoch < minimum_epoch:
        raise VerificationError(
            f"the revocation list was rolled back: epoch {found.epoch}, "
            f"and epoch {minimum_epoch} was seen before",
            advice=_ADVICE,
        )
    if now + CLOCK_SKEW < found.issued_at:
        raise VerificationError(
            f"the revocation list is of the future: issued {moment.to_text(found.issued_at)}",
            advice="Set this host's clock.",
        )
    if now >= found.expires_at:
        raise VerificationError(
            f"the revocation list expired at {moment.to_text(found.expires_at)}", advice=_ADVICE
        )
    return found


class RevocationCache:
    """The newest list seen, kept in one file; used while the registry does not answer.

    Args:
        path: the file, in a directory only this user may write to.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> bytes | None:
        """The list as it came; None when none was seen."""
        return read_file(self._path, MAX_BYTES)

    def epoch(self) -> int:
        """The highest epoch seen. It outlives the key and the validity of the list it stood in.

        Raises:
            VerificationError: the file is damaged.
        """
        data = self.read()
        return 0 if data is None else self._parsed(data).epoch

    def keep(self, data: bytes, found: RevocationList) -> None:
        """Store a verified list unless a newer one is there.

        Raises:
            VerificationError: another process has seen a higher epoch meanwhile.
        """
        with locked(self._path.parent):
            held = self.read()
            newest = None if held is None else self._parsed(held)
            if newest is None or newest.epoch <= found.epoch:
                if newest is None or newest.issued_at <= found.issued_at:
                    replace_file(self._path, data)
                return
        raise VerificationError("the revocation list was rolled back", advice=_ADVICE)

    def _parsed(self, data: bytes) -> RevocationList:
        try:
            return _parse(envelope.parse(data).payload)
        except VerificationError as error:
            raise VerificationError(
                f"the kept revocation list {self._path} is damaged: {error.message}",
                advice=f"Delete {self._path} and verify once with the registry in reach.",
            ) from error


def current_list(
    fetch: Callable[[], bytes], cache: RevocationCache, trust: TrustPolicy, now: datetime
) -> RevocationList:
    """The list to go by now: the registry's if it answers, else the one kept while it is valid.

    Raises:
        EvidenceMissing: the registry does not answer and no list was kept.
        VerificationError: the list does not verify. A bad answer is not mended by a kept list.
    """
    minimum = cache.epoch()
    try:
        data = fetch()
    except Unavailable as error:
        kept = cache.read()
        if kept is None:
            raise EvidenceMissing(
                f"there is no revocation list: {error.message}", advice=error.advice or _ADVICE
            ) from error
        return verify_list(kept, trust, now, minimum)
    found = verify_list(data, trust, now, minimum)
    cache.keep(data, found)
    return found


def _signed_payload(data: bytes, trust: TrustPolicy, now: datetime) -> bytes:
    enclosed = envelope.parse(data)
    if enclosed.payload_type != PAYLOAD_TYPE:
        raise VerificationError(f"its payload is not {PAYLOAD_TYPE}")
    # A list speaks of every model by what it leaves out, so its signer must be trusted so far.
    trust.verify(enclosed, Purpose.REGISTRY, _EVERY_MODEL, now)
    return enclosed.payload


def _parse(payload: bytes) -> RevocationList:
    try:
        document = canonical.decode_object(payload, max_bytes=MAX_BYTES)
        epoch, listed = document.get("epoch"), document.get("entries")
        if set(document) != _FIELDS or document["schema"] != SCHEMA:
            raise VerificationError(f"not a revocation list of schema {SCHEMA}")
        if type(epoch) is not int or epoch < 0 or not isinstance(listed, list):
            raise VerificationError("epoch or entries are malformed")
        entries = [_entry(value) for value in listed]
        found = RevocationList(
            epoch,
            moment.parse(document["issued_at"]),
            moment.parse(document["expires_at"]),
            {entry.digest: entry for entry in entries},
        )
    except InvalidRequest as error:
        raise VerificationError(error.message) from error
    if len(found.entries) != len(entries):
        raise VerificationError("it names a content twice")
    if found.expires_at <= found.issued_at:
        raise VerificationError("it is valid for no time at all")
    return found


def _entry(value: Any) -> Revocation:
    if not isinstance(value, dict) or set(value) != _ENTRY_FIELDS:
        raise VerificationError("an entry is malformed")
    if value["stage"] not in [stage.value for stage in WITHDRAWN]:
        raise VerificationError("an entry has a stage that withdraws nothing")
    return Revocation(digest.parse(value["digest"]), str(value["stage"]), moment.parse(value["at"]))
