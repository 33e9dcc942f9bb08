"""``policy init``: a bundle to begin with."""

from __future__ import annotations

from pathlib import Path

import click

from mlflow_governance.errors import Conflict, InvalidRequest


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--name", default=None, help="What the bundle is called; default: the folder.")
def init(folder: Path, name: str | None) -> None:
    """Write a bundle to begin with into DIR.

    It holds the gates that ship, the data they read, one rule of your own with its test, and a
    README.md that says what each key means. It passes policy check, policy test and opa test as
    it is. DIR must be empty or not be there: nothing is overwritten.

    \b
      mlflow-governance policy init mine --name "Policies of Example Bank"
      mlflow-governance policy check --bundle mine
    """
    from mlflow_governance.policy import starter

    title = folder.resolve().name if name is None else name.strip()
    if not title or len(title) > 200 or not title.isprintable():
        raise InvalidRequest("the name of a bundle is one line of text")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise Conflict(
            f"{folder} is there and not empty; nothing was written",
            advice="Name another folder: mlflow-governance policy init DIR",
        )
    written = starter.files(title)
    for path, data in written.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as file:
            file.write(data)
    click.echo(f"{len(written)} files in {folder}; begin with {folder / 'README.md'}")
    click.echo(f"try: mlflow-governance policy check --bundle {folder}")
