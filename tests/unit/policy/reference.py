"""The shipped policies a second time, in Python, written from their description.

Slow, plain and independent of Rego: what the engines say is held against it.
"""

from __future__ import annotations

import re
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


GATES = {
    "accept": accept,
    "promote": promote,
    "download": download,
    "alias": alias,
    "withdraw": withdraw,
}
