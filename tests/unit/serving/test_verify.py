from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pytest

from mlflow_governance.core import digest
from mlflow_governance.core.model_ref import VersionRef
from mlflow_governance.errors import (
    ConfigurationError,
    EvidenceMissing,
    InvalidRequest,
    NotFound,
    Unavailable,
    VerificationError,
)
from mlflow_governance.evidence.hashing import hash_directory
from mlflow_governance.serving.settings import Requirement
from mlflow_governance.serving.verify import Verified, recheck, verify
from tests.unit.serving.builders import (
    HOUR,
    NAME,
    NOW,
    OTHER_POLICY,
    POLICY,
    REF,
    URI,
    Summary,
    World,
    blocked,
    revocations,
)

OTHER = digest.of_bytes(b"another model")


def run(world: World, uri: str = URI) -> Verified:
    return verify(uri, world.settings, world.connections)


def refusal(world: World, uri: str = URI) -> VerificationError:
    with pytest.raises(VerificationError) as caught:
        run(world, uri)
    return caught.value


def files_of(folder: Path) -> list[str]:
    return sorted(
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and path.relative_to(folder).parts[0] != "governance"
    )


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_a_version_in_order_is_brought_and_every_step_says_what_it_proved(world: World) -> None:
    found = run(world)

    assert found.path == world.copy
    assert (found.digest, found.name, found.version) == (world.digest, NAME, 3)
    assert found.facts["signature"]["signer"] == "pipeline"
    assert found.facts["provenance"]["builder_id"] == "https://example.com/builder"
    assert found.facts["verification-summary"]["stage"] == "Approved"
    assert found.facts["verification-summary"]["policy_digest"] == POLICY
    assert found.facts["revocations"]["epoch"] == 7


def test_the_copy_holds_the_signed_files_alone_and_nobody_may_write_to_it(world: World) -> None:
    found = run(world)

    assert files_of(found.path) == files_of(world.registry.stored)
    assert not (found.path / "governance").exists()
    assert {path.stat().st_mode & 0o777 for path in found.path.rglob("*")} == {0o400}
    assert found.path.stat().st_mode & 0o777 == 0o500
    assert world.settings.cache_dir.stat().st_mode & 0o777 == 0o700


def test_a_flipped_byte_in_each_file_is_refused_by_the_name_of_the_file(world: World) -> None:
    names = files_of(world.registry.stored)
    assert len(names) >= 5
    for name in names:
        path = world.registry.stored / name
        before = path.read_bytes()
        flip(path)

        error = refusal(world)

        assert f"file changed: {name}" in str(error)
        path.write_bytes(before)
    assert not world.copy.exists()
    run(world)


def test_an_extra_and_a_missing_file_are_named(world: World) -> None:
    (world.registry.stored / "extra.py").write_text("import os")
    (world.registry.stored / "requirements.txt").unlink()

    message = str(refusal(world))

    assert "file added: extra.py" in message
    assert "file missing: requirements.txt" in message


def test_a_symlink_is_refused_even_to_the_same_bytes(world: World) -> None:
    path = world.registry.stored / "requirements.txt"
    path.rename(world.home / "elsewhere")
    path.symlink_to(world.home / "elsewhere")

    assert "symlink in the model directory: 'requirements.txt'" in str(refusal(world))


@pytest.mark.parametrize("folder", ["governance", "governance/evidence", "governance/evidence/x"])
def test_a_symlink_among_the_evidence_is_refused(world: World, folder: str) -> None:
    path = world.registry.stored / folder
    if path.exists():
        path.rename(world.home / "elsewhere")
    path.symlink_to(world.home / "elsewhere")

    assert "symlink" in str(refusal(world))


def test_a_pipe_among_the_files_is_refused_without_waiting_for_it(world: World) -> None:
    run(world)
    os.chmod(world.copy, 0o700)
    os.mkfifo(world.copy / "pipe")
    world.change(offline=True)

    assert "special file" in str(refusal(world))


def test_everything_that_fails_is_told_at_once_with_what_mends_it(world: World) -> None:
    flip(world.registry.stored / "MLmodel")
    world.registry.listed = revocations(epoch=7, lifetime=timedelta(minutes=1))

    error = refusal(world)

    for step in ("signature", "provenance", "verification-summary", "revocations"):
        assert f"- {step}: " in error.message
    assert URI in error.message
    assert "mlflow-governance/revocations" in error.advice


def test_an_unsigned_model_is_refused_by_default_and_may_be_allowed(world: World) -> None:
    world.evidence("model.sig").unlink()

    error = refusal(world)
    assert isinstance(error, EvidenceMissing)
    assert "Sign it: mlflow-governance" in error.advice

    world.change(require=frozenset({Requirement.PROVENANCE, Requirement.SUMMARY}))
    run(world)


def test_the_registrys_word_alone_may_be_enough_but_not_without_the_bytes(world: World) -> None:
    world.evidence("model.sig").unlink()
    world.evidence("attestations/provenance.intoto.json").unlink()
    world.change(require=frozenset({Requirement.SUMMARY}))
    run(world)

    (world.registry.stored / "MLmodel").write_text("other: bytes")
    assert "another content" in str(refusal(world))


def test_a_signature_of_a_stranger_is_refused(world: World) -> None:
    world.sign(by="stranger")

    assert "no key in the trust policy" in str(refusal(world))


def test_a_provenance_about_another_content_is_refused(world: World) -> None:
    world.attest(subject=OTHER)

    assert "provenance: " in str(refusal(world))


def test_a_provenance_attached_later_counts(world: World) -> None:
    path = world.evidence("attestations/provenance.intoto.json")
    later = world.registry.stored / REF.folder / "attestations"
    later.mkdir(parents=True)
    path.rename(later / path.name)

    assert run(world).facts["provenance"]["signers"] == ["pipeline"]


@pytest.mark.parametrize("stage", ["STAGING", "APPROVED", "DEPRECATED"])
def test_a_stage_that_is_served_is_loaded(world: World, stage: str) -> None:
    world.decide(Summary(stage=stage, at=NOW))

    assert run(world).facts["verification-summary"]["stage"].upper() == stage


def test_a_candidate_is_not_loaded(world: World) -> None:
    world.decide(Summary(gate="accept", stage="CANDIDATE", at=NOW))

    assert f"{REF} is at Candidate, which is not loaded here" in str(refusal(world))


def test_a_version_with_nothing_but_refusals_is_not_loaded(world: World) -> None:
    (world.registry.stored / REF.folder / "decisions" / "promote-0.vsa.json").unlink()
    world.decide(Summary(passed=False, at=NOW))

    assert "has not decided about" in str(refusal(world))


def test_a_refused_transition_does_not_stop_what_is_released(world: World) -> None:
    world.decide(Summary(passed=False, at=NOW))

    run(world)


def test_a_passed_withdrawal_stops_and_a_passed_return_serves_again(world: World) -> None:
    world.decide(Summary(gate="withdraw", stage="QUARANTINED", at=NOW - HOUR / 2))
    assert "is at Quarantined" in str(refusal(world))

    world.decide(Summary(gate="withdraw", stage="APPROVED", at=NOW))
    run(world)


def test_a_return_from_quarantine_does_not_renew_a_policy(
    world: World,
) -> None:
    world.registry.policies = frozenset({OTHER_POLICY})
    back = Summary(gate="withdraw", stage="APPROVED", policy=OTHER_POLICY, at=NOW)
    world.decide(back)
    assert f"under the policy {POLICY}, which does not count" in str(refusal(world))

    world.registry.policies = frozenset({POLICY})
    run(world)


def test_a_return_without_any_judgement_is_a_no(world: World) -> None:
    (world.registry.stored / REF.folder / "decisions" / "promote-0.vsa.json").unlink()
    world.decide(Summary(gate="withdraw", stage="APPROVED", at=NOW))

    assert "has not decided" in str(refusal(world))


@pytest.mark.parametrize("gate", ["withdraw", "alias", "download"])
def test_a_refusal_that_moves_nothing_stops_nothing(world: World, gate: str) -> None:
    world.decide(Summary(gate=gate, passed=False, at=NOW))

    run(world)


@pytest.mark.parametrize(
    ("summary", "why"),
    [
        (Summary(by="stranger"), "no key in the trust policy"),
        (Summary(by="pipeline"), "pipeline is not trusted for registry"),
        (Summary(ref=VersionRef(NAME, 4)), "not models:/breast cancer/3"),
        (Summary(ref=VersionRef("other", 3)), "not models:/breast cancer/3"),
        (Summary(at=NOW + HOUR), "of the future"),
        (Summary(gate="bless"), "no summary of this registry's kind"),
        (Summary(stage="NIRVANA"), "no summary of this registry's kind"),
    ],
)
def test_a_summary_that_is_not_the_registrys_word_about_this_version_is_none(
    world: World, summary: Summary, why: str
) -> None:
    (world.registry.stored / REF.folder / "decisions" / "promote-0.vsa.json").unlink()
    world.decide(summary)

    assert why in str(refusal(world))


def test_a_summary_about_another_content_is_none(world: World) -> None:
    (world.registry.stored / REF.folder / "decisions" / "promote-0.vsa.json").unlink()
    world.decide(Summary(), subject=OTHER)

    assert "about another content" in str(refusal(world))


def test_garbage_beside_a_good_summary_does_not_hide_it(world: World) -> None:
    decisions = world.registry.stored / REF.folder / "decisions"
    (decisions / "promote-1.vsa.json").write_bytes(b"\xff")
    (decisions / "promote-2.vsa.json").write_bytes(b"{}")
    world.decide(Summary(by="stranger", passed=False, at=NOW))

    run(world)


def test_no_summary_is_a_no(world: World) -> None:
    (world.registry.stored / REF.folder / "decisions" / "promote-0.vsa.json").unlink()

    assert "has not decided" in str(refusal(world))


def test_a_policy_that_is_not_in_force_does_not_count(world: World) -> None:
    world.registry.policies = frozenset({OTHER_POLICY})

    error = refusal(world)

    assert f"under the policy {POLICY}, which does not count" in str(error)
    assert f"mlflow-governance judge {REF}" in error.advice


def test_pinned_policies_count_whatever_the_server_says(world: World) -> None:
    world.registry.policies = frozenset({OTHER_POLICY})
    world.change(accepted_policy_digests=frozenset({POLICY}))
    run(world)

    world.change(accepted_policy_digests=frozenset({OTHER_POLICY}))
    world.registry.policies = frozenset({POLICY})
    assert "does not count" in str(refusal(world))


@pytest.mark.parametrize(
    ("listed", "why"),
    [
        (b"", "not a DSSE envelope"),
        (revocations(by="stranger"), "no key in the trust policy"),
        (revocations(lifetime=HOUR), "expired"),
        (revocations(issued_at=NOW + HOUR), "of the future"),
    ],
)
def test_a_bad_revocation_list_is_a_no(world: World, listed: bytes, why: str) -> None:
    world.registry.listed = listed

    assert why in str(refusal(world))


def test_a_rolled_back_revocation_list_is_a_no(world: World) -> None:
    run(world)
    world.registry.listed = revocations(epoch=6)

    assert "rolled back" in str(refusal(world))


def test_a_revoked_content_is_refused_under_every_name(world: World) -> None:
    world.registry.listed = revocations(blocked(world.digest))

    error = refusal(world)

    assert "is Revoked since" in str(error)
    assert error.exit_code == 3


def test_the_list_is_read_from_a_file_as_well(world: World) -> None:
    from mlflow_governance.serving.fetch import LiveFetcher

    world.list_file(revocations(blocked(world.digest)))

    assert LiveFetcher(world.settings, {}).revocations() == revocations_file(world)
    world.settings.trust.parent.joinpath("revocations.json").unlink()
    with pytest.raises(Unavailable, match="no revocation list at"):
        LiveFetcher(world.settings, {}).revocations()


def revocations_file(world: World) -> bytes:
    path = world.settings.revocations_file
    assert path is not None
    return path.read_bytes()


def test_of_a_copy_in_the_cache_only_the_evidence_is_fetched(world: World) -> None:
    run(world)
    world.registry.tag = world.digest
    world.registry.asked.clear()

    run(world)

    assert "download governance" in world.registry.asked
    assert "download" not in world.registry.asked


def test_a_new_withdrawal_reaches_a_copy_in_the_cache(world: World) -> None:
    run(world)
    world.registry.tag = world.digest
    world.decide(Summary(gate="withdraw", stage="QUARANTINED", at=NOW))

    assert "is at Quarantined" in str(refusal(world))


def test_a_damaged_copy_is_fetched_again(world: World) -> None:
    path = run(world).path
    world.registry.tag = world.digest
    os.chmod(path / "MLmodel", 0o600)
    flip(path / "MLmodel")

    assert hash_directory(run(world).path).digest == world.digest
    assert "download" in world.registry.asked[-4:]


def test_a_tag_that_lies_about_the_content_gains_nothing(world: World) -> None:
    run(world)
    world.registry.tag = world.digest
    # Another version of the same name: the copy is whole, but no summary binds it to this one.
    decisions = world.registry.stored / REF.folder / "decisions"
    (decisions / "promote-0.vsa.json").unlink()
    world.decide(Summary(), subject=OTHER)

    assert "about another content" in str(refusal(world))


@pytest.mark.parametrize("word", ["3", "Approved", "latest"])
def test_offline_a_verified_copy_is_loaded_by_the_name_it_had(world: World, word: str) -> None:
    uri = f"models:/{NAME}/{word}"
    online = run(world, uri)
    world.change(offline=True)
    world.registry.away = True

    offline = run(world, uri)

    assert (offline.path, offline.facts) == (online.path, online.facts)
    assert run(world, URI).path == online.path


def test_offline_a_name_never_verified_is_a_no(world: World) -> None:
    run(world)
    world.change(offline=True)

    assert "never verified on this host" in str(refusal(world, f"models:/{NAME}@champion"))


def test_offline_an_expired_list_is_a_no(world: World) -> None:
    run(world)
    world.change(offline=True)
    world.registry.away = True
    world.now = NOW + 23 * HOUR

    assert "revocation list expired" in str(refusal(world))


def test_offline_a_changed_copy_is_a_no_that_names_the_file(world: World) -> None:
    path = run(world).path
    world.change(offline=True)
    os.chmod(path / "MLmodel", 0o600)
    flip(path / "MLmodel")

    assert "file changed: MLmodel" in str(refusal(world))


def test_offline_a_purged_copy_is_a_no(world: World) -> None:
    from webhooks.receiver.cache import purge

    run(world)
    world.change(offline=True)
    assert purge(world.settings.cache_dir, world.digest)

    assert "not in the cache any more" in str(refusal(world))


def test_offline_the_policy_counts_that_counted_last(world: World) -> None:
    run(world)
    world.registry.away = True
    world.change(offline=True)
    run(world)

    (world.settings.cache_dir / "index.json").write_text(
        (world.settings.cache_dir / "index.json").read_text().replace(POLICY, OTHER_POLICY)
    )
    assert "does not count" in str(refusal(world))


def test_offline_without_a_known_policy_is_a_no_unless_pinned(world: World) -> None:
    world.change(accepted_policy_digests=frozenset({POLICY}))
    run(world)
    world.registry.away = True
    world.change(offline=True)
    run(world)

    world.change(accepted_policy_digests=frozenset())
    assert "MLFLOW_GOVERNANCE_POLICY_DIGESTS" in refusal(world).advice


@pytest.mark.parametrize("damage", ["", "[]", '{"schema":1}', "\0"])
def test_a_damaged_index_is_a_no_with_advice(world: World, damage: str) -> None:
    run(world)
    world.change(offline=True)
    index = world.settings.cache_dir / "index.json"
    index.write_text(damage)

    assert f"Delete {index}" in refusal(world).advice


def test_damaged_evidence_in_the_cache_is_a_no(world: World) -> None:
    run(world)
    world.change(offline=True)
    (kept,) = (world.copy.parent / "evidence").iterdir()
    flip(kept)
    kept.write_bytes(kept.read_bytes()[:-30])

    assert "damaged" in str(refusal(world))


def test_a_registry_that_is_away_is_no_reason_to_guess(world: World) -> None:
    run(world)
    world.registry.away = True

    with pytest.raises(Unavailable):
        run(world)


def test_an_unknown_model_is_not_found_and_a_path_is_no_model(world: World) -> None:
    with pytest.raises(NotFound):
        run(world, "models:/unknown/1")
    with pytest.raises(InvalidRequest):
        run(world, str(world.registry.stored))


def test_a_cache_open_to_others_is_refused(world: World) -> None:
    world.settings.cache_dir.mkdir(mode=0o755)

    with pytest.raises(ConfigurationError, match="open to other users") as caught:
        run(world)
    assert "chmod 700" in caught.value.advice


def test_nothing_is_left_of_what_did_not_verify(world: World) -> None:
    flip(world.registry.stored / "MLmodel")
    refusal(world)

    left = {path.name for path in world.settings.cache_dir.iterdir()}
    assert left <= {"revocations.json"}


def test_a_recheck_notices_what_changed_since(world: World) -> None:
    found = run(world)
    assert recheck(found, world.settings, world.connections) == found.facts

    world.registry.listed = revocations(blocked(found.digest), epoch=8)
    with pytest.raises(VerificationError, match="Revoked"):
        recheck(found, world.settings, world.connections)

    world.registry.listed = revocations(epoch=9)
    world.registry.policies = frozenset({OTHER_POLICY})
    with pytest.raises(VerificationError, match="does not count"):
        recheck(found, world.settings, world.connections)

    world.registry.policies = frozenset({POLICY})
    world.trust(("registry", ("registry",)))
    with pytest.raises(VerificationError, match="no key in the trust policy"):
        recheck(found, world.settings, world.connections)
