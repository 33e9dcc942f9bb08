"""What pip was told to install, and whether an SBOM lists it.

Lines are those of a ``requirements.txt``: a PEP 508 requirement, perhaps with ``--hash=`` options
(pip's hash-checking mode). Everything else pip understands (a URL, a path, ``-e``, ``-r``) may
bring in what no list of names and versions shows; such lines are *unresolved* and are handed on
for policy to judge.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion

from mlflow_governance.errors import VerificationError

MAX_LINES = 5_000
MAX_LINE = 4_000
_MAX_NAMED = 5
_MAX_TEXT = 200

_HASH = re.compile(r"\s--hash[= ](?P<algorithm>[a-z0-9_]+):(?P<hex>[0-9a-fA-F]+)")
_OPTIONS = re.compile(r"\s--\S.*$", re.DOTALL)
_COMMENT = re.compile(r"(^|\s+)#.*$")
_SECRET = re.compile(r"//[^/@\s]*@")
_OPTION = re.compile(
    r"--(?:prefer-binary|pre|require-hashes|no-index"
    r"|(?:no-binary|only-binary|use-feature)[ =][^\s=-]\S*)"
)
"""Options about how to look, which install nothing by themselves; one to a line, because pip obeys
all that is on it (``--pre -r more.txt``). One about where to look (``--index-url``) is none of
them: what has the name and version the SBOM lists is then whatever somebody put there."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """One requirement of a package index: its canonical name, versions and known SHA-256 hashes."""

    name: str
    requirement: Requirement
    sha256: tuple[str, ...] = ()

    @property
    def exact(self) -> str:
        """The one version it pins (``==`` or ``===`` without a wildcard), else empty."""
        for clause in self.requirement.specifier:
            if clause.operator in ("==", "===") and not clause.version.endswith(".*"):
                return clause.version
        return ""

    def admits(self, version: str) -> bool:
        """True when this version fulfils it; an unknown version fulfils what asks for none."""
        if not version:
            return not self.requirement.specifier
        try:
            return self.requirement.specifier.contains(version, prereleases=True)
        except InvalidVersion:
            return version == self.exact


def logical_lines(text: str) -> Iterator[str]:
    """The lines of a ``requirements.txt`` as pip reads them: joined at a backslash, no comments."""
    joined = ""
    for line in [*text.splitlines(), ""]:
        comment = _COMMENT.match(line)
        if line.endswith("\\") and not comment:
            joined += line.strip("\\")
            continue
        # A comment ends a line that was to be continued, and is never continued itself.
        whole = joined + (f" {line}" if comment else line)
        joined = ""
        if bare := _COMMENT.sub("", whole).strip():
            yield bare


def parse(line: str) -> Wanted | None:
    """A line as a requirement of a package index, None when it is none.

    Raises:
        VerificationError: the line is longer than any is.
    """
    if len(line) > MAX_LINE:
        raise VerificationError(f"a requirement has more than {MAX_LINE} characters")
    hashes = tuple(
        m["hex"].lower() for m in _HASH.finditer(line) if m["algorithm"] == "sha256"
    )  # fmt: skip
    try:
        requirement = Requirement(_OPTIONS.sub("", line))
    except InvalidRequirement:
        return None
    if requirement.url:
        return None
    return Wanted(canonicalize_name(requirement.name), requirement, hashes)


def is_option(line: str) -> bool:
    """True for an option that installs nothing and leads nowhere, such as ``--pre``."""
    return _OPTION.fullmatch(line) is not None


def check(lines: Iterable[str], listed: Mapping[str, Iterable[str]]) -> tuple[str, ...]:
    """Compare what was required with what an SBOM lists.

    Args:
        lines: the requirement lines.
        listed: the versions listed for each canonical name; an empty text is an unknown version.

    Returns:
        The lines that cannot be compared, without passwords, at undue length cut short.

    Raises:
        VerificationError: a requirement is not listed, or in another version; names the first few.
    """
    problems: list[str] = []
    unresolved: list[str] = []
    for count, line in enumerate(lines, 1):
        if count > MAX_LINES:
            raise VerificationError(f"the model has more than {MAX_LINES} requirements")
        wanted = parse(line)
        if wanted is None:
            if not is_option(line):
                unresolved.append(_SECRET.sub("//…@", line)[:_MAX_TEXT])
            continue
        versions = sorted(set(listed.get(wanted.name, ())))
        if not any(wanted.admits(version) for version in versions):
            problems.append(_mismatch(wanted, versions))
    if problems:
        named = "; ".join(problems[:_MAX_NAMED])
        more = f" and {len(problems) - _MAX_NAMED} more" if len(problems) > _MAX_NAMED else ""
        raise VerificationError(
            f"the SBOM is not of this model's environment: {named}{more}",
            advice="Write the SBOM again: mlflow-governance submit MODEL_URI --key KEY.pem",
        )
    return tuple(unresolved)


def _mismatch(wanted: Wanted, versions: list[str]) -> str:
    verb = "pins" if wanted.exact else "names"
    told = f"{wanted.name}{wanted.requirement.specifier}"[:_MAX_TEXT]
    if not versions:
        return f"requirements.txt {verb} {told}, the SBOM does not list it"
    found = ", ".join(version or "no version" for version in versions[:3])[:_MAX_TEXT]
    return f"requirements.txt {verb} {told}, the SBOM says {found}"
