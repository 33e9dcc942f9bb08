"""``card``: begun, checked, shown and exchanged, with exit codes a pipeline can use."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mlflow_governance.cli.card import card
from mlflow_governance.errors import InvalidRequest
from tests.unit.submission.builders import CARD, FULL_CARD, write


def run(*words: object, text: str | None = None) -> Result:
    return CliRunner().invoke(card, list(map(str, words)), input=text, catch_exceptions=False)


def test_a_new_card_lacks_what_only_its_author_knows(tmp_path: Path) -> None:
    file = tmp_path / "model_card.yaml"

    assert run("init", file).exit_code == 0
    done = run("check", file)

    assert done.exit_code == 3
    required = [line for line in done.output.splitlines() if line.startswith("required")]
    names = [line.split()[1] for line in required]
    assert names == ["purpose", "audience", "limitations", "risks", "risk_tier"]
    assert "5 required headings are empty" in done.output


def test_a_card_that_is_there_is_not_overwritten(tmp_path: Path) -> None:
    file = write(tmp_path, "card.yaml", CARD)

    with pytest.raises(InvalidRequest, match="is there already"):
        run("init", file)
    with pytest.raises(InvalidRequest, match="cannot be written"):
        run("init", tmp_path / "none" / "card.yaml")

    assert file.read_text() == CARD


def test_a_filled_card_is_complete_until_everything_is_asked_for(tmp_path: Path) -> None:
    file = write(tmp_path, "card.yaml", CARD)

    assert run("check", file).exit_code == 0
    assert run("check", file, "--strict").exit_code == 3


def test_what_is_no_card_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path, "card.yaml", "owners: x")

    for words in (("check", file), ("render", file), ("export", file)):
        with pytest.raises(InvalidRequest, match="did you mean 'owner'"):
            run(*words)
    assert run("check", tmp_path / "none").exit_code == 2


@pytest.mark.parametrize(("form", "start"), [("md", "# tumour\n"), ("html", "<!doctype html>")])
def test_a_card_is_shown_as_reviewers_see_it(tmp_path: Path, form: str, start: str) -> None:
    file, output = write(tmp_path, "card.yaml", FULL_CARD), tmp_path / "page"

    printed = run("render", file, "--format", form, "--name", "tumour").output
    run("render", file, "--format", form, "--name", "tumour", "-o", output)

    assert printed.startswith(start)
    assert output.read_text("utf-8").strip() == printed.strip()
    with pytest.raises(InvalidRequest, match="cannot be written"):
        run("render", file, "-o", tmp_path)


def test_a_card_goes_to_the_hub_and_comes_back(tmp_path: Path) -> None:
    first = write(tmp_path, "card.yaml", FULL_CARD)

    readme = run("export", first).stdout
    again = run("import", "-", text=readme).stdout

    second = write(tmp_path, "again.yaml", again)
    assert run("export", second).stdout == readme


def test_what_finds_no_place_is_named(tmp_path: Path) -> None:
    done = run("import", "-", text="---\nlicense: mit\nwidget: x\n---\n")

    assert done.stdout == "licence: MIT\n"
    assert done.stderr == "left out: widget\n"
