"""Versions: our table, MLflow's, and the mirrored tags, each against the ledger."""

from __future__ import annotations

from collections.abc import Iterator

from mlflow_governance.core import digest, moment
from mlflow_governance.core.stage import Stage
from mlflow_governance.errors import GovernanceError
from mlflow_governance.ledger.entry import stands_for
from mlflow_governance.ledger.told import Ref, ToldVersion
from mlflow_governance.workflows.accept import REGISTER
from mlflow_governance.workflows.record import MIRROR
from mlflow_governance.workflows.validation.books import (
    Books,
    CatalogueRow,
    GovernedRow,
    Scene,
    Shelves,
    subject,
)
from mlflow_governance.workflows.validation.findings import Finding, Severity, each, found

_BINDINGS = ("policy_digest", "trust_digest")


def check_governed(scene: Scene) -> Iterator[Finding]:
    """Our table against the ledger: VAL-010 to VAL-016 and VAL-018."""
    rows = {row.uid: row for row in scene.seen.governed}
    for told in scene.told.living():
        if told.uid not in rows and scene.in_scope(told.ref.name):
            yield found("VAL-010", subject(told.ref), "no row", f"{told.stage}, {told.digest}")
    seen: dict[Ref, str] = {}
    for row in scene.seen.governed:
        if not scene.in_scope(row.name):
            continue
        if row.ref in seen:
            yield found("VAL-012", subject(row.ref), f"{seen[row.ref]} and {row.uid}", "one")
        seen[row.ref] = row.uid
    yield from each(
        (row for row in scene.seen.governed if scene.in_scope(row.name)),
        lambda row: _governed(scene, row),
        lambda row: subject(row.ref),
    )


def _governed(scene: Scene, row: GovernedRow) -> Iterator[Finding]:
    told = scene.told.versions.get(row.uid)
    name = subject(row.ref)
    if told is None or told.deleted:
        said = "no entry about it" if told is None else "it was deleted"
        yield found("VAL-011", name, f"{row.stage}, {row.digest}", said)
        return
    moment.parse(row.created_at)
    if told.ref != row.ref:
        yield found("VAL-018", subject(told.ref), name, subject(told.ref))
    if told.stage != row.stage:
        yield found("VAL-013", name, row.stage, told.stage)
    yield from _digest(scene, row, told)
    binding = {key: told.state[key] for key in _BINDINGS if key in told.state}
    binding |= {"quarantined_from": told.quarantined_from, "decision_id": told.decision_id}
    for key, value in binding.items():
        if getattr(row, key) != value:
            yield found("VAL-015", name, f"{key} {getattr(row, key)}", f"{key} {value}")
    here = digest.of_bytes(row.location.encode())
    if told.location_digest is not None and told.location_digest != here:
        yield found("VAL-016", name, row.location, f"a place of digest {told.location_digest}")


def _digest(scene: Scene, row: GovernedRow, told: ToldVersion) -> Iterator[Finding]:
    if told.digest == row.digest or (told.digest is None and scene.waits(row.uid, REGISTER)):
        return
    # At None the files may be hashed anew at any time, and nothing is bound to them yet.
    severity = Severity.WARNING if told.stage == Stage.NONE else None
    yield found("VAL-014", subject(row.ref), row.digest, told.digest, severity)


def check_submitters(scene: Scene, books: Books) -> Iterator[Finding]:
    """Who registered each version, against the ledger's commitment: VAL-017.

    Of a person who was erased the pseudonym is compared. What is gone otherwise is VAL-080.
    """
    rows = [row for row in scene.seen.governed if scene.looks_at(row.uid)]
    told = scene.told.versions
    behind = books.private({told[row.uid].submitter or "" for row in rows} - {""})

    def check(row: GovernedRow) -> Iterator[Finding]:
        commitment = told[row.uid].submitter
        if commitment is None:
            if row.submitter:
                yield found("VAL-017", subject(row.ref), row.submitter, "nobody: it was adopted")
        elif commitment in behind:
            salt, text = behind[commitment]
            if not stands_for(commitment, (salt, text), text):
                yield found("VAL-017", subject(row.ref), "a name that was changed", commitment)
            elif text != row.submitter:
                yield found("VAL-017", subject(row.ref), row.submitter, text)

    yield from each(rows, check, lambda row: subject(row.ref))


def check_catalogue(scene: Scene, shelves: Shelves) -> Iterator[Finding]:
    """MLflow's versions against the ledger and our table: VAL-020 to VAL-026."""
    theirs = {row.ref: row for row in scene.seen.catalogue}
    ours = {row.ref: row for row in scene.seen.governed}
    for told in scene.told.living():
        if not scene.in_scope(told.ref.name):
            continue
        row = theirs.get(told.ref)
        if row is None or row.deleted:
            said = "no row" if row is None else f"the stage {row.stage}"
            yield found("VAL-021", subject(told.ref), said, told.stage)
        elif row.stage != told.stage:
            yield found("VAL-020", subject(told.ref), row.stage, told.stage)
    yield from each(
        (row for row in scene.seen.catalogue if scene.in_scope(row.name) and not row.deleted),
        lambda row: _catalogued(scene, row, ours.get(row.ref), shelves),
        lambda row: subject(row.ref),
    )


def _catalogued(
    scene: Scene, row: CatalogueRow, ours: GovernedRow | None, shelves: Shelves
) -> Iterator[Finding]:
    told, name = scene.told.at(row.ref), subject(row.ref)
    is_prompt = (row.workspace, row.name) in scene.seen.prompts
    if told is None:
        if is_prompt or scene.left_out(row.name) or ours is not None:
            return
        if scene.told.was_deleted(row.ref):
            yield found("VAL-026", name, row.stage, "it was deleted")
        else:
            yield found("VAL-022", name, row.stage, "no entry about it")
        return
    if is_prompt:
        yield found("VAL-025", name, "a prompt", "a model")
    if ours is not None:
        source = str(row.storage_location or row.source)
        place = _place(shelves, source, row.workspace)
        if place != ours.location:
            yield found("VAL-023", name, f"{source} ({place})", ours.location)
    yield from _tags(scene, told, ours)


def _place(shelves: Shelves, source: str, workspace: str) -> str:
    try:
        return shelves.locate(source, workspace)
    except GovernanceError as error:
        if error.http_status >= 500:
            raise
        return error.message


def _tags(scene: Scene, told: ToldVersion, ours: GovernedRow | None) -> Iterator[Finding]:
    if not told.judged or scene.waits(told.uid, MIRROR):
        return  # not mirrored yet
    tags = scene.seen.tags.get(told.ref, {})
    digests = [told.digest or ""]
    if told.stage == Stage.NONE and ours is not None:  # hashed anew, perhaps, since it was judged
        digests = [ours.digest or "", *digests]
    expected = {
        "governance.stage": [told.stage],
        "governance.digest": digests,
        "governance.decision": told.judged,
    }
    for key, values in expected.items():
        if tags.get(key) not in values:
            yield found("VAL-024", subject(told.ref, f":{key}"), tags.get(key), values[-1])


def check_tasks(scene: Scene) -> Iterator[Finding]:
    """What the worker gave up on: VAL-067."""
    for uid, tasks in scene.seen.tasks.items():
        for kind, state in sorted(tasks):
            if state == "dead" and scene.looks_at(uid):
                yield found("VAL-067", scene.subject(uid), f"{kind}: given up", "done")
