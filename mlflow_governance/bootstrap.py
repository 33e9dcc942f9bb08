"""The one place where ports meet adapters, and where a home folder is made ready."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from mlflow_governance.config import Settings
from mlflow_governance.core import canonical, moment
from mlflow_governance.core.resources import folder
from mlflow_governance.custody import apart, registry
from mlflow_governance.custody import ledger as custody
from mlflow_governance.custody.files import require_home
from mlflow_governance.custody.live import LiveKeys
from mlflow_governance.errors import ConfigurationError
from mlflow_governance.evidence import envelope
from mlflow_governance.evidence.authority import KeyHolder, When
from mlflow_governance.evidence.examiner import default_verifiers
from mlflow_governance.evidence.keys import PrivateKey
from mlflow_governance.evidence.live import LiveExaminer
from mlflow_governance.evidence.predicate import Purpose
from mlflow_governance.evidence.trust import Signer, TrustPolicy
from mlflow_governance.ledger.note import LedgerKey, NoteSigner
from mlflow_governance.policy import config_schema
from mlflow_governance.policy.download import Access
from mlflow_governance.policy.embedded import EmbeddedEngine
from mlflow_governance.policy.interface import PolicyEngine
from mlflow_governance.policy.signing import TrustedKey
from mlflow_governance.policy.sources import Demand, Feed, PolicySource
from mlflow_governance.workflows.live_policies import Engines, LivePolicies
from mlflow_governance.workflows.ports import Artifacts, Catalogue, Ports, Rules, Store

if TYPE_CHECKING:
    from mlflow_governance.audit.bundle import Exporter
    from mlflow_governance.outbox.decision_event import Recorder
    from mlflow_governance.policy.bundle import Bundle
    from mlflow_governance.policy.process import Budget
    from mlflow_governance.workflows.evidence_ports import EvidenceStore
    from mlflow_governance.workflows.shadow import Notes

_EVERY_MODEL = "*"

_TRUST_TEMPLATE = """\
# Who may sign what. Nobody is trusted until named here:
#   mlflow-governance trust add NAME --key FILE.pub --for signature,provenance
version: 1
signers: []
"""


@dataclass(frozen=True)
class Prepared:
    """What the first start made, to be told once."""

    created: tuple[str, ...] = ()


def prepare_home(settings: Settings) -> Prepared:
    """Make the home folder usable: keys, trust policy, folders. What exists is left alone.

    Raises:
        ConfigurationError: the folder cannot be written, or keys are unsafe.
    """
    home, created = settings.home, []
    try:
        for path in (home, home / "keys", settings.advisories, settings.checkpoint_folder):
            if not path.is_dir():
                path.mkdir(parents=True, mode=0o700)
    except OSError as error:
        raise ConfigurationError(f"the home folder {home} cannot be made: {error}") from error
    created += custody.prepare(settings)
    created += registry.prepare(settings)
    if not settings.trust_file.exists():
        settings.trust_file.write_text(_TRUST_TEMPLATE, "utf-8")
        created.append(f"{settings.trust_file}: who may sign what (nobody yet)")
    refuse_shared_keys(settings)
    return Prepared(tuple(created))


def refuse_shared_keys(settings: Settings) -> None:
    """Refuse a key that serves two purposes, or is not private: each has one of its own.

    Raises:
        ConfigurationError: a key is used twice, or cannot be read safely.
        Unavailable: a device that holds one does not answer.
    """
    require_home(settings.home)
    ledger_signer(settings)
    registry.registry_key(settings)
    own = apart.own_keys(settings)
    try:
        policy = TrustPolicy.load(settings.trust_file)
    except ConfigurationError:
        return  # reported where it is used: until mended, nobody is trusted
    apart.refuse_own(policy, own)


def ledger_signer(settings: Settings) -> NoteSigner:
    """The key that signs the ledger now.

    Raises:
        ConfigurationError: absent or unsafe, or another one than the ledger is signed with.
        Unavailable: the service that keeps the key does not answer.
    """
    return custody.ledger_signer(settings)


def ledger_key(settings: Settings) -> LedgerKey:
    """The public keys the ledger's notes are opened with; no private one is needed.

    Raises:
        ConfigurationError: there is none, or one cannot be read.
        LedgerError: the exported checkpoints tell of another history of it.
    """
    return LiveKeys(settings)


@dataclass(frozen=True)
class StatementSigner:
    """``workflows.ports.Signer`` with the registry's key."""

    key: PrivateKey

    def sign_statement(self, statement: Mapping[str, Any]) -> bytes:
        """A DSSE envelope around the RFC 8785 form of an in-toto Statement."""
        return envelope.sign(canonical.encode(statement), envelope.IN_TOTO, [self.key])


def policy_source(settings: Settings) -> PolicySource:
    """Where the policies come from, and what they must show.

    Raises:
        ConfigurationError: the place is not usable, or the token for it is not set.
    """
    token = os.environ.get(settings.policy_token_variable, "")
    if settings.policy_token_variable and not token:
        raise ConfigurationError(
            f"the token for the policy bundle is not in {settings.policy_token_variable}",
            advice="Set that variable, or change policy_token_variable in config.yaml.",
        )
    return PolicySource(
        settings.policies or folder("policies"),
        Demand(lambda: policy_keys(settings), settings.policy_signed, settings.policy_scope),
        settings.home,
        Access(token, settings.policy_ca_file),
    )


def policy_keys(settings: Settings) -> list[TrustedKey]:
    """The keys of trust.yaml that may sign a bundle, with why one does not count now.

    Raises:
        ConfigurationError: trust.yaml is absent or malformed, or trusts a key of ours.
    """
    now = moment.now()
    return [
        TrustedKey(
            signer.name,
            signer.by.key.pem,
            _limited(signer) or signer.untimely(When(now, now)),
        )
        for signer in apart.trust_policy(settings).signers
        if isinstance(signer.by, KeyHolder) and Purpose.POLICY in signer.purposes
    ]


def _limited(signer: Signer) -> str:
    # A bundle is about every model. The pattern is read as it is written: "?" matches "*", too.
    if _EVERY_MODEL in signer.models:
        return ""
    return f"{signer.name!r} is trusted for {', '.join(signer.models)} and not for every model"


def load_bundle(settings: Settings) -> Bundle:
    """The policy bundle that the settings name.

    Raises:
        ConfigurationError: it is not usable.
        VerificationError: it is not signed as it must be.
        Unavailable: it cannot be fetched, and no copy is kept.
    """
    return policy_source(settings).fetch().bundle


def policy_engine(settings: Settings, bundle: Bundle) -> PolicyEngine:
    """The engine the settings ask for. There is no fallback from one to the other.

    Raises:
        ConfigurationError: the bundle does not compile, does not keep within ``policy_budget``, or
            has settings that are not what it reads.
    """
    from mlflow_governance.policy import trial

    # Before anything of it is parsed in this process, by the engine or by the lint.
    trial.require(bundle, settings.policy_budget)
    config_schema.require(bundle)
    if settings.opa is None and settings.confined:
        from mlflow_governance.policy.confined import ConfinedEngine

        return ConfinedEngine(bundle, settings.policy_budget)
    if settings.opa is None:
        return EmbeddedEngine(bundle)
    from mlflow_governance.policy.opa import OpaEngine

    token = os.environ.get(settings.opa.token_variable) if settings.opa.token_variable else None
    return OpaEngine(
        settings.opa.url,
        bundle,
        token=token,
        deadline_seconds=settings.opa.deadline_seconds,
        ca_file=settings.opa.ca_file,
        token_file=settings.opa.token_file,
        cert_file=settings.opa.cert_file,
        key_file=settings.opa.key_file,
    )


def build_ports(
    settings: Settings, store: Store, artifacts: Artifacts, catalogue: Catalogue
) -> Ports:
    """Everything a workflow needs.

    Raises:
        ConfigurationError: a key, the policy bundle or the engine is not usable.
    """
    policy = LivePolicies(
        store=store,
        source=Feed(policy_source(settings)),
        engines=Engines(partial(policy_engine, settings), remote=settings.opa is not None),
        clock=moment.now,
        every=settings.policy_reload_seconds,
        quorum=settings.policy_approvals,
        grace=timedelta(days=settings.policy_grace_days),
    )
    policy.start()
    return Ports(
        store=store,
        artifacts=artifacts,
        catalogue=catalogue,
        policy=policy,
        examiner=LiveExaminer(
            settings.trust_file,
            default_verifiers(settings.advisories),
            lambda policy: apart.refuse_own(policy, apart.own_keys(settings)),
        ),
        signer=StatementSigner(registry.registry_key(settings)),
        rules=Rules(
            strict_registration=settings.strict_registration,
            sync_limit_bytes=settings.sync_limit_bytes,
            accepted_policy_digests=settings.accepted_policy_digests,
            registry_name=settings.registry_name,
            dashboards=settings.dashboards,
            policy_approvals=settings.policy_approvals,
            ungoverned_models=settings.ungoverned_models,
        ),
        clock=moment.now,
    )


def decision_recorder(
    settings: Settings, current: Callable[[], tuple[PolicyEngine, Mapping[str, bytes]]]
) -> Recorder:
    """Makes masked records of decisions for the decision log.

    Args:
        settings: the labels and masks; without ``decision_log`` the default masks.
        current: the engine and the files of the bundle in force.

    Raises:
        ConfigurationError: the secret of the pseudonyms is not usable.
    """
    from mlflow_governance.outbox.decision_event import Recorder, labels_of
    from mlflow_governance.outbox.masking import DEFAULT_MASK, load_salt, pseudonyms
    from mlflow_governance.policy.log_mask import LogMask

    options = settings.decision_log
    return Recorder(
        labels=labels_of(settings.registry_name, options.labels if options else {}),
        pseudonym=pseudonyms(load_salt(settings.log_salt)),
        rules=options.mask if options else DEFAULT_MASK,
        policy_mask=LogMask(current),
    )


def watched(settings: Settings, ports: Ports, notes: Notes) -> Ports:
    """The ports with the shadow bundle of the settings watching, if there is one.

    Raises:
        ConfigurationError: it cannot be loaded or does not compile.
    """
    if settings.shadow_policies is None:
        return ports
    from mlflow_governance.policy import bundle as bundles
    from mlflow_governance.policy import trial
    from mlflow_governance.workflows.shadow import Shadow

    try:
        bundle = bundles.load(settings.shadow_policies)
        trial.require(bundle, settings.policy_budget)
        config_schema.require(bundle)
        engine = _aside(bundle, settings.policy_budget)
    except ConfigurationError as error:
        raise ConfigurationError(
            f"shadow_policies: {error.message}", advice=error.advice
        ) from error
    return replace(ports, watch=Shadow(engine, notes, clock=ports.clock).watch)


def _aside(bundle: Bundle, budget: Budget | None) -> PolicyEngine:
    # The embedded engine holds the interpreter while it evaluates, whichever thread asked it: a
    # slow answer would stop every request. A process of its own stops nobody.
    if sys.platform == "win32":
        return EmbeddedEngine(bundle)
    from mlflow_governance.policy.confined import ConfinedEngine

    return ConfinedEngine(bundle, budget, processes=1)


@dataclass(frozen=True)
class Publications:
    """What the registry publishes signed: revocations and its public keys."""

    settings: Settings
    ports: Ports

    def revocations(self) -> bytes:
        """The signed revocation list as of now; its epoch is the ledger's size."""
        from mlflow_governance.serving.revocations import Revocation, make_list

        now = self.ports.clock()
        with self.ports.store.read() as reading:
            entries = [Revocation(d, stage, at) for d, stage, at in reading.blocked()]
            epoch = reading.ledger_size()
        return make_list(
            entries,
            epoch=epoch,
            issued_at=now,
            lifetime=timedelta(minutes=self.settings.revocation_lifetime_minutes),
            key=self._key,
        )

    def trust(self) -> bytes:
        """``trust.yaml`` for a consumer: the signers, and the registry's own key."""
        return published_trust(self.settings)

    @cached_property
    def _key(self) -> PrivateKey:
        # A device is asked for it once; a server that gets another key is started again.
        signer = self.ports.signer
        return (
            signer.key
            if isinstance(signer, StatementSigner)
            else registry.registry_key(self.settings)
        )


def published_trust(settings: Settings) -> bytes:
    """Who may sign what, with the registry's own key, as YAML."""
    import yaml

    said = apart.trust_policy(settings).to_document()
    said["signers"].append(
        {
            "name": f"registry:{settings.registry_name}",
            "key": apart.public_key(settings.registry_public).pem,
            "for": ["registry"],
            "models": ["*"],
        }
    )
    return yaml.safe_dump(said, sort_keys=False).encode()


def evidence_exporter(settings: Settings, store: EvidenceStore) -> Exporter:
    """Makes evidence bundles from a store."""
    from mlflow_governance.audit.bundle import Exporter

    return Exporter(
        store=store,
        clock=moment.now,
        registry=settings.registry_name,
        ledger_keys=custody.ledger_keys(settings),
        signer=lambda: registry.registry_key(settings),
        trust=lambda: published_trust(settings),
        own_controls=settings.home / "controls",
    )
