"""The model card: what the author writes and what MLflow knows, for machines and for people."""

from mlflow_governance.submission.card.author import AuthorCard, purl
from mlflow_governance.submission.card.build import model_card, with_author
from mlflow_governance.submission.card.read import parse_card, read_card
from mlflow_governance.submission.card.render import html, markdown

__all__ = [
    "AuthorCard",
    "html",
    "markdown",
    "model_card",
    "parse_card",
    "purl",
    "read_card",
    "with_author",
]
