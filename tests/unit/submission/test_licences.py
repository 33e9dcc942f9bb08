"""The licence of a distribution, wherever packages have put it over the years."""

from __future__ import annotations

from email.message import Message
from importlib import metadata
from typing import Any

import pytest

from mlflow_governance.submission.licences import choices, of_distribution

BSD2 = "Redistribution and use in source and binary forms, with or without modification, are\nok"
BSD3 = BSD2 + "\nNeither the name of the\ncopyright holder nor the names of its contributors"
MIT = (
    "Permission is hereby granted, free of charge, to any person obtaining a copy of this. "
    "The above copyright notice and this permission notice shall be included in all copies"
)


def stated(*headers: tuple[str, str], **files: str) -> list[Any]:
    about = Message()
    for name, value in headers:
        about[name] = value
    return of_distribution(about, lambda name: files.get(name.replace("/", "_")))


def classifier(name: str) -> tuple[str, str]:
    return ("Classifier", f"License :: OSI Approved :: {name}")


@pytest.mark.parametrize(
    ("headers", "licences"),
    [
        ([("License-Expression", "MIT"), ("License", "x")], [{"expression": "MIT"}]),
        ([("License-Expression", "mit or APACHE-2.0")], [{"expression": "MIT OR Apache-2.0"}]),
        ([("License", "BSD 3-Clause")], [{"expression": "BSD-3-Clause"}]),
        ([("License", "Apache 2.0"), classifier("MIT License")], [{"expression": "Apache-2.0"}]),
        ([("License", "ACME terms")], [{"license": {"name": "ACME terms"}}]),
        ([("License", "ACME"), classifier("MIT License")], [{"expression": "MIT"}]),
        ([("License", "UNKNOWN"), classifier("ISC License (ISCL)")], [{"expression": "ISC"}]),
        ([("License", "a whole\nlicence text")], []),
        ([("License", "x" * 5000)], []),
        ([classifier("MIT License"), ("Classifier", "Other")], [{"expression": "MIT"}]),
        (
            [classifier("MIT License"), classifier("Apache Software License")],
            [{"expression": "MIT AND Apache-2.0"}],
        ),
        ([classifier("BSD License")], [{"license": {"name": "BSD License"}}]),
        ([("Classifier", "License :: OSI Approved")], []),
        ([], []),
    ],
)
def test_a_licence_is_found_where_packages_have_put_it_over_the_years(
    headers: list[tuple[str, str]], licences: list[Any]
) -> None:
    assert stated(*headers) == licences


def test_which_bsd_licence_it_is_stands_in_its_words() -> None:
    vague = classifier("BSD License")

    assert stated(vague, LICENSE=BSD3) == [{"expression": "BSD-3-Clause"}]
    assert stated(vague, LICENSE=BSD2) == [{"expression": "BSD-2-Clause"}]
    assert stated(vague, ("License", BSD3)) == [{"expression": "BSD-3-Clause"}]
    assert stated(vague, ("License-File", "L.txt"), licenses_L_txt=BSD2) == [
        {"license": {"name": "BSD License"}}
    ], "another file than the one that is named"
    assert stated(vague, ("License-File", "L"), licenses_L=BSD2) == [{"expression": "BSD-2-Clause"}]


def test_the_words_of_a_licence_are_asked_where_nothing_else_says_it() -> None:
    assert stated(LICENSE=MIT) == [{"expression": "MIT"}]
    assert stated(LICENSE=MIT + BSD3) == [{"expression": "BSD-3-Clause"}]
    assert stated(LICENSE="You may look at it.") == []
    assert stated(("License", "ACME"), LICENSE=MIT) == [{"license": {"name": "ACME"}}]


def test_no_file_outside_is_read() -> None:
    asked: list[str] = []
    about = Message()
    about["License-File"] = "../../../etc/passwd"

    of_distribution(about, lambda name: asked.append(name))  # type: ignore[func-returns-value]

    assert asked
    assert not any(".." in name for name in asked)


def test_texts_that_all_apply_are_one_expression_or_names() -> None:
    assert choices("MIT OR ISC", "Zlib") == [{"expression": "(MIT OR ISC) AND Zlib"}]
    assert choices("MIT", "ACME") == [{"license": {"name": "MIT"}}, {"license": {"name": "ACME"}}]
    assert choices("", " ") == []


def test_most_of_this_environment_states_a_licence_spdx_knows() -> None:
    distributions = list(metadata.distributions())
    found = [of_distribution(d.metadata, d.read_text) for d in distributions]  # type: ignore[arg-type]

    known = sum(1 for licences in found if licences and "expression" in licences[0])
    assert known >= 0.9 * len(distributions)
