"""``doctor``: what is configured, what is active, what is missing, and the mending command."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from mlflow_governance import bootstrap, config
from mlflow_governance.config import Settings
from mlflow_governance.custody import ledger as custody
from mlflow_governance.errors import ConfigurationError, GovernanceError

if TYPE_CHECKING:
    from mlflow_governance.policy.interface import PolicyEngine
    from mlflow_governance.store.ledger import SqlLedger

_OK, _WARNING, _FAILED = "ok", "warning", "FAILED"


@dataclass(frozen=True)
class Finding:
    """One line of the report; ``fix`` is the mending command."""

    state: str
    subject: str
    message: str
    fix: str = ""


@click.command()
@click.option("--home", default=None, help="Home folder of the installation.")
@click.option("--backend-store-uri", help="Look at this database, too.")
def doctor(home: str | None, backend_store_uri: str | None) -> None:
    """Say what is configured, what is active and what is missing.

    Looks at the home folder, the policy bundle, the database if it is named, and the running
    server if MLFLOW_TRACKING_URI names one. Exit code 6 when something must be mended.
    """
    findings = list(_examine(config.home_folder(home), backend_store_uri))
    for finding in findings:
        click.echo(f"{finding.state:<8} {finding.subject}: {finding.message}")
        if finding.fix:
            click.echo(f"           mend: {finding.fix}")
    if any(finding.state == _FAILED for finding in findings):
        sys.exit(ConfigurationError.exit_code)


def _examine(home: os.PathLike[str], backend: str | None) -> Iterator[Finding]:
    from pathlib import Path

    folder = Path(home)
    if not folder.is_dir():
        yield Finding(_FAILED, "home", f"{folder} does not exist", "mlflow-governance server")
        return
    try:
        settings = config.load(folder)
    except GovernanceError as error:
        yield Finding(_FAILED, "settings", error.message, error.advice)
        return
    yield Finding(_OK, "home", f"{folder}, authentication {settings.auth}")
    if settings.auth == "none":
        yield Finding(
            _WARNING,
            "authentication",
            "nobody is known, so nothing that needs a person can be done",
            "mlflow-governance server --auth basic",
        )
    for subject, look in _LOOKS:
        try:
            yield from look(settings)
        except GovernanceError as error:
            yield Finding(_FAILED, subject, error.message, error.advice)
    yield from _server()
    if backend:
        yield from _database(settings, backend)


def _keys(settings: Settings) -> Iterator[Finding]:
    bootstrap.refuse_shared_keys(settings)
    yield Finding(_OK, "keys", "ledger and registry keys are apart and private")
    place = custody.ledger_signer(settings).place
    if place != settings.ledger_key:
        yield Finding(
            _WARNING,
            "ledger key",
            f"config.yaml does not name the key that signs, which is {place}",
            f"ledger_key: {place}",
        )


def _trust(settings: Settings) -> Iterator[Finding]:
    from mlflow_governance.evidence.trust import TrustPolicy

    signers = TrustPolicy.load(settings.trust_file).signers
    if signers:
        names = ", ".join(sorted({signer.name for signer in signers}))
        yield Finding(_OK, "trust", f"{len(signers)} entries: {names}")
    else:
        yield Finding(
            _WARNING,
            "trust",
            "nobody may sign anything, so no version can be accepted",
            "mlflow-governance trust add NAME --key FILE.pub --for signature,provenance,…",
        )


def _policy(settings: Settings) -> Iterator[Finding]:
    loaded = bootstrap.policy_source(settings).fetch()
    engine = bootstrap.policy_engine(settings, loaded.bundle)
    by = f", signed by {loaded.signer}" if loaded.signer else ""
    yield Finding(_OK, "policy", f"{loaded.bundle.digest} on {engine.name}{by}")
    if loaded.stale:
        yield Finding(
            _WARNING, "policy", f"the kept copy: {loaded.stale}", "mlflow-governance policy show"
        )
    if settings.opa is not None:
        yield _policy_server(engine, settings.opa.url)


def _policy_server(engine: PolicyEngine, url: str) -> Finding:
    from mlflow_governance.core.dossier import Gate
    from mlflow_governance.policy.interface import EngineError

    subject = "policy server"
    try:
        engine.evaluate(Gate.DOWNLOAD, b"{}")
    except EngineError as error:
        if error.reason_code == "ENG-REVISION":
            message = f"{url} does not serve the bundle of the source, {engine.policy_digest}"
            return Finding(_WARNING, subject, message, "mlflow-governance policy status")
        told = f"{url}: {error.reason_code} {error.message}"
        return Finding(_FAILED, subject, told, "opa in config.yaml; docs/operations.md")
    return Finding(_OK, subject, f"{url} serves the same")


def _webhooks(settings: Settings) -> Iterator[Finding]:
    names = ", ".join(target.name for target in settings.webhooks)
    if names:
        yield Finding(_OK, "webhooks", names)
    else:
        yield Finding(_WARNING, "webhooks", "nobody is told of revocations", "docs/operations.md")


def _advisories(settings: Settings) -> Iterator[Finding]:
    from mlflow_governance.evidence.advisories import load

    found = load(settings.advisories)
    if found.count:
        age = f", the newest of {found.newest:%Y-%m-%d}" if found.newest else ""
        yield Finding(_OK, "advisories", f"{found.count} OSV records{age}")
    else:
        yield Finding(
            _WARNING,
            "advisories",
            "none; only vulnerabilities named inside an SBOM are known",
            "mlflow-governance advisories update ARCHIVE",
        )


def _packages(_: Settings) -> Iterator[Finding]:
    missing = [name for name in ("uvloop", "httptools") if not importlib.util.find_spec(name)]
    if missing:
        yield Finding(
            _WARNING,
            "packages",
            f"{', '.join(missing)} missing: several workers answer 40 ms later",
            f"pip install {' '.join(missing)}",
        )


_LOOKS: tuple[tuple[str, Callable[[Settings], Iterator[Finding]]], ...] = (
    ("keys", _keys),
    ("trust", _trust),
    ("policy", _policy),
    ("webhooks", _webhooks),
    ("advisories", _advisories),
    ("packages", _packages),
)


def _server() -> Iterator[Finding]:
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    if not uri.startswith("http"):
        yield Finding(
            _WARNING,
            "server",
            "not looked at: no server is named",
            "export MLFLOW_TRACKING_URI=http://127.0.0.1:5000",
        )
        return
    from mlflow_governance.cli.client import RegistryClient

    try:
        policy = RegistryClient().policy()
    except GovernanceError as error:
        yield Finding(_FAILED, "server", error.message, error.advice)
        return
    yield Finding(_OK, "server", f"{uri} is governed, under {policy['policy_digest']}")
    if note := policy["source"]["note"]:
        yield Finding(
            _WARNING, "policy source", note, "mlflow-governance policy check --bundle FOLDER"
        )


def _database(settings: Settings, backend: str) -> Iterator[Finding]:
    from mlflow_governance.cli.operation import open_sessions
    from mlflow_governance.store.ledger import SqlLedger

    try:
        ledger = SqlLedger(open_sessions(backend))
        report = ledger.verify(bootstrap.ledger_key(settings))
    except GovernanceError as error:
        yield Finding(_FAILED, "ledger", error.message, error.advice)
        return
    yield Finding(_OK, "ledger", f"{report.size} entries verify")
    yield from _anchors(settings, ledger)
    yield from _in_force(settings, backend)
    yield from _queues(backend)


def _anchors(settings: Settings, ledger: SqlLedger) -> Iterator[Finding]:
    from mlflow_governance.cli import anchors

    try:
        unread = anchors.refuse_rollback(settings, ledger)
    except GovernanceError as error:
        yield Finding(_FAILED, "checkpoints", error.message, error.advice)
        return
    for place, why in unread.items():
        yield Finding(_WARNING, "checkpoints", f"{place} cannot be read: {why}")
    mend = "mlflow-governance ledger verify"
    for state, place, told in anchors.standing(settings, ledger):
        how = {"ok": _OK, "stale": _WARNING}.get(state, _FAILED)
        yield Finding(how, "checkpoints", f"{place} {told}", "" if how == _OK else mend)
    if not settings.checkpoint_options.destinations and not settings.checkpoint_options.witnesses:
        yield Finding(
            _WARNING,
            "checkpoints",
            "none leaves this host, so nobody outside notices a ledger that was rewritten",
            "checkpoints in config.yaml; docs/operations.md",
        )


def _in_force(settings: Settings, backend: str) -> Iterator[Finding]:
    import contextlib

    from mlflow_governance.policy import bundle
    from mlflow_governance.store.sessions import session_factory_for, transaction
    from mlflow_governance.store.unit_of_work import SqlReading

    with transaction(session_factory_for(backend), read_only=True) as session:
        reading = SqlReading(session)
        said = reading.in_force("policy")
        archive = None if said is None else reading.policy_archive(said)
    if said is None or archive is None:
        yield Finding(_WARNING, "policy in force", "none yet", "mlflow-governance server")
        return
    bundle.kept_as(archive, said)
    yield Finding(_OK, "policy in force", str(said))
    with contextlib.suppress(GovernanceError):  # what is wrong with the source is said above
        if bootstrap.load_bundle(settings).digest != said:
            yield Finding(
                _WARNING,
                "policy source",
                "it has another policy than the one in force",
                "mlflow-governance policy status",
            )


def _queues(backend: str) -> Iterator[Finding]:
    from mlflow_governance.store.outbox_queue import OutboxQueue
    from mlflow_governance.store.sessions import session_factory_for
    from mlflow_governance.store.task_queue import SqlTaskQueue

    sessions = session_factory_for(backend)
    tasks = SqlTaskQueue(sessions).pending_counts()
    state = _FAILED if tasks["dead"] else _OK
    yield Finding(
        state,
        "worker",
        f"{tasks['pending']} tasks wait, {tasks['dead']} were given up",
        "mlflow-governance judge NAME/VERSION" if tasks["dead"] else "",
    )
    for target, counts in OutboxQueue(sessions).pending_counts().items():
        dead = counts.get("dead", 0)
        yield Finding(
            _FAILED if dead else _OK,
            f"webhook {target}",
            f"{counts.get('pending', 0)} deliveries wait, {dead} were given up",
            f"mlflow-governance outbox replay --target {target}" if dead else "",
        )
