"""Predicates of other tools, held to their form before somebody signs them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlflow_governance.errors import InvalidRequest, VerificationError
from mlflow_governance.evidence import cyclonedx_vex, openvex, predicate, sbom
from mlflow_governance.evidence.predicate import CYCLONEDX, CYCLONEDX_TYPES, SPDX, SPDX_TYPES
from mlflow_governance.evidence.vex_claims import Scope

_SBOM, _VEX, _SPDX = "cyclonedx", "cyclonedx-vex", "spdx"


def known() -> list[str]:
    """The short names of what can be signed."""
    return sorted({*predicate.checked().values(), _SBOM, _VEX, _SPDX})


def held(kind: str, body: Mapping[str, Any]) -> tuple[str, str]:
    """Short name and URI of a predicate's type, once the predicate is read as that.

    Args:
        kind: the URI, or a short name of :func:`known`. A short name means the newest URI.
        body: the predicate.

    Raises:
        InvalidRequest: a type nobody knows.
        VerificationError: the predicate does not fit it, with the place where.
    """
    if kind in (_SBOM, _VEX, *CYCLONEDX_TYPES):
        return _cyclonedx(kind, body)
    if kind in (_SPDX, *SPDX_TYPES):
        uri = f"{SPDX}/v3" if "@graph" in body else f"{SPDX}/v2.3"
        uri = kind if kind in SPDX_TYPES else uri
        sbom.check_document(body, uri)
        return _SPDX, uri
    checked = predicate.checked()
    uri = {name: uri for uri, name in checked.items()}.get(kind, kind)
    if uri not in checked:
        raise InvalidRequest(
            f"no predicate type that is known: {kind[:200]}",
            advice=f"Known are {', '.join(known())}",
        )
    predicate.check(uri, body)
    if uri in (predicate.OPENVEX, predicate.OPENVEX_OF_COSIGN):
        list(openvex.claims(body, _nowhere()))
    return checked[uri], uri


def _cyclonedx(kind: str, body: Mapping[str, Any]) -> tuple[str, str]:
    uri = kind if kind in CYCLONEDX_TYPES else CYCLONEDX
    found = _VEX if predicate.purpose_of(uri, body) is predicate.Purpose.VEX else _SBOM
    if kind in (_SBOM, _VEX) and kind != found:
        raise VerificationError(
            "a CycloneDX document that lists vulnerabilities and no components is a VEX, "
            f"any other an SBOM; this is no {kind}",
            advice=f"Sign it as what it is: --type {found}",
        )
    if found == _VEX:
        cyclonedx_vex.check(body)
        list(cyclonedx_vex.claims(body, _nowhere()))
    else:
        sbom.check_document(body, uri)
    return found, uri


def _nowhere() -> Scope:
    """Reads times and names; what they refer to is for the registry to find."""
    return Scope("", "", frozenset(), "", "")
