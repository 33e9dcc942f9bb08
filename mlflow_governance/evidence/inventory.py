"""One list of components, whatever format it was written in.

The formats are projected onto the shape of a CycloneDX component (``type``, ``name``, ``version``,
``purl``, ``bom-ref``, ``licenses``, ``hashes``); this module reads that shape. A component that
contradicts itself (a purl of another package or version than its name and version) is refused:
people would read one thing and the advisories be asked for another.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from mlflow_governance.errors import VerificationError

USE = "mlflow-governance:use"
"""Property of a base model: ``fine-tuning`` (default) or ``inference``."""

_MODEL_TYPE = "machine-learning-model"
_MODEL_PURLS = frozenset({"huggingface", "mlflow"})
_PACKAGE_TYPES = frozenset({"library", "framework", "application"})
_MAX_TEXT = 1_000


class ComponentKind(StrEnum):
    """What a component is to the model."""

    MODEL = "model"
    """The model itself: what the document describes."""
    BASE_MODEL = "base-model"
    DATASET = "dataset"
    LIBRARY = "library"
    """Everything that runs along: libraries, frameworks, the interpreter, files."""


@dataclass(frozen=True, slots=True)
class LicenceText:
    """What a document says about a licence: an SPDX expression, or a name somebody gave it."""

    text: str
    is_expression: bool = False


@dataclass(frozen=True, slots=True)
class Component:
    """One component. Empty texts are things the document does not say."""

    ref: str
    name: str
    version: str
    purl: str
    type: str
    """CycloneDX component type."""
    kind: ComponentKind
    licences: tuple[LicenceText, ...] = ()
    """All of them apply at once. Concluded ones, where there are any, else declared ones."""
    hashes: tuple[tuple[str, str], ...] = ()
    """Algorithm (``SHA-256``) and lower-case hex."""
    package: tuple[str, str] | None = None
    """For a PyPI package its canonical name and version."""
    use: str = ""
    """What the document says a base model is used for."""

    @property
    def label(self) -> str:
        """How people know it: the purl, or ``name@version``."""
        return self.purl or "@".join(filter(None, (self.name, self.version)))


@dataclass(frozen=True)
class Listing:
    """What a valid document lists."""

    format: str
    """``CycloneDX`` or ``SPDX``."""
    spec_version: str
    serial_number: str
    """What tells this document from others; empty where it does not say."""
    components: list[dict[str, Any]]
    """In the form of CycloneDX, flat."""
    described: bool
    """Whether the first component is what the document is about."""


def read(listing: Listing) -> tuple[Component, ...]:
    """The inventory of a document; the models its models were tuned from are in it too.

    Raises:
        VerificationError: a component has a malformed purl or contradicts itself.
    """
    found: list[Component] = []
    for index, raw in enumerate(listing.components):
        found.append(_component(raw, is_model=listing.described and index == 0))
        if raw["type"] == _MODEL_TYPE:
            found += map(_component, _ancestors(raw))
    return tuple(found)


def _ancestors(raw: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for ancestor in raw.get("pedigree", {}).get("ancestors", []):
        yield ancestor
        yield from _ancestors(ancestor)


def packages(components: Iterable[Component]) -> dict[str, list[str]]:
    """The versions listed of each PyPI package, by canonical name."""
    found: dict[str, list[str]] = {}
    for component in components:
        if component.package is not None:
            name, version = component.package
            found.setdefault(name, []).append(version)
    return found


def _component(raw: Mapping[str, Any], *, is_model: bool = False) -> Component:
    purl, kind = raw.get("purl", ""), _kind(raw, is_model)
    name, version = raw["name"], raw.get("version", "")
    if not name.strip():
        raise VerificationError(f"the SBOM lists a component without a name: {purl[:120]!r}")
    if len(name) > _MAX_TEXT or len(version) > _MAX_TEXT or len(purl) > 4 * _MAX_TEXT:
        raise VerificationError(f"the SBOM names a component at undue length: {name[:120]!r}")
    return Component(
        ref=raw.get("bom-ref", ""),
        name=name,
        version=version,
        purl=purl,
        type=raw["type"],
        kind=kind,
        licences=tuple(_licences(raw.get("licenses", []))),
        hashes=tuple((h["alg"], h["content"].lower()) for h in raw.get("hashes", [])),
        package=_package(raw["type"], purl, name, version),
        use=_property(raw, USE),
    )


def _kind(raw: Mapping[str, Any], is_model: bool) -> ComponentKind:
    scheme = raw.get("purl", "")[4:].partition("/")[0].lower()
    if is_model:
        return ComponentKind.MODEL
    if raw["type"] == "data":
        return ComponentKind.DATASET
    if raw["type"] == _MODEL_TYPE or scheme in _MODEL_PURLS:
        return ComponentKind.BASE_MODEL
    return ComponentKind.LIBRARY


def _licences(choices: Iterable[Mapping[str, Any]]) -> Iterator[LicenceText]:
    said: list[tuple[str, LicenceText]] = []
    for choice in choices:
        licence = choice.get("license", choice)
        text = licence.get("expression") or licence.get("id")
        entry = LicenceText(text, True) if text else LicenceText(licence.get("name", ""))
        said.append((licence.get("acknowledgement", ""), entry))
    concluded = [entry for how, entry in said if how == "concluded"]
    yield from concluded or (entry for _, entry in said)


def _property(raw: Mapping[str, Any], name: str) -> str:
    found = (p.get("value", "") for p in raw.get("properties", []) if p.get("name") == name)
    return next(found, "")


def _package(kind: str, purl: str, name: str, version: str) -> tuple[str, str] | None:
    from packageurl import PackageURL
    from packaging.utils import canonicalize_name

    if not purl:
        return (canonicalize_name(name), version) if kind in _PACKAGE_TYPES else None
    try:
        parsed = PackageURL.from_string(purl)
    except ValueError as error:
        raise VerificationError(f"the SBOM holds a malformed purl: {purl[:120]!r}") from error
    if parsed.type != "pypi":
        return None
    package, said = canonicalize_name(parsed.name), parsed.version or ""
    if package != canonicalize_name(name) or (version and said and version != said):
        raise VerificationError(
            f"the SBOM contradicts itself: {name[:120]} {version[:60]} has the purl {purl[:200]!r}"
        )
    return package, said or version
