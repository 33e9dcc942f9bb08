"""The libraries of a model: what its requirements name, and everything those pull in.

Versions, licences and files of what is pulled in are read from the running environment, which is
the one that trained the model.

An installed distribution no longer knows the archive it came from. Its component has the SHA-256
of the archive (``hashes``) only where one is known: pinned with a single ``--hash=``, or recorded
by the installer (PEP 610). In any case the property :data:`FILES` holds a SHA-256 over what the
wheel's ``RECORD`` lists: the sorted lines ``path,sha256=…``, without byte code and without what
an installer adds. It is the same wherever the same wheel is installed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any

from packageurl import PackageURL
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from mlflow_governance.evidence import requirements
from mlflow_governance.submission import licences

FILES = "mlflow-governance:files-sha256"
ALLOWED = "mlflow-governance:allowed-archive-sha256"
_ADDED = ("/RECORD", "/INSTALLER", "/REQUESTED", "/direct_url.json", ".pyc")


@dataclass(slots=True)
class _Asked:
    """What is asked of one package."""

    version: str = ""
    extras: set[str] = field(default_factory=lambda: {""})
    sha256: set[str] = field(default_factory=set)


class Libraries:
    """Components by name, and what needs what. Everything installed is looked up once."""

    def __init__(self) -> None:
        self.components: dict[str, dict[str, Any]] = {}
        """By canonical name."""
        self._needs: dict[str, set[str]] = {}
        self._installed: dict[str, metadata.Distribution | None] = {}

    def add(self, lines: Iterable[str], scope: str = "") -> list[str]:
        """Add requirement lines and all they pull in; the references of those named.

        Lines that name no package are left out: the registry reads them itself.
        """
        wanted = _wanted(lines)
        pending = [(name, extra) for name, asked in wanted.items() for extra in asked.extras]
        seen: set[tuple[str, str]] = set()
        while pending:
            name, extra = pending.pop()
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            if name not in self.components:
                asked = wanted.get(name, _Asked())
                self.components[name] = self._component(name, asked, scope)
            for need, extras in self._pulled_in(name, extra):
                if need in wanted or self._find(need):
                    self._needs.setdefault(name, set()).add(need)
                    pending += [(need, more) for more in extras]
        return [self.components[name]["bom-ref"] for name in wanted]

    def edges(self) -> dict[str, list[str]]:
        """References by the reference of what needs them."""
        refs = {name: component["bom-ref"] for name, component in self.components.items()}
        return {refs[n]: sorted(refs[m] for m in self._needs[n]) for n in sorted(self._needs)}

    def _find(self, name: str) -> metadata.Distribution | None:
        if name not in self._installed:
            try:
                self._installed[name] = metadata.distribution(name)
            except (metadata.PackageNotFoundError, ValueError):
                self._installed[name] = None
        return self._installed[name]

    def _pulled_in(self, name: str, extra: str) -> list[tuple[str, set[str]]]:
        distribution = self._find(name)
        found: list[tuple[str, set[str]]] = []
        for line in (distribution.requires or []) if distribution else []:
            try:
                need = Requirement(line)
            except InvalidRequirement:
                continue
            if need.marker is None or need.marker.evaluate({"extra": extra}):
                found.append((canonicalize_name(need.name), {"", *need.extras}))
        return found

    def _component(self, name: str, asked: _Asked, scope: str) -> dict[str, Any]:
        distribution = self._find(name)
        version = asked.version or (distribution.version if distribution else "")
        purl = PackageURL("pypi", name=name, version=version or None).to_string()
        component: dict[str, Any] = {
            "type": "library", "name": name, "bom-ref": purl, "purl": purl,
            **({"version": version} if version else {}),
            **({"scope": scope} if scope else {}),
        }  # fmt: skip
        archive = next(iter(asked.sha256)) if len(asked.sha256) == 1 else ""
        allowed = () if archive else sorted(asked.sha256)
        properties = [{"name": ALLOWED, "value": value} for value in allowed]
        # What is installed says nothing about another version that is pinned.
        if distribution is not None and distribution.version == version:
            about: Any = distribution.metadata
            if stated := licences.of_distribution(about, distribution.read_text):
                component["licenses"] = stated
            if files := _files_digest(distribution.read_text("RECORD") or ""):
                properties.append({"name": FILES, "value": files})
            archive = archive or _archive(distribution.read_text("direct_url.json") or "")
        if archive:
            component["hashes"] = [{"alg": "SHA-256", "content": archive}]
        if properties:
            component["properties"] = properties
        return component


def _wanted(lines: Iterable[str]) -> dict[str, _Asked]:
    """What lines ask for, by canonical name; a line that pins a version stands above others."""
    found: dict[str, _Asked] = {}
    for line in lines:
        wanted = requirements.parse(line)
        if wanted is None:
            continue
        asked = found.setdefault(wanted.name, _Asked())
        asked.version = asked.version or wanted.exact
        asked.extras |= wanted.requirement.extras
        asked.sha256 |= set(wanted.sha256)
    return found


def _files_digest(record: str) -> str:
    kept = []
    for line in record.splitlines():
        path, _, rest = line.rpartition(",")[0].rpartition(",")
        if rest.startswith("sha256=") and not path.startswith("..") and not path.endswith(_ADDED):
            kept.append(f"{path},{rest}\n")
    return hashlib.sha256("".join(sorted(kept)).encode()).hexdigest() if kept else ""


def _archive(direct_url: str) -> str:
    """The SHA-256 of the archive an installer recorded (PEP 610)."""
    try:
        found = json.loads(direct_url or "{}").get("archive_info", {}).get("hashes", {})
        value = found.get("sha256", "")
    except (ValueError, AttributeError):
        return ""
    is_digest = isinstance(value, str) and len(value) == 64
    return value.lower() if is_digest and set(value.lower()) <= set("0123456789abcdef") else ""
