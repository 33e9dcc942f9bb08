from __future__ import annotations

import contextlib
import threading
from datetime import timedelta
from pathlib import Path

import pytest

from mlflow_governance.core import canonical, digest, moment
from mlflow_governance.errors import EvidenceMissing, Unavailable, VerificationError
from mlflow_governance.evidence import envelope
from mlflow_governance.evidence.trust import TrustPolicy
from mlflow_governance.serving.revocations import (
    PAYLOAD_TYPE,
    Revocation,
    RevocationCache,
    current_list,
    make_list,
    verify_list,
)
from tests.unit.serving.builders import HOUR, NOW, TRUST, blocked, key, revocations, signers

A, B = digest.of_bytes(b"a"), digest.of_bytes(b"b")


@pytest.fixture
def trust(tmp_path: Path) -> TrustPolicy:
    return TrustPolicy.parse(signers(*TRUST), tmp_path)


@pytest.fixture
def cache(tmp_path: Path) -> RevocationCache:
    return RevocationCache(tmp_path / "revocations.json")


def signed(document: object, payload_type: str = PAYLOAD_TYPE) -> bytes:
    return envelope.sign(canonical.encode(document), payload_type, [key("registry")])


def document(**changes: object) -> dict[str, object]:
    return {
        "schema": 1, "epoch": 1, "entries": [],
        "issued_at": moment.to_text(NOW), "expires_at": moment.to_text(NOW + HOUR),
    } | changes  # fmt: skip


def silent() -> bytes:
    raise Unavailable("no answer")


def test_a_signed_list_says_what_is_blocked_and_since_when(trust: TrustPolicy) -> None:
    found = verify_list(revocations(blocked(A, B)), trust, NOW)

    assert set(found.entries) == {A, B}
    assert found.epoch == 7
    assert found.expires_at == NOW + 23 * HOUR
    with pytest.raises(VerificationError, match=r"is Revoked since 2025-11-21T11:00:00"):
        found.refuse(A)
    found.refuse(digest.of_bytes(b"c"))


def test_a_quarantined_content_is_refused_as_well(trust: TrustPolicy) -> None:
    found = verify_list(revocations(blocked(A, stage="Quarantined")), trust, NOW)

    with pytest.raises(VerificationError, match="is Quarantined since"):
        found.refuse(A)


def test_a_list_of_a_stranger_is_refused(trust: TrustPolicy) -> None:
    with pytest.raises(VerificationError, match="no key in the trust policy"):
        verify_list(revocations(by="stranger"), trust, NOW)


def test_a_list_signed_by_a_producer_is_refused(trust: TrustPolicy) -> None:
    with pytest.raises(VerificationError, match="pipeline is not trusted for registry"):
        verify_list(revocations(by="pipeline"), trust, NOW)


def test_a_registry_trusted_for_some_models_cannot_speak_for_all(tmp_path: Path) -> None:
    text = signers(("registry", ("registry",))).replace(b"'*'", b"'churn-*'")
    narrow = TrustPolicy.parse(text, tmp_path)

    with pytest.raises(VerificationError, match="not trusted for the model"):
        verify_list(revocations(), narrow, NOW)


def test_another_document_signed_by_the_registry_is_not_a_list(trust: TrustPolicy) -> None:
    with pytest.raises(VerificationError, match="payload is not"):
        verify_list(signed(document(), envelope.IN_TOTO), trust, NOW)


def test_a_changed_byte_in_the_payload_is_refused(trust: TrustPolicy) -> None:
    data = revocations(blocked(A))
    emptied = envelope.parse(revocations(epoch=7)).payload
    forged = canonical.decode_object(data) | {
        "payload": canonical.decode_object(signed(canonical.decode(emptied)))["payload"]
    }

    with pytest.raises(VerificationError, match="does not verify"):
        verify_list(canonical.encode(forged), trust, NOW)


@pytest.mark.parametrize("late", [timedelta(0), timedelta(days=400)])
def test_an_expired_list_is_refused(trust: TrustPolicy, late: timedelta) -> None:
    with pytest.raises(VerificationError, match="expired at") as caught:
        verify_list(revocations(), trust, NOW + 23 * HOUR + late)

    assert "mlflow-governance/revocations" in caught.value.advice


def test_a_list_of_the_future_is_refused_beyond_five_minutes(trust: TrustPolicy) -> None:
    verify_list(revocations(issued_at=NOW + timedelta(minutes=5)), trust, NOW)
    with pytest.raises(VerificationError, match="of the future"):
        verify_list(revocations(issued_at=NOW + timedelta(minutes=5, seconds=1)), trust, NOW)


def test_an_older_epoch_than_one_seen_is_a_rollback(trust: TrustPolicy) -> None:
    verify_list(revocations(epoch=7), trust, NOW, minimum_epoch=7)
    with pytest.raises(VerificationError, match="rolled back: epoch 6, and epoch 7"):
        verify_list(revocations(epoch=6), trust, NOW, minimum_epoch=7)


@pytest.mark.parametrize(
    "changes",
    [
        {"schema": 2},
        {"epoch": -1},
        {"epoch": True},
        {"epoch": "7"},
        {"entries": {}},
        {"entries": [1]},
        {"entries": [{"digest": A, "stage": "Approved", "at": moment.to_text(NOW)}]},
        {"entries": [{"digest": A, "stage": [], "at": moment.to_text(NOW)}]},
        {"entries": [{"digest": [], "stage": "Revoked", "at": moment.to_text(NOW)}]},
        {"entries": [{"digest": "sha256:zz", "stage": "Revoked", "at": moment.to_text(NOW)}]},
        {"entries": [{"digest": A, "stage": "Revoked", "at": "yesterday"}]},
        {"entries": [{"digest": A, "stage": "Revoked", "at": moment.to_text(NOW)}] * 2},
        {"entries": [{"digest": A, "stage": "Revoked"}]},
        {"issued_at": None},
        {"issued_at": "2025-11-21T12:00:00"},
        {"expires_at": moment.to_text(NOW)},
        {"note": "an unknown field"},
    ],
)
def test_a_malformed_list_is_refused_though_signed(
    trust: TrustPolicy, changes: dict[str, object]
) -> None:
    verify_list(signed(document()), trust, NOW)
    with pytest.raises(VerificationError, match="does not verify"):
        verify_list(signed(document(**changes)), trust, NOW)


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"\xff", b"null", b"[" * 1000])
def test_foreign_bytes_are_refused(trust: TrustPolicy, data: bytes) -> None:
    with pytest.raises(VerificationError):
        verify_list(data, trust, NOW)


def test_a_list_with_no_lifetime_or_no_such_stage_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="lifetime"):
        make_list([], 1, NOW, timedelta(0), key("registry"))
    with pytest.raises(ValueError, match="Blocked"):
        make_list([Revocation(A, "Blocked", NOW)], 1, NOW, HOUR, key("registry"))


def test_the_list_is_kept_and_used_while_the_registry_is_away(
    trust: TrustPolicy, cache: RevocationCache
) -> None:
    current_list(lambda: revocations(blocked(A)), cache, trust, NOW)

    assert set(current_list(silent, cache, trust, NOW + 22 * HOUR).entries) == {A}


def test_the_kept_list_is_refused_once_it_expired(
    trust: TrustPolicy, cache: RevocationCache
) -> None:
    current_list(revocations, cache, trust, NOW)

    with pytest.raises(VerificationError, match="expired"):
        current_list(silent, cache, trust, NOW + 23 * HOUR)


def test_no_list_at_all_is_a_no(trust: TrustPolicy, cache: RevocationCache) -> None:
    with pytest.raises(EvidenceMissing, match="no revocation list"):
        current_list(silent, cache, trust, NOW)


def test_a_bad_answer_is_not_mended_by_a_good_kept_list(
    trust: TrustPolicy, cache: RevocationCache
) -> None:
    current_list(revocations, cache, trust, NOW)

    with pytest.raises(VerificationError, match="rolled back"):
        current_list(lambda: revocations(epoch=6), cache, trust, NOW)
    with pytest.raises(VerificationError, match="no key in the trust policy"):
        current_list(lambda: revocations(by="stranger", epoch=8), cache, trust, NOW)
    assert cache.epoch() == 7


def test_the_epoch_outlives_the_key_it_was_signed_with(
    tmp_path: Path, trust: TrustPolicy, cache: RevocationCache
) -> None:
    current_list(revocations, cache, trust, NOW)
    rotated = TrustPolicy.parse(signers(("new registry", ("registry",))), tmp_path)

    with pytest.raises(VerificationError, match="rolled back"):
        current_list(lambda: revocations(epoch=6, by="new registry"), cache, rotated, NOW)


def test_a_damaged_cache_is_a_no_that_says_what_to_delete(
    tmp_path: Path, trust: TrustPolicy, cache: RevocationCache
) -> None:
    (tmp_path / "revocations.json").write_bytes(b"{")

    with pytest.raises(VerificationError, match="damaged") as caught:
        current_list(revocations, cache, trust, NOW)
    assert "Delete" in caught.value.advice


def test_an_earlier_list_of_the_same_epoch_does_not_shorten_the_kept_one(
    trust: TrustPolicy, cache: RevocationCache
) -> None:
    current_list(lambda: revocations(issued_at=NOW), cache, trust, NOW)
    current_list(lambda: revocations(issued_at=NOW - HOUR), cache, trust, NOW)

    assert current_list(silent, cache, trust, NOW).issued_at == NOW


def test_of_many_at_once_the_highest_epoch_is_kept(
    trust: TrustPolicy, cache: RevocationCache
) -> None:
    lists = [revocations(epoch=epoch) for epoch in range(20)]
    found = [verify_list(data, trust, NOW) for data in lists]

    def keep(number: int) -> None:
        with contextlib.suppress(VerificationError):  # a higher epoch was there already
            cache.keep(lists[number], found[number])

    threads = [threading.Thread(target=keep, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert cache.epoch() == 19
    assert (cache._path.stat().st_mode & 0o777) == 0o600
    assert [path.name for path in cache._path.parent.iterdir()] == ["revocations.json"]
