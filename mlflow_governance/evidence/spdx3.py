"""SPDX 3.0 documents in JSON-LD, held to what the registry relies on.

JSON-LD can say one thing in many ways; SPDX allows one of them (specification 3.0.1, clause
"Serialization"): the published context, compact names, a flat ``@graph``. Everything that would
give a name another meaning (a context inside a node, names that are IRIs, other JSON-LD keywords)
is refused, so that reading the plain JSON is reading the document. Identifiers are unique, and
relationships, roots and licences lead to an element of the graph, to an individual the
specification defines, to the SPDX licence list, or to what the document says it imports.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from mlflow_governance.errors import VerificationError
from mlflow_governance.evidence import predicate
from mlflow_governance.evidence.inventory import Listing

MAX_NODES = 400_000
"""Objects at any depth."""
_MAX_COMPONENTS = 20_000
_MAX_LICENCE_DEPTH = 8
_MAX_LICENCE_PARTS = 100
_MAX_LICENCE = 20_000

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_INDIVIDUAL = re.compile(
    r"(https://spdx\.org/rdf/3\.0(\.\d)?/terms/(Core|ExpandedLicensing)/|expandedlicensing_|)"
    r"(NoneElement|NoAssertionElement|SpdxOrganization|NoneLicense|NoAssertionLicense)"
)
_NO_REFERENCE = re.compile(r"[^A-Za-z0-9.-]+")
_LISTED = re.compile(r"https?://spdx\.org/licenses/([A-Za-z0-9.+-]{1,100})")
_ALGORITHMS = {"md5": "MD5", "sha1": "SHA-1", "sha256": "SHA-256", "sha384": "SHA-384",
               "sha512": "SHA-512"}  # fmt: skip
_TYPES = {"ai_AIPackage": "machine-learning-model", "dataset_DatasetPackage": "data"}
_PURPOSES = {
    "application": "application",
    "container": "container",
    "data": "data",
    "device": "device",
    "file": "file",
    "firmware": "firmware",
    "framework": "framework",
    "model": "machine-learning-model",
    "operatingSystem": "operating-system",
}
_REFERENCES = (
    *("from", "to", "rootElement", "element", "createdBy", "createdUsing", "creationInfo"),
    *("expandedlicensing_member", "expandedlicensing_subjectLicense"),
    *("expandedlicensing_subjectExtendableLicense", "expandedlicensing_subjectAddition"),
)

Node = Mapping[str, Any]


def read(document: Node) -> Listing:
    """What a document lists: its packages; the one it is about, if it is one, first.

    Raises:
        VerificationError: it does not fit, with the first few places where.
    """
    problems = predicate.schema_problems("sboms/spdx-3.0.schema.json", document)
    if problems:
        raise VerificationError(f"the SBOM is not SPDX 3.0: {'; '.join(problems)}")
    graph = _Graph(document)
    graph.check_references()
    documents = graph.of_type("SpdxDocument")
    if len(documents) != 1:
        raise VerificationError("the SBOM is not SPDX 3.0: it holds not exactly one SpdxDocument")
    packages = graph.of_type("software_Package", *_TYPES)
    if len(packages) > _MAX_COMPONENTS:
        raise VerificationError(f"the SBOM lists more than {_MAX_COMPONENTS} components")
    roots = graph.described() & {_identity(package) for package in packages}
    packages.sort(key=lambda package: _identity(package) not in roots)
    return Listing(
        "SPDX",
        document["@context"].split("/")[-2],
        _identity(documents[0]),
        [_component(package, graph) for package in packages],
        len(roots) == 1,
    )


class _Graph:
    """Every node of a document, wherever it is written."""

    def __init__(self, document: Node) -> None:
        self.elements: dict[str, Node] = {}
        self.used: set[str] = set()
        self.imported: set[str] = set()
        self.licences: dict[tuple[str, str], list[str]] = {}
        self._expressions: dict[str, str] = {}
        for node in _nodes(document["@graph"]):
            self._add(node)

    def _add(self, node: Node) -> None:
        if identity := _identity(node):
            if identity in self.elements:
                raise VerificationError(f"the SBOM declares the spdxId {identity[:120]!r} twice")
            self.elements[identity] = node
        for key in _REFERENCES:
            self.used.update(_ids(node.get(key)))
        if node.get("type") == "ExternalMap":
            self.imported.update(_ids(node.get("externalSpdxId")))
        kind = node.get("relationshipType")
        if kind in ("hasDeclaredLicense", "hasConcludedLicense"):
            for source in _ids(node.get("from")):
                self.licences.setdefault((source, kind), []).extend(_ids(node.get("to")))

    def check_references(self) -> None:
        """Refuse a reference to nothing."""
        for reference in sorted(self.used - self.elements.keys()):
            if not self._is_outside(reference):
                raise VerificationError(
                    f"the SBOM refers to what it does not hold: {reference[:120]!r}"
                )

    def _is_outside(self, reference: str) -> bool:
        return (
            reference in self.imported
            or _INDIVIDUAL.fullmatch(reference) is not None
            or _LISTED.fullmatch(reference) is not None
        )

    def of_type(self, *types: str) -> list[Node]:
        """The elements of these types, in the order of the document."""
        return [node for node in self.elements.values() if node.get("type") in types]

    def described(self) -> set[str]:
        """What the document is about: its roots, and the roots of a BOM among them."""
        found: set[str] = set()
        for node in self.of_type("SpdxDocument", "Bom", "software_Sbom"):
            found.update(_ids(node.get("rootElement")))
        return found

    def licence(self, package: str) -> str:
        """The licences of a package as one expression; empty where none is stated."""
        for kind in ("hasConcludedLicense", "hasDeclaredLicense"):
            stated = sorted(set(self.licences.get((package, kind), [])))
            if len(stated) == 1 and (name := self._name(stated[0])):
                return name  # alone it may be a name everybody knows
            parts = [part for part in (self._expression(i, 0) for i in stated) if part]
            if parts:
                return " AND ".join(parts)
        return ""

    def _expression(self, identity: str, depth: int) -> str:
        # Each is written once: sets of sets that share members would grow beyond measure.
        if identity not in self._expressions:
            text = self._written(identity, depth)
            if len(text) > _MAX_LICENCE:
                raise VerificationError("the SBOM states a licence at undue length")
            self._expressions[identity] = text
        return self._expressions[identity]

    def _written(self, identity: str, depth: int) -> str:
        if listed := _LISTED.fullmatch(identity):
            return listed[1]
        if identity.endswith("NoneLicense"):
            return "NONE"
        node = self.elements.get(identity, {})
        kind = node.get("type", "").removeprefix("expandedlicensing_")
        if kind == "simplelicensing_LicenseExpression":
            return _bracketed(_text(node, "simplelicensing_licenseExpression"))
        operator = {"ConjunctiveLicenseSet": " AND ", "DisjunctiveLicenseSet": " OR "}.get(kind)
        if not operator:
            name = _NO_REFERENCE.sub("-", self._name(identity))
            return f"LicenseRef-{name}" if name else ""
        members = list(_ids(node.get("expandedlicensing_member")))
        if depth >= _MAX_LICENCE_DEPTH or len(members) > _MAX_LICENCE_PARTS:
            raise VerificationError("the SBOM nests a licence deeper than is read")
        parts = [self._expression(member, depth + 1) or "NOASSERTION" for member in members]
        return f"({operator.join(parts)})" if parts else ""

    def _name(self, identity: str) -> str:
        """What a licence without an expression is called."""
        node = self.elements.get(identity, {})
        is_text = str(node.get("type")).endswith(("CustomLicense", "SimpleLicensingText"))
        return _text(node, "name") if is_text else ""


def _nodes(graph: Iterable[Any]) -> Iterator[Node]:
    pending: list[Any] = list(reversed(list(graph)))
    count = 0
    while pending:
        value = pending.pop()
        if isinstance(value, list):
            pending.extend(reversed(value))
        if not isinstance(value, Mapping):
            continue
        count += 1
        if count > MAX_NODES:
            raise VerificationError(f"the SBOM holds more than {MAX_NODES} nodes")
        for key in value:
            if key != "@id" and not _NAME.fullmatch(key):
                raise VerificationError(f"the SBOM has a name with another meaning: {key[:80]!r}")
        yield value
        pending.extend(reversed(list(value.values())))


def _identity(node: Node) -> str:
    names = {node[key] for key in ("spdxId", "@id") if isinstance(node.get(key), str)}
    if len(names) > 1:
        raise VerificationError("the SBOM gives an element two identifiers")
    return str(names.pop()) if names else ""


def _ids(value: object) -> Iterator[str]:
    """The identifiers in a value: a text, an element written in place, or a list of those."""
    for entry in value if isinstance(value, list) else [value]:
        if isinstance(entry, str):
            yield entry
        elif isinstance(entry, Mapping) and _identity(entry):
            yield _identity(entry)


def _bracketed(expression: str) -> str:
    depth = 0
    for mark in expression:
        depth += (mark == "(") - (mark == ")")
        if depth < 0:
            break
    if depth:
        # Joined with others it would mean something else than it says.
        raise VerificationError("the SBOM states a licence with unbalanced brackets")
    return f"({expression})" if expression else ""


def _text(node: Node, key: str) -> str:
    value = node.get(key, "")
    if not isinstance(value, str):
        raise VerificationError(f"the SBOM is not SPDX 3.0: {key} is not a text")
    return value


def _component(package: Node, graph: _Graph) -> dict[str, Any]:
    identity, name = _identity(package), _text(package, "name")
    purls = {_text(package, "software_packageUrl"), *_external_purls(package)} - {""}
    if len(purls) > 1:
        raise VerificationError(f"the SBOM gives {name[:120]!r} several purls")
    purpose = _text(package, "software_primaryPurpose")
    component: dict[str, Any] = {
        "type": _TYPES.get(str(package.get("type"))) or _PURPOSES.get(purpose, "library"),
        "bom-ref": identity,
        "name": name,
        "hashes": list(_hashes(package)),
    }
    version, licence = _text(package, "software_packageVersion"), graph.licence(identity)
    return component | {
        **({"version": version} if version else {}),
        **({"purl": purls.pop()} if purls else {}),
        **({"licenses": [{"expression": licence}]} if licence else {}),
    }


def _external_purls(package: Node) -> Iterator[str]:
    for entry in _objects(package.get("externalIdentifier")):
        if entry.get("externalIdentifierType") == "packageUrl":
            yield _text(entry, "identifier")


def _hashes(package: Node) -> Iterator[dict[str, str]]:
    for entry in _objects(package.get("verifiedUsing")):
        algorithm = _ALGORITHMS.get(str(entry.get("algorithm")))
        if algorithm:
            yield {"alg": algorithm, "content": _text(entry, "hashValue")}


def _objects(value: object) -> Iterator[Node]:
    entries = value if isinstance(value, list) else [value]
    return (entry for entry in entries if isinstance(entry, Mapping))
