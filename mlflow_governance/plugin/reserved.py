"""Tags nobody but the registry writes: ``governance.*``."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from typing import Any

_PREFIX = "governance."
_INVISIBLE = ("Cc", "Cf")
"""Unicode categories of control and format characters, such as zero-width spaces."""


def is_reserved(key: str) -> bool:
    """True for keys in our name space, however they are spelled.

    Letters of other scripts that look alike make another key; nothing of ours reads it.
    """
    plain = unicodedata.normalize("NFKC", key)
    seen = "".join(c for c in plain if unicodedata.category(c) not in _INVISIBLE)
    return seen.strip().casefold().startswith(_PREFIX)


def without_reserved(tags: Iterable[Any] | None) -> list[Any]:
    """Tags that came with a new model or version, ours left out.

    They are dropped rather than refused: copying a version copies all its tags.
    """
    return [tag for tag in tags or () if not is_reserved(tag.key)]
