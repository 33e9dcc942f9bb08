"""A witness: what it cosigns, what it refuses, and that it does not forget."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path

import pytest

from mlflow_governance.errors import ConfigurationError
from mlflow_governance.ledger import checkpoint, merkle, note
from mlflow_governance.ledger.cosignature import cosigned, witness_key
from mlflow_governance.ledger.merkle import consistency_ranges, range_root
from mlflow_governance.ledger.witnessing import SIZE_TYPE, Answer, Request
from mlflow_governance.web.witness import MAX_REQUEST_BYTES, Witness, app_of
from tests.unit.ledger.builders import SmallLedger, signer, small_ledger

NOW = 1_800_000_000
LEDGER, OTHER = small_ledger(20), small_ledger(20)


def proof(leaves: list[bytes], old: int, new: int) -> tuple[bytes, ...]:
    return tuple(range_root(leaves[r.start : r.stop]) for r in consistency_ranges(old, new))


def asking(ledger: SmallLedger, old: int, new: int) -> Request:
    return Request(old, proof(ledger.leaves, old, new) if old else (), ledger.notes[new])


@pytest.fixture
def witness(tmp_path: Path) -> Witness:
    return Witness(signer("w.example"), [LEDGER.key], tmp_path / "state", lambda: NOW)


def ask(witness: Witness, request: Request) -> Answer:
    return witness.add_checkpoint(request.encode())


def test_a_ledger_that_grows_is_cosigned_each_time(witness: Witness) -> None:
    key = witness_key(witness.signer)
    for old, new in ((0, 0), (0, 3), (3, 3), (3, 8), (8, 9), (9, 20)):
        given = ask(witness, asking(LEDGER, old, new))

        assert (given.status, cosigned(LEDGER.notes[new] + given.body, [key])) == (200, {key: NOW})


def test_a_question_with_an_old_size_is_told_the_size(witness: Witness) -> None:
    ask(witness, asking(LEDGER, 0, 8))

    for old, new in ((0, 20), (3, 20), (3, 3), (0, 8)):
        given = ask(witness, asking(LEDGER, old, new))
        assert (given.status, given.body, given.kind) == (409, "8\n", SIZE_TYPE)


def test_a_fork_is_refused_although_it_is_signed(witness: Witness) -> None:
    leaves = [*LEDGER.leaves[:7], *[merkle.leaf_hash(b"another %d" % n) for n in range(13)]]
    ask(witness, asking(LEDGER, 0, 8))
    signed = checkpoint.make(20, range_root(leaves), LEDGER.signer)

    for attempt in (
        Request(8, proof(leaves, 8, 20), signed),
        Request(8, proof(LEDGER.leaves, 8, 20), signed),
        Request(8, (), checkpoint.make(8, range_root(leaves[:8]), LEDGER.signer)),
    ):
        assert ask(witness, attempt).status == 422
    assert ask(witness, asking(LEDGER, 8, 20)).status == 200


def test_a_ledger_that_shrinks_is_refused(witness: Witness) -> None:
    ask(witness, asking(LEDGER, 0, 8))

    assert ask(witness, Request(8, (), LEDGER.notes[7])).status == 400
    assert ask(witness, Request(7, (), LEDGER.notes[7])).status == 409


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (Request(0, (b"0" * 32,), LEDGER.notes[8]), 422),
        (Request(0, (), OTHER.notes[8]), 403),
        (Request(0, (), note.sign("elsewhere\n8\n" + "A" * 43 + "=\n", LEDGER.signer)), 404),
        (Request(0, (), checkpoint.make(0, b"0" * 32, LEDGER.signer)), 422),
        (Request(9, (), LEDGER.notes[8]), 400),
        (Request(0, (), note.sign("nothing\n", LEDGER.signer)), 400),
    ],
    ids=["proof-of-nothing", "other-key", "other-origin", "empty-root", "old-larger", "no-tree"],
)
def test_what_does_not_hold_is_refused(witness: Witness, request_: Request, status: int) -> None:
    assert ask(witness, request_).status == status
    assert ask(witness, asking(LEDGER, 0, 3)).status == 200, "and nothing was remembered"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"old 0",
        b"\xff",
        b"old 00\n\n" + LEDGER.notes[3].encode(),
        b"old -1\n\n" + LEDGER.notes[3].encode(),
        b"old 0\nAAAA\n\n" + LEDGER.notes[3].encode(),
        b"old 0\n!\n\n" + LEDGER.notes[3].encode(),
        b"old 1\n" + b"A" * 43 + b"=\n" * 64 + b"\n" + LEDGER.notes[3].encode(),
        b"old 0\n" + LEDGER.notes[3].encode(),
        b"old 0\n\n" + LEDGER.notes[3].encode()[:-1],
    ],
)
def test_what_is_no_question_is_answered_400(witness: Witness, body: bytes) -> None:
    assert witness.add_checkpoint(body).status == 400


def test_a_spoilt_signature_of_the_ledger_spoils_the_note(witness: Witness) -> None:
    text, _ = note.split(LEDGER.notes[3])
    spoilt = LEDGER.notes[3] + LEDGER.notes[4].rpartition("\n\n")[2]

    assert ask(witness, Request(0, (), spoilt)).status == 403
    stranger = note.sign(text, signer("stranger.example")).rpartition("\n\n")[2]
    assert ask(witness, Request(0, (), LEDGER.notes[3] + stranger)).status == 200


def test_what_it_publishes_has_both_signatures_and_no_others(witness: Witness) -> None:
    name = hashlib.sha256(LEDGER.key.name.encode()).hexdigest()
    text, _ = note.split(LEDGER.notes[3])
    stranger = note.sign(text, signer("stranger.example")).rpartition("\n\n")[2]
    assert witness.checkpoint(name) is None
    ask(witness, Request(0, (), LEDGER.notes[3] + stranger))

    published = witness.checkpoint(name)

    assert published is not None
    assert "stranger" not in published
    assert checkpoint.verify(published, LEDGER.key).size == 3
    assert cosigned(published, [witness_key(witness.signer)])
    assert witness.checkpoint("0" * 64) is None


def test_another_process_remembers(witness: Witness) -> None:
    ask(witness, asking(LEDGER, 0, 8))
    again = Witness(witness.signer, [LEDGER.key], witness.folder)

    assert ask(again, asking(LEDGER, 0, 20)).body == "8\n"


@pytest.mark.parametrize("content", ["", "junk", LEDGER.notes[2], OTHER.notes[3]])
def test_a_damaged_state_cosigns_nothing(witness: Witness, content: str) -> None:
    """Not even one in which somebody wrote an older checkpoint of the very ledger."""
    ask(witness, asking(LEDGER, 0, 8))
    (state,) = witness.folder.glob("*.checkpoint")
    state.write_text(content)

    with pytest.raises(ConfigurationError, match="not what this witness wrote"):
        ask(witness, asking(LEDGER, 0, 20))
    answered = (
        app_of(witness).test_client().post("/add-checkpoint", data=asking(LEDGER, 0, 20).encode())
    )
    assert answered.status_code == 500


def test_its_files_are_its_own(witness: Witness) -> None:
    ask(witness, asking(LEDGER, 0, 8))

    assert {path.stat().st_mode & 0o777 for path in witness.folder.iterdir()} == {0o600}
    assert witness.folder.stat().st_mode & 0o777 == 0o700


def test_of_many_at_once_that_show_it_different_futures_one_wins(witness: Witness) -> None:
    """The race of the specification: nothing is rolled back between check and write."""
    ask(witness, asking(LEDGER, 0, 3))
    answers: list[int] = []
    threads = [
        threading.Thread(
            target=lambda n=n: answers.append(ask(witness, asking(LEDGER, 3, n)).status)
        )
        for n in range(4, 20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(answers) == [200] + [409] * 15


def test_several_ledgers_do_not_meet(tmp_path: Path) -> None:
    other = signer("other.example/ledger")
    witness = Witness(signer("w.example"), [LEDGER.key, other.key], tmp_path)
    ask(witness, asking(LEDGER, 0, 8))

    assert ask(witness, Request(0, (), checkpoint.make(5, b"1" * 32, other))).status == 200
    assert ask(witness, asking(LEDGER, 8, 9)).status == 200


def test_a_ledger_that_lost_entries_is_taken_up_again_by_hand_only(witness: Witness) -> None:
    ask(witness, asking(LEDGER, 0, 8))

    kept = witness.forget(LEDGER.key.name)

    assert checkpoint.verify(kept.read_text(), LEDGER.key).size == 8
    assert ask(witness, asking(LEDGER, 0, 3)).status == 200
    with pytest.raises(ConfigurationError, match="ever cosigned"):
        witness.forget("unknown.example")


def test_a_ledger_is_no_witness_of_itself(tmp_path: Path) -> None:
    for key, logs in ((LEDGER.signer, [LEDGER.key]), (signer("w"), [])):
        with pytest.raises(ConfigurationError):
            Witness(key, logs, tmp_path)


def test_over_http_it_speaks_the_protocol(witness: Witness) -> None:
    client = app_of(witness).test_client()
    good = client.post("/add-checkpoint", data=asking(LEDGER, 0, 8).encode())
    assert (good.status_code, good.text[:2]) == (200, "\N{EM DASH} ")
    conflict = client.post("/add-checkpoint", data=asking(LEDGER, 0, 9).encode())
    assert conflict.headers["Content-Type"] == SIZE_TYPE
    name = hashlib.sha256(LEDGER.key.name.encode()).hexdigest()
    assert checkpoint.verify(client.get(f"/{name}/checkpoint").text, LEDGER.key).size == 8
    assert client.get(f"/{'0' * 64}/checkpoint").status_code == 404
    assert client.get("/add-checkpoint").status_code == 405
    assert client.post("/add-checkpoint", data=b"x" * (MAX_REQUEST_BYTES + 1)).status_code == 413
