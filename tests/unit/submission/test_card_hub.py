"""Cards of the Hugging Face Hub: written as it reads them, and read as they are found there."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlflow_governance.errors import InvalidRequest
from mlflow_governance.evidence import strict_yaml
from mlflow_governance.submission.card import AuthorCard, parse_card
from mlflow_governance.submission.card.author import DataUse, Footprint, Metric
from mlflow_governance.submission.card.hub_import import MAX_BYTES, import_readme
from mlflow_governance.submission.card.hugging_face import export_readme
from mlflow_governance.submission.facts import Facts, Measurement
from tests.unit.evidence.mutations import mutated
from tests.unit.submission.builders import CARD, FULL_CARD, facts

FULL = parse_card(FULL_CARD.encode())
NOTHING = Facts(flavors=(), requirements=())
FOREIGN = """\
---
language:
- en
- no
license: llama2
library_name: transformers
pipeline_tag: text-classification
tags: [finance]
datasets:
- org/news
base_model: bert-base-uncased
metrics:
- f1
- accuracy
co2_eq_emissions:
  emissions: 1200
  source: CodeCarbon
  training_type: fine-tuning
  geographical_location: Iowa
  hardware_used: 1 TPU
model-index:
- name: finbert
  results:
  - task: {type: text-classification}
    dataset: {name: News, type: org/news, split: test}
    metrics:
    - {type: accuracy, value: 0.91, name: Accuracy}
    - {type: accuracy, value: 0.5}
    - {type: matrix, value: [1, 2]}
---
<!-- a comment
# Purpose
-->
# FinBERT

Some words.

## Intended Use

Classify *news* by tone,
in English.

- And nothing else &amp; no one.

## Limitations

[More Information Needed]

## Bias, Risks, and Limitations

* It copies the bias of the press.

## Recommendations

1. Read the article.

```python
# Purpose
evil()
```

## Training Procedure

With care.
"""


def front(page: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(page.split("---\n")[1])
    return found


def page(**meta: Any) -> bytes:
    return f"---\n{strict_yaml.dump(meta)}---\n".encode()


def test_a_card_found_on_the_hub_is_read() -> None:
    imported = import_readme(FOREIGN.encode())

    assert imported.card == AuthorCard(
        purpose=("Classify *news* by tone, in English.", "And nothing else & no one."),
        risks=("It copies the bias of the press.",),
        safeguards=("Read the article.",),
        severities=("",),
        licence="LicenseRef-llama2",
        base_models=("hf:bert-base-uncased",),
        task="text-classification",
        language=("en", "no"),
        tags=("finance",),
        data=(DataUse("org/news", source="https://huggingface.co/datasets/org/news"),),
        metrics=(Metric("accuracy", "", 0.91, "News (test)"), Metric("f1")),
        environmental=(
            Footprint(
                "fine-tuning", co2_kg=1.2, hardware="1 TPU", region="Iowa", note="CodeCarbon"
            ),
        ),
    )
    assert imported.left_out == [
        "text below 'finbert'",
        "text below 'training procedure'",
        "library_name",
        "result accuracy",
        "result matrix",
    ]


def test_the_hub_reads_what_is_written() -> None:
    about = facts(measurements=(Measurement("auc", "held-out", 0.8),))

    meta = front(export_readme("churn", FULL, about))

    assert (meta["license"], meta["license_name"]) == ("other", "Apache-2.0 OR MIT")
    assert meta["language"] == ["no", "en"]
    assert meta["base_model"] == ["org/base"]
    assert meta["datasets"] == ["org/churn"]
    assert meta["pipeline_tag"] == "tabular-classification"
    assert meta["metrics"] == ["accuracy", "auc", "recall"]
    assert meta["co2_eq_emissions"]["emissions"] == 500
    (model,) = meta["model-index"]
    assert {r["dataset"]["name"]: r["metrics"] for r in model["results"]} == {
        "not stated": [{"type": "accuracy", "value": 0.97}],
        "held-out": [{"type": "auc", "value": 0.8}],
        "hospital": [{"type": "recall", "value": 0.5}],
    }


def test_one_spdx_licence_is_written_as_the_hub_writes_it() -> None:
    for licence, words in (
        ("Apache-2.0", {"license": "apache-2.0"}),
        ("LicenseRef-llama2", {"license": "other", "license_name": "llama2"}),
    ):
        made = export_readme("m", AuthorCard(licence=licence), NOTHING)
        meta = front(made)
        assert {key: meta[key] for key in words} == words
        assert import_readme(made.encode()).card.licence == licence


@pytest.mark.parametrize("text", [CARD, FULL_CARD, "{}", "limits: ['- a', '# b', 'c | d', '1. e']"])
def test_a_card_comes_back_as_it_went(text: str) -> None:
    author = parse_card(text.encode())

    imported = import_readme(export_readme("churn", author, NOTHING).encode())

    assert imported.card == author
    assert imported.left_out == []


_TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc", "Cf")), min_size=1, max_size=30).map(
    lambda text: " ".join(text.split())
).filter(bool)  # fmt: skip
_TEXTS = st.lists(_TEXT, max_size=3).map(tuple)


@given(purpose=_TEXTS, limits=_TEXTS, tags=_TEXTS, owner=_TEXT, name=_TEXT, value=st.floats())
@settings(max_examples=150, deadline=None)
def test_whatever_the_author_says_comes_back(
    purpose: tuple[str, ...],
    limits: tuple[str, ...],
    tags: tuple[str, ...],
    owner: str,
    name: str,
    value: float,
) -> None:
    author = AuthorCard(
        purpose=purpose, limits=limits, tags=tags, owner=owner,
        data=(DataUse(name, purpose=owner),), metrics=(Metric(name, ">= 0.5"),),
        annex_iv={"risk_management": purpose} if purpose else {},
    )  # fmt: skip

    written = export_readme(owner, author, replace(NOTHING, metrics={name: value}))
    found = import_readme(written.encode()).card

    assert replace(found, metrics=()) == replace(author, metrics=())
    assert found.metrics[0].target == ">= 0.5"


def test_results_of_a_run_come_back_as_results_of_the_author() -> None:
    written = export_readme("m", AuthorCard(metrics=(Metric("auc", ">= 0.9"),)), facts())

    assert import_readme(written.encode()).card.metrics == (
        Metric("auc", ">= 0.9", 0.912345678),
        Metric("accuracy", "", 0.97),
    )


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xfe",
        b"---\n[]\n---\n",
        b"---\na: &x 1\nb: *x\n---\n",
        b"---\nlicense: mit\nlicense: mit\n---\n",
        b"---\n!!python/object/apply:os.system ['true']\n---\n",
        b"---\nmlflow_governance: [1]\n---\n",
        b"---\nmlflow_governance: {owners: x}\n---\n",
        b"---\nmlflow_governance: {metrics: x}\n---\n",
        b"---\nmlflow_governance: {metrics: [x]}\n---\n",
        b"---\nmlflow_governance: {metrics: [{name: a}, {name: a}]}\n---\n",
        b"x" * (MAX_BYTES + 1),
    ],
)
def test_a_page_that_cannot_be_trusted_to_be_a_card_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidRequest):
        import_readme(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"# Only\n\nwords\n",
        b"---\n---\n",
        b"---\nlicense: mit\n",
        b"\xef\xbb\xbf---\r\n---\r\n",
    ],
)
def test_a_page_without_usable_front_matter_is_a_page(data: bytes) -> None:
    assert import_readme(data).card == AuthorCard()


@pytest.mark.parametrize(
    "meta",
    [
        {"license": ["mit", "apache-2.0"]},
        {"license": 5, "language": {"a": 1}, "tags": [1, None, "x"], "base_model": ["/etc", "a b"]},
        {"model-index": "x", "co2_eq_emissions": "much"},
        {"model-index": [{"results": [{"dataset": "x", "metrics": [{"value": 1}]}]}]},
        {"model-index": [None, {"results": {}}], "co2_eq_emissions": -5},
        {"co2_eq_emissions": {"emissions": 10**15 * 10, "hardware_used": ["a"]}},
        {"license": "other"},
        {"license": "other", "license_name": "MY own!"},
    ],
)
def test_what_the_hub_would_not_accept_is_left_out(meta: dict[str, Any]) -> None:
    import_readme(page(**meta))


@given(data=st.data())
@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_front_matter_changed_anywhere_is_read_or_refused_by_type(data: st.DataObject) -> None:
    meta = front(export_readme("m", FULL, facts()))

    with suppress(InvalidRequest):
        import_readme(page(**mutated(data, meta)))


@pytest.mark.parametrize(
    "text",
    [
        "<!--" * (MAX_BYTES // 4),
        "# " + " " * (MAX_BYTES - 10) + "x",
        "#" * MAX_BYTES,
        "- a\n" * (MAX_BYTES // 4),
        "a\n" * (MAX_BYTES // 2),
        "# a\n" * (MAX_BYTES // 4),
        "---\n" + "- a\n" * (MAX_BYTES // 5),
        "---\n" * (MAX_BYTES // 4),
        "&" * MAX_BYTES,
        "\\" * MAX_BYTES,
        "```\n" * (MAX_BYTES // 4),
    ],
)
def test_the_worst_page_of_full_size_ends_soon(text: str) -> None:
    started = time.monotonic()
    with suppress(InvalidRequest):
        import_readme(text.encode())
    assert time.monotonic() - started < 20


def test_the_hubs_own_library_reads_what_we_write() -> None:
    hub = pytest.importorskip("huggingface_hub")

    card = hub.ModelCard(export_readme("churn", FULL, facts()))

    assert card.data.license == "other"
    assert card.data.base_model == ["org/base"]
    assert {(r.metric_type, r.metric_value) for r in card.data.eval_results} == {
        ("accuracy", 0.97),
        ("auc", 0.912345678),
        ("recall", 0.5),
    }
    assert import_readme(str(card).encode()).card.purpose == FULL.purpose
