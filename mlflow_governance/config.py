"""Settings: read once from the home folder, checked completely, changed by nothing afterwards.

The home folder (``--home``, ``MLFLOW_GOVERNANCE_HOME``, default ``./.mlflow-governance``) holds::

    config.yaml      the settings below
    trust.yaml       who may sign what
    keys/            ledger.pem, registry.pem (0600), their .pub, ledger.vkeys
    checkpoints/     signed ledger heads, to be copied off this host
    advisories/      OSV advisories, optional
    basic_auth.ini   MLflow's own authentication, when it is on
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from mlflow_governance.core import digest
from mlflow_governance.core.digest import Digest
from mlflow_governance.errors import ConfigurationError, GovernanceError
from mlflow_governance.evidence.key_reference import is_reference
from mlflow_governance.outbox.checkpoint_options import CheckpointOptions
from mlflow_governance.outbox.checkpoint_options import read_options as read_checkpoint_options
from mlflow_governance.outbox.interface import Target
from mlflow_governance.outbox.log_options import LogOptions, read_options
from mlflow_governance.policy.process import Budget
from mlflow_governance.workflows.download_options import DownloadEntries, read_download_entries
from mlflow_governance.workflows.policy_ports import Quorum
from mlflow_governance.workflows.privacy_options import NOBODY_HELD, Holds, read_holds
from mlflow_governance.workflows.retention_options import Retention, read_retention

HOME_VARIABLE = "MLFLOW_GOVERNANCE_HOME"
AUTH_VARIABLE = "MLFLOW_GOVERNANCE_AUTH"
"""Overrides ``auth`` of config.yaml; the server command sets it for its processes."""
DEFAULT_HOME = ".mlflow-governance"
_MEBIBYTE = 1024 * 1024
_GLOB = re.compile(r"\[[^]]*\]|[*?]")
_LEAST_LITERAL = 3
_SETTINGS = "docs/operations.md lists every setting with its type."
_MOST_APPROVALS = 20


@dataclass(frozen=True)
class OpaServer:
    """A real OPA server instead of the embedded engine.

    ``deadline_seconds`` bounds one decision; past it the answer is no. The token is read from
    the environment variable ``token_variable`` names, or from ``token_file``, again whenever that
    file changes. ``ca_file`` is a PEM file of authorities to trust for it; ``cert_file`` and
    ``key_file`` are the certificate and key this registry shows it.
    """

    url: str
    token_variable: str = ""
    deadline_seconds: float = 2.0
    ca_file: str | None = None
    token_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None

    def __post_init__(self) -> None:
        if self.token_variable and self.token_file:
            raise ValueError("opa: the token is in token_variable or in token_file")


@dataclass(frozen=True)
class Settings:
    """Everything an installation may decide.

    Args:
        home: the home folder.
        auth: ``basic`` (MLflow's basic-auth) or ``none`` (a laptop: nobody is known, so nothing
            that needs a person can be done).
        strict_registration: refuse at registration what the accept gate refuses.
        sync_limit_mebibytes: larger models are hashed by the worker.
        policies: the bundle: a folder or ``.tar.gz``, ``https://…``, ``oci:DIR[:TAG]``; None is
            the one that ships.
        policy_signed: ask for a signature of somebody trusted for ``policy`` even where the bundle
            is a folder or file; one from elsewhere is always asked.
        policy_scope: what the signature of a bundle must say it is for; empty: nothing.
        policy_token_variable: environment variable with the bearer token for an ``https`` bundle.
        policy_ca_file: PEM file of authorities to trust for it instead of the system's.
        accepted_policy_digests: earlier bundles whose approvals still count for serving.
        policy_grace_days: how long what was released under a bundle is served after another came
            into force; 0: it must be judged again at once.
        policy_reload_seconds: how often the bundle's place is looked at for another one.
        policy_approvals: how many people of which roles must approve another bundle; None: it
            comes into force from its place.
        policy_engine: ``embedded``, or ``confined`` to processes that keep to ``policy_budget``.
            By default policies from elsewhere are confined.
        policy_budget: ``seconds`` of a decision, ``megabytes`` of a confined process,
            ``load_seconds`` to compile a bundle. A bundle that is not the one that ships is tried
            against it before it is used.
        shadow_policies: a second bundle that is asked what the live one is asked and decides
            nothing; what it says differently is kept (`mlflow-governance policy differences`).
        opa: an OPA server; None is the embedded engine.
        webhooks: who is told of every act.
        registry_name: the verifier named in verification summaries and event sources.
        dashboards: name to URL template with ``{name}`` and ``{version}``.
        revocation_lifetime_minutes: how long a signed revocation list may be used offline.
        ungoverned_models: patterns of names (``scratch-*``) that are left to MLflow. The start of
            the registry and each registration under such a name are recorded.
        decision_log: decisions as records in OPA's format; None keeps no such log.
        ledger_key: the key that signs the ledger, Ed25519 or EC P-256: a file, or a reference to
            a device or service (``hsm:2``, ``awskms:…``, ``hv:…``). By default
            ``keys/ledger.pem``, made at the first start.
        registry_key: the key that signs decisions, releases and revocation lists, given likewise;
            by default ``keys/registry.pem``.
        checkpoints: where signed heads of the ledger go, who cosigns and who stamps them; None:
            every minute to the home folder only.
        download_entries: how permitted downloads become ledger entries: ``off``, ``aggregate``
            (one entry a version and door every 15 minutes), ``{minutes: N}`` or ``{sample: 0.01}``.
            Denials always do.
        privacy: ``holds`` names people whose data a legal claim keeps; what anybody did within the
            last ``keep_days`` days is kept under a legal duty. Neither is erased.
        retention: how many ``years`` the record is kept at least, which models a legal hold names
            (``holds``), and for how many days a delivery of an event can be repeated and a new
            receiver is told of the past (``events_days``). Entries are deleted by
            `mlflow-governance retention expire` alone.
    """

    home: Path
    auth: str = "basic"
    strict_registration: bool = False
    sync_limit_mebibytes: int = 256
    policies: Path | str | None = None
    policy_signed: bool = False
    policy_scope: str = ""
    policy_token_variable: str = ""
    policy_ca_file: Path | None = None
    accepted_policy_digests: tuple[Digest, ...] = ()
    policy_grace_days: float = 30.0
    policy_reload_seconds: float = 5.0
    policy_approvals: Quorum | None = None
    policy_engine: str | None = None
    policy_budget: Budget | None = None
    shadow_policies: Path | None = None
    opa: OpaServer | None = None
    webhooks: tuple[Target, ...] = ()
    registry_name: str = "mlflow-governance"
    dashboards: Mapping[str, str] = field(default_factory=dict)
    revocation_lifetime_minutes: int = 24 * 60
    ungoverned_models: tuple[str, ...] = ()
    decision_log: LogOptions | None = None
    ledger_key: Path | str = ""
    registry_key: Path | str = ""
    checkpoints: CheckpointOptions | None = None
    download_entries: DownloadEntries = field(default_factory=DownloadEntries)
    privacy: Holds = NOBODY_HELD
    retention: Retention = field(default_factory=Retention)

    def __post_init__(self) -> None:
        for name in ("ledger", "registry"):
            if not getattr(self, f"{name}_key"):
                object.__setattr__(self, f"{name}_key", self.home / "keys" / f"{name}.pem")
        if self.policy_scope and not (self.policy_signed or self.from_elsewhere):
            raise ValueError(
                "policy_scope asks for nothing of a local bundle without policy_signed"
            )

    @property
    def confined(self) -> bool:
        """True when policies are evaluated in processes of their own."""
        chosen = self.policy_engine or ("confined" if self.from_elsewhere else "embedded")
        return chosen == "confined"

    @property
    def from_elsewhere(self) -> bool:
        """True when others may write where the policies come from."""
        return isinstance(self.policies, str)

    @property
    def trust_file(self) -> Path:
        """The trust policy."""
        return self.home / "trust.yaml"

    @property
    def ledger_public(self) -> Path:
        """Public half of the key that signs the ledger now."""
        return self.home / "keys" / "ledger.pub"

    @property
    def registry_public(self) -> Path:
        """Public half of the key with which the registry signs what it says."""
        return self.home / "keys" / "registry.pub"

    @property
    def installed(self) -> bool:
        """True when the home folder is one: a registry was started in it once."""
        return self.ledger_public.exists()

    @property
    def advisories(self) -> Path:
        """Folder of OSV advisories."""
        return self.home / "advisories"

    @property
    def checkpoint_folder(self) -> Path:
        """Folder of exported checkpoints."""
        return self.home / "checkpoints"

    @property
    def checkpoint_options(self) -> CheckpointOptions:
        """How checkpoints leave the host."""
        return self.checkpoints or CheckpointOptions()

    @property
    def log_salt(self) -> Path:
        """The secret behind the pseudonyms of the decision log."""
        return self.home / "keys" / "decision-log.salt"

    @property
    def auth_config(self) -> Path:
        """MLflow's basic-auth configuration."""
        return self.home / "basic_auth.ini"

    @property
    def sync_limit_bytes(self) -> int:
        """The size up to which registration hashes at once."""
        return self.sync_limit_mebibytes * _MEBIBYTE


def home_folder(given: str | Path | None = None) -> Path:
    """The home folder named by the caller, the environment, or the default."""
    return Path(given or os.environ.get(HOME_VARIABLE) or DEFAULT_HOME).expanduser().resolve()


class _Loader(yaml.SafeLoader):
    """Refuses a key that is there twice: the second would quietly undo the first."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        said = [key.value for key, _ in node.value]
        twice = sorted({str(key) for key in said if said.count(key) > 1})
        if twice:
            raise yaml.constructor.ConstructorError(
                None, None, f"{twice[0][:80]} is set twice", node.start_mark
            )
        return super().construct_mapping(node, deep)


def load(home: Path) -> Settings:
    """Read ``config.yaml``; a missing file means the defaults.

    Raises:
        ConfigurationError: the file cannot be read, or a setting is unknown or has a wrong type.
    """
    path = home / "config.yaml"
    try:
        text = path.read_text("utf-8") if path.exists() else ""
        document = yaml.load(text, _Loader)  # noqa: S506  # a SafeLoader
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}") from error
    try:
        return _settings(home, document or {})
    except GovernanceError as error:
        raise ConfigurationError(
            f"{path} is not usable: {error.message}", advice=error.advice or _SETTINGS
        ) from error
    except (TypeError, ValueError, KeyError, OSError) as error:
        said = error.args[0] if isinstance(error, KeyError) else error
        raise ConfigurationError(f"{path} is not usable: {said}", advice=_SETTINGS) from error


def _settings(home: Path, document: Any) -> Settings:
    if not isinstance(document, dict):
        raise TypeError("it must be a mapping of settings")
    known = {name for name in Settings.__dataclass_fields__ if name != "home"}
    if unknown := sorted(set(document) - known):
        raise KeyError(f"unknown settings: {', '.join(map(str, unknown))}")
    values = dict(document)
    if os.environ.get(AUTH_VARIABLE):
        values["auth"] = os.environ[AUTH_VARIABLE]
    for name, kind in _TYPES.items():
        if name in values and type(values[name]) is not kind:
            raise TypeError(f"{name} must be a {kind.__name__}")
    if values.get("auth", "basic") not in ("basic", "none"):
        raise ValueError("auth is basic or none")
    if values.get("policy_engine", "embedded") not in ("embedded", "confined"):
        raise ValueError("policy_engine is embedded or confined; an OPA server is set under opa")
    for name, read in _READERS.items():
        if name in values:
            values[name] = read(home, values[name])
    return Settings(home=home, **values)


_TYPES: dict[str, type] = {
    "auth": str,
    "strict_registration": bool,
    "sync_limit_mebibytes": int,
    "policies": str,
    "policy_signed": bool,
    "policy_scope": str,
    "policy_token_variable": str,
    "policy_ca_file": str,
    "registry_name": str,
    "revocation_lifetime_minutes": int,
    "dashboards": dict,
    "webhooks": list,
    "accepted_policy_digests": list,
    "opa": dict,
    "ungoverned_models": list,
    "policy_engine": str,
    "policy_budget": dict,
    "decision_log": dict,
    "ledger_key": str,
    "registry_key": str,
    "checkpoints": dict,
    "privacy": dict,
}


def _targets(home: Path, entries: list[Any]) -> tuple[Target, ...]:
    targets = tuple(_target(home, entry) for entry in entries)
    if len({target.name for target in targets}) != len(targets):
        raise ValueError("two webhooks have the same name")
    return targets


def _target(home: Path, entry: Any) -> Target:
    # The secret itself stays out of config.yaml: it is in a file or in the environment.
    known = {"name", "url", "secret_file", "secret_variable", "acts", "timeout_seconds"}
    if not isinstance(entry, dict) or set(entry) - known or not {"name", "url"} <= set(entry):
        raise TypeError(
            "a webhook has name, url, secret_file or secret_variable, acts and timeout_seconds"
        )
    if "secret_file" in entry:
        secret = (home / str(entry["secret_file"])).read_text("utf-8").strip()
    else:
        secret = os.environ.get(str(entry.get("secret_variable", "")), "")
    if not secret:
        raise ValueError(f"the webhook {entry.get('name')!r} has no secret")
    return Target(
        name=str(entry["name"]),
        url=str(entry["url"]),
        secret=secret,
        acts=tuple(map(str, entry.get("acts", ()))),
        timeout_seconds=float(entry.get("timeout_seconds", 10.0)),
    )


def _patterns(home: Path, entries: list[Any]) -> tuple[str, ...]:
    for entry in entries:
        # A pattern that matches nearly everything would silently govern nothing.
        if not isinstance(entry, str) or len(_GLOB.sub("", entry)) < _LEAST_LITERAL:
            raise ValueError(
                f"ungoverned_models: {entry!r} is no pattern with at least {_LEAST_LITERAL} "
                "characters of a name"
            )
    return tuple(entries)


def _policies(home: Path, text: str) -> Path | str:
    if text.startswith(("https://", "http://", "oci:")):
        return text
    if "://" in text:
        raise ValueError(f"policies: bundles are not fetched by {text.partition(':')[0]!r}")
    return (home / text).resolve()


def _key(home: Path, text: str) -> Path | str:
    return text if is_reference(text) else (home / text).resolve()


def _seconds(_: Path, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1 <= value <= 3600:
        raise ValueError("policy_reload_seconds is a number from 1 to 3600")
    return float(value)


def _days(_: Path, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 3650:
        raise ValueError("policy_grace_days is a number from 0 to 3650")
    return float(value)


def _quorum(_: Path, value: Any) -> Quorum:
    # A misspelt key or a count of nobody must not quietly ask for nothing.
    known = isinstance(value, dict) and set(value) == {"count", "roles"}
    count, roles = (value["count"], value["roles"]) if known else (0, [])
    if type(count) is not int or not 1 <= count <= _MOST_APPROVALS:
        raise ValueError(
            f"policy_approvals has count (1 to {_MOST_APPROVALS}) and roles, and nothing else"
        )
    if not isinstance(roles, list) or not all(isinstance(r, str) and r.strip() for r in roles):
        raise ValueError("policy_approvals: roles is a list of roles")
    if not roles:
        raise ValueError("policy_approvals: roles names no role, so nobody could approve")
    return Quorum(count, tuple(sorted({role.strip().lower() for role in roles})))


_READERS: dict[str, Callable[[Path, Any], Any]] = {
    "policies": _policies,
    "policy_ca_file": lambda home, text: (home / text).resolve(),
    "policy_grace_days": _days,
    "policy_reload_seconds": _seconds,
    "policy_approvals": _quorum,
    "shadow_policies": lambda home, text: (home / str(text)).resolve(),
    "opa": lambda _, options: OpaServer(**options),
    "accepted_policy_digests": lambda _, texts: tuple(digest.parse(text) for text in texts),
    "webhooks": _targets,
    "ungoverned_models": _patterns,
    "policy_budget": lambda _, bounds: Budget(**bounds),
    "decision_log": read_options,
    "ledger_key": _key,
    "registry_key": _key,
    "checkpoints": read_checkpoint_options,
    "download_entries": read_download_entries,
    "privacy": read_holds,
    "retention": lambda _, terms: read_retention(terms),
}
