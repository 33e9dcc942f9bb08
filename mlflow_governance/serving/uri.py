"""``models:/`` URIs of registered versions. Every other URI names bytes nobody decided about."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mlflow_governance.core.model_ref import VersionRef, check_name
from mlflow_governance.core.stage import Stage
from mlflow_governance.errors import InvalidRequest

_ADVICE = (
    "Write models:/NAME/VERSION, models:/NAME/STAGE, models:/NAME/latest or models:/NAME@ALIAS."
)


@dataclass(frozen=True, slots=True)
class ModelUri:
    """What a URI names: exactly one of version, stage and alias, or the latest version."""

    name: str
    version: int | None = None
    stage: str = ""
    alias: str = ""

    @classmethod
    def parse(cls, text: str) -> ModelUri:
        """Read a URI the way MLflow does.

        Raises:
            InvalidRequest: it names no registered version (``runs:/``, a path, ``models:/m-…``).
        """
        rest = text.removeprefix("models:/")
        if rest == text or rest.startswith("/"):
            raise InvalidRequest(f"{text[:120]!r} names no registered version", advice=_ADVICE)
        name, slash, word = rest.rpartition("/")
        if not slash:
            name, at, word = rest.rpartition("@")
            if not at or not word.strip():
                raise InvalidRequest(f"{text[:120]!r} names no registered version", advice=_ADVICE)
            check_name(name)
            return cls(name, alias=word)
        check_name(name)
        if re.fullmatch(r"[0-9]{1,9}", word):
            return cls(name, version=VersionRef(name, int(word)).version)
        if word.lower() == "latest":
            return cls(name)
        return cls(name, stage=Stage.parse(word).value)

    def __str__(self) -> str:
        if self.alias:
            return f"models:/{self.name}@{self.alias}"
        return f"models:/{self.name}/{self.version or self.stage or 'latest'}"
