"""A ledger that changes its key: both keys sign where one ends and the other begins."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from mlflow_governance.errors import ConfigurationError, LedgerError
from mlflow_governance.ledger import checkpoint, handover, note, recovery
from mlflow_governance.ledger.checkpoint import Checkpoint
from mlflow_governance.ledger.handover import KeyHistory
from mlflow_governance.ledger.note import NoteSigner
from tests.unit.ledger.builders import NAME, ecdsa_signer, signer


def at(size: int, root: bytes = b"r" * 32) -> Checkpoint:
    return Checkpoint(NAME, size, root)


def plain(size: int, by: NoteSigner) -> str:
    return checkpoint.make(size, b"r" * 32, by)


@dataclass
class Line:
    """Three keys: the second takes over at 10 entries, the third at 20."""

    first: NoteSigner
    second: NoteSigner
    third: NoteSigner
    notes: list[str]

    @property
    def history(self) -> KeyHistory:
        return KeyHistory((self.first.key,)).following(self.notes)


@pytest.fixture
def line() -> Line:
    first, second, third = signer(), ecdsa_signer(), signer()
    notes = [handover.make(at(10), first, second), handover.make(at(20), second, third)]
    return Line(first, second, third, notes)


def test_whoever_knows_the_first_key_learns_the_others_from_the_notes(line: Line) -> None:
    history = KeyHistory((line.first.key,)).following(
        reversed([*line.notes, plain(12, line.second)])
    )

    assert history.keys == (line.first.key, line.second.key, line.third.key)
    assert history.newest == line.third.key
    assert KeyHistory.parse(history.encode()).following(line.notes) == history


def test_each_key_counts_from_its_handover_to_the_next(line: Line) -> None:
    for size, who in [
        (0, line.first), (9, line.first), (10, line.first), (10, line.second), (19, line.second),
        (20, line.second), (20, line.third), (10**9, line.third),
    ]:  # fmt: skip
        assert checkpoint.verify(plain(size, who), line.history).size == size


def test_a_retired_key_signs_no_longer_ledger_and_a_new_one_no_older(line: Line) -> None:
    for size, who in [
        (11, line.first), (21, line.first), (9, line.second), (21, line.second), (19, line.third),
    ]:  # fmt: skip
        with pytest.raises(LedgerError, match="does not count"):
            checkpoint.verify(plain(size, who), line.history)


def test_a_head_is_signed_by_the_newest_key(line: Line) -> None:
    for text in (line.notes[1], plain(20, line.third), plain(25, line.third)):
        assert line.history.open_head(text)
    for text in (
        plain(5, line.first), plain(10, line.first), plain(19, line.second),
        plain(20, line.second), line.notes[0],
    ):  # fmt: skip
        with pytest.raises(LedgerError):
            line.history.open_head(text)


def test_a_handover_is_no_checkpoint_that_was_lost(line: Line) -> None:
    assert line.history.proves(line.notes[0])
    assert not line.history.proves(plain(12, line.second))
    with pytest.raises(LedgerError, match="never lost"):
        recovery.facts_of(line.notes[0], None)


def test_the_note_of_a_handover_is_a_checkpoint_of_both_keys(line: Line) -> None:
    for text in line.notes:
        assert checkpoint.verify(text, line.history).size in (10, 20)
    without_heir = line.notes[0].rpartition("\N{EM DASH}")[0]
    assert KeyHistory((line.first.key,)).following([without_heir]).keys == (line.first.key,)


def test_a_bad_signature_of_either_key_refuses_the_note(line: Line) -> None:
    body, _, tail = line.notes[0].rpartition("\n\n")
    other = plain(10, line.second).rpartition("\n\n")[2]
    forged = body + "\n\n" + tail.splitlines(keepends=True)[0] + other

    with pytest.raises(LedgerError):
        checkpoint.verify(forged, line.history)
    assert KeyHistory((line.first.key,)).following([forged]).newest == line.first.key


def test_a_handover_the_heir_did_not_confirm_is_none(line: Line) -> None:
    text = f"{at(30).text()}ledger.rekeyed {signer().key.encode()}\n"
    alone = note.sign(text, line.third)

    assert line.history.following([alone]) == line.history
    with pytest.raises(LedgerError, match="without proof"):
        checkpoint.verify(alone, line.history)


def test_a_handover_the_holder_did_not_sign_is_none(line: Line) -> None:
    evil, other = signer(), signer()
    invented = handover.make(at(30), other, evil)

    assert line.history.following([invented]) == line.history
    with pytest.raises(LedgerError):
        checkpoint.verify(invented, line.history)


def test_a_stolen_retired_key_that_hands_over_again_is_a_fork(line: Line) -> None:
    for size in (5, 10, 30):
        again = handover.make(at(size), line.first, signer())
        with pytest.raises(LedgerError, match="twice"):
            KeyHistory((line.first.key,)).following([*line.notes, again])
    stolen = handover.make(at(30), line.first, signer())
    with pytest.raises(LedgerError, match="not to"):
        KeyHistory((line.first.key, line.second.key)).following([stolen])


def test_a_key_hands_over_only_what_it_was_given(line: Line) -> None:
    early = handover.make(at(10), line.second, signer())

    assert KeyHistory((line.first.key,)).following([line.notes[0], early]).newest == line.second.key


def test_the_same_note_twice_is_one_handover(line: Line) -> None:
    again = handover.make(at(10), line.first, line.second)  # ECDSA signs otherwise each time

    assert line.history.following([*line.notes, again]) == line.history


def test_a_ledger_does_not_go_back_to_a_key_it_had(line: Line) -> None:
    back = handover.make(at(30), line.third, line.first)

    with pytest.raises(LedgerError, match="twice"):
        line.history.following([*line.notes, back])


def test_a_handover_that_is_known_of_and_not_there_is_missed(line: Line) -> None:
    told = KeyHistory.parse(line.history.encode())

    with pytest.raises(LedgerError, match="is missing"):
        told.following([line.notes[1]]).open(plain(30, line.third))


def test_other_lines_in_checkpoints_say_nothing() -> None:
    mine = signer()
    text = note.sign(f"{at(3).text()}something else\n", mine)

    assert handover.read(text) is None
    assert checkpoint.verify(text, KeyHistory((mine.key,))).size == 3


@pytest.mark.parametrize("line", ["ledger.rekeyed ", "ledger.rekeyed x+00000000+AQ=="])
def test_a_handover_to_no_key_is_refused(line: str) -> None:
    mine = signer()
    text = note.sign(f"{at(3).text()}{line}\n", mine)

    with pytest.raises(LedgerError, match="no key"):
        handover.read(text)
    with pytest.raises(LedgerError, match="no key"):
        KeyHistory((mine.key,)).open(text)


def test_two_heirs_in_one_note_are_none() -> None:
    mine = signer()
    told = f"ledger.rekeyed {signer().key.encode()}\n"

    with pytest.raises(LedgerError, match="no key"):
        handover.read(note.sign(f"{at(3).text()}{told}{told}", mine))


def test_a_ledger_is_not_handed_over_to_itself_or_under_another_name() -> None:
    mine = signer()
    for other in (mine, signer("other.example/ledger")):
        with pytest.raises(ConfigurationError):
            handover.make(at(3), mine, other)


def test_a_history_is_of_one_ledger_and_has_each_key_once() -> None:
    mine, other = signer().key, signer("other.example/ledger").key
    for keys in ((), (mine, mine), (mine, other)):
        with pytest.raises(ConfigurationError):
            KeyHistory(keys)


def test_what_the_entries_say_must_be_what_the_notes_say(line: Line) -> None:
    entries = [
        (9, handover.facts(line.first.key, line.second.key)),
        (19, handover.facts(line.second.key, line.third.key)),
    ]
    handover.require_entries(line.history, entries)

    wrong = [
        entries[:1], entries[1:], [*entries, (25, entries[0][1])],
        [(9, entries[1][1]), entries[1]], [(8, entries[0][1]), entries[1]],
    ]  # fmt: skip
    for told in wrong:
        with pytest.raises(LedgerError, match="same change"):
            handover.require_entries(line.history, told)
