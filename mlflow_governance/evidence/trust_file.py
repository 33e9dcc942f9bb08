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
from mlflow_governance.evidence.keys import MAX_KEY_BYTES
from mlflow_governance.evidence.predicate import schema_problems

SCHEMA = "trust.schema.json"
MAX_BYTES = 4 * 1024 * 1024

_EMPTY = b"version: 1\nsigners: []\n"
_ADVICE = "Mend trust.yaml; attestations/trust.schema.json describes it."


class _Loader(yaml.SafeLoader):
    """YAML without what makes it ambiguous: anchors, duplicate keys, implicit time stamps."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.events.AliasEvent):
            raise yaml.YAMLError("aliases are not read")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        value = super().construct_mapping(node, deep)
        if len(value) != len(node.value):
            raise yaml.YAMLError("a mapping names the same key twice")
        return value


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


def entries(data: bytes) -> list[dict[str, Any]]:
    """The signer entries of a trust policy, held to the schema.

    Raises:
        ConfigurationError: not a trust policy.
    """
    document = _parse(data)
    problems = schema_problems(SCHEMA, document)
    if problems:
        raise ConfigurationError(f"trust.yaml is malformed: {'; '.join(problems)}", advice=_ADVICE)
    signers: list[dict[str, Any]] = document["signers"]
    return signers


def key_material(key: str | dict[str, str], base: Path) -> bytes:
    """The PEM an entry gives, itself or in a file.

    Raises:
        ConfigurationError: the file cannot be read.
    """
    return key.encode("utf-8") if isinstance(key, str) else _read(base / key["file"], MAX_KEY_BYTES)


def key_files(path: Path) -> tuple[Path, ...]:
    """The key files a trust policy refers to, which belong to what it says.

    Raises:
        ConfigurationError: the policy is absent or malformed.
    """
    keys = (entry["key"] for entry in entries(read(path)))
    return tuple(path.parent / key["file"] for key in keys if isinstance(key, dict))


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


def _with_entry(data: bytes, entry: dict[str, Any]) -> bytes:
    """Append to the text when that gives exactly the wanted document; else write it anew."""
    document = {"version": 1, "signers": [*entries(data), entry]}
    block = _dump([entry]).splitlines()
    for indent in ("", "  ", "    "):
        lines = "".join(f"{indent}{line}\n" for line in block)
        candidate = data.rstrip() + b"\n" + lines.encode("utf-8")
        with suppress(ConfigurationError):
            if _parse(candidate) == document:
                return candidate
    return _dump(document).encode("utf-8")


def _dump(value: Any) -> str:
    text: str = yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True)
    return text


def _parse(data: bytes) -> Any:
    try:
        return yaml.load(data.decode("utf-8"), Loader=_Loader)  # noqa: S506  # a SafeLoader
    except (yaml.YAMLError, ValueError, RecursionError, TypeError) as error:
        raise ConfigurationError(f"trust.yaml is not YAML: {error}", advice=_ADVICE) from error


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
