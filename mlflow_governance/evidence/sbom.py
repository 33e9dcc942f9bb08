"""The SBOM: one signed CycloneDX ML-BOM, held to its strict schema and to itself.

Only the predicate of a signed in-toto Statement of the type ``https://cyclonedx.org/bom`` counts;
the file ``sbom.cdx.json`` beside it is a copy for people and must say the same. The document is
read as a plain JSON value and never through ``cyclonedx.model``, which silently drops
``modelCard`` and ``data``.

Checked, in this order: signature and subject (``attestation``), one unambiguous document, bounds,
schema, and references: every ``bom-ref`` is unique and every reference leads to one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from mlflow_governance.core import canonical
from mlflow_governance.errors import InvalidRequest, VerificationError
from mlflow_governance.evidence import attestation
from mlflow_governance.evidence.attestation import CYCLONEDX, Purpose
from mlflow_governance.evidence.interface import MAX_ITEM_BYTES, Case, Kind

READABLE_COPY = "sbom.cdx.json"
SPEC_VERSIONS = ("1.6", "1.7")

MAX_COMPONENTS = 20_000
"""Components, nested ones included; as many vulnerabilities are read."""

_SCHEMA_BASE = "http://cyclonedx.org/schema/"
_REFERENCE_LISTS = frozenset(
    {"dependsOn", "provides", "assemblies", "subjects", "dependencies", "vulnerabilities"}
)
_BOM_LINK = "urn:cdx:"  # points into another document on purpose (CycloneDX 1.6, BOM-Link)


@dataclass(frozen=True)
class SignedBom:
    """A CycloneDX document somebody trusted signed for this model, and who did."""

    document: Mapping[str, Any]
    signers: tuple[str, ...]

    @property
    def components(self) -> list[dict[str, Any]]:
        """Every component, nested ones included; the described one (``metadata``) is first."""
        described = self.document.get("metadata", {}).get("component")
        roots = [described] if described else []
        return list(_flatten([*roots, *self.document.get("components", [])]))


class SbomVerifier:
    """Proves that a trusted signer listed what the model is made of.

    Facts: ``{components, spec_version, signers, serial_number}``; ``components`` counts what is
    listed below the described model.
    """

    kind = Kind.SBOM

    def verify(self, case: Case) -> Mapping[str, Any]:
        """The facts of the signed SBOM.

        Raises:
            EvidenceMissing: no CycloneDX statement is attached.
            VerificationError: it does not verify, is malformed, or its copy says otherwise.
        """
        bom = signed_bom(case)
        _check_copy(case, bom)
        return {
            "components": sum(1 for _ in _flatten(bom.document.get("components", []))),
            "spec_version": bom.document["specVersion"],
            "signers": list(bom.signers),
            "serial_number": bom.document.get("serialNumber", ""),
        }


def signed_bom(case: Case, purpose: Purpose = Purpose.SBOM) -> SignedBom:
    """The one CycloneDX document signed by somebody trusted for ``purpose``.

    Raises:
        EvidenceMissing: no CycloneDX statement is attached.
        VerificationError: none counts, two differ, or the document is malformed.
    """
    found = attestation.find_statements(case, CYCLONEDX, purpose)
    document = found[0].statement.predicate
    if any(_encoded(other.statement.predicate) != _encoded(document) for other in found[1:]):
        names = ", ".join(other.item_name for other in found)
        raise VerificationError(
            f"several signed SBOMs say different things: {names}",
            advice="Leave exactly one: submit the model again with mlflow-governance submit.",
        )
    check_document(document)
    signers = sorted({name for statement in found for name in statement.signers})
    return SignedBom(document, tuple(signers))


def check_document(document: Mapping[str, Any]) -> None:
    """Hold a CycloneDX document to its bounds, its strict schema and its own references.

    Raises:
        VerificationError: it does not fit, with the place where.
    """
    version = document.get("specVersion")
    if document.get("bomFormat") != "CycloneDX" or version not in SPEC_VERSIONS:
        known = " or ".join(SPEC_VERSIONS)
        raise VerificationError(f"the SBOM is not a CycloneDX {known} document")
    _encoded(document)
    problem = next(iter(_validator(version).iter_errors(document)), None)
    if problem is not None:
        where = ".".join(str(part) for part in problem.instance_path) or "document"
        raise VerificationError(
            f"the SBOM breaks the CycloneDX {version} schema at {where[:120]}: "
            f"{problem.message[:200]}"
        )
    _check_bounds(document)
    _check_references(document)


def _check_bounds(document: Mapping[str, Any]) -> None:
    count = 0
    for count, _ in enumerate(_flatten(document.get("components", [])), 1):
        if count > MAX_COMPONENTS:
            raise VerificationError(f"the SBOM lists more than {MAX_COMPONENTS} components")
    if len(document.get("vulnerabilities", [])) > MAX_COMPONENTS:
        raise VerificationError(f"the SBOM lists more than {MAX_COMPONENTS} vulnerabilities")


def _check_references(document: Mapping[str, Any]) -> None:
    # The schema cannot say this: a reference to nothing passes it.
    declared: set[str] = set()
    used: set[str] = set()
    pending: list[Any] = [document]
    while pending:
        node = pending.pop()
        if isinstance(node, list):
            pending.extend(node)
            continue
        if not isinstance(node, Mapping):
            continue
        for own in _texts(node.get("bom-ref")):
            if own in declared:
                raise VerificationError(f"the SBOM declares the bom-ref {own[:120]!r} twice")
            declared.add(own)
        used.update(_texts(node.get("ref")))
        for key in _REFERENCE_LISTS & node.keys():
            used.update(_texts(*node[key]))
        pending.extend(node.values())
    dangling = sorted(r for r in used - declared if not r.startswith(_BOM_LINK))
    if dangling:
        raise VerificationError(f"the SBOM refers to what it does not hold: {dangling[0][:120]!r}")


def _texts(*values: object) -> Iterator[str]:
    return (value for value in values if isinstance(value, str))


def _flatten(components: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    pending = list(reversed(components))
    while pending:
        component = pending.pop()
        yield component
        pending.extend(reversed(component.get("components", [])))


def _check_copy(case: Case, bom: SignedBom) -> None:
    for item in case.items:
        if item.name != READABLE_COPY:
            continue
        try:
            copy = canonical.decode_object(item.data, max_bytes=MAX_ITEM_BYTES)
        except InvalidRequest as error:
            raise VerificationError(f"{READABLE_COPY} is malformed: {error.message}") from error
        if _encoded(copy) != _encoded(bom.document):
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


@cache
def _validator(version: str) -> Any:
    """The strict schema that ships with cyclonedx-python-lib, compiled by jsonschema-rs.

    ``JsonStrictValidator`` compares every pair of components to hold ``uniqueItems``: 3,000
    components take it 13 s, so a signed document of a few megabytes could stop the registry.
    The same schema files are used, only the engine is another; a test holds both to one answer.
    """
    import jsonschema_rs
    from cyclonedx.schema import SchemaVersion, _res

    def load(path: str) -> Any:
        with open(path, "rb") as file:
            return canonical.decode(file.read())

    parts = {
        "spdx.SNAPSHOT.schema.json": _res.SPDX_JSON,
        "cryptography-defs.SNAPSHOT.schema.json": _res.CRYPTOGRAPHY_DEFS,
        "jsf-0.82.SNAPSHOT.schema.json": _res.JSF,
    }
    registry = jsonschema_rs.Registry(
        [(_SCHEMA_BASE + name, load(path)) for name, path in parts.items()]
    )
    schema = load(_res.BOM_JSON_STRICT[SchemaVersion.from_version(version)])
    return jsonschema_rs.Draft7Validator(
        schema,
        registry=registry,
        validate_formats=True,
        # Linear-time matching: the texts come from outside.
        pattern_options=jsonschema_rs.RegexOptions(),
    )
