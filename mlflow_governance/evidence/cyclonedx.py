"""CycloneDX documents from outside, held to their bounds, their strict schema and themselves.

A document is read as a plain JSON value and never through ``cyclonedx.model``, which silently
drops ``modelCard`` and ``data``. The schema files are those of cyclonedx-python-lib. What a schema
cannot say is checked here: every ``bom-ref`` is unique and every reference leads to one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from mlflow_governance.core import canonical
from mlflow_governance.errors import VerificationError
from mlflow_governance.evidence.inventory import Listing

FORMAT = "CycloneDX"
SPEC_VERSIONS = ("1.5", "1.6", "1.7")

MAX_COMPONENTS = 20_000
"""Components, nested ones included; as many vulnerabilities are read."""

_SCHEMA_BASE = "http://cyclonedx.org/schema/"
_REFERENCES = frozenset(
    {"ref", "dependsOn", "provides", "assemblies", "subjects", "dependencies", "vulnerabilities"}
    | {"tools", "assessor", "claims", "counterClaims", "evidence", "counterEvidence", "target"}
    | {"mitigationStrategies", "requirement", "requirements", "parent", "attributedTo", "process"}
    | {"asserter", "members", "patentRefs", "algorithmRef", "algorithms", "cryptoRefArray"}
    | {"signatureAlgorithmRef", "subjectPublicKeyRef"}
)
"""Keys whose texts are of the schema's ``refLinkType``; some hold objects elsewhere."""
_BOM_LINK = "urn:cdx:"  # points into another document on purpose (CycloneDX 1.6, BOM-Link)


def read(document: Mapping[str, Any]) -> Listing:
    """What a document lists; the described component (``metadata``) is first.

    Raises:
        VerificationError: see :func:`check`.
    """
    check(document)
    described = document.get("metadata", {}).get("component")
    return Listing(
        FORMAT,
        document["specVersion"],
        document.get("serialNumber", ""),
        components(document),
        described is not None,
    )


def check(document: Mapping[str, Any]) -> None:
    """Hold a document to one of :data:`SPEC_VERSIONS`.

    Raises:
        VerificationError: it does not fit, with the place where.
    """
    version = document.get("specVersion")
    if document.get("bomFormat") != FORMAT or version not in SPEC_VERSIONS:
        known = ", ".join(SPEC_VERSIONS)
        raise VerificationError(f"the SBOM is not a CycloneDX document of a version in {known}")
    problem = next(iter(_validator(version).iter_errors(document)), None)
    if problem is not None:
        where = ".".join(str(part) for part in problem.instance_path) or "document"
        raise VerificationError(
            f"the SBOM breaks the CycloneDX {version} schema at {where[:120]}: "
            f"{problem.message[:200]}"
        )
    _check_bounds(document)
    _check_references(document)


def components(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every component, nested ones included; the described one (``metadata``) is first."""
    described = document.get("metadata", {}).get("component")
    roots = [described] if described else []
    return list(flatten([*roots, *document.get("components", [])]))


def flatten(roots: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """These components and all nested in them, in the order of the document."""
    pending = list(reversed(roots))
    while pending:
        component = pending.pop()
        yield component
        pending.extend(reversed(component.get("components", [])))


def _check_bounds(document: Mapping[str, Any]) -> None:
    for count, _ in enumerate(flatten(document.get("components", [])), 1):
        if count > MAX_COMPONENTS:
            raise VerificationError(f"the SBOM lists more than {MAX_COMPONENTS} components")
    if len(document.get("vulnerabilities", [])) > MAX_COMPONENTS:
        raise VerificationError(f"the SBOM lists more than {MAX_COMPONENTS} vulnerabilities")


def _check_references(document: Mapping[str, Any]) -> None:
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
        for key in _REFERENCES & node.keys():
            value = node[key]
            used.update(_texts(*value) if isinstance(value, list) else _texts(value))
        pending.extend(node.values())
    dangling = sorted(r for r in used - declared if not r.startswith(_BOM_LINK))
    if dangling:
        raise VerificationError(f"the SBOM refers to what it does not hold: {dangling[0][:120]!r}")


def _texts(*values: object) -> Iterator[str]:
    return (value for value in values if isinstance(value, str))


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
