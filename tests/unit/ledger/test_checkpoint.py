"""Checkpoints: origin, size and root under one signature."""

from __future__ import annotations

import pytest

from mlflow_governance.errors import LedgerError
from mlflow_governance.ledger import checkpoint, note
from mlflow_governance.ledger.checkpoint import Checkpoint
from tests.unit.ledger.builders import NAME, signer

ROOT = bytes(range(32))
ROOT_TEXT = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="


def test_a_checkpoint_is_three_lines_and_a_signature() -> None:
    mine = signer()

    signed = checkpoint.make(12, ROOT, mine)

    assert signed.startswith(f"{NAME}\n12\n{ROOT_TEXT}\n\n— {NAME} ")
    assert checkpoint.verify(signed, mine.key) == Checkpoint(NAME, 12, ROOT)
    assert checkpoint.parse(signed) == Checkpoint(NAME, 12, ROOT)


def test_extension_lines_are_signed_and_passed_over() -> None:
    mine = signer()
    signed = note.sign(f"{NAME}\n12\n{ROOT_TEXT}\nmore\n", mine)

    assert checkpoint.verify(signed, mine.key).size == 12


def test_a_checkpoint_of_another_ledger_is_refused() -> None:
    mine = signer()
    signed = note.sign(f"other.example\n12\n{ROOT_TEXT}\n", mine)

    with pytest.raises(LedgerError, match=r"other\.example"):
        checkpoint.verify(signed, mine.key)


@pytest.mark.parametrize(
    "text",
    [
        f"{NAME}\n12\n",
        f"{NAME}\n012\n{ROOT_TEXT}\n",
        f"{NAME}\n-1\n{ROOT_TEXT}\n",
        f"{NAME}\n\N{FULLWIDTH DIGIT ONE}\n{ROOT_TEXT}\n",
        f"{NAME}\n{10**20}\n{ROOT_TEXT}\n",
        f"{NAME}\n12\nAAAA\n",
        f"{NAME}\n12\n{ROOT_TEXT[:-2]}i=\n",
        f"{NAME}\n12\n{ROOT_TEXT}\n\n",
        f"\n12\n{ROOT_TEXT}\n",
    ],
)
def test_a_signed_note_that_is_no_checkpoint_is_refused(text: str) -> None:
    mine = signer()
    with pytest.raises(LedgerError):
        checkpoint.verify(note.sign(text, mine), mine.key)
