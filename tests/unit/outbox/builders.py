"""Builders of this room: stored events, an honest queue in memory, receivers on loopback.

``python -m tests.unit.outbox.builders`` writes the examples in ``webhooks/events/examples``.
"""

from __future__ import annotations

import hashlib
import json
import socket
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from werkzeug.serving import make_server
from werkzeug.wrappers import Request, Response

from mlflow_governance.core import canonical, digest
from mlflow_governance.core.event import Act, Event
from mlflow_governance.ledger.entry import (
    SALT_BYTES,
    Commitments,
    build_entry,
    event_document,
    seal,
)
from mlflow_governance.outbox import cloudevents, signing
from mlflow_governance.outbox.interface import Target
from mlflow_governance.workflows.queue import Delivery, Recipient

EVENTS = Path(__file__).resolve().parents[3] / "webhooks" / "events"
SOURCE = cloudevents.source_of("mlflow-governance")
SECRET = "whsec_" + "c2VjcmV0" * 5
OTHER_SECRET = "whsec_" + "b3RoZXJz" * 5
NOW = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
MODEL = digest.of_bytes(b"a model")

_POLICY = digest.of_bytes(b"a policy bundle")
_SUBJECT = {
    "name": "churn", "version": 3, "workspace": "default",
    "uid": "0f3a5c1be2d94c0aa7b8f1d2e3c4b5a6", "digest": MODEL,
}  # fmt: skip
_POLICY_DECISION = {
    "gate": "policy", "allow": True, "reasons": [], "before": _POLICY,
    "policy_digest": digest.of_bytes(b"another bundle"),
    "checks": {"POL-001": True, "POL-002": True, "POL-003": True, "POL-004": True},
}  # fmt: skip
_NAMED = {"name": "scratch-churn", "workspace": "default"}


def state(stage: str) -> dict[str, Any]:
    return {"stage": stage, "policy_digest": _POLICY}


_KINDS: dict[Act, dict[str, Any]] = {
    Act.VERSION_REGISTERED: {"before": {}, "after": {"stage": "None", "policy_digest": None},
                             "subject": {**_SUBJECT, "digest": None}},
    Act.VERSION_REFUSED: {"before": state("None"), "after": state("None"), "allowed": False,
                          "decision_id": "d-0001"},
    Act.VERSION_TRANSITIONED: {"before": state("Staging"), "after": state("Approved"),
                               "reason": "release 2026.11", "decision_id": "d-0002"},
    Act.VERSION_REVOKED: {"before": state("Approved"), "after": state("Revoked"),
                          "reason": "training data withdrawn", "decision_id": "d-0003"},
    Act.VERSION_DELETED: {"before": state("None"), "after": {}, "reason": "registered by mistake"},
    Act.VERSION_REJUDGED: {"before": state("Approved"), "after": state("Approved"),
                           "decision_id": "d-0004"},
    Act.QUARANTINE_PROPOSED: {
        "before": state("Approved"), "after": state("Approved"), "person": "system:rejudge",
        "decision_id": "d-0008",
        "reason": "known vulnerabilities block it: CVE-2026-0001 in pkg:pypi/leftpad@1.0",
        "facts": {"vulnerabilities": ["CVE-2026-0001 in pkg:pypi/leftpad@1.0"]}},
    Act.EVIDENCE_ATTACHED: {"before": state("Candidate"), "after": state("Candidate"),
                            "facts": {"name": "canary.intoto.json",
                                      "digest": digest.of_bytes(b"an attestation")}},
    Act.APPROVAL_GIVEN: {"before": state("Staging"), "after": state("Staging"),
                         "facts": {"role": "risk-officer", "decision": "approve",
                                   "policy_digest": _POLICY, "approval": "c1d2",
                                   "supersedes": None}},
    Act.APPROVAL_REFUSED: {"before": state("Staging"), "after": state("Staging"),
                           "allowed": False,
                           "facts": {"role": "risk-officer", "decision": "approve",
                                     "policy_digest": _POLICY}},
    Act.APPROVAL_WITHDRAWN: {"before": state("Staging"), "after": state("Staging"),
                             "facts": {"role": "risk-officer", "decision": "approve",
                                       "approval": "c1d2"}},
    Act.ALIAS_MOVED: {"before": state("Approved"), "after": state("Approved"),
                      "decision_id": "d-0005", "facts": {"action": {"alias": "serving"}}},
    Act.ALIAS_DELETED: {"before": state("Approved"), "after": state("Approved"),
                        "decision_id": "d-0006", "facts": {"action": {"alias": "serving"}}},
    Act.DOWNLOAD_DENIED: {"before": state("Quarantined"), "after": state("Quarantined"),
                          "allowed": False, "decision_id": "d-0007"},
    Act.REQUEST_REFUSED: {"before": {}, "after": {}, "allowed": False,
                          "subject": {"name": "churn"}, "facts": {"asked": "rename the model"}},
    Act.MODEL_DELETED: {"before": {}, "after": {}, "subject": _NAMED},
    Act.MODEL_RENAMED: {"before": {}, "after": {}, "subject": _NAMED,
        "facts": {"new_name": "churn-retired"}},
    Act.MODEL_UNGOVERNED: {"before": {}, "after": {}, "subject": {**_NAMED, "version": 1},
        "facts": {"pattern": "scratch-*"}},
    Act.WEBHOOK_CHANGED: {"before": {}, "after": {}, "subject": {},
        "facts": {"asked": "create", "webhook_id": "6f3b", "events": ["model_version.created"]}},
    Act.TRUST_CHANGED: {"before": {"trust_digest": digest.of_bytes(b"trust one")},
        "after": {"trust_digest": digest.of_bytes(b"trust two")},
        "subject": {}, "person": "system:server",
        "facts": {"document_digest": digest.of_bytes(b"document"), "signers": 3,
                  "thresholds": 1, "timestamping": 0, "usable": True}},
    Act.POLICY_CHANGED: {"before": {"policy_digest": _POLICY},
        "after": {"policy_digest": digest.of_bytes(b"another bundle")},
        "subject": {}, "reason": "severities of 2027",
        "facts": {"archive_digest": digest.of_bytes(b"archive"), "files": 22, "modules": 18,
                  "how": "proposal", "proposal": "5b0c", "decision": _POLICY_DECISION}},
    Act.POLICY_PROPOSED: {"before": {"policy_digest": _POLICY},
        "after": {"policy_digest": _POLICY}, "subject": {}, "reason": "severities of 2027",
        "facts": {"proposal": "5b0c", "proposed": digest.of_bytes(b"another bundle"),
                  "archive_digest": digest.of_bytes(b"archive")}},
    Act.POLICY_APPROVED: {"before": {"policy_digest": _POLICY},
        "after": {"policy_digest": _POLICY}, "subject": {}, "reason": "as agreed in SEC-17",
        "facts": {"proposal": "5b0c", "proposed": digest.of_bytes(b"another bundle"),
                  "decision": "approve", "role": "security"}},
    Act.DOWNLOADS_COUNTED: {"before": {}, "after": {}, "person": "system:server",
        "facts": {"door": "registry", "count": 12, "people": 3,
                  "first": "2026-11-21T09:00:00.000000Z",
                  "last": "2026-11-21T09:29:00.000000Z"}},
    Act.ACCOUNT_CHANGED: {"before": {}, "after": {}, "subject": {}, "person": "admin",
        "facts": {"asked": "users/update-admin", "account": "ann", "is_admin": True}},
    Act.ADVISORIES_CHANGED: {"before": {}, "after": {}, "subject": {}, "person": "os:ops",
        "facts": {"files": {"advisories": digest.of_bytes(b"all.zip")}, "forced": False}},
    Act.EVIDENCE_EXPORTED: {"before": {}, "after": {}, "person": "audrey",
        "reason": "yearly audit",
        "facts": {"of": {"name": "churn", "version": 3, "workspace": "default"},
                  "pseudonymous": False, "entries": [3, 9, 12]}},
    Act.PERSON_EXPORTED: {"before": {}, "after": {}, "subject": {}, "person": "os:ops",
        "facts": {"person": digest.of_bytes(b"salt and name"),
                  "digest": digest.of_bytes(b"export")}},
    Act.PERSON_ERASED: {"before": {}, "after": {}, "subject": {}, "person": "os:ops",
        "reason": "request of 2026-11-20",
        "facts": {"pseudonym": "erased-5d41c0a7", "documents": 2, "texts": 4, "unsalted": 0,
                  "replaced": digest.of_bytes(b"replaced")}},
    Act.LEDGER_EXPORTED: {"before": {}, "after": {}, "subject": {}, "person": "os:ops",
        "facts": {"size": 120}},
    Act.LEDGER_EXPIRED: {"before": {}, "after": {}, "subject": {}, "person": "os:ops",
        "reason": "retention review 2034",
        "facts": {"entries": "0-119,130", "count": 121, "before": "2026-11-21T03:00:00.000000Z",
                  "years": 7.0, "holds": ["churn*"]}},
    Act.LEDGER_REKEYED: {"before": {}, "after": {}, "subject": {}, "person": "os:ops",
        "facts": {"key": "example/ledger+c1d2e3f4+AQ==", "former": "7c2eaf01"}},
    Act.LEDGER_RECOVERED: {"before": {}, "after": {}, "subject": {}, "person": "os:ops",
        "reason": "the disk failed; the backup of 2026-11-20 was restored",
        "facts": {"lost": {"size": 34, "root": digest.of_bytes(b"lost")[7:],
                           "note": digest.of_bytes(b"a checkpoint")},
                  "continues": {"size": 31, "root": digest.of_bytes(b"now")[7:]}}},
    Act.REGISTRY_ALARMED: {"before": {}, "after": {}, "person": "system:server", "allowed": False,
        "facts": {"found": "an approve as product counts that nobody gave"}},
    Act.REGISTRY_STARTED: {"before": {}, "after": {}, "subject": {}, "person": "system:server"},
}  # fmt: skip


def stored(act: Act = Act.VERSION_TRANSITIONED, index: int = 0, **changes: Any) -> dict[str, Any]:
    """The document of one event, as the store makes it of an entry."""
    kind = {"subject": _SUBJECT, "person": "ann", **_KINDS[act]}
    made = Event(act, at=NOW, event_id=f"{index:032x}", **kind)
    actor, reason = (seal(text, bytes(SALT_BYTES)) for text in (made.person, made.reason))
    entry = build_entry(made, index, Commitments(actor, reason))
    clear = {one.commitment: one.text for one in (actor, reason)}
    root = hashlib.sha256(b"root %d" % index).digest()
    return {**event_document(entry, clear, root), **changes}


def target(url: str, name: str = "serving", **changes: Any) -> Target:
    return Target(**{"name": name, "url": url, "secret": SECRET, "timeout_seconds": 2.0, **changes})


@dataclass
class _Row:
    index: int
    delivery: Delivery
    due: datetime
    state: str = "pending"
    status: int | None = None
    error: str = ""


@dataclass
class MemoryQueue:
    """The whole contract of ``Queue`` over a dictionary, one lock around every call."""

    documents: list[bytes] = field(default_factory=list)
    rows: dict[tuple[str, str], _Row] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, *events: Mapping[str, Any]) -> None:
        self.documents.extend(canonical.encode(event) for event in events)

    def enqueue_missing(self, targets: Sequence[Recipient]) -> int:
        made = 0
        with self.lock:
            for index, body in enumerate(self.documents):
                event_id, act = json.loads(body)["id"], json.loads(body)["act"]
                for name in [t.name for t in targets if not t.acts or act in t.acts]:
                    if (event_id, name) not in self.rows:
                        due = datetime.min.replace(tzinfo=UTC)
                        first = Delivery(event_id, name, 0, body)
                        self.rows[event_id, name] = _Row(index, first, due)
                        made += 1
        return made

    def claim(
        self, target_names: Sequence[str], limit: int, lease_seconds: float, now: datetime
    ) -> list[Delivery]:
        with self.lock:
            due = [
                row
                for row in self.rows.values()
                if row.state == "pending" and row.due <= now and row.delivery.target in target_names
            ]
            claimed = sorted(due, key=lambda row: row.index)[:limit]
            for row in claimed:
                row.due = now + timedelta(seconds=lease_seconds)
                row.delivery = replace(row.delivery, attempts=row.delivery.attempts + 1)
            return [row.delivery for row in claimed]

    def delivered(self, delivery: Delivery, status: int) -> None:
        with self.lock:
            row = self.rows[delivery.event_id, delivery.target]
            row.state, row.status = "delivered", status

    def failed(
        self, delivery: Delivery, error: str, retry_at: datetime | None, status: int | None = None
    ) -> None:
        with self.lock:
            row = self.rows[delivery.event_id, delivery.target]
            row.error, row.status = error, status
            if retry_at is None:
                row.state = "dead"
            else:
                row.due = retry_at

    def replay(self, *, event_id: str | None = None, target: str | None = None) -> int:
        with self.lock:
            rows = [
                row
                for (event, name), row in self.rows.items()
                if event_id in (None, event) and target in (None, name)
            ]
            for row in rows:
                row.state, row.due = "pending", datetime.min.replace(tzinfo=UTC)
                row.delivery = replace(row.delivery, attempts=0)
            return len(rows)

    def pending_counts(self) -> Mapping[str, Mapping[str, int]]:
        counts: dict[str, dict[str, int]] = defaultdict(lambda: {"pending": 0, "dead": 0})
        for (_, name), row in self.rows.items():
            if row.state != "delivered":
                counts[name][row.state] += 1
        return counts

    def only(self) -> _Row:
        (row,) = self.rows.values()
        return row


class Clock:
    """A clock that stands still until it is told otherwise."""

    def __init__(self, now: datetime = NOW) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@dataclass(frozen=True)
class Received:
    """One request as it arrived."""

    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]


class Receiver:
    """A real HTTP server on loopback that keeps what it gets and answers as told."""

    def __init__(self, answer: Callable[[Received], Response] | None = None) -> None:
        self.got: list[Received] = []
        self.answer = answer or (lambda _: Response(status=204))
        self.url = ""

    def __call__(self, environ: Any, start: Any) -> Any:
        request = Request(environ)
        headers = {name.lower(): value for name, value in request.headers.items()}
        received = Received(headers, request.get_data())
        self.got.append(received)
        return self.answer(received)(environ, start)

    @contextmanager
    def listening(self, port: int = 0) -> Iterator[Receiver]:
        with serving(self, port) as self.url:
            yield self


@contextmanager
def serving(app: Any, port: int = 0) -> Iterator[str]:
    """Serve a WSGI application on loopback; yields its address."""
    server = make_server("127.0.0.1", port, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def signed(document: Any, at: datetime, secret: str = SECRET) -> tuple[dict[str, str], bytes]:
    """Headers and body of a webhook around any JSON value."""
    body = json.dumps(document).encode()
    message_id = document.get("id", "evt") if isinstance(document, dict) else "evt"
    return signing.sign(signing.keys_of(secret), message_id, at, body), body


def event(act: Act = Act.VERSION_TRANSITIONED, index: int = 0, **changes: Any) -> dict[str, Any]:
    """The CloudEvent of :func:`stored`, parsed."""
    document = canonical.encode(stored(act, index, **changes))
    made: dict[str, Any] = json.loads(cloudevents.encode(document, SOURCE))
    return made


def example(act: Act) -> dict[str, Any]:
    """The published example of an act."""
    return event(act, list(Act).index(act))


def _write_examples() -> None:
    for act in Act:
        text = json.dumps(example(act), indent=2) + "\n"
        (EVENTS / "examples" / f"{act.value}.json").write_text(text, "utf-8")


if __name__ == "__main__":
    _write_examples()
