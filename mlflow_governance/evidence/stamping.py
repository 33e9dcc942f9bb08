"""An authority for time stamps as the trust policy names it."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from mlflow_governance.errors import ConfigurationError, VerificationError

if TYPE_CHECKING:
    from mlflow_governance.evidence.timestamp import Authority


@dataclass(frozen=True)
class StampAuthority:
    """Its name, and the PEM chain of its certificate. Read when a time stamp is met."""

    name: str
    chain: str = field(repr=False)

    @classmethod
    def read(cls, name: str, pem: bytes) -> StampAuthority:
        """The authority with this chain.

        Raises:
            ConfigurationError: the chain cannot be read.
        """
        from mlflow_governance.evidence import timestamp

        try:
            timestamp.load_authority(name, pem)
            return cls(name, pem.decode("ascii"))
        except (VerificationError, UnicodeDecodeError) as error:
            raise ConfigurationError(
                f"the chain cannot be read: {error}",
                advice="Give the PEM file of the authority's certificates.",
            ) from error

    @cached_property
    def authority(self) -> Authority:
        """The authority, ready to verify."""
        from mlflow_governance.evidence import timestamp

        return timestamp.load_authority(self.name, self.chain.encode("ascii"))

    def to_document(self) -> dict[str, Any]:
        """The entry as ``trust.yaml`` has it."""
        return {"name": self.name, "chain": self.chain}
