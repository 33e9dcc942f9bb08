"""What a text says about a licence: an SPDX expression as the choices it leaves.

``MIT OR (Apache-2.0 AND BSD-3-Clause)`` leaves two choices: MIT alone, or both of the others
(disjunctive normal form). An exception stays with its licence: ``GPL-2.0-only WITH
Classpath-exception-2.0`` is one term. Texts come from outside and an expression may multiply into
more choices than atoms are: everything is bounded before it is done.

Source: SPDX specification 2.3, annex D; parsed by license-expression over its SPDX licence index.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

from mlflow_governance.errors import VerificationError
from mlflow_governance.evidence import licence_names

MAX_TEXT = 2_000
"""Characters of an expression."""
MAX_CHOICES = 64
MAX_TERMS = 64
"""Licences in one choice."""
_MAX_NESTING = 16
_MAX_NAME = 120
_TOKEN = re.compile(r"[()]|[^\s()]+")
_REFERENCE = re.compile(r"(DocumentRef-[A-Za-z0-9.-]+:)?LicenseRef-[A-Za-z0-9.-]+")
_ADDITION = re.compile(r"(DocumentRef-[A-Za-z0-9.-]+:)?AdditionRef-[A-Za-z0-9.-]+")

Choices = frozenset[frozenset[str]]


@dataclass(frozen=True, slots=True)
class Licence:
    """What is known of a licence. Without choices nothing was said at all."""

    expression: str = ""
    """Normalised SPDX; empty when some of it is on no SPDX list."""
    choices: tuple[tuple[str, ...], ...] = ()
    """Sets of terms of which any one has to be complied with, whole. Sorted."""
    unknown: tuple[str, ...] = ()
    """Terms in ``choices`` that are names somebody gave and no SPDX identifiers. Sorted."""


def parse(text: str, is_expression: bool = False) -> Licence:
    """Read an SPDX expression, a common name of a licence, or any other name.

    Args:
        text: what is said; ``NOASSERTION`` and the like say nothing.
        is_expression: whether it claims to be one; then it is refused beyond the bounds, while a
            whole licence text where a name belongs is a name, cut short.

    Raises:
        VerificationError: it is an expression beyond the bounds.
    """
    if len(text) <= MAX_TEXT:
        return _read(" ".join(text.split()))
    if is_expression:
        raise VerificationError(f"a licence expression has more than {MAX_TEXT} characters")
    return _named(" ".join(text[:MAX_TEXT].split()))


@lru_cache(maxsize=2048)
def _read(text: str) -> Licence:
    key = licence_names.key(text)
    if key in licence_names.SILENCE:
        return Licence()
    return _expression(licence_names.EXPRESSIONS.get(key, text))


def all_of(licences: Iterable[Licence]) -> Licence:
    """Several licences that apply at once; those that say nothing are left out.

    Raises:
        VerificationError: together they are beyond the bounds.
    """
    said = sorted({licence for licence in licences if licence.choices}, key=lambda x: x.choices)
    if len(said) <= 1:
        return said[0] if said else Licence()
    choices: Choices = frozenset({frozenset()})
    for licence in said:
        choices = _product(choices, frozenset(map(frozenset, licence.choices)))
    unknown = tuple(sorted({name for licence in said for name in licence.unknown}))
    parts = [_bracketed(licence) for licence in said]
    return Licence("" if unknown else " AND ".join(parts), _sorted(choices), unknown)


def _bracketed(licence: Licence) -> str:
    return licence.expression if len(licence.choices) == 1 else f"({licence.expression})"


def _named(text: str) -> Licence:
    name = text if len(text) <= _MAX_NAME else f"{text[: _MAX_NAME - 1]}…"
    return Licence("", ((name,),), (name,))


def _expression(text: str) -> Licence:
    if not _well_formed(text):
        return _named(text)
    try:
        tree = _licensing().parse(text)
    except (_errors(), ValueError, LookupError, TypeError, AttributeError, AssertionError):
        return _named(text)
    terms: dict[str, bool] = {}
    choices = _choices(tree, terms)
    unknown = tuple(sorted(term for term, known in terms.items() if not known))
    # A text that was no expression at all is quoted as it was written.
    if unknown and len(terms) == 1:
        return _named(text)
    return Licence("" if unknown else tree.render(), _sorted(choices), unknown)


def _well_formed(text: str) -> bool:
    """Whether operands and operators alternate and brackets match.

    The library answers texts that are otherwise with all kinds of errors, assertions among them,
    and an interpreter that skips assertions would go on with half a tree.
    """
    depth, before = 0, "("
    for token in _TOKEN.findall(text):
        word = token.upper()
        operand_next = before in ("(", "AND", "OR", "WITH")
        is_operand = word not in (")", "AND", "OR", "WITH")
        if operand_next != is_operand or (before == "WITH" and word == "("):
            return False
        depth += (word == "(") - (word == ")")
        if depth > _MAX_NESTING:
            raise VerificationError(f"a licence expression nests deeper than {_MAX_NESTING}")
        if depth < 0:
            return False
        before = word
    return depth == 0 and before not in ("(", "AND", "OR", "WITH")


def _choices(node: Any, terms: dict[str, bool]) -> Choices:
    if node is None:
        return frozenset()
    parts = [_choices(arg, terms) for arg in getattr(node, "args", ())]
    operator = (getattr(node, "operator", "") or "").strip()
    if operator not in ("AND", "OR"):
        term, known = _term(node)
        terms[term] = known
        return frozenset({frozenset({term})})
    result = parts[0]
    for part in parts[1:]:
        result = _product(result, part) if operator == "AND" else _bounded(result | part)
    return result


def _term(symbol: Any) -> tuple[str, bool]:
    """A licence, perhaps with its exception, as one term; and whether SPDX knows it."""
    if hasattr(symbol, "exception_symbol"):
        licence, known = _term(symbol.license_symbol)
        exception = symbol.exception_symbol
        listed = _licensing().known_symbols.get(exception.key)
        known_exception = listed is not None and listed.is_exception
        return (
            f"{licence} WITH {exception.key}",
            known and (known_exception or _ADDITION.fullmatch(exception.key) is not None),
        )
    listed = _licensing().known_symbols.get(symbol.key.removesuffix("+"))
    known = listed is not None and not listed.is_exception
    return str(symbol.key), known or _REFERENCE.fullmatch(symbol.key) is not None


def _product(one: Choices, other: Choices) -> Choices:
    if len(one) * len(other) > MAX_CHOICES * MAX_CHOICES:
        raise VerificationError(f"a licence expression leaves more than {MAX_CHOICES} choices")
    return _bounded(frozenset(a | b for a in one for b in other))


def _bounded(choices: Choices) -> Choices:
    if len(choices) > MAX_CHOICES or any(len(choice) > MAX_TERMS for choice in choices):
        raise VerificationError(
            f"a licence expression leaves more than {MAX_CHOICES} choices of {MAX_TERMS} licences"
        )
    return choices


def _sorted(choices: Choices) -> tuple[tuple[str, ...], ...]:
    return tuple(sorted(tuple(sorted(choice)) for choice in choices))


@cache
def _licensing() -> Any:
    from license_expression import get_spdx_licensing

    return get_spdx_licensing()


def _errors() -> type[Exception]:
    from license_expression import ExpressionError

    error: type[Exception] = ExpressionError
    return error
