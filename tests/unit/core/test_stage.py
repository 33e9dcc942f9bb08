import pytest

from mlflow_governance.core.stage import Stage, exists, next_stage
from mlflow_governance.errors import InvalidRequest


@pytest.mark.parametrize(
    ("word", "stage"),
    [
        ("approved", Stage.APPROVED),
        (" Production ", Stage.APPROVED),
        ("ARCHIVED", Stage.DEPRECATED),
        ("none", Stage.NONE),
        ("Candidate", Stage.CANDIDATE),
    ],
)
def test_words_of_mlflow_and_ours_are_understood(word: str, stage: Stage) -> None:
    assert Stage.parse(word) is stage


@pytest.mark.parametrize("word", ["", "Live", "Deleted_Internal", "Approved\u200b"])
def test_an_unknown_stage_is_refused_and_the_known_ones_are_named(word: str) -> None:
    with pytest.raises(InvalidRequest, match="Candidate"):
        Stage.parse(word)


def test_every_stage_fits_into_the_column_of_mlflow() -> None:
    assert all(len(stage.value) <= 20 for stage in Stage)


def test_nothing_leads_out_of_revoked() -> None:
    assert not any(exists(Stage.REVOKED, stage) for stage in Stage)


def test_everything_else_can_be_revoked() -> None:
    assert all(exists(stage, Stage.REVOKED) for stage in Stage if stage is not Stage.REVOKED)


def test_a_quarantined_version_returns_only_to_where_it_came_from() -> None:
    back = {s for s in Stage if exists(Stage.QUARANTINED, s, Stage.STAGING)}

    assert back == {Stage.STAGING, Stage.REVOKED}


def test_no_stage_is_skipped() -> None:
    assert not exists(Stage.NONE, Stage.STAGING)
    assert not exists(Stage.CANDIDATE, Stage.APPROVED)
    assert not exists(Stage.APPROVED, Stage.STAGING)


def test_the_way_ends_at_deprecated() -> None:
    assert next_stage(Stage.APPROVED) is Stage.DEPRECATED
    assert next_stage(Stage.DEPRECATED) is None
