"""The one place where ports meet adapters, and where a home folder is made ready."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from mlflow_governance.config import Settings
from mlflow_governance.core import canonical, moment
from mlflow_governance.errors import ConfigurationError
from mlflow_governance.evidence import envelope
from mlflow_governance.evidence.examiner import default_verifiers
from mlflow_governance.evidence.keys import PrivateKey, generate_key_pair, load_private_key
from mlflow_governance.evidence.live import LiveExaminer
from mlflow_governance.evidence.trust import TrustPolicy
from mlflow_governance.ledger.note import Ed25519Signer, NoteKey
from mlflow_governance.policy import bundle as policy_bundle
from mlflow_governance.policy import config_schema
from mlflow_governance.policy.embedded import EmbeddedEngine
from mlflow_governance.policy.interface import PolicyEngine
from mlflow_governance.workflows.ports import Artifacts, Catalogue, Ports, Rules, Store

if TYPE_CHECKING:
    from mlflow_governance.policy.bundle import Bundle

LEDGER_NAME = "ledger"

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
        for folder in (home, home / "keys", settings.advisories, settings.checkpoints):
            if not folder.is_dir():
                folder.mkdir(parents=True, mode=0o700)
    except OSError as error:
        raise ConfigurationError(f"the home folder {home} cannot be made: {error}") from error
    for path, purpose in (
        (settings.ledger_key, "signs the ledger"),
        (settings.registry_key, "signs decisions, releases and revocation lists"),
    ):
        if not path.exists():
            generate_key_pair(path, algorithm="ed25519")
            created.append(f"{path}: {purpose}")
    if not settings.trust_file.exists():
        settings.trust_file.write_text(_TRUST_TEMPLATE, "utf-8")
        created.append(f"{settings.trust_file}: who may sign what (nobody yet)")
    refuse_shared_keys(settings)
    return Prepared(tuple(created))


def refuse_shared_keys(settings: Settings) -> None:
    """Refuse a key that serves two purposes: the ledger, the registry and signers stay apart.

    Raises:
        ConfigurationError: a key is used twice, or cannot be read safely.
    """
    ledger = load_private_key(settings.ledger_key).public.key_id
    registry = load_private_key(settings.registry_key).public.key_id
    if ledger == registry:
        raise ConfigurationError(
            "the ledger and the registry use the same key",
            advice=f"Move {settings.registry_key} away and start again: a new one is made.",
        )
    try:
        signers = TrustPolicy.load(settings.trust_file).signers
    except ConfigurationError:
        return  # reported where it is used: until mended, nobody is trusted
    for signer in signers:
        if signer.by.id in (ledger, registry):
            raise ConfigurationError(
                f"trust.yaml lets {signer.name!r} sign evidence with a key of the registry",
                advice="Give the signer a key of its own: mlflow-governance keys new PATH",
            )


def ledger_signer(settings: Settings) -> Ed25519Signer:
    """The ledger's key.

    Raises:
        ConfigurationError: absent, readable by others, or not Ed25519.
    """
    load_private_key(settings.ledger_key)  # checks who may read it
    return Ed25519Signer.from_pem(
        f"{settings.registry_name}/{LEDGER_NAME}", settings.ledger_key.read_bytes()
    )


def ledger_key(settings: Settings) -> NoteKey:
    """The public key the ledger's heads are verified with; the private one is not needed.

    Raises:
        ConfigurationError: the public key is absent or not Ed25519.
    """
    path = settings.ledger_key.with_suffix(".pub")
    try:
        public = load_pem_public_key(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"the ledger's public key {path} cannot be read: {error}",
            advice="Name the home folder: --home DIR",
        ) from error
    if not isinstance(public, Ed25519PublicKey):
        raise ConfigurationError(f"{path} is not an Ed25519 key")
    return NoteKey(f"{settings.registry_name}/{LEDGER_NAME}", public.public_bytes_raw())


@dataclass(frozen=True)
class StatementSigner:
    """``workflows.ports.Signer`` with the registry's key."""

    key: PrivateKey

    def sign_statement(self, statement: Mapping[str, Any]) -> bytes:
        """A DSSE envelope around the RFC 8785 form of an in-toto Statement."""
        return envelope.sign(canonical.encode(statement), envelope.IN_TOTO, [self.key])


def load_bundle(settings: Settings) -> Bundle:
    """The policy bundle in force.

    Raises:
        ConfigurationError: it cannot be loaded, or its settings are not what it reads.
    """
    from mlflow_governance.core.resources import folder

    loaded = policy_bundle.load(settings.policies or folder("policies"))
    config_schema.require(loaded)
    return loaded


def policy_engine(settings: Settings, bundle: Bundle) -> PolicyEngine:
    """The engine the settings ask for. There is no fallback from one to the other."""
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
    )


def build_ports(
    settings: Settings, store: Store, artifacts: Artifacts, catalogue: Catalogue
) -> Ports:
    """Everything a workflow needs.

    Raises:
        ConfigurationError: a key, the policy bundle or the engine is not usable.
    """
    bundle = load_bundle(settings)
    return Ports(
        store=store,
        artifacts=artifacts,
        catalogue=catalogue,
        engine=policy_engine(settings, bundle),
        examiner=LiveExaminer(settings.trust_file, default_verifiers(settings.advisories)),
        signer=StatementSigner(load_private_key(settings.registry_key)),
        rules=Rules(
            strict_registration=settings.strict_registration,
            sync_limit_bytes=settings.sync_limit_bytes,
            accepted_policy_digests=settings.accepted_policy_digests,
            registry_name=settings.registry_name,
            dashboards=settings.dashboards,
            ungoverned_models=settings.ungoverned_models,
        ),
        policy_files=bundle.files,
        clock=moment.now,
    )


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
            key=load_private_key(self.settings.registry_key),
        )

    def trust(self) -> bytes:
        """``trust.yaml`` for a consumer: the signers, and the registry's own key."""
        import yaml

        registry = load_private_key(self.settings.registry_key).public
        said = TrustPolicy.load(self.settings.trust_file).to_document()
        said["signers"].append(
            {
                "name": f"registry:{self.settings.registry_name}",
                "key": registry.pem,
                "for": ["registry"],
                "models": ["*"],
            }
        )
        return yaml.safe_dump(said, sort_keys=False).encode()
