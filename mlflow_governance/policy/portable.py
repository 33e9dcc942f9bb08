"""Which builtin functions both engines have, and where they answer differently.

Measured: OPA 1.20 beside regorus 0.13; ``tests/contract/policy/test_traps.py`` asks both.
"""

from __future__ import annotations

import re
from collections.abc import Mapping


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


PORTABLE = _words(
    """
    count sum product max min sort abs round
    array.concat array.reverse array.slice intersection union
    object.get object.keys object.remove object.union object.union_n object.filter object.subset
    concat contains endswith startswith lower replace split sprintf substring
    trim trim_left trim_prefix trim_right trim_space trim_suffix format_int
    strings.any_prefix_match strings.any_suffix_match strings.reverse
    regex.match regex.is_valid glob.match numbers.range
    is_array is_boolean is_null is_number is_object is_set is_string type_name
    time.parse_rfc3339_ns
    base64.decode base64.encode base64.is_valid hex.decode hex.encode json.is_valid
    """
)
"""Builtins both engines have and agree about, and that depend on nothing but their arguments."""

IMPURE = _words(
    """
    http.send net.lookup_ip_addr opa.runtime print rand.intn rego.parse_module time.now_ns trace
    uuid.rfc4122
    """
)
"""Builtins whose answer depends on more than the dossier: no decision could be replayed."""

DIFFERING: Mapping[str, str] = {
    "ceil": "the engines round negative numbers differently",
    "floor": "the engines round negative numbers differently",
    "indexof": "one engine finds the empty text, the other fails",
    "regex.split": "the engines disagree about empty matches",
    "time.parse_duration_ns": "one engine knows days, the other fails",
    "to_number": 'one engine takes " 1", the other fails',
    "upper": "the engines write ß and its like differently",
}
"""Builtins both engines have and answer differently."""

_LETTERS = r"(?P<letters>[dDwWsSbBQEuU<>0-9])"
_PROPERTY = r"[pP]\{(?P<property>\^?Is|[^}]*=)|[pPx]\{[^}]*\}"
_ESCAPE = rf"\\(?:{_LETTERS}|{_PROPERTY}|.)"
_CLASS = r"\[\^?\]?(?:\\.|\[:\^?\w+:\]|[^\[\]\\]|(?P<nested>\[))*"
_SET = re.compile(r"&&|--|~~")
_FLAG = r"\(\?[a-zA-Z-]*(?P<flag>[xuR])"
_REPEAT = r"(?P<repeat>\{(?:\d{4,}|(?!\d+(?:,\d*)?\}))|(?:[*+?]|\{\d+,?\d*\})[*+])"
_UNEVEN = re.compile(rf"{_ESCAPE}|(?P<class>{_CLASS})|{_FLAG}|{_REPEAT}", re.DOTALL)
_CLASSES = re.compile(r"\[(?:\w-\w|\w)+\]")
_ALTERNATIVES = re.compile(r"\{([^{}]*)\}")
_DIRECTIVE = re.compile(r"%(.?)")


def regex_problem(pattern: str) -> str:
    """What the engines read differently in a regular expression; empty if nothing."""
    for found in _UNEVEN.finditer(pattern):
        if found["letters"]:
            return f"\\{found['letters']} does not mean the same characters in both engines"
        inside = found["class"] or ""
        escaped = [name for name in re.findall(r"\\(.)", inside, re.DOTALL) if name in "dDwWsS"]
        if escaped:
            return f"\\{escaped[0]} does not mean the same characters in both engines"
        if found["nested"] or _SET.search(inside):
            return f"only one engine understands {inside[-20:]}"
        if found["property"] or found["flag"] or found["repeat"]:
            return f"only one engine understands {found[0][-20:]}"
    return ""


def glob_problem(pattern: str) -> str:
    """What the engines read differently in a glob; empty if nothing."""
    if "**" in pattern:
        return "the engines differ about ** beside other characters"
    if "?" in pattern:
        return "? is a character in one engine and a byte in the other"
    if "[^" in pattern or "[!" in pattern:
        return "[^…] negates in one engine only, [!…] takes bytes for characters in one"
    if pattern.replace("[]", "[").count("[") != len(_CLASSES.findall(pattern)):
        return "what stands in […] is a letter or a range of them, or the engines differ"
    if "\\" in pattern:
        return "the engines differ about a backslash"
    if pattern.count("{") != pattern.count("}"):
        return "an unbalanced brace is an error in one engine only"
    if any("" in found[1].split(",") for found in _ALTERNATIVES.finditer(pattern)):
        return "the engines differ about an alternative that is empty"
    return ""


def separators_problem(separators: list[str]) -> str:
    """The same for the list of separators of a glob."""
    if any(len(separator) != 1 for separator in separators):
        return "a separator that is not one character is none in one engine"
    return ""


def sprintf_problem(pattern: str | None, arguments: int | None) -> str:
    """What the engines print differently; ``None`` stands for what is not written out."""
    if pattern is None or arguments is None:
        return "only a written-out format and list of arguments can be held against each other"
    letters = [letter for letter in _DIRECTIVE.findall(pattern) if letter != "%"]
    if any(letter != "v" for letter in letters):
        return "the engines print anything but a plain %v differently, a negative %d among them"
    if len(letters) != arguments:
        return f"{len(letters)} directives and {arguments} arguments: an error in one engine"
    return ""
