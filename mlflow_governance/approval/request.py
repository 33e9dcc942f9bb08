"""One person's word, before anything is known about whether they may give it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mlflow_governance.core.actor import Actor
from mlflow_governance.core.digest import Digest
from mlflow_governance.errors import InvalidRequest

APPROVE, REJECT, WITHDRAW = "approve", "reject", "withdraw"
MAX_REASON = 4000
"""Characters of a reason; more belongs into a ticket the reason names."""

_ROLE = re.compile(r"[a-z0-9][a-z0-9_.:\-]{0,63}")


@dataclass(frozen=True)
class ApprovalRequest:
    """What somebody says about a version.

    Args:
        actor: who says it.
        role: the role they speak in, lower case.
        decision: ``approve``, ``reject``, or ``withdraw`` what they said in that role before.
        reason: why, in their words.
        policy_digest: the policy they saw; None makes earlier words under any policy count.

    Raises:
        InvalidRequest: no reason, another decision, or something that cannot be a role.
    """

    actor: Actor
    role: str
    decision: str
    reason: str
    policy_digest: Digest | None = None

    def __post_init__(self) -> None:
        if self.decision not in (APPROVE, REJECT, WITHDRAW):
            raise InvalidRequest(
                f"{self.decision[:40]!r} is not a decision",
                advice="Say approve, reject or withdraw.",
            )
        if not _ROLE.fullmatch(self.role):
            raise InvalidRequest(
                f"{self.role[:40]!r} cannot be a role",
                advice="Name the role you speak in, for example --as security.",
            )
        if not self.reason.strip():
            raise InvalidRequest(f"to {self.decision} needs a reason", advice="Add --reason WHY.")
        if len(self.reason) > MAX_REASON:
            raise InvalidRequest(f"the reason has more than {MAX_REASON} characters")
