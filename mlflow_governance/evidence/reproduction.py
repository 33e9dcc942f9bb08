"""Whether somebody else got the same model from the same sources.

The predicate is ``urn:mlflow-governance:reproduction:v1``. Whether what was rebuilt is the same is
worked out here; a statement that says so itself is not listened to.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mlflow_governance.core import moment
from mlflow_governance.core.digest import Digest
from mlflow_governance.evidence import instant
from mlflow_governance.evidence.attestation import find_statements
from mlflow_governance.evidence.instant import Dated
from mlflow_governance.evidence.interface import Case, Kind
from mlflow_governance.evidence.predicate import REPRODUCTION, Purpose


@dataclass(frozen=True, slots=True)
class _Word:
    """What one signer says one builder got."""

    builder: str
    signer: str
    at: datetime
    same_bytes: bool
    metric: str = ""
    difference: float = 0
    limit: float = 0

    @property
    def matches(self) -> bool:
        """The same bytes, or as near as the one who rebuilt it calls near enough."""
        return self.same_bytes or (bool(self.metric) and self.difference <= self.limit)

    @property
    def gravity(self) -> tuple[bool, bool, float, float, str]:
        """Of two words the greater is the worse."""
        return not self.matches, not self.same_bytes, self.difference, self.limit, self.metric

    def to_fact(self) -> dict[str, Any]:
        """The fields that are the same in a builder's fact and in the deciding one."""
        near = {"metric": self.metric, "difference": self.difference, "limit": self.limit}
        tolerance = near if self.metric and not self.same_bytes else None
        return {"matches": self.matches, "builder_id": self.builder, "tolerance": tolerance}


class ReproductionVerifier:
    """Proves who rebuilt the model and whether it came out the same.

    Facts: ``builders`` (``[{builder_id, matches, tolerance, at, signers}]``, sorted), and of the
    one that decides ``matches``, ``builder_id``, ``tolerance``, ``at``, ``signers``. ``tolerance``
    is null where the bytes are the same or nothing was said of how near they are, else
    ``{metric, difference, limit}``, as the builder declared it: a policy that accepts any should
    hold it to its own. That the builder is another than the one of the provenance is for policy.

    Of each signer the last word on each builder counts. While one of them is that it did not come
    out the same, that decides (the newest of them): it is taken back only by who said it. Else
    the same bytes decide before what is near, and of equals the newest.
    """

    kind = Kind.REPRODUCTION

    def verify(self, case: Case) -> Mapping[str, Any]:
        """The facts of all who rebuilt it.

        Raises:
            EvidenceMissing: nobody did.
            VerificationError: no statement counts, one is from the future, or all match and fewer
                signers say so than a threshold asks for.
        """
        found = instant.dated(find_statements(case, REPRODUCTION), case.now)
        last = _last(found, case.manifest.digest)
        by_builder: dict[str, list[_Word]] = {}
        for word in last:
            by_builder.setdefault(word.builder, []).append(word)
        builders = [_builder(by_builder[name]) for name in sorted(by_builder)]
        if all(word.matches for word in last):
            names = {word.signer for word in last}
            case.trust.require(Purpose.REPRODUCTION, case.model_name, names)
        deciding = max(builders, key=_decides)
        return {**deciding, "builders": builders}


def _last(found: Iterable[Dated], subject: Digest) -> list[_Word]:
    """The last word of each signer on each builder."""
    last: dict[tuple[str, str], _Word] = {}
    for at, entry in found:
        body = entry.statement.predicate
        for signer in entry.signers:
            word = _Word(
                body["builder"]["id"], signer, at, body["rebuiltDigest"] == subject,
                **{key: body["tolerance"][key] for key in ("metric", "difference", "limit")}
                if "tolerance" in body else {},
            )  # fmt: skip
            key = (word.builder, signer)
            last[key] = max(last.get(key, word), word, key=lambda one: (one.at, one.gravity))
    return list(last.values())


def _builder(words: Iterable[_Word]) -> dict[str, Any]:
    """What is said of one builder, by the worst of the signers' last words."""
    known = list(words)
    worst = max(known, key=lambda one: (one.gravity, one.at))
    agreeing = {one.signer for one in known if one.matches is worst.matches}
    return {**worst.to_fact(), "at": moment.to_text(worst.at), "signers": sorted(agreeing)}


def _decides(builder: dict[str, Any]) -> tuple[bool, bool, str, str]:
    matches, exact = builder["matches"], builder["tolerance"] is None
    return not matches, matches and exact, builder["at"], builder["builder_id"]
