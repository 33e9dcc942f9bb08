"""Which bundle a command is about: the one that is named, the one in force, or what ships."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click

from mlflow_governance import config
from mlflow_governance.core.resources import folder

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
        ConfigurationError: it cannot be read.
    """
    from mlflow_governance.policy.bundle import read

    return read(path(bundle, home))


def path(bundle: Path | None, home: str | None) -> Path:
    """Where the bundle is."""
    return bundle or config.load(config.home_folder(home)).policies or folder("policies")
