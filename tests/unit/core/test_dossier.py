from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_governance.core import canonical
from mlflow_governance.core.actor import Actor
from mlflow_governance.core.digest import Digest
from mlflow_governance.core.dossier import Dossier, Gate, Outcome, Status, Subject
from mlflow_governance.core.model_ref import VersionRef
from mlflow_governance.core.stage import Stage
from mlflow_governance.errors import InvalidRequest

DIGEST = Digest("sha256:" + "a" * 64)
NOW = datetime(2026, 11, 21, 3, 4, 5, 6, UTC)

_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
_value = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(-1e22, 1e22)
    | _text | st.sampled_from(['","evidence":{},"', "\\", "\u2028", "\x7f", "\x00"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_text, inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
_object = st.dictionaries(_text | st.sampled_from(["evidence", "gate"]), _value, max_size=4)
_outcome = st.builds(Outcome, st.sampled_from(Status), _object, _text)


def dossier(**changes: Any) -> Dossier:
    subject = Subject(
        VersionRef("churn", 3), "u1", Stage.STAGING, DIGEST, "dora", blocked=False
    )  # fmt: skip
    fields: dict[str, Any] = {
        "gate": Gate.DOWNLOAD,
        "actor": Actor("ann", ("product",)),
        "action": {"door": "registry"},
        "subject": subject,
        "evidence": {"signature": Outcome.passed(keyid="k1")},
        "approvals": (),
        "runtime": {"policy_digest": DIGEST},
        "now": NOW,
    }
    return Dossier(**fields | changes)


@given(
    evidence=st.dictionaries(
        _text | st.sampled_from(["sbom", "é", "😀", "דּ"]), _outcome, max_size=4
    ),
    action=_object,
    approvals=st.lists(_object, max_size=2),
    runtime=_object,
    person=_text,
)
def test_the_pieces_of_a_dossier_make_the_canonical_form_of_the_whole(
    evidence: dict[str, Outcome], person: str, **parts: Any
) -> None:
    made = dossier(evidence=evidence, actor=Actor(person), **parts)

    assert made.encoded == canonical.encode(made.to_document())


def test_an_outcome_is_encoded_once_however_many_dossiers_it_is_in() -> None:
    outcome = Outcome.passed(components=3)

    pieces = [dossier(evidence={"sbom": outcome}, action={"n": n}).encoded for n in range(3)]

    assert len(set(pieces)) == 3
    assert outcome.encoded is outcome.encoded
    assert all(outcome.encoded in piece for piece in pieces)


@pytest.mark.parametrize(
    "changes",
    [
        {"evidence": {"sbom": Outcome.passed(x=float("nan"))}},
        {"evidence": {"sbom": Outcome.failed("\ud800")}},
        {"evidence": {"\ud800": Outcome.passed()}},
        {"evidence": {5: Outcome.passed()}},
        {"action": {"x": 2**53}},
        {"runtime": {"x": object()}},
    ],
)
def test_a_dossier_without_canonical_form_is_refused(changes: dict[str, Any]) -> None:
    made = dossier(**changes)

    for _ in range(2):
        with pytest.raises(InvalidRequest):
            _ = made.encoded


def test_a_dossier_without_evidence_says_so() -> None:
    assert canonical.decode(dossier(evidence={}).encoded)["evidence"] == {}
