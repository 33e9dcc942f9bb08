"""Who may attest what: the trust policy, ``trust.yaml``.

::

    version: 1
    signers:
      - name: training-pipeline
        key: {file: keys/pipeline.pub}      # or the PEM itself
        for: [signature, provenance, sbom]
        models: ["churn-*"]                 # shell patterns over the whole name, case-sensitive
        valid: {from: 2026-01-01T00:00:00Z, until: 2027-01-01T00:00:00Z}

A name may stand in several entries (other models, a newer key). One key under two names is
refused: it would let one party count as two.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import Any

from mlflow_governance.core import canonical, digest, moment
from mlflow_governance.core.digest import Digest
from mlflow_governance.errors import ConfigurationError, InvalidRequest, VerificationError
from mlflow_governance.evidence import envelope, trust_file
from mlflow_governance.evidence.envelope import Envelope
from mlflow_governance.evidence.keys import PublicKey
from mlflow_governance.evidence.predicate import Purpose

_ADVICE = "Allow it: mlflow-governance trust add NAME --key FILE.pub --for {purpose}"


@dataclass(frozen=True, slots=True)
class Signer:
    """One entry: a key, and what it is trusted for. Valid from ``since`` until before ``until``."""

    name: str
    key: PublicKey
    purposes: frozenset[Purpose]
    models: tuple[str, ...] = ("*",)
    since: datetime | None = None
    until: datetime | None = None

    def refusal(self, purpose: Purpose, model_name: str, now: datetime) -> str:
        """Why this entry does not count here, in a sentence; empty when it does."""
        if purpose not in self.purposes:
            return f"{self.name} is not trusted for {purpose}"
        if not any(fnmatchcase(model_name, pattern) for pattern in self.models):
            return f"{self.name} is not trusted for the model {model_name}"
        if self.since is not None and now < self.since:
            return f"the key of {self.name} is not valid before {moment.to_text(self.since)}"
        if self.until is not None and now >= self.until:
            return f"the key of {self.name} expired at {moment.to_text(self.until)}"
        return ""

    def to_document(self) -> dict[str, Any]:
        """The entry as ``trust.yaml`` has it, the key in PEM."""
        limits = {"from": self.since, "until": self.until}
        valid = {word: moment.to_text(at) for word, at in limits.items() if at is not None}
        return {
            "name": self.name,
            "key": self.key.pem,
            "for": [str(purpose) for purpose in sorted(self.purposes)],
            "models": list(self.models),
            **({"valid": valid} if valid else {}),
        }


@dataclass(frozen=True)
class TrustPolicy:
    """Every signer that is trusted for anything."""

    signers: tuple[Signer, ...]

    @classmethod
    def empty(cls) -> TrustPolicy:
        """Trust in nobody: nothing verifies."""
        return cls(())

    @classmethod
    def load(cls, path: Path) -> TrustPolicy:
        """Read ``trust.yaml``; key files are looked for beside it.

        Raises:
            ConfigurationError: absent or malformed.
        """
        return cls.parse(trust_file.read(path), path.parent)

    @classmethod
    def parse(cls, data: bytes, base: Path) -> TrustPolicy:
        """Read a trust policy; ``base`` is where relative key files are.

        Raises:
            ConfigurationError: malformed, a key that cannot be read, or one key under two names.
        """
        signers = tuple(_signer(entry, base) for entry in trust_file.entries(data))
        names: dict[str, str] = {}
        for signer in signers:
            if names.setdefault(signer.key.key_id, signer.name) != signer.name:
                raise ConfigurationError(
                    f"trust.yaml has one key under two names: "
                    f"{names[signer.key.key_id]} and {signer.name}",
                    advice="Give each signer a key of its own.",
                )
        return cls(signers)

    @cached_property
    def digest(self) -> Digest:
        """SHA-256 over what the policy says: key material included, order and spelling left out."""
        entries = sorted(canonical.encode(signer.to_document()) for signer in self.signers)
        return digest.of_bytes(canonical.encode([entry.decode("utf-8") for entry in entries]))

    def keys_for(self, purpose: Purpose, model_name: str, now: datetime) -> list[Signer]:
        """The signers whose word counts for this purpose and model at this moment."""
        return [s for s in self.signers if not s.refusal(purpose, model_name, now)]

    def verify(
        self, enclosed: Envelope, purpose: Purpose, model_name: str, now: datetime
    ) -> tuple[Signer, ...]:
        """The trusted signers of an envelope, one an entry; at least one.

        Raises:
            VerificationError: no signer that counts signed it; says whose signature it is, if
                that is known, and why it does not count.
        """
        allowed = self.keys_for(purpose, model_name, now)
        made = _made_by(enclosed, (signer.key for signer in allowed))
        if made:
            return tuple(signer for signer in allowed if signer.key.key_id in made)
        known = _made_by(enclosed, (signer.key for signer in self.signers))
        reasons = sorted(
            {s.refusal(purpose, model_name, now) for s in self.signers if s.key.key_id in known}
        )
        raise VerificationError(
            "; ".join(reasons) or "the signature is of no key in the trust policy",
            advice=_ADVICE.format(purpose=purpose),
        )


def add_signer(path: Path, signer: Signer) -> TrustPolicy:
    """Add an entry to ``trust.yaml`` (made when absent), atomically; comments in it stay.

    Raises:
        ConfigurationError: the file is malformed or would become so; it is left as it was.
    """

    def check(data: bytes) -> None:
        TrustPolicy.parse(data, path.parent)

    trust_file.add(path, signer.to_document(), check)
    return TrustPolicy.load(path)


def _made_by(enclosed: Envelope, keys: Iterable[PublicKey]) -> set[str]:
    try:
        return {key.key_id for key in envelope.verify(enclosed, keys)}
    except VerificationError:
        return set()


def _signer(entry: dict[str, Any], base: Path) -> Signer:
    limits = entry.get("valid", {})
    try:
        since, until = (
            moment.parse(limits[word]) if word in limits else None for word in ("from", "until")
        )
    except InvalidRequest as error:
        raise ConfigurationError(
            f"trust.yaml, signer {entry['name']}: {error.message}",
            advice="Write instants like 2027-01-01T00:00:00Z.",
        ) from error
    if since is not None and until is not None and since >= until:
        raise ConfigurationError(f"trust.yaml, signer {entry['name']}: valid for no time at all")
    try:
        key = PublicKey.from_pem(trust_file.key_material(entry["key"], base))
    except ConfigurationError as error:
        raise ConfigurationError(
            f"trust.yaml, signer {entry['name']}: {error.message}", advice=error.advice
        ) from error
    return Signer(
        entry["name"],
        key,
        frozenset(Purpose(word) for word in entry["for"]),
        tuple(entry.get("models", ["*"])),
        since,
        until,
    )
