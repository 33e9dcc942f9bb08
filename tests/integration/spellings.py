"""Ways to write the same path so that whoever checks it and whoever opens it may disagree."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import quote


def _first(path: str, change: Callable[[str], str]) -> str:
    head, slash, rest = path.partition("/")
    folder, inner, last = rest.partition("/")
    return f"{head}{slash}{change(folder)}{inner}{last}"


def _percent(text: str, times: int = 1) -> str:
    coded = "".join(f"%{byte:02x}" for byte in text.encode())
    for _ in range(times - 1):
        coded = coded.replace("%", "%25")
    return coded


def _slashes(by: str) -> Callable[[str], str]:
    return lambda path: path.replace("/", by)


def _around(before: str = "", after: str = "") -> Callable[[str], str]:
    return lambda path: before + path + after


def _wide(text: str) -> str:
    """Letters of full width, which NFKC turns into plain ones."""
    return quote("".join(chr(ord(c) + 0xFEE0) if c.isalnum() else c for c in text))


SPELLINGS: dict[str, Callable[[str], str]] = {
    "plain": lambda path: path,
    "double slashes": _slashes("//"),
    "leading slash": _around("/"),
    "leading slashes": _around("///"),
    "dots between": _slashes("/./"),
    "dots coded": _slashes("/%2e/"),
    "leading dot": _around("./"),
    "up and down": lambda path: path.replace("/", "/x/../", 1),
    "up and down coded": lambda path: path.replace("/", "/x/%2e%2e/", 1),
    "up and down coded twice": lambda path: path.replace("/", "/x/%252e%252e/", 1),
    "up and down mixed": lambda path: path.replace("/", "/x/.%2E/", 1),
    "up with parameters": lambda path: path.replace("/", "/x/..;/", 1),
    "slashes coded": _slashes("%2f"),
    "slashes coded upper": _slashes("%2F"),
    "slashes coded twice": _slashes("%252F"),
    "slashes coded thrice": _slashes("%25252F"),
    "backslashes": _slashes("%5C"),
    "backslashes coded twice": _slashes("%255C"),
    "slashes overlong": _slashes("%c0%af"),
    "division slash": _slashes(quote("\u2215")),
    "full-width slash": _slashes(quote("\uff0f")),
    "all coded": lambda path: _percent(path),
    "all coded twice": lambda path: _percent(path, 2),
    "folder coded": lambda path: _first(path, _percent),
    "folder coded twice": lambda path: _first(path, lambda t: _percent(t, 2)),
    "folder coded thrice": lambda path: _first(path, lambda t: _percent(t, 3)),
    "folder upper": lambda path: _first(path, str.upper),
    "folder full-width": lambda path: _first(path, _wide),
    "folder long s": lambda path: path.replace("s", quote("\u017f"), 1),
    "upper": str.upper,
    "trailing slash": _around(after="/"),
    "trailing dot": _around(after="."),
    "trailing slash dot": _around(after="/."),
    "trailing space": _around(after="%20"),
    "leading space": _around("%20"),
    "trailing nothing": _around(after="%00"),
    "trailing line": _around(after="%0a"),
    "trailing parameters": _around(after=";x=1"),
    "trailing query": _around(after="%3Fx=1"),
    "trailing fragment": _around(after="%23x"),
    "zero-width": lambda path: path.replace("/", "/" + quote("\u200b"), 1),
    "as a file URI": _around("file:///"),
    "as a file URI coded": _around("file:%2f%2f%2f"),
    "as an artifact URI": _around("mlflow-artifacts:/"),
    "workspace default": _around("workspaces/default/"),
    "windows drive": _around("C:/"),
    "one dot leader": lambda path: path.replace(".", quote("\u2024")),
    "stream": _around(after="::$DATA"),
}
"""By name: what turns a path into a spelling of it, ready to stand in an address."""
