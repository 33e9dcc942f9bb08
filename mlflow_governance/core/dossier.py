"""Everything known at the moment of a decision. Its RFC 8785 form *is* the policy input."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from typing import Any

from mlflow_governance.core import canonical, digest, moment
from mlflow_governance.core.actor import Actor
from mlflow_governance.core.digest import Digest
from mlflow_governance.core.model_ref import VersionRef
from mlflow_governance.core.stage import Stage
from mlflow_governance.errors import InvalidRequest

SCHEMA = 1
_LONG, _UNSAFE = 20, 2**53


class Gate(StrEnum):
    """The five questions policy answers; each is the Rego package ``registry.<gate>``."""

    ACCEPT = "accept"
    PROMOTE = "promote"
    DOWNLOAD = "download"
    ALIAS = "alias"
    WITHDRAW = "withdraw"


class Status(StrEnum):
    """How a verifier ended. Missing is not failed, and an error is neither."""

    PASSED = "passed"
    FAILED = "failed"
    MISSING = "missing"
    ERROR = "error"


@dataclass(frozen=True)
class Outcome:
    """What one verifier found.

    ``facts`` are JSON values that were proved; they are empty unless ``status`` is passed.
    ``problem`` says in a sentence why it did not pass. Nobody changes the facts afterwards: a
    version's outcomes are kept and go into every decision about it.
    """

    status: Status
    facts: Mapping[str, Any] = field(default_factory=dict)
    problem: str = ""

    @classmethod
    def passed(cls, **facts: Any) -> Outcome:
        """It verified, and these are the facts."""
        return cls(Status.PASSED, facts)

    @classmethod
    def missing(cls, problem: str) -> Outcome:
        """There was nothing to verify."""
        return cls(Status.MISSING, {}, problem)

    @classmethod
    def failed(cls, problem: str) -> Outcome:
        """There was something and it does not verify."""
        return cls(Status.FAILED, {}, problem)

    @classmethod
    def error(cls, problem: str) -> Outcome:
        """The verifier itself broke; nothing is known."""
        return cls(Status.ERROR, {}, problem)

    def to_document(self) -> dict[str, Any]:
        """The outcome as policy sees it."""
        return {"status": self.status.value, "facts": dict(self.facts), "problem": self.problem}

    @cached_property
    def encoded(self) -> bytes:
        """RFC 8785 bytes of the document."""
        return canonical.encode(self.to_document())

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Outcome:
        """Read back a stored outcome."""
        return cls(Status(document["status"]), document["facts"], document["problem"])


@dataclass(frozen=True)
class Subject:
    """The version a decision is about, as the registry (not the requester) knows it."""

    ref: VersionRef
    uid: str
    stage: Stage
    digest: Digest | None
    submitter: str
    blocked: bool
    """True when the digest stands on the revocation list, under whatever name."""
    policy_digest: Digest | None = None
    """The policy under which the version entered its stage."""
    quarantined_from: Stage | None = None

    def to_document(self) -> dict[str, Any]:
        """The subject as policy sees it."""
        return {
            "name": self.ref.name,
            "version": self.ref.version,
            "workspace": self.ref.workspace,
            "uid": self.uid,
            "stage": self.stage.value,
            "digest": self.digest,
            "submitter": self.submitter,
            "blocked": self.blocked,
            "policy_digest": self.policy_digest,
            "quarantined_from": self.quarantined_from.value if self.quarantined_from else None,
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Subject:
        """Read back a recorded subject."""
        before = document["quarantined_from"]
        return cls(
            ref=VersionRef(document["name"], document["version"], document["workspace"]),
            uid=document["uid"],
            stage=Stage(document["stage"]),
            digest=document["digest"],
            submitter=document["submitter"],
            blocked=document["blocked"],
            policy_digest=document["policy_digest"],
            quarantined_from=None if before is None else Stage(before),
        )


@dataclass(frozen=True)
class Dossier:
    """The input of one decision.

    Args:
        gate: which question is asked.
        actor: who asks.
        action: what is asked, e.g. ``{"from": "Staging", "to": "Approved", "reason": …}``.
        subject: the version it is about.
        evidence: outcome of each verifier by kind (``signature``, ``provenance``, …).
        approvals: documents ``{person, role, decision, model_digest, policy_digest, at}``.
        runtime: ``{policy_digest, accepted_policy_digests}``.
        now: the one instant this decision knows.
    """

    gate: Gate
    actor: Actor
    action: Mapping[str, Any]
    subject: Subject
    evidence: Mapping[str, Outcome]
    approvals: tuple[Mapping[str, Any], ...]
    runtime: Mapping[str, Any]
    now: datetime
    attached: tuple[Mapping[str, str], ...] = ()
    """The files that were examined for this decision, ``{name, digest}`` each."""
    salt: str = ""
    """128 random bits in hexadecimal (:func:`~mlflow_governance.core.digest.new_salt`). The ledger
    keeps the digest of a dossier, and a dossier names people: without the salt nobody can try
    names until one fits. Dossiers recorded before there were salts have none."""

    def to_document(self) -> dict[str, Any]:
        """The JSON value policy sees; ``policies/dossier.schema.json`` describes it."""
        evidence = {kind: o.to_document() for kind, o in self.evidence.items()}
        return {**self.frame, "evidence": evidence}

    @cached_property
    def encoded(self) -> bytes:
        """RFC 8785 bytes: what is stored, hashed and evaluated."""
        evidence = canonical.join({kind: o.encoded for kind, o in self.evidence.items()})
        # Evidence is most of it and seldom changes: its pieces are encoded once, and set in
        # where the canonical order of the names has "evidence".
        before = {k: v for k, v in self.frame.items() if k < "evidence"}
        after = {k: v for k, v in self.frame.items() if k > "evidence"}
        ends = canonical.encode(before)[:-1], canonical.encode(after)[1:]
        return b'%s,"evidence":%s,%s' % (ends[0], evidence, ends[1])

    @cached_property
    def frame(self) -> dict[str, Any]:
        """The document with no evidence in it: what is new in each decision. Nobody changes it."""
        salt = {"salt": self.salt} if self.salt else {}
        return {
            **salt,
            "schema": SCHEMA,
            "gate": self.gate.value,
            "actor": self.actor.to_document(),
            "action": dict(self.action),
            "subject": self.subject.to_document(),
            "evidence": {},
            "attached": [dict(file) for file in self.attached],
            "approvals": [dict(a) for a in self.approvals],
            "runtime": dict(self.runtime),
            "now": moment.to_text(self.now),
        }

    @cached_property
    def digest(self) -> Digest:
        """SHA-256 of :attr:`encoded`."""
        return digest.of_bytes(self.encoded)

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Dossier:
        """Read back what :meth:`to_document` gave.

        Raises:
            InvalidRequest: no dossier has that document; nothing is added, dropped or mended.
        """
        return cls.from_encoded(canonical.encode(document))

    @classmethod
    def from_encoded(cls, data: bytes) -> Dossier:
        """Read back a recorded dossier; what it gives as :attr:`encoded` are these bytes.

        Raises:
            InvalidRequest: they are not the RFC 8785 form of a dossier.
        """
        try:
            document = read_numbers(data)
            found = cls(
                gate=Gate(document["gate"]),
                actor=Actor.from_document(document["actor"]),
                action=document["action"],
                subject=Subject.from_document(document["subject"]),
                evidence={k: Outcome.from_document(o) for k, o in document["evidence"].items()},
                attached=tuple(document["attached"]),
                approvals=tuple(document["approvals"]),
                runtime=document["runtime"],
                now=moment.parse(document["now"]),
                salt=document.get("salt", ""),
            )
            same = _is_plain_form(found.to_document(), data) or found.encoded == data
        except InvalidRequest as error:
            raise InvalidRequest(f"not a dossier: {error.message}") from error
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise InvalidRequest(f"not a dossier: {type(error).__name__}") from error
        if not same:
            raise InvalidRequest("not a dossier as this version of the program writes them")
        vars(found)["encoded"] = data
        return found


def _is_plain_form(document: Mapping[str, Any], data: bytes) -> bool:
    # Where all is ASCII and every number was read from its one form, the standard library writes
    # what RFC 8785 asks for, and much faster. What it writes otherwise is compared in full.
    if not data.isascii():
        return False
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode() == data


def read_numbers(data: bytes) -> Any:
    """A JSON value in RFC 8785 form, so that encoding it again gives the very bytes.

    Raises:
        ValueError: it is no JSON, or a number has another form than RFC 8785 has for it.
    """
    return json.loads(data, parse_int=_number, parse_float=_exact)


def _exact(text: str) -> float:
    number = float(text)
    if canonical.encode(number) != text.encode():
        raise ValueError("a number in another form than RFC 8785 has for it")
    return number


def _number(digits: str) -> int | float:
    # RFC 8785 writes a large float without a point; it was never an integer that JSON can keep.
    number = int(digits) if len(digits) < _LONG else float(digits)
    return number if abs(number) < _UNSAFE else float(digits)
