"""What a receiver is set up with."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from mlflow_governance.errors import ConfigurationError

MAX_BODY_BYTES = 1024 * 1024
"""No body reaches this size; the registry's own events stay under 20 KB."""


@dataclass(frozen=True)
class Registry:
    """Where judgements are asked for, and as whom."""

    url: str
    username: str = ""
    password: str = field(default="", repr=False)
    ca_bundle: str = ""
    """A PEM file of authorities to trust instead of the public ones."""
    timeout_seconds: float = 8.0
    """One attempt; MLflow waits 30 s for the answer to its webhook by default."""

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigurationError(
                f"{self.url[:120]!r} is not the URL of a registry",
                advice="Give it as --registry http://HOST:PORT",
            )


@dataclass(frozen=True)
class Settings:
    """Everything a receiver needs.

    Raises:
        ConfigurationError: nothing would be verified, or the state lies inside the cache.
    """

    cache: Path
    """The serving cache: one directory a model, named by the hexadecimal digest."""
    state: Path
    """SQLite file that remembers the webhooks acted upon."""
    keys: tuple[bytes, ...] = field(default=(), repr=False)
    """Keys of the registry's events (``/events``); empty refuses them all."""
    mlflow_keys: tuple[bytes, ...] = field(default=(), repr=False)
    """Keys of MLflow's own webhooks (``/mlflow``); empty refuses them all."""
    registry: Registry | None = None
    """None refuses ``/mlflow``."""

    def __post_init__(self) -> None:
        if not self.keys and not self.mlflow_keys:
            raise ConfigurationError(
                "a receiver without a secret would refuse everything",
                advice="Set MLFLOW_GOVERNANCE_WEBHOOK_SECRET or pass --secret-file.",
            )
        if any(not key for key in self.mlflow_keys):
            raise ConfigurationError("the secret of MLflow's webhooks is empty")
        if self.mlflow_keys and self.registry is None:
            raise ConfigurationError(
                "MLflow's webhooks are answered by asking the registry, and none is named",
                advice="Add --registry http://HOST:PORT",
            )
        if self.state.resolve().is_relative_to(self.cache.resolve()):
            raise ConfigurationError("the state file must not lie inside the serving cache")
