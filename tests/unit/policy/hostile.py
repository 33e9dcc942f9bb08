"""Policies that take too much: each is the shipped set with one module more, or another gate."""

from __future__ import annotations

from mlflow_governance.policy.bundle import Bundle, from_files
from tests.unit.policy.builders import shipped

# A bomb goes off for a promotion's dossier only: whoever plants one lets it load.
ARMED = 'input.subject.name == "boom"'

SLOW = f"""package registry.alias

decision := {{"gate": "alias", "allow": false, "pairs": pairs}}

default pairs := 0

pairs := 1 if {{
	{ARMED}
	every x in numbers.range(1, 3000) {{
		every y in numbers.range(1, 3000) {{
			x + y > 0
		}}
	}}
}}
"""
HUGE = f"""package registry.alias

decision := {{"gate": "alias", "allow": false, "size": size}}

default size := 0

size := count({{[x, y] | some x in ns; some y in ns}}) if {ARMED}

ns := numbers.range(1, 3000)
"""
WORDY = f"""package registry.alias

decision := {{"gate": "alias", "allow": false, "words": words}}

default words := ""

words := concat("", [sprintf("%d", [x]) | some x in numbers.range(1, 400000)]) if {ARMED}
"""


def alias(source: str) -> Bundle:
    """The shipped bundle with another alias gate."""
    return from_files({**shipped().files, "registry/alias/alias.rego": source.encode()})


def nested(brackets: int) -> Bundle:
    """A module that holds a parser for as good as ever."""
    text = "package registry.deep\n\nx := " + "[" * brackets + "]" * brackets + "\n"
    return from_files({**shipped().files, "registry/deep/deep.rego": text.encode()})
