"""JSON Schemas (2020-12) of the answers, as the OpenAPI document shows them."""

from __future__ import annotations

from typing import Any

from mlflow_governance.core.stage import Stage

Schema = dict[str, Any]

_TEXT: Schema = {"type": "string"}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_YES_NO: Schema = {"type": "boolean"}
_DIGEST: Schema = {"type": "string", "pattern": "^sha256:[0-9a-f]{64}$"}
_INSTANT: Schema = {"type": "string", "format": "date-time"}
_STAGE: Schema = {"enum": [stage.value for stage in Stage]}
_ANY_OBJECT: Schema = {"type": "object"}


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _list_of(schema: Schema) -> Schema:
    return {"type": "array", "items": schema}


def _record(**members: Schema) -> Schema:
    return {"type": "object", "properties": members, "required": sorted(members)}


_SUMMARY_MEMBERS: dict[str, Schema] = {
    "name": _TEXT,
    "version": {"type": "integer", "minimum": 1},
    "workspace": _TEXT,
    "uid": _TEXT,
    "stage": _STAGE,
    "quarantined_from": _or_null(_STAGE),
    "digest": _or_null(_DIGEST),
    "policy_digest": _or_null(_DIGEST),
    "submitter": _TEXT,
    "decision_id": _TEXT,
    "created_at": _or_null(_INSTANT),
}
SUMMARY = _record(**_SUMMARY_MEMBERS)
_NUMBER: Schema = {"type": "integer", "minimum": 1}
ALIASES = _record(
    aliases=_list_of(
        _record(alias=_TEXT, version=_or_null(_NUMBER), before=_or_null(_NUMBER), at=_INSTANT)
    )
)
_FILE = _record(path=_TEXT, size=_COUNT, digest=_DIGEST)
_REASON = _record(code=_TEXT, path=_TEXT, message=_TEXT, fix=_TEXT)
_REMARK = _record(code=_TEXT, message=_TEXT, fix=_TEXT)
_CHECKS: Schema = {"type": "object", "additionalProperties": _YES_NO}
DECISION = _record(
    decision_id=_TEXT,
    gate=_TEXT,
    allow=_YES_NO,
    checks=_CHECKS,
    reasons=_list_of(_REASON),
    policy_digest=_DIGEST,
    dossier_digest=_DIGEST,
)
_APPROVAL = _record(
    uid=_TEXT,
    person=_TEXT,
    role=_TEXT,
    decision=_TEXT,
    model_digest=_DIGEST,
    policy_digest=_DIGEST,
    reason=_TEXT,
    at=_INSTANT,
    current=_YES_NO,
)
_OUTCOME = _record(
    kind=_TEXT,
    status={"enum": ["passed", "failed", "missing", "error"]},
    facts=_ANY_OBJECT,
    problem=_TEXT,
)
_ENTRY = _record(
    index=_COUNT,
    act=_TEXT,
    at=_INSTANT,
    actor=_or_null(_TEXT),
    reason=_or_null(_TEXT),
    allowed=_YES_NO,
    before=_ANY_OBJECT,
    after=_ANY_OBJECT,
    decision_id=_TEXT,
)
DETAIL = _record(
    **_SUMMARY_MEMBERS,
    evidence=_list_of(_OUTCOME),
    evidence_files=_list_of(_FILE),
    last_decision=_or_null(DECISION),
    missing=_list_of(_REASON),
    warnings=_list_of(_REMARK),
    approvals=_list_of(_APPROVAL),
    attachments=_list_of(_FILE),
    timeline=_list_of(_ENTRY),
    timeline_length=_COUNT,
    decisions=_list_of(DECISION),
    ahead=_or_null(
        _record(
            stage=_STAGE,
            allow=_YES_NO,
            checks=_CHECKS,
            missing=_list_of(_REASON),
            warnings=_list_of(_REMARK),
        )
    ),
    download=_YES_NO,
)
HISTORY = _record(entries=_list_of(_ENTRY), next=_or_null(_COUNT))
_KNOWN_FROM: dict[str, Schema] = {
    "since": _or_null(_INSTANT),
    "by": _or_null(_TEXT),
    "reason": _or_null(_TEXT),
    "decision_id": _TEXT,
    "entry": _or_null(_COUNT),
}
_FORCED = _or_null(_record(digest=_DIGEST, **_KNOWN_FROM))
_ODD = _record(count=_COUNT, first=_list_of(_record(entry=_COUNT, at=_TEXT, behind=_TEXT)))
AS_OF = _record(
    at=_INSTANT,
    until=_or_null(_INSTANT),
    ledger=_record(
        origin=_TEXT,
        size=_COUNT,
        root=_TEXT,
        first=_or_null(_INSTANT),
        last=_or_null(_INSTANT),
        proved_size=_COUNT,
        proved_root=_TEXT,
        checkpoints=_COUNT,
        deleted=_COUNT,
    ),
    policy=_FORCED,
    trust=_FORCED,
    versions=_list_of(
        _record(
            workspace=_TEXT,
            name=_TEXT,
            version=_NUMBER,
            uid=_TEXT,
            stage=_STAGE,
            quarantined_from=_or_null(_STAGE),
            digest=_or_null(_DIGEST),
            blocked=_YES_NO,
            policy_digest=_or_null(_DIGEST),
            submitter=_or_null(_TEXT),
            registered=_INSTANT,
            aliases=_list_of(_TEXT),
            approvals=_list_of(
                _record(
                    person=_or_null(_TEXT),
                    role=_TEXT,
                    decision=_TEXT,
                    at=_INSTANT,
                    current=_YES_NO,
                    entry=_COUNT,
                )
            ),
            **_KNOWN_FROM,
        )
    ),
    aliases=_list_of(
        _record(
            workspace=_TEXT,
            name=_TEXT,
            alias=_TEXT,
            version=_NUMBER,
            before=_or_null(_NUMBER),
            **_KNOWN_FROM,
        )
    ),
    changes=_list_of(_ENTRY),
    backdated=_ODD,
    left_out=_ODD,
    contradictions=_list_of(_record(entry=_COUNT, message=_TEXT)),
)
_KEPT: Schema = {"enum": ["kept", "gone", "changed"]}
EXPLANATION = _record(
    decision_id=_TEXT,
    gate=_TEXT,
    allow=_YES_NO,
    at=_INSTANT,
    actor=_ANY_OBJECT,
    subject=_ANY_OBJECT,
    checks=_list_of(_ANY_OBJECT),
    verified=_list_of(
        _record(kind=_TEXT, status=_TEXT, problem=_TEXT, signers=_list_of(_TEXT),
                files=_list_of(_TEXT))
    ),
    files=_list_of(_record(name=_TEXT, digest=_DIGEST, kind=_TEXT, state=_KEPT)),
    approvals=_list_of(_ANY_OBJECT),
    policy=_record(digest=_DIGEST, title=_TEXT, until=_or_null(_INSTANT)),
    entry=_ENTRY,
    proved=_record(origin=_TEXT, size=_COUNT, root=_TEXT),
    then=_list_of(_ENTRY),
    again=_TEXT,
    differences=_list_of(_TEXT),
    notes=_list_of(_TEXT),
    alarms=_list_of(_TEXT),
)  # fmt: skip
HEALTH = _record(status={"const": "ok"})
VERSIONS = _record(versions=_list_of(SUMMARY), total=_COUNT, offset=_COUNT)
MOVED = _record(version=SUMMARY)
JUDGED = _record(decision=DECISION, version=SUMMARY)
APPROVED = _record(approval=_APPROVAL)
ATTACHED = _record(file=_FILE, version=SUMMARY)
HEAD = _record(checkpoint=_TEXT, origin=_TEXT, size=_COUNT, root=_TEXT)
ENTRIES = _record(entries=_list_of(_record(index=_COUNT, entry=_TEXT)))
PROOF = _record(index=_COUNT, entry=_TEXT, proof=_TEXT)
CONTINUATION = _record(old=_COUNT, hashes=_list_of(_TEXT), checkpoint=_TEXT)
POLICY = _record(
    policy_digest=_DIGEST,
    accepted_policy_digests=_list_of(_DIGEST),
    engine=_TEXT,
    files=_list_of(_FILE),
    since=_or_null(_INSTANT),
    by=_or_null(_TEXT),
    reason=_or_null(_TEXT),
    entry=_or_null(_COUNT),
    source=_record(name=_TEXT, digest=_or_null(_DIGEST), note=_TEXT),
    approvals=_or_null(_record(count=_NUMBER, roles=_list_of(_TEXT))),
)
_PROPOSAL = _record(
    digest=_DIGEST,
    before=_DIGEST,
    person=_TEXT,
    reason=_TEXT,
    at=_INSTANT,
    state={"enum": ["open", "in force", "void"]},
    given=_COUNT,
    needed=_COUNT,
    waits=_YES_NO,
    words=_list_of(_record(person=_TEXT, role=_TEXT, decision=_TEXT, reason=_TEXT, at=_INSTANT)),
)
PROPOSALS = _record(proposals=_list_of(_PROPOSAL))
PROPOSED = _record(proposal=_PROPOSAL)
ERROR = _record(code=_TEXT, message=_TEXT, advice=_TEXT)
