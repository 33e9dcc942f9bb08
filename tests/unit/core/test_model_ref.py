import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_governance.core.model_ref import VersionRef, check_name
from mlflow_governance.errors import InvalidRequest


@pytest.mark.parametrize("text", ["churn/3", "models:/churn/3"])
def test_both_spellings_name_the_same_version(text: str) -> None:
    assert VersionRef.parse(text) == VersionRef("churn", 3)


@pytest.mark.parametrize(
    "text", ["churn", "churn/", "/3", "churn/x", "churn/0", "churn/-1", "churn/9999999999", ""]
)
def test_what_names_no_version_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(InvalidRequest):
        VersionRef.parse(text)


@pytest.mark.parametrize("name", ["", "..", "a/b", "a\\b", "a:b", " a", "a\n", "a" * 257, "\x7f"])
def test_names_that_are_paths_or_controls_in_disguise_are_refused(name: str) -> None:
    with pytest.raises(InvalidRequest):
        check_name(name)


@given(st.text(min_size=1, max_size=40), st.integers(1, 10**6))
def test_the_folder_of_a_version_never_leaves_the_evidence_folder(name: str, number: int) -> None:
    try:
        folder = VersionRef(name, number).folder
    except InvalidRequest:
        return

    parts = folder.split("/")
    assert len(parts) == 3
    assert parts[0] == "governance"
    assert parts[1] not in ("", ".", "..", "evidence")


def test_a_model_named_evidence_does_not_share_the_folder_of_producers() -> None:
    assert VersionRef("evidence", 1).folder == "governance/%65vidence/v1"
