"""What the operator says about checkpoints: where they go, and who vouches for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from mlflow_governance.errors import ConfigurationError
from mlflow_governance.ledger.cosignature import Quorum, WitnessKey
from mlflow_governance.outbox.addresses import require_encrypted

HOME = "home"
"""The folder of checkpoints in the home folder, as a place."""
_MOST = 16
"""Destinations and witnesses at most, each."""


@dataclass(frozen=True)
class DestinationOptions:
    """One place off the host: ``path`` (a folder that is there), ``url`` or ``s3``.

    ``url`` takes each checkpoint by ``method``: PUT as ``URL/<name>.checkpoint`` and, the newest,
    ``URL/checkpoint``, where it can be read again; POST as JSON to the URL, which is never read.
    The bearer token is in the environment variable ``token_variable``, ``ca_file`` names the
    authorities to trust. ``s3`` is ``s3://BUCKET/PREFIX``; with ``lock_days`` each object is
    locked so long (``lock_mode``).
    """

    name: str
    path: Path | None = None
    url: str = ""
    method: Literal["PUT", "POST"] = "PUT"
    token_variable: str = ""
    ca_file: str = ""
    s3: str = ""
    lock_days: int = 0
    lock_mode: Literal["COMPLIANCE", "GOVERNANCE"] = "COMPLIANCE"

    def __post_init__(self) -> None:
        what = f"checkpoints: destination {self.name!r}"
        if sum((self.path is not None, bool(self.url), bool(self.s3))) != 1:
            raise ConfigurationError(f"{what} has either path, url or s3")
        if not 1 <= len(self.name) <= 40 or not self.name.isprintable() or ":" in self.name:
            raise ConfigurationError(f"{what}: a name has 1 to 40 letters and no colon")
        if self.name == HOME:
            raise ConfigurationError(f"{what}: that is what the home folder is called")
        if self.url:
            require_encrypted(what, self.url)
        if self.method not in ("PUT", "POST"):
            raise ConfigurationError(f"{what}: method is PUT or POST")
        if self.s3 and not (self.s3.startswith("s3://") and urlsplit(self.s3).netloc):
            raise ConfigurationError(f"{what}: s3 is s3://BUCKET/PREFIX")
        if self.lock_mode not in ("COMPLIANCE", "GOVERNANCE") or not 0 <= self.lock_days <= 36500:
            raise ConfigurationError(f"{what}: lock_mode is COMPLIANCE or GOVERNANCE")
        if self.lock_days and not self.s3:
            raise ConfigurationError(f"{what}: only objects in s3 are locked")


@dataclass(frozen=True)
class StampOptions:
    """A time stamp authority (RFC 3161): its address, and its certificates in PEM, root last."""

    url: str
    chain: bytes = field(repr=False)


@dataclass(frozen=True)
class WitnessOptions:
    """``vkey`` is the witness's verifier key, ``url`` the address ``/add-checkpoint`` is asked of.

    ``ca_file`` names the authorities to trust.
    """

    key: WitnessKey
    url: str
    ca_file: str = ""


@dataclass(frozen=True)
class CheckpointOptions:
    """How checkpoints leave the host.

    Every ``every_seconds`` the signed head of the ledger is cosigned by the ``witnesses``, stamped
    by the authority under ``timestamping`` and taken to every one of ``destinations``, besides the
    home folder. ``witness_quorum`` is how many of the witnesses must have cosigned (all of them
    unless said otherwise). When the ledger has grown and for ``stale_minutes`` a place has taken
    nothing, that is told.

    Raises:
        ConfigurationError: two have one name, or the quorum cannot be had.
    """

    every_seconds: float = 60.0
    stale_minutes: float = 60.0
    destinations: tuple[DestinationOptions, ...] = ()
    timestamping: StampOptions | None = None
    witnesses: tuple[WitnessOptions, ...] = ()
    witness_quorum: int | None = None

    def __post_init__(self) -> None:
        names = [one.name for one in self.destinations]
        if len(set(names)) != len(names):
            raise ConfigurationError("checkpoints: two destinations have one name")
        if len(names) > _MOST or len(self.witnesses) > _MOST:
            raise ConfigurationError(f"checkpoints: at most {_MOST} destinations and witnesses")
        if self.witness_quorum is not None and not self.witnesses:
            raise ConfigurationError("checkpoints: witness_quorum without witnesses")
        _ = self.quorum

    @property
    def quorum(self) -> Quorum | None:
        """How many of which witnesses must have cosigned; None: there are none."""
        if not self.witnesses:
            return None
        count = self.witness_quorum if self.witness_quorum is not None else len(self.witnesses)
        return Quorum(count, tuple(one.key for one in self.witnesses))


def read_options(home: Path, document: Any) -> CheckpointOptions:
    """The setting ``checkpoints`` of config.yaml.

    Raises:
        TypeError, ValueError: a key is unknown or has a wrong type.
        OSError: the certificates cannot be read.
        ConfigurationError: see the options.
    """
    values = _members(document, "checkpoints", CheckpointOptions)
    for name, read in (("destinations", _destination), ("witnesses", _witness)):
        if name in values:
            values[name] = _each(home, values[name], f"checkpoints: {name}", read)
    if "timestamping" in values:
        values["timestamping"] = _stamps(home, values["timestamping"])
    for name, least in (("every_seconds", 1), ("stale_minutes", 1)):
        if name in values:
            values[name] = _number(values[name], f"checkpoints: {name}", least)
    if type(values.get("witness_quorum", 1)) is not int:
        raise TypeError("checkpoints: witness_quorum is a number")
    return CheckpointOptions(**values)


def _members(document: Any, what: str, kind: type) -> dict[str, Any]:
    known = kind.__dataclass_fields__  # type: ignore[attr-defined]
    if not isinstance(document, dict) or set(document) - set(known):
        raise TypeError(f"{what} has the keys {', '.join(known)}")
    return dict(document)


def _each(home: Path, entries: Any, what: str, read: Callable[[Path, Any], Any]) -> tuple[Any, ...]:
    if not isinstance(entries, list):
        raise TypeError(f"{what} is a list")
    return tuple(read(home, entry) for entry in entries)


def _destination(home: Path, entry: Any) -> DestinationOptions:
    what = "checkpoints: a destination"
    values = _members(entry, what, DestinationOptions)
    if "name" not in values:
        raise ValueError(f"{what} has a name")
    for name, value in values.items():
        if type(value) is not (int if name == "lock_days" else str):
            raise TypeError(f"{what}: {name} has a wrong type")
    if "path" in values:
        values["path"] = home / values["path"]
    if "ca_file" in values:
        values["ca_file"] = str(home / values["ca_file"])
    return DestinationOptions(**values)


def _witness(home: Path, entry: Any) -> WitnessOptions:
    what = "checkpoints: a witness"
    needed = {"vkey", "url"}
    if not isinstance(entry, dict) or not needed <= set(entry) <= needed | {"ca_file"}:
        raise TypeError(f"{what} has vkey, url and, if need be, ca_file")
    url = str(entry["url"])
    require_encrypted(what, url)
    ca_file = str(home / str(entry["ca_file"])) if "ca_file" in entry else ""
    return WitnessOptions(WitnessKey.parse(str(entry["vkey"])), url.rstrip("/"), ca_file)


def _stamps(home: Path, entry: Any) -> StampOptions:
    what = "checkpoints: timestamping"
    if not isinstance(entry, dict) or set(entry) != {"url", "chain"}:
        raise TypeError(f"{what} has url and chain")
    url = str(entry["url"])
    # What is stamped is no secret and the answer is signed: many authorities offer plain HTTP.
    if urlsplit(url).scheme not in ("http", "https") or "@" in urlsplit(url).netloc:
        raise ConfigurationError(f"{what}: url is an address of http or https")
    return StampOptions(url, (home / str(entry["chain"])).read_bytes())


def _number(value: Any, what: str, least: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= 1e6:
        raise ValueError(f"{what} is a number from {least} on")
    return float(value)
