"""Who may attest what: the trust policy, ``trust.yaml``.

::

    version: 1
    signers:
      - name: training-pipeline
        key: {file: keys/pipeline.pub}      # or the PEM itself
        for: [signature, provenance, sbom]
        models: ["churn-*"]                 # shell patterns over the whole name, case-sensitive
        valid: {from: 2026-01-01T00:00:00Z, until: 2027-01-01T00:00:00Z}
      - name: release-workflow              # keyless, by Sigstore
        keyless:
          issuer: https://token.actions.githubusercontent.com
          identity: https://github.com/acme/models/.github/workflows/train.yml@refs/heads/main
        for: [signature, provenance]
      - name: lab                           # certificates of an authority of one's own
        certificate: {roots: {file: ca.pem}, identity: lab@acme.example}
        for: [signature]
        withdrawn: {at: 2026-11-01T00:00:00Z, reason: the laptop was stolen}
    thresholds:
      - {for: [test-result], models: ["churn-*"], of: [ci, lab, audit], least: 2}
    timestamping:
      - {name: tsa, chain: {file: tsa.pem}}

A name may stand in several entries (other models, a newer key). One authority under two names is
refused: it would let one party count as two. What an authority signed before it was withdrawn or
expired goes on counting where a time stamp of a trusted authority proves when that was.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import Any

from mlflow_governance.core import canonical, digest, moment
from mlflow_governance.core.digest import Digest
from mlflow_governance.errors import ConfigurationError, InvalidRequest, VerificationError
from mlflow_governance.evidence import authority, envelope, trust_file
from mlflow_governance.evidence.authority import Authority, KeyHolder, When
from mlflow_governance.evidence.envelope import Signed
from mlflow_governance.evidence.predicate import Purpose
from mlflow_governance.evidence.stamping import StampAuthority

_ADVICE = "Allow it: mlflow-governance trust add NAME --key FILE.pub --for {purpose}"
_MAX_REASONS = 8


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """From when on a signer's word no longer counts, and why."""

    at: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class Signer:
    """One entry: an authority, and what it is trusted for.

    Valid from ``since`` until before ``until``.
    """

    name: str
    by: Authority
    purposes: frozenset[Purpose]
    models: tuple[str, ...] = ("*",)
    since: datetime | None = None
    until: datetime | None = None
    withdrawn: Withdrawal | None = None

    def unfit(self, purpose: Purpose, model_name: str) -> str:
        """Why this entry says nothing about that, in a sentence; empty when it does."""
        if purpose not in self.purposes:
            return f"{self.name} is not trusted for {purpose}"
        if not any(fnmatchcase(model_name, pattern) for pattern in self.models):
            return f"{self.name} is not trusted for the model {model_name}"
        return ""

    def untimely(self, when: When) -> str:
        """Why what it signed then does not count, in a sentence; empty when it does."""
        if self.since is not None and when.earliest < self.since:
            return f"the key of {self.name} is not valid before {moment.to_text(self.since)}"
        if self.until is not None and when.latest >= self.until:
            return f"the key of {self.name} expired at {moment.to_text(self.until)}"
        gone = self.withdrawn
        # Without proof of its time a signature may be younger than the theft of the key.
        if gone is not None and not (when.proved and when.latest < gone.at):
            return (
                f"the key of {self.name} was withdrawn as of {moment.to_text(gone.at)}"
                f" ({gone.reason}), and no trusted time stamp says that this was signed before"
            )
        return ""

    def to_document(self) -> dict[str, Any]:
        """The entry as ``trust.yaml`` has it, all material in it."""
        limits = {"from": self.since, "until": self.until}
        valid = {word: moment.to_text(at) for word, at in limits.items() if at is not None}
        gone = self.withdrawn
        return {
            "name": self.name,
            **self.by.to_document(),
            "for": [str(purpose) for purpose in sorted(self.purposes)],
            "models": list(self.models),
            **({"valid": valid} if valid else {}),
            **(
                {"withdrawn": {"at": moment.to_text(gone.at), "reason": gone.reason}}
                if gone
                else {}
            ),
        }


@dataclass(frozen=True, slots=True)
class Threshold:
    """How many different signers must agree. ``of`` empty: of all that may sign it."""

    purposes: frozenset[Purpose]
    least: int
    of: frozenset[str] = frozenset()
    models: tuple[str, ...] = ("*",)

    def concerns(self, purpose: Purpose, model_name: str) -> bool:
        """True when it is about this purpose and model."""
        named = any(fnmatchcase(model_name, pattern) for pattern in self.models)
        return named and purpose in self.purposes

    def to_document(self) -> dict[str, Any]:
        """The entry as ``trust.yaml`` has it."""
        return {
            "for": [str(purpose) for purpose in sorted(self.purposes)],
            "models": list(self.models),
            **({"of": sorted(self.of)} if self.of else {}),
            "least": self.least,
        }


@dataclass(frozen=True)
class TrustPolicy:
    """Every signer that is trusted for anything, how many it takes, and who proves the time."""

    signers: tuple[Signer, ...]
    thresholds: tuple[Threshold, ...] = ()
    timestamping: tuple[StampAuthority, ...] = ()

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
            ConfigurationError: malformed, a key that cannot be read, one authority under two
                names or withdrawn and trusted at once, or a threshold nobody can meet.
        """
        document = trust_file.document(data)
        signers = tuple(_signer(entry, base) for entry in document["signers"])
        names: dict[str, str] = {}
        for signer in signers:
            if names.setdefault(signer.by.id, signer.name) != signer.name:
                raise ConfigurationError(
                    f"trust.yaml has one key under two names: "
                    f"{names[signer.by.id]} and {signer.name}",
                    advice="Give each signer a key of its own.",
                )
        gone = {signer.by.id for signer in signers if signer.withdrawn}
        for signer in signers:
            if signer.by.id in gone and signer.withdrawn is None:
                raise ConfigurationError(
                    f"trust.yaml withdraws {signer.name} in one entry and trusts the same key in "
                    "another",
                    advice="What was withdrawn stays withdrawn; give the signer a new key.",
                )
        thresholds = tuple(map(_threshold, document.get("thresholds", [])))
        _refuse_unreachable(thresholds, {signer.name for signer in signers})
        stamping = tuple(_stamp_authority(e, base) for e in document.get("timestamping", []))
        return cls(signers, thresholds, stamping)

    def to_document(self) -> dict[str, Any]:
        """The policy as ``trust.yaml`` has it, all material in it: it needs no other file."""
        return {
            "version": 1,
            "signers": [signer.to_document() for signer in self.signers],
            **_unless_empty("thresholds", self.thresholds),
            **_unless_empty("timestamping", self.timestamping),
        }

    @cached_property
    def digest(self) -> Digest:
        """SHA-256 over what the policy says: key material included, order and spelling left out."""
        said = self.to_document()
        entries = [said["signers"], said.get("thresholds", []), said.get("timestamping", [])]
        ordered = [sorted(canonical.encode(entry).decode() for entry in part) for part in entries]
        return digest.of_bytes(canonical.encode(ordered))

    def able(self, purpose: Purpose, model_name: str) -> list[Signer]:
        """The signers whose word counts for this purpose and model, if it is in time."""
        return [s for s in self.signers if not s.unfit(purpose, model_name)]

    def keys_for(self, purpose: Purpose, model_name: str, now: datetime) -> list[Signer]:
        """The signers whose word counts for this purpose and model when given at this moment."""
        given = When(now, now)
        return [s for s in self.able(purpose, model_name) if not s.untimely(given)]

    def verify(
        self, signed: Signed, purpose: Purpose, model_name: str, now: datetime
    ) -> tuple[Signer, ...]:
        """The trusted signers of something, one an entry; at least one.

        Raises:
            VerificationError: see :meth:`counting`.
        """
        return tuple(signer for signer, _ in self.counting(signed, purpose, model_name, now))

    def counting(
        self, signed: Signed, purpose: Purpose, model_name: str, now: datetime
    ) -> tuple[tuple[Signer, When], ...]:
        """The trusted signers of something, one an entry, and when each signed; at least one.

        Whether they are as many as a threshold asks for is said by :meth:`require`, since they
        may have signed one by one.

        Raises:
            VerificationError: no signer that counts signed it; says whose signature it is, if
                that is known, and why it does not count.
        """
        when = self._when(signed, now)
        able = self.able(purpose, model_name)
        made, problems = _made_by(signed, able, when)
        counting = tuple((signer, at) for signer, at in made if not signer.untimely(at))
        if counting:
            return counting
        others = [signer for signer in self.signers if signer not in able]
        reasons = {signer.untimely(at) for signer, at in made}
        reasons |= {
            signer.unfit(purpose, model_name) for signer, _ in _made_by(signed, others, when)[0]
        }
        told = sorted(reasons) or sorted(problems)[:_MAX_REASONS]
        raise VerificationError(
            "; ".join(told) or "the signature is of no key in the trust policy",
            advice=_ADVICE.format(purpose=purpose),
        )

    def require(self, purpose: Purpose, model_name: str, names: Iterable[str]) -> None:
        """Hold the names of those who signed to the thresholds for this purpose and model.

        Raises:
            VerificationError: there are too few of them; says who is missing.
        """
        signed = set(names)
        for threshold in self.thresholds:
            if not threshold.concerns(purpose, model_name):
                continue
            counted = signed & threshold.of if threshold.of else signed
            if len(counted) < threshold.least:
                who = f" of {', '.join(sorted(threshold.of))}" if threshold.of else ""
                raise VerificationError(
                    f"{threshold.least}{who} must sign a {purpose} of {model_name}; "
                    f"{len(counted)} did: {', '.join(sorted(counted)) or 'nobody'}",
                    advice="Have the others attach theirs: mlflow-governance "
                    f"{'sign' if purpose is Purpose.SIGNATURE else 'attest'} NAME/VERSION",
                )

    def _when(self, signed: Signed, now: datetime) -> When:
        # What came with several signatures would not say which of them it is about.
        if signed.material.stamps and self.timestamping and len(signed.signatures) == 1:
            from mlflow_governance.evidence import timestamp

            trusted = [entry.authority for entry in self.timestamping]
            at = timestamp.stamped_at(signed.material.stamps, signed.signatures[0].value, trusted)
            if at is not None and at <= now:
                return When(at, at, proved=True)
        return When(now, now)


def add_signer(path: Path, signer: Signer) -> TrustPolicy:
    """Add an entry to ``trust.yaml`` (made when absent), atomically; comments in it stay.

    Raises:
        ConfigurationError: the file is malformed or would become so; it is left as it was.
    """

    def check(data: bytes) -> None:
        TrustPolicy.parse(data, path.parent)

    trust_file.add(path, signer.to_document(), check)
    return TrustPolicy.load(path)


def withdraw_signer(path: Path, name: str, withdrawal: Withdrawal) -> TrustPolicy:
    """Mark every entry of a name as withdrawn, atomically; a withdrawal never moves to later.

    Raises:
        ConfigurationError: nobody of that name, or the file is malformed; it is left as it was.
    """

    def change(entry: dict[str, Any]) -> dict[str, Any]:
        before = entry.get("withdrawn")
        if before is not None and moment.parse(before["at"]) <= withdrawal.at:
            return entry
        said = {"at": moment.to_text(withdrawal.at), "reason": withdrawal.reason}
        return {**entry, "withdrawn": said}

    def check(data: bytes) -> None:
        TrustPolicy.parse(data, path.parent)

    trust_file.change(path, name, change, check)
    return TrustPolicy.load(path)


def _made_by(
    signed: Signed, signers: Sequence[Signer], when: When
) -> tuple[list[tuple[Signer, When]], set[str]]:
    """Those who made a signature, with its time; and what is wrong with the others' claim."""
    if not signed.material.chain and not signed.material.bundle:
        keys = _keys_that_signed(signed, signers)
        return [(signer, when) for signer in signers if signer.by.id in keys], set()
    made: list[tuple[Signer, When]] = []
    problems: set[str] = set()
    for signer in signers:
        if isinstance(signer.by, KeyHolder):
            continue  # it says itself that a certificate vouches for it
        try:
            made.append((signer, signer.by.prove(signed, when)))
        except (VerificationError, ConfigurationError) as error:
            problems.add(f"{signer.name}: {error.message}")
    return made, problems


def _keys_that_signed(signed: Signed, signers: Iterable[Signer]) -> set[str]:
    # All keys at once: of an envelope's several keys each signature says which to try first.
    keys = [signer.by.key for signer in signers if isinstance(signer.by, KeyHolder)]
    try:
        return {key.key_id for key in envelope.verify(signed, keys)}
    except VerificationError:
        return set()


def _signer(entry: dict[str, Any], base: Path) -> Signer:
    with _naming(f"signer {entry['name']}"):
        limits = entry.get("valid", {})
        since, until = (
            moment.parse(limits[word]) if word in limits else None for word in ("from", "until")
        )
        if since is not None and until is not None and since >= until:
            raise ConfigurationError("valid for no time at all")
        gone = entry.get("withdrawn")
        by, purposes = authority.read(entry, base), frozenset(map(Purpose, entry["for"]))
        _refuse_unable(by, purposes)
        return Signer(
            entry["name"],
            by,
            purposes,
            tuple(entry.get("models", ["*"])),
            since,
            until,
            Withdrawal(moment.parse(gone["at"]), gone["reason"]) if gone else None,
        )


def _refuse_unable(by: Authority, purposes: frozenset[Purpose]) -> None:
    if Purpose.POLICY in purposes and not isinstance(by, KeyHolder):
        raise ConfigurationError(
            "OPA's format of a signed bundle knows keys alone, no certificates or identities",
            advice="Trust a key: mlflow-governance trust add NAME --key FILE.pub --for policy",
        )
    rsa = isinstance(by, KeyHolder) and by.key.algorithm == "rsa"
    if rsa and purposes != {Purpose.POLICY}:
        raise ConfigurationError(
            "an RSA key is trusted for policy and nothing else",
            advice="For evidence make one of another kind: mlflow-governance keys new PATH",
        )


def _threshold(entry: dict[str, Any]) -> Threshold:
    return Threshold(
        frozenset(Purpose(word) for word in entry["for"]),
        entry["least"],
        frozenset(entry.get("of", [])),
        tuple(entry.get("models", ["*"])),
    )


def _refuse_unreachable(thresholds: Iterable[Threshold], names: set[str]) -> None:
    for threshold in thresholds:
        if Purpose.POLICY in threshold.purposes:
            raise ConfigurationError(
                "trust.yaml asks for several signers of a policy bundle, which bears one signature",
                advice="Remove policy from that threshold.",
            )
        unknown = sorted(threshold.of - names)
        if unknown:
            raise ConfigurationError(f"trust.yaml has a threshold of unknown signers: {unknown[0]}")
        if threshold.of and len(threshold.of) < threshold.least:
            raise ConfigurationError(
                f"trust.yaml asks for {threshold.least} of {len(threshold.of)} signers"
            )


def _stamp_authority(entry: dict[str, Any], base: Path) -> StampAuthority:
    with _naming(f"time stamping authority {entry['name']}"):
        return StampAuthority.read(entry["name"], trust_file.material(entry["chain"], base))


def _unless_empty(name: str, entries: Sequence[Threshold | StampAuthority]) -> dict[str, Any]:
    return {name: [entry.to_document() for entry in entries]} if entries else {}


@contextmanager
def _naming(what: str) -> Iterator[None]:
    try:
        yield
    except InvalidRequest as error:
        raise ConfigurationError(
            f"trust.yaml, {what}: {error.message}",
            advice="Write instants like 2027-01-01T00:00:00Z.",
        ) from error
    except ConfigurationError as error:
        raise ConfigurationError(
            f"trust.yaml, {what}: {error.message}", advice=error.advice
        ) from error
