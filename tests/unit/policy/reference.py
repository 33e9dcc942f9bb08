"""The shipped policies a second time, in Python, written from their description.

Slow, plain and independent of Rego: what the engines say is held against it.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from fnmatch import fnmatchcase
from itertools import pairwise
from typing import Any

LIFE = ("None", "Candidate", "Staging", "Approved", "Deprecated")
TIERS = ("low", "medium", "high")


def at(value: Any, *path: str) -> Any:
    """The value at a path, or a value equal to nothing."""
    for step in path:
        if not isinstance(value, dict) or step not in value:
            return object()
        value = value[step]
    return value


def same(left: Any, right: Any) -> bool:
    """JSON equality: 1 is 1.0, true is not 1."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[k], right[k]) for k in left)
    return bool(left == right)


def one_of(value: Any, words: tuple[str, ...]) -> bool:
    return isinstance(value, str) and value in words


def is_digest(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"sha256:[0-9a-f]{64}", value) is not None


def person(value: Any) -> str:
    return value.strip().lower() if isinstance(value, str) else ""


def array(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def passed(d: Any, kind: str) -> bool:
    return bool(at(d, "evidence", kind, "status") == "passed")


def fact(d: Any, kind: str, name: str) -> Any:
    return at(d, "evidence", kind, "facts", name) if passed(d, kind) else object()


def has_role(d: Any, *roles: str) -> bool:
    return any(one_of(role, roles) for role in array(at(d, "actor", "roles")))


def again(d: Any) -> bool:
    return at(d, "action", "again") is True and same(
        at(d, "subject", "stage"), at(d, "action", "to")
    )


def stated(d: Any) -> bool:
    return same(at(d, "subject", "stage"), at(d, "action", "from")) or again(d)


def free(d: Any) -> bool:
    return at(d, "subject", "blocked") is False


def known(d: Any) -> bool:
    return is_digest(at(d, "subject", "digest"))


def policy_accepted(d: Any) -> bool:
    bound = at(d, "subject", "policy_digest")
    return is_digest(bound) and bound in array(at(d, "runtime", "accepted_policy_digests"))


def harmless(entry: Any) -> bool:
    severity = at(entry, "severity")
    return (
        isinstance(severity, str)
        and severity.lower() in ("none", "low", "medium")
        and none_or_below(at(entry, "cvss"), 7)
        and at(entry, "kev") is False
        and none_or_below(at(entry, "epss"), 0.5)
    )


def none_or_below(value: Any, limit: float) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return value is None or (number and bool(value < limit))


def cleared(entry: Any) -> bool:
    signer = at(entry, "vex", "signer")
    said = one_of(at(entry, "vex", "status"), ("not_affected", "fixed"))
    return said and isinstance(signer, str) and signer != ""


def unblocked(d: Any) -> bool:
    listed = fact(d, "vulnerabilities", "vulnerabilities")
    return isinstance(listed, list) and all(harmless(e) or cleared(e) for e in listed)


def complete(d: Any) -> bool:
    return fact(d, "model_card", "complete") is True


def harmless_code(d: Any) -> bool:
    # nobody is a builder that may bring code unless the data says so
    return bool(fact(d, "malware", "verdict") == "clean")


def steps_proved(d: Any) -> bool:
    # no model needs a layout unless the data says so
    named = isinstance(at(d, "subject", "name"), str)
    missing = at(d, "evidence", "layout", "status") == "missing"
    return passed(d, "layout") or (missing and named)


def pinned(d: Any) -> bool:
    # no requirement may stay without a component unless the data says so
    return fact(d, "sbom", "pins_checked") is True and fact(d, "sbom", "unresolved") == []


def licensed(d: Any) -> bool:
    # the starting points state no licences: one that is there was broken by the test
    return bool(fact(d, "licences", "licences") == [])


def two_people(d: Any) -> bool:
    digest, policy = at(d, "subject", "digest"), at(d, "runtime", "policy_digest")
    submitter = person(at(d, "subject", "submitter"))
    if not isinstance(digest, str) or not isinstance(policy, str) or not submitter:
        return False
    by_role: dict[str, set[str]] = {"security": set(), "product": set()}
    for given in array(at(d, "approvals")):
        who = person(at(given, "person"))
        binds = (
            at(given, "decision") == "approve"
            and at(given, "model_digest") == digest
            and at(given, "policy_digest") == policy
        )
        if binds and one_of(at(given, "role"), ("security", "product")):
            by_role[given["role"]] |= {who} - {"", submitter}
    return any(a != b for a in by_role["security"] for b in by_role["product"])


def accept(d: Any) -> bool:
    return (
        fact(d, "test_result", "result") == "PASSED"
        and all(passed(d, kind) for kind in ("signature", "provenance", "sbom", "dataset"))
        and unblocked(d) and complete(d) and known(d) and free(d) and stated(d)
        and harmless_code(d) and steps_proved(d) and pinned(d) and licensed(d)
        and at(d, "action", "from") == "None" and at(d, "action", "to") == "Candidate"
    )  # fmt: skip


def promote(d: Any) -> bool:
    steps = dict(pairwise(LIFE[1:]))
    origin, target = at(d, "action", "from"), at(d, "action", "to")
    if not isinstance(origin, str) or origin not in steps or steps[origin] != target:
        return False
    if not stated(d):
        return False
    if target == "Deprecated":
        return at(d, "actor", "authenticated") is True and (not again(d) or unblocked(d))
    if not (passed(d, "signature") and passed(d, "provenance") and free(d) and known(d)):
        return False
    if not (unblocked(d) and harmless_code(d)):
        return False
    bound = policy_accepted(d) or (again(d) and is_digest(at(d, "subject", "policy_digest")))
    if not (harmless_code(d) and bound):
        return False
    # the default floor is medium: no tier is free of approval unless the data says so
    return bound and (target == "Staging" or (
        fact(d, "canary", "result") == "PROCEED"
        and complete(d) and bound and two_people(d)
        and steps_proved(d) and licensed(d)
        and one_of(fact(d, "model_card", "risk_tier"), TIERS)
        and at(d, "actor", "authenticated") is True
    ))  # fmt: skip


def download(d: Any) -> bool:
    stage, door = at(d, "subject", "stage"), at(d, "action", "door")
    if not (one_of(door, ("registry", "artifact")) and free(d) and known(d)):
        return False
    if one_of(stage, LIFE[2:]):
        return passed(d, "signature") and policy_accepted(d)
    submitter = person(at(d, "subject", "submitter"))
    author = door == "artifact" and submitter != "" and person(at(d, "actor", "id")) == submitter
    return one_of(stage, LIFE[:2]) and (author or has_role(d, "evaluator"))


def alias(d: Any) -> bool:
    name = at(d, "action", "alias")
    if not isinstance(name, str) or not name:
        return False
    protected = name.lower() == "champion" or name.lower().startswith("prod")
    if protected and at(d, "actor", "authenticated") is not True:
        return False
    if at(d, "action", "to_version") is None:
        return True
    allowed = LIFE[3:4] if protected else LIFE
    return free(d) and one_of(at(d, "subject", "stage"), allowed)


def withdraw(d: Any) -> bool:
    origin, target = at(d, "action", "from"), at(d, "action", "to")
    reason = at(d, "action", "reason")
    if not (isinstance(reason, str) and reason.strip() and stated(d)):
        return False
    if at(d, "actor", "authenticated") is not True:
        return False
    if one_of(target, ("Quarantined", "Revoked")):
        may = has_role(d, "security", "product", "admin") or at(d, "actor", "admin") is True
        origins = LIFE if target == "Quarantined" else (*LIFE, "Quarantined")
        return may and one_of(origin, origins)
    back = same(target, at(d, "subject", "quarantined_from")) and one_of(target, LIFE)
    return origin == "Quarantined" and back and has_role(d, "security")


INSTANT = re.compile(r"2[01]\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z", re.ASCII)
DAY = timedelta(days=1)


def instant(value: Any) -> datetime | None:
    if not isinstance(value, str) or INSTANT.fullmatch(value) is None:
        return None
    try:
        return datetime.fromisoformat(value)
    except ValueError:
        return None


def age(d: Any, value: Any) -> timedelta:
    now, then = instant(at(d, "now")), instant(value)
    return timedelta.max if now is None or then is None else now - then


def recent(d: Any, value: Any, days: int) -> bool:
    return -timedelta(minutes=5) <= age(d, value) <= days * DAY


def number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def canary_fits(d: Any) -> bool:
    share = at(fact(d, "canary", "metrics"), "traffic_share")
    share = at(share, "value") if isinstance(share, dict) else share
    window = fact(d, "canary", "window")
    begin, end = instant(at(window, "from")), instant(at(window, "to"))
    return (
        fact(d, "canary", "result") == "PROCEED" and recent(d, fact(d, "canary", "at"), 7)
        and number(share) and share >= 0.05
        and begin is not None and end is not None and end - begin >= DAY
    )  # fmt: skip


def objectives_met(d: Any) -> bool:
    if not passed(d, "slo") or fact(d, "slo", "met") is not True:
        return False
    profiles = fact(d, "slo", "profiles")
    if not isinstance(profiles, list):
        profiles = [at(d, "evidence", "slo", "facts")]
    return any(
        at(profile, "met") is True and at(profile, "profile") == "online-scoring"
        and recent(d, at(profile, "at"), 30)
        and any(
            at(o, "name") == "latency-p99-ms" and at(o, "met") is True
            and number(at(o, "measured")) and at(o, "measured") <= 200
            for o in array(at(profile, "objectives"))
        )
        for profile in profiles
    )  # fmt: skip


def evaluations(d: Any) -> list[Any]:
    if not passed(d, "evaluation"):
        return []
    listed = fact(d, "evaluation", "evaluations")
    return listed if isinstance(listed, list) else [at(d, "evidence", "evaluation", "facts")]


def well_evaluated(d: Any) -> bool:
    # of what is known to be about other data nothing is asked, but there must be some about this
    about = [
        e for e in evaluations(d)
        if not isinstance(name := at(e, "dataset", "name"), str) or fnmatch(name, "churn-*")
    ]  # fmt: skip
    return bool(about) and all(
        signed(e) and number(at(e, "metrics", "accuracy")) and at(e, "metrics", "accuracy") >= 0.8
        for e in about
    )


def signed(evaluation: Any) -> bool:
    enough = evaluation.get("enough_signers", True) if isinstance(evaluation, dict) else False
    return enough is True and isinstance(at(evaluation, "metrics"), dict)


def fnmatch(value: Any, pattern: str) -> bool:
    return isinstance(value, str) and "/" not in value and fnmatchcase(value, pattern)


def fair(d: Any) -> bool:
    found = evaluations(d)
    for evaluation in found:
        parts = [p for p in array(at(evaluation, "slices")) if at(p, "attribute") == "age"]
        values = [at(part, "metrics", "recall") for part in parts]
        sizes = [at(part, "size") for part in parts]
        if not signed(evaluation) or len(parts) < 2 or not all(map(number, values + sizes)):
            return False
        if min(sizes) < 50 or min(values) < 0 or max(values) <= 0:
            return False
        if round(max(values) - min(values), 9) > 0.1:
            return False
        if round(min(values), 9) < round(max(values) * 0.8, 9):
            return False
    return bool(found)


def lawful(dataset: Any) -> bool:
    bases = {
        "personal": ("contract", "legitimate_interests"),
        "pseudonymised": ("contract", "legitimate_interests"),
        "special_category": ("consent",),
    }
    kind, purpose = at(dataset, "personal_data"), at(dataset, "purpose")
    if kind == "none":
        return True
    if not isinstance(kind, str) or kind not in bases or not isinstance(purpose, str):
        return False
    wanted = purpose.lower()
    allowed = (wanted.startswith("churn") and "\n" not in wanted) or wanted == "credit scoring"
    return allowed and one_of(at(dataset, "legal_basis"), bases[kind])


def data_fits(d: Any) -> bool:
    datasets = array(fact(d, "dataset", "datasets"))
    return bool(datasets) and all(lawful(e) and fnmatch(at(e, "name"), "churn-*") for e in datasets)


def tuned_from_the_list(d: Any) -> bool:
    # the starting points state no licences: one that is there was broken by the test
    stated = fact(d, "licences", "licences")
    return isinstance(stated, list) and all(
        one_of(at(e, "kind"), ("model", "library", "dataset")) for e in stated
    )


def young(d: Any) -> bool:
    return (
        recent(d, fact(d, "test_result", "at"), 30)
        and recent(d, fact(d, "provenance", "finished_at"), 90)
        and recent(d, fact(d, "vulnerabilities", "advisories_at"), 7)
    )


def rebuilt(d: Any) -> bool:
    # asked of high risk, which is also what nobody signed a tier for
    if one_of(fact(d, "model_card", "risk_tier"), ("low", "medium")):
        return True
    if fact(d, "reproduction", "matches") is not True:
        return False
    listed = fact(d, "reproduction", "builders")
    if not isinstance(listed, list):
        listed = [at(d, "evidence", "reproduction", "facts")]
    home, signers = person(fact(d, "provenance", "builder_id")), fact(d, "provenance", "signers")
    return any(
        at(b, "matches") is True and person(at(b, "builder_id")) not in ("", home) and home != ""
        and isinstance(signers, list)
        and {person(s) for s in array(at(b, "signers"))} - {person(s) for s in signers} - {""}
        and near(at(b, "tolerance"))
        for b in listed
    )  # fmt: skip


def near(tolerance: Any) -> bool:
    if tolerance is None:
        return True
    difference = at(tolerance, "difference")
    return at(tolerance, "metric") == "auc" and number(difference) and difference <= 0.001


def ticket_open(d: Any) -> bool:
    if again(d):
        return True
    now, begin, end = (
        instant(at(d, "now")),
        instant(fact(d, "change_ticket", "from")),
        instant(fact(d, "change_ticket", "to")),
    )
    return (
        fact(d, "change_ticket", "state") == "approved"
        and person(fact(d, "change_ticket", "id")) != ""
        and fact(d, "change_ticket", "system") == "servicenow"
        and None not in (now, begin, end) and begin <= now < end
    )  # fmt: skip


def thawed(d: Any) -> bool:
    now = instant(at(d, "now"))
    if again(d) or has_role(d, "incident"):
        return True
    if now is None:
        return False
    there = now.astimezone(timezone(timedelta(hours=-3)))
    return not (there.weekday() == 4 and there.hour >= 15)


def within_limits(d: Any) -> bool:
    if one_of(fact(d, "model_card", "risk_tier"), ("low", "medium")):
        return True
    listed = fact(d, "vulnerabilities", "vulnerabilities")
    return isinstance(listed, list) and all(
        cleared(e) or (none_or_below(at(e, "cvss"), 6) and none_or_below(at(e, "epss"), 0.1))
        for e in listed
    )


def library(d: Any) -> bool:
    """All rules of the library, by the examples in config.schema.json."""
    return (
        canary_fits(d) and objectives_met(d) and well_evaluated(d) and fair(d) and data_fits(d)
        and tuned_from_the_list(d) and passed(d, "vulnerability_scan") and young(d)
        and rebuilt(d) and ticket_open(d) and thawed(d) and within_limits(d)
    )  # fmt: skip


def promote_by_everything(d: Any) -> bool:
    target = at(d, "action", "to")
    if target == "Staging":
        return promote(d) and ticket_open(d)
    return promote(d) and (target != "Approved" or library(d))


GATES = {
    "accept": accept,
    "promote": promote,
    "download": download,
    "alias": alias,
    "withdraw": withdraw,
}

WITH_THE_LIBRARY = GATES | {"promote": promote_by_everything}
