"""What a replay found, as one page that stands alone: to be mailed, printed, or attached.

It loads nothing from anywhere and runs no script; its style is that of the registry's pages.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from mlflow_governance.core import moment


def render(document: Mapping[str, Any]) -> str:
    """The page of a replay.

    Args:
        document: what ``policy replay --format json`` prints.
    """
    return _templates().get_template("replay.html").render(found=document)


@cache
def _templates() -> Environment:
    made = Environment(
        loader=PackageLoader("mlflow_governance.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = (files("mlflow_governance.web") / "static" / "style.css").read_text("utf-8")
    made.globals["style"] = Markup(style)  # noqa: S704  (a file of this package)
    made.filters.update(instant=_instant, thousands=_thousands)
    return made


def _instant(text: str) -> str:
    return moment.parse(text).strftime("%Y-%m-%d %H:%M UTC")


def _thousands(number: int) -> str:
    return f"{number:,}"
