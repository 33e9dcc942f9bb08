"""One change anywhere in a JSON value."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import strategies as st

_OTHER: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**53), 2**53),
    st.text(max_size=5),
    st.sampled_from(["", " ", "x" * 5000, [], {}, [[]], [None], {"name": 1}, {"": []}, -0.5]),
)


def mutated(data: st.DataObject, value: Any) -> Any:
    """A copy of a mapping in which one entry, at any depth, is left out, doubled or another."""
    changed = copy.deepcopy(value)
    places = list(_places(changed))
    holder, key = data.draw(st.sampled_from(places))
    action = data.draw(st.sampled_from(["replace", "replace", "drop", "double"]))
    if action == "drop":
        del holder[key]
    elif action == "double" and isinstance(holder, list):
        holder.append(copy.deepcopy(holder[key]))
    else:
        holder[key] = data.draw(_OTHER)
    return changed


def _places(value: Any) -> Any:
    entries = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in entries:
        yield value, key
        if isinstance(inner, dict | list):
            yield from _places(inner)
