"""What a consumer checks before it loads a byte, in this order:

1. the bytes: a private copy of every file, hashed; no symlink, no special file. What is in the
   cache is not hashed again while every file looks as it did when it was;
2. the model signature: a trusted signer signed exactly these files (else: which differ);
3. the provenance: a trusted builder attested to exactly this content;
4. the registry's word: its newest verification summary about this version and content passed,
   for a stage that may be loaded, under a policy whose word counts;
5. the revocation list: signed by the registry, in date, not older than one seen before, and
   without this content.

All that fails is told at once. A version that is loaded while the registry is away goes by what
the registry last signed, and no longer than that revocation list is valid. Who controls the
artifact store can withhold a newer summary, but not the revocation list.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from mlflow_governance.core import moment
from mlflow_governance.core.digest import Digest
from mlflow_governance.errors import (
    EvidenceMissing,
    GovernanceError,
    Unavailable,
    VerificationError,
)
from mlflow_governance.evidence.interface import Case
from mlflow_governance.evidence.provenance import ProvenanceVerifier
from mlflow_governance.evidence.signature import verify_signature
from mlflow_governance.evidence.trust import TrustPolicy
from mlflow_governance.serving import revocations
from mlflow_governance.serving.cache import ModelCache
from mlflow_governance.serving.interface import Fetcher, ModelSource
from mlflow_governance.serving.settings import Requirement, ServingSettings
from mlflow_governance.serving.snapshot import Snapshot, snapshot
from mlflow_governance.serving.uri import ModelUri
from mlflow_governance.serving.verdict import newest_verdict

Facts = Mapping[str, Any]


@dataclass(frozen=True)
class Connections:
    """The world outside. ``source`` is None when nothing but the cache may be used."""

    source: ModelSource | None
    fetcher: Fetcher
    clock: Callable[[], datetime] = moment.now

    @classmethod
    def of(cls, settings: ServingSettings) -> Connections:
        """The real world."""
        from mlflow_governance.serving.fetch import LiveFetcher
        from mlflow_governance.serving.source import MlflowSource

        return cls(None if settings.offline else MlflowSource(), LiveFetcher(settings))


@dataclass(frozen=True)
class Verified:
    """A copy that may be loaded. ``facts`` are what each step proved, as JSON values."""

    path: Path
    digest: Digest
    name: str
    version: int
    facts: Facts
    snapshot: Snapshot = field(repr=False)


def verify(uri: str, settings: ServingSettings, connections: Connections | None = None) -> Verified:
    """Bring a model into the cache and prove that it may be loaded.

    Args:
        uri: ``models:/NAME/VERSION``, ``/STAGE``, ``/latest`` or ``models:/NAME@ALIAS``.
        settings: whom to trust, what to insist on.
        connections: the world outside; by default the real one.

    Raises:
        VerificationError: some step failed; the message names each, and the file.
        InvalidRequest: the URI names no registered version.
        NotFound, Denied, Unavailable: the registry said so, or nothing.
        ConfigurationError: the trust policy or the cache is not usable.
    """
    world = connections or Connections.of(settings)
    cache = ModelCache(settings.cache_dir)
    trust = TrustPolicy.load(settings.trust)
    parsed = ModelUri.parse(uri)
    try:
        with snapshot(parsed, cache, world.source) as shot:
            proof = _Proof(shot, settings, world, cache, trust)
            facts = proof.run()
            path = shot.path if shot.incoming is None else cache.keep(shot.incoming, shot.digest)
            if world.source is not None:
                cache.save_evidence(shot.located, shot.evidence)
                cache.remember(parsed, shot.located, proof.told)
    except VerificationError as error:
        raise _named(uri, error) from error
    except OSError as error:
        raise Unavailable(f"the cache cannot be used: {error.strerror}") from error
    kept = replace(shot, path=path, incoming=None)
    return Verified(path, shot.digest, shot.ref.name, shot.ref.version, facts, kept)


def recheck(
    verified: Verified, settings: ServingSettings, connections: Connections | None = None
) -> Facts:
    """Steps 2 to 5 again, by the trust, policy and revocation list of now; the new facts.

    The bytes are not hashed again, and the evidence is what it was.

    Raises:
        VerificationError: it may be used no longer.
        ConfigurationError: the trust policy or the cache is not usable.
    """
    world = connections or Connections.of(settings)
    cache = ModelCache(settings.cache_dir)
    proof = _Proof(verified.snapshot, settings, world, cache, TrustPolicy.load(settings.trust))
    try:
        return proof.run()
    except VerificationError as error:
        raise _named(str(verified.snapshot.uri), error) from error


def _named(uri: str, error: VerificationError) -> VerificationError:
    return type(error)(f"{uri} may not be loaded: {error.message}", advice=error.advice)


class _Proof:
    """Steps 2 to 5 over one snapshot, at one instant."""

    def __init__(
        self,
        shot: Snapshot,
        settings: ServingSettings,
        world: Connections,
        cache: ModelCache,
        trust: TrustPolicy,
    ) -> None:
        self._shot, self._settings, self._world = shot, settings, world
        self._cache, self._trust = cache, trust
        self._now = world.clock()
        self.told: frozenset[Digest] | None = None
        """What the server said about its policies; None when it was not asked or away."""

    def run(self) -> Facts:
        """The facts of every step.

        Raises:
            VerificationError: naming each step that failed.
        """
        steps: dict[str, Callable[[], Facts]] = {
            name.value: step
            for name, step in self._steps().items()
            if name in self._settings.require
        }
        steps["revocations"] = self._revocations
        facts: dict[str, Facts] = {}
        problems: list[GovernanceError] = []
        lines: list[str] = []
        for name, step in steps.items():
            try:
                facts[name] = step()
            except GovernanceError as error:
                problems.append(error)
                lines.append(f"  - {name}: {error.message}")
        if not problems:
            return facts
        missing = all(isinstance(error, EvidenceMissing) for error in problems)
        kind = EvidenceMissing if missing else VerificationError
        advice = dict.fromkeys(error.advice for error in problems if error.advice)
        raise kind("\n".join([str(self._shot.digest), *lines]), advice="\n".join(advice))

    def _steps(self) -> dict[Requirement, Callable[[], Facts]]:
        return {
            Requirement.SIGNATURE: lambda: verify_signature(self._case()),
            Requirement.PROVENANCE: lambda: ProvenanceVerifier().verify(self._case()),
            Requirement.SUMMARY: self._summary,
        }

    def _case(self, *, decisions: bool = False) -> Case:
        evidence = self._shot.evidence
        items = evidence.decisions if decisions else evidence.items
        return Case(self._shot.manifest, self._shot.ref.name, items, self._trust, self._now)

    def _summary(self) -> Facts:
        ref = self._shot.ref
        verdict = newest_verdict(self._case(decisions=True), ref)
        if verdict.stage not in self._settings.stages:
            raise VerificationError(
                f"{ref} is at {verdict.stage}, which is not loaded here",
                advice=f"Promote it: transition_model_version_stage({ref.name!r}, {ref.version}, "
                f"{'Approved'!r})",
            )
        if verdict.policy_digest not in self._policies():
            raise VerificationError(
                f"{ref} was judged under the policy {verdict.policy_digest}, which does not count",
                advice=f"Have it judged under the policy of now: mlflow-governance judge {ref}",
            )
        return {
            "stage": verdict.stage.value,
            "gate": verdict.gate.value,
            "policy_digest": verdict.policy_digest,
            "at": moment.to_text(verdict.at),
        }

    def _policies(self) -> frozenset[Digest]:
        if self._settings.accepted_policy_digests:
            return self._settings.accepted_policy_digests
        try:
            self.told = self._world.fetcher.policy_digests()
        except Unavailable as error:
            known = self._cache.policy_digests()
            if not known:
                raise EvidenceMissing(
                    f"which policy counts is not known: {error.message}",
                    advice="Name it in MLFLOW_GOVERNANCE_POLICY_DIGESTS.",
                ) from error
            return known
        return self.told

    def _revocations(self) -> Facts:
        fetch = self._world.fetcher.revocations
        found = revocations.current_list(fetch, self._cache.revocations, self._trust, self._now)
        found.refuse(self._shot.digest)
        return {"epoch": found.epoch, "expires_at": moment.to_text(found.expires_at)}
