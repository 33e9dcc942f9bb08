"""What points at a version or at its content: aliases, and the list of blocked digests."""

from __future__ import annotations

from collections.abc import Iterator

from mlflow_governance.core.stage import Stage
from mlflow_governance.ledger.told import AliasKey, Pointing, Ref
from mlflow_governance.workflows.validation.books import Scene
from mlflow_governance.workflows.validation.findings import Finding, each, found, named

_NOWHERE = Pointing(None, None)


def check_aliases(scene: Scene) -> Iterator[Finding]:
    """MLflow's aliases and ours against the ledger: VAL-030 to VAL-034."""
    keys = {*scene.told.aliases, *scene.seen.aliases, *scene.seen.kept_aliases}
    alive = {row.ref for row in scene.seen.catalogue if not row.deleted}
    yield from each(
        sorted((key for key in keys if scene.in_scope(key.name)), key=str),
        lambda key: _alias(scene, key, alive),
        _shown,
    )


def _alias(scene: Scene, key: AliasKey, alive: set[Ref]) -> Iterator[Finding]:
    told = scene.told.aliases.get(key, _NOWHERE)
    seen = scene.seen.aliases.get(key)
    known = key in scene.told.aliases
    if seen is not None and Ref(key.workspace, key.name, seen) not in alive:
        yield found("VAL-033", _shown(key), f"version {seen}", "a version that is there")
    if seen is None and told.version is not None:
        yield found("VAL-031", _shown(key), None, f"version {told.version}")
    elif seen is not None and told.version is None:
        if known or not _is_left(scene, key, seen):
            yield found("VAL-032", _shown(key), f"version {seen}", None)
    elif seen != told.version:
        yield found("VAL-030", _shown(key), f"version {seen}", f"version {told.version}")
    kept = scene.seen.kept_aliases.get(key, _NOWHERE)
    if kept != told:
        yield found("VAL-034", _shown(key), _both(kept), _both(told))


def _is_left(scene: Scene, key: AliasKey, version: int) -> bool:
    # To MLflow alone: prompts, excluded names, and versions nobody governs (VAL-022 names them).
    if scene.told.at(Ref(key.workspace, key.name, version)) is not None:
        return False
    prompt = (key.workspace, key.name) in scene.seen.prompts
    return prompt or scene.left_out(key.name) or not _has_governed(scene, key)


def _has_governed(scene: Scene, key: AliasKey) -> bool:
    return any(
        (told.ref.workspace, told.ref.name) == (key.workspace, key.name)
        for told in scene.told.living()
    )


def _shown(key: AliasKey) -> str:
    return named(key.workspace, key.name, f"@{key.alias}")


def _both(pointing: Pointing) -> str:
    return f"version {pointing.version}, before it {pointing.before}"


def check_blocked(scene: Scene) -> Iterator[Finding]:
    """The list of blocked digests against what was withdrawn: VAL-040 to VAL-042."""
    told, seen = scene.told.blocked(), scene.seen.blocked
    names = {
        version.digest: scene.subject(version.uid)
        for version in scene.told.living()
        if version.digest in told and version.stage == told[version.digest]
    }
    for digest, stage in told.items():
        if digest not in seen:
            yield found("VAL-040", digest, "not blocked", f"{stage} with {names[digest]}")
        elif seen[digest] != stage:
            yield found("VAL-042", digest, seen[digest], f"{stage} with {names[digest]}")
    for digest in seen.keys() - told.keys():
        yield found("VAL-041", digest, seen[digest], f"not {Stage.REVOKED} with any version")
