"""What a decision record must not say: erased, or replaced by a pseudonym.

The marks are OPA's (docs, "Decision Logs", masking): pointers below ``/input`` or ``/result``, and
the record lists in ``erased`` and ``masked`` what was done to it. Two things OPA leaves open are
closed here: ``*`` stands for every element, and a name that is hidden in the input is hidden in
the sentences of the result, too, which were written with it.

A pseudonym is an HMAC under a secret of the installation: the same person is the same word in
every record, and nobody without the secret can try names until one fits.
"""

from __future__ import annotations

import copy
import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from mlflow_governance.core import canonical
from mlflow_governance.core.actor import Actor
from mlflow_governance.errors import ConfigurationError, GovernanceError, InvalidRequest

Pointer = tuple[str, ...]
Pseudonym = Callable[[Any], str]

MAX_RULES = 1000
_ROOTS = ("input", "result")
_SALT_BYTES = 32
_ERASED = "[erased]"


@dataclass(frozen=True)
class MaskRule:
    """One place of a record and what becomes of it; ``value`` is for ``upsert`` alone."""

    pointer: Pointer
    op: Literal["erase", "hash", "upsert"] = "erase"
    value: Any = None

    def __str__(self) -> str:
        return f"{self.op} /{'/'.join(self.pointer)}"


def pointer_of(text: object) -> Pointer:
    """``/input/actor/id`` as its steps.

    Raises:
        InvalidRequest: it does not point below ``/input`` or ``/result``.
    """
    steps = tuple(text[1:].split("/")) if isinstance(text, str) and text.startswith("/") else ()
    if not steps or steps[0] not in _ROOTS:
        raise InvalidRequest(f"{str(text)[:80]!r} is no pointer below /input or /result")
    return steps


def rule_of(entry: object) -> MaskRule:
    """An entry of the setting ``mask``: a pointer to erase, or ``{hash: POINTER}``.

    Raises:
        InvalidRequest: it is neither.
    """
    if isinstance(entry, Mapping):
        if set(entry) != {"hash"}:
            raise InvalidRequest("an entry of mask is POINTER, to erase it, or {hash: POINTER}")
        return MaskRule(pointer_of(entry["hash"]), "hash")
    return MaskRule(pointer_of(entry))


def rules_of(answer: object) -> tuple[MaskRule, ...]:
    """The value of a mask rule in Rego, as OPA reads it: pointers, or ``{op, path, value}``.

    Raises:
        InvalidRequest: it is something else.
    """
    if not isinstance(answer, list) or len(answer) > MAX_RULES:
        raise InvalidRequest("the mask is no set of pointers")
    return tuple(map(_opa_rule, answer))


def _opa_rule(entry: object) -> MaskRule:
    if not isinstance(entry, Mapping):
        return MaskRule(pointer_of(entry))
    pointer = pointer_of(entry.get("path"))
    if entry.get("op") == "upsert":
        return MaskRule(pointer, "upsert", entry.get("value"))
    if entry.get("op") != "remove":
        raise InvalidRequest("the op of a mask is remove or upsert")
    return MaskRule(pointer)


DEFAULT_MASK = tuple(
    map(
        rule_of,
        (
            {"hash": "/input/actor/id"},
            {"hash": "/input/subject/submitter"},
            {"hash": "/input/approvals/*/person"},
            {"hash": "/result/waived/*/owner"},
            {"hash": "/result/waived/*/approver"},
            {"hash": "/result/warnings/*/owner"},
            {"hash": "/result/obligations/*/owner"},
            {"hash": "/result/obligations/*/approver"},
            "/input/action/reason",
        ),
    )
)
"""People and what they wrote."""


def apply(
    event: Mapping[str, Any], rules: Iterable[MaskRule], pseudonym: Pseudonym
) -> dict[str, Any]:
    """A copy of a record with the rules applied, and ``erased`` and ``masked`` saying where.

    ``requested_by`` becomes whatever is left of ``/input/actor/id``.
    """
    made = copy.deepcopy(dict(event))
    done: dict[str, list[Pointer]] = {"erased": [], "masked": []}
    hidden: dict[str, str] = {}
    for rule in rules:
        # From behind, so that erasing one element of a list does not move the next.
        for pointer in reversed(list(_matches(made, rule.pointer, rule.op == "upsert"))):
            kind = _apply_one(made, pointer, rule, pseudonym, hidden)
            done[kind].append(pointer)
    done["masked"].extend(_hide_names(made, hidden))
    for field, pointers in done.items():
        if pointers:
            texts = {"/" + "/".join(quote(step, safe="") for step in steps) for steps in pointers}
            made[field] = sorted(texts)
    return _with_requester(made)


def _matches(value: Any, pointer: Pointer, create: bool) -> Iterator[Pointer]:
    step, rest = pointer[0], pointer[1:]
    if isinstance(value, list):
        here = range(len(value)) if step == "*" else [int(step)] if step.isdecimal() else []
        inner = [(str(i), value[i]) for i in here if i < len(value)]
    elif isinstance(value, dict):
        inner = [(k, v) for k, v in value.items() if step in ("*", k)]
        if not inner and create and step != "*":
            yield pointer  # OPA's upsert makes what is not there
    else:
        return
    for key, found in inner:
        if not rest:
            yield (key,)
            continue
        for deeper in _matches(found, rest, create):
            yield (key, *deeper)


def _apply_one(
    made: dict[str, Any],
    pointer: Pointer,
    rule: MaskRule,
    pseudonym: Pseudonym,
    hidden: dict[str, str],
) -> Literal["erased", "masked"]:
    parent: Any = made
    for step in pointer[:-1]:
        parent = parent[int(step)] if isinstance(parent, list) else parent.setdefault(step, {})
    key: Any = int(pointer[-1]) if isinstance(parent, list) else pointer[-1]
    there = key < len(parent) if isinstance(parent, list) else key in parent
    before = parent[key] if there else None
    left: Any = None
    if rule.op == "erase":
        parent.pop(key)
    else:
        parent[key] = left = pseudonym(before) if rule.op == "hash" else copy.deepcopy(rule.value)
    if isinstance(before, str):
        hidden.setdefault(before, left if isinstance(left, str) else _ERASED)
    return "erased" if rule.op == "erase" else "masked"


def _hide_names(made: dict[str, Any], hidden: Mapping[str, str]) -> Iterator[Pointer]:
    # Policy fills people's names into its sentences, on one line and with what is not printable
    # as a space, so they are looked for in that form.
    spoken = {
        r"\s+".join(map(re.escape, words)): shown
        for name, shown in hidden.items()
        if (words := "".join(c if c.isprintable() else " " for c in name).split())
    }
    if not spoken:
        return
    # The longest first: "ann lee" before "ann".
    order = sorted(spoken, key=len, reverse=True)
    names = re.compile(
        rf"(?<!\w)(?:{'|'.join(f'({name})' for name in order)})(?!\w)", re.IGNORECASE
    )

    def replace(found: re.Match[str]) -> str:
        return spoken[order[(found.lastindex or 1) - 1]]

    for root in ("input", "result", "error"):
        yield from _rewrite(made.get(root), (root,), lambda text: names.sub(replace, text))


_TOLD = frozenset({"message", "fix", "details", "problem"})
"""Where a record speaks in sentences. Codes and paths stay, whatever people are called."""


def _rewrite(
    value: Any, at: Pointer, change: Callable[[str], str], told: bool = False
) -> Iterator[Pointer]:
    if isinstance(value, dict):
        steps: list[tuple[Any, Any]] = list(value.items())
    else:
        steps = list(enumerate(value)) if isinstance(value, list) else []
    for key, inner in steps:
        here = (*at, str(key))
        speaks = told or key in _TOLD
        if isinstance(inner, dict | list):
            yield from _rewrite(inner, here, change, speaks)
        elif speaks and isinstance(inner, str) and (new := change(inner)) != inner:
            value[key] = new
            yield here


def _with_requester(made: dict[str, Any]) -> dict[str, Any]:
    asking = made.get("input")
    asking = asking.get("actor") if isinstance(asking, dict) else None
    left = asking.get("id") if isinstance(asking, dict) else None
    if isinstance(left, str):
        made["requested_by"] = left
    else:
        made.pop("requested_by", None)
    return made


def withheld(event: Mapping[str, Any]) -> dict[str, Any]:
    """The record without input, result and error: what remains when its mask cannot be had."""
    rules = (MaskRule(("input",)), MaskRule(("result",)))
    made = apply({k: v for k, v in event.items() if k != "error"}, rules, str)
    made.pop("requested_by", None)
    return made


def pseudonyms(salt: bytes) -> Pseudonym:
    """Pseudonyms under a secret: ``hmac:`` and 128 bits of HMAC-SHA256, in hexadecimal."""

    def pseudonym(value: Any) -> str:
        try:
            data = Actor(value).person.encode() if isinstance(value, str) else b"\0" + _plain(value)
        except (GovernanceError, UnicodeEncodeError):
            return _ERASED
        return "hmac:" + hmac.new(salt, data, hashlib.sha256).hexdigest()[:32]

    return pseudonym


def _plain(value: Any) -> bytes:
    return canonical.encode(value)


def load_salt(path: Path) -> bytes:
    """The installation's secret for pseudonyms; made (0600) where there is none.

    Raises:
        ConfigurationError: it can be neither read nor made, or is not the 32 bytes it should be.
    """
    try:
        if not path.exists():
            _make_salt(path)
        salt = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"the secret of the decision log {path} is not usable: {error}"
        ) from error
    if len(salt) != _SALT_BYTES:
        raise ConfigurationError(
            f"{path} does not hold {_SALT_BYTES} bytes",
            advice="Restore it from a backup; a new one gives everybody a new pseudonym.",
        )
    return salt


def _make_salt(path: Path) -> None:
    # Whole or not at all, and the first of several processes wins.
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(_SALT_BYTES))
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(temporary, path)
    finally:
        temporary.unlink()
