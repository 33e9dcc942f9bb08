"""Addresses in settings: encrypted, without credentials, checked when they are read."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from mlflow_governance.errors import ConfigurationError


def require_encrypted(setting: str, url: str) -> None:
    """Refuse what is no https:// address, but for plain HTTP to this very machine.

    Args:
        setting: where it stands in config.yaml, for the message.
        url: the address.

    Raises:
        ConfigurationError: it is not usable.
    """
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or "@" in parts.netloc:
        raise ConfigurationError(
            f"{setting}: url must be an https:// URL without credentials",
            advice="Name the variable that holds the token: token_variable: NAME",
        )
    if parts.scheme == "http" and not _is_this_machine(parts.hostname or ""):
        raise ConfigurationError(
            f"{setting}: what is sent would travel unencrypted",
            advice="Use https, or a receiver on this machine.",
        )


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
