"""Licences: what a text says, what choices it leaves, and what policy gets to see."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlflow_governance.errors import EvidenceMissing, VerificationError
from mlflow_governance.evidence import licence, licence_expression
from mlflow_governance.evidence.inventory import USE
from mlflow_governance.evidence.licence import LicenceVerifier
from mlflow_governance.evidence.licence_expression import Licence, all_of, parse
from tests.unit.evidence.bom_builders import bom, bom_case, library
from tests.unit.evidence.builders import case

verify = LicenceVerifier().verify


@pytest.mark.parametrize(
    ("text", "expression", "choices"),
    [
        ("MIT", "MIT", [["MIT"]]),
        ("mit", "MIT", [["MIT"]]),
        ("MIT License", "MIT", [["MIT"]]),
        ("GPL-2.0", "GPL-2.0-only", [["GPL-2.0-only"]]),
        ("GPL-2.0+", "GPL-2.0-or-later", [["GPL-2.0-or-later"]]),
        ("EPL-1.0+", "EPL-1.0+", [["EPL-1.0+"]]),
        ("MIT OR Apache-2.0", "MIT OR Apache-2.0", [["Apache-2.0"], ["MIT"]]),
        ("MIT AND Apache-2.0", "MIT AND Apache-2.0", [["Apache-2.0", "MIT"]]),
        (
            "ISC AND (MIT OR (Zlib AND 0BSD))", "ISC AND (MIT OR (Zlib AND 0BSD))",
            [["0BSD", "ISC", "Zlib"], ["ISC", "MIT"]],
        ),
        (
            "GPL-2.0-only WITH Classpath-exception-2.0 OR MIT",
            "GPL-2.0-only WITH Classpath-exception-2.0 OR MIT",
            [["GPL-2.0-only WITH Classpath-exception-2.0"], ["MIT"]],
        ),
        ("LicenseRef-llama3", "LicenseRef-llama3", [["LicenseRef-llama3"]]),
        ("DocumentRef-a:LicenseRef-b", None, [["DocumentRef-a:LicenseRef-b"]]),
        ("3-Clause BSD License", "BSD-3-Clause", [["BSD-3-Clause"]]),
        ("Apache License, Version 2.0", "Apache-2.0", [["Apache-2.0"]]),
        ("Apache Software License", "Apache-2.0", [["Apache-2.0"]]),
        ("GNU Affero General Public License v3", "AGPL-3.0-only", [["AGPL-3.0-only"]]),
        ("GNU Lesser General Public License v3 or later (LGPLv3+)", "LGPL-3.0-or-later", None),
        ("Mozilla Public License 2.0 (MPL 2.0)", "MPL-2.0", None),
        ("ISC License (ISCL)", "ISC", None),
        ("PSFL", "PSF-2.0", None),
        ("llama3.1", "LicenseRef-llama3.1", None),
        ("cc-by-nc-4.0", "CC-BY-NC-4.0", None),
    ],
)  # fmt: skip
def test_a_text_leaves_these_choices(text: str, expression: str | None, choices: Any) -> None:
    found = parse(text)

    assert found.expression == (text if expression is None else expression)
    assert found.unknown == ()
    if choices is not None:
        assert [list(choice) for choice in found.choices] == choices


@pytest.mark.parametrize(
    "text",
    ["BSD License", "BSD", "Dual License", "GPL-compatible", "MIT AND (", "MIT/X", "see LICENSE",
     "A WITH B WITH C", "Classpath-exception-2.0", "GPL-2.0-only WITH Foo", "NONE", "AND", "\x00",
     "©", "MIT++", "LicenseRef-", "LicenseRef-a b"],
)  # fmt: skip
def test_what_is_on_no_list_stays_a_name(text: str) -> None:
    found = parse(text)

    assert (found.expression, found.choices, found.unknown) == ("", ((text,),), (text,))


def test_an_unknown_part_leaves_the_choices_without_it() -> None:
    found = parse("MIT OR Foo")

    assert (found.expression, found.choices, found.unknown) == (
        "", (("Foo",), ("MIT",)), ("Foo",),
    )  # fmt: skip


@pytest.mark.parametrize("text", ["", "  ", "NOASSERTION", "UNKNOWN", "other", "()"])
def test_silence_says_nothing(text: str) -> None:
    assert parse(text) == Licence()


def test_a_whole_licence_text_is_a_name_cut_short_and_no_expression() -> None:
    text = "License agreement for matplotlib\n" + "x" * 100_000

    (name,) = parse(text).unknown
    assert len(name) == 120
    with pytest.raises(VerificationError, match="more than 2000 characters"):
        parse(text, is_expression=True)


@pytest.mark.parametrize(
    "text",
    [
        " AND ".join(f"(LicenseRef-{n} OR LicenseRef-x{n})" for n in range(40)),
        " AND ".join(f"(MIT OR LicenseRef-{n})" for n in range(20)),
        " AND ".join(f"LicenseRef-{n}" for n in range(65)),
        " OR ".join(f"LicenseRef-{n}" for n in range(65)),
        "(" * 17 + "MIT OR ISC" + ")" * 17,
    ],
)
def test_an_expression_that_explodes_is_refused_at_once(text: str) -> None:
    started = time.perf_counter()

    with pytest.raises(VerificationError, match=r"choices|nests deeper"):
        parse(text)

    assert time.perf_counter() - started < 10


def test_licences_that_apply_at_once_are_joined() -> None:
    joined = all_of(map(parse, ["MIT OR Apache-2.0", "", "ISC", "ISC"]))

    assert joined.choices == (("Apache-2.0", "ISC"), ("ISC", "MIT"))
    assert joined.expression == "(MIT OR Apache-2.0) AND ISC"
    assert parse(joined.expression).choices == joined.choices
    assert all_of(map(parse, ["MIT", "Foo"])).unknown == ("Foo",)
    assert all_of([]) == Licence()


@settings(max_examples=400, deadline=None)
@given(
    st.one_of(
        st.text(max_size=60),
        st.lists(
            st.sampled_from(["MIT", "AND", "OR", "WITH", "(", ")", "ISC", "GPL-2.0+", "x", "+"]),
            max_size=30,
        ).map(" ".join),
    )
)
def test_any_text_is_read_or_refused_and_nothing_else(text: str) -> None:
    try:
        found = parse(text, is_expression=True)
    except VerificationError:
        return
    assert {term for choice in found.choices for term in choice} >= set(found.unknown)
    assert not (found.expression and found.unknown)
    if found.expression:
        assert parse(found.expression).choices == found.choices


def named(name: str) -> dict[str, Any]:
    return {"license": {"name": name}}


def test_components_under_one_licence_are_one_entry() -> None:
    document = bom(
        library("a", licenses=[{"license": {"id": "MIT"}}]),
        library("b", licenses=[{"expression": "mit"}]),
        library("c", licenses=[named("MIT License")]),
        library("d", licenses=[named("ACME terms")]),
        library("e"),
    )
    document["metadata"]["component"]["licenses"] = [{"license": {"id": "Apache-2.0"}}]

    def entry(kind: str, uses: list[str], text: str, *components: str) -> dict[str, Any]:
        return {
            "kind": kind, "uses": uses, "expression": text, "choices": [[text]] if text else [],
            "unknown": [], "components": list(components),
        }  # fmt: skip

    acme = entry("library", ["inference"], "", "pkg:pypi/d@1.0")
    assert verify(bom_case(document)) == {
        "licences": [
            entry("dataset", ["training"], "", "customers"),
            entry("library", ["inference"], "", "pkg:pypi/e@1.0"),
            acme | {"choices": [["ACME terms"]], "unknown": ["ACME terms"]},
            entry("library", ["inference"], "MIT", *(f"pkg:pypi/{n}@1.0" for n in "abc")),
            entry("model", [], "Apache-2.0", "churn"),
        ]
    }


def base_model(**more: Any) -> dict[str, Any]:
    return {
        "type": "machine-learning-model", "name": "llama", "version": "3",
        "licenses": [named("llama3")], **more,
    }  # fmt: skip


def test_a_base_model_is_tuned_unless_the_sbom_says_otherwise() -> None:
    tuned = base_model()
    used = base_model(name="other", properties=[{"name": USE, "value": "inference"}])

    entries = verify(bom_case(bom(tuned, used)))["licences"]

    uses = {e["components"][0]: e["uses"] for e in entries if e["kind"] == "base-model"}
    assert uses == {"llama@3": ["fine-tuning", "inference"], "other@3": ["inference"]}


def test_a_conclusion_stands_above_a_declaration() -> None:
    both = [
        {"license": {"id": "AGPL-3.0-only", "acknowledgement": "declared"}},
        {"license": {"id": "MIT", "acknowledgement": "concluded"}},
    ]

    entries = verify(bom_case(bom(library("a", licenses=both))))["licences"]

    assert [e["expression"] for e in entries if e["kind"] == "library"] == ["MIT"]


def test_licences_listed_side_by_side_all_apply() -> None:
    both = [{"license": {"id": "MIT"}}, named("Apache 2.0")]

    entries = verify(bom_case(bom(library("a", licenses=both))))["licences"]

    assert entries[1]["choices"] == [["Apache-2.0", "MIT"]]


def test_an_expression_beyond_the_bounds_names_the_component() -> None:
    text = " OR ".join(f"LicenseRef-{n}" for n in range(70))

    with pytest.raises(VerificationError, match=r"pkg:pypi/a@1\.0: a licence expression"):
        verify(bom_case(bom(library("a", licenses=[{"expression": text}]))))


def test_more_licences_than_anybody_has_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(licence, "MAX_LICENCES", 4)
    libraries = [library(f"p{n}", licenses=[named(f"terms {n}")]) for n in range(4)]

    with pytest.raises(VerificationError, match="more than 4 different licences"):
        verify(bom_case(bom(*libraries)))


def test_licences_of_more_terms_than_anybody_reads_are_refused() -> None:
    texts = [" AND ".join(f"LicenseRef-{n}-{m}" for m in range(60)) for n in range(84)]
    libraries = [library(f"p{n}", licenses=[{"expression": t}]) for n, t in enumerate(texts)]

    with pytest.raises(VerificationError, match="more than 5000 terms"):
        verify(bom_case(bom(*libraries)))


def test_without_a_signed_sbom_no_licence_is_known() -> None:
    with pytest.raises(EvidenceMissing):
        verify(case())


def test_twenty_thousand_components_are_listed_in_seconds() -> None:
    libraries = [library(f"p{n}", licenses=[named(f"MIT {n % 90}")]) for n in range(19_000)]

    started = time.perf_counter()
    verify(bom_case(bom(*libraries)))

    assert time.perf_counter() - started < 10


def test_what_was_read_once_is_not_kept_without_bound() -> None:
    for number in range(3000):
        parse(f"terms of ACME, number {number}")

    assert licence_expression._read.cache_info().currsize <= 2048
