"""Erasing a person out of a registry of a test."""

from __future__ import annotations

from mlflow_governance.core.actor import Actor
from mlflow_governance.core.person import Person
from mlflow_governance.workflows.privacy import Erasure, Office, erase
from tests.unit.workflows.builders import InProcessRegistry


def erased(registry: InProcessRegistry, name: str) -> str:
    """Erase somebody; returns the pseudonym that stands in their place."""
    office = Office(registry.ports.store, registry.ports.signer, registry.ports.clock)  # type: ignore[arg-type]
    asked = Erasure(Person.known_as(name), Actor("os:ops", authenticated=True), "request 17")
    return erase(office, asked).pseudonym
