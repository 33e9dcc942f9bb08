"""Controls of standards and laws, and what of them the evidence in a bundle speaks to.

The mappings are data: ``attestations/controls/*.yaml``, and ``controls/*.yaml`` of the home
folder, where a file of the same name takes the place of one that ships. Each control lists codes::

    check:PRO-012          a check of the policy passed in a decision that allowed something
    evidence:provenance    evidence of that kind was verified
    act:approval.given     the ledger tells of such an act
    card:human_oversight   the signed model card fills that heading; card:annex_iv.metrics_adequacy
    record:four-eyes       what the record itself shows, one of RECORD

Whether a control is shown follows from the bundle alone. A code nobody knows is an error: a
mapping with a misspelt code would say for ever that something is not shown.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from mlflow_governance.audit.content import Tone
from mlflow_governance.core.event import Act
from mlflow_governance.core.resources import folder
from mlflow_governance.errors import ConfigurationError, InvalidRequest
from mlflow_governance.evidence import strict_yaml
from mlflow_governance.evidence.interface import Kind
from mlflow_governance.evidence.model_card import ANNEX_IV, FURTHER_FIELDS, FURTHER_TEXTS, HEADINGS
from mlflow_governance.evidence.predicate import schema_problems
from mlflow_governance.policy.bundle import Bundle

SCHEMA = "controls/controls.schema.json"
RECORD: Mapping[str, str] = {
    "inclusion-proofs": "every entry is proved to be in the signed ledger",
    "complete": "the ledger itself names every entry of this archive",
    "policy-snapshot": "every policy that decided is in the archive",
    "decision-inputs": "the input of every decision is in the archive",
    "four-eyes": "two people or more, the submitter none of them, approved this content",
    "submitter-known": "the ledger tells who registered it",
    "manifest": "every file of the model is listed with its digest",
    "pseudonymous": "the archive names nobody",
    "openings": "the archive names people, each name proved by its commitment",
}
"""What the record itself shows: the word behind ``record:``, and what it means."""

_MOST_FILES = 100
_CODE = re.compile(r'"([A-Z]{2,5}-[A-Z0-9]+(?:-[A-Z0-9]+)*)"')


class Shown(StrEnum):
    """How far a control is shown."""

    FULLY = "shown"
    PARTLY = "partly"
    NOT = "not shown"

    @property
    def tone(self) -> Tone:
        """How it looks."""
        return {Shown.FULLY: "good", Shown.PARTLY: "warn", Shown.NOT: "plain"}[self]  # type: ignore[return-value]


@dataclass(frozen=True)
class Control:
    """One control: ``shown_by`` lists codes, ``limits`` says what no archive like this shows."""

    id: str
    title: str
    shown_by: tuple[str, ...]
    limits: str


@dataclass(frozen=True)
class Framework:
    """A standard or law, as one file maps it."""

    key: str
    title: str
    source: str
    about: str
    controls: tuple[Control, ...]


@dataclass(frozen=True)
class Found:
    """Codes that hold of everything a bundle is about, and those that hold of some of it."""

    everywhere: frozenset[str]
    somewhere: frozenset[str]


@dataclass(frozen=True)
class Judged:
    """A control with how far it is shown, by which of its codes, and which lack."""

    control: Control
    shown: Shown
    by: tuple[str, ...]
    lacking: tuple[str, ...]


def judge(frameworks: Iterable[Framework], found: Found) -> list[tuple[Framework, list[Judged]]]:
    """Hold every control against what was found."""
    return [(each, [_judge(control, found) for control in each.controls]) for each in frameworks]


def _judge(control: Control, found: Found) -> Judged:
    by = tuple(code for code in control.shown_by if code in found.everywhere | found.somewhere)
    lacking = tuple(code for code in control.shown_by if code not in found.everywhere)
    if by and not lacking:
        return Judged(control, Shown.FULLY, by, lacking)
    return Judged(control, Shown.PARTLY if by else Shown.NOT, by, lacking)


def load(own: Path, bundles: Iterable[Bundle] = ()) -> list[Framework]:
    """Every framework, those that ship and those of the home folder.

    Args:
        own: the folder of the installation's own files; it need not be there.
        bundles: policies whose checks may be named, besides the one that ships.

    Raises:
        ConfigurationError: a file does not fit its schema, or names a code nobody knows; it says
            which file, and the line.
    """
    paths = {
        path.name: path for path in sorted((folder("attestations") / "controls").glob("*.yaml"))
    }
    try:
        paths |= {path.name: path for path in sorted(own.glob("*.yaml"))}
    except OSError as error:
        raise ConfigurationError(f"{own} cannot be read: {error}") from error
    if len(paths) > _MOST_FILES:
        raise ConfigurationError(f"{own} holds more than {_MOST_FILES} files of controls")
    known = known_codes(bundles)
    return [_read(path, known) for _, path in sorted(paths.items())]


def known_codes(bundles: Iterable[Bundle] = ()) -> frozenset[str]:
    """Every code a control may name."""
    from mlflow_governance.policy.bundle import load as load_bundle

    checks = {
        code
        for bundle in (load_bundle(folder("policies")), *bundles)
        for data in bundle.files.values()
        for code in _CODE.findall(data.decode("utf-8", "replace"))
    }
    return frozenset(
        [f"check:{code}" for code in checks]
        + [f"evidence:{kind.value}" for kind in Kind]
        + [f"act:{act.value}" for act in Act]
        + [f"card:{name}" for name in (*HEADINGS, *FURTHER_FIELDS, *FURTHER_TEXTS)]
        + ["card:risk_tier", "card:owner", "card:licence"]
        + [f"card:annex_iv.{point}" for point in ANNEX_IV]
        + [f"record:{word}" for word in RECORD]
    )


def _read(path: Path, known: frozenset[str]) -> Framework:
    try:
        data = path.read_bytes()
        document = strict_yaml.load(data)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error}") from error
    except InvalidRequest as error:
        raise _refusal(path, 0, error.message) from error
    lines = data.decode("utf-8").splitlines()
    problems = schema_problems(SCHEMA, document)
    if problems:
        raise _refusal(path, _line_of(lines, document, problems[0]), problems[0])
    for number, code in _codes(lines, document):
        if code not in known:
            raise _refusal(path, number, f"{code} is no code this registry knows")
    ids = [control["id"] for control in document["controls"]]
    twice = next((each for each in ids if ids.count(each) > 1), None)
    if twice is not None:
        raise _refusal(path, _find(lines, twice), f"the control {twice} stands there twice")
    return Framework(
        key=path.stem,
        title=document["title"],
        source=document["source"],
        about=document.get("about", ""),
        controls=tuple(
            Control(c["id"], c["title"], tuple(c["shown_by"]), c["limits"])
            for c in document["controls"]
        ),
    )


def _codes(lines: Sequence[str], document: Mapping[str, Any]) -> Iterator[tuple[int, str]]:
    for control in document["controls"]:
        for code in control["shown_by"]:
            yield _find(lines, code), code


def _line_of(lines: Sequence[str], document: Any, problem: str) -> int:
    # The schema names a place like controls.3.title; people look for the id of that control.
    place = problem.split(":", 1)[0].split(".")
    try:
        control = document["controls"][int(place[1])]
        return _find(lines, str(control["id"]))
    except (LookupError, ValueError, TypeError):
        return _find(lines, place[0])


def _find(lines: Sequence[str], word: str) -> int:
    whole = re.compile(rf"(?<![\w.:-]){re.escape(word)}(?![\w.:-]*\w)")
    return next((n for n, line in enumerate(lines, 1) if whole.search(line)), 0)


def _refusal(path: Path, line: int, problem: str) -> ConfigurationError:
    where = f"{path}, line {line}" if line else f"{path}"
    return ConfigurationError(
        f"{where}: {problem}",
        advice="attestations/controls/controls.schema.json says what stands in such a file.",
    )
