"""Ledger entries as they are kept: packed, for most of an entry is what every entry has.

An entry is 400 to 1,500 bytes of JSON, two thirds of it member names and hexadecimal digits. Kept
is a byte 1 and a raw DEFLATE stream (RFC 1951) with the dictionary below: a third of the room. An
entry may also stand as it is, which begins with a brace. Nobody trusts either: what counts is that
the bytes that come out have the leaf hash that was signed.
"""

from __future__ import annotations

import zlib
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

from mlflow_governance.ledger.entry import MAX_BYTES

_PACKED = b"\x01"
_RAW = -zlib.MAX_WBITS

# Part of the format: with another dictionary nothing that is kept could be read. A better one gets
# another first byte.
_DICTIONARY = (
    b'ledger.recovered","ledger.rekeyed","ledger.expired","ledger.exported","'
    b'person.erased","person.exported","evidence.exported","quarantine.proposed","registry.started",'
    b'"webhook.changed","account.changed","advisories.changed","model.ungoverned","model.renamed",'
    b'"model.deleted","request.refused","downloads.counted","download.denied","alias.deleted","'
    b'alias.moved","approval.withdrawn","approval.refused","approval.given","trust.changed","'
    b'policy.proposed","policy.approved","policy.changed","version.deleted","version.revoked","'
    b'version.refused","version.rejudged","evidence.attached","version.registered","location_digest":'
    b'"document_digest":"sha256:","archive_digest":"sha256:","how":"proposal","modules":"name":'
    b'"attestations/.intoto.json","role":"security","product","decision":"approve","reject","alias":'
    b'"champion","as_written":"from_version":"to_version":"door":"registry","again":true,"withdraw",'
    b'"download","accept","Quarantined","Revoked","Deprecated","Approved","None","stage":"None"'
    b'0123456789abcdef{"act":"version.transitioned","actor":"sha256:","after":{"policy_digest":'
    b'"sha256:","stage":"Staging","trust_digest":"sha256:"},"allowed":false,"allowed":true,"at":'
    b'"2026-11-21T00:00:00.000000Z","before":{},"before":{"policy_digest":null,"stage":"Candidate",'
    b'"trust_digest":null},"decision_digest":null,"decision_digest":"sha256:","decision_id":"",'
    b'"decision_id":"","event_id":"","facts":{"action":{"from":"Candidate","to":"Staging"},'
    b'"dossier_digest":"sha256:","failed":["PRO-001","ACC-001","DL-001"],"failed":[],"gate":'
    b'"promote","policy_digest":"sha256:"},"index":,"reason":null,"reason":"sha256:","schema":1,'
    b'"subject":{"digest":null,"digest":"sha256:","name":"","uid":"","version":1,"workspace":'
    b'"default"}}'
)


def pack(entry: bytes) -> bytes:
    """The form an entry is kept in."""
    packer = zlib.compressobj(6, zlib.DEFLATED, _RAW, zdict=_DICTIONARY)
    packed = _PACKED + packer.compress(entry) + packer.flush()
    return packed if len(packed) < len(entry) else entry


def unpack(kept: bytes) -> bytes:
    """The entry that is kept so; what nobody packed comes out as it is, and is no entry."""
    if kept[:1] != _PACKED:
        return kept
    unpacker = zlib.decompressobj(_RAW, zdict=_DICTIONARY)
    try:
        entry = unpacker.decompress(kept[1:], MAX_BYTES + 1)
    except zlib.error:
        return kept
    # Another stream behind it, or more than any entry has, was put there by somebody else.
    whole = unpacker.eof and not unpacker.unused_data and len(entry) <= MAX_BYTES
    return entry if whole else kept


class Packed(TypeDecorator[bytes]):
    """A column of entries."""

    impl = sa.LargeBinary
    cache_ok = True

    def process_bind_param(self, value: bytes | None, dialect: Dialect) -> bytes | None:
        """Pack."""
        return None if value is None else pack(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        """Unpack. SQLite gives back whatever type somebody wrote; that is for its reader."""
        return unpack(bytes(value)) if isinstance(value, bytes | memoryview) else value
