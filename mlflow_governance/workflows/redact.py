"""Documents of the registry without a person: the pseudonym where they stood, the rest as it was.

Where a member holds a person and nothing else (``actor.id``, ``submitter``, ``signers``) it is
compared as a whole; in messages the name is taken out of the words around it. What is neither is
left alone, so that no model, check or role changes because somebody's login is called like it.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mlflow_governance.core import canonical
from mlflow_governance.core.digest import new_salt
from mlflow_governance.core.dossier import read_numbers
from mlflow_governance.core.person import ERASED, Person

_PEOPLE = frozenset(
    {"account", "actor", "person", "submitter", "signer", "signers", "owner", "approver",
     "approvers", "released_by", "judged_again_by", "requested_by", "identity"}
)  # fmt: skip
_PEOPLE_BELOW = {("actor", "id"), ("signers", "name")}
_WHOM = "people"
"""Holds whom else an act is about, whatever each is called there (``Event.people``)."""
_TEXTS = frozenset({"message", "fix", "problem", "error", "reason"})
_DETAILS = "details"
_REASON = ("code", "path", "message", "fix")


@dataclass(frozen=True)
class Redactor:
    """Takes one person out of documents.

    Args:
        person: who.
        pseudonym: what stands for them from now on.
        sign: signs a statement of the registry anew (``Signer.sign_statement``).
    """

    person: Person
    pseudonym: str
    sign: Callable[[Mapping[str, Any]], bytes]

    def name(self, text: str) -> str:
        """The pseudonym if this is their name, else the text itself."""
        return self.pseudonym if self.person.is_(text) else text

    def words(self, text: str, author: str = "") -> str:
        """What somebody said, without them; their own words are gone altogether."""
        if text and self.person.is_(author):
            return ERASED
        return self.person.replaced(text, self.pseudonym) if self.person.in_(text) else text

    def value(self, value: Any) -> Any:
        """A JSON value without them."""
        return self._walk(value, "", "", inside=False)

    def hashed(self, data: bytes) -> bytes | None:
        """A document the ledger names by its digest, under a new salt; None: they are not in it.

        The new salt hides who else is named: an unsalted digest would be there to be guessed at.
        """
        document = _read(data)
        changed = self._without(document)
        if not isinstance(document, dict) or changed == document:
            return None
        return canonical.encode({**changed, "salt": new_salt()})

    def plain(self, data: bytes) -> bytes | None:
        """Another JSON document in RFC 8785 form; None: they are not in it."""
        document = _read(data)
        changed = self._without(document)
        return None if changed == document else canonical.encode(changed)

    def attached(self, path: str, data: bytes) -> bytes | None:
        """A file of a release, signed anew where it was signed; None: they are not in it."""
        if path.endswith(".md"):
            text = data.decode("utf-8", "replace")
            return self.words(text).encode() if self.person.in_(text) else None
        document = json.loads(data)
        if path.endswith(".sig"):
            statement = json.loads(base64.b64decode(document["payload"]))
            changed = self.value(statement)
            return None if changed == statement else self.sign(changed)
        changed = self.value(document)
        if changed == document:
            return None
        return json.dumps(changed, indent=2, sort_keys=True).encode()

    def _without(self, document: Any) -> Any:
        changed = self.value(document)
        if isinstance(document, dict):
            actor, action = document.get("actor"), document.get("action")
            if isinstance(actor, dict) and isinstance(action, dict) and "reason" in action:
                said = self.words(str(action["reason"]), str(actor.get("id")))
                changed["action"]["reason"] = said
        return changed

    def _walk(self, value: Any, key: str, above: str, *, inside: bool) -> Any:
        if isinstance(value, dict):
            inside = inside or key == _DETAILS
            return {
                (self.name(name) if inside else name): self._walk(one, name, key, inside=inside)
                for name, one in value.items()
            }
        if isinstance(value, list):
            inside = inside or key == _DETAILS
            return _as_sorted(value, [self._walk(v, key, above, inside=inside) for v in value])
        if not isinstance(value, str):
            return value
        if inside or key in _TEXTS:
            return self.words(value)
        whom = key in _PEOPLE or (above, key) in _PEOPLE_BELOW or above == _WHOM
        return self.name(value) if whom else value


def _read(data: bytes) -> Any:
    return read_numbers(data)


def _as_sorted(before: list[Any], after: list[Any]) -> list[Any]:
    # What policy answers as a set stands in its order; another name has another place in it.
    if before == after:
        return after
    return sorted(after, key=_order) if before == sorted(before, key=_order) else after


def _order(value: Any) -> tuple[bytes, ...]:
    if isinstance(value, dict) and value.keys() == set(_REASON):
        return tuple(str(value[name]).encode() for name in _REASON)
    return (canonical.encode(value),)
