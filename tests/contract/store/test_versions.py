"""Versions and the revocation list."""

from __future__ import annotations

from datetime import timedelta

import pytest

from mlflow_governance.core.dossier import Outcome
from mlflow_governance.core.model_ref import VersionRef
from mlflow_governance.core.stage import Stage
from mlflow_governance.errors import Conflict
from mlflow_governance.evidence.interface import EvidenceItem, Kind
from mlflow_governance.workflows.ports import VersionRecord
from tests.unit.store.builders import (
    AT,
    MODEL,
    OTHER_MODEL,
    Database,
    approval,
    proved,
    version,
)


def current(database: Database, record: VersionRecord) -> VersionRecord:
    with database.store.read() as reading:
        found = reading.version_by_uid(record.uid)
    assert found is not None
    return found


def test_a_version_comes_back_as_it_was_stored(database: Database) -> None:
    record = proved(version(ref=VersionRef("Müller's 🚀 model", 7, "team")))
    with database.store.begin() as uow:
        uow.add_version(record)

    with database.store.read() as reading:
        assert reading.version(record.ref) == record
        assert reading.version_by_uid(record.uid) == record
        assert reading.version(VersionRef("Müller's 🚀 model", 7)) is None
        assert reading.version_by_uid("nobody") is None


def test_a_name_and_version_is_governed_once(database: Database) -> None:
    database.register()
    with pytest.raises(Conflict), database.store.begin() as uow:
        uow.add_version(version())


def test_versions_are_listed_newest_first_by_name_and_stage(database: Database) -> None:
    for number in (1, 2, 3):
        database.register(
            ref=VersionRef("churn", number),
            created_at=AT + timedelta(seconds=number),
            stage=Stage.STAGING if number == 2 else Stage.CANDIDATE,
        )
    database.register(ref=VersionRef("fraud", 1))

    with database.store.read() as reading:
        assert [v.ref.version for v in reading.versions("churn")] == [3, 2, 1]
        assert [str(v.ref) for v in reading.versions(stage=Stage.STAGING)] == ["churn/2"]
        assert len(reading.versions()) == 4
        assert reading.versions("nobody") == []


def test_versions_are_found_by_the_exact_place_of_their_bytes(database: Database) -> None:
    places = ["1/m/a", "1/m/a/b", "1/m/A/b", "1/m/ab", "1/m/a%/b", "1/m/a_/b", "1/m/aé/b", "2/m"]
    for number, location in enumerate(places, 1):
        database.register(ref=VersionRef("churn", number), location=location)

    with database.store.read() as reading:

        def below(path: str) -> set[str]:
            return {record.location for record, _ in reading.versions_around([], [path])}

        assert {v.location for v in reading.versions_at(["1/m/a", "2/m", "3"])} == {"1/m/a", "2/m"}
        assert reading.versions_at([]) == []
        assert below("1/m/a") == {"1/m/a/b"}
        assert below("1/m/a/") == {"1/m/a/b"}
        assert below("1/m/a%") == {"1/m/a%/b"}
        assert below("1/m/a_") == {"1/m/a_/b"}
        assert below("1/m/aé") == {"1/m/aé/b"}
        assert below("1") == set(places) - {"2/m"}
        assert below("") == set(places)


def test_versions_around_a_path_are_those_above_and_those_below_it(database: Database) -> None:
    places = ["1/m", "1/m/a", "1/m/a/b", "1/m/ab", "1/m/a%/b", "2/m"]
    for number, location in enumerate(places, 1):
        database.register(ref=VersionRef("churn", number), location=location)

    with database.store.read() as reading:

        def around(above: list[str], *paths: str) -> set[str]:
            found = reading.versions_around(above, paths)
            assert not any(is_blocked for _, is_blocked in found)
            assert len({record.uid for record, _ in found}) == len(found)
            return {record.location for record, _ in found}

        assert around(["1", "1/m", "1/m/a"], "1/m/a") == {"1/m", "1/m/a", "1/m/a/b"}
        assert around(["2", "2/m"], "2/m", "1/m/a") == {"2/m", "1/m/a/b"}
        assert around([], "1/m") == {"1/m/a", "1/m/a/b", "1/m/ab", "1/m/a%/b"}
        assert around([""], "") == set(places)
        assert around([f"x/{n}" for n in range(100)] + ["2/m"], "x") == {"2/m"}
        assert around(["/"], "3") == set()


def test_versions_around_say_whether_their_content_is_blocked(database: Database) -> None:
    released = {"stage": Stage.STAGING}
    one = database.register(ref=VersionRef("churn", 1), location="1/a", **released)
    same = database.register(ref=VersionRef("copy", 1), location="1/b")
    fraud = VersionRef("fraud", 1)
    other = database.register(ref=fraud, location="1/c", digest=OTHER_MODEL, **released)
    unhashed = database.register(ref=VersionRef("fraud", 2), location="1/d", digest=None)
    with database.store.begin() as uow:
        assert uow.released_digests() == {one.digest, OTHER_MODEL}
        assert one.digest is not None
        uow.block(one.digest, Stage.REVOKED, AT)

    with database.store.read() as reading:
        found = {record.uid: is_blocked for record, is_blocked in reading.versions_around([], [""])}
        assert found == {one.uid: True, same.uid: True, other.uid: False, unhashed.uid: False}
        assert reading.blocked_digests() == {one.digest}
        assert reading.released_digests() == {OTHER_MODEL}


def test_saving_writes_what_was_proved_and_never_the_stage(database: Database) -> None:
    record = database.register(digest=None)
    changed = proved(record).with_(digest=OTHER_MODEL, stage=Stage.APPROVED)

    with database.store.begin() as uow:
        uow.save_version(changed)

    now = current(database, record)
    assert now.stage is Stage.CANDIDATE
    assert now.quarantined_from is None
    assert (now.digest, now.facts, now.trust_digest) == (
        OTHER_MODEL, changed.facts, changed.trust_digest,
    )  # fmt: skip
    assert now.revision == record.revision + 1


def test_a_version_that_is_gone_cannot_be_saved(database: Database) -> None:
    with pytest.raises(Conflict), database.store.begin() as uow:
        uow.save_version(version())


def test_moving_writes_our_stage_and_mlflows(database: Database) -> None:
    record = database.register()
    target = proved(record).with_(stage=Stage.QUARANTINED)

    with database.store.begin() as uow:
        uow.move_stage(record, target)

    assert current(database, record) == target.with_(revision=record.revision + 1)
    ((stage, updated),) = database.run(
        "SELECT current_stage, last_updated_time FROM model_versions"
    )
    assert stage == "Quarantined"
    assert updated > 1_000_000_000_000


@pytest.mark.parametrize("stale", [{"stage": Stage.STAGING}, {"revision": 5}, {"uid": "other"}])
def test_a_stale_record_moves_nothing(database: Database, stale: dict[str, object]) -> None:
    record = database.register()
    seen = record.with_(**stale)

    with pytest.raises(Conflict), database.store.begin() as uow:
        uow.move_stage(seen, seen.with_(stage=Stage.APPROVED))

    assert current(database, record) == record


def test_a_stage_that_only_mlflow_changed_moves_nothing(database: Database) -> None:
    record = database.register()
    database.run("UPDATE model_versions SET current_stage = 'Production'")

    with pytest.raises(Conflict), database.store.begin() as uow:
        uow.move_stage(record, record.with_(stage=Stage.STAGING))

    assert current(database, record) == record
    assert database.run("SELECT current_stage FROM model_versions")[0][0] == "Production"


def test_evidence_and_approvals_make_a_decision_in_the_making_stale(database: Database) -> None:
    record = database.register()
    with database.store.begin() as uow:
        uow.add_evidence(record.uid, [EvidenceItem("model.sig", b"1")])
    with database.store.begin() as uow:
        uow.add_approval(approval(record))
    with database.store.begin() as uow:
        uow.add_evidence(record.uid, [EvidenceItem("model.sig", b"1")])  # nothing new

    assert current(database, record).revision == record.revision + 2
    with pytest.raises(Conflict), database.store.begin() as uow:
        uow.move_stage(record, record.with_(stage=Stage.STAGING))


def test_a_removed_version_leaves_its_name_free(database: Database) -> None:
    record = database.register()
    with database.store.begin() as uow:
        uow.add_evidence(record.uid, [EvidenceItem("model.sig", b"1")])
        uow.add_approval(approval(record))
        uow.add_task("register", record.uid)
        uow.remove_version(record)
        uow.add_version(version(facts={Kind.SBOM: Outcome.error("broken")}))

    for table in ("files", "approvals", "tasks"):
        assert database.count(f"governance_{table}") == 0
    with pytest.raises(Conflict), database.store.begin() as uow:
        uow.remove_version(record)


def test_a_digest_is_blocked_under_every_name(database: Database) -> None:
    with database.store.begin() as uow:
        uow.block(MODEL, Stage.QUARANTINED, AT)
        uow.block(OTHER_MODEL, Stage.REVOKED, AT + timedelta(seconds=1))

    with database.store.read() as reading:
        assert reading.is_blocked(MODEL)
        assert reading.blocked() == [
            (MODEL, "Quarantined", AT),
            (OTHER_MODEL, "Revoked", AT + timedelta(seconds=1)),
        ]


def test_revoked_is_for_ever(database: Database) -> None:
    with database.store.begin() as uow:
        uow.block(MODEL, Stage.QUARANTINED, AT)
        uow.block(MODEL, Stage.REVOKED, AT)
        uow.block(MODEL, Stage.QUARANTINED, AT)
        uow.unblock(MODEL)

    with database.store.read() as reading:
        assert reading.blocked() == [(MODEL, "Revoked", AT)]


def test_a_digest_stays_blocked_until_its_last_quarantined_version_returns(
    database: Database,
) -> None:
    records = [
        database.register(ref=VersionRef("churn", number), stage=Stage.QUARANTINED)
        for number in (1, 2)
    ]
    with database.store.begin() as uow:
        uow.block(MODEL, Stage.QUARANTINED, AT)

    for record, still_blocked in zip(records, (True, False), strict=True):
        with database.store.begin() as uow:
            uow.move_stage(record, record.with_(stage=Stage.STAGING))
            uow.unblock(MODEL)
        with database.store.read() as reading:
            assert reading.is_blocked(MODEL) is still_blocked
