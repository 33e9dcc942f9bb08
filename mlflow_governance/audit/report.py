"""The report of an evidence bundle: the answer first, then what it rests on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from mlflow_governance.audit import closing, content, sections, timeline
from mlflow_governance.audit.content import Cell, Report, Section, Table, Tone
from mlflow_governance.audit.controls import Framework, Judged, Shown, judge
from mlflow_governance.audit.found import RELEASED, found_in, four_eyes
from mlflow_governance.audit.outcomes import verdict
from mlflow_governance.audit.words import day, many, names, short
from mlflow_governance.core import moment
from mlflow_governance.core.event import Act
from mlflow_governance.core.stage import Stage
from mlflow_governance.workflows.evidence_export import OfPeriod
from mlflow_governance.workflows.evidence_told import Told, ToldEntry, ToldOne

COMMAND = "python verify.py bundle . --key LEDGER_KEY"
_DETAILED = 25
"""Versions of a period that are told in full; the archive has every file of the others, too."""

Answer = tuple[str, Tone, list[str]]


def build(told: Told, frameworks: Sequence[Framework], registry: str) -> Report:
    """The report of what was collected, mapped to these frameworks."""
    asked = told.exported.asked
    answer, tone, grounds = (
        _of_period(told, asked.of) if isinstance(asked.of, OfPeriod) else _of_version(told)
    )
    of = f"the period {asked.of}" if isinstance(asked.of, OfPeriod) else str(asked.of)
    return Report(
        title=content.visible(f"Evidence of {of}, from the registry {registry}"),
        answer=content.visible(answer),
        tone=tone,
        grounds=tuple(map(content.visible, grounds)),
        command=COMMAND,
        sections=tuple(_numbered(_sections(told, judge(frameworks, found_in(told))))),
        foot=content.visible(
            f"{of} · {registry} · made {moment.to_text(told.exported.at)[:19]}Z · ledger entry "
            f"{told.exported.index} of {told.size}"
        ),
    )


def _sections(told: Told, judged: list[tuple[Framework, list[Judged]]]) -> list[Section]:
    period = isinstance(told.exported.asked.of, OfPeriod)
    found = [_versions(told)] if period else []
    for one in told.versions[:_DETAILED]:
        found += sections.of_version(told, one, level=3 if period else 2)
    found.append(timeline.time_line(told))
    found.append(timeline.aliases(told))
    found.append(closing.gaps(told, _DETAILED))
    found += _controls(judged)
    found.append(closing.verifying(told, COMMAND))
    return found


def _numbered(found: list[Section]) -> list[Section]:
    return [
        Section(each.title, each.blocks, each.level, f"s{number}")
        for number, each in enumerate(found, 1)
    ]


# The answer


def _of_version(told: Told) -> Answer:
    one = told.versions[0]
    state, name = one.state, one.ref
    if state is None or (not one.exists and not state.deleted):
        return f"No. The ledger tells of no registration of {name}.", "bad", []
    entry = told.chief_entry(state.decision_id) if state.decision_id else None
    since = f" since {day(entry.document['at'])}" if entry else ""
    if not one.exists:
        gone = next((e for e in told.about(one)[::-1]
                     if e.document["act"] == Act.VERSION_DELETED), None)  # fmt: skip
        when = f" on {day(gone.document['at'])} by {gone.actor}" if gone else ""
        return (
            f"No. {name} was deleted{when}; it had come as far as {state.stage}.", "bad",
            ["It was never released. The ledger keeps that it existed."],
        )  # fmt: skip
    stage = Stage(state.stage)
    if stage is Stage.APPROVED:
        return f"Yes: {name} is Approved{since}.", "good", _grounds(told, one, entry)
    if stage is Stage.DEPRECATED:
        return (
            f"Yes, on its way out: {name} was released, and is Deprecated{since}.", "warn",
            _grounds(told, one, entry),
        )  # fmt: skip
    if stage in (Stage.REVOKED, Stage.QUARANTINED):
        for_ever = "for ever" if stage is Stage.REVOKED else "until it is restored"
        return (
            f"No. {name} is {stage}{since}: nobody may load it, {for_ever}.", "bad",
            _withdrawn(told, one, entry),
        )  # fmt: skip
    return f"No. {name} is {stage}{since}, and not Approved.", "bad", _lacking(told, one)


def _grounds(told: Told, one: ToldOne, entry: ToldEntry | None) -> list[str]:
    grounds = []
    decision = told.decisions.get(entry.document["decision_id"], {}) if entry else {}
    if entry is not None:
        grounds.append(
            f"Decided by policy {short(decision.get('policy_digest'))} in decision "
            f"{entry.document['decision_id'][:12]}, asked for by {entry.actor}; the ledger tells "
            f"it in entry {entry.index}."
        )
    passed = [kind for kind, outcome in one.evidence.items() if verdict(kind, outcome).counts]
    checks = one.judged.get("checks", {})
    waived = [w["code"] for w in one.judged.get("waived", ())]
    grounds.append(
        f"On {many(len(passed), 'kind')} of evidence that verified, and "
        f"{sum(checks.values())} of {many(len(checks), 'check')} passed"
        + (f"; {names(waived)} did not count because of a waiver." if waived else ".")
    )
    people = four_eyes(one)
    roles = {w.person: w.role for w in one.words if w.current and w.decision == "approve"}
    told_people = names(f"{person} ({roles[person]})" for person in people)
    grounds.append(
        f"Submitted by {one.submitter or 'nobody known'}, approved by "
        + (f"{told_people}." if people else "nobody else: the policy asked for no approval.")
    )
    return grounds


def _withdrawn(told: Told, one: ToldOne, entry: ToldEntry | None) -> list[str]:
    grounds = []
    if entry is not None:
        why = f": “{entry.reason}”" if entry.reason else ""
        grounds.append(f"Withdrawn by {entry.actor} in entry {entry.index}{why}.")
    before = [e for e in told.about(one) if e.document["after"].get("stage") in RELEASED]
    if before:
        grounds.append(
            f"Before that it was released, from {day(before[0].document['at'])} on; it may have "
            "been in use."
        )
    else:
        grounds.append("It was never released.")
    return grounds


def _lacking(told: Told, one: ToldOne) -> list[str]:
    state = one.state
    last = told.decisions.get(state.judged[-1], {}) if state and state.judged else {}
    if not last:
        return ["Nobody has judged it yet."]
    if last.get("allow"):
        return ["What was asked of it so far it passed; nobody has asked for its release yet."]
    say = told.persons.scrub
    return [
        f"{reason['code']}: {say(reason['message'])}." for reason in last.get("reasons", ())[:5]
    ]


def _of_period(told: Told, of: OfPeriod) -> Answer:
    since, until = moment.to_text(of.since), moment.to_text(of.until)
    inside = [e for e in told.entries if since <= e.document["at"] < until]
    if not inside:
        return "Nothing was recorded in this period.", "plain", [
            "No act about any version, policy or person. An entry hidden from this archive would "
            "be missing from the list in the ledger's own entry about it."
        ]  # fmt: skip
    done = Counter(_kind(e.document) for e in inside)
    released = [one for one in told.versions if _released_in(told, one, since, until)]
    answer = (
        f"{many(len(inside), 'act')} about {many(len(told.versions), 'version')}: "
        f"{many(len(released), 'release')}, {many(done['withdrawn'], 'withdrawal')}, "
        f"{many(done['refused'], 'refusal')}."
    )
    alone = [str(one.ref) for one in released if not four_eyes(one)]
    grounds = [
        "Every release was decided by policy and recorded before it took effect.",
        f"Released without anybody's approval: {names(alone)}." if alone else
        "Every release was approved by somebody other than who submitted it.",
    ]  # fmt: skip
    return answer, "plain", grounds if released else ["Nothing was released."]


def _kind(document: Mapping[str, Any]) -> str:
    if not document["allowed"]:
        return "refused"
    after = document["after"].get("stage")
    withdrawn = after in (Stage.REVOKED, Stage.QUARANTINED) and after != document["before"].get(
        "stage"
    )
    return "withdrawn" if withdrawn else "done"


def _released_in(told: Told, one: ToldOne, since: str, until: str) -> bool:
    return any(
        since <= e.document["at"] < until
        and e.document["allowed"]
        and e.document["after"].get("stage") == Stage.APPROVED
        and e.document["before"].get("stage") == Stage.STAGING
        for e in told.about(one)
    )


def _versions(told: Told) -> Section:
    rows = tuple(
        (
            content.strong(one.ref),
            sections.stage_of(one),
            content.plain(names(four_eyes(one)) or "nobody"),
            content.plain(one.submitter or "nobody known"),
            content.plain(many(len(told.about(one)), "entry")),
        )
        for one in told.versions
    )
    head = ("Version", "Now", "Approved by", "Submitted by", "In the ledger")
    table = Table("Versions something happened to", head, rows, (30, 17, 22, 16, 15))
    nothing = content.Paragraph(content.quiet("Nothing happened to any version."))
    return Section("Versions", (table,) if rows else (nothing,))


# Controls


def _controls(judged: list[tuple[Framework, list[Judged]]]) -> list[Section]:
    rows = []
    for framework, found in judged:
        count = Counter(each.shown for each in found)
        rows.append((
            content.strong(framework.title),
            *(content.plain(count[shown]) for shown in Shown),
        ))  # fmt: skip
    overview = Section(
        "Controls",
        (
            content.Paragraph(content.quiet(
                "What the evidence in this archive speaks to, from data files the organisation may "
                "edit. “Shown” means: everything the mapping names was found here. It is no "
                "certificate, and each control has limits of what an archive like this can show."
            )),
            Table("How far each framework is shown", ("Framework", *map(str, Shown)), tuple(rows),
                  (64, 12, 12, 12)),
        ),
    )  # fmt: skip
    return [overview, *(_framework(each, found) for each, found in judged)]


def _framework(framework: Framework, found: list[Judged]) -> Section:
    rows = tuple(
        (
            (*content.strong(each.control.id), *content.plain(each.control.title)),
            content.mark(each.shown.value, each.shown.tone),
            _codes(each),
            content.quiet(each.control.limits),
        )
        for each in found
    )
    about = content.visible(f"{framework.about} {framework.source}".strip())
    head = ("Control", "In this archive", "By", "Limits")
    return Section(
        framework.title,
        (
            content.Paragraph(content.quiet(about)),
            Table(f"Controls of {framework.title}", head, rows, (31, 14, 27, 28)),
        ),
        level=3,
    )


def _codes(each: Judged) -> Cell:
    by = [code for code in each.by if code not in each.lacking]
    partly = [code for code in each.by if code in each.lacking]
    none = [code for code in each.lacking if code not in each.by]
    said = content.plain(", ".join(by)) if by else ()
    if partly:
        said += content.plain(f"for some versions: {', '.join(partly)}")
    return said + (content.quiet(f"not found: {', '.join(none)}") if none else ())
