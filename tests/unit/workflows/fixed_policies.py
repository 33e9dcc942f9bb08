"""A policy that stays in force, for tests that are about something else."""

from __future__ import annotations

from dataclasses import dataclass

from mlflow_governance.core.digest import Digest
from mlflow_governance.policy.bundle import Bundle
from mlflow_governance.policy.embedded import EmbeddedEngine
from mlflow_governance.policy.interface import PolicyInForce
from mlflow_governance.workflows.policy_ports import PolicySource, SourceReport


@dataclass(frozen=True)
class FixedPolicies:
    """``workflows.ports.Policies`` of one bundle that stays in force."""

    policy: PolicyInForce
    source: PolicySource | None = None

    def current(self) -> PolicyInForce:
        """What is in force."""
        return self.policy

    def at(self, digest: Digest | None) -> PolicyInForce:
        """What is in force; what is judged by it is not written where the database says else."""
        return self.policy

    def refresh(self) -> PolicyInForce:
        """What is in force."""
        return self.policy

    def look(self) -> None:
        """There is nowhere to look."""

    def prepare(self, bundle: Bundle) -> PolicyInForce:
        """Compile a bundle for the embedded engine."""
        return PolicyInForce(EmbeddedEngine(bundle), bundle)

    def serves(self, policy: PolicyInForce) -> bool:
        """Always: there is no policy server."""
        return True

    def report(self) -> SourceReport:
        """There is no source."""
        return SourceReport("")
