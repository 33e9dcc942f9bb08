"""Which bundle a command is about: the one that is named, the one in force, or what ships."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click

from mlflow_governance import config

FOUND = 1
"""Exit code of a command that looked for something wrong, or for a difference, and found it."""

bundle_option = click.option(
    "--bundle",
    type=click.Path(path_type=Path, exists=True),
    help="Folder or .tar.gz; default: the one of the home folder, else the one that ships.",
)
home_option = click.option("--home", default=None, help="Home folder of the installation.")
format_option = click.option(
    "--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True,
    help="For people, or for programs.",
)  # fmt: skip


def files(bundle: Path | None, home: str | None) -> Mapping[str, bytes]:
    """Every file of the bundle, tests included.

    Raises:
        GovernanceError: it cannot be read, or is not signed as a bundle from elsewhere must be.
    """
    from mlflow_governance import bootstrap
    from mlflow_governance.policy.bundle import read

    if bundle is not None:
        return read(bundle)
    return bootstrap.policy_source(config.load(config.home_folder(home))).fetch().files
