"""The SBOM: one signed document that lists what the model is made of, and is held to its pins.

Only the predicate of a signed in-toto Statement counts, of a type for CycloneDX or SPDX
(``predicate.CYCLONEDX_TYPES``, ``SPDX_TYPES``); the file ``sbom.cdx.json`` beside it is a copy for
people and must say the same.

Checked, in this order: signature and subject (``attestation``), one unambiguous document, bounds,
shape and references (``cyclonedx``, ``spdx``, ``spdx3``), that no component contradicts itself
(``inventory``), and that everything MLflow recorded as required is listed in the version it asks
for (``requirements``). The last is not possible where nobody has read the model's files yet; the
facts say so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from mlflow_governance.core import canonical
from mlflow_governance.errors import EvidenceMissing, InvalidRequest, VerificationError
from mlflow_governance.evidence import (
    attestation,
    cyclonedx,
    inventory,
    predicate,
    requirements,
    spdx,
    spdx3,
)
from mlflow_governance.evidence.attestation import Purpose, VerifiedStatement
from mlflow_governance.evidence.interface import MAX_ITEM_BYTES, Case, Kind
from mlflow_governance.evidence.inventory import Component, ComponentKind, Listing

READABLE_COPY = "sbom.cdx.json"
MAX_BASE_MODELS = 200
"""Different ones, which are facts."""


@dataclass(frozen=True)
class SignedBom:
    """A document somebody trusted signed for this model, what it lists, and who signed."""

    document: Mapping[str, Any]
    """As it was signed, in the form of its own format."""
    signers: tuple[str, ...]
    listing: Listing
    encoded: bytes
    """The document in its canonical form."""

    @property
    def components(self) -> list[dict[str, Any]]:
        """Every component in the form of CycloneDX, nested ones too; the described one is first."""
        return self.listing.components

    @cached_property
    def inventory(self) -> tuple[Component, ...]:
        """The same as values.

        Raises:
            VerificationError: a component contradicts itself.
        """
        return inventory.read(self.listing)


class SbomVerifier:
    """Proves that a trusted signer listed what the model is made of.

    Facts: ``{components, format, spec_version, serial_number, signers, base_models, datasets,
    pins_checked, unresolved}``. ``components`` counts what is listed beside the described model,
    ``datasets`` those that are data. ``base_models`` is ``[{purl, name, version, digest}]``,
    sorted: every model it was made from, and those they were made from; ``digest`` is
    ``sha256:<hex>``, all but ``name`` null where the document does not say. The purl tells one
    model from another, the name is what the document calls it. ``pins_checked`` is false when the
    model's files have not been read; ``unresolved`` are requirement lines that name no package and
    version of an index (a URL, a path), which no SBOM can be held to.
    """

    kind = Kind.SBOM

    def verify(self, case: Case) -> Mapping[str, Any]:
        """The facts of the signed SBOM.

        Raises:
            EvidenceMissing: no statement with an SBOM is attached.
            VerificationError: it does not verify, is malformed, is of another environment than
                the model's, or its copy says otherwise.
        """
        bom = signed_bom(case)
        _check_copy(case, bom)
        counts = Counter(component.kind for component in bom.inventory)
        unresolved: tuple[str, ...] = ()
        if case.inspection is not None:
            listed = inventory.packages(bom.inventory)
            unresolved = requirements.check(case.inspection.requirements, listed)
        return {
            "components": len(bom.components) - counts[ComponentKind.MODEL],
            "format": bom.listing.format,
            "spec_version": bom.listing.spec_version,
            "serial_number": bom.listing.serial_number,
            "signers": list(bom.signers),
            "base_models": _base_models(bom.inventory),
            "datasets": counts[ComponentKind.DATASET],
            "pins_checked": case.inspection is not None,
            "unresolved": list(unresolved),
        }


def _base_models(components: Iterable[Component]) -> list[dict[str, str | None]]:
    """See :class:`SbomVerifier`.

    Raises:
        VerificationError: there are more than can be facts; to leave one out would hide it.
    """
    found = {
        (base.purl, base.name, base.version, digest)
        for base in components
        if base.kind is ComponentKind.BASE_MODEL
        for digest in _sha256(base) or [""]
    }
    if len(found) > MAX_BASE_MODELS:
        raise VerificationError(f"the SBOM lists more than {MAX_BASE_MODELS} base models")
    return [
        {"purl": purl or None, "name": name, "version": version or None, "digest": digest or None}
        for purl, name, version, digest in sorted(found)
    ]


def _sha256(base: Component) -> list[str]:
    return [f"sha256:{content}" for algorithm, content in base.hashes if algorithm == "SHA-256"]


def signed_bom(case: Case, purpose: Purpose = Purpose.SBOM) -> SignedBom:
    """The one document signed by somebody trusted for ``purpose``.

    Raises:
        EvidenceMissing: no statement with an SBOM is attached.
        VerificationError: none counts, two differ, or the document is malformed.
    """
    return case.once(("bom", purpose, case.items), lambda: _signed_bom(case, purpose))


def _signed_bom(case: Case, purpose: Purpose) -> SignedBom:
    # Only CycloneDX has room for a model card; what an SPDX document says is no second opinion.
    spdx_types = predicate.SPDX_TYPES if purpose is Purpose.SBOM else ()
    types = (*predicate.CYCLONEDX_TYPES, *spdx_types)
    try:
        found = attestation.find_statements(case, types, purpose)
    except EvidenceMissing:
        raise _missing(purpose) from None
    first = _said(case, found[0])
    if any(_said(case, other) != first for other in found[1:]):
        names = ", ".join(other.item_name for other in found)
        raise VerificationError(
            f"several signed SBOMs say different things: {names}",
            advice="Leave exactly one: submit the model again with mlflow-governance submit.",
        )
    signers = sorted({name for statement in found for name in statement.signers})
    listing = case.once(("listing", id(found[0].statement)), lambda: _listing(found[0]))
    return SignedBom(found[0].statement.predicate, tuple(signers), listing, first[1])


def _missing(purpose: Purpose) -> EvidenceMissing:
    if purpose is Purpose.MODEL_CARD:
        return EvidenceMissing(
            "no signed model card is attached",
            advice="Describe the model: mlflow-governance card init, then "
            "mlflow-governance submit MODEL_URI --model-card model_card.yaml",
        )
    return EvidenceMissing(
        "no signed SBOM is attached",
        advice="Have one written: mlflow-governance submit MODEL_URI, or attach another tool's: "
        "mlflow-governance attest NAME/VERSION --predicate FILE --type cyclonedx",
    )


def check_document(document: Mapping[str, Any], kind: str = predicate.CYCLONEDX) -> None:
    """Hold a document to its bounds, its schema and its own references.

    Args:
        document: the SBOM.
        kind: its predicate type, which says whether it is CycloneDX or SPDX.

    Raises:
        VerificationError: it does not fit, with the place where.
    """
    _encoded(document)
    inventory.read(read_document(document, kind))


def read_document(document: Mapping[str, Any], kind: str) -> Listing:
    """What a document lists, read as what its predicate type calls it.

    Raises:
        VerificationError: it is not that, or breaks its bounds, schema or references.
    """
    if kind not in predicate.SPDX_TYPES:
        return cyclonedx.read(document)
    return spdx3.read(document) if "@graph" in document else spdx.read(document)


def _said(case: Case, found: VerifiedStatement) -> tuple[bool, bytes]:
    statement = found.statement  # which the case keeps, so that its id stands for it
    return _is_spdx(found), case.once(
        ("canonical", id(statement)), lambda: _encoded(statement.predicate)
    )


def _is_spdx(found: VerifiedStatement) -> bool:
    return found.statement.predicate_type in predicate.SPDX_TYPES


def _listing(found: VerifiedStatement) -> Listing:
    return read_document(found.statement.predicate, found.statement.predicate_type)


def _check_copy(case: Case, bom: SignedBom) -> None:
    for item in case.items:
        if item.name != READABLE_COPY:
            continue
        try:
            copy = canonical.decode_object(item.data, max_bytes=MAX_ITEM_BYTES)
        except InvalidRequest as error:
            raise VerificationError(f"{READABLE_COPY} is malformed: {error.message}") from error
        if _encoded(copy) != bom.encoded:
            raise VerificationError(
                f"{READABLE_COPY} differs from the SBOM that was signed",
                advice="Submit the model again: mlflow-governance submit MODEL_URI",
            )


def _encoded(document: Mapping[str, Any]) -> bytes:
    """The canonical form: what is compared, and proof that every text in it is Unicode."""
    try:
        return canonical.encode(document)
    except InvalidRequest as error:
        raise VerificationError(f"the SBOM is malformed: {error.message}") from error
