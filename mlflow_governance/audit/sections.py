"""The chapters of a report, from what was collected."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Any

from mlflow_governance.audit import content
from mlflow_governance.audit.content import Cell, Facts, Paragraph, Section, Table, Tone
from mlflow_governance.audit.found import four_eyes
from mlflow_governance.audit.words import (
    day,
    facts_in_words,
    many,
    names,
    of_name,
    signers_of,
    size,
)
from mlflow_governance.core.event import Act
from mlflow_governance.evidence.model_card import ANNEX_IV
from mlflow_governance.workflows.evidence_told import Told, ToldEntry, ToldOne

_TONES: Mapping[str, Tone] = {
    "passed": "good", "failed": "bad", "error": "bad", "missing": "plain",
    "Approved": "good", "Revoked": "bad", "Quarantined": "bad", "Deprecated": "warn",
}  # fmt: skip
_MOST_ROWS = 1_000
"""Rows of one table: beyond them the files of the archive are the place to look."""
_HEADINGS = (
    "purpose", "audience", "limitations", "risks", "metrics", "datasets", "fairness",
    "environmental", "human_oversight", "monitoring",
)  # fmt: skip


def of_version(told: Told, one: ToldOne, *, level: int) -> list[Section]:
    """Everything about one version but its time line."""
    named = f"{one.ref}: " if level > 2 else ""
    chapters = {
        "What it is": _identity(told, one),
        "Who asked and who approved": _people(told, one),
        "What was verified": _evidence(told, one),
        "Policy and checks": _policy(told, one),
        "Model card": _card(one),
        "Components, vulnerabilities and waivers": _components(told, one),
    }
    return [
        Section(content.visible(f"{named}{title}"), tuple(blocks), level)
        for title, blocks in chapters.items()
    ]


def stage_of(one: ToldOne) -> Cell:
    """Where a version stands, as a status."""
    if not one.exists:
        return content.mark("deleted", "bad")
    stage = one.state.stage if one.state else "unknown"
    return content.mark(stage, _TONES.get(stage, "plain"))


def _identity(told: Told, one: ToldOne) -> Iterator[Facts]:
    state, ref = one.state, one.ref
    rows: dict[str, Cell] = {
        "Model": (*content.strong(ref.name), *content.plain(f"version {ref.version}")),
        "Workspace": content.plain(ref.workspace),
        "Stage": stage_of(one),
        "Content": content.code(state.digest if state and state.digest else "not hashed"),
    }
    if one.model_files is not None:
        count, total = one.model_files
        listed = f"{many(count, 'file')}, {size(total)}; each listed with its digest"
        rows["Files of the model"] = content.plain(listed)
    if state is not None:
        rows["Registered"] = content.plain(day(state.at))
    rows["Submitted by"] = content.plain(one.submitter or "nobody known")
    if state is not None and state.state.get("policy_digest"):
        rows["Bound to policy"] = content.code(state.state["policy_digest"])
    yield Facts(tuple(rows.items()))


def _people(told: Told, one: ToldOne) -> Iterator[content.Block]:
    people = four_eyes(one)
    enough: Tone = "good" if len(people) > 1 else "plain"
    said = f"{many(len(people), 'person') if people else 'nobody'} besides the submitter"
    said = said.replace("persons", "people")
    yield Facts((
        ("Four eyes", (*content.mark("yes" if len(people) > 1 else "no", enough),
                       *content.plain(f"{said} approved this content"))),
    ))  # fmt: skip
    asked = [
        (content.strong(e.actor), content.plain(_act(e)), content.plain(""),
         _outcome(e), content.plain(day(e.document["at"])), content.plain(e.index),
         content.quiet(e.reason))
        for e in told.about(one)
        if e.document["act"] == Act.VERSION_TRANSITIONED
    ]  # fmt: skip
    words = [
        (content.strong(w.person), content.plain("approval"), content.plain(w.role), _word(w),
         content.plain(day(w.at)), content.plain(w.index), content.quiet(w.reason))
        for w in one.words
    ]  # fmt: skip
    rows = sorted([*asked, *words], key=lambda row: int(getattr(row[5][0], "words", "0")))
    head = ("Person", "Act", "Role", "Outcome", "At", "Entry", "Reason")
    if rows:
        yield Table("Requests and approvals, oldest first", head, tuple(rows),
                    (15, 21, 10, 14, 13, 7, 20))  # fmt: skip
    else:
        yield Paragraph(content.quiet("Nobody has asked for anything or spoken of it yet."))


def _word(word: Any) -> Cell:
    said = "approved" if word.decision == "approve" else "rejected"
    if word.withdrawn:
        return content.mark(f"{said}, replaced by a later word", "plain")
    if not word.current:
        return content.mark(f"{said} other content", "plain")
    return content.mark(said, "good" if word.decision == "approve" else "bad")


def _evidence(told: Told, one: ToldOne) -> Iterator[content.Block]:
    say = told.persons
    rows = tuple(
        (
            content.strong(of_name(kind)),
            content.mark(outcome["status"], _TONES.get(outcome["status"], "plain")),
            content.plain(names(map(say.told, signers_of(outcome["facts"])))),
            content.plain(say.scrub(outcome["problem"] or facts_in_words(outcome["facts"]))),
        )
        for kind, outcome in sorted(one.evidence.items(), key=_passed_first)
    )
    head = ("Kind", "Outcome", "Signed by", "What was found")
    if rows:
        told_by = one.judged.get("decision_id", "")[:12]
        about = f"Outcome of each kind of evidence, as decision {told_by} saw it"
        yield Table(about, head, rows, (20, 14, 18, 48))
    else:
        yield Paragraph(content.quiet("No evidence was examined for a decision yet."))
    files = tuple(
        (content.plain(f.path), content.plain(f.by), content.code(f.digest),
         content.plain(size(f.size)))
        for f in one.files
        if not f.path.startswith("release/policy_snapshot/")
    )  # fmt: skip
    if files:
        yield Table("Files in this archive", ("File", "From", "SHA-256", "Size"),
                    files[:_MOST_ROWS], (35, 11, 44, 10))  # fmt: skip


def _passed_first(item: tuple[str, Mapping[str, Any]]) -> tuple[int, str]:
    order = {"failed": 0, "error": 0, "passed": 1, "missing": 2}
    return order.get(item[1]["status"], 0), item[0]


def _policy(told: Told, one: ToldOne) -> Iterator[content.Block]:
    decision = one.judged
    if not decision:
        yield Paragraph(content.quiet("No policy has judged it yet."))
        return
    digest = decision["policy_digest"]
    entry = next((e for e in told.entries[::-1]
                  if e.document["act"] == Act.POLICY_CHANGED
                  and e.document["after"].get("policy_digest") == digest), None)  # fmt: skip
    rows = [
        ("Decision", content.code(decision["decision_id"])),
        ("Outcome", content.mark("allowed" if decision["allow"] else "denied",
                                 "good" if decision["allow"] else "bad")),
        ("Gate", content.plain(decision["gate"])),
        ("Policy", content.code(digest)),
        ("Evaluated by", content.plain(decision["engine"])),
    ]  # fmt: skip
    if entry is not None:
        since = f"since {day(entry.document['at'])}, by {entry.actor}, entry {entry.index}"
        rows.append(("In force", content.plain(since)))
    yield Facts(tuple(rows))
    checks = tuple(_check(told, decision, code) for code in sorted(decision["checks"]))
    yield Table("Every check of that decision", ("Check", "Outcome", "Said"), checks, (14, 22, 64))


def _check(told: Told, decision: Mapping[str, Any], code: str) -> tuple[Cell, ...]:
    passed = decision["checks"][code]
    waived = next((w for w in decision.get("waived", ()) if w["code"] == code), None)
    mode = decision.get("modes", {}).get(code, "")
    said = [*decision["reasons"], *decision["warnings"], *decision.get("shadow", ())]
    message = next((str(s.get("message", "")) for s in said if s.get("code") == code), "")
    outcome: Cell = content.mark("passed" if passed else "failed", "good" if passed else "bad")
    if waived is not None:
        owner = told.persons.told(waived.get("owner"))
        outcome = content.mark("failed, waived", "warn")
        message = f"waiver {waived.get('waiver')} of {owner}, until {waived.get('expires')}"
    elif mode and not passed:
        outcome = content.mark(f"failed, {mode} only", "warn")
    return content.strong(code), outcome, content.plain(told.persons.scrub(message))


def _card(one: ToldOne) -> Iterator[content.Block]:
    outcome = one.evidence.get("model_card", {})
    facts = outcome.get("facts", {})
    headings, annex = facts.get("headings"), facts.get("annex_iv")
    if outcome.get("status") != "passed":
        why = outcome.get("problem") or "no decision has seen one"
        yield Paragraph(content.plain(f"No model card was verified: {why}."))
        return
    yield Facts((
        ("Risk tier", content.strong(facts.get("risk_tier") or "not said")),
        ("Complete", content.mark(*(("yes", "good") if facts.get("complete") else ("no", "bad")))),
        ("Licence", content.plain(facts.get("licence") or "not said")),
    ))  # fmt: skip
    if headings is not None:
        rows = tuple((content.plain(of_name(h)), _filled(headings.get(h))) for h in _HEADINGS)
        yield Table("Headings of the signed model card", ("Heading", "Filled"), rows, (75, 25))
    if annex is not None:
        missing = set(annex["missing"])
        rows = tuple(
            (content.plain(f"{number}. {title}"), _filled(point not in missing))
            for number, (point, title) in enumerate(ANNEX_IV.items(), 1)
        )
        yield Table("Technical documentation, Annex IV of Regulation (EU) 2024/1689",
                    ("Point", "Filled"), rows, (75, 25))  # fmt: skip


def _filled(said: object) -> Cell:
    return content.mark("filled", "good") if said else content.mark("empty", "plain")


def _components(told: Told, one: ToldOne) -> Iterator[content.Block]:
    sbom = one.evidence.get("sbom", {})
    known = one.evidence.get("vulnerabilities", {})
    facts = sbom.get("facts", {})
    listed = facts.get("components")
    count = listed if isinstance(listed, int) else len(listed or ())
    said = f"{many(count, 'component')} listed" if facts else sbom.get("problem", "not examined")
    pinned = facts.get("pins_checked")
    rows = [
        ("SBOM", (*content.mark(str(sbom.get("status", "missing")),
                                _TONES.get(str(sbom.get("status")), "plain")),
                  *content.plain(told.persons.scrub(said)))),
        ("Held to the pins", content.plain("yes" if pinned else "not said")),
        ("Advisories of", content.plain(day(known.get("facts", {}).get("advisories_at") or
                                            "not known"))),
    ]  # fmt: skip
    yield Facts(tuple(rows))
    found = known.get("facts", {}).get("vulnerabilities", [])
    if not found:
        nothing = known.get("problem") or "No known vulnerability was found in them."
        yield Paragraph(content.plain(told.persons.scrub(nothing)))
    else:
        vulnerable = tuple(_vulnerability(told, each) for each in found[:_MOST_ROWS])
        yield Table("Known vulnerabilities", ("Id", "Component", "Severity", "CVSS", "Assessed"),
                    vulnerable, (22, 34, 13, 9, 22))  # fmt: skip
    waived = tuple(
        (content.strong(w["code"]), content.plain(w.get("waiver", "")),
         content.plain(told.persons.told(w.get("owner"))), content.plain(w.get("expires", "")))
        for w in one.judged.get("waived", ())
    )  # fmt: skip
    if waived:
        yield Table("Checks that a waiver covers", ("Check", "Waiver", "Owner", "Until"), waived,
                    (20, 30, 25, 25))  # fmt: skip


def _vulnerability(told: Told, found: Mapping[str, Any]) -> tuple[Cell, ...]:
    vex = found.get("vex") or {}
    assessed = of_name(str(vex.get("status", ""))) if vex else ""
    signer = vex.get("signer")
    by = f"{assessed} by {told.persons.told(signer)}" if signer else assessed
    cvss = found.get("cvss")
    return (
        content.strong(found.get("id", "")),
        content.plain(found.get("component", "")),
        content.plain(str(found.get("severity", "")).lower()),
        content.plain("" if cvss is None else cvss),
        content.plain(by or "not assessed"),
    )


# About the whole archive


def time_line(told: Told) -> Section:
    """Every entry, oldest first; a run of refused downloads is one row."""
    rows: list[tuple[Cell, ...]] = []
    for together, group in groupby(told.entries, key=_run):
        found = list(group)
        if together is None or len(found) < 3:
            rows += [_row(entry) for entry in found]
        else:
            rows.append(_rows(found))
    left = len(rows) - _MOST_ROWS
    blocks: list[content.Block] = [
        Table("Ledger entries, oldest first", ("Entry", "At", "Act", "About", "By", "Outcome"),
              tuple(rows[:_MOST_ROWS]), (10, 15, 27, 18, 17, 13)),
    ]  # fmt: skip
    if left > 0:
        blocks.append(Paragraph(content.plain(f"{left} more rows are in ledger/entries/.")))
    return Section("Time line", tuple(blocks))


def _run(entry: ToldEntry) -> tuple[str, ...] | None:
    if entry.document["act"] != Act.DOWNLOAD_DENIED:
        return None
    subject = entry.document["subject"]
    return str(subject["name"]), str(subject["version"]), str(subject["workspace"])


def _row(entry: ToldEntry) -> tuple[Cell, ...]:
    said = content.plain(_act(entry))
    if entry.reason:
        said += content.quiet(f"“{entry.reason}”")
    return (
        content.strong(entry.index), content.plain(day(entry.document["at"])), said,
        content.plain(_about(entry)), content.plain(entry.actor), _outcome(entry),
    )  # fmt: skip


def _rows(found: list[ToldEntry]) -> tuple[Cell, ...]:
    first, last = found[0], found[-1]
    who = names(sorted({entry.actor for entry in found})[:4])
    return (
        content.strong(f"{first.index} to {last.index}"),
        content.plain(f"{day(first.document['at'])} to {day(last.document['at'])}"),
        content.plain(f"{len(found)} downloads"), content.plain(_about(first)),
        content.plain(who), _outcome(first),
    )  # fmt: skip


def _about(entry: ToldEntry) -> str:
    subject = entry.document["subject"]
    if not subject["name"]:
        return "the registry"
    return f"{subject['name']}/{subject['version']}" if subject["version"] else subject["name"]


def _act(entry: ToldEntry) -> str:
    document = entry.document
    said = of_name(document["act"])
    action = document["facts"].get("action") or {}
    if action.get("alias"):
        return f"{said}: {action['alias']} → {action.get('to_version') or 'nowhere'}"
    origin, target = action.get("from"), action.get("to")
    if origin and target and origin != target:
        return f"{said}: {origin} → {target}"
    name = document["facts"].get("name") or document["facts"].get("role")
    return f"{said}: {name}" if isinstance(name, str) else said


def _outcome(entry: ToldEntry) -> Cell:
    if entry.document["allowed"]:
        return content.mark("done", "good")
    return content.mark("refused", "bad")


def aliases(told: Told) -> Section:
    """Where aliases point that ever had to do with these versions."""
    names_of = {(one.ref.workspace, one.ref.name) for one in told.versions}
    rows = tuple(
        (content.strong(key.alias), content.plain(key.name), _version(now), _version(before))
        for key, (now, before) in sorted(told.replay.aliases.items())
        if (key.workspace, key.name) in names_of
    )
    if not rows:
        return Section("Aliases", (Paragraph(content.quiet("No alias was ever moved.")),))
    head = ("Alias", "Model", "Points at version", "Before")
    about = "As far as the entries in this archive tell"
    return Section("Aliases", (Table(about, head, rows, (30, 34, 20, 16)),))


def _version(number: int | None) -> Cell:
    return content.quiet("nowhere") if number is None else content.plain(number)


def gaps(told: Told, detailed: int) -> Section:
    """What this archive does not show, as honestly as it can be said."""
    rows = [(content.plain(path), content.plain(why)) for path, why in told.left_out[:_MOST_ROWS]]
    said = [
        "The model's own bytes are not in here: its manifest names each file by digest.",
        "Decisions are recorded with the very input they were made from; making them again takes "
        "the policy engine: mlflow-governance policy explain.",
        "What nobody attached as evidence and what happened outside the registry is not shown.",
    ]
    erased = sum(entry.actor == told.persons.told(None) for entry in told.entries)
    if erased:
        said.append(f"The names behind {many(erased, 'entry')} were erased, as the law may demand.")
    if told.persons.pseudonymous:
        said.append("Nobody is named: commitments in the ledger stand unopened.")
    if len(told.versions) > detailed:
        said.append(f"Only {detailed} of {len(told.versions)} versions are told here in full.")
    for one in told.versions:
        missing = [of_name(k) for k, o in sorted(one.evidence.items()) if o["status"] != "passed"]
        if missing:
            said.append(f"{one.ref}: nothing was proved of {names(missing)}.")
    blocks: list[content.Block] = [Paragraph(content.plain(text)) for text in said]
    if rows:
        blocks.append(Table("Files that are not here", ("File", "Why"), tuple(rows), (62, 38)))
    return Section("What could not be shown", tuple(blocks))


def verifying(told: Told, command: str) -> Section:
    """How to check all of this."""
    return Section("How to verify it", (
        Paragraph(content.plain(
            "On any machine with Python and the package cryptography, with the ledger's public "
            "key as its operators gave it to you (not from this archive):")),
        Paragraph(content.code(command)),
        Facts((
            ("Ledger", content.plain(f"{told.origin}, {many(told.size, 'entry')} as signed")),
            ("This export", content.plain(f"entry {told.exported.index}")),
            ("Entries in here", content.plain(len(told.entries))),
            ("Made at", content.plain(day(told.exported.at.isoformat()))),
        )),
    ))  # fmt: skip
