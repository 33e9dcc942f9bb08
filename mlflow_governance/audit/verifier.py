#!/usr/bin/env python3
"""Verify what a model registry handed you, without the registry and without trusting it.

    python verify.py ledger DIR   --key VKEY      an export of the whole ledger
    python verify.py bundle ZIP   --key VKEY      an evidence bundle about a version or a period
    python verify.py proof  FILE  --entry FILE    one entry and its inclusion proof

This is the only file; beside Python 3.9 it needs the package "cryptography". It opens no network
connection, starts no program and writes nothing. Trust comes from the keys on the command line
alone: ask for them by another way than the one the files came by.

Exit codes: 0 it verifies, 1 it does not (what and where is printed), 2 it could not be checked.

How to read it: sections 1 to 4 are the tools (strict parsing, signed notes, the Merkle tree, time
stamps), sections 5 to 7 what is verified with them, in the order of the commands above.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import hashlib
import io
import json
import os
import re
import stat
import sys
import tarfile
import time
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from itertools import islice
from typing import Any, NoReturn
from urllib.parse import quote

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key, load_pem_public_key

SMALL = 1024 * 1024
"""Bytes of a note, a key, a proof or a time stamp: none is read beyond this."""
LARGE = 256 * 1024 * 1024
"""Bytes of one file in an evidence bundle."""
MEMBERS = 400_000
"""Files in an evidence bundle."""


# ---------------------------------------------------------------------------------------------
# 1. Outcomes, files and strict JSON
# ---------------------------------------------------------------------------------------------


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
    waiting = [""]
    while waiting:
        inside = waiting.pop()
        try:
            with os.scandir(os.path.join(root, inside)) as found:
                for one in found:
                    name = inside + one.name
                    if one.is_dir(follow_symlinks=False):
                        waiting.append(name + "/")
                    elif one.is_file(follow_symlinks=False):
                        yield name
                    else:
                        refuse(name, "is a link or a device")
        except OSError as error:
            raise NotCheckedError(f"{root} cannot be read: {error}") from error


def parse_json(data: bytes, where: str) -> Any:
    """One JSON value: UTF-8, no key twice, no NaN, no integer beyond 2**53 - 1 (RFC 7493)."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        value = dict(pairs)
        if len(value) != len(pairs):
            raise ValueError("an object names a key twice")
        return value

    def bounded(digits: str) -> int:
        if len(digits) > 17 or abs(int(digits)) >= 2**53:
            raise ValueError("an integer is beyond 2**53 - 1")
        return int(digits)

    def constant(name: str) -> NoReturn:
        raise ValueError(f"{name} is not JSON")

    try:
        return json.loads(
            data.decode("utf-8"),
            object_pairs_hook=unique,
            parse_int=bounded,
            parse_constant=constant,
        )
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
    return "sha256:" + hashlib.sha256(data).hexdigest()


def decode_base64(text: Any, where: str) -> bytes:
    """Standard base64 (RFC 4648, 4) in its one canonical spelling."""
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, ValueError, AttributeError):
        refuse(where, "is not base64")
    if base64.b64encode(data).decode() != text:
        refuse(where, "is not canonical base64")
    return data


# ---------------------------------------------------------------------------------------------
# 2. Signed notes (c2sp.org/signed-note), checkpoints (tlog-checkpoint), cosignatures
# ---------------------------------------------------------------------------------------------

ED25519, ECDSA, COSIGNATURE = 0x01, 0x02, 0x04
REKEYED = "ledger.rekeyed "
TREE_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")


class Key:
    """A verifier key ``<name>+<key id>+<base64(type || key)>`` (signed-note, verifier keys)."""

    def __init__(self, text: str) -> None:
        try:
            self.name, key_id, encoded = text.split("+", 2)
            raw = base64.b64decode(encoded, validate=True)
            self.text, self.id, self.type = text, bytes.fromhex(key_id), raw[0]
            if self.type == ECDSA:  # named by the key alone
                self._key: Any = load_der_public_key(raw[1:])
                named = raw[1:]
            else:
                self._key = ed25519.Ed25519PublicKey.from_public_bytes(raw[1:])
                named = self.name.encode() + b"\n" + raw
        except (ValueError, IndexError, UnsupportedAlgorithm) as error:
            raise NotCheckedError(f"{text[:100]!r} is not a verifier key ({error})") from error
        known = isinstance(self._key, ec.EllipticCurvePublicKey) == (self.type == ECDSA)
        plain = self.name and not any(c.isspace() or ord(c) < 32 for c in self.name)
        if not known or self.type not in (ED25519, ECDSA, COSIGNATURE) or not plain:
            raise NotCheckedError(f"{text[:100]!r} is no verifier key that can be used here")
        one = (
            f"{self.name}+{hashlib.sha256(named).hexdigest()[:8]}+{base64.b64encode(raw).decode()}"
        )
        if one != text:
            raise NotCheckedError(f"{text[:100]!r} is not the one spelling of a key, or has not "
                                  "the key id it is given with")  # fmt: skip

    def check(self, text: bytes, signature: bytes, where: str) -> int:
        """Check a signature over the text of a note; of a cosignature, return its POSIX time."""
        try:
            if self.type == ECDSA:
                self._key.verify(signature, text, ec.ECDSA(hashes.SHA256()))
            elif self.type == ED25519:
                self._key.verify(signature, text)
            else:  # tlog-cosignature: u64 time || signature over two lines and the note's text
                moment = int.from_bytes(signature[:8], "big")
                head = b"cosignature/v1\ntime %d\n" % moment
                self._key.verify(signature[8:], head + text)
                return moment
        except (InvalidSignature, ValueError):
            refuse(where, f"the signature of {self.name}+{self.id.hex()} does not verify")
        return 0


class Note:
    """A signed note that is a checkpoint: ``origin``, ``size``, ``root``; not verified yet."""

    def __init__(self, data: bytes, where: str) -> None:
        self.data, self.where = data, where
        try:
            text = data.decode("utf-8") if len(data) <= SMALL else ""
        except UnicodeDecodeError:
            refuse(where, "is not UTF-8")
        if any(ord(c) < 32 and c != "\n" for c in text):
            refuse(where, "holds control characters")
        body, gap, tail = text.rpartition("\n\n")
        if not gap or not body or not tail.endswith("\n"):
            refuse(where, "is not a signed note")
        self.text = (body + "\n").encode()
        self.signatures = [self._signature(line) for line in tail[:-1].split("\n")]
        lines = body.split("\n")
        if len(lines) < 3 or not all(lines) or not TREE_SIZE.fullmatch(lines[1]):
            refuse(where, "is not a checkpoint: origin, size and root are expected")
        self.origin, self.size = lines[0], int(lines[1])
        self.root = decode_base64(lines[2], where)
        told = [line[len(REKEYED) :] for line in lines[3:] if line.startswith(REKEYED)]
        self.heir = told[0] if told else ""
        """The key that signs from here on, in the extension line of a handover."""
        if len(self.root) != 32 or len(told) > 1:
            refuse(where, "its root is not a SHA-256 hash, or it hands over twice")

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
        found: dict[Key, int] = {}
        for name, key_id, signature in self.signatures:
            for key in keys:
                if (key.name, key.id) == (name, key_id):
                    found[key] = key.check(self.text, signature, self.where)
        return found


def read_keys(arguments: Iterable[str] | None) -> list[Key]:
    """The verifier keys that the command line names: each a key itself, or a file of them."""
    found = []
    for argument in arguments or ():
        lines = [argument]
        if argument.count("+") < 2 or os.path.exists(argument):
            lines = read_file(argument, SMALL).decode("utf-8", "replace").splitlines()
        found += [Key(line.strip()) for line in lines if line.strip() and line[:1] != "#"]
    return found


# ---------------------------------------------------------------------------------------------
# 3. The Merkle tree (RFC 6962, 2.1) and its tiles (c2sp.org/tlog-tiles)
# ---------------------------------------------------------------------------------------------

WIDTH = 256  # hashes of a full tile
_sha256 = hashlib.sha256


def leaf_hash(entry: bytes) -> bytes:
    """SHA-256(0x00 || entry)."""
    return _sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 || left || right)."""
    return _sha256(b"\x01" + left + right).digest()


def moment(seconds: int) -> str:
    """A POSIX time as RFC 3339."""
    try:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
    except (OverflowError, ValueError, OSError):
        return f"{seconds} seconds after 1970"


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
    """The root an inclusion proof leads to (RFC 9162, 2.1.3.2)."""
    if not 0 <= index < size:
        refuse(where, f"a tree of {size} entries has no entry {index}")
    position, last, root = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            refuse(where, "the inclusion proof is too long")
        if position & 1 or position == last:
            root = node_hash(sibling, root)
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            root = node_hash(root, sibling)
        position, last = position >> 1, last >> 1
    if last:
        refuse(where, "the inclusion proof is too short")
    return root


def tile_name(level: object, number: int, width: int = WIDTH) -> str:
    """``tile/<L>/<N>[.p/<W>]``."""
    groups = [f"{number % 1000:03d}"]
    while number >= 1000:
        number //= 1000
        groups.append(f"x{number % 1000:03d}")
    part = "" if width == WIDTH else f".p/{width}"
    return f"tile/{level}/{'/'.join(reversed(groups))}{part}"


# ---------------------------------------------------------------------------------------------
# 4. Time stamps (RFC 3161): a small strict reader of DER
# ---------------------------------------------------------------------------------------------

SIGNED_DATA, TST_INFO = "2a864886f70d010702", "2a864886f70d0109100104"
CONTENT_TYPE, MESSAGE_DIGEST = "2a864886f70d010903", "2a864886f70d010904"
SHA2: dict[str, Any] = {
    "608648016503040201": hashes.SHA256(),
    "608648016503040202": hashes.SHA384(),
    "608648016503040203": hashes.SHA512(),
}


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
        found, left = [], self.body
        while left and self.tag in (0x30, 0x31, 0xA0):
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


def verify_stamp(stamp: bytes, message: bytes, roots: list[x509.Certificate], where: str) -> str:
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
    if info.at(2, 1).body != _digest(info.at(2, 0), message, where):
        refuse(where, "is a time stamp of something else")
    if len(signed.at(-1).items()) != 1 or signed.at(3).tag != 0xA0:
        refuse(where, "has not one signer with its certificate")
    text = info.at(4).body.decode("ascii", "replace")
    try:
        at = datetime.strptime(re.sub(r"(\.[0-9]+)?Z$", "+0000", text), "%Y%m%d%H%M%S%z")
        chain = [x509.load_der_x509_certificate(one.whole) for one in signed.at(3).items()]
    except ValueError:
        refuse(where, "its time or a certificate is malformed")
    _check_chain(_stamp_signer(signed.at(-1, 0), info.whole, chain, where), chain, roots, at, where)
    return at.isoformat().replace("+00:00", "Z")


def _digest(algorithm: Der, data: bytes, where: str) -> bytes:
    method = SHA2.get(algorithm.at(0).body.hex())
    if method is None:
        raise NotCheckedError(f"{where}: a digest algorithm this verifier does not know")
    return hashlib.new(method.name, data).digest()


def _stamp_signer(
    signer: Der, content: bytes, chain: list[x509.Certificate], where: str
) -> x509.Certificate:
    """The certificate that made the signature over the attributes (RFC 5652, 5.4).

    They hold the digest of the content, and that of the certificate (RFC 5035, 3).
    """
    attributes, method, signature = signer.at(3), signer.at(2), signer.at(5).body
    told = sorted((one.at(0).body.hex(), one.at(1).items()) for one in attributes.items())
    for name, expected in (
        (CONTENT_TYPE, bytes.fromhex(TST_INFO)),
        (MESSAGE_DIGEST, _digest(method, content, where)),
    ):
        if [[one.body for one in values] for key, values in told if key == name] != [[expected]]:
            refuse(where, "what is signed is something else than the time stamp")
    message, algorithm = b"\x31" + attributes.whole[1:], SHA2[method.at(0).body.hex()]
    for one in chain:
        named = (one.fingerprint(kind) for kind in (hashes.SHA1(), *SHA2.values()))  # noqa: S303
        if not any(digest in attributes.body for digest in named):
            continue
        key = one.public_key()
        try:
            if isinstance(key, rsa.RSAPublicKey):
                key.verify(signature, message, padding.PKCS1v15(), algorithm)
            elif isinstance(key, ec.EllipticCurvePublicKey):
                key.verify(signature, message, ec.ECDSA(algorithm))
            else:
                raise NotCheckedError(f"{where}: a kind of key this verifier does not know")
        except (InvalidSignature, ValueError):
            refuse(where, "the signature of the time stamp does not verify")
        return one
    refuse(where, "does not name the certificate that signed it")


def _check_chain(
    signer: x509.Certificate,
    others: list[x509.Certificate],
    roots: list[x509.Certificate],
    at: datetime,
    where: str,
) -> None:
    """From the signer to a root: each issued by a CA, and valid when it was stamped."""
    try:
        use = signer.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
        if not use.critical or [one.dotted_string for one in use.value] != ["1.3.6.1.5.5.7.3.8"]:
            refuse(where, "the certificate is not for time stamps alone (RFC 3161, 2.3)")
        current = signer
        for _ in range(8):
            if not current.not_valid_before_utc <= at <= current.not_valid_after_utc:
                refuse(where, "a certificate was not valid when it was stamped")
            if any(current == root or _issued(current, root) for root in roots):
                return
            current = next(one for one in others if one != current and _issued(current, one))
    except (ValueError, StopIteration, x509.ExtensionNotFound):
        pass
    refuse(where, "its certificate leads to none of the roots given")


def _issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
        return issuer.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (InvalidSignature, TypeError, ValueError, x509.ExtensionNotFound, UnsupportedAlgorithm):
        return False


# ---------------------------------------------------------------------------------------------
# 5. The ledger: an export in the layout of c2sp.org/tlog-tiles
# ---------------------------------------------------------------------------------------------

TILE = re.compile(
    r"tile/(entries|[0-9]|[1-5][0-9]|6[0-3])((?:/x[0-9]{3})*/[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?"
)
KEPT = re.compile(r"checkpoints/(0|[1-9][0-9]{0,18})-[0-9a-f]{8}\.checkpoint")
BESIDE = ("checkpoint", "keys/ledger.vkeys")
_PLACE = re.compile(rb'"index":([0-9]{1,19}),"reason":')


def place_of(entry: bytes) -> int:
    """The index an entry carries, or -1. In RFC 8785 form the last ``"index":`` is its own:
    only the subject stands behind it, and inside a text the quotes would be escaped."""
    found = _PLACE.match(entry, entry.rfind(b'"index":'))
    return int(found[1]) if found else -1


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


class Ledger:
    """One pass over an export; all that is kept of it is the right edge of the tree.

    Args:
        root: the folder.
        given: the ledger keys of the command line.
        look: called with index and bytes of every entry.
        witnesses: their keys; ``quorum`` of them must have cosigned one of the checkpoints.
        tsa: certificates that end the chain of a time stamp.
    """

    def __init__(
        self,
        root: str,
        given: list[Key],
        look: Callable[[int, bytes], None] | None = None,
        witnesses: Iterable[Key] = (),
        tsa: Iterable[x509.Certificate] = (),
    ) -> None:
        self.root, self.given, self.look = root, given, look
        self.witnesses, self.tsa = list(witnesses), list(tsa)
        self.cosigned: dict[int, dict[str, str]] = {}
        self.stamped: dict[int, str] = {}
        self.unchecked = 0
        self.head = Note(self._read("checkpoint", SMALL), "checkpoint")
        self.keys = self._chain()
        self.notes: list[tuple[Note, set[int]]] = []
        self.rows: list[list[bytes]] = [[]]
        self.roots: dict[int, Note] = {}
        self.proved = self.empty = 0
        self.acts: Counter[bytes] = Counter()
        self.rekeyed: dict[int, bytes] = {}
        self.parts: dict[tuple[object, int], list[int]] = {}
        self.mark(self.head)
        self._inventory()

    def verify(self) -> dict[str, Any]:
        """Everything there is; what comes back goes into the report."""
        size = self.head.size
        waiting = sorted((note for note, _ in self.notes), key=lambda note: -note.size)
        for number in range(-(-size // WIDTH)):
            start = number * WIDTH
            leaves = self._leaves(number, min(WIDTH, size - start))
            while waiting and waiting[-1].size < start + len(leaves):
                note = waiting.pop()
                self._compare(note, [leaves[: note.size - start], *self.rows[1:]])
            self.rows[0] = leaves
            if len(leaves) == WIDTH:
                self._complete(0, number)
        for level, row in enumerate(self.rows):
            if row:
                self._tile(level, size >> 8 * (level + 1), row)
        for note in reversed(waiting):
            self._compare(note, self.rows)
        try:
            self._check_keys()
        except (KeyError, TypeError, AttributeError):
            refuse("tile/entries", "an entry about the ledger's key is not of the form it has")
        if self.empty and not self.acts[b"expired"]:
            refuse("tile/entries", f"{self.empty} entries hold no bytes, and no entry records that "
                   "they were deleted after their time")  # fmt: skip
        return {
            "origin": self.head.origin,
            "size": size,
            "root": self.head.root.hex(),
            "checkpoints": len(self.notes) - 1,
            "keys": [key.text for key in self.keys],
            "expired": self.empty,
            "recovered": self.acts[b"recovered"],
            "stamped": [
                f"{size} entries at {at}" for size, at in sorted(self.stamped.items())[-1:]
            ],
            "stamps_not_checked": self.unchecked,
        }

    def _read(self, name: str, limit: int) -> bytes:
        path = os.path.join(self.root, name)
        if not os.path.lexists(path):
            refuse(name, "is missing")
        return read_file(path, limit)

    def _chain(self) -> list[Key]:
        """The ledger's keys, oldest first; those given must be among them."""
        lines = self._read("keys/ledger.vkeys", SMALL).decode("utf-8", "replace").splitlines()
        chain = [Key(line) for line in lines if line]
        texts = [key.text for key in chain]
        for key in self.given:
            if key.text not in texts:
                refuse("keys/ledger.vkeys", f"{key.text[:120]}, the key you gave, is none of this "
                       "ledger: it is another one, or was rolled back")  # fmt: skip
        if len(set(texts)) != len(texts) or any(key.name != self.head.origin for key in chain):
            refuse("keys/ledger.vkeys", "names a key twice, or one of another ledger")
        return chain

    def _inventory(self) -> None:
        """Every file has a place; each kept checkpoint is read, partial tiles are noted."""
        size = self.head.size
        for name in walk(self.root):
            tile, kept = TILE.fullmatch(name), KEPT.fullmatch(name)
            if kept:
                note = Note(self._read(name, SMALL), name)
                if note.size != int(kept[1]):
                    refuse(name, f"is of {note.size} entries")
                beside = name[: -len("checkpoint")] + "tsr"
                has = os.path.lexists(os.path.join(self.root, beside))
                self.mark(note, self._read(beside, SMALL) if has else None)
            elif tile:
                level = 0 if tile[1] == "entries" else int(tile[1])
                number = int(tile[2].replace("/x", "").replace("/", ""))
                width = int(tile[3] or WIDTH)
                if name != tile_name(tile[1], number, width) or width > WIDTH:
                    refuse(name, "is no name of a tile")
                if number * WIDTH + width > size >> 8 * level:
                    refuse(name, f"holds more than the {size} entries of the checkpoint: the "
                           "checkpoint was rolled back, or an export was interrupted")  # fmt: skip
                if width < WIDTH:
                    self.parts.setdefault((tile[1], number), []).append(width)
            elif name not in BESIDE and not KEPT.fullmatch(name[:-4] + ".checkpoint"):
                refuse(name, "is no part of an export")

    def mark(self, note: Note, stamp: bytes | None = None) -> None:
        """Take in a checkpoint: signed by a key of this ledger, about this ledger."""
        signers = note.signers(self.keys)
        if not signers:
            refuse(note.where, f"is not signed by {self.head.origin} with a key of this ledger")
        if note.origin != self.head.origin:
            refuse(note.where, f"is a checkpoint of {note.origin[:80]}")
        if note.size > self.head.size:
            refuse(note.where, f"{note.size} entries were signed, and the ledger ends at "
                   f"{self.head.size}: it was truncated or rolled back")  # fmt: skip
        other = self.roots.setdefault(note.size, note)
        if other.root != note.root:
            refuse(note.where, f"the ledger forked: {other.where} has another root, and both are "
                   "signed")  # fmt: skip
        for key, at in note.signers(self.witnesses).items():
            self.cosigned.setdefault(note.size, {})[key.text] = moment(at)
        if stamp is not None:
            if self.tsa:
                self.stamped[note.size] = verify_stamp(stamp, note.data, self.tsa, note.where)
            else:
                self.unchecked += 1
        self.notes.append((note, {self.keys.index(key) for key in signers}))
        note.data, note.text, note.signatures = b"", b"", []  # there may be very many

    def _leaves(self, number: int, width: int) -> list[bytes]:
        """The leaf hashes of one bundle, each compared with the tile of level 0."""
        start, name = number * WIDTH, tile_name("entries", number, width)
        data = self._read(name, WIDTH * 65537)
        entries = split_bundle(data, name)
        tile = self._read(tile_name(0, number, width), WIDTH * 32)
        leaves = []
        for at, entry in enumerate(entries):
            index = start + at
            hashed = tile[32 * at : 32 * at + 32]
            leaf = _sha256(b"\x00" + entry).digest()
            if leaf != hashed and not entry and len(hashed) == 32:
                self.empty += 1  # deleted after retention: its hash stays
                leaf = hashed
            elif leaf != hashed or place_of(entry) != index:
                self._name(name, entries, at, start)
            elif entry.startswith(b'{"act":"ledger.'):
                self.acts[entry[15 : entry.find(b'"', 15)]] += 1
                if entry.startswith(b'rekeyed"', 15):
                    self.rekeyed[index] = entry
            if self.look:
                self.look(index, entry)
            leaves.append(leaf)
        if len(leaves) != width or len(tile) != 32 * width:
            refuse(name, f"entry {start + len(leaves)} is missing: the ledger was truncated"
                   if len(leaves) < width else "an entry was inserted")  # fmt: skip
        for part in self.parts.pop(("entries", number), ()):
            kept = b"".join(len(e).to_bytes(2, "big") + e for e in entries[:part])
            if part != width and self._read(tile_name("entries", number, part), len(data)) != kept:
                refuse(tile_name("entries", number, part), "is not the beginning of its bundle")
        return leaves

    def _name(self, name: str, entries: list[bytes], at: int, start: int) -> NoReturn:
        """Say what happened to the entry that is not in its place."""
        index, carried = start + at, place_of(entries[at])
        later = [place_of(entry) for entry in entries[at:]]
        if carried == index:
            refuse(name, f"entry {index} was edited: its bytes do not have its leaf hash")
        if carried < 0:
            refuse(name, f"entry {index} was edited: it does not say its index")
        if index in later:
            what = "was inserted" if later.count(carried) > 1 or carried < index else "was moved"
            refuse(name, f"entry {carried} {what} before entry {index}: reordered or inserted")
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
        for width in {len(row), *self.parts.pop((str(level), number), ())}:
            name = tile_name(level, number, width)
            data, expected = self._read(name, WIDTH * 32), b"".join(row[:width])
            if data != expected:
                same = next(
                    i
                    for i in range(width)
                    if data[32 * i : 32 * i + 32] != expected[32 * i : 32 * i + 32]
                )
                first, span = (number * WIDTH + same) * WIDTH**level, WIDTH**level
                refuse(name, f"its hash {same} is not that of entries {first} to "
                       f"{first + span - 1}: they were edited, or the tile was")  # fmt: skip

    def _compare(self, note: Note, rows: list[list[bytes]]) -> None:
        if root_of(rows) != note.root:
            refuse(note.where, f"the ledger is not the one signed at {note.size} entries: an entry "
                   f"between {self.proved} and {note.size - 1} was edited, replaced or moved, or "
                   "the ledger forked")  # fmt: skip
        self.proved = note.size

    def _check_keys(self) -> None:
        """A key signs up to the checkpoint in which it names its heir, and both sign that one.

        The last of the entries it counts is ``ledger.rekeyed`` and names the same key.
        """
        until: list[int] = []
        told = {index: parse_json(entry, "entry") for index, entry in self.rekeyed.items()}
        for place, key in enumerate(self.keys[1:]):
            sizes = {one.size for one, by in self.notes if one.heir == key.text
                     and {place, place + 1} <= by}  # fmt: skip
            if len(sizes) != 1:
                refuse("checkpoints", "not one checkpoint hands over to the key " + key.text[:120])
            until += sizes
            entry = told.pop(until[-1] - 1, {})
            if not entry.get("allowed") or entry["facts"].get("key") != key.text:
                refuse("tile/entries", f"entry {until[-1] - 1} hands over to another key")
        if told or len(set(until)) != len(until) or sorted(until) != until:
            refuse("keys/ledger.vkeys", "the entries tell of other changes of the key")
        for note, by in self.notes:
            if note.heir and note.size not in until:
                refuse(note.where, "hands the ledger over to a key that is none of it")
            begins, ends = [0, *until], [*until, note.size]
            for place in by:
                if not begins[place] <= note.size <= ends[place]:
                    refuse(note.where, f"the key {self.keys[place].text[:120]} was not the "
                           f"ledger's at {note.size} entries")  # fmt: skip


# ---------------------------------------------------------------------------------------------
# 6. One entry and its inclusion proof (c2sp.org/tlog-proof)
# ---------------------------------------------------------------------------------------------


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
        leaf = leaf_hash(entry)
        if root_from_proof(self.index, note.size, leaf, self.path, self.where) != note.root:
            refuse(self.where, f"the entry is not number {self.index} of the signed ledger: the "
                   "entry, its place or the proof was changed")  # fmt: skip
        if place_of(entry) != self.index:
            refuse(self.where, f"the entry says that its index is {place_of(entry)}")


def signed_by(note: Note, keys: list[Key]) -> None:
    """Refuse a checkpoint that none of these keys signed, or one of another ledger."""
    if not note.signers(keys) or note.origin not in [key.name for key in keys]:
        refuse(note.where, f"the checkpoint of {note.origin[:80]} is not signed with a key given")


# ---------------------------------------------------------------------------------------------
# 7. Evidence bundles
# ---------------------------------------------------------------------------------------------

STAMP = "ledger/checkpoint.tsr"
MANIFESTS = ("manifest.json", "manifest.dsse")
PAYLOAD_TYPE = "application/vnd.mlflow-governance.evidence+json"
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
            self.names = {info.filename for info in self.zip.infolist()}
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
        names, behind, total = set(), 0, 0
        for info in sorted(found.infolist(), key=lambda info: info.header_offset):
            name, kind = info.filename, info.external_attr >> 16
            parts = name.split("/")
            if "" in parts or ".." in parts or "." in parts or "\\" in name or ":" in parts[0]:
                refuse(name, "is no name of a file in a bundle")
            if name.casefold() in names or (kind and not stat.S_ISREG(kind)):
                refuse(name, "is there twice, is a link or is no file")
            if info.orig_filename != name or (info.header_offset < behind if behind else
                                              info.header_offset):  # fmt: skip
                refuse(name, "two files of the zip overlap, or something stands before the first")
            names.add(name.casefold())
            behind = info.header_offset + 30 + len(name) + info.compress_size
            total += info.file_size
        if len(names) > MEMBERS or total > 16 * LARGE:
            raise NotCheckedError(f"{path} holds more than is read")
        return found


def verify_envelope(data: bytes, payload: bytes, pem: bytes, where: str) -> None:
    """Check a DSSE envelope (protocol v1.0): the payload is this, and this key signed it."""
    envelope = parse_json(data, where)
    if decode_base64(envelope["payload"], where) != payload:
        refuse(where, "is a signature over another manifest")
    if envelope["payloadType"] != PAYLOAD_TYPE:
        refuse(where, "is a signature over something else")
    kind = PAYLOAD_TYPE.encode()
    message = b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)
    try:
        key: Any = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise NotCheckedError(f"the registry's key cannot be read: {error}") from error
    for one in envelope["signatures"][:16]:
        try:
            if isinstance(key, ed25519.Ed25519PublicKey):
                key.verify(decode_base64(one["sig"], where), message)
            elif isinstance(key, ec.EllipticCurvePublicKey):
                method = {384: hashes.SHA384(), 521: hashes.SHA512()}.get(key.key_size)
                key.verify(decode_base64(one["sig"], where), message,
                           ec.ECDSA(method or hashes.SHA256()))  # fmt: skip
            else:
                raise NotCheckedError("the registry's key is neither Ed25519 nor ECDSA")
            return
        except InvalidSignature:
            continue
    refuse(where, "the registry's key did not sign this manifest")


def policy_digest(archive: bytes, where: str) -> str:
    """The identity of a policy: ``sha256(JCS([{name, sha256}, …]))`` over what decides."""
    unpacked = zlib.decompressobj(31)
    try:
        plain = unpacked.decompress(archive, 16 * SMALL)
        if not unpacked.eof or unpacked.unused_data:
            refuse(where, "is too large, or more than one archive")
        found: dict[str, bytes] = {}
        with tarfile.open(fileobj=io.BytesIO(plain), mode="r:") as tar:
            for member in tar:
                file = tar.extractfile(member) if member.isreg() else None
                if file is None or member.issparse() or member.name in found:
                    refuse(where, f"holds {member.name[:100]!r} twice, or a link")
                found[member.name] = file.read()
    except (zlib.error, tarfile.TarError, EOFError, ValueError) as error:
        refuse(where, f"is no archive of a policy ({error})")
    kept = {}
    for name, data in found.items():
        if name.startswith("tests/") or name.endswith(".md"):
            continue
        if name in (".signatures.json", "config.schema.json"):
            continue
        if name == ".manifest":  # its revision is this very digest
            told = parse_json(data, where)
            data = canonical({key: told[key] for key in told if key != "revision"})
        kept[name] = hashlib.sha256(data).hexdigest()
    return sha256(canonical([{"name": name, "sha256": kept[name]} for name in sorted(kept)]))


class Bundle:
    """What a registry says of a version, or of a period, and whether its ledger says the same.

    What is missing, as where names were erased or withheld, is kept in ``open``: it cannot be told,
    which is exit code 2. ``remarks`` only say how far the check went.
    """

    def __init__(self, archive: Archive, keys: list[Key], registry_key: bytes | None) -> None:
        self.archive, self.keys, self.registry_key = archive, keys, registry_key
        self.open: list[str] = []
        self.remarks: list[str] = []
        self.entries: dict[int, dict[str, Any]] = {}
        self.texts: dict[str, str] = {}
        self.decisions: dict[int, dict[str, Any]] = {}
        self.dossiers: dict[int, dict[str, Any]] = {}

    def verify(self) -> dict[str, Any]:
        """Everything in it."""
        try:
            self._files()
            self._ledger()
            self._exported()
            self._openings()
            self._decisions()
            self._policies()
            self._states()
            self._approvals()
            self._models()
        except (KeyError, TypeError, AttributeError, ValueError, IndexError) as error:
            refuse("a document", f"is not of the form this verifier reads ({error!r:.200})")
        if self.hidden and self.open:
            self.remarks += [f"withheld, as the ledger says: {one}" for one in self.open]
            self.open = []
        return {
            "of": json.dumps(self.manifest["of"], ensure_ascii=False),
            "made_at": self.manifest["made_at"],
            "origin": self.note.origin,
            "size": self.note.size,
            "entries": len(self.entries),
            "decisions": len(self.decisions),
            "remarks": self.remarks,
        }

    def _files(self) -> None:
        """The manifest is signed, and lists every file and none else."""
        data = self.archive.read("manifest.json")
        self.manifest = parse_json(data, "manifest.json")
        if self.manifest["schema"] != 1:
            raise NotCheckedError("a bundle of a kind that is newer than this verifier")
        given = self.registry_key
        pem = self.archive.read("keys/registry.pub", SMALL) if given is None else given
        verify_envelope(self.archive.read("manifest.dsse"), data, pem, "manifest.dsse")
        listed = self.manifest["files"]
        for name in sorted((self.archive.names - set(MANIFESTS)) ^ set(listed)):
            refuse(name, "is missing" if name in listed else "is not listed in manifest.json")
        for name, digest in listed.items():
            if name in MANIFESTS or sha256(self.archive.read(name)) != digest:
                refuse(name, "is not the file that manifest.json lists: it was edited")

    def _ledger(self) -> None:
        """Each entry is in the ledger, by its proof against the one checkpoint."""
        checkpoint = self.archive.read("ledger/checkpoint", SMALL)
        self.note = Note(checkpoint, "ledger/checkpoint")
        signed_by(self.note, self.keys)
        told = {"origin": self.note.origin, "size": self.note.size}
        if self.manifest["ledger"] != told:
            refuse("manifest.json", "names another ledger than its checkpoint")
        proofs = {name for name in self.archive.names if name.startswith("ledger/proofs/")}
        for name in self.archive.names:
            if not name.startswith("ledger/entries/"):
                continue
            index = int(name[15:].removesuffix(".json"))
            where = f"ledger/proofs/{index}.tlog-proof"
            proof = Proof(self.archive.read(where, SMALL), where)
            proofs.discard(where)
            if (proof.index, proof.checkpoint) != (index, checkpoint):
                refuse(where, "is about another entry, or against another checkpoint")
            data = self.archive.read(name, SMALL)
            proof.verify(data, self.note)
            self.entries[index] = parse_json(data, name)
            if self.entries[index]["schema"] != 1 or self.entries[index]["index"] != index:
                refuse(name, "is no entry of this kind of ledger")
        if proofs:
            refuse(min(proofs), "is the proof of an entry that is not there")
        self.entries = dict(sorted(self.entries.items()))

    def _exported(self) -> None:
        """The last entry is the registry's word for what the bundle holds."""
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
                   f"entries, or of something else ({sorted(missing)[:5]})")  # fmt: skip

    def _openings(self) -> None:
        """A name or reason is shown with the salt that makes it its commitment."""
        for commitment, one in parse_json(
            self.archive.read("openings.json"), "openings.json"
        ).items():
            if sha256(bytes.fromhex(one["salt"]) + one["text"].encode()) != commitment:
                refuse("openings.json", f"{one['text'][:60]!r} does not open {commitment}")
            self.texts[commitment] = one["text"]

    def _decisions(self) -> None:
        """Whatever moved a version was decided so, and the decision is the one recorded."""
        named: set[str] = set()
        for index, entry in self.entries.items():
            name = f"decisions/{entry['decision_id']}.json"
            if not entry["decision_id"] or name not in self.archive.names:
                if moves(entry):
                    self.open.append(f"entry {index}: its decision is not in the bundle")
                continue
            decision = self.decisions[index] = self._decision(index, entry, name)
            dossier = f"dossiers/{decision['dossier_digest'][7:]}.json"
            named |= {name, dossier}
            if dossier in self.archive.names:
                self._dossier(index, entry, dossier, decision["dossier_digest"])
            elif moves(entry):
                self.open.append(f"entry {index}: its dossier is not in the bundle")
        for name in self.archive.names:
            if name.startswith(("decisions/", "dossiers/")) and name not in named:
                refuse(name, "no entry names it")

    def _decision(self, index: int, entry: dict[str, Any], name: str) -> dict[str, Any]:
        data = self.archive.read(name)
        if sha256(data) != entry["decision_digest"]:
            refuse(name, f"is not the decision of entry {index}: it was edited")
        decision: dict[str, Any] = parse_json(data, name)
        told = {key: entry["facts"].get(key) for key in ("policy_digest", "dossier_digest")}
        told["decision_id"] = entry["decision_id"]
        if any(value not in (None, decision[key]) for key, value in told.items()):
            refuse(name, f"says something else than entry {index}")
        if moves(entry) and decision["allow"] is not True:
            refuse(name, f"refused what entry {index} says was done")
        return decision

    def _dossier(self, index: int, entry: dict[str, Any], where: str, digest: str) -> None:
        data, subject = self.archive.read(where), entry["subject"]
        if sha256(data) != digest:
            refuse(where, "is not the dossier that was decided upon")
        dossier = self.dossiers[index] = parse_json(data, where)
        about, action = dossier["subject"], dossier["action"]
        told = (about["uid"], about["digest"], about["stage"], action.get("to"))
        done = (subject["uid"], subject["digest"], entry["before"].get("stage"),
                entry["after"].get("stage"))  # fmt: skip
        if moves(entry) and told != done:
            refuse(where, f"is about something else than entry {index} says was done")

    def _policies(self) -> None:
        used = {decision["policy_digest"] for decision in self.decisions.values()}
        for digest in sorted(used):
            name = f"policies/{digest[7:]}.tar.gz"
            if name not in self.archive.names:
                self.open.append(f"policy {digest} is not in the bundle")
            elif policy_digest(self.archive.read(name), name) != digest:
                refuse(name, "is another policy than it is called")
        for name in self.archive.names:
            if name.startswith("policies/") and f"sha256:{name[9:-7]}" not in used:
                refuse(name, "no decision was made with it")

    def _states(self) -> None:
        """The stages of each version follow each other, in a life cycle that exists."""
        stages: dict[str, str] = {}
        came_from: dict[str, str] = {}
        self.registered: dict[str, dict[str, Any]] = {}
        for index, entry in self.entries.items():
            act, uid = entry["act"], entry["subject"]["uid"]
            where = f"ledger/entries/{index}.json"
            if not entry["allowed"] or not uid:
                continue
            if act == "version.registered":
                if uid in stages or entry["after"]["stage"] != "None":
                    refuse(where, "registers a version that is there, or not at its beginning")
                stages[uid], self.registered[uid] = "None", entry
            if act == "version.deleted":
                stages.pop(uid, None)
            if not moves(entry):
                continue
            before, after = entry["before"]["stage"], entry["after"]["stage"]
            if stages.get(uid) != before:
                refuse(where, f"leaves {before}, and the version was {stages.get(uid)}")
            back = before == "Quarantined" and came_from.get(uid) == after
            on = before in WAY and after in (WAY[before], "Quarantined")
            if before == "Revoked" or not (after == "Revoked" or back or on):
                refuse(where, f"the life cycle has no way from {before} to {after}")
            came_from[uid], stages[uid] = before, after

    def _approvals(self) -> None:
        """Each approval a promotion rests on was given before it, and not by the submitter."""
        words = {i: e for i, e in self.entries.items() if e["act"].startswith("approval.")
                 and e["allowed"]}  # fmt: skip
        ended: dict[Any, int] = {}  # from which entry on a word stands no more
        for index, word in words.items():
            former = "supersedes" if word["act"] == "approval.given" else "approval"
            if word["facts"].get(former) is not None:
                ended.setdefault(word["facts"][former], index)
        for index, dossier in self.dossiers.items():
            entry = self.entries[index]
            if not moves(entry) or entry["after"]["stage"] in OUT:
                continue
            left = [word for i, word in words.items()
                    if i < index <= ended.get(word["facts"].get("approval"), index)]  # fmt: skip
            for one in dossier["approvals"]:
                given = [word for word in left if self._says(word, one, entry)]
                if not given:
                    refuse(
                        f"dossier of entry {index}",
                        f"it rests on an approval for {one['role']} that nobody gave before, or "
                        "that was taken back",
                    )
                left.remove(given[0])
                if one["decision"] == "approve":
                    self._apart(index, given[0], entry)
        self._told(words)

    def _told(self, words: dict[int, dict[str, Any]]) -> None:
        """``approvals.json`` says what the entries say."""
        for one in parse_json(self.archive.read("approvals.json"), "approvals.json"):
            word = words.get(one["index"], {"facts": {}, "act": "", "at": "", "actor": ""})
            same = [word["facts"].get("role"), word["facts"].get("decision"), word["at"]]
            person = self.texts.get(word["actor"], one["person"])
            if word["act"] != "approval.given" or same != [one["role"], one["decision"], one["at"]]:
                refuse("approvals.json", f"entry {one['index']} does not say that")
            if person != one["person"]:
                refuse("approvals.json", f"entry {one['index']} is of somebody else")

    def _says(self, word: dict[str, Any], one: dict[str, Any], entry: dict[str, Any]) -> bool:
        """True when an entry tells of this approval, of what another entry is about."""
        facts, subject = word["facts"], word["subject"]
        told = (word["act"], facts["role"], facts["decision"], word["at"], subject["digest"])
        return (
            told == ("approval.given", one["role"], one["decision"], one["at"], one["model_digest"])
            and subject["uid"] == entry["subject"]["uid"]
            and self.texts.get(word["actor"], one["person"]) == one["person"]
        )

    def _apart(self, index: int, word: dict[str, Any], entry: dict[str, Any]) -> None:
        registered = self.registered.get(entry["subject"]["uid"])
        if registered is None or registered["before"]:  # adopted: nobody knows who made it
            return
        people = [self.texts.get(one["actor"]) for one in (registered, word)]
        if None in people:
            self.open.append(f"entry {index}: whether submitter and approver are two people "
                             "cannot be told, as a name was erased or withheld")  # fmt: skip
        elif people[0] == people[1]:
            refuse(f"entry {index}", "the submitter approved it: separation of duties is broken")

    def _models(self) -> None:
        """What stands in ``versions/`` has the digests that the entries name."""
        versions, files = self._folders(), self._files_of()
        for folder in files.keys() - versions.keys():
            refuse(folder, "is about a version that no entry names")
        for folder, about in versions.items():
            inside, acts = files.get(folder, set()), [entry["act"] for entry in about]
            digests = [e["subject"]["digest"] for e in about if e["subject"]["digest"]]
            for name in inside:
                if re.fullmatch(r"manifest(-[0-9a-f]{64})?\.json", name):
                    told = digests[-1:] if name == "manifest.json" else [f"sha256:{name[9:-5]}"]
                    if sha256(self.archive.read(folder + name)) not in {*told} & {*digests}:
                        refuse(folder + name, "is not the model that the entries name")
            if "version.registered" not in acts or acts[-1] == "version.deleted":
                continue  # of others only what they have to do with these
            if digests and "manifest.json" not in inside:
                self.open.append(f"{folder}manifest.json is not in the bundle")
            there = {self.manifest["files"][folder + n] for n in inside if n[:9] == "evidence/"}
            self.open += [
                f"{folder}evidence: {what} is not in the bundle"
                for digest, what in self._evidence(about)
                if digest not in there
            ]

    def _files_of(self) -> dict[str, set[str]]:
        """The files of each version, by their folder."""
        found: dict[str, set[str]] = {}
        for name in self.archive.names:
            if name.startswith("versions/"):
                *folders, inner = name.split("/", 3)
                found.setdefault("/".join([*folders, ""]), set()).add(inner)
        return found

    def _folders(self) -> dict[str, list[dict[str, Any]]]:
        """The entries about each version, by the folder of its files."""
        found: dict[str, list[dict[str, Any]]] = {}
        for entry in self.entries.values():
            subject = entry["subject"]
            if subject["uid"]:
                space = subject["workspace"]
                whole = subject["name"] if space == "default" else f"{space}:{subject['name']}"
                name = re.sub(r"^\.", "%2E", quote(whole, safe=" "))
                found.setdefault(f"versions/{name}/{subject['version']}/", []).append(entry)
        return found

    def _evidence(self, about: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
        for entry in about:
            if entry["act"] == "evidence.attached" and entry["allowed"]:
                yield entry["facts"]["digest"], entry["facts"]["name"]
            if moves(entry):
                for one in self.dossiers.get(entry["index"], {}).get("attached", ()):
                    yield one["digest"], one["name"]

    def against(self, path: str) -> dict[str, Any]:
        """Hold the bundle against the whole ledger: was anything left out?"""
        of, asked, seen = self.manifest["of"], set(self.entries), set()
        refs = {self._ref(e) for e in self.entries.values() if e["subject"]["uid"]}
        if "name" in of:
            refs = {(of["workspace"], of["name"], of["version"])}
        names = {b'"name":' + canonical(name) for _, name, _ in refs}

        def look(index: int, data: bytes) -> None:
            period = "since" in of and of["since"] <= _moment(data) < of["until"]
            if index >= self.last or not (period or any(name in data for name in names)):
                return
            entry = parse_json(data, f"entry {index}")
            if period or self._ref(entry) in refs:
                seen.add(index)

        ledger = Ledger(path, self.keys, look=look)
        if ledger.head.size < self.note.size:
            raise NotCheckedError("that export of the ledger is older than the bundle")
        ledger.mark(self.note)
        report = ledger.verify()
        if seen - asked:
            refuse(f"entry {min(seen - asked)}", "is about this, and the bundle leaves it out")
        return report

    @staticmethod
    def _ref(entry: dict[str, Any]) -> tuple[Any, Any, Any]:
        subject = entry["subject"]
        return subject["workspace"], subject["name"], subject["version"]


def moves(entry: dict[str, Any]) -> bool:
    """True for an entry that says that a version went from one stage to another."""
    acts = ("version.transitioned", "version.revoked")
    before, after = entry["before"].get("stage"), entry["after"].get("stage")
    return entry["act"] in acts and entry["allowed"] is True and before != after


def _moment(data: bytes) -> str:
    found = re.search(rb'"allowed":(?:true|false),"at":"([^"]{1,40})","before":', data)
    return found[1].decode("ascii", "replace") if found else ""


# ---------------------------------------------------------------------------------------------
# 8. The command line
# ---------------------------------------------------------------------------------------------


def options() -> argparse.ArgumentParser:
    """The command line, as ``--help`` shows it."""
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument(
        "--key",
        action="append",
        metavar="VKEY|FILE",
        help="verifier key of the ledger; never take it from the archive",
    )
    shared.add_argument("--tsa-root", metavar="PEM", help="certificates that end a chain of stamps")
    shared.add_argument("--json", action="store_true", help="print the report as JSON")
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )  # fmt: skip
    kinds = parser.add_subparsers(dest="kind", required=True)
    ledger = kinds.add_parser("ledger", parents=[shared], help="an export of the whole ledger")
    ledger.add_argument("path", metavar="DIR")
    ledger.add_argument(
        "--checkpoint",
        action="append",
        default=[],
        metavar="FILE",
        help="a checkpoint you kept: the ledger must continue it",
    )
    ledger.add_argument(
        "--witness",
        action="append",
        metavar="VKEY|FILE",
        help="key of a witness (c2sp.org/tlog-cosignature)",
    )
    ledger.add_argument("--quorum", type=int, help="how many of them; all when not given")
    bundle = kinds.add_parser("bundle", parents=[shared], help="an evidence bundle")
    bundle.add_argument("path", metavar="ZIP|DIR")
    bundle.add_argument("--registry-key", metavar="PEM", help="the registry's own public key")
    bundle.add_argument(
        "--incomplete",
        action="store_true",
        help="accept that something is not there: erased, or past its retention",
    )
    bundle.add_argument("--ledger", metavar="DIR", help="an export: was anything left out?")
    proof = kinds.add_parser("proof", parents=[shared], help="one entry, by its inclusion proof")
    proof.add_argument("path", metavar="FILE")
    proof.add_argument("--entry", required=True, metavar="FILE", help="the entry's exact bytes")
    return parser  # fmt: skip


def read_roots(path: str | None) -> list[x509.Certificate]:
    """The certificates that may end the chain of a time stamp."""
    try:
        return x509.load_pem_x509_certificates(read_file(path, SMALL)) if path else []
    except ValueError as error:
        raise NotCheckedError(f"{path} holds no certificates: {error}") from error


def run_ledger(told: argparse.Namespace, keys: list[Key]) -> dict[str, Any]:
    """``ledger DIR``."""
    witnesses = read_keys(told.witness)
    if any(key.type != COSIGNATURE for key in witnesses):
        raise NotCheckedError("--witness takes the keys of witnesses (type 0x04)")
    quorum = len(witnesses) if told.quorum is None else told.quorum
    if not 0 <= quorum <= len(witnesses) or (witnesses and not quorum):
        raise NotCheckedError(f"no quorum of {quorum} among {len(witnesses)} witnesses")
    ledger = Ledger(told.path, keys, None, witnesses, read_roots(told.tsa_root))
    for path in told.checkpoint:
        ledger.mark(Note(read_file(path, SMALL), path))
    report = ledger.verify()
    if witnesses:
        enough = [size for size, by in ledger.cosigned.items() if len(by) >= quorum]
        if not enough:
            refuse("checkpoints", f"none is cosigned by {quorum} of the witnesses")
        report["witnessed"] = max(enough)
    return report


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
        report["ledger"] = bundle.against(told.ledger)["size"]
    else:
        report["remarks"].append("held against the registry's own list of entries; with the whole "
                                 "ledger (--ledger) nobody's word is needed")  # fmt: skip
    if pem is None:
        raise NotCheckedError("what the ledger tells verifies; README, report and trust.yaml rest "
                              "on the registry's key: give it with --registry-key")  # fmt: skip
    if bundle.open and not told.incomplete:
        raise NotCheckedError("what is there verifies, and this is missing (--incomplete accepts "
                              "it): " + "; ".join(bundle.open))  # fmt: skip
    report["remarks"] += bundle.open
    return report


def run_proof(told: argparse.Namespace, keys: list[Key]) -> dict[str, Any]:
    """``proof FILE --entry FILE``."""
    proof = Proof(read_file(told.path, SMALL), told.path)
    note = Note(proof.checkpoint, told.path)
    signed_by(note, keys)
    proof.verify(read_file(told.entry, SMALL), note)
    return {"origin": note.origin, "size": note.size, "index": proof.index}


def check(arguments: list[str]) -> dict[str, Any]:
    """Everything but the printing."""
    told = options().parse_args(arguments)
    keys = read_keys(told.key)
    if not keys:
        raise NotCheckedError("no key: give the ledger's with --key; what an archive holds of keys "
                              "proves nothing about itself")  # fmt: skip
    if any(key.type == COSIGNATURE for key in keys):
        raise NotCheckedError("--key is the key of a witness; give it with --witness")
    run = {"ledger": run_ledger, "bundle": run_bundle, "proof": run_proof}[told.kind]
    return run(told, keys)


def main(arguments: list[str]) -> int:
    """Check, print, and return the exit code."""
    as_json = "--json" in arguments
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal may not know every letter
    try:
        report = check(arguments)
        code, word = 0, "VERIFIED"
    except DoesNotVerifyError as error:
        report, code, word = {"problem": str(error)}, 1, "DOES NOT VERIFY"
    except NotCheckedError as error:
        report, code, word = {"problem": str(error)}, 2, "COULD NOT BE CHECKED"
    except Exception as error:  # a byte that no parser above expected must never look verified
        report, code, word = {"problem": repr(error)[:300]}, 2, "COULD NOT BE CHECKED"
    if as_json:
        print(json.dumps({"result": word.lower(), **report}))
        return code
    print(word)
    for name, value in report.items():
        shown = ", ".join(map(str, value)) if isinstance(value, list) else value
        # What comes from foreign bytes must not steer the terminal it is printed on.
        print(f"  {name}: {''.join(c if c.isprintable() else '?' for c in str(shown))}")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
