"""CycloneDX VEX (1.4 to 1.7) as an in-toto predicate: ``vulnerabilities[].analysis``.

``affects[].ref`` is the ``bom-ref`` of the described component (the model), a BOM-Link into the
SBOM that is attached, or a package URL. Versions listed there must call the component's own
``unaffected`` in so many words: left out, a status means ``affected`` (CycloneDX 1.4,
``affectedStatus``), and then the document contradicts itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import unquote

from mlflow_governance.errors import VerificationError
from mlflow_governance.evidence import predicate
from mlflow_governance.evidence.vers import Versions
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
_SCHEMA = "predicates/cyclonedx-vex.schema.json"
_MAX_WORDS = 200

_STATES = {
    "not_affected": Status.NOT_AFFECTED,
    "false_positive": Status.NOT_AFFECTED,
    "resolved": Status.FIXED,
    "resolved_with_pedigree": Status.FIXED,
    "exploitable": Status.AFFECTED,
    "in_triage": Status.UNDER_INVESTIGATION,
}


def identity(document: _Document) -> tuple[str, int]:
    """The document's name and its version; without a name it replaces nothing."""
    return document.get("serialNumber", ""), document.get("version", 1)


def check(document: _Document) -> None:
    """Hold a document to the part of the schema that is read.

    Raises:
        VerificationError: it does not fit.
    """
    problems = predicate.schema_problems(_SCHEMA, document)
    if problems:
        raise VerificationError(f"the predicate is malformed: {'; '.join(problems)}")


def claims(document: _Document, scope: Scope) -> Iterator[Claim | str]:
    """What the document says, entry by entry; a text is why one does not count.

    Raises:
        VerificationError: a time or a package URL in it is malformed.
    """
    for entry in document["vulnerabilities"]:
        try:
            yield from _claims(document, entry, scope)
        except VerificationError as error:
            raise VerificationError(f"about {entry['id']}: {error.message}") from error


def _claims(document: _Document, entry: _Document, scope: Scope) -> Iterator[Claim | str]:
    analysis, about = entry.get("analysis", {}), f"about {entry['id']}"
    if "state" not in analysis:
        return  # a vulnerability that is listed and not analysed
    status = _STATES[analysis["state"]]
    at = _time(document, analysis)
    reason = analysis.get("justification") or analysis.get("detail", "").strip()
    if status.clears and (problem := _unfounded(analysis["state"], at, reason, scope)):
        yield f"{about}: {problem}"
        return
    targets: list[Target] = []
    for affected in entry.get("affects") or ():
        found = _target(affected, document, scope)
        problem = _unclear(affected, found) if status.clears else ""
        if problem:
            yield f"{about}: {problem}"
        else:  # an accusation nobody can place is taken at its word
            targets.append(found or MODEL)
    if not targets and not status.clears:
        targets.append(MODEL)
    if targets:
        names = folded([entry["id"], *(r["id"] for r in entry.get("references", ()))])
        yield Claim(names, status, reason[:_MAX_WORDS], at or scope.now, tuple(targets))


def _time(document: _Document, analysis: _Document) -> datetime | None:
    given = (
        analysis.get("lastUpdated"),
        analysis.get("firstIssued"),
        document.get("metadata", {}).get("timestamp"),
    )
    return next((instant(text) for text in given if text), None)


def _unfounded(state: str, at: datetime | None, reason: str, scope: Scope) -> str:
    """Why an analysis clears nothing anywhere; empty when it may."""
    if at is None:
        return "the analysis has no time"
    if at > scope.now:
        return "the analysis is from the future"
    if _STATES[state] is Status.NOT_AFFECTED and not reason:
        return f"{state} needs a justification or a detail"
    return ""


def _unclear(affected: _Document, found: Target | None) -> str:
    """Why one entry of ``affects`` clears nothing; empty when it may."""
    ref = repr(affected["ref"][:120])
    if found is None:
        return f"{ref} is neither the model, nor in its SBOM, nor a package URL"
    if found.versions.listed and found.purl is None and not found.component:
        return f"versions are listed for {ref}, the model itself, whose digest says which it is"
    if not found.versions.readable:
        return f"a version or range for {ref} cannot be read; vers:pypi/ is"
    if found.versions.listed and not any(entry.unaffected for entry in found.versions.listed):
        return f"it lists versions of {ref} and calls none of them unaffected"
    return ""


def _target(affected: _Document, document: _Document, scope: Scope) -> Target | None:
    """What an entry of ``affects`` names; None where nobody can tell."""
    ref, versions = affected["ref"], Versions.read(affected.get("versions", ()))
    described = document.get("metadata", {}).get("component", {}).get("bom-ref")
    if ref == described or ref == scope.serial or scope.is_model(ref):
        return Target(versions=versions)
    bom, sharp, fragment = ref.partition("#")
    if sharp and bom == scope.serial:
        inside = unquote(fragment)
        if inside == scope.described:
            return Target(versions=versions)
        component = scope.refs.get(inside)
        return Target(component=component, versions=versions) if component else None
    return Target(purl_of(ref), versions=versions) if ref.startswith("pkg:") else None
