"""What the operator says about the decision log, checked when the settings are read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from mlflow_governance.errors import ConfigurationError
from mlflow_governance.outbox.addresses import require_encrypted
from mlflow_governance.outbox.masking import DEFAULT_MASK, MaskRule, rule_of

Downloads = Literal["none", "denied", "all"]
_KEYS = frozenset(
    {"file", "url", "token_variable", "ca_file", "mask", "labels", "downloads", "max_mebibytes",
     "keep"}
)  # fmt: skip


@dataclass(frozen=True)
class LogOptions:
    """Decisions as records in OPA's decision-log format, to a file, an HTTP endpoint, or both.

    ``file`` holds JSON lines, relative to the home folder, and is rotated at ``max_mebibytes``;
    ``keep`` older files stay. ``url`` takes the same records as OPA's own uploads (a gzipped JSON
    array by POST; without a path of its own, to ``/logs``), with the bearer token in the
    environment variable ``token_variable`` and the authorities in ``ca_file``. ``mask`` lists
    JSON pointers to erase, or ``{hash: POINTER}``; ``*`` is every element. ``labels`` go into
    each record. ``downloads`` is ``none``, ``denied``, ``all`` or the share of the permitted ones
    that is logged.

    Raises:
        ConfigurationError: there is nowhere to write, or the URL cannot be used.
    """

    file: Path | None = None
    url: str = ""
    token_variable: str = ""
    ca_file: str | None = None
    mask: tuple[MaskRule, ...] = DEFAULT_MASK
    labels: Mapping[str, str] = field(default_factory=dict)
    downloads: Downloads | float = "denied"
    max_mebibytes: int = 64
    keep: int = 8

    def __post_init__(self) -> None:
        if self.file is None and not self.url:
            raise ConfigurationError("decision_log needs a file or a url")
        if self.url:
            require_encrypted("decision_log", self.url)
        if not 1 <= self.max_mebibytes <= 1024 * 1024 or not 1 <= self.keep <= 1000:
            raise ConfigurationError("decision_log: max_mebibytes and keep are at least 1")

    @property
    def share(self) -> float:
        """How many of the permitted downloads are logged, 0 to 1."""
        if isinstance(self.downloads, float):
            return self.downloads
        return 1.0 if self.downloads == "all" else 0.0


def read_options(home: Path, document: Any) -> LogOptions:
    """The setting ``decision_log`` of config.yaml.

    Raises:
        TypeError, ValueError: a key is unknown or has a wrong type.
        ConfigurationError: see :class:`LogOptions`.
    """
    if not isinstance(document, dict) or set(document) - _KEYS:
        raise TypeError(f"decision_log has the keys {', '.join(sorted(_KEYS))}")
    values = dict(document)
    if not isinstance(values.get("labels", {}), dict) or not isinstance(
        values.get("mask", []), list
    ):
        raise TypeError("decision_log: labels is a mapping, mask a list")
    if "file" in values:
        values["file"] = home / str(values["file"])
    if "mask" in values:
        values["mask"] = tuple(map(rule_of, values["mask"]))
    if "labels" in values:
        values["labels"] = {str(key): str(label) for key, label in values["labels"].items()}
    values["downloads"] = _downloads(values.get("downloads", "denied"))
    return LogOptions(**values)


def _downloads(value: Any) -> Downloads | float:
    if value in ("none", "denied", "all"):
        return value  # type: ignore[no-any-return]
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError("decision_log: downloads is none, denied, all or a share from 0 to 1")
    return float(value)
