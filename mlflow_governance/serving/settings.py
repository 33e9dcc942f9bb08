"""What a consumer of models decides, and where it is read from."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from mlflow_governance.core import digest
from mlflow_governance.core.digest import Digest
from mlflow_governance.core.stage import Stage
from mlflow_governance.errors import ConfigurationError, InvalidRequest

REVOCATIONS_ROUTE = "/api/2.0/mlflow-governance/revocations"
POLICY_ROUTE = "/api/2.0/mlflow-governance/policy"


class Requirement(StrEnum):
    """Evidence a consumer may insist on. The revocation list is never optional."""

    SIGNATURE = "signature"
    PROVENANCE = "provenance"
    SUMMARY = "verification-summary"


@dataclass(frozen=True)
class ServingSettings:
    """Settings of the consuming side.

    Args:
        trust: ``trust.yaml`` with the producers' signers and one trusted for ``registry``.
        cache_dir: where verified copies are kept; mode 0700, this user's own.
        server: base URL of the tracking server; empty when it is not reached over HTTP.
        revocations: URL or file of the revocation list; empty asks the server.
        accepted_policy_digests: the policy bundles whose word counts. Empty accepts what the
            server says is in force or, when it does not answer, what it said at the last
            verification that succeeded.
        offline: reach for no server; only the cache, and a revocation list in a file, are used.
        require: the evidence that must verify.
        stages: the stages a version may be loaded at.
    """

    trust: Path
    cache_dir: Path
    server: str = ""
    revocations: str = ""
    accepted_policy_digests: frozenset[Digest] = frozenset()
    offline: bool = False
    require: frozenset[Requirement] = frozenset(Requirement)
    stages: frozenset[Stage] = frozenset({Stage.STAGING, Stage.APPROVED, Stage.DEPRECATED})

    @classmethod
    def from_env(cls, environment: Mapping[str, str] | None = None) -> ServingSettings:
        """Read the environment (by default the process's).

        ``MLFLOW_GOVERNANCE_TRUST`` (path, required), ``MLFLOW_GOVERNANCE_CACHE`` (path),
        ``MLFLOW_GOVERNANCE_REVOCATIONS`` (URL or path), ``MLFLOW_GOVERNANCE_POLICY_DIGESTS``
        (separated by commas), ``MLFLOW_GOVERNANCE_REQUIRE`` (:class:`Requirement`, separated by
        commas; default all), ``MLFLOW_GOVERNANCE_OFFLINE`` (true or false), and MLflow's own
        ``MLFLOW_REGISTRY_URI`` or ``MLFLOW_TRACKING_URI``.

        Raises:
            ConfigurationError: a variable is missing or malformed.
        """
        env = os.environ if environment is None else environment
        trust = env.get("MLFLOW_GOVERNANCE_TRUST", "")
        if not trust:
            raise ConfigurationError(
                "nobody said whom to trust",
                advice="Set MLFLOW_GOVERNANCE_TRUST to a trust.yaml that has the registry's key.",
            )
        cache = env.get("MLFLOW_GOVERNANCE_CACHE")
        return cls(
            trust=Path(trust).expanduser(),
            cache_dir=Path(cache).expanduser() if cache else _default_cache(env),
            server=_server(env),
            revocations=env.get("MLFLOW_GOVERNANCE_REVOCATIONS", ""),
            accepted_policy_digests=_digests(env.get("MLFLOW_GOVERNANCE_POLICY_DIGESTS", "")),
            offline=_flag("MLFLOW_GOVERNANCE_OFFLINE", env),
            require=_requirements(env.get("MLFLOW_GOVERNANCE_REQUIRE", "")),
        )

    @property
    def revocations_url(self) -> str:
        """Where the list is fetched from; empty when it is a file or nowhere."""
        if self.revocations:
            return self.revocations if is_url(self.revocations) else ""
        return self.server and self.server.rstrip("/") + REVOCATIONS_ROUTE

    @property
    def revocations_file(self) -> Path | None:
        """The file the list is read from, if it is one."""
        if not self.revocations or is_url(self.revocations):
            return None
        return Path(self.revocations.removeprefix("file://")).expanduser()

    @property
    def policy_url(self) -> str:
        """Where the policy in force is asked for; empty when there is no server."""
        return self.server and self.server.rstrip("/") + POLICY_ROUTE


def is_url(text: str) -> bool:
    """True for what is fetched over HTTP."""
    return text.startswith(("http://", "https://"))


def _default_cache(env: Mapping[str, str]) -> Path:
    base = env.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "mlflow-governance" / "models"


def _server(env: Mapping[str, str]) -> str:
    named = (env.get("MLFLOW_REGISTRY_URI", ""), env.get("MLFLOW_TRACKING_URI", ""))
    return next((uri for uri in named if is_url(uri)), "")


def _digests(text: str) -> frozenset[Digest]:
    try:
        return frozenset(digest.parse(word.strip()) for word in text.split(",") if word.strip())
    except InvalidRequest as error:
        raise ConfigurationError(
            f"MLFLOW_GOVERNANCE_POLICY_DIGESTS: {error.message}",
            advice="GET /api/2.0/mlflow-governance/policy names the one in force.",
        ) from error


def _requirements(text: str) -> frozenset[Requirement]:
    try:
        words = [word.strip() for word in text.split(",") if word.strip()]
        return frozenset(map(Requirement, words)) or frozenset(Requirement)
    except ValueError as error:
        raise ConfigurationError(
            f"MLFLOW_GOVERNANCE_REQUIRE: {error}",
            advice=f"Write some of {', '.join(Requirement)}; the registry's word alone is "
            f"{Requirement.SUMMARY}.",
        ) from error


def _flag(name: str, env: Mapping[str, str]) -> bool:
    value = env.get(name, "").strip().lower()
    if value in ("true", "1", "yes", "on"):
        return True
    if value in ("", "false", "0", "no", "off"):
        return False
    raise ConfigurationError(f"{name} is {value[:40]!r}", advice="Write true or false.")
