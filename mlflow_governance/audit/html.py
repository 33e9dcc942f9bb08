"""A report as one HTML page: no script, nothing fetched, and good on paper."""

from __future__ import annotations

from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from mlflow_governance.audit import content
from mlflow_governance.audit.content import Report


def render(report: Report) -> bytes:
    """The page in UTF-8; the same report gives the same bytes."""
    return _template().render(report=report, kind=lambda block: type(block).__name__).encode()


@cache
def _template() -> Template:
    made = Environment(
        loader=PackageLoader("mlflow_governance.audit"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals["visible"] = content.visible
    return made.get_template("report.html")
