"""The examiner of a running registry."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from mlflow_governance.core.dossier import Status
from mlflow_governance.errors import VerificationError
from mlflow_governance.evidence.authority import KeyHolder
from mlflow_governance.evidence.interface import Case, EvidenceItem, Kind
from mlflow_governance.evidence.keys import PublicKey, generate_key_pair
from mlflow_governance.evidence.live import LiveExaminer
from mlflow_governance.evidence.predicate import Purpose
from mlflow_governance.evidence.trust import Signer, add_signer
from tests.unit.evidence.builders import MANIFEST, NOW

ITEM = EvidenceItem("attestations/x.intoto.json", b"{}")


class Counting:
    """Passes, and counts how often it was asked."""

    kind = Kind.PROVENANCE

    def __init__(self) -> None:
        self.asked = 0

    def verify(self, case: Case) -> Mapping[str, Any]:
        self.asked += 1
        return {"signers": len(case.trust.signers)}


@pytest.fixture
def trust(tmp_path: Path) -> Path:
    path = tmp_path / "trust.yaml"
    path.write_text("version: 1\nsigners: []\n")
    return path


def _add(trust: Path, name: str) -> None:
    generate_key_pair(trust.parent / f"{name}.pem")
    key = PublicKey.from_pem((trust.parent / f"{name}.pub").read_bytes())
    add_signer(trust, Signer(name, KeyHolder(key), frozenset({Purpose.PROVENANCE})))


def test_a_changed_trust_policy_counts_at_once(trust: Path) -> None:
    live = LiveExaminer(trust, [Counting()])
    before = live.trust_digest
    _add(trust, "ci")

    assert live.trust_digest != before
    facts = live.examine(MANIFEST, "churn", [ITEM], NOW)[Kind.PROVENANCE].facts
    assert facts == {"signers": 1}


def test_a_key_file_replaced_on_disk_counts_at_once(trust: Path) -> None:
    for name in ("one", "two"):
        generate_key_pair(trust.parent / f"{name}.pem")
    named = trust.parent / "signer.pub"
    named.write_bytes((trust.parent / "one.pub").read_bytes())
    trust.write_text(
        "version: 1\nsigners:\n"
        "- {name: ci, key: {file: signer.pub}, for: [provenance], models: ['*']}\n"
    )
    live = LiveExaminer(trust, [Counting()])
    before = live.trust_digest
    replacement = trust.parent / "new.pub"
    replacement.write_bytes((trust.parent / "two.pub").read_bytes())
    os.replace(replacement, named)

    assert live.trust_digest != before


@pytest.mark.parametrize("text", ["signers: [", "version: 9\nsigners: []\n", None])
def test_an_unreadable_trust_policy_trusts_nobody_and_says_so(
    trust: Path, text: str | None
) -> None:
    live = LiveExaminer(trust, [Counting()])
    before = live.trust_digest
    if text is None:
        trust.unlink()
    else:
        trust.write_text(text)

    outcomes = live.examine(MANIFEST, "churn", [ITEM], NOW)

    assert {outcome.status for outcome in outcomes.values()} == {Status.ERROR}
    assert set(outcomes) == set(Kind)
    assert "trust policy" in outcomes[Kind.SIGNATURE].problem
    assert live.trust_digest != before
    with pytest.raises(VerificationError, match="trust policy"):
        live.recognise(MANIFEST, "churn", ITEM, NOW)


def test_facts_are_remembered_for_a_minute_and_no_longer(trust: Path) -> None:
    verifier = Counting()
    live = LiveExaminer(trust, [verifier])
    for seconds in (0, 59, 61):
        live.examine(MANIFEST, "churn", [ITEM], NOW + timedelta(seconds=seconds))

    assert verifier.asked == 2


def test_what_a_verifier_watches_is_noticed_at_once(trust: Path) -> None:
    class Watcher(Counting):
        seen = 0

        def state(self) -> object:
            return self.seen

    verifier = Watcher()
    live = LiveExaminer(trust, [verifier])
    live.examine(MANIFEST, "churn", [ITEM], NOW)
    live.examine(MANIFEST, "churn", [ITEM], NOW)
    assert verifier.asked == 1

    verifier.seen = 1
    live.examine(MANIFEST, "churn", [ITEM], NOW)
    assert verifier.asked == 2


@pytest.mark.parametrize(
    "changed", [EvidenceItem(ITEM.name, b"[]"), EvidenceItem("attestations/y.intoto.json", b"{}")]
)
def test_other_evidence_is_examined_anew(trust: Path, changed: EvidenceItem) -> None:
    verifier = Counting()
    live = LiveExaminer(trust, [verifier])
    live.examine(MANIFEST, "churn", [ITEM], NOW)
    live.examine(MANIFEST, "churn", [changed], NOW)
    live.examine(MANIFEST, "churn", [ITEM, changed], NOW)
    live.examine(MANIFEST, "other", [ITEM], NOW)

    assert verifier.asked == 4


def test_what_a_caller_does_to_its_answer_is_not_remembered(trust: Path) -> None:
    live = LiveExaminer(trust, [Counting()])
    live.examine(MANIFEST, "churn", [ITEM], NOW).clear()

    assert live.examine(MANIFEST, "churn", [ITEM], NOW)
