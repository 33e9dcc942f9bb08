"""YAML as JSON: one document of mappings, lists, texts, numbers, booleans and null, and no more.

What makes YAML ambiguous or dangerous is refused: aliases (and so bombs), a key given twice, keys
that are no text, merge keys, tags, several documents. What is implicit follows the core schema
of YAML 1.2 and not 1.1: ``no`` and ``12:30`` are texts, and so is a date.
"""

from __future__ import annotations

import math
import re
from collections.abc import Hashable
from typing import Any

import yaml

from mlflow_governance.errors import InvalidRequest

MAX_BYTES = 256 * 1024
MAX_DEPTH = 16
MAX_NODES = 20_000
"""Values in one document, keys included: PyYAML reads about 20,000 in a second."""

_TAG = "tag:yaml.org,2002:"
_TAGS = {_TAG + kind for kind in ("map", "seq", "str", "int", "float", "bool", "null")}


class StrictLoader(yaml.SafeLoader):
    """PyYAML's safe loader, held to the rules of this module."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._depth = 0
        self._nodes = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Compose one node; the parser reads no further than this asks, so the bounds hold."""
        self._depth += 1
        self._nodes += 1
        if self.check_event(yaml.events.AliasEvent):
            raise self._refusal("aliases are not read")
        if self._depth > MAX_DEPTH:
            raise self._refusal(f"it nests deeper than {MAX_DEPTH} levels")
        if self._nodes > MAX_NODES:
            raise self._refusal(f"it holds more than {MAX_NODES} values")
        node = super().compose_node(parent, index)
        self._depth -= 1
        if node is not None and node.tag not in _TAGS:
            raise self._refusal(f"the tag {node.tag[:60]} is not read", node.start_mark)
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """A mapping whose keys are texts, each given once."""
        value = super().construct_mapping(node, deep)
        if not all(isinstance(key, str) for key in value):
            raise self._refusal("a key is not a text; put it in quotes", node.start_mark)
        if len(value) != len(node.value):
            raise self._refusal("a mapping names the same key twice", node.start_mark)
        return value

    def construct_scalar(self, node: yaml.ScalarNode | yaml.MappingNode) -> Any:
        """A text that has a form in UTF-8, which an escaped lone surrogate has not."""
        value = super().construct_scalar(node)
        value.encode("utf-8")
        return value

    def construct_number(self, node: yaml.ScalarNode) -> float:
        """A finite number: JSON has no other."""
        value = float(self.construct_yaml_float(node))
        if not math.isfinite(value):
            raise self._refusal("a number is not finite", node.start_mark)
        return value

    def _refusal(self, problem: str, mark: yaml.Mark | None = None) -> yaml.YAMLError:
        return yaml.MarkedYAMLError(problem=problem, problem_mark=mark or self.get_mark())


class _Dumper(yaml.SafeDumper):
    """Writes what the rules of YAML 1.1 and of this module read alike: in doubt in quotes."""

    def ignore_aliases(self, data: Any) -> bool:
        """Write everything out: aliases are not read."""
        return True

    def text(self, value: str) -> yaml.ScalarNode:
        """A text; one with a line end only YAML 1.1 knows is written with escapes."""
        style = '"' if _OTHER_LINE_ENDS.search(value) else None
        return self.represent_scalar(_TAG + "str", value, style=style)


_OTHER_LINE_ENDS = re.compile("[\x85\u2028\u2029]")
_Dumper.add_representer(str, _Dumper.text)


StrictLoader.add_constructor(_TAG + "float", StrictLoader.construct_number)
StrictLoader.yaml_implicit_resolvers = {}
for _kind, _form, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?(?:0|[1-9][0-9]{0,15})", list("-+0123456789")),
    (
        "float",
        r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]{1,3})?",
        list("-+.0123456789"),
    ),
):
    for _class in (StrictLoader, _Dumper):
        _class.add_implicit_resolver(_TAG + _kind, re.compile(rf"(?:{_form})\Z"), _first)


def load(data: bytes, *, max_bytes: int = MAX_BYTES) -> Any:
    """The JSON value a YAML document stands for; None for an empty one.

    Raises:
        InvalidRequest: too large, not YAML, or more than this module reads; says the line.
    """
    if len(data) > max_bytes:
        raise InvalidRequest(f"the YAML has {len(data)} bytes; at most {max_bytes} are read")
    try:
        return yaml.load(data.decode("utf-8"), Loader=StrictLoader)  # noqa: S506  # a SafeLoader
    except yaml.YAMLError as error:
        raise InvalidRequest(f"not usable YAML: {_said(error)}") from error
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
        # An explicit tag on what is none of its kind: !!bool maybe, !!int x.
        raise InvalidRequest(f"not usable YAML: {str(error)[:200]}") from error


def dump(value: Any) -> str:
    """A JSON value as YAML for people: keys in their order, long texts folded."""
    text: str = yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=96)
    return text


def _said(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    text = str(getattr(error, "problem", None) or error)[:200]
    return f"line {mark.line + 1}: {text}" if mark else text
