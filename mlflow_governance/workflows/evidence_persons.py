"""Who is named in an evidence bundle, and how a pseudonymous one speaks of them."""

from __future__ import annotations

import base64
import binascii
import gzip
import io
import re
import zlib
from collections.abc import Iterable, Iterator
from typing import Any

from mlflow_governance.core.actor import ANONYMOUS

ERASED = "somebody whose name was erased"
_MOST = 64 * 1024 * 1024
_GZIP = b"\x1f\x8b"
_LAYERS = 3
"""How deep base64 is looked into: a bundle around an envelope around a statement."""
_ENCODED = re.compile(rb"[A-Za-z0-9+/_-]{16,}={0,2}")
_ESCAPED = re.compile(r"\\u([0-9a-f]{4})")


def is_person(text: object) -> bool:
    """False for nobody, and for the registry acting by itself."""
    return isinstance(text, str) and text not in ("", ANONYMOUS) and not text.startswith("system:")


class Persons:
    """Names, in the order they are met.

    Args:
        pseudonymous: speak of ``person 1``, ``person 2`` instead of names.
    """

    def __init__(self, pseudonymous: bool) -> None:
        self.pseudonymous = pseudonymous
        self._labels: dict[str, str] = {}
        self._pattern: re.Pattern[str] | None = None

    def meet(self, names: Iterable[object]) -> None:
        """Learn these names."""
        for name in names:
            if is_person(name) and name not in self._labels:
                self._labels[str(name)] = f"person {len(self._labels) + 1}"
                self._pattern = None

    def told(self, name: str | None) -> str:
        """How somebody is spoken of."""
        if name is None:
            return ERASED
        if not is_person(name):
            return f"the registry ({name.partition(':')[2]})" if ":" in name else "nobody known"
        if not self.pseudonymous:
            return name
        self.meet([name])
        return self._labels[name]

    def scrub(self, text: str) -> str:
        """A text the program wrote, with labels for the names in it."""
        if not self.pseudonymous:
            return text
        for name, label in sorted(self._labels.items(), key=lambda item: -len(item[0])):
            text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", label, text, flags=re.IGNORECASE)
        return text

    def reason(self, text: str | None) -> str:
        """A reason somebody gave, as far as it may be told."""
        return "" if self.pseudonymous else text or ""

    def may_leave(self, data: bytes) -> bool:
        """False for bytes that name somebody whom a pseudonymous bundle does not name.

        Whole words are looked for, in whatever case: bytes that were signed cannot be blacked
        out, so what might name somebody is left out altogether.
        """
        if not self.pseudonymous or not self._labels:
            return True
        if self._pattern is None:
            names = sorted((re.escape(name.casefold()) for name in self._labels), key=len)
            self._pattern = re.compile(rf"(?<!\w)(?:{'|'.join(reversed(names))})(?!\w)")
        return not any(self._pattern.search(text) for text in _texts(data, _LAYERS))

    def dossier_may_leave(self, dossier: Any) -> bool:
        """False for a dossier that names a person, or gives a reason in somebody's words."""
        if not self.pseudonymous:
            return True
        said = [dossier["actor"]["id"], dossier["subject"]["submitter"]]
        said += [approval["person"] for approval in dossier["approvals"]]
        self.meet(said)
        return not any(map(is_person, said)) and not dossier["action"].get("reason")


def _texts(data: bytes, layers: int) -> Iterator[str]:
    # As people would find it: unpacked, JSON escapes read, and what envelopes carry in base64.
    plain = _unpacked(data)
    text = plain.decode("utf-8", "replace").casefold()
    yield text
    if "\\u" in text:
        yield _ESCAPED.sub(lambda found: chr(int(found[1], 16)), text).casefold()
    if layers:
        for found in _ENCODED.findall(plain):
            yield from _texts(_decoded(found), layers - 1)


def _unpacked(data: bytes) -> bytes:
    if not data.startswith(_GZIP):
        return data
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as packed:
            return packed.read(_MOST)
    except (OSError, EOFError, zlib.error):
        return data


def _decoded(text: bytes) -> bytes:
    try:
        padded = text.rstrip(b"=") + b"=" * (-len(text.rstrip(b"=")) % 4)
        return base64.b64decode(padded.translate(bytes.maketrans(b"-_", b"+/")))
    except binascii.Error:
        return b""
