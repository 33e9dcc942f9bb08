"""What a VEX statement says, whatever its format: a claim about a vulnerability in some places."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from mlflow_governance.core import moment
from mlflow_governance.errors import InvalidRequest, VerificationError
from mlflow_governance.evidence.vers import Versions

if TYPE_CHECKING:
    from packageurl import PackageURL


class Status(StrEnum):
    """The labels of the VEX working group."""

    NOT_AFFECTED = "not_affected"
    FIXED = "fixed"
    AFFECTED = "affected"
    UNDER_INVESTIGATION = "under_investigation"

    @property
    def clears(self) -> bool:
        """True where it says that the vulnerability does no harm here."""
        return self in (Status.NOT_AFFECTED, Status.FIXED)


@dataclass(frozen=True)
class Target:
    """Components by package URL, or one component of the SBOM; neither is the model as a whole.

    A package URL without a version means every version, and its qualifiers must all be there.
    ``versions`` narrows it further.
    """

    purl: PackageURL | None = None
    component: str = ""
    versions: Versions = field(default_factory=Versions)

    def covers(self, component: str, *, clears: bool) -> bool:
        """True when a component (its purl, or ``name@version``) is among those named."""
        if self.purl is None:
            named = self.component in ("", component)
        else:
            found = _as_purl(component)
            named = found is not None and _includes(self.purl, found)
        holds = self.versions.cleared if clears else self.versions.accused
        return named and (not self.versions.listed or holds(version_of(component)))


MODEL = Target()


@dataclass(frozen=True)
class Claim:
    """One statement: the vulnerability by all its ``names``, a status, and where it holds."""

    names: frozenset[str]
    status: Status
    justification: str
    at: datetime
    targets: tuple[Target, ...]

    def covers(self, component: str) -> bool:
        """True when it speaks of this component."""
        clears = self.status.clears
        return any(target.covers(component, clears=clears) for target in self.targets)


@dataclass(frozen=True)
class Scope:
    """What the names in a VEX document mean: the model, and the SBOM it comes with.

    Args:
        model: the registered model's name.
        digest: SHA-256 of its manifest, hexadecimal.
        subjects: what the in-toto statement calls this content.
        serial: ``serialNumber`` and ``version`` of the SBOM as a BOM-Link without fragment.
        described: ``bom-ref`` of the model in the SBOM.
        refs: component by ``bom-ref``, as findings name it.
        now: the moment.
    """

    model: str
    digest: str
    subjects: frozenset[str]
    serial: str
    described: str
    refs: Mapping[str, str] = field(default_factory=dict)
    now: datetime = field(default_factory=moment.now)

    def is_model(self, name: str) -> bool:
        """True when a subject, ``pkg:mlflow/NAME`` or ``models:/NAME/VERSION`` means the model."""
        if name in self.subjects:
            return True
        if name.startswith("pkg:mlflow/"):
            return purl_of(name).name.lower() == self.model.lower()
        return name.startswith("models:/") and (
            unquote(name.removeprefix("models:/")).rpartition("/")[0] == self.model
        )


def purl_of(text: str) -> PackageURL:
    """A package URL from outside.

    Raises:
        VerificationError: it is none.
    """
    from packageurl import PackageURL

    try:
        return PackageURL.from_string(text)
    except ValueError as error:
        raise VerificationError(f"{text[:120]!r} is no package URL") from error


def instant(text: str) -> datetime:
    """An instant from outside.

    Raises:
        VerificationError: it is none.
    """
    try:
        return moment.parse(text)
    except InvalidRequest as error:
        raise VerificationError(error.message) from error


def folded(names: Any) -> frozenset[str]:
    """Names of a vulnerability in the form in which they are compared."""
    return frozenset(str(name).strip().casefold() for name in names)


def same_version(left: str, right: str) -> bool:
    """True when two versions are one in the sense of PEP 440; else when they are the same text."""
    from packaging.version import InvalidVersion, Version

    try:
        return left == right or Version(left) == Version(right)
    except InvalidVersion:
        return False


@lru_cache(maxsize=4096)
def _as_purl(component: str) -> PackageURL | None:
    return purl_of(component) if component.startswith("pkg:") else None


def version_of(component: str) -> str | None:
    """The version of a component as findings name it."""
    found = _as_purl(component)
    return (found.version if found else component.rpartition("@")[2]) or None


def _includes(stated: PackageURL, found: PackageURL) -> bool:
    from packaging.utils import canonicalize_name

    def name(purl: PackageURL) -> str:
        return canonicalize_name(purl.name) if purl.type == "pypi" else purl.name

    qualifiers: Any = found.qualifiers
    wanted: Any = stated.qualifiers
    return (
        (stated.type, stated.namespace, name(stated)) == (found.type, found.namespace, name(found))
        and (stated.version is None or same_version(stated.version, found.version or ""))
        and all(qualifiers.get(key) == value for key, value in wanted.items())
        and stated.subpath in (None, found.subpath)
    )
