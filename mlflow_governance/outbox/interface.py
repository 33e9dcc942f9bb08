"""Where events go: the values the outbox is set up with."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from mlflow_governance.core.event import Act
from mlflow_governance.errors import ConfigurationError
from mlflow_governance.outbox import signing

MAX_TIMEOUT_SECONDS = 60.0
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,63}")


@dataclass(frozen=True)
class Target:
    """One receiver of events, as the operator configured it.

    Raises:
        ConfigurationError: the name, URL, secret, acts or timeout cannot be used.
    """

    name: str
    """Names the target in the queue and in logs: renaming it starts a new delivery record."""
    url: str
    """``https://…`` or ``http://…`` without user name or password."""
    secret: str = field(repr=False)
    """``whsec_<base64>``; while it is being rotated, the new and the old one after a space."""
    acts: tuple[str, ...] = ()
    """The acts it wants, e.g. ``("version.revoked",)``; empty means all."""
    timeout_seconds: float = 10.0
    """For connecting, and between two packets of the answer."""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ConfigurationError(f"{self.name[:80]!r} cannot name a webhook target")
        _check_url(self.name, self.url)
        signing.keys_of(self.secret)
        unknown = sorted(set(self.acts) - {act.value for act in Act})
        if unknown:
            raise ConfigurationError(
                f"webhook target {self.name} wants unknown acts: {', '.join(unknown)}",
                advice=f"The acts are: {', '.join(act.value for act in Act)}.",
            )
        if not 0 < self.timeout_seconds <= MAX_TIMEOUT_SECONDS:
            raise ConfigurationError(
                f"webhook target {self.name} has a timeout of {self.timeout_seconds} s; "
                f"up to {MAX_TIMEOUT_SECONDS:.0f} s are allowed"
            )


def _check_url(name: str, url: str) -> None:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    # A password in a URL ends up in logs and error messages; the signature is the credential.
    if not usable or "@" in parts.netloc:
        raise ConfigurationError(
            f"webhook target {name} needs an http:// or https:// URL without credentials"
        )
