"""The views of the HTTP interface: checked values in, a JSON document or a response out."""

from __future__ import annotations

import base64
import binascii
import posixpath
from collections.abc import Callable

from flask import Response

from mlflow_governance.core import digest
from mlflow_governance.core.model_ref import VersionRef, check_name
from mlflow_governance.core.stage import Stage
from mlflow_governance.errors import Conflict, InvalidRequest, LedgerError, NotFound
from mlflow_governance.evidence.interface import EvidenceItem
from mlflow_governance.ledger import checkpoint
from mlflow_governance.ledger.merkle import leaf_hash
from mlflow_governance.web import documents
from mlflow_governance.web.answers import as_bytes
from mlflow_governance.web.documents import Document
from mlflow_governance.web.fields import Values
from mlflow_governance.web.services import WebServices
from mlflow_governance.workflows.approve import approve
from mlflow_governance.workflows.attach import attach
from mlflow_governance.workflows.judge import load
from mlflow_governance.workflows.ports import Request, VersionRecord
from mlflow_governance.workflows.promote import rejudge, transition
from mlflow_governance.workflows.summary import signed_summary
from mlflow_governance.workflows.withdraw import withdraw

View = Callable[[WebServices, Values], "Document | Response"]
_PLAIN = "text/plain; charset=utf-8"


def health(services: WebServices, values: Values) -> Document:
    """The server answers and can read its database."""
    with services.ports.store.read():
        return {"status": "ok"}


def versions(services: WebServices, values: Values) -> Document:
    """Governed versions, newest first."""
    stage = Stage.parse(values.text("stage")) if values.text("stage") else None
    start, limit = values.number("offset"), values.number("limit")
    with services.ports.store.read() as reading:
        name = values.text("name") or None
        found = reading.versions(name, stage, offset=start, limit=limit)
        total = reading.count_versions(name, stage)
    return {
        "versions": [documents.summary(record) for record in found],
        "total": total,
        "offset": start,
    }


def version(services: WebServices, values: Values) -> Document:
    """One version with evidence, decisions, approvals, attachments and history."""
    return documents.detail(services.ports, services.actor(), _record(services, values.ref()))


def aliases(services: WebServices, values: Values) -> Document:
    """Where the aliases of a governed model point, and where they pointed before."""
    workspace = values.text("workspace")
    check_name(workspace)
    with services.ports.store.read() as reading:
        found = reading.aliases(values.text("name"), workspace)
    return {"aliases": [documents.alias(record) for record in found]}


def decision(services: WebServices, values: Values) -> Document:
    """A stored decision with the dossier it was made from."""
    with services.ports.store.read() as reading:
        found = reading.decision(values.text("id"))
    if found is None:
        raise NotFound(f"no decision has the id {values.text('id')[:80]!r}")
    return found


def decision_summary(services: WebServices, values: Values) -> Response:
    """A decision as a SLSA verification summary signed by the registry, PASSED or FAILED."""
    found = decision(services, values)
    return as_bytes(signed_summary(services.ports, found, found["dossier"]), "application/json")


def give_approval(services: WebServices, values: Values) -> Document:
    """Record one person's word for one role, or that they take it back."""
    ports, request = services.ports, _request(services, values)
    given = approve(ports, request, values.text("role"), values.text("decision"))
    record = _record(services, request.ref)
    return {"approval": documents.approval(given, record, ports.policy.current().digest)}


def revoke(services: WebServices, values: Values) -> Document:
    """Block a version, and its bytes under every name, for ever."""
    return _withdrawn(services, values, Stage.REVOKED)


def quarantine(services: WebServices, values: Values) -> Document:
    """Block a version, and its bytes under every name, until it is cleared."""
    return _withdrawn(services, values, Stage.QUARANTINED)


def restore(services: WebServices, values: Values) -> Document:
    """Return a quarantined version to the stage it came from."""
    request = _request(services, values)
    record = _record(services, request.ref)
    if record.stage is not Stage.QUARANTINED or record.quarantined_from is None:
        raise Conflict(f"{request.ref} is {record.stage}, not Quarantined: nothing to restore")
    moved = transition(services.ports, request, record.quarantined_from)
    return {"version": documents.summary(moved)}


def judge(services: WebServices, values: Values) -> Document:
    """Judge a version again; one that MLflow knows and the registry does not is adopted first."""
    request = _request(services, values)
    with services.ports.store.read() as reading:
        known = reading.version(request.ref) is not None
    if not known:
        services.adopt(request.ref)
    judgement = rejudge(services.ports, request)
    return {
        "decision": judgement.decision.to_document(),
        "version": documents.summary(_record(services, request.ref)),
    }


def add_evidence(services: WebServices, values: Values) -> Document:
    """Store one signed statement with a version; it proves what its signature proves."""
    try:
        data = base64.b64decode(values.text("content"), validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidRequest("content is not standard base64") from error
    request, name = _request(services, values), values.text("file")
    attach(services.ports, request, EvidenceItem(name, data))
    return {
        "file": {"path": name, "size": len(data), "digest": digest.of_bytes(data)},
        "version": documents.summary(_record(services, request.ref)),
    }


def attachment(services: WebServices, values: Values) -> Response:
    """The bytes of one file the registry attached to a version."""
    ref, path = values.ref(), values.text("path")
    with services.ports.store.read() as reading:
        found = reading.attachments(load(reading, ref).uid)
    for file in found:
        if file.path == path:
            kind = "application/json" if path.endswith(".json") else _PLAIN
            response = as_bytes(file.data, kind)
            response.headers.set(
                "Content-Disposition", "attachment", filename=posixpath.basename(path)
            )
            response.headers["Content-Security-Policy"] = "default-src 'none'; sandbox"
            return response
    raise NotFound(f"{ref} has no attachment {path[:200]!r}")


def ledger_head(services: WebServices, values: Values) -> Document:
    """The signed checkpoint of the whole ledger."""
    note = _head(services)
    signed = checkpoint.parse(note)
    return {
        "checkpoint": note,
        "origin": signed.origin,
        "size": signed.size,
        "root": signed.root.hex(),
    }


def ledger_entries(services: WebServices, values: Values) -> Document:
    """Ledger entries as stored: the exact RFC 8785 text that is hashed."""
    found = services.ledger.entries(values.number("start"), values.number("count"))
    return {"entries": [{"index": index, "entry": data.decode()} for index, data in found]}


def ledger_checkpoint(services: WebServices, values: Values) -> Response:
    """The signed checkpoint of the whole ledger, and nothing else (C2SP tlog-checkpoint)."""
    return as_bytes(_head(services).encode(), _PLAIN)


def ledger_proof(services: WebServices, values: Values) -> Document:
    """A C2SP tlog-proof of one entry, verifiable without this server."""
    index, note = values.number("index"), values.text("checkpoint") or None
    try:
        proof = services.ledger.inclusion_proof(index, note)
    except LedgerError as error:
        if note is None:
            raise
        services.ledger.inclusion_proof(index)  # is it the ledger, or the checkpoint?
        raise InvalidRequest("the checkpoint is not one of this ledger") from error
    entry = services.ledger.entry(index)
    proof.check(leaf_hash(entry))
    return {"index": index, "entry": entry.decode(), "proof": proof.encode()}


def ledger_consistency(services: WebServices, values: Values) -> Document:
    """The RFC 6962 proof that the ledger of now continues the one of so many entries."""
    old, now = values.number("old"), checkpoint.parse(_head(services)).size
    if old > now:
        raise NotFound(f"the ledger has {now} entries, and never had {old}")
    hashes, note = services.ledger.continuation(old)
    encoded = [base64.b64encode(node).decode() for node in hashes]
    return {"old": old, "hashes": encoded, "checkpoint": note}


def revocations(services: WebServices, values: Values) -> Response:
    """The signed list of blocked digests, for serving hosts."""
    return as_bytes(services.revocations(), "application/json")


def trust(services: WebServices, values: Values) -> Response:
    """A trust.yaml for consumers: who may sign what, and the registry's own public key."""
    return as_bytes(services.trust(), "application/yaml")


def _head(services: WebServices) -> str:
    note = services.ledger.head()
    if not note:
        raise NotFound("the ledger is empty: nothing was ever recorded")
    return note


def _withdrawn(services: WebServices, values: Values, target: Stage) -> Document:
    moved = withdraw(services.ports, _request(services, values), target)
    return {"version": documents.summary(moved)}


def _request(services: WebServices, values: Values) -> Request:
    reason = str(values.items.get("reason", ""))
    return Request(services.actor(), values.ref(), reason)


def _record(services: WebServices, ref: VersionRef) -> VersionRecord:
    with services.ports.store.read() as reading:
        return load(reading, ref)
