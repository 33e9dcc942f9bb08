"""Who asks."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

ANONYMOUS = "anonymous"


@dataclass(frozen=True, slots=True)
class Actor:
    """A person or pipeline as the authentication in front of MLflow named it.

    ``roles`` are lower case. ``admin`` is recorded and exempts from nothing: separation of
    duties holds for administrators too.
    """

    id: str
    roles: tuple[str, ...] = ()
    admin: bool = False
    authenticated: bool = False

    @classmethod
    def anonymous(cls) -> Actor:
        """Nobody in particular: a server without authentication."""
        return cls(ANONYMOUS)

    @classmethod
    def system(cls, name: str) -> Actor:
        """The registry acting by itself (the worker, the first start)."""
        return cls(f"system:{name}")

    @property
    def person(self) -> str:
        """The canonical identity, so that "Ann " and "ann" are one person."""
        return unicodedata.normalize("NFKC", self.id).strip().casefold()

    def to_document(self) -> dict[str, Any]:
        """The actor as policy sees it."""
        return {
            "id": self.person,
            "roles": sorted(self.roles),
            "admin": self.admin,
            "authenticated": self.authenticated,
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Actor:
        """Read back a recorded actor; as whom they logged in is not in it."""
        return cls(
            document["id"], tuple(document["roles"]), document["admin"], document["authenticated"]
        )
