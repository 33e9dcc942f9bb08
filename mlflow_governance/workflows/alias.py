"""Aliases: which version a name like ``champion`` stands for."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

from mlflow_governance.core.dossier import Gate
from mlflow_governance.core.event import Act
from mlflow_governance.workflows.admit import proved
from mlflow_governance.workflows.judge import judge, load
from mlflow_governance.workflows.policy import under_one_policy
from mlflow_governance.workflows.ports import AliasStep, Ports, Request
from mlflow_governance.workflows.record import write_allowed, write_denial


def plain(alias: str) -> str:
    """An alias as policy sees it: letters that merely look different do not evade a pattern."""
    letters = unicodedata.normalize("NFKD", alias).casefold()
    return "".join(c for c in letters if unicodedata.category(c) not in ("Mn", "Cc", "Cf")).strip()


@dataclass(frozen=True, slots=True)
class AliasMove:
    """What is to happen to an alias.

    ``before`` is the version it pointed at until now, None for a new alias; ``delete`` takes
    the alias away.
    """

    alias: str
    before: int | None = None
    delete: bool = False


@under_one_policy
def move_alias(ports: Ports, request: Request, move: AliasMove, apply: Callable[[], None]) -> None:
    """Point an alias at a version, or delete it, if the alias gate allows.

    Args:
        ports: everything a workflow needs.
        request: who asks; its version is the one pointed at (or pointed at until now).
        move: which alias, from where.
        apply: writes MLflow's row inside the transaction.

    Raises:
        NotFound: the version is not governed.
        Denied: the gate said no.
        Conflict: the alias no longer points at the version it was judged to leave.
    """
    with ports.store.read() as reading:
        record = load(reading, request.ref)
    after = None if move.delete else request.ref.version
    action = {
        "alias": plain(move.alias),
        "as_written": move.alias,
        "from_version": move.before,
        "to_version": after,
    }
    judgement = judge(ports, Gate.ALIAS, request, action, proved(ports, record))
    act = Act.ALIAS_DELETED if move.delete else Act.ALIAS_MOVED
    if not judgement.decision.allow:
        write_denial(ports, judgement, act)
        raise judgement.refuse(f"the alias {move.alias!r} may not point at {request.ref}")
    step = AliasStep(move.alias, move.before, after)
    with ports.store.begin() as uow:
        uow.move_alias(request.ref, step, judgement.dossier.now)
        apply()
        write_allowed(ports, uow, judgement, act, judgement.record)
