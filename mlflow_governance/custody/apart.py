"""The ledger, the registry and whoever signs evidence each have a key of their own.

Keys are told apart by their DER SubjectPublicKeyInfo, so it makes no difference whether one is in
a file, in a device, in a certificate, or in the history of the ledger.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from mlflow_governance.config import Settings
from mlflow_governance.core import digest
from mlflow_governance.custody import ledger
from mlflow_governance.errors import ConfigurationError
from mlflow_governance.evidence.authority import Authority, CertificateHolder, KeyHolder
from mlflow_governance.evidence.keys import PublicKey
from mlflow_governance.evidence.trust import TrustPolicy


def own_keys(settings: Settings) -> dict[str, str]:
    """What each key of the installation is for, by its id. No private key is needed.

    A home folder that has none of them yet (of a pipeline that only verifies) has nothing that
    could be confused.

    Raises:
        ConfigurationError: one public half is absent or cannot be read, or two are one key.
    """
    if not settings.ledger_public.exists() and not settings.registry_public.exists():
        return {}
    registry = public_key(settings.registry_public)
    refuse_ledger_key(settings, registry)
    return {**_of_ledger(settings), registry.key_id: "the registry's key"}


def refuse_ledger_key(settings: Settings, key: PublicKey) -> None:
    """Refuse a key for the registry that signs, or signed, the ledger.

    Raises:
        ConfigurationError: it does.
    """
    if key.key_id in _of_ledger(settings):
        raise ConfigurationError(
            "the ledger and the registry use the same key",
            advice=f"Move {settings.registry_key} and {settings.registry_public} away and start "
            "again: a new one is made. What the old one signed has to be judged again.",
        )


def _of_ledger(settings: Settings) -> dict[str, str]:
    known = ledger.known_keys(settings).keys
    return {str(digest.of_bytes(key.spki)): "the ledger's key" for key in known}


def public_key(path: Path) -> PublicKey:
    """A public half in the home folder.

    Raises:
        ConfigurationError: absent, or no public key.
    """
    try:
        return PublicKey.from_pem(path.read_bytes())
    except OSError as error:
        raise ConfigurationError(
            f"the public key {path} cannot be read: {error.strerror}",
            advice="Name the home folder: --home DIR",
        ) from error


def refuse_own(policy: TrustPolicy, own: Mapping[str, str]) -> None:
    """Refuse a trust policy that lets a key of the installation sign evidence, or stamp time.

    Raises:
        ConfigurationError: names the entry.
    """
    for signer in policy.signers:
        for key_id in _keys_of(signer.by):
            _refuse(own, key_id, f"lets {signer.name!r} sign evidence")
    for stamping in policy.timestamping:
        for key_id in _in_certificates(stamping.chain):
            _refuse(own, key_id, f"lets {stamping.name!r} prove the time")


def trust_policy(settings: Settings) -> TrustPolicy:
    """``trust.yaml``, which trusts no key of the installation.

    Raises:
        ConfigurationError: absent, malformed, or it does.
    """
    policy = TrustPolicy.load(settings.trust_file)
    refuse_own(policy, own_keys(settings))
    return policy


def _refuse(own: Mapping[str, str], key_id: str, what: str) -> None:
    if key_id in own:
        raise ConfigurationError(
            f"trust.yaml {what} with {own[key_id]}",
            advice="Give them a key of their own: mlflow-governance keys new PATH",
        )


def _keys_of(by: Authority) -> Iterator[str]:
    if isinstance(by, KeyHolder):
        yield by.key.key_id
    elif isinstance(by, CertificateHolder):
        yield from _in_certificates(by.roots)


def _in_certificates(pem: str) -> Iterator[str]:
    from cryptography.hazmat.primitives import serialization as form

    from mlflow_governance.evidence import certificate

    for found in certificate.load_roots(pem.encode()):
        key = found.public_key()
        spki = key.public_bytes(form.Encoding.DER, form.PublicFormat.SubjectPublicKeyInfo)
        yield digest.of_bytes(spki)
