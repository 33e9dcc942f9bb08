"""``witness``: vouch for ledgers of others, so that nobody can rewrite one alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlflow_governance.errors import ConfigurationError

if TYPE_CHECKING:
    from mlflow_governance.ledger.note import Ed25519Signer
    from mlflow_governance.web.witness import Witness

_state = click.option(
    "--state", type=click.Path(path_type=Path, file_okay=False), required=True,
    help="Folder of what was cosigned last. Do not restore it from a backup.",
)  # fmt: skip
_key = click.option(
    "--key", type=click.Path(path_type=Path, dir_okay=False), required=True,
    help="Ed25519 private key of the witness (PEM, mode 0600); made if it is not there.",
)  # fmt: skip
_name = click.option(
    "--name", required=True, help="What the witness is called, e.g. audit.example.org/w1."
)
_log = click.option(
    "--log", "logs", multiple=True, required=True, metavar="VKEY",
    help="A ledger to watch, by its key: `mlflow-governance ledger anchors` prints it.",
)  # fmt: skip


@click.group()
def witness() -> None:
    """Be the witness of ledgers: sign, with a time, that each only ever grew.

    A witness keeps no ledger. It remembers the size and root it cosigned last and refuses whatever
    does not continue them. Who rewrites a ledger, and even has its key, still cannot make a witness
    in another hand forget. It speaks the protocol c2sp.org/tlog-witness.
    """


@witness.command()
@_name
@_state
@_key
@_log
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=8099, show_default=True)
@click.option("--tls-cert", type=click.Path(exists=True), help="Certificate chain in PEM.")
@click.option("--tls-key", type=click.Path(exists=True), help="Its private key in PEM.")
def serve(
    name: str, state: Path, key: Path, logs: tuple[str, ...], **options: str | int | None
) -> None:
    """Run a witness. Give it a host, a key and an administrator of its own.

    \b
    mlflow-governance witness serve --name audit.example.org/w1 \\
        --state /var/lib/witness --key /etc/witness.pem \\
        --log 'mlflow-governance/ledger+6c4a24bd+AWx…' \\
        --host 0.0.0.0 --tls-cert chain.pem --tls-key tls.pem

    It prints the key that belongs under `checkpoints: witnesses:` in the registry's config.yaml.
    """
    if bool(options["tls_cert"]) != bool(options["tls_key"]):
        raise click.UsageError("--tls-cert and --tls-key belong together")
    from mlflow_governance.ledger.cosignature import witness_key
    from mlflow_governance.web.witness import app_of

    ours = _witness(name, state, key, logs)
    click.echo(f"witness key: {witness_key(ours.signer).encode()}")
    for one in ours.logs:
        click.echo(f"watches: {one.name}")
    _run(app_of(ours), options)


@witness.command()
@_name
@_state
@_key
@_log
@click.confirmation_option(
    prompt="This ledger lost entries it had shown to you. Cosign it again from the beginning?"
)
def forget(name: str, state: Path, key: Path, logs: tuple[str, ...]) -> None:
    """Begin anew with ledgers that were recovered from a backup.

    Do so only when the registry's people have told you what was lost and why. The checkpoint of
    the lost ledger stays in the state folder. Stop the witness first.

    \b
    mlflow-governance witness forget --name audit.example.org/w1 \\
        --state /var/lib/witness --key /etc/witness.pem --log 'mlflow-governance/ledger+…'
    """
    if not key.exists():
        raise ConfigurationError(
            f"there is no key {key}: no witness has cosigned with it",
            advice="Name the key that witness serve runs with.",
        )
    ours = _witness(name, state, key, logs)
    for origin in dict.fromkeys(one.name for one in ours.logs):
        click.echo(f"kept: {ours.forget(origin)}")


def _witness(name: str, state: Path, key: Path, logs: tuple[str, ...]) -> Witness:
    from mlflow_governance.ledger.note import NoteKey
    from mlflow_governance.web.witness import Witness

    watched = [NoteKey.parse(log) for log in logs]  # before a key is made
    return Witness(_signer(name, key), watched, state)


def _signer(name: str, path: Path) -> Ed25519Signer:
    from mlflow_governance.evidence.keys import generate_key_pair, load_private_key
    from mlflow_governance.ledger.note import Ed25519Signer

    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        generate_key_pair(path, algorithm="ed25519")
        click.echo(f"made the key {path}; nothing can restore it", err=True)
    load_private_key(path)  # refuses one that others may read
    return Ed25519Signer.from_pem(name, path.read_bytes())


def _run(app: object, options: dict[str, str | int | None]) -> None:
    try:
        from gunicorn.app.base import BaseApplication
    except ImportError as error:
        raise ConfigurationError(
            "a witness needs gunicorn, which runs on Linux and macOS",
            advice="pip install gunicorn",
        ) from error

    class Server(BaseApplication):  # type: ignore[misc]
        def load_config(self) -> None:
            for setting, value in {
                "bind": f"{options['host']}:{options['port']}",
                "workers": 1,
                "threads": 8,
                "worker_class": "gthread",
                "timeout": 30,
                "certfile": options["tls_cert"],
                "keyfile": options["tls_key"],
                "proc_name": "mlflow-governance-witness",
                "control_socket_disable": True,  # newer ones would open a socket in ~/.gunicorn
            }.items():
                if setting in self.cfg.settings:
                    self.cfg.set(setting, value)

        def load(self) -> object:
            return app

    Server().run()
