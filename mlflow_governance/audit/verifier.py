#!/usr/bin/env python3
"""Verify what a model registry handed you, without the registry and without trusting it.

    python verify.py ledger DIR --key VKEY                  an export of the whole ledger
    python verify.py bundle ZIP --key VKEY                  evidence of a version or of a period
    python verify.py proof FILE --entry FILE --key VKEY     one entry and its inclusion proof

This is the only file; beside Python 3.9 it needs the package "cryptography". It opens no network
connection, starts no program and writes nothing. Trust comes from the keys on the command line
alone: give the newest key of the ledger that you know, for whoever has an older one could go on
from it. Get it by another way than the files came by.
Exit codes: 0 it verifies, 1 it does not (what and where is printed), 2 it could not be checked.

What is verified. Of a ledger: every entry, every hash and every signature; that it continues each
checkpoint that was kept, and by whom they were witnessed and stamped; that a change of its key was
signed by both keys; that what is missing was past its time, and what was lost is owned up to. Of
a bundle: every file, by the registry's key, which the ledger names; every entry, by its proof;
that each version moved as the life cycle has it; that each move was decided, by that policy, upon
that input; that each approval it rests on was given before, stood, and was not the submitter's.
With --ledger also that no entry was left out; else that is the registry's own word.

What is not verified: that what was recorded is true, that the policy was a good one or would say
the same again (its engine is not in here), the signatures within pieces of evidence (their digests
are), or that another ledger was not shown to others: for that compare checkpoints, or witnesses.

Contents: 1 files and strict JSON, 2 signed notes and the ledger's keys, 3 the Merkle tree,
4 time stamps, 5 the ledger, 6 one proof, 7 evidence bundles, 8 the command line.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import bisect
import hashlib
import heapq
import io
import json
import os
import re
import stat
import sys
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, NoReturn
from urllib.parse import quote

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

SMALL = 1024 * 1024
"""Bytes of a note, a key, a proof or a time stamp: none is read beyond this."""
LARGE = 256 * 1024 * 1024
"""Bytes of one file in an evidence bundle."""
MEMBERS = 400_000
"""Files in an evidence bundle."""
Entry = dict[str, Any]
_sha256 = hashlib.sha256

# Calls and tables are laid out by hand, to be read at a glance.
# fmt: off

# ---- 1. Outcomes, files and strict JSON ---------------------------------------------------------


class DoesNotVerifyError(Exception):
    """Something is not what was signed; exit code 1."""


class NotCheckedError(Exception):
    """It cannot be told: wrong usage, unreadable, unknown, no key; exit code 2."""


def refuse(where: object, what: str) -> NoReturn:
    """End with exit code 1."""
    raise DoesNotVerifyError(f"{where}: {what}")


def read_file(path: str, limit: int) -> bytes:
    """The bytes of a regular file; no link, no pipe and no device is opened."""
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        with open(os.open(path, flags | getattr(os, "O_BINARY", 0)), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise NotCheckedError(f"{path} is not a regular file")
            data = file.read(limit + 1)
    except (OSError, ValueError) as error:
        raise NotCheckedError(f"{path} cannot be read: {error}") from error
    if len(data) > limit:
        raise NotCheckedError(f"{path} has more than {limit} bytes, which are not read")
    return data


def walk(root: str) -> Iterator[str]:
    """The relative path of every file below a folder, with slashes; links are refused."""

    def failed(error: OSError) -> NoReturn:
        raise NotCheckedError(f"{root} cannot be read: {error}") from error

    for folder, folders, files in os.walk(root, onerror=failed):
        for name in (*folders, *files):
            path = os.path.join(folder, name)
            shown = os.path.relpath(path, root).replace(os.sep, "/")
            mode = os.lstat(path).st_mode
            if stat.S_ISREG(mode):
                yield shown
            elif not stat.S_ISDIR(mode):
                refuse(shown, "is a link or a device")


def parse_json(data: bytes, where: str) -> Any:
    """One JSON value: UTF-8, no key twice, no NaN, no integer beyond 2**53 - 1 (RFC 7493)."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(value := dict(pairs)) != len(pairs):
            raise ValueError("an object names a key twice")
        return value

    def bounded(digits: str) -> int:
        if len(digits) > 17 or abs(int(digits)) >= 2**53:
            raise ValueError("an integer is beyond 2**53 - 1")
        return int(digits)

    def constant(name: str) -> NoReturn:
        raise ValueError(f"{name} is not JSON")

    try:
        return json.loads(data.decode("utf-8"), object_pairs_hook=unique, parse_int=bounded,
                          parse_constant=constant)
    except (ValueError, RecursionError) as error:
        refuse(where, f"is not valid JSON ({error})")


def canonical(value: Any) -> bytes:
    """RFC 8785 bytes of a value made of texts, integers, booleans, null, lists and objects."""
    if isinstance(value, dict):
        names = sorted(value, key=lambda name: name.encode("utf-16-be", "surrogatepass"))
        members = (canonical(name) + b":" + canonical(value[name]) for name in names)
        return b"{" + b",".join(members) + b"}"
    if isinstance(value, list):
        return b"[" + b",".join(map(canonical, value)) + b"]"
    if isinstance(value, float):
        raise NotCheckedError("a number with a fraction stands where this verifier reads none")
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")


def sha256(data: bytes) -> str:
    """``sha256:<64 hex digits>``."""
    return "sha256:" + _sha256(data).hexdigest()


def decode_base64(text: Any, where: str) -> bytes:
    """Standard base64 (RFC 4648, 4) in its one canonical spelling."""
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, ValueError, AttributeError):
        refuse(where, "is not base64")
    if base64.b64encode(data).decode() != text:
        refuse(where, "is not canonical base64")
    return data


def instant(text: str) -> datetime:
    """A moment as entries write it."""
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%f%z")


def now() -> datetime:
    """The clock of whoever verifies."""
    return datetime.now(UTC)


DAY = timedelta(days=1)
"""By how much the clocks of servers and auditors may differ."""


# ---- 2. Signed notes (c2sp.org/signed-note), checkpoints, cosignatures; the ledger's keys -------

ED25519, ECDSA, COSIGNATURE = 0x01, 0x02, 0x04
REKEYED = "ledger.rekeyed "
TREE_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")


class Key:
    """A verifier key ``<name>+<key id>+<base64(type || key)>`` (signed-note, verifier keys)."""

    def __init__(self, text: str) -> None:
        self.text = text
        try:
            self.name, told, encoded = text.split("+", 2)
            raw = base64.b64decode(encoded, validate=True)
            self.type, named = raw[0], self.name.encode() + b"\n" + raw
            if self.type == ECDSA:  # named by the key alone
                self._key: Any = form.load_der_public_key(raw[1:])
                named = raw[1:]
            else:
                self._key = ed25519.Ed25519PublicKey.from_public_bytes(raw[1:])
        except (ValueError, IndexError, UnsupportedAlgorithm) as error:
            raise NotCheckedError(f"{text[:100]!r} is not a verifier key ({error})") from error
        known = isinstance(self._key, ec.EllipticCurvePublicKey) == (self.type == ECDSA)
        if not known or self.type not in (ED25519, ECDSA, COSIGNATURE) or not self.name.split():
            raise NotCheckedError(f"{text[:100]!r} is no verifier key that can be used here")
        self.id = _sha256(named).digest()[:4]
        if (told, encoded) != (self.id.hex(), base64.b64encode(raw).decode()):
            raise NotCheckedError(f"{text[:100]!r} is misspelt, or has another key id")

    def check(self, text: bytes, signature: bytes, where: str) -> int:
        """Check a signature over the text of a note; of a cosignature, return its POSIX time."""
        moment = 0
        try:
            if self.type == ECDSA:
                self._key.verify(signature, text, ec.ECDSA(hashes.SHA256()))
            elif self.type == ED25519:
                self._key.verify(signature, text)
            else:  # tlog-cosignature: u64 time || signature over two lines and the note's text
                moment = int.from_bytes(signature[:8], "big")
                self._key.verify(signature[8:], b"cosignature/v1\ntime %d\n" % moment + text)
        except (InvalidSignature, ValueError):
            refuse(where, f"the signature of {self.name}+{self.id.hex()} does not verify")
        return moment


class Note:
    """A signed note that is a checkpoint: ``origin``, ``size``, ``root``; not verified yet.

    ``heir`` is the key that signs from here on, named in the extension line of a handover.
    """

    def __init__(self, data: bytes, where: str) -> None:
        self.data, self.where = data, where
        try:
            text = data.decode("utf-8") if len(data) <= SMALL else ""
        except UnicodeDecodeError:
            refuse(where, "is not UTF-8")
        body, gap, tail = text.rpartition("\n\n")
        lines = body.split("\n")
        if not gap or not tail.endswith("\n") or any(ord(c) < 32 and c != "\n" for c in text):
            refuse(where, "is not a signed note")
        if len(lines) < 3 or not all(lines) or not TREE_SIZE.fullmatch(lines[1]):
            refuse(where, "is not a checkpoint: origin, size and root are expected")
        self.text = (body + "\n").encode()
        self.signatures = [self._signature(line) for line in tail[:-1].split("\n")]
        self.origin, self.size = lines[0], int(lines[1])
        self.root = decode_base64(lines[2], where)
        heirs = [line[len(REKEYED) :] for line in lines[3:] if line.startswith(REKEYED)]
        if len(self.root) != 32 or len(heirs) > 1:
            refuse(where, "its root is not a SHA-256 hash, or it hands over twice")
        try:
            self.heir = Key(heirs[0]) if heirs else None
        except NotCheckedError as error:
            refuse(where, f"hands the ledger over to no key: {error}")

    def _signature(self, line: str) -> tuple[str, bytes, bytes]:
        name, gap, encoded = line[2:].partition(" ")
        if line[:2] != "\N{EM DASH} " or not gap or not name or "+" in name:
            refuse(self.where, "has a malformed signature line")
        raw = decode_base64(encoded, self.where)
        if len(raw) < 5:
            refuse(self.where, "has a signature line without a signature")
        return name, raw[:4], raw[4:]

    def signers(self, keys: Iterable[Key]) -> dict[Key, int]:
        """``{key: POSIX time}`` of the keys that signed. One of them that fails refuses the note;
        signatures of other keys are passed over (signed-note, signatures)."""
        return {key: key.check(self.text, signature, self.where) for key in keys
                for name, key_id, signature in self.signatures
                if (key.name, key.id) == (name, key_id)}


def read_keys(arguments: Iterable[str] | None) -> list[Key]:
    """The verifier keys that the command line names: each a key itself, or a file of them."""
    found = []
    for argument in arguments or ():
        lines = [argument]
        if argument.count("+") < 2 or os.path.exists(argument):
            lines = read_file(argument, SMALL).decode("utf-8", "replace").splitlines()
        found += [Key(line.strip()) for line in lines if line.strip() and line[:1] != "#"]
    return found


class History:
    """The keys of one ledger, oldest first, found from one that is trusted.

    From each to the next leads exactly one checkpoint that names the next, and both signed it.
    ``ends[i]`` is its size: up to it the word of ``keys[i]`` counts, from it on that of the next.
    """

    def __init__(self, trusted: Key, known: Iterable[Key], notes: Iterable[Note]) -> None:
        self.keys: list[Key] = [trusted]
        self.ends: list[int] = []
        by_text = {key.text: key for key in (*known, trusted)}
        links: set[tuple[Key, Key, int]] = set()
        for note in notes:
            if note.heir is not None and note.origin == trusted.name:
                heir = by_text.setdefault(note.heir.text, note.heir)
                by = note.signers(by_text.values())
                links |= {(key, heir, note.size) for key in by if key is not heir and heir in by}
        while before := [link for link in links if link[1] is self.keys[0]]:
            self._extend(before, before[0][0], 0)
        while after := [link for link in links if link[0] is self.keys[-1]]:
            self._extend(after, after[0][1], len(self.keys))
        if self.ends != sorted(set(self.ends)):
            refuse("checkpoints", "the ledger's keys were handed over in another order")

    def _extend(self, links: list[tuple[Key, Key, int]], key: Key, place: int) -> None:
        if len(links) > 1 or key in self.keys:
            refuse("checkpoints", f"more than one hands the ledger over: the key {key.text[:120]}")
        self.keys.insert(place, key)
        self.ends.insert(max(place - 1, 0), links[0][2])

    def knows(self, note: Note) -> bool:
        """True for a checkpoint of this ledger, signed with a key it had at any time."""
        return note.origin == self.keys[0].name and bool(note.signers(self.keys))

    def in_time(self, note: Note) -> None:
        """Refuse a checkpoint signed by a key whose word did not count then."""
        heirs = dict(zip(self.ends, self.keys[1:]))  # noqa: B905  (Python 3.9)
        if note.heir and (note.size not in heirs or heirs[note.size].text != note.heir.text):
            refuse(note.where, "hands the ledger over to a key that is none of it")
        begins, ends = [0, *self.ends], [*self.ends, note.size]
        for key in note.signers(self.keys):
            place = self.keys.index(key)
            if not begins[place] <= note.size <= ends[place]:
                refuse(note.where, f"{key.text[:120]} was not the ledger's at {note.size} entries")

    def heads(self, note: Note) -> None:
        """Refuse a head that the newest key did not sign: a retired one says nothing any more."""
        last = self.ends[-1] if self.ends else 0
        if note.size < last:
            refuse(note.where, f"the checkpoint of {note.size} entries is older than the handover "
                   f"of {last}, and a retired key may have signed it since: have it made again")
        if not note.signers(self.keys[-1:]):
            refuse(note.where, f"{self.keys[-1].text[:120]}, the newest key, did not sign it")

    def told_by(self, entries: dict[int, Entry], below: int) -> None:
        """Hold the handovers to the entries ``ledger.rekeyed``: the last that each one counts."""
        wanted = {end - 1: (self.keys[i + 1].text, self.keys[i].id.hex())
                  for i, end in enumerate(self.ends) if end <= below}
        for index in sorted(wanted.keys() | entries.keys()):
            facts = entries.get(index, {}).get("facts", {})
            if wanted.get(index) != (facts.get("key"), facts.get("former")):
                refuse(f"entry {index}", "entries and checkpoints tell of different ledger keys")


def history_of(note: Note, given: list[Key], vkeys: bytes, notes: list[Note]) -> History:
    """The history of a key that is given, in which this checkpoint stands.

    ``vkeys`` are the keys a ledger says it had: none is believed because it stands there.
    """
    try:
        known = [Key(line) for line in vkeys.decode("utf-8", "replace").splitlines() if line]
    except NotCheckedError as error:
        refuse("keys/ledger.vkeys", str(error))
    for key in given:
        history = History(key, known, [*notes, note])
        if history.knows(note):
            history.in_time(note)
            history.heads(note)
            texts = [one.text for one in history.keys]
            for other in given:
                if other.name == note.origin and other.text not in texts:
                    raise NotCheckedError(f"{note.where}: nothing leads from {other.text[:120]}, "
                                          "which you gave, to the key that signed this one: give "
                                          "the handover, or the newest key alone")
            return history
    refuse(note.where, f"the checkpoint of {note.origin[:80]} is not signed with a key given, nor "
           "with one that a given key was handed over to or from")


# ---- 3. The Merkle tree (RFC 6962, 2.1) and its tiles (c2sp.org/tlog-tiles) ---------------------

WIDTH = 256  # hashes of a full tile


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 || left || right)."""
    return _sha256(b"\x01" + left + right).digest()


def perfect_root(row: list[bytes]) -> bytes:
    """The root over a power of two of hashes."""
    while len(row) > 1:
        row = [_sha256(b"\x01" + row[at] + row[at + 1]).digest() for at in range(0, len(row), 2)]
    return row[0]


def root_of(rows: Iterable[list[bytes]]) -> bytes:
    """The root of a tree from the hashes that no full tile has taken up, level by level."""
    root = None
    for row in rows:
        end = len(row)
        while end:
            width = end & -end  # the smallest perfect subtree at the right edge
            left = perfect_root(row[end - width : end])
            root = left if root is None else node_hash(left, root)
            end -= width
    return _sha256(b"").digest() if root is None else root


def root_from_proof(index: int, size: int, leaf: bytes, path: list[bytes], where: str) -> bytes:
    """The root an inclusion proof leads to: RFC 6962, 2.1.1, read from the root down."""
    if not 0 <= index < size:
        refuse(where, f"a tree of {size} entries has no entry {index}")
    if (size > 1) != bool(path):
        refuse(where, "the inclusion proof is too long or too short")
    if size == 1:
        return leaf
    left = 1 << (size - 1).bit_length() - 1  # entries of the left half, a power of two
    if index < left:
        return node_hash(root_from_proof(index, left, leaf, path[:-1], where), path[-1])
    return node_hash(path[-1], root_from_proof(index - left, size - left, leaf, path[:-1], where))


def tile_name(level: object, number: int, width: int = WIDTH) -> str:
    """``tile/<L>/<N>[.p/<W>]``."""
    digits = str(number).zfill(-(-len(str(number)) // 3) * 3)
    *above, last = re.findall("...", digits)
    part = "" if width == WIDTH else f".p/{width}"
    return f"tile/{level}/{''.join(f'x{group}/' for group in above)}{last}{part}"


# ---- 4. Time stamps (RFC 3161): a small strict reader of DER ------------------------------------

SIGNED_DATA, TST_INFO = "2a864886f70d010702", "2a864886f70d0109100104"
CONTENT_TYPE, MESSAGE_DIGEST = "2a864886f70d010903", "2a864886f70d010904"
SHA2: dict[str, Any] = {"608648016503040201": hashes.SHA256(),
                        "608648016503040202": hashes.SHA384(),
                        "608648016503040203": hashes.SHA512()}
Certificates = Sequence[x509.Certificate]


class Der:
    """One DER value (X.690, 10): ``tag``, ``body``, the ``whole`` of it, and what follows it."""

    def __init__(self, data: bytes, where: str) -> None:
        length, start = (data[1] if len(data) > 1 else 0x80), 2
        if length > 0x80:
            start += length - 0x80
            length = int.from_bytes(data[2:start], "big")
        if data[1:2] == b"\x80" or not 2 <= start <= 6 or start + length > len(data):
            refuse(where, "is no DER")
        if start > 2 and (length < 0x80 or data[2] == 0):
            refuse(where, "is no DER: a length is spelt in another way than the shortest")
        self.where, self.tag, self.body = where, data[0], data[start : start + length]
        self.whole, self.rest = data[: start + length], data[start + length :]

    def items(self) -> list[Der]:
        """The values inside of a SEQUENCE, a SET or a [0]."""
        found: list[Der] = []
        left = self.body
        while left and self.tag in (0x30, 0x31, 0xA0):
            if len(found) > 999:
                refuse(self.where, "is no DER of a time stamp: too many values")
            found.append(Der(left, self.where))
            left = found[-1].rest
        return found

    def at(self, *path: int) -> Der:
        """The value at a path of positions."""
        value = self
        for position in path:
            inside = value.items()
            if not -len(inside) <= position < len(inside):
                refuse(self.where, "a part of the time stamp is missing")
            value = inside[position]
        return value

    def digest_of(self, data: bytes) -> bytes:
        """The digest of data by the algorithm this value names."""
        method = SHA2.get(self.at(0).body.hex())
        if method is None:
            raise NotCheckedError(f"{self.where}: a digest algorithm this verifier does not know")
        return hashlib.new(method.name, data).digest()


def verify_stamp(stamp: bytes, message: bytes, roots: Certificates, where: str) -> str:
    """Check an RFC 3161 response, or its token, over a message; returns its time (RFC 3339)."""
    token = Der(stamp, where)
    if token.rest:
        refuse(where, "something follows the time stamp")
    if token.at(0).tag == 0x30:  # TimeStampResp: the status, and the token
        if token.at(0, 0).body not in (b"\x00", b"\x01"):
            refuse(where, "the time stamp was not granted")
        token = token.at(1)
    signed, content = token.at(1, 0), token.at(1, 0, 2)  # RFC 5652, 5.1
    if (token.at(0).body.hex(), content.at(0).body.hex()) != (SIGNED_DATA, TST_INFO):
        refuse(where, "is no time stamp token")
    info = Der(content.at(1, 0).body, where)  # TSTInfo: RFC 3161, 2.4.2
    if info.at(2, 1).body != info.at(2, 0).digest_of(message):
        refuse(where, "is a time stamp of something else")
    if len(signed.at(-1).items()) != 1 or signed.at(3).tag != 0xA0:
        refuse(where, "has not one signer with its certificate")
    text = info.at(4).body.decode("ascii", "replace")
    try:
        at = datetime.strptime(re.sub(r"(\.[0-9]+)?Z$", "+0000", text), "%Y%m%d%H%M%S%z")
        chain = [x509.load_der_x509_certificate(one.whole) for one in signed.at(3).items()]
        uses = {one: list(one.extensions) for one in chain}
    except (ValueError, x509.DuplicateExtension):
        refuse(where, "its time or a certificate is malformed")
    signer = _stamp_signer(signed.at(-1, 0), info.whole, chain)
    use = [one.value for one in uses[signer] if one.critical
           and isinstance(one.value, x509.ExtendedKeyUsage)]
    if [[one.dotted_string for one in kinds] for kinds in use] != [["1.3.6.1.5.5.7.3.8"]]:
        refuse(where, "the certificate is not for time stamps alone (RFC 3161, 2.3)")
    _require_chain(signer, chain, roots, at, where)
    return at.isoformat().replace("+00:00", "Z")


def _require_chain(signer: x509.Certificate, chain: Certificates, roots: Certificates,
                   at: datetime, where: str) -> None:
    """From the signer to a root: each issued by a CA, and valid when it was stamped."""
    for _ in range(8):
        if not signer.not_valid_before_utc <= at <= signer.not_valid_after_utc:
            refuse(where, "a certificate was not valid when it was stamped")
        if any(signer == root or _issued(signer, root) for root in roots):
            return
        issuers = [one for one in chain if one != signer and _issued(signer, one)]
        signer = issuers[0] if issuers else signer
    refuse(where, "its certificate leads to none of the roots given")


def _stamp_signer(signer: Der, content: bytes, chain: Certificates) -> x509.Certificate:
    """The certificate that made the signature over the attributes (RFC 5652, 5.4), which hold the
    digest of the content, and that of the certificate (RFC 5035, 3)."""
    where, method, attributes = signer.where, signer.at(2), signer.at(3)
    told = [(one.at(0).body.hex(), [v.body for v in one.at(1).items()])
            for one in attributes.items()]
    for name, value in ((CONTENT_TYPE, bytes.fromhex(TST_INFO)),
                        (MESSAGE_DIGEST, method.digest_of(content))):
        if [values for key, values in told if key == name] != [[value]]:
            refuse(where, "what is signed is something else than the time stamp")
    named = [one for one in chain if any(one.fingerprint(kind) in attributes.body for kind in
                                         (hashes.SHA1(), *SHA2.values()))]  # noqa: S303  (RFC 2634)
    if not named:
        refuse(where, "does not name the certificate that signed it")
    key: Any = named[0].public_key()
    algorithm = SHA2[method.at(0).body.hex()]
    how: dict[Any, tuple[Any, ...]] = {rsa.RSAPublicKey: (padding.PKCS1v15(), algorithm),
                                       ec.EllipticCurvePublicKey: (ec.ECDSA(algorithm),)}
    for kind, arguments in how.items():
        if isinstance(key, kind):
            try:
                key.verify(signer.at(5).body, b"\x31" + attributes.whole[1:], *arguments)
            except (InvalidSignature, ValueError):
                refuse(where, "the signature of the time stamp does not verify")
            return named[0]
    raise NotCheckedError(f"{where}: a kind of key this verifier does not know")


def _issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
        return issuer.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (InvalidSignature, TypeError, ValueError, x509.ExtensionNotFound, UnsupportedAlgorithm):
        return False


# ---- 5. The ledger: an export in the layout of c2sp.org/tlog-tiles ------------------------------

TILE = re.compile(
    r"tile/(entries|[0-9]|[1-5][0-9]|6[0-3])((?:/x[0-9]{3})*/[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?")
KEPT = re.compile(r"checkpoints/(0|[1-9][0-9]{0,18})-[0-9a-f]{8}\.(checkpoint|tsr)")
VKEYS = "keys/ledger.vkeys"
OWN_ACTS = tuple(b'{"act":"ledger.%b",' % act for act in (b"rekeyed", b"recovered", b"expired"))
"""How the entries begin that say something of the ledger itself, and are read."""
RANGE = re.compile(r"(0|[1-9][0-9]{0,17})(?:-([1-9][0-9]{0,17}))?")
_PLACE = re.compile(rb'"index":([0-9]{1,19}),"reason":')
_AT = re.compile(rb'"allowed":(?:true|false),"at":"([^"]{1,40})","before":')


_SPELT = re.compile(rb'\\[u/]|"name"(?!:["n])')


def place_of(entry: bytes) -> int:
    """The index an entry carries, or -1. In RFC 8785 form the last ``"index":`` is its own:
    only the subject stands behind it, and inside a text the quotes would be escaped."""
    found = _PLACE.match(entry, entry.rfind(b'"index":'))
    return int(found[1]) if found else -1


def time_of(entry: bytes) -> str:
    """When an entry says it was made, without parsing it; empty where it does not say."""
    found = _AT.search(entry)
    return found[1].decode("ascii", "replace") if found else ""


def split_bundle(data: bytes, where: str) -> list[bytes]:
    """The entries of a bundle, each behind its length as a big-endian uint16 (tlog-tiles)."""
    entries, at, end = [], 0, len(data)
    while at < end:
        start = at + 2
        at = start + (data[at] << 8 | data[start - 1] if start <= end else end)
        if at > end:
            refuse(where, "ends inside an entry")
        entries.append(data[start:at])
    return entries


def latest_of(said: list[tuple[int, int, datetime]]) -> list[tuple[int, int, datetime]]:
    """Ranges that may overlap, as ascending ones that do not: of each the latest moment."""
    found: list[tuple[int, int, datetime]] = []
    heap: list[tuple[float, int, datetime]] = []
    waiting = sorted(said, reverse=True)
    marks = sorted({mark for start, end, _ in said for mark in (start, end)})
    for mark, stop in zip(marks, marks[1:]):  # noqa: B905, RUF007  (Python 3.9)
        while waiting and waiting[-1][0] <= mark:
            _, end, before = waiting.pop()
            heapq.heappush(heap, (-before.timestamp(), end, before))
        while heap and heap[0][1] <= mark:
            heapq.heappop(heap)
        if heap:
            found.append((mark, stop, heap[0][2]))
    return found


class Ledger:
    """One pass over an export; all that is kept of it is the right edge of the tree.

    Args:
        root: the folder.
        given: the ledger keys of the command line.
        look: called with index and bytes of every entry.
    """

    def __init__(self, root: str, given: list[Key],
                 look: Callable[[int, bytes], None] = lambda index, entry: None) -> None:
        self.root, self.look = root, look
        self.head = Note(self._read("checkpoint", SMALL), "checkpoint")
        self.notes = [self.head]
        self.stamps: dict[str, bytes] = {}  # by the name of the checkpoint
        self.parts: list[tuple[object, int, int]] = []
        self._inventory()
        vkeys = self._read(VKEYS, SMALL)
        told = vkeys.decode("utf-8", "replace").split()
        for key in given:
            if key.text not in told:
                refuse(VKEYS, f"{key.text[:120]}, the key you gave, is none of this ledger: it is "
                       "another one, or was rolled back")
        self.history = history_of(self.head, given, vkeys, self.notes)
        if told != [key.text for key in self.history.keys]:
            refuse(VKEYS, "names other keys than the checkpoints hand the ledger over to")
        self.rows: list[list[bytes]] = [[]]
        self.lost: list[tuple[Note, str]] = []  # checkpoints it contradicts, and how
        self.told: dict[int, Entry] = {}  # what it says of itself
        self.gone: list[list[Any]] = []  # without bytes: from, to, when those around were made
        self.remarks: list[str] = []
        self.proved, self.last, self.floor = 0, b"", ""

    def verify(self) -> dict[str, Any]:
        """Everything there is; what comes back goes into the report."""
        head, size, waiting = self.head, self.head.size, self._marks()
        for number in range(-(-size // WIDTH)):
            leaves = self._leaves(number, min(WIDTH, size - number * WIDTH))
            while waiting and waiting[-1].size < number * WIDTH + len(leaves):
                note = waiting.pop()
                self._compare(note, [leaves[: note.size - number * WIDTH], *self.rows[1:]])
            self.rows[0] = leaves
            if len(leaves) == WIDTH:
                self._complete(0, number)
        for level, row in enumerate(self.rows):
            if row:
                self._tile(level, size >> 8 * (level + 1), row)
        for note in reversed(waiting):
            self._compare(note, self.rows)
        self._partial()
        try:
            recovered, expired = self._recovered(), self._expired()
            self.history.told_by(self._acts("rekeyed"), size)
        except (KeyError, TypeError, AttributeError, ValueError, OverflowError):
            refuse("tile/entries", "an entry about the ledger itself is not of the form it has")
        lost = [note for note, _ in self.lost]
        self.notes = [note for note in self.notes if note not in lost]
        for note in self.notes:
            self.history.in_time(note)
        return {"origin": head.origin, "size": size, "root": head.root.hex(),
                "checkpoints": len(self.notes) - 1, "expired": expired, "recovered": recovered,
                "remarks": self.remarks,
                "keys": [key.text for key in self.history.keys]}

    def _marks(self) -> list[Note]:
        """The checkpoints within the ledger, the largest first; all are signed with its keys."""
        found = sorted(self.notes, key=lambda note: -note.size)
        for note in found:
            if not self.history.knows(note):
                refuse(note.where, f"the checkpoint of {note.origin[:80]} is not signed with a key "
                       "of this ledger")
        why = f"entries were signed, and the ledger ends at {self.head.size}: it was truncated or "
        self.lost = [(note, f"{note.size} {why}rolled back") for note in found
                     if note.size > self.head.size]
        return found[len(self.lost) :]

    def _acts(self, act: str) -> dict[int, Entry]:
        return {i: e for i, e in self.told.items() if e["act"] == f"ledger.{act}" and e["allowed"]}

    def _recovered(self) -> list[str]:
        """A checkpoint the ledger contradicts passes where an entry owns up to that very note."""
        owned, found = set(), []
        for index, entry in self._acts("recovered").items():
            lost, size = entry["facts"]["lost"], entry["facts"]["continues"]["size"]
            if type(size) is not int or type(lost["size"]) is not int:
                refuse(f"entry {index}", "does not say what was lost")
            if size <= index:
                owned.add((lost["note"], lost["size"], lost["root"]))
                found.append(f"entry {index}: {lost['size']} entries were signed, and those were "
                             f"lost that followed the first {size} or stood among them")
        for note, why in self.lost:
            if note.heir is not None:
                refuse(note.where, f"{why}; who hands the ledger over is never lost")
            if (sha256(note.text), note.size, note.root.hex()) not in owned:
                refuse(note.where, why)
        return found

    def _let_go(self) -> list[tuple[int, int, datetime]]:
        """From where to where entries were let go, and of before when, as later entries say."""
        said = []
        for index, entry in self._acts("expired").items():
            facts, at = entry["facts"], instant(entry["at"])
            if at > now() + DAY:
                refuse(f"entry {index}", "lets entries go in the future")
            if not 1 <= facts["years"] < 1000 or instant(facts["before"]) > at - timedelta(
                days=facts["years"] * 365.25):
                refuse(f"entry {index}", "lets entries go before their time")
            for word in facts["entries"].split(","):
                match = RANGE.fullmatch(word)
                last = int(match[2] or match[1]) if match else index
                if last >= index:
                    refuse(f"entry {index}", "lets go of no entries, or of some not before it")
                said.append((int(word.partition("-")[0]), last + 1, instant(facts["before"])))
        return said

    def _expired(self) -> int:
        """How many entries hold no bytes; each was let go by a later entry, and past its time."""
        said = self._let_go()
        parts, unproved = latest_of(said), list[int]()
        for start, end, after, behind in self.gone:  # no older than the entry before it
            first, place = start, bisect.bisect(parts, (start + 1,)) - 1
            while start < end and 0 <= place < len(parts) and start and instant(after) < (
                    parts[place][2]) and parts[place][0] <= start < parts[place][1]:
                start, sure = parts[place][1], behind and instant(behind) <= parts[place][2]
                if not sure and first not in unproved[-1:]:
                    unproved.append(first)
                place += 1
            if start < end:
                refuse("tile/entries", f"entry {start} is missing: no later entry says that it was "
                       "deleted after its time")
        if unproved:
            self.remarks.append(
                "that deleted entries were past their time is the ledger's own word, and not proved"
                f" by the entry behind them: from entry {', '.join(map(str, unproved[:20]))}"
                + (" and others" if unproved[20:] else ""))
        return sum(end - start for start, end, *_ in self.gone)

    def _read(self, name: str, limit: int) -> bytes:
        path = os.path.join(self.root, name)
        if not os.path.lexists(path):
            refuse(name, "is missing")
        return read_file(path, limit)

    def _inventory(self) -> None:
        """Every file has a place; each kept checkpoint is read, partial tiles are noted."""
        for name in walk(self.root):
            tile, kept = TILE.fullmatch(name), KEPT.fullmatch(name)
            if kept and kept[2] == "tsr":
                self.stamps[name[:-3] + "checkpoint"] = self._read(name, SMALL)
            elif kept:
                self.notes.append(Note(self._read(name, SMALL), name))
                if self.notes[-1].size != int(kept[1]):
                    refuse(name, f"is of {self.notes[-1].size} entries")
            elif tile:
                level = 0 if tile[1] == "entries" else int(tile[1])
                number, width = int(re.sub("[/x]", "", tile[2])), int(tile[3] or WIDTH)
                if name != tile_name(tile[1], number, width) or width > WIDTH:
                    refuse(name, "is no name of a tile")
                if number * WIDTH + width > self.head.size >> 8 * level:
                    refuse(name, f"holds more than the {self.head.size} entries of the checkpoint: "
                           "it was rolled back, or an export was interrupted")
                if width < WIDTH:
                    self.parts.append((tile[1], number, width))
            elif name not in ("checkpoint", VKEYS):
                refuse(name, "is no part of an export")

    def _partial(self) -> None:
        """Tiles of earlier, smaller exports are the beginnings of those that were verified."""
        for level, number, width in self.parts:
            above = 0 if level == "entries" else int(str(level))
            most = min(WIDTH, (self.head.size >> 8 * above) - number * WIDTH)
            name = tile_name(level, number, width)
            part = self._read(name, WIDTH * 65537)
            whole = self._read(tile_name(level, number, most), WIDTH * 65537)
            count = len(split_bundle(part, name)) if level == "entries" else len(part) / 32
            if not whole.startswith(part) or count != width:
                refuse(name, "is not the beginning of its tile")

    def _leaves(self, number: int, width: int) -> list[bytes]:
        """The leaf hashes of one bundle, each compared with the tile of level 0."""
        start, name = number * WIDTH, tile_name("entries", number, width)
        entries = split_bundle(self._read(name, WIDTH * 65537), name)
        tile = self._read(tile_name(0, number, width), WIDTH * 32)
        leaves: list[bytes] = []
        for index, entry in enumerate(entries, start):
            hashed = tile[32 * len(leaves) : 32 * len(leaves) + 32]
            leaf = _sha256(b"\x00" + entry).digest()
            if leaf != hashed and not entry and len(hashed) == 32:
                leaf = hashed  # deleted after retention: its hash stays
                if not self.gone or self.gone[-1][1] != index:
                    self.gone.append([index, index, time_of(self.last), ""])
                self.gone[-1][1] += 1
            elif leaf != hashed or place_of(entry) != index:
                self._name(name, index, [place_of(entry) for entry in entries[index - start :]])
            elif entry.startswith(OWN_ACTS):
                self.told[index] = parse_json(entry, f"entry {index}")
            if entry and self.gone and self.gone[-1][1] == index:
                self.gone[-1][3] = time_of(entry)
            self._follows(index, entry)
            self.last = entry or self.last
            self.look(index, entry)
            leaves.append(leaf)
        if len(leaves) != width or len(tile) != 32 * width:
            refuse(name, f"entry {start + len(leaves)} is missing: the ledger was truncated"
                   if len(leaves) < width else "an entry was inserted")
        return leaves

    def _follows(self, index: int, entry: bytes) -> None:
        """Whoever lets entries go does so before what comes behind: its clock was not put on."""
        if self.floor and entry and time_of(entry) < self.floor:
            refuse(f"entry {index}", "is older than one before it that lets entries go")
        if self.told.get(index, {}).get("act") == "ledger.expired":
            try:
                moment = instant(self.told[index]["at"]) - DAY
            except (KeyError, TypeError, ValueError, OverflowError):
                refuse(f"entry {index}", "does not say when it was made")
            self.floor = max(self.floor, f"{moment:%Y-%m-%dT%H:%M:%S.%fZ}")

    def _name(self, name: str, index: int, places: list[int]) -> NoReturn:
        """Say what happened to the entry that is not in its place."""
        carried = places[0]
        if carried in (index, -1):
            refuse(name, f"entry {index} was edited: not the bytes of its leaf hash and index")
        if index in places:
            what = "inserted" if places.count(carried) > 1 or carried < index else "moved"
            refuse(name, f"entry {carried} was {what} before entry {index}: reordered or inserted")
        if carried > index:
            refuse(name, f"entry {index} is missing: it was deleted, and {carried} follows")
        refuse(name, f"entry {carried} was inserted or moved to the place of entry {index}")

    def _complete(self, level: int, number: int) -> None:
        """A tile is full: compare it, and hand its root to the level above."""
        row = self.rows[level]
        self._tile(level, number, row)
        if len(self.rows) == level + 1:
            self.rows.append([])
        self.rows[level] = []
        self.rows[level + 1].append(perfect_root(row))
        if len(self.rows[level + 1]) == WIDTH:
            self._complete(level + 1, number // WIDTH)

    def _tile(self, level: int, number: int, row: list[bytes]) -> None:
        name, span = tile_name(level, number, len(row)), WIDTH**level
        data = self._read(name, WIDTH * 32)
        if data != b"".join(row):
            same = next((i for i, one in enumerate(row) if data[32 * i : 32 * i + 32] != one), 0)
            first = (number * WIDTH + same) * span
            refuse(name, f"its hash {same} is not that of entries {first} to {first + span - 1}: "
                   "they were edited, or the tile was")

    def _compare(self, note: Note, rows: list[list[bytes]]) -> None:
        if root_of(rows) == note.root:
            self.proved = note.size
            return
        why = (f"the ledger is not the one signed at {note.size} entries: one between {self.proved}"
               f" and {note.size - 1} was edited, replaced or moved, or the ledger forked")
        if note is self.head:
            refuse(note.where, why)
        self.lost.append((note, why))

    def stamped(self, roots: Certificates) -> dict[str, Any]:
        """What the time stamps beside the checkpoints say, for the report."""
        told = []
        for note in sorted(self.notes, key=lambda note: note.size):
            if roots and note.where in self.stamps:
                at = verify_stamp(self.stamps[note.where], note.data, roots, note.where)
                told.append(f"{note.size} entries at {at}")
        return {"stamped": told[-1:], "stamps_not_checked": 0 if roots else len(self.stamps)}

    def witnessed(self, witnesses: list[Key], quorum: int) -> dict[str, Any]:
        """The largest checkpoint that enough witnesses cosigned, together in all its copies."""
        cosigned: dict[int, set[str]] = {}
        for note in self.notes:
            cosigned.setdefault(note.size, set()).update(k.text for k in note.signers(witnesses))
        enough = [size for size, by in cosigned.items() if len(by) >= quorum]
        if not enough:
            refuse("checkpoints", f"none is cosigned by {quorum} of the witnesses")
        return {"witnessed": max(enough)}


# ---- 6. One entry and its inclusion proof (c2sp.org/tlog-proof) ---------------------------------


class Proof:
    """``index``, the hashes up to the root, and the signed checkpoint, verbatim."""

    def __init__(self, data: bytes, where: str) -> None:
        head, gap, signed = data[:SMALL].partition(b"\n\n")
        lines = head.decode("utf-8", "replace").split("\n")
        if lines[1:] and lines[1].startswith("extra "):
            del lines[1]  # nothing authenticates it
        place = re.fullmatch(r"index (0|[1-9][0-9]{0,18})", lines[1]) if lines[1:] else None
        if not gap or lines[0] != "c2sp.org/tlog-proof@v1" or not place or len(lines) > 66:
            refuse(where, "is not a tlog-proof, version 1")
        self.index, self.where, self.checkpoint = int(place[1]), where, signed
        self.path = [decode_base64(line, where) for line in lines[2:]]
        if any(len(node) != 32 for node in self.path):
            refuse(where, "holds something else than SHA-256 hashes")

    def verify(self, entry: bytes, note: Note) -> None:
        """Check that the root of a checkpoint commits to these bytes at this index."""
        leaf = _sha256(b"\x00" + entry).digest()
        if root_from_proof(self.index, note.size, leaf, self.path, self.where) != note.root:
            refuse(self.where, f"the entry is not number {self.index} of the signed ledger: the "
                   "entry, its place or the proof was changed")
        if place_of(entry) != self.index:
            refuse(self.where, f"the entry says that its index is {place_of(entry)}")


# ---- 7. Evidence bundles ------------------------------------------------------------------------

STAMP = "ledger/checkpoint.tsr"
MANIFESTS = ("manifest.json", "manifest.dsse")
PAYLOAD_TYPE = "application/vnd.mlflow-governance.evidence+json"
NAMED = ("ledger/proofs/", "decisions/", "dossiers/", "policies/", "erasures/")
"""Folders in which nothing stands that no entry leads to."""
WAY = {"None": "Candidate", "Candidate": "Staging", "Staging": "Approved", "Approved": "Deprecated"}
OUT = ("Quarantined", "Revoked")


class Archive:
    """The files of a bundle, in a zip or unpacked in a folder; nothing is written anywhere."""

    def __init__(self, path: str) -> None:
        self.path, self.zip = path, None
        if os.path.isdir(path):
            self.names = set(islice(walk(path), MEMBERS + 1))
        else:
            self.zip = self._open(path)
            self.names = set(self.zip.namelist())
        if len(self.names) > MEMBERS:
            raise NotCheckedError(f"{path} holds more than {MEMBERS} files")

    def read(self, name: str, limit: int = LARGE) -> bytes:
        """The bytes of one file."""
        if name not in self.names:
            refuse(name, "is missing")
        if self.zip is None:
            return read_file(os.path.join(self.path, name), limit)
        try:
            with self.zip.open(name) as file:
                data = file.read(limit + 1)
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            refuse(name, f"is damaged ({error})")
        except (OSError, RuntimeError, NotImplementedError) as error:
            raise NotCheckedError(f"{name} cannot be read: {error}") from error
        if len(data) > limit:
            raise NotCheckedError(f"{name} has more than {limit} bytes, which are not read")
        return data

    def json(self, name: str) -> Any:
        """The value in one file."""
        return parse_json(self.read(name), name)

    def under(self, folder: str) -> list[str]:
        """The names of the files in a folder."""
        return sorted(name for name in self.names if name.startswith(folder))

    @staticmethod
    def _open(path: str) -> zipfile.ZipFile:
        """A zip that every program reads alike: plain files, each once, one behind the other."""
        try:
            with open(path, "rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - 65_557))
                end = file.read()
            at = end.rfind(b"PK\x05\x06")
            if at < 0 or int.from_bytes(end[at + 12 : at + 16], "little") > LARGE:
                raise NotCheckedError(f"{path} is no zip, or its directory is too large to read")
            found = zipfile.ZipFile(path)
        except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError) as error:
            raise NotCheckedError(f"{path} cannot be read: {error}") from error
        names, behind = set(), 0
        for info in sorted(found.infolist(), key=lambda info: info.header_offset):
            name, kind, start = info.filename, info.external_attr >> 16, info.header_offset
            parts = name.split("/")
            if {"", ".", ".."} & {*parts} or "\\" in name or ":" in parts[0]:
                refuse(name, "is no name of a file in a bundle")
            if name.casefold() in names or (kind and not stat.S_ISREG(kind)):
                refuse(name, "is there twice, is a link or is no file")
            if info.orig_filename != name or (start < behind if behind else start):
                refuse(name, "two files of the zip overlap, or something stands before the first")
            names.add(name.casefold())
            behind = start + 30 + len(name) + info.compress_size
        if len(names) > MEMBERS or sum(info.file_size for info in found.infolist()) > 16 * LARGE:
            raise NotCheckedError(f"{path} holds more than is read")
        return found


def read_public(pem: bytes) -> tuple[Any, str]:
    """A public key, and its id: the digest of its SubjectPublicKeyInfo."""
    try:
        key: Any = form.load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise NotCheckedError(f"the registry's key cannot be read: {error}") from error
    if not isinstance(key, (ed25519.Ed25519PublicKey, ec.EllipticCurvePublicKey)):
        raise NotCheckedError("the registry's key is neither Ed25519 nor ECDSA")
    kind = form.PublicFormat.SubjectPublicKeyInfo
    return key, sha256(key.public_bytes(form.Encoding.DER, kind))


def verify_envelope(data: bytes, payload: bytes, key: Any, where: str) -> None:
    """Check a DSSE envelope (protocol v1.0): the payload is this, and this key signed it."""
    envelope, kind = parse_json(data, where), PAYLOAD_TYPE.encode()
    if decode_base64(envelope["payload"], where) != payload:
        refuse(where, "is a signature over another manifest")
    if envelope["payloadType"] != PAYLOAD_TYPE:
        refuse(where, "is a signature over something else")
    message = b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)
    how = []
    if isinstance(key, ec.EllipticCurvePublicKey):
        method = {384: hashes.SHA384(), 521: hashes.SHA512()}.get(key.key_size, hashes.SHA256())
        how = [ec.ECDSA(method)]
    for one in envelope["signatures"][:16]:
        try:
            key.verify(decode_base64(one["sig"], where), message, *how)
            return
        except InvalidSignature:
            continue
    refuse(where, "the registry's key did not sign this manifest")


def plain_files(tar: bytes, where: str) -> None:
    """Refuse headers that are no plain file's: long names and sparse files keep a parser busy."""
    at = 0
    while at + 512 <= len(tar) and any(tar[at : at + 512]):
        size = tar[at + 124 : at + 136].rstrip(b" \0")
        if tar[at + 156 : at + 157] not in (b"0", b"\0") or not re.fullmatch(b"[0-7]{1,12}", size):
            refuse(where, "holds something else than plain files")
        at += 512 + -(-int(size, 8) // 512) * 512


def policy_digest(archive: bytes, where: str) -> str:
    """The identity of a policy: ``sha256(JCS([{name, sha256}, …]))`` over what decides."""
    unpacked, kept = zlib.decompressobj(31), {}
    try:
        plain = unpacked.decompress(archive, 16 * SMALL)
        if not unpacked.eof or unpacked.unused_data:
            refuse(where, "is too large, or more than one archive")
        plain_files(plain, where)
        with tarfile.open(fileobj=io.BytesIO(plain), mode="r:") as tar:
            for member in tar:
                file, name = tar.extractfile(member) if member.isreg() else None, member.name
                if file is None or member.issparse() or name in kept:
                    refuse(where, f"holds {name[:100]!r} twice, or a link")
                data = file.read()
                if name == ".manifest":  # its revision is this very digest
                    told = parse_json(data, where)
                    data = canonical({key: told[key] for key in told if key != "revision"})
                kept[name] = _sha256(data).hexdigest()
    except (zlib.error, tarfile.TarError, EOFError, ValueError) as error:
        refuse(where, f"is no archive of a policy ({error})")
    return sha256(canonical([
        {"name": name, "sha256": kept[name]} for name in sorted(kept)
        if not name.startswith("tests/") and not name.endswith(".md")
        and name not in (".signatures.json", "config.schema.json")]))


class Bundle:
    """What a registry says of a version, or of a period, and whether its ledger says the same.

    What is missing, as where names were withheld, is kept in ``open``: it cannot be told, which is
    exit code 2. ``remarks`` only say how far the check went.
    """

    def __init__(self, archive: Archive, given: list[Key], pem: bytes | None) -> None:
        self.archive, self.given, self.pem = archive, given, pem
        self.open: list[str] = []
        self.remarks: list[str] = []
        self.entries: dict[int, Entry] = {}
        self.used: set[str] = set()  # files that an entry leads to
        self.texts: dict[str, str] = {}  # commitment: name or reason
        self.replaced: dict[str, tuple[str, int]] = {}  # digest: what stands for it, since when
        self.registered: dict[str, Entry] = {}
        self.decided: dict[str, int] = {}  # by which entry each decision was used
        self.pseudonyms: set[str] = {""}
        self.stages: dict[str, str] = {}
        self.came_from: dict[str, str] = {}
        self.words: dict[str, tuple[int, Entry]] = {}  # approvals that stand, by their id
        self.attached: set[tuple[str, str, str]] = set()  # evidence: of which version, which, name

    def verify(self) -> dict[str, Any]:
        """Everything in it."""
        try:
            for step in (self._files, self._ledger, self._exported, self._openings, self._history,
                         self._told, self._models):
                step()
        except (KeyError, TypeError, AttributeError, ValueError, IndexError) as error:
            refuse("a document", f"is not of the form this verifier reads ({error!r:.200})")
        for name in sorted(n for folder in NAMED for n in self.archive.under(folder)):
            if name not in self.used:
                refuse(name, "no entry leads to it")
        if self.hidden:
            self.remarks += [f"withheld, as the ledger says: {one}" for one in self.open]
            self.open = []
        return {"of": json.dumps(self.manifest["of"], ensure_ascii=False),
                "made_at": self.manifest["made_at"], "origin": self.note.origin,
                "size": self.note.size, "entries": len(self.entries), "remarks": self.remarks}

    def _files(self) -> None:
        """The manifest is signed, and lists every file and none else."""
        data = self.archive.read("manifest.json")
        self.manifest = parse_json(data, "manifest.json")
        if self.manifest["schema"] != 1:
            raise NotCheckedError("a bundle of a kind that is newer than this verifier")
        key, self.key_id = read_public(self.pem or self.archive.read("keys/registry.pub", SMALL))
        verify_envelope(self.archive.read("manifest.dsse"), data, key, "manifest.dsse")
        listed = self.manifest["files"]
        for name in sorted((self.archive.names - set(MANIFESTS)) ^ set(listed)):
            refuse(name, "is missing" if name in listed else "is not listed in manifest.json")
        for name, digest in listed.items():
            if name in MANIFESTS or sha256(self.archive.read(name)) != digest:
                refuse(name, "is not the file that manifest.json lists: it was edited")

    def _ledger(self) -> None:
        """Each entry is in the ledger, by its proof against the one checkpoint."""
        read = self.archive.read
        checkpoint = read("ledger/checkpoint", SMALL)
        self.note = Note(checkpoint, "ledger/checkpoint")
        handed = [Note(read(name, SMALL), name) for name in self.archive.under("ledger/handovers/")]
        self.history = history_of(self.note, self.given, read(VKEYS, SMALL), handed)
        for note in handed:
            self.history.in_time(note)
        if self.manifest["ledger"] != {"origin": self.note.origin, "size": self.note.size}:
            refuse("manifest.json", "names another ledger than its checkpoint")
        under = self.archive.under("ledger/entries/")
        for name in under:
            if not re.fullmatch(r"ledger/entries/(0|[1-9][0-9]{0,18})[.]json", name):
                refuse(name, "is no name of an entry")
        for index in sorted(int(name[15:-5]) for name in under):
            name, where = f"ledger/entries/{index}.json", f"ledger/proofs/{index}.tlog-proof"
            data, proof = read(name, SMALL), Proof(read(where, SMALL), where)
            if (proof.index, proof.checkpoint) != (index, checkpoint):
                refuse(where, "is about another entry, or against another checkpoint")
            proof.verify(data, self.note)
            self.entries[index] = parse_json(data, name)
            if self.entries[index]["schema"] != 1 or self.entries[index]["index"] != index:
                refuse(name, "is no entry of this kind of ledger")
            if type(self.entries[index]["allowed"]) is not bool:
                refuse(name, "does not say whether it was allowed")
            self.used.add(where)

    def _exported(self) -> None:
        """The last entry is the registry's word for what the bundle holds, the last start names
        the key it signs with, and each change of the ledger's key is an entry."""
        self.last = max(self.entries, default=-1)
        word = self.entries.get(self.last, {"act": "", "facts": {}})
        if word["act"] != "evidence.exported" or not word["allowed"]:
            refuse("ledger/entries", "the entry that says what was exported is not there")
        facts = word["facts"]
        self.hidden = facts.get("pseudonymous", False)
        listed = facts.get("entries")
        if listed is None:  # too many for an entry: it holds the digest of their list
            data = self.archive.read("ledger/listed.json")
            listed = parse_json(data, "ledger/listed.json")
            if sha256(data) != facts["entries_digest"] or len(listed) != facts["count"]:
                refuse("ledger/listed.json", "is not the list the ledger names")
        missing = set(listed) ^ (set(self.entries) - {self.last})
        if missing or facts["of"] != self.manifest["of"]:
            refuse(f"ledger/entries/{self.last}.json", "the registry said it exported other "
                   f"entries, or of something else ({sorted(missing)[:5]})")
        self.history.told_by({i: e for i, e in self.entries.items()
                              if e["act"] == "ledger.rekeyed"}, self.last)
        keys = [e["facts"].get("keys") for e in self.entries.values()
                if e["act"] == "registry.started"]
        told = keys[-1].get("registry") if keys and keys[-1] else None
        self.unnamed = self.pem is None and told is None
        if self.pem is None and told not in (None, self.key_id):
            refuse("keys/registry.pub", f"the registry started with the key {told}")

    def _openings(self) -> None:
        """A name or reason is shown with the salt that makes it its commitment.

        Of somebody who was erased a pseudonym is shown, by the erasure that put it there: the entry
        ``person.erased`` has the digest of the list ``[[before, after], …]`` of what it replaced.
        """
        for name in self.archive.under("erasures/"):
            index, data = int(name[9:-5]), self.archive.read(name)
            entry = self.entries.get(index, {"act": ""})
            if entry["act"] != "person.erased" or entry["facts"]["replaced"] != sha256(data):
                refuse(name, "no entry tells of this erasure")
            self.used.add(name)
            for before, after in parse_json(data, name):
                if after not in ("", entry["facts"].get("pseudonym")) and not re.fullmatch(
                        "sha256:[0-9a-f]{64}", after):
                    refuse(name, f"puts {after[:60]!r} in the place of somebody who was erased")
                self.replaced[before] = (after, index)
                if not self.hidden:  # else people are called by a number of their own
                    self.texts[before] = after
        for commitment, one in self.archive.json("openings.json").items():
            if sha256(bytes.fromhex(one["salt"]) + one["text"].encode()) != commitment:
                refuse("openings.json", f"{one['text'][:60]!r} does not open {commitment}")
            self.texts[commitment] = one["text"]

    def _document(self, name: str, digest: str, index: int) -> Any:
        """What an entry names by its digest, or the redacted one that an erasure put there."""
        data, by = self.archive.read(name), index
        self.used.add(name)
        while digest != sha256(data):
            digest, since = self.replaced.get(digest, ("", -1))
            if since <= by:  # nothing replaced it, or what did so was not after it
                refuse(name, f"is not what entry {index} names: it was edited")
            by = since
        if by != index:
            self.remarks.append(f"{name}: redacted: person erased by entry {by}")
        return parse_json(data, name)

    def _history(self) -> None:
        """One walk over the entries: what each says follows from those before it."""
        acts = {"version.registered": self._registers, "version.deleted": self._deletes,
                "version.transitioned": self._moves, "version.revoked": self._moves,
                "approval.given": self._gives, "approval.withdrawn": self._takes_back}
        for index, entry in self.entries.items():
            where, moves = f"ledger/entries/{index}.json", moved(entry)
            dossier = self._decision(index, entry, moves) if entry["decision_id"] else None
            if moves and not entry["decision_id"]:
                refuse(where, "nobody decided what it says was done")
            first = self.decided.setdefault(entry["decision_id"], index) if moves else index
            if first != index:
                refuse(where, f"rests on the decision of entry {first}")
            if entry["act"] in acts and entry["allowed"] and entry["subject"]["uid"]:
                acts[entry["act"]](where, index, entry)
            if moves and dossier:
                self._rests_on(index, entry, dossier)

    def _decision(self, index: int, entry: Entry, moves: bool) -> Any:
        """Whatever moved a version was decided so, and the decision is the one recorded."""
        name = f"decisions/{entry['decision_id']}.json"
        if not self._there(name, f"entry {index}: its decision is", moves):
            return None
        decision = self._document(name, entry["decision_digest"], index)
        told = {key: entry["facts"].get(key) for key in ("policy_digest", "dossier_digest")}
        told["decision_id"] = entry["decision_id"]
        if any(value not in (None, decision[key]) for key, value in told.items()):
            refuse(name, f"says something else than entry {index}")
        if moves and decision["allow"] is not True:
            refuse(name, f"refused what entry {index} says was done")
        digest = decision["policy_digest"]
        policy = f"policies/{digest[7:]}.tar.gz"
        if policy not in self.used and self._there(policy, f"policy {digest} is", True):
            self.used.add(policy)
            if policy_digest(self.archive.read(policy), policy) != digest:
                refuse(policy, "is another policy than it is called")
        dossier = f"dossiers/{decision['dossier_digest'][7:]}.json"
        if not self._there(dossier, f"entry {index}: its dossier is", moves):
            return None
        return self._document(dossier, decision["dossier_digest"], index)

    def _there(self, name: str, what: str, needed: bool) -> bool:
        if needed and name not in self.archive.names:
            self.open = [one for one in self.open if what not in one]
            self.open.append(f"{what} not in the bundle")
        return name in self.archive.names

    def _registers(self, where: str, index: int, entry: Entry) -> None:
        uid = entry["subject"]["uid"]
        if uid in self.registered or entry["after"]["stage"] != "None":
            refuse(where, "registers a version that is there, or not at its beginning")
        living = [one for one in self.stages
                  if reference(self.registered[one]) == reference(entry)]
        if living:
            refuse(where, "registers a version that is there under another id")
        if entry["before"]:
            self.remarks.append(f"entry {index}: the version was there before it was governed, so "
                                "nobody knows who made it")
        self.stages[uid], self.registered[uid] = "None", entry

    def _deletes(self, where: str, index: int, entry: Entry) -> None:
        if self.stages.pop(entry["subject"]["uid"], None) is None:
            refuse(where, "deletes a version that was not there")

    def _moves(self, where: str, index: int, entry: Entry) -> None:
        """The stages of each version follow each other, in a life cycle that exists."""
        uid, before, after = entry["subject"]["uid"], *stages(entry)
        if self.stages.get(uid) != before:
            refuse(where, f"leaves {before}, and the version was {self.stages.get(uid)}")
        if before == after:
            return  # withdrawn before it was hashed, and now the digest is known
        back = before == "Quarantined" and self.came_from.get(uid) == after
        on = before not in OUT and after in (WAY.get(before), "Quarantined")
        if before == "Revoked" or not (after == "Revoked" or back or on):
            refuse(where, f"the life cycle has no way from {before} to {after}")
        self.came_from[uid], self.stages[uid] = before, after

    def _gives(self, where: str, index: int, entry: Entry) -> None:
        facts = entry["facts"]
        if facts["supersedes"] is not None:
            self._ends(where, entry, facts["supersedes"])
        if facts["approval"] in self.words:
            refuse(where, "gives an approval that was given")
        self.words[facts["approval"]] = (index, entry)

    def _takes_back(self, where: str, index: int, entry: Entry) -> None:
        self._ends(where, entry, entry["facts"]["approval"])

    def _ends(self, where: str, entry: Entry, former: str) -> None:
        word = self.words.pop(former, None)
        if word is None or word[1]["subject"]["uid"] != entry["subject"]["uid"]:
            refuse(where, "takes back an approval that did not stand")

    def _rests_on(self, index: int, entry: Entry, dossier: Entry) -> None:
        """A move is what its dossier asked for, and each approval in that was given before it."""
        where, about, subject = f"dossier of entry {index}", dossier["subject"], entry["subject"]
        asked = (about["uid"], about["digest"], about["stage"], dossier["action"].get("to"))
        if asked != (subject["uid"], subject["digest"], *stages(entry)):
            refuse(where, f"is about something else than entry {index} says was done")
        self.attached |= {(about["uid"], e["digest"], e["name"]) for e in dossier["attached"]}
        left = [word for _, word in self.words.values() if word["subject"]["uid"] == about["uid"]]
        for one in dossier["approvals"] if entry["after"]["stage"] not in OUT else ():
            word = next((word for word in left if self._says(word, one)), None)
            if word is None:
                refuse(where, f"it rests on an approval for {one['role']} that nobody gave before, "
                       "or that was taken back")
            left.remove(word)
            if one["decision"] == "approve":
                self._apart(index, self.registered[about["uid"]], word)

    def _apart(self, index: int, registered: Entry, word: Entry) -> None:
        people = [self.texts.get(said["actor"]) for said in (registered, word)]
        if registered["before"]:
            return  # adopted: nobody knows who made it
        if None in people:
            self.open.append(f"entry {index}: whether submitter and approver are two people cannot "
                             "be told, as a name is not here")
        elif person(people[0]) == person(people[1]):
            refuse(f"entry {index}", "the submitter approved it: separation of duties is broken")

    def _says(self, word: Entry, one: Entry) -> bool:
        """True when an entry is this approval."""
        facts = word["facts"]
        told = (facts["role"], facts["decision"], word["at"], word["subject"]["digest"])
        return (told == (one["role"], one["decision"], one["at"], one["model_digest"])
                and facts.get("policy_digest") in (None, one["policy_digest"])
                and self.texts.get(word["actor"], one["person"]) == one["person"])

    def _told(self) -> None:
        """``approvals.json`` says what the entries say."""
        stand, told = {index for index, _ in self.words.values()}, []
        for one in self.archive.json("approvals.json"):
            told.append(one["index"])
            if type(one["index"]) is not int or type(one["withdrawn"]) is not bool:
                refuse("approvals.json", "is not of the form it has")
            where, word = "approvals.json", self.entries.get(one["index"], {"act": ""})
            facts = word["facts"] if word["act"] == "approval.given" and word["allowed"] else {}
            same = (facts.get("role"), facts.get("decision"), word.get("at"))
            if same != (one["role"], one["decision"], one["at"]):
                refuse(where, f"entry {one['index']} does not say that")
            if self.texts.get(word["actor"], one["person"]) != one["person"]:
                refuse(where, f"entry {one['index']} is of somebody else")
            if one["withdrawn"] is (one["index"] in stand):
                refuse(where, f"whether that of entry {one['index']} stands is not so")
        given = [i for i, e in self.entries.items() if e["act"] == "approval.given"
                 and e["allowed"] and e["subject"]["uid"]]
        if sorted(told) != given:
            refuse("approvals.json", "does not list each approval that the entries tell of, once")

    def _models(self) -> None:
        """What stands in ``versions/`` has the digests that the entries name."""
        about: dict[str, list[Entry]] = {}
        for entry in self.entries.values():
            space, name, number = reference(entry)
            if entry["subject"]["uid"]:
                whole = quote(name if space == "default" else f"{space}:{name}", safe=" ")
                folder = f"versions/{re.sub(r'^[.]', '%2E', whole)}/{number}/"
                about.setdefault(folder, []).append(entry)
        files: dict[str, set[str]] = {folder: set() for folder in about}
        for path in self.archive.under("versions/"):
            *folders, inner = path.split("/", 3)
            if (folder := "/".join([*folders, ""])) not in about:
                refuse(folder, "is about a version that no entry names")
            files[folder].add(inner)
        for folder, entries in about.items():
            self._model(folder, entries, files[folder])

    def _model(self, folder: str, entries: list[Entry], inside: set[str]) -> None:
        """Of a version that was not deleted, model and evidence are those of the last entries."""
        listed, uid = self.manifest["files"], entries[-1]["subject"]["uid"]
        own = [entry for entry in entries if entry["subject"]["uid"] == uid]
        digests = [entry["subject"]["digest"] for entry in own if entry["subject"]["digest"]]
        named = {entry["subject"]["digest"] for entry in entries}
        for name in (n for n in inside if re.fullmatch(r"manifest(-[0-9a-f]{64})?\.json", n)):
            digest = listed[folder + name]
            latest = uid not in self.stages or digest in digests[-1:]
            if digest not in named or not (latest or name == f"manifest-{digest[7:]}.json"):
                refuse(folder + name, "is not the model that the entries name")
        if uid in self.stages:
            self._there(folder + "manifest.json", f"{folder}manifest.json is", bool(digests))
            there = {listed[folder + name] for name in inside if name[:9] == "evidence/"}
            asked = {(uid, e["facts"]["digest"], e["facts"]["name"]) for e in own
                     if e["act"] == "evidence.attached" and e["allowed"]}
            self.open += [f"{folder}evidence: {name} is not in the bundle"
                          for of, digest, name in sorted(asked | self.attached)
                          if of == uid and digest not in there]

    def against(self, path: str) -> dict[str, Any]:
        """Hold the bundle against the whole ledger: was anything left out?"""
        of, seen = self.manifest["of"], set()

        def within(at: str) -> bool:
            return "since" in of and of["since"] <= at < of["until"]

        refs = {reference(e) for i, e in self.entries.items()
                if e["subject"]["uid"] and within(e["at"]) and i < self.last}
        if "name" in of:
            refs = {(of["workspace"], of["name"], of["version"])}
        names = {b'"name":' + canonical(name) for _, name, _ in refs}

        def look(index: int, data: bytes) -> None:
            asked = within(time_of(data))
            # Spelt otherwise than RFC 8785 has it, a name is not found among the bytes.
            if not asked and (any(name in data for name in names) or _SPELT.search(data)):
                asked = bool(concerned(parse_json(data, f"entry {index}")) & refs)
            if asked and index < self.last:
                seen.add(index)

        ledger = Ledger(path, self.given, look)
        if ledger.head.size < self.note.size:
            raise NotCheckedError("that export of the ledger is older than the bundle")
        ledger.notes.append(self.note)
        report = ledger.verify()
        if self.note not in ledger.notes:
            refuse("ledger/checkpoint", "the ledger lost entries that this bundle holds")
        if left := sorted(seen - set(self.entries)):
            refuse(f"entry {left[0]}", "is about this, and the bundle leaves it out")
        return report


def person(name: Any) -> str:
    """A name as it is compared: spelt with other letters it is the same person."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold()).strip()


def stages(entry: Entry) -> tuple[Any, Any]:
    """The stage before and after."""
    return entry["before"].get("stage"), entry["after"].get("stage")


def moved(entry: Entry) -> bool:
    """True for an entry that says that a version went from one stage to another."""
    acts, (before, after) = ("version.transitioned", "version.revoked"), stages(entry)
    return entry["act"] in acts and entry["allowed"] is True and before != after


def concerned(entry: Entry) -> set[tuple[Any, Any, Any]]:
    """The governed versions an entry is about: an alias is taken away from another one, too."""
    space, name, number = reference(entry)
    found = {(space, name, number)} if entry["subject"]["uid"] else set()
    if entry["act"] in ("alias.moved", "alias.deleted") and found:
        found.add((space, name, (entry["facts"].get("action") or {}).get("from_version")))
    return found


def reference(entry: Entry) -> tuple[Any, Any, Any]:
    """Which version an entry is about: workspace, name and number."""
    subject = entry["subject"]
    return subject["workspace"], subject["name"], subject["version"]


# ---- 8. The command line ------------------------------------------------------------------------

COMMANDS: dict[str, tuple[str, str, dict[str, dict[str, Any]]]] = {
    "ledger": ("DIR", "an export of the whole ledger", {
        "--checkpoint": {"action": "append", "default": [], "metavar": "FILE",
                         "help": "a checkpoint you kept: the ledger must continue it"},
        "--witness": {"action": "append", "metavar": "VKEY|FILE",
                      "help": "key of a witness (c2sp.org/tlog-cosignature)"},
        "--quorum": {"type": int, "help": "how many of them; all when not given"}}),
    "bundle": ("ZIP|DIR", "an evidence bundle", {
        "--registry-key": {"metavar": "PEM",
                           "help": "the registry's public key, instead of what the ledger says"},
        "--incomplete": {"action": "store_true", "help": "accept that something is not there"},
        "--ledger": {"metavar": "DIR", "help": "an export: was anything left out?"}}),
    "proof": ("FILE", "one entry, by its inclusion proof", {
        "--entry": {"required": True, "metavar": "FILE", "help": "the entry's exact bytes"},
        "--handover": {"action": "append", "default": [], "metavar": "FILE",
                       "help": "a checkpoint that hands the ledger over to another key"}}),
}
SHARED: dict[str, dict[str, Any]] = {
    "--key": {"action": "append", "metavar": "VKEY|FILE",
              "help": "a key of the ledger, or a file of them; never one from the archive"},
    "--tsa-root": {"metavar": "PEM", "help": "certificates that end a chain of stamps"},
    "--json": {"action": "store_true", "help": "print the report as JSON"},
}


def options() -> argparse.ArgumentParser:
    """The command line, as ``--help`` shows it."""
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=layout)
    kinds = parser.add_subparsers(dest="kind", required=True)
    for kind, (path, about, own) in COMMANDS.items():
        command = kinds.add_parser(kind, help=about)
        command.add_argument("path", metavar=path)
        for name, how in (SHARED | own).items():
            command.add_argument(name, **how)
    return parser


def read_roots(path: str | None) -> Certificates:
    """The certificates that may end the chain of a time stamp."""
    try:
        return x509.load_pem_x509_certificates(read_file(path, SMALL)) if path else []
    except ValueError as error:
        raise NotCheckedError(f"{path} holds no certificates: {error}") from error


def run_ledger(told: argparse.Namespace, keys: list[Key]) -> dict[str, Any]:
    """``ledger DIR``."""
    witnesses, roots = read_keys(told.witness), read_roots(told.tsa_root)
    if any(key.type != COSIGNATURE for key in witnesses):
        raise NotCheckedError("--witness takes the keys of witnesses (type 0x04)")
    quorum = len(witnesses) if told.quorum is None else told.quorum
    if not 0 <= quorum <= len(witnesses) or (witnesses and not quorum):
        raise NotCheckedError(f"no quorum of {quorum} among {len(witnesses)} witnesses")
    ledger = Ledger(told.path, keys)
    ledger.notes += [Note(read_file(path, SMALL), path) for path in told.checkpoint]
    report = ledger.verify() | ledger.stamped(roots)
    return report | ledger.witnessed(witnesses, quorum) if witnesses else report


def run_bundle(told: argparse.Namespace, keys: list[Key]) -> dict[str, Any]:
    """``bundle ZIP|DIR``."""
    pem = read_file(told.registry_key, SMALL) if told.registry_key else None
    bundle = Bundle(Archive(told.path), keys, pem)
    report = bundle.verify()
    if STAMP in bundle.archive.names and told.tsa_root:
        stamp, roots = bundle.archive.read(STAMP, SMALL), read_roots(told.tsa_root)
        report["stamped"] = verify_stamp(stamp, bundle.note.data, roots, STAMP)
    elif STAMP in bundle.archive.names:
        report["remarks"].append(f"{STAMP}: not checked, for want of --tsa-root")
    if told.ledger:
        whole = bundle.against(told.ledger)
        report |= {"ledger": whole["size"], "recovered": whole["recovered"]}
        report["remarks"] += whole["remarks"]
    else:
        report["remarks"].append("held against the registry's own list of entries; with the whole "
                                 "ledger (--ledger) nobody's word is needed")
    if bundle.unnamed:
        raise NotCheckedError("what the ledger tells verifies; README, report and trust.yaml rest "
                              "on the registry's key, which no entry names: --registry-key")
    if bundle.open and not told.incomplete:
        raise NotCheckedError("what is there verifies, and this is missing (--incomplete accepts "
                              "it): " + "; ".join(bundle.open))
    report["remarks"] += bundle.open
    return report


def run_proof(told: argparse.Namespace, keys: list[Key]) -> dict[str, Any]:
    """``proof FILE --entry FILE``."""
    proof = Proof(read_file(told.path, SMALL), told.path)
    note = Note(proof.checkpoint, told.path)
    history_of(note, keys, b"", [Note(read_file(path, SMALL), path) for path in told.handover])
    proof.verify(read_file(told.entry, SMALL), note)
    return {"origin": note.origin, "size": note.size, "index": proof.index}


def check(arguments: list[str]) -> dict[str, Any]:
    """Everything but the printing."""
    told = options().parse_args(arguments)
    keys = read_keys(told.key)
    if not keys:
        raise NotCheckedError("no key: give the ledger's with --key; what an archive holds of keys "
                              "proves nothing about itself")
    if any(key.type == COSIGNATURE for key in keys):
        raise NotCheckedError("--key is the key of a witness; give it with --witness")
    return {"ledger": run_ledger, "bundle": run_bundle, "proof": run_proof}[told.kind](told, keys)


def main(arguments: list[str]) -> int:
    """Check, print, and return the exit code."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal may not know every letter
    try:
        report, code = check(arguments), 0
    except DoesNotVerifyError as error:
        report, code = {"problem": str(error)}, 1
    except NotCheckedError as error:
        report, code = {"problem": str(error)}, 2
    except Exception as error:  # a byte that no parser above expected must never look verified
        report, code = {"problem": repr(error)[:300]}, 2
    word = ("verified", "does not verify", "could not be checked")[code]
    if "--json" in arguments:
        print(json.dumps({"result": word, **report}))
        return code
    told = [f"RECOVERED: {one}" for one in report.pop("recovered", ())]
    for name, value in report.items():
        told.append(f"  {name}: {', '.join(map(str, value)) if isinstance(value, list) else value}")
    for line in (word.upper(), *told):  # foreign bytes must not steer the terminal
        print("".join(c if c.isprintable() else "?" for c in line))
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
