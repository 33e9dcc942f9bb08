"""The acts the registry records and tells: one name each, ``subject.act``."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any


class Act(StrEnum):
    """Every act that becomes a ledger entry and may leave as an event."""

    VERSION_REGISTERED = "version.registered"
    VERSION_REFUSED = "version.refused"
    VERSION_TRANSITIONED = "version.transitioned"
    VERSION_REVOKED = "version.revoked"
    VERSION_DELETED = "version.deleted"
    VERSION_REJUDGED = "version.rejudged"
    EVIDENCE_ATTACHED = "evidence.attached"
    APPROVAL_GIVEN = "approval.given"
    APPROVAL_REFUSED = "approval.refused"
    APPROVAL_WITHDRAWN = "approval.withdrawn"
    ALIAS_MOVED = "alias.moved"
    ALIAS_DELETED = "alias.deleted"
    DOWNLOAD_DENIED = "download.denied"
    DOWNLOADS_COUNTED = "downloads.counted"
    REQUEST_REFUSED = "request.refused"
    MODEL_DELETED = "model.deleted"
    MODEL_RENAMED = "model.renamed"
    MODEL_UNGOVERNED = "model.ungoverned"
    WEBHOOK_CHANGED = "webhook.changed"
    ACCOUNT_CHANGED = "account.changed"
    ADVISORIES_CHANGED = "advisories.changed"
    TRUST_CHANGED = "trust.changed"
    POLICY_CHANGED = "policy.changed"
    POLICY_PROPOSED = "policy.proposed"
    POLICY_APPROVED = "policy.approved"
    REGISTRY_STARTED = "registry.started"
    QUARANTINE_PROPOSED = "quarantine.proposed"
    EVIDENCE_EXPORTED = "evidence.exported"
    PERSON_EXPORTED = "person.exported"
    PERSON_ERASED = "person.erased"
    LEDGER_EXPORTED = "ledger.exported"
    LEDGER_EXPIRED = "ledger.expired"
    LEDGER_REKEYED = "ledger.rekeyed"
    LEDGER_RECOVERED = "ledger.recovered"
    REGISTRY_ALARMED = "registry.alarmed"


PEOPLE = ("account",)
"""The facts that name whom an act is about, to whoever is told of it."""


@dataclass(frozen=True)
class Event:
    """One act, with what was before and after.

    ``person``, ``reason`` and ``people`` are personal: the ledger keeps salted commitments of them.
    """

    act: Act
    person: str
    at: datetime
    subject: Mapping[str, Any] = field(default_factory=dict)
    """``{name, version, workspace, uid, digest}`` of the version, empty for the registry itself."""
    before: Mapping[str, Any] = field(default_factory=dict)
    after: Mapping[str, Any] = field(default_factory=dict)
    decision_id: str = ""
    decision_digest: str = ""
    """SHA-256 of the stored decision document, which names the dossier and policy digests."""
    allowed: bool = True
    reason: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Further public JSON values, e.g. the digest of attached evidence."""
    people: Mapping[str, str] = field(default_factory=dict)
    """Whom else the act is about, under :data:`PEOPLE`: they join ``facts`` as commitments."""
    event_id: str = field(default_factory=lambda: uuid.uuid4().hex)
