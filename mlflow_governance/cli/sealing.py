"""The options that say with what to sign, the same for every command that does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from functools import wraps
from pathlib import Path
from typing import Any

import click

_path = click.Path(path_type=Path, exists=True, dir_okay=False)


def sealing(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say with what to sign; the command gets them as ``seal``."""
    options = (
        click.option("--key", help="Private key: a file (PEM or cosign), or hsm:2, awskms:…, hv:…"),
        click.option("--password", is_flag=True, help="Ask for the password of the key, or PIN."),
        click.option("--certificate", type=_path, help="PEM chain of the key, its own first."),
        click.option("--timestamp-url", default="", help="RFC 3161 authority; stamps signatures."),
        click.option("--keyless", is_flag=True, help="Sign as an identity, through Sigstore."),
        click.option("--identity-token", type=_path, help="Its token; default: the CI job's."),
        click.option("--sigstore-config", type=_path, help="Client trust config; default: public."),
    )

    @wraps(command)
    def opened(*, password: bool, **given: Any) -> Any:
        from mlflow_governance.submission.seal import SealOptions

        secret = click.prompt("password", hide_input=True).encode() if password else None
        named = {field.name: given.pop(field.name) for field in fields(SealOptions)
                 if field.name in given}  # fmt: skip
        return command(seal=SealOptions(password=secret, **named), **given)

    for option in reversed(options):
        opened = option(opened)
    return opened
