"""A small real world: keys, a trained model with its evidence, and a registry of folders."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import yaml

from mlflow_governance.core import canonical, digest, moment
from mlflow_governance.core.digest import Digest
from mlflow_governance.core.model_ref import VersionRef
from mlflow_governance.errors import NotFound, Unavailable
from mlflow_governance.evidence import envelope, keys
from mlflow_governance.evidence.attestation import statement
from mlflow_governance.evidence.hashing import hash_directory
from mlflow_governance.evidence.keys import PrivateKey
from mlflow_governance.evidence.predicate import SLSA_PROVENANCE, VSA
from mlflow_governance.evidence.signature import sign_model
from mlflow_governance.serving.interface import Located
from mlflow_governance.serving.revocations import Revocation, make_list
from mlflow_governance.serving.settings import ServingSettings
from mlflow_governance.serving.uri import ModelUri
from mlflow_governance.serving.verify import Connections

NOW = datetime(2025, 11, 21, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
NAME = "breast cancer"
REF = VersionRef(NAME, 3)
URI = f"models:/{NAME}/3"
POLICY = digest.of_bytes(b"the policy in force")
OTHER_POLICY = digest.of_bytes(b"another policy")

_PROVENANCE: dict[str, Any] = {
    "buildDefinition": {
        "buildType": "https://example.com/train/v1",
        "externalParameters": {"config": "train.yaml"},
    },
    "runDetails": {
        "builder": {"id": "https://example.com/builder"},
        "metadata": {"invocationId": "run-1"},
    },
}


@cache
def key(name: str) -> PrivateKey:
    """A key made once in a run; another name is another key."""
    folder = Path(mkdtemp())
    try:
        keys.generate_key_pair(folder / "key.pem")
        return keys.load_private_key(folder / "key.pem")
    finally:
        shutil.rmtree(folder)


def signers(*entries: tuple[str, tuple[str, ...]]) -> bytes:
    """A ``trust.yaml`` in which each named key is trusted for these purposes."""
    listed = [
        {"name": name, "key": key(name).public.pem, "for": list(purposes), "models": ["*"]}
        for name, purposes in entries
    ]
    return yaml.safe_dump({"version": 1, "signers": listed}).encode()


TRUST = (("pipeline", ("signature", "provenance")), ("registry", ("registry",)))


def train(folder: Path) -> Path:
    """A real model directory, as MLflow writes it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # importing MLflow warns about its own type hints
        import mlflow.sklearn
        from sklearn.datasets import load_breast_cancer
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        features, target = load_breast_cancer(return_X_y=True)
        model = make_pipeline(StandardScaler(), LogisticRegression()).fit(features, target)
        path = folder / "model"
        mlflow.sklearn.save_model(model, str(path), pip_requirements=["scikit-learn"])
    return path


def features() -> Any:
    """A few rows to predict from."""
    from sklearn.datasets import load_breast_cancer

    return load_breast_cancer(return_X_y=True)[0][:5]


def blocked(*digests: Digest, stage: str = "Revoked") -> list[Revocation]:
    return [Revocation(entry, stage, NOW - HOUR) for entry in digests]


def revocations(
    entries: Iterable[Revocation] = (),
    *,
    epoch: int = 7,
    issued_at: datetime = NOW - HOUR,
    lifetime: timedelta = 24 * HOUR,
    by: str = "registry",
) -> bytes:
    return make_list(entries, epoch, issued_at, lifetime, key(by))


@dataclass(frozen=True)
class Summary:
    """What a verification summary says; change a field to make it say something else."""

    gate: str = "promote"
    stage: str = "APPROVED"
    passed: bool = True
    at: datetime = NOW - HOUR
    policy: Digest = POLICY
    ref: VersionRef = REF
    by: str = "registry"

    def signed(self, subject: Digest) -> bytes:
        body: Mapping[str, Any] = {
            "verifier": {"id": "urn:mlflow-governance:registry:test"},
            "timeVerified": moment.to_text(self.at),
            "resourceUri": f"models:/{self.ref}",
            "policy": {
                "uri": f"urn:mlflow-governance:policy:{self.gate}",
                "digest": {"sha256": digest.hex_of(self.policy)},
            },
            "verificationResult": "PASSED" if self.passed else "FAILED",
            "verifiedLevels": [f"MLFLOW_GOVERNANCE_{self.stage}"] if self.passed else [],
        }
        document = statement(f"models:/{self.ref}", subject, VSA, body)
        return envelope.sign(canonical.encode(document), envelope.IN_TOTO, [key(self.by)])


@dataclass
class Registry:
    """Fulfils ModelSource and Fetcher from a folder. ``away`` makes it answer nothing."""

    stored: Path
    """The model directory as the artifact store has it, evidence beside it."""
    listed: bytes = b""
    policies: frozenset[Digest] = frozenset({POLICY})
    away: bool = False
    tag: Digest | None = None
    """What ``governance.digest`` says."""
    asked: list[str] = field(default_factory=list)

    def locate(self, uri: ModelUri) -> Located:
        self._answer("locate")
        if uri.name != NAME:
            raise NotFound(f"{uri.name} is not registered")
        return Located(REF, self.tag)

    def download(self, ref: VersionRef, destination: Path, part: str = "") -> Path:
        self._answer(f"download {part}".strip())
        wanted = self.stored / part if part else self.stored
        if not wanted.exists():
            raise NotFound(f"no {part}")
        return Path(shutil.copytree(wanted, destination / wanted.name, symlinks=True))

    def revocations(self) -> bytes:
        self._answer("revocations")
        return self.listed

    def policy_digests(self) -> frozenset[Digest]:
        self._answer("policy")
        return self.policies

    def _answer(self, question: str) -> None:
        self.asked.append(question)
        if self.away:
            raise Unavailable("the registry is away")


@dataclass
class World:
    """A registry with one approved version, and a consumer of it."""

    home: Path
    registry: Registry
    settings: ServingSettings
    now: datetime = NOW

    @property
    def connections(self) -> Connections:
        source = None if self.settings.offline else self.registry
        return Connections(source, self.registry, lambda: self.now)

    @property
    def digest(self) -> Digest:
        """The content in the artifact store, as it is now."""
        return hash_directory(self.registry.stored).digest

    @property
    def copy(self) -> Path:
        """Where the consumer's verified copy is."""
        return self.settings.cache_dir / digest.hex_of(self.digest) / "model"

    def change(self, **settings: Any) -> None:
        self.settings = replace(self.settings, **settings)

    def trust(self, *entries: tuple[str, tuple[str, ...]]) -> None:
        self.settings.trust.write_bytes(signers(*entries))

    def decide(self, summary: Summary, *, subject: Digest | None = None, name: str = "") -> None:
        """Attach a summary, as the registry does after a decision."""
        folder = self.registry.stored / REF.folder / "decisions"
        folder.mkdir(parents=True, exist_ok=True)
        name = name or f"{summary.gate}-{len(list(folder.iterdir()))}"
        (folder / f"{name}.vsa.json").write_bytes(summary.signed(subject or self.digest))

    def attest(self, *, by: str = "pipeline", subject: Digest | None = None) -> None:
        """Write the provenance."""
        document = statement(NAME, subject or self.digest, SLSA_PROVENANCE, _PROVENANCE)
        data = envelope.sign(canonical.encode(document), envelope.IN_TOTO, [key(by)])
        self.evidence("attestations/provenance.intoto.json").write_bytes(data)

    def sign(self, *, by: str = "pipeline") -> None:
        """Write the model signature."""
        manifest = hash_directory(self.registry.stored)
        self.evidence("model.sig").write_bytes(sign_model(manifest, NAME, key(by)))

    def evidence(self, name: str) -> Path:
        path = self.registry.stored / "governance" / "evidence" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def list_file(self, data: bytes) -> None:
        """Give the consumer its revocation list in a file."""
        path = self.home / "revocations.json"
        path.write_bytes(data)
        self.change(revocations=str(path))


def world(home: Path, trained: Path) -> World:
    """Everything in order: signed, attested, approved, and nothing revoked."""
    stored = Path(shutil.copytree(trained, home / "store" / "artifacts"))
    settings = ServingSettings(trust=home / "trust.yaml", cache_dir=home / "cache")
    made = World(home, Registry(stored, revocations()), settings)
    made.trust(*TRUST)
    made.sign()
    made.attest()
    made.decide(Summary())
    return made
