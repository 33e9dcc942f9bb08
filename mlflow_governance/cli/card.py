"""``card``: the author's part of a model card, begun, checked, shown and exchanged."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click

from mlflow_governance.errors import InvalidRequest, VerificationError

if TYPE_CHECKING:
    from mlflow_governance.submission.facts import Facts

_file = click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
_model = click.option(
    "--model", metavar="MODEL_URI", help="A logged model; adds what MLflow knows of it."
)
_name = click.option("--name", default="Model card", show_default=True, help="Title of the page.")


@click.group()
def card() -> None:
    """Write, check and show model cards (model_card.yaml).

    The author says what a model is for, its limits and risks; metrics, data sets and formats come
    from MLflow. mlflow-governance submit signs both together.
    """


@card.command()
@click.argument(
    "file", type=click.Path(path_type=Path, dir_okay=False), default=Path("model_card.yaml")
)
def init(file: Path) -> None:
    """Write a commented card to fill in; default FILE: model_card.yaml."""
    from mlflow_governance.submission.card.write import starting_card

    try:
        with file.open("x", encoding="utf-8") as new:
            new.write(starting_card())
    except FileExistsError as error:
        raise InvalidRequest(
            f"{file} is there already",
            advice=f"See what it lacks: mlflow-governance card check {file}",
        ) from error
    except OSError as error:
        raise InvalidRequest(f"{file} cannot be written: {error.strerror}") from error
    click.echo(f"{file}: fill it in, then mlflow-governance card check {file}")


@card.command()
@_file
@_model
@click.option("--strict", is_flag=True, help="Every heading must be filled.")
def check(file: Path, model: str | None, strict: bool) -> None:
    """Name every empty heading of FILE, with what to write there.

    \b
    mlflow-governance card check model_card.yaml
    mlflow-governance card check model_card.yaml --model runs:/RUN/model

    Exit code 0: no required heading is empty. 3: one is. 2: the file is no model card.
    Metrics and data are required too; without --model they are taken to come from the run.
    """
    from mlflow_governance.submission.card import read_card
    from mlflow_governance.submission.card.check import empty_headings

    found = empty_headings(read_card(file), _facts(model) if model else None)
    for empty in found:
        weight = "required" if empty.required or strict else "optional"
        click.echo(f"{weight}  {empty.heading} is empty: {empty.advice}")
    lacking = len(found) if strict else sum(empty.required for empty in found)
    click.echo(
        f"{file}: {lacking} required headings are empty" if lacking else f"{file} is complete"
    )
    if lacking:
        sys.exit(VerificationError.exit_code)


@card.command()
@_file
@_model
@_name
@click.option(
    "--format", "form", type=click.Choice(["md", "html"]), default="md", show_default=True
)
@click.option("--output", "-o", type=click.Path(path_type=Path), help="File; default: print.")
def render(file: Path, model: str | None, name: str, form: str, output: Path | None) -> None:
    """Show FILE as reviewers will see it, as Markdown or as an HTML page."""
    from mlflow_governance.submission.card import html, markdown, read_card

    write = html if form == "html" else markdown
    _print(write(name, "", read_card(file), _facts(model)), output)


@card.command("import")
@click.argument("readme", type=click.File("rb"))
@click.option("--output", "-o", type=click.Path(path_type=Path), help="File; default: print.")
def import_(readme: IO[bytes], output: Path | None) -> None:
    """Turn README, a card of the Hugging Face Hub, into a model_card.yaml.

    \b
    mlflow-governance card import README.md > model_card.yaml

    What finds no place in the card is named on stderr.
    """
    from mlflow_governance.submission.card.hub_import import MAX_BYTES, import_readme
    from mlflow_governance.submission.card.write import to_yaml

    imported = import_readme(readme.read(MAX_BYTES + 1))
    _print(to_yaml(imported.card), output)
    for what in imported.left_out:
        click.echo(f"left out: {what}", err=True)


@card.command()
@_file
@_model
@_name
@click.option("--output", "-o", type=click.Path(path_type=Path), help="File; default: print.")
def export(file: Path, model: str | None, name: str, output: Path | None) -> None:
    """Turn FILE into a README.md for the Hugging Face Hub.

    \b
    mlflow-governance card export model_card.yaml --model runs:/RUN/model > README.md

    With --model the results of the run are in it, as the Hub's model-index.
    """
    from mlflow_governance.submission.card import read_card
    from mlflow_governance.submission.card.hugging_face import export_readme

    _print(export_readme(name, read_card(file), _facts(model)), output)


def _facts(model: str | None) -> Facts:
    from mlflow_governance.submission import facts

    return facts.of_model(model) if model else facts.Facts(flavors=(), requirements=())


def _print(text: str, output: Path | None) -> None:
    if output is None:
        click.echo(text, nl=not text.endswith("\n"))
        return
    try:
        output.write_text(text, "utf-8")
    except OSError as error:
        raise InvalidRequest(f"{output} cannot be written: {error.strerror}") from error
