"""The file ``trust.yaml``: read strictly, and added to without losing comments or writes."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import yaml

from mlflow_governance.errors import ConfigurationError
from mlflow_governance.evidence.predicate import schema_problems

SCHEMA = "trust.schema.json"
MAX_BYTES = 4 * 1024 * 1024
MAX_MATERIAL_BYTES = 1024 * 1024
"""Of one key, chain or root; a Sigstore root has some tens of kilobytes."""

_EMPTY = b"version: 1\nsigners: []\n"
_ADVICE = "Mend trust.yaml; attestations/trust.schema.json describes it."


_MAX_DEPTH = 16
_MAX_EVENTS = 300_000
"""Beginnings, ends and values in the text; ten thousand signers have some 200,000."""

# libyaml, which is ten times faster, where PyYAML was built with it.
_Fast: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Fast):  # type: ignore[valid-type, misc]
    """YAML without what makes it ambiguous: duplicate keys and implicit time stamps."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        value = super().construct_mapping(node, deep)
        if len(value) != len(node.value):
            raise yaml.YAMLError("a mapping names the same key twice")
        found: dict[Hashable, Any] = value
        return found


class _Dumper(yaml.SafeDumper):
    """YAML for people: a PEM key as a block of lines."""


_Dumper.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar(
        "tag:yaml.org,2002:str", text, style="|" if "\n" in text else None
    ),
)

# An instant stays text: PyYAML would drop its time zone.
_Loader.yaml_implicit_resolvers = {
    first: [(tag, form) for tag, form in resolvers if not tag.endswith(":timestamp")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read(path: Path) -> bytes:
    """The bytes of a trust policy.

    Raises:
        ConfigurationError: absent, unreadable or too large.
    """
    return _read(path, MAX_BYTES)


def document(data: bytes) -> dict[str, Any]:
    """A trust policy held to the schema.

    Raises:
        ConfigurationError: not a trust policy.
    """
    value = _parse(data)
    problems = schema_problems(SCHEMA, value)
    if problems:
        raise ConfigurationError(f"trust.yaml is malformed: {'; '.join(problems)}", advice=_ADVICE)
    found: dict[str, Any] = value
    return found


def material(value: str | dict[str, str], base: Path) -> bytes:
    """What an entry gives itself or in a file: a key, certificates, a root.

    Raises:
        ConfigurationError: the file cannot be read.
    """
    if isinstance(value, str):
        return value.encode("utf-8")
    return _read(base / value["file"], MAX_MATERIAL_BYTES)


def files(path: Path) -> tuple[Path, ...]:
    """The files a trust policy refers to, which belong to what it says.

    Raises:
        ConfigurationError: the policy is absent or malformed.
    """
    said = document(read(path))
    entries = [*said["signers"], *said.get("timestamping", [])]
    values = [value for entry in entries for value in _values(entry)]
    named = (
        value["file"] for value in values if isinstance(value, dict) and set(value) == {"file"}
    )
    return tuple(path.parent / name for name in named)


def _values(entry: dict[str, Any]) -> list[Any]:
    inner = [entry[word] for word in ("certificate", "keyless") if word in entry]
    return [*entry.values(), *(value for part in inner for value in part.values())]


def add(path: Path, entry: dict[str, Any], check: Callable[[bytes], None]) -> None:
    """Add one entry, or leave the file as it was.

    Args:
        path: the file, made when absent.
        entry: the signer to add.
        check: raises when the new bytes are no valid trust policy.
    """
    with _locked(path.parent):
        data = read(path) if path.exists() else _EMPTY
        changed = _with_entry(data, entry)
        check(changed)
        _replace(path, changed)


def change(
    path: Path,
    name: str,
    mend: Callable[[dict[str, Any]], dict[str, Any]],
    check: Callable[[bytes], None],
) -> None:
    """Change every entry of a name, or leave the file as it was. Comments in it are lost.

    Args:
        path: the file.
        name: whose entries.
        mend: gives the new entry for an old one.
        check: raises when the new bytes are no valid trust policy.
    """
    with _locked(path.parent):
        said = document(read(path))
        if not any(entry["name"] == name for entry in said["signers"]):
            raise ConfigurationError(
                f"trust.yaml names no signer {name}", advice="mlflow-governance trust show"
            )
        signers = [mend(entry) if entry["name"] == name else entry for entry in said["signers"]]
        changed = _dump({**said, "signers": signers}).encode("utf-8")
        check(changed)
        _replace(path, changed)


def _with_entry(data: bytes, entry: dict[str, Any]) -> bytes:
    """Append to the text when that gives exactly the wanted document; else write it anew."""
    said = document(data)
    wanted = {**said, "signers": [*said["signers"], entry]}
    block = _dump([entry]).splitlines()
    for indent in ("", "  ", "    "):
        lines = "".join(f"{indent}{line}\n" for line in block)
        candidate = data.rstrip() + b"\n" + lines.encode("utf-8")
        with suppress(ConfigurationError):
            if _parse(candidate) == wanted:
                return candidate
    return _dump(wanted).encode("utf-8")


def _dump(value: Any) -> str:
    text: str = yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True)
    return text


def _parse(data: bytes) -> Any:
    if len(data) > MAX_BYTES:
        raise ConfigurationError(f"trust.yaml has more than {MAX_BYTES} bytes and is not read")
    try:
        text = data.decode("utf-8")
        _refuse_tricks(text)
        return yaml.load(text, Loader=_Loader)  # noqa: S506  # a SafeLoader
    except (yaml.YAMLError, ValueError, RecursionError, TypeError) as error:
        raise ConfigurationError(f"trust.yaml is not YAML: {error}", advice=_ADVICE) from error


def _refuse_tricks(text: str) -> None:
    """Refuse aliases, which make much of little, and nesting: the loader recurses."""
    depth = 0
    for count, event in enumerate(yaml.parse(text, Loader=_Fast)):
        if isinstance(event, yaml.AliasEvent):
            raise yaml.YAMLError("aliases are not read")
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > _MAX_DEPTH or count > _MAX_EVENTS:
            raise yaml.YAMLError("it nests too deep or holds too much")


def _read(path: Path, limit: int) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}") from error
    if len(data) > limit:
        raise ConfigurationError(f"{path} has more than {limit} bytes and is not read")
    return data


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder, so that of two additions at once neither is lost."""
    import fcntl

    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise ConfigurationError(f"{folder} cannot be used: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _replace(path: Path, data: bytes) -> None:
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".trust-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, mode)
        os.replace(name, path)
    except OSError as error:
        Path(name).unlink(missing_ok=True)
        raise ConfigurationError(f"{path} cannot be written: {error.strerror}") from error
