"""OpenVEX v0.2.0 as an in-toto predicate; its shape was held to the schema already.

A statement without products is about the attestation's subject, the model (OpenVEX, "Data
Inheritance"); so is one without a time of its own about the document's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mlflow_governance.errors import VerificationError
from mlflow_governance.evidence.vex_claims import (
    MODEL,
    Claim,
    Scope,
    Status,
    Target,
    folded,
    instant,
    purl_of,
)

_Document = Mapping[str, Any]
_MAX_WORDS = 200


def identity(document: _Document) -> tuple[str, int]:
    """The document's name and its version; a higher one takes the place of a lower."""
    return document["@id"], document["version"]


def claims(document: _Document, scope: Scope) -> Iterator[Claim | str]:
    """What the document says, statement by statement; a text is why one does not count.

    Raises:
        VerificationError: a time or a package URL in it is malformed.
    """
    for statement in document["statements"]:
        name = statement["vulnerability"]["name"]
        try:
            yield from _claim(document, statement, scope)
        except VerificationError as error:
            raise VerificationError(f"about {name}: {error.message}") from error


def _claim(document: _Document, statement: _Document, scope: Scope) -> Iterator[Claim | str]:
    status = Status(statement["status"])
    said = instant(statement.get("timestamp") or document["timestamp"])
    changed = statement.get("last_updated")
    # What clears a vulnerability is as old as its first word, what accuses as new as its last.
    at = max(said, instant(changed)) if changed and not status.clears else said
    vulnerability = statement["vulnerability"]
    if status.clears and at > scope.now:
        yield f"about {vulnerability['name']}: the statement is from the future"
        return
    targets = [
        target
        for product in statement.get("products") or [{}]
        for target in _targets(product, scope, status)
    ]
    if targets:
        reason = statement.get("justification") or statement.get("impact_statement") or ""
        names = folded([vulnerability["name"], *vulnerability.get("aliases", ())])
        yield Claim(names, status, reason[:_MAX_WORDS], at, tuple(targets))


def _targets(product: _Document, scope: Scope, status: Status) -> Iterator[Target]:
    inside = [target for part in product.get("subcomponents") or () for target in _named(part)]
    if _is_model(product, scope):
        yield from inside or ([] if product.get("subcomponents") else [MODEL])
    elif not product.get("subcomponents"):
        yield from _named(product)
    elif not status.clears:
        yield from (*_named(product), *inside)
    # Else it clears a part of a component, and of such parts the SBOM does not tell.


def _is_model(product: _Document, scope: Scope) -> bool:
    stated = product.get("hashes", {}).get("sha-256")
    if stated is not None and stated.lower() != scope.digest:
        return False
    named = any(scope.is_model(name) for name in _names(product))
    return named or stated is not None or not product


def _named(component: _Document) -> list[Target]:
    return [Target(purl_of(name)) for name in _names(component) if name.startswith("pkg:")][:1]


def _names(component: _Document) -> list[str]:
    # The identifier that is one beats the name that may be one.
    found = (component.get("identifiers", {}).get("purl"), component.get("@id"))
    return [name for name in found if name]
