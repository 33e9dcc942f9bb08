"""The chapters of a report about one version."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mlflow_governance.audit import content
from mlflow_governance.audit.content import Cell, Facts, Paragraph, Section, Table, Tone
from mlflow_governance.audit.found import four_eyes
from mlflow_governance.audit.meanings import meanings
from mlflow_governance.audit.outcomes import verdict
from mlflow_governance.audit.timeline import MOST_ROWS, act_in_words, outcome_of
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
from mlflow_governance.workflows.evidence_told import Told, ToldOne

_TONES: Mapping[str, Tone] = {
    "passed": "good", "failed": "bad", "error": "bad", "missing": "plain",
    "Approved": "good", "Revoked": "bad", "Quarantined": "bad", "Deprecated": "warn",
}  # fmt: skip
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
        (content.strong(e.actor), content.plain(act_in_words(e)), content.plain(""),
         outcome_of(e), content.plain(day(e.document["at"])), content.plain(e.index),
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
            content.mark(*verdict(kind, outcome)[:2]),
            content.plain(names(map(say.told, signers_of(outcome["facts"])))),
            content.plain(say.scrub(outcome["problem"] or facts_in_words(outcome["facts"]))),
        )
        for kind, outcome in sorted(one.evidence.items(), key=_gravest_first)
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
                    files[:MOST_ROWS], (35, 11, 44, 10))  # fmt: skip


def _gravest_first(item: tuple[str, Mapping[str, Any]]) -> tuple[int, str]:
    order = ("bad", "warn", "good", "plain")
    return order.index(verdict(*item).tone), item[0]


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
    fails = meanings(told.bundles.get(digest), decision["gate"])
    checks = tuple(_check(told, decision, code, fails) for code in sorted(decision["checks"]))
    head = ("Check", "Outcome", "It fails when")
    yield Table("Every check of that decision", head, checks, (14, 20, 66))


def _check(
    told: Told, decision: Mapping[str, Any], code: str, fails: Mapping[str, str]
) -> tuple[Cell, ...]:
    passed = decision["checks"][code]
    waived = next((w for w in decision.get("waived", ()) if w["code"] == code), None)
    mode = decision.get("modes", {}).get(code, "")
    said = [*decision["reasons"], *decision["warnings"], *decision.get("shadow", ())]
    told_then = (str(s.get("message", "")) for s in said if s.get("code") == code)
    message = next(told_then, fails.get(code, "not said by these rules"))
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
        looked = known.get("facts", {}).get("advisories_at")
        nothing = known.get("problem") or (
            "No known vulnerability was found in them."
            if looked
            else "There were no advisories, so no vulnerability was looked for."
        )
        yield Paragraph(content.plain(told.persons.scrub(nothing)))
    else:
        vulnerable = tuple(_vulnerability(told, each) for each in found[:MOST_ROWS])
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
