"""``as-of``: what stood where at an instant, who brought it there, and why."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from mlflow_governance import config
from mlflow_governance.cli.history import Progress, backend, home, instant
from mlflow_governance.cli.telling import line, person, plain
from mlflow_governance.core import moment
from mlflow_governance.core.model_ref import DEFAULT_WORKSPACE
from mlflow_governance.errors import LedgerError

if TYPE_CHECKING:
    from mlflow_governance.store.sessions import Sessions
    from mlflow_governance.workflows.chronicle import Witnessed

_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_SHOWN = 5


@click.command("as-of")
@click.argument("when")
@click.option("--until", metavar="WHEN", help="Also what changed between the two, who and why.")
@click.option("--model", default="*", metavar="GLOB", help="Only models of these names.")
@click.option("--workspace", default=None, help="Only this workspace of MLflow; default: all.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
@backend
@home
def as_of_command(  # noqa: PLR0913  (one for each option)
    when: str,
    until: str | None,
    model: str,
    workspace: str | None,
    as_json: bool,
    backend_store_uri: str,
    home: str | None,
) -> None:
    """What the registry was at WHEN: stages, aliases and approvals, and why.

    From the ledger alone, which is proved whole on the way, against its signed head and every
    exported checkpoint: whatever somebody wrote into other tables does not change the answer.

    WHEN is a date, which is the end of that day in UTC (today: now), an instant with its zone,
    or a while ago: 90d, 12h, 30m, 4w. What was of that very instant counts.

    \b
    mlflow-governance as-of 2026-11-01
    mlflow-governance as-of 2026-11-01T09:30:00-03:00 --model churn
    mlflow-governance as-of 2026-10-31 --until 2026-11-30     what November changed
    mlflow-governance explain DECISION                        why, in full, and made again

    Exit code 3: the ledger does not verify, and the message names the entry; or it contradicts
    itself.
    """
    from mlflow_governance.workflows.as_of import Question, as_of

    now = moment.now()
    question = Question(
        read_when(when, now), read_when(until, now) if until else None, model, workspace
    )
    sessions, witnessed = open_ledger(backend_store_uri, home)
    progress = Progress(_size(witnessed), "entries")
    try:
        seen = as_of(witnessed, question, now, progress.at)
        document = seen.document(witnessed.ledger)
    finally:
        progress.done()
        sessions.dispose()
    if as_json:
        click.echo(json.dumps(document, ensure_ascii=False))
    else:
        click.echo("\n".join(_lines(document)))
    if document["contradictions"]:
        raise LedgerError(
            "entries contradict those before them, so the state is not certain",
            advice="See: mlflow-governance validate",
        )


def read_when(text: str, now: datetime) -> datetime:
    """An instant as people write it; a date is the end of its day, or now while it lasts.

    Raises:
        InvalidRequest: it is none.
    """
    from mlflow_governance.workflows.as_of import instant_of

    if _DAY.fullmatch(text.strip()):
        return instant_of(text.strip(), now)
    found = instant(text, now)
    assert found is not None  # noqa: S101  (there is a text)
    return found


def open_ledger(backend_store_uri: str, home: str | None) -> tuple[Sessions, Witnessed]:
    """The ledger of a database with the key and the checkpoints of the home folder.

    Raises:
        ConfigurationError: the key or the database is not usable.
    """
    from mlflow_governance.bootstrap import ledger_key
    from mlflow_governance.store.ledger import SqlLedger
    from mlflow_governance.store.sessions import session_factory_for
    from mlflow_governance.workflows.chronicle import Witnessed

    settings = config.load(config.home_folder(home))
    key = ledger_key(settings)
    exported = [
        path.read_text("utf-8") for path in sorted(settings.checkpoint_folder.glob("*.checkpoint"))
    ]
    sessions = session_factory_for(backend_store_uri)
    return sessions, Witnessed(SqlLedger(sessions), key, lambda: exported)


def _size(witnessed: Witnessed) -> int:
    from mlflow_governance.ledger import checkpoint

    head = witnessed.ledger.head()
    return checkpoint.parse(head).size if head else 0


def _lines(document: Mapping[str, Any]) -> Iterator[str]:
    yield from _proof(document)
    for what in ("policy", "trust"):
        forced = document[what]
        yield f"  {what:<7} {_forced(forced)}" if forced else f"  {what:<7} none was recorded yet"
    for version in document["versions"]:
        yield from _version(version)
    for alias in document["aliases"]:
        key = _named(alias, f"@{alias['alias']}")
        yield f"{key} → {alias['version']}  {_known_from(alias)}"
    if not document["versions"]:
        yield "no version was governed" + (" then" if document["ledger"]["size"] else " yet")
    if document["until"]:
        yield f"\nuntil {document['until']}: {len(document['changes'])} changes"
        yield from (line(change) for change in document["changes"])
    yield from _doubts(document)


def _proof(document: Mapping[str, Any]) -> Iterator[str]:
    ledger = document["ledger"]
    yield f"as of {document['at']}"
    whole = f"proved against the signed head of {ledger['proved_size']:,} entries"
    if ledger["checkpoints"]:
        whole += f" and {ledger['checkpoints']:,} checkpoints"
    if not ledger["size"]:
        yield f"  before the first entry, which is of {ledger['first']}; {whole}"
        return
    yield f"  from {ledger['size']:,} entries, the last of {ledger['last']}; {whole}"
    yield f"  root    {ledger['root']}"


def _forced(forced: Mapping[str, Any]) -> str:
    return f"{forced['digest']}  {_known_from(forced)}"


def _version(version: Mapping[str, Any]) -> Iterator[str]:
    aliases = "".join(f" @{alias}" for alias in version["aliases"])
    stage = version["stage"]
    if version["quarantined_from"]:
        stage += f" (from {version['quarantined_from']})"
    if version["blocked"]:
        stage += ", its content blocked"
    name = _named(version, f"/{version['version']}")
    yield f"{name}  {stage}{aliases}  {_known_from(version)}"
    for word in version["approvals"]:
        void = "" if word["current"] else " (void: model or policy changed)"
        yield (
            f"    {word['decision']} by {person(word['person'])} for {word['role']}, "
            f"{word['at']}, entry {word['entry']}{void}"
        )


def _known_from(known: Mapping[str, Any]) -> str:
    reason = f", “{plain(known['reason'])}”" if known["reason"] else ""
    decision = f", decision {known['decision_id']}" if known["decision_id"] else ""
    return (
        f"since {known['since']} by {person(known['by'])}{reason}{decision}, entry {known['entry']}"
    )


def _named(of: Mapping[str, Any], rest: str) -> str:
    where = "" if of["workspace"] == DEFAULT_WORKSPACE else f" in {of['workspace']}"
    return f"{of['name']}{rest}{where}"


def _doubts(document: Mapping[str, Any]) -> Iterator[str]:
    odd, left_out, deleted = (
        document["backdated"], document["left_out"], document["ledger"]["deleted"]
    )  # fmt: skip
    if deleted:
        yield (
            f"note: {deleted:,} of these entries were deleted after their retention, so versions "
            "that were deleted since may lack above"
        )
    if odd["count"]:
        yield (
            f"note: dated before an entry that precedes them (the clock went back, or they waited "
            f"their turn), so of its instant: {_places(odd)}"
        )
    if left_out["count"]:
        yield f"note: of these do not count above, though dated so: {_places(left_out)}"
    for one in document["contradictions"]:
        yield f"CONTRADICTION: entry {one['entry']}: {one['message']}"


def _places(odd: Mapping[str, Any]) -> str:
    shown = [
        f"entry {one['entry']} ({one['at']}, after {one['behind']})"
        for one in odd["first"][:_SHOWN]
    ]
    more = odd["count"] - len(shown)
    return ", ".join(shown) + (f" and {more:,} more" if more else "")
