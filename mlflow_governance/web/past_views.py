"""The views that look back: histories, decisions explained, and the state at an instant.

Reading the whole ledger and making a decision again cost what no other request costs. So one of
them is done at a time in a process, a ledger that is too long is left to the command on the host,
and what was once answered is kept: the past stays as it was.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from mlflow_governance.core import moment
from mlflow_governance.core.model_ref import check_name
from mlflow_governance.errors import InvalidRequest, NotFound
from mlflow_governance.ledger import checkpoint
from mlflow_governance.web.fields import Values
from mlflow_governance.web.lookback import Lookback
from mlflow_governance.web.services import WebServices
from mlflow_governance.workflows.as_of import Question, instant_of
from mlflow_governance.workflows.chronicle import About
from mlflow_governance.workflows.reconstruct import reconstruct

MOST_ENTRIES = 200_000
"""Entries a server reads for one answer: a few seconds of one processor."""

Document = dict[str, Any]


def history(services: WebServices, values: Values) -> Document:
    """What happened to a version, or with version 0 to its whole model, oldest first."""
    workspace, name = values.text("workspace"), values.text("name")
    check_name(workspace)
    check_name(name)
    about = About(workspace, name, values.number("version") or None)
    with services.ports.store.read() as reading:
        told = reading.history(about, values.number("start") - 1, values.number("count"))
    if not told.entries and told.after is None and not values.number("start"):
        number = f"/{about.version}" if about.version else ""
        raise NotFound(f"the ledger tells nothing of {name}{number}")
    following = None if told.after is None else told.after + 1
    return {"entries": told.entries, "next": following}


def explanation(services: WebServices, values: Values) -> Document:
    """A decision in full: evidence, approvals, policy, proof, consequences, and made again."""
    past = _past(services)
    with past.turn(), services.ports.store.read() as reading:
        row = past.decision(values.text("id"))
        if row is None:
            raise NotFound(f"no decision has the id {values.text('id')[:80]!r}")
        return reconstruct(reading, past.witnessed(), row).document


def state_at(services: WebServices, values: Values) -> Document:
    """What stood where at an instant of the past, from the ledger alone, which is proved whole."""
    now = services.ports.clock()
    return looked_back(services, values, now)


def looked_back(services: WebServices, values: Values, now: datetime) -> Document:
    """The state at an instant; what a server has answered once it does not find out again.

    Args:
        services: what the interface stands on.
        values: ``at``, ``until``, ``model`` and ``workspace``.
        now: the present instant.

    Raises:
        InvalidRequest: the instant is to come, or the ledger is too long for a server.
        Unavailable: others were not done in time.
    """
    at, until = values.text("at"), values.text("until")
    question = Question(
        instant_of(at, now),
        instant_of(until, now) if until else None,
        values.text("model") or "*",
        values.text("workspace") or None,
    )
    past = _past(services)
    note = services.ledger.head()
    size = checkpoint.parse(note).size if note else 0
    if size > MOST_ENTRIES:
        raise InvalidRequest(
            f"the ledger has {size:,} entries, more than a server reads for one answer",
            advice=f"On its host: mlflow-governance as-of {moment.to_text(question.at)}",
        )
    return past.state(question, note, now)


def _past(services: WebServices) -> Lookback:
    if services.past is None:
        raise NotFound("this server does not look back", advice="See: mlflow-governance as-of")
    return services.past
