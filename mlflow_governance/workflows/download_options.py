"""How permitted downloads become entries, as ``download_entries`` of config.yaml says."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

_MOST_MINUTES = 24 * 60


@dataclass(frozen=True)
class DownloadEntries:
    """Entries about permitted downloads; denials are entries whatever this says.

    Args:
        minutes: permitted downloads of a version through one door are summed up in one entry for
            so many minutes; 0: they are not.
        sample: the share of permitted downloads that is an entry each, 0 to 1.
    """

    minutes: float = 15.0
    sample: float = 0.0

    def to_document(self) -> dict[str, Any]:
        """As JSON."""
        return {"minutes": self.minutes, "sample": self.sample}


def read_download_entries(_: Path, value: Any) -> DownloadEntries:
    """The setting ``download_entries`` of config.yaml.

    Raises:
        TypeError, ValueError: it is none of ``off``, ``aggregate``, ``{minutes: N}`` and
            ``{sample: SHARE}``.
    """
    if value == "off" or value is False:  # YAML takes a bare off for false
        return DownloadEntries(minutes=0.0)
    if value == "aggregate":
        return DownloadEntries()
    if not isinstance(value, dict) or len(value) != 1 or set(value) - {"minutes", "sample"}:
        raise TypeError("download_entries is off, aggregate, {minutes: N} or {sample: SHARE}")
    ((name, number),) = value.items()
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise TypeError(f"download_entries: {name} is a number")
    if name == "sample":
        if not 0 < number <= 1:
            raise ValueError("download_entries: sample is a share above 0, up to 1")
        return DownloadEntries(minutes=0.0, sample=float(number))
    if not 1 <= number <= _MOST_MINUTES:
        raise ValueError(f"download_entries: minutes is a number from 1 to {_MOST_MINUTES}")
    return DownloadEntries(minutes=float(number))
