"""``python -m webhooks.receiver``: start a receiver."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from flask import Flask

from mlflow_governance.errors import ConfigurationError, GovernanceError
from mlflow_governance.outbox import signing
from webhooks.receiver.app import create_app
from webhooks.receiver.settings import MAX_BODY_BYTES, Registry, Settings

_EPILOG = """\
secrets come from the environment or a file, never from the command line, where every user of
the machine could read them:

  MLFLOW_GOVERNANCE_WEBHOOK_SECRET   whsec_<base64>, as in the registry's webhook target;
                                     while rotating, the new and the old one after a space
  MLFLOW_WEBHOOK_SECRET              the secret given to MLflow's own webhook (POST /mlflow)
  MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD
                                     who asks the registry for judgements, if it wants to know

examples:

  purge a serving cache when a model is revoked or quarantined:
    export MLFLOW_GOVERNANCE_WEBHOOK_SECRET="whsec_$(openssl rand -base64 32)"
    python -m webhooks.receiver --cache /var/cache/models

  also have each newly registered version judged:
    export MLFLOW_WEBHOOK_SECRET=...
    python -m webhooks.receiver --cache /var/cache/models --registry http://127.0.0.1:5000

look at what it did:  curl http://127.0.0.1:8808/purges
"""


def main(argv: Sequence[str] | None = None, env: Mapping[str, str] = os.environ) -> int:
    """Run until interrupted; returns the exit code of the error that stopped it."""
    options = _parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    try:
        app = create_app(settings_of(options, env))
    except GovernanceError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(f"the receiver cannot use its files: {error}", file=sys.stderr)
        return ConfigurationError.exit_code
    serve(app, options.host, options.port)
    return 0


def settings_of(options: argparse.Namespace, env: Mapping[str, str]) -> Settings:
    """Settings from the command line and the environment.

    Raises:
        ConfigurationError: something is missing or malformed.
    """
    secret = env.get("MLFLOW_GOVERNANCE_WEBHOOK_SECRET", "")
    if options.secret_file is not None:
        secret = _read(options.secret_file)
    mlflow_secret = env.get("MLFLOW_WEBHOOK_SECRET", "")
    registry = None
    if options.registry:
        registry = Registry(
            url=options.registry,
            username=env.get("MLFLOW_TRACKING_USERNAME", ""),
            password=env.get("MLFLOW_TRACKING_PASSWORD", ""),
            ca_bundle=options.ca_bundle,
        )
    return Settings(
        cache=options.cache,
        state=options.state or options.cache.with_name(options.cache.name + "-receiver.db"),
        keys=signing.keys_of(secret) if secret else (),
        mlflow_keys=(mlflow_secret.encode(),) if mlflow_secret else (),
        registry=registry,
    )


def serve(app: Flask, host: str, port: int) -> None:
    """Serve with waitress where it is installed, else with werkzeug's threaded server."""
    if importlib.util.find_spec("waitress"):
        waitress = importlib.import_module("waitress")
        waitress.serve(app, host=host, port=port, max_request_body_size=MAX_BODY_BYTES)
    else:
        app.run(host=host, port=port, threaded=True)


def _read(path: Path) -> str:
    try:
        return path.read_text("ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"the secret file {path} cannot be read: {error}") from error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m webhooks.receiver",
        description="Receive the registry's events and keep a serving cache free of withdrawn "
        "models. Every webhook is verified before it is parsed, and acted upon once.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    add("--port", type=int, default=8808, help="port to listen on (default: %(default)s)")
    add("--cache", type=Path, required=True, metavar="DIR",
        help="the serving cache: one directory a model, named by its digest in hex")  # fmt: skip
    add("--state", type=Path, metavar="FILE",
        help="SQLite file that remembers what was done (default: beside the cache)")  # fmt: skip
    add("--secret-file", type=Path, metavar="FILE",
        help="file with the whsec_... secret, instead of the environment")  # fmt: skip
    add("--registry", default="", metavar="URL",
        help="MLflow server to ask for judgements when MLflow announces a new version")  # fmt: skip
    add("--ca-bundle", default="", metavar="PEM",
        help="authorities to trust for the registry instead of the public ones")  # fmt: skip
    return parser


if __name__ == "__main__":
    sys.exit(main())
