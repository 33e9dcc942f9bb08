"""Which codes hold of a bundle: what the controls are judged by."""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce

from mlflow_governance.audit.controls import Found
from mlflow_governance.audit.outcomes import verdict
from mlflow_governance.core.event import Act
from mlflow_governance.core.stage import Stage
from mlflow_governance.evidence.model_card import ANNEX_IV
from mlflow_governance.workflows.evidence_export import OfVersion
from mlflow_governance.workflows.evidence_told import Document, Told, ToldOne

_REFUSALS = (
    Act.VERSION_REFUSED, Act.APPROVAL_REFUSED, Act.DOWNLOAD_DENIED, Act.REQUEST_REFUSED,
)  # fmt: skip
RELEASED = (Stage.APPROVED.value, Stage.DEPRECATED.value)


def found_in(told: Told) -> Found:
    """What the bundle shows: of a version, or of every version that was released in a period."""
    acts = {f"act:{entry.document['act']}" for entry in told.entries if _happened(entry.document)}
    record = set(_of_the_record(told)) | acts
    about = [one for one in told.versions if _counts(told, one)]
    each = [frozenset(_of_version(told, one)) for one in about]
    everywhere = reduce(frozenset.__and__, each) if each else frozenset()
    return Found(everywhere | record, frozenset().union(*each) | record)


def four_eyes(one: ToldOne) -> list[str]:
    """Who approved this content, apart from whoever submitted it; each once."""
    agreed = [w.person for w in one.words if w.current and w.decision == "approve"]
    return sorted({person for person in agreed if person != one.submitter})


def _counts(told: Told, one: ToldOne) -> bool:
    if isinstance(told.exported.asked.of, OfVersion):
        return True
    return one.state is not None and one.state.stage in RELEASED


def _happened(document: Document) -> bool:
    # A transition that was refused is no transition; a refusal is one whoever it refused.
    return document["allowed"] or document["act"] in _REFUSALS


def _of_the_record(told: Told) -> Iterator[str]:
    yield "record:inclusion-proofs"
    yield "record:complete"
    if told.policies and all(told.policies.values()):
        yield "record:policy-snapshot"
    if told.replay.decisions and not any(path.startswith("dossiers/") for path, _ in told.left_out):
        yield "record:decision-inputs"
    yield "record:pseudonymous" if told.persons.pseudonymous else "record:openings"


def _of_version(told: Told, one: ToldOne) -> Iterator[str]:
    yield from _checks(told, one)
    for kind, outcome in one.evidence.items():
        if verdict(kind, outcome).counts:
            yield f"evidence:{kind}"
    yield from _card(one)
    if one.model_files is not None:
        yield "record:manifest"
    if len(four_eyes(one)) > 1:
        yield "record:four-eyes"
    if one.state is not None and one.state.submitter:
        yield "record:submitter-known"


def _checks(told: Told, one: ToldOne) -> Iterator[str]:
    for entry in told.about(one):
        document = entry.document
        decision = told.decisions.get(document["decision_id"])
        if decision is None or document["subject"]["version"] != one.ref.version:
            continue
        relieved = set(decision.get("modes", ())) | {w["code"] for w in decision.get("waived", ())}
        if document["allowed"] and decision["allow"]:
            for code, passed in decision["checks"].items():
                if passed and code not in relieved:
                    yield f"check:{code}"


def _card(one: ToldOne) -> Iterator[str]:
    facts = one.evidence.get("model_card", {}).get("facts", {})
    for heading, filled in (facts.get("headings") or {}).items():
        if filled:
            yield f"card:{heading}"
    for word in ("risk_tier", "owner", "licence"):
        if facts.get(word):
            yield f"card:{word}"
    annex = facts.get("annex_iv")
    if annex is not None:
        yield from (f"card:annex_iv.{p}" for p in ANNEX_IV if p not in annex["missing"])
