"""The key with which the registry signs decisions, releases and revocation lists."""

from __future__ import annotations

from pathlib import Path

from mlflow_governance.config import Settings
from mlflow_governance.custody import apart, files
from mlflow_governance.custody.device import open_place
from mlflow_governance.errors import ConfigurationError
from mlflow_governance.evidence.keys import PrivateKey, generate_key_pair


def prepare(settings: Settings) -> list[str]:
    """Make the registry's key where there never was one; returns what was made.

    Raises:
        ConfigurationError: it cannot be made, or read safely.
    """
    place, public, created = settings.registry_key, settings.registry_public, []
    if isinstance(place, Path) and not place.exists() and not public.exists():
        generate_key_pair(place, algorithm="ed25519")
        created.append(f"{place}: signs decisions, releases and revocation lists")
    if not public.exists():
        key = registry_key(settings).public
        apart.refuse_ledger_key(settings, key)
        files.write(public, key.pem.encode())
    return created


def registry_key(settings: Settings) -> PrivateKey:
    """The key the registry signs with.

    Raises:
        ConfigurationError: absent, unsafe, or another one than its public half says.
        Unavailable: the service that keeps the key does not answer.
    """
    if isinstance(settings.registry_key, Path):
        files.require_private(settings.registry_key)
    key = open_place(settings.registry_key)
    public = settings.registry_public
    if public.exists() and apart.public_key(public) != key.public:
        raise ConfigurationError(
            f"{public} is not the public half of {settings.registry_key}",
            advice="Restore both from the same backup of the home folder.",
        )
    return key
