"""What a server needs before it can start: home folder, databases, secrets, the first user."""

from __future__ import annotations

import base64
import configparser
import io
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlflow_governance import config
from mlflow_governance.bootstrap import prepare_home
from mlflow_governance.config import Settings
from mlflow_governance.errors import ConfigurationError

if TYPE_CHECKING:
    from mlflow_governance.plugin.registry_store import GovernedStore

_AUTH_TEMPLATE = """\
[mlflow]
default_permission = READ
database_uri = {database}
admin_username = admin
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
grant_default_workspace_access = false
# Without a cache each request pays two password hashes, about 200 ms.
auth_cache_ttl_seconds = 60
auth_cache_max_size = 10000
"""


@dataclass(frozen=True)
class Environment:
    """How the server and its worker are started."""

    registry_uri: str
    destination: str
    variables: dict[str, str] = field(repr=False)


def prepare(home: Path, backend: str, destination: str) -> Environment:
    """Make the installation ready and say once what was created.

    Args:
        home: the home folder.
        backend: MLflow's plain database URI.
        destination: the guarded artifact destination.

    Raises:
        ConfigurationError: something must be mended first.
    """
    if backend.lower().startswith("governance+") or "://" not in backend:
        raise ConfigurationError(
            f"the backend store is a plain database URI, not {backend.split('@')[-1]!r}",
            advice="For example sqlite:///mlflow.db or postgresql+psycopg://user@host/mlflow",
        )
    settings = config.load(home)
    created = list(prepare_home(settings).created)
    os.environ[config.HOME_VARIABLE] = str(home)
    registry_uri = f"governance+{backend}"
    variables = {
        "MLFLOW_GOVERNANCE_REGISTRY_URI": registry_uri,
        "_MLFLOW_SERVER_ARTIFACT_DESTINATION": destination,
        "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
        "MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY": _secret(home / "keys" / "webhook_encryption.key"),
    }
    if "MLFLOW_SERVER_ENABLE_JOB_EXECUTION" not in os.environ:
        variables["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"
    os.environ.update(variables)
    store = _prepare_databases(registry_uri)
    if settings.auth == "basic":
        created += _prepare_auth(settings, backend)
    _record_start(store, settings)
    if created:
        click.echo("created on this first start:", err=True)
        for line in created:
            click.echo(f"  {line}", err=True)
    return Environment(registry_uri, destination, dict(os.environ))


def _prepare_databases(registry_uri: str) -> GovernedStore:
    # In this process, before any worker exists: several at once would race in the migrations.
    import sqlalchemy as sa

    from mlflow_governance.plugin.registry_store import build
    from mlflow_governance.store.sessions import damage

    try:
        return build(registry_uri)
    except sa.exc.DBAPIError as error:  # MLflow looks at it first
        raise (damage(error) or error) from error


def _record_start(store: GovernedStore, settings: Settings) -> None:
    from mlflow_governance.plugin.start_facts import configuration, start_facts
    from mlflow_governance.workflows.start import record_start

    facts = start_facts(settings, store.engine)
    record_start(store.governance.ports, facts, configuration(settings))


def _prepare_auth(settings: Settings, backend: str) -> list[str]:
    home, created = settings.home, []
    if not settings.auth_config.exists():
        # Beside MLflow's tables on a real database, so that every replica sees the same people.
        local = backend.startswith("sqlite")
        database = f"sqlite:///{home / 'basic_auth.db'}" if local else backend.replace("%", "%%")
        _write_private(settings.auth_config, _AUTH_TEMPLATE.format(database=database))
    password_file = home / "keys" / "admin.password"
    if not password_file.exists() and "MLFLOW_AUTH_ADMIN_PASSWORD" not in os.environ:
        _write_private(password_file, secrets.token_urlsafe(18))
        created.append(f"{password_file}: password of the user 'admin'; change it after login")
    os.environ["MLFLOW_FLASK_SERVER_SECRET_KEY"] = _secret(home / "keys" / "flask.key")
    if password_file.exists():
        os.environ.setdefault("MLFLOW_AUTH_ADMIN_PASSWORD", password_file.read_text("utf-8"))
    from mlflow_governance.plugin import compat

    configuration = settings.auth_config
    if compat.wants_admin_password_in_file():
        configuration = _with_password(configuration, home / "keys" / "basic_auth.ini")
    os.environ["MLFLOW_AUTH_CONFIG_PATH"] = str(configuration)
    try:
        compat.bootstrap_basic_auth()
    except ImportError as error:
        raise ConfigurationError(
            f"basic-auth needs more packages: {error}",
            advice="pip install 'mlflow-governance[auth]', or start with --auth none",
        ) from error
    return created


def _with_password(configuration: Path, copy: Path) -> Path:
    """A private copy of basic-auth's settings that has the first password in it, too."""
    parser = configparser.RawConfigParser()
    parser.read(configuration, "utf-8")
    password = os.environ.get("MLFLOW_AUTH_ADMIN_PASSWORD")
    if password and not parser.has_option("mlflow", "admin_password"):
        parser.set("mlflow", "admin_password", password.replace("%", "%%"))
    text = io.StringIO()
    parser.write(text)
    copy.unlink(missing_ok=True)
    _write_private(copy, text.getvalue())
    return copy


def _secret(path: Path) -> str:
    """A random secret kept in a file of mode 0600; 32 bytes, URL-safe base64."""
    if not path.exists():
        _write_private(path, base64.urlsafe_b64encode(secrets.token_bytes(32)).decode())
    return path.read_text("utf-8").strip()


def _write_private(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
