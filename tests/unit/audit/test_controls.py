"""Which controls are shown follows from the bundle, and mappings with mistakes are refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from mlflow_governance.audit import controls
from mlflow_governance.audit.controls import Control, Found, Framework, Shown
from mlflow_governance.core.resources import folder
from mlflow_governance.errors import ConfigurationError
from tests.unit.audit.bundle_builders import CHURN, LONG_AGO, Audited
from tests.unit.policy.builders import with_module

GOOD = """\
version: 1
title: House rules
source: intranet
controls:
  - id: H-1
    title: It is signed
    shown_by: [evidence:signature]
    limits: None we know of.
"""
SHIPPED = (
    "eu-ai-act-annex-iv", "gdpr", "iso-23894", "iso-42001", "lgpd", "nist-800-53", "nist-ai-rmf",
    "slsa", "ssdf",
)  # fmt: skip


def own(tmp_path: Path, text: str, name: str = "house.yaml") -> Path:
    (tmp_path / name).write_text(text, "utf-8")
    return tmp_path


def test_every_framework_that_ships_fits_its_schema_and_names_codes_that_exist(
    tmp_path: Path,
) -> None:
    found = controls.load(tmp_path / "absent")

    assert tuple(framework.key for framework in found) == SHIPPED
    assert all(framework.controls for framework in found)
    annex = next(f for f in found if f.key == "eu-ai-act-annex-iv")
    assert [control.id for control in annex.controls] == [str(n) for n in range(1, 10)]


def test_no_control_is_shown_by_something_that_holds_of_every_bundle() -> None:
    always = {"record:inclusion-proofs", "record:complete"}
    found = Found(frozenset(always), frozenset(always))
    bare = [
        f"{framework.key} {judged.control.id}"
        for framework, every in controls.judge(controls.load(Path("absent")), found)
        for judged in every
        if judged.shown is Shown.FULLY
    ]

    assert bare == ["gdpr Art. 15 and 17", "iso-42001 A.6.2.8", "lgpd Art. 18", "nist-800-53 AU-8",
                    "nist-800-53 AU-9"]  # fmt: skip


def test_a_file_of_the_home_folder_adds_a_framework_or_takes_the_place_of_one(
    tmp_path: Path,
) -> None:
    own(tmp_path, GOOD)
    own(tmp_path, GOOD.replace("House rules", "Our SLSA"), "slsa.yaml")

    found = {framework.key: framework.title for framework in controls.load(tmp_path)}

    assert found["house"] == "House rules"
    assert found["slsa"] == "Our SLSA"
    assert len(found) == len(SHIPPED) + 1


@pytest.mark.parametrize(
    ("was", "becomes", "line", "said"),
    [
        ("evidence:signature", "evidence:signatur", 7, "evidence:signatur is no code"),
        ("evidence:signature", "check:NOP-001", 7, "check:NOP-001 is no code"),
        ("evidence:signature", "act:model.loved", 7, "act:model.loved is no code"),
        ("evidence:signature", "record:luck", 7, "record:luck is no code"),
        ("evidence:signature", "card:annex_iv.tenth", 7, "card:annex_iv.tenth is no code"),
        ("evidence:signature", "signature", 5, "does not match"),
        ("[evidence:signature]", "[]", 5, "shown_by"),
        ("limits: None we know of.", "limit: None", 5, "limit"),
        ("title: House rules", "title: House rules\nshown: all", 0, "shown"),
        ("version: 1", "version: 2", 1, "version"),
        ("source: intranet", "source: [", 5, "not usable YAML"),
        ("source: intranet", "source: &a intranet\nabout: *a", 4, "aliases"),
    ],
)
def test_a_mistake_is_told_with_file_and_line(
    was: str, becomes: str, line: int, said: str, tmp_path: Path
) -> None:
    own(tmp_path, GOOD.replace(was, becomes))

    with pytest.raises(ConfigurationError) as refused:
        controls.load(tmp_path)

    assert "house.yaml" in refused.value.message
    assert said in refused.value.message
    if line:
        assert f"line {line}" in refused.value.message


def test_a_control_that_stands_there_twice_is_refused(tmp_path: Path) -> None:
    own(tmp_path, GOOD + GOOD[GOOD.index("  - id") :])

    with pytest.raises(ConfigurationError, match="H-1 stands there twice"):
        controls.load(tmp_path)


def test_a_check_of_the_own_policy_may_be_named(tmp_path: Path) -> None:
    own(tmp_path, GOOD.replace("evidence:signature", "check:OWN-001"))
    mine = with_module('package registry.extra\n\nchecks := {"OWN-001": true}\n')

    assert "house" in {framework.key for framework in controls.load(tmp_path, [mine])}


def test_shown_partly_and_not_follow_from_what_was_found() -> None:
    control = Control("C-1", "x", ("evidence:signature", "record:four-eyes"), "y")
    framework = Framework("f", "F", "s", "", (control,))

    def shown(everywhere: set[str], somewhere: set[str]) -> Shown:
        found = Found(frozenset(everywhere), frozenset(somewhere))
        return controls.judge([framework], found)[0][1][0].shown

    both = {"evidence:signature", "record:four-eyes"}
    assert shown(both, both) is Shown.FULLY
    assert shown({"record:four-eyes"}, both) is Shown.PARTLY
    assert shown(set(), {"evidence:signature"}) is Shown.PARTLY
    assert shown({"record:complete"}, {"record:complete"}) is Shown.NOT


def test_the_report_shows_what_this_bundle_shows(tmp_path: Path) -> None:
    registry = Audited(tmp_path)
    (tmp_path / "controls").mkdir()
    signed_and_seen = GOOD.replace("[evidence:signature]", "[evidence:signature, record:four-eyes]")
    own(tmp_path / "controls", signed_and_seen)
    registry.accepted("churn")
    candidate = registry.take(CHURN)
    nothing = registry.take(LONG_AGO)

    assert row(candidate.html, "H-1") == "partly"
    assert row(nothing.html, "H-1") == "not shown"
    assert "House rules" in nothing.pdf


def row(html: str, control: str) -> str:
    after = html[html.index(f"<bdi>{control}</bdi>") :]
    found = re.search(r'class="mark \w+"><span[^>]*>.</span> ([^<]+)</span>', after)
    assert found is not None
    return found[1]


def test_titles_are_in_our_own_words_and_every_control_has_limits() -> None:
    for path in sorted((folder("attestations") / "controls").glob("*.yaml")):
        document = yaml.safe_load(path.read_text("utf-8"))
        for control in document["controls"]:
            assert len(control["title"]) < 90, path.name
            assert "shall" not in control["title"], path.name
            assert control["limits"].endswith("."), path.name
