"""The files of a bundle to begin with: the gates that ship, and one rule of one's own."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from mlflow_governance.core import canonical
from mlflow_governance.core.resources import folder
from mlflow_governance.errors import ConfigurationError
from mlflow_governance.policy import config_schema
from mlflow_governance.policy.bundle import MANIFEST, read

CONFIG = "registry/config/data.json"
SCHEMA = "config.schema.json"
GATE = "registry/accept/accept.rego"
GOOD = "tests/good_test.rego"

_RULE = """\
# METADATA
# title: Rules of {title}
# description: >-
#   Functions of the dossier, one for each check; the gate names them in `checks` and `texts`.
#   Each is false unless it holds, asks the type of what comes from the dossier, and reads its
#   numbers and lists from registry/own_config/data.json.
# scope: package
package registry.own

import data.registry.own_config

# METADATA
# description: true when the model is called as models are called here
default well_named(_) := false

well_named(dossier) if {{
	is_string(dossier.subject.name)
	regex.match(own_config.name_pattern, dossier.subject.name)
}}
"""
_TEST = """\
# METADATA
# title: The rules of one's own
package registry.own_test

import data.registry.accept
import data.registry.alias
import data.registry.download
import data.registry.good_test as good
import data.registry.own
import data.registry.promote
import data.registry.withdraw

test_what_has_everything_passes_each_gate if {
	accept.decision.allow with input as good.dossier("accept")
	promote.decision.allow with input as good.dossier("promote")
	download.decision.allow with input as good.dossier("download")
	alias.decision.allow with input as good.dossier("alias")
	withdraw.decision.allow with input as good.dossier("withdraw")
}

test_what_has_nothing_passes_none if {
	accept.decision.allow == false with input as {}
	promote.decision.allow == false with input as {}
	download.decision.allow == false with input as {}
	alias.decision.allow == false with input as {}
	withdraw.decision.allow == false with input as {}
}

named(name) := good.changed("accept", "/subject/name", name)

test_a_name_that_fits_is_accepted if {
	d := accept.decision with input as named("credit-risk.v2")
	d.allow
	d.checks["OWN-001"]
}

test_another_is_refused_and_told_why if {
	d := accept.decision with input as named("Final Model (2)")
	good.refused_for(d, {"OWN-001"})
	contains(d.reasons[0].fix, "mlflow-governance")
}

test_what_is_no_name_does_not_fit if {
	every name in [null, 7, ["churn"], ""] {
		own.well_named({"subject": {"name": name}}) == false
	}
	own.well_named({}) == false
}
"""
_CHECK = '\t"OWN-001": own.well_named(input),\n'
_TEXT = """\
	"OWN-001": {
		"path": "subject.name",
		"message": "the model is not called as models are called here",
		"fix": "register it anew: mlflow-governance submit runs:/RUN/model --name NAME --key KEY",
	},
"""
_DATA = {"name_pattern": "^[a-z0-9][a-z0-9_.-]*$"}
_README = """\
# {title}

The policies of a governed model registry: five gates, each the Rego package `registry.<gate>`
with a rule `decision`. They are those that ship with mlflow-governance, and one rule of your own.

| path | is |
|---|---|
| `registry/config/data.json` | what you decide without Rego, explained below |
| `registry/own/own.rego` | your rules; the gate `accept` asks `well_named` as its check OWN-001 |
| `registry/own_config/data.json` | the numbers and lists of your rules |
| `registry/<gate>/` | the gates; what they share stands in `registry/lib`, `risk`, `licences`, … |
| `tests/` | your Rego tests, and a dossier that has everything; not part of what is in force |

## A rule of your own

1. Write a function of the dossier in `registry/own/own.rego`, false by `default`.
2. Name it under a new code in `checks` of a gate (see OWN-001 in `{gate}`).
3. Say in `texts` of the gate what is wrong (`message`) and what mends it (`fix`).
4. Test it (`tests/own_test.rego`), and look at it: all of this needs no server.

```
mlflow-governance policy check --bundle .
mlflow-governance policy test --bundle . --coverage
mlflow-governance policy eval accept --sample --bundle .
mlflow-governance policy diff . --bundle OTHER
```

The tests that ship are about the numbers that ship, so they are not here.

With OPA at hand: `opa test -b . && opa check --strict -b . && opa fmt -l .`

## registry/config/data.json

JSON has no comments; this is what each key means.

| key | now | means |
|---|---|---|
{table}
"""


def files(title: str) -> Mapping[str, bytes]:
    """The files of the bundle by path.

    Raises:
        ConfigurationError: the policies that ship are not those this was written for.
    """
    shipped = {path: data for path, data in read(folder("policies")).items() if _belongs(path)}
    manifest = canonical.decode_object(shipped[MANIFEST])
    manifest["metadata"] = {**manifest.get("metadata", {}), "title": title}
    own = {
        MANIFEST: _pretty(manifest),
        GATE: _with_own_rule(shipped[GATE].decode()).encode(),
        "registry/own/own.rego": _RULE.format(title=title).encode(),
        "registry/own_config/data.json": _pretty(_DATA),
        "tests/own_test.rego": _TEST.encode(),
    }
    table = "\n".join(_rows(canonical.decode_object(shipped[CONFIG])))
    readme = _README.format(title=title, gate=GATE, table=table).encode()
    return {**shipped, **own, "README.md": readme}


def _belongs(path: str) -> bool:
    # The other tests hold for the data that ships; whoever decides otherwise would see them fail.
    return not path.startswith("tests/") or path == GOOD


def _pretty(document: Mapping[str, Any]) -> bytes:
    return f"{json.dumps(document, indent=2, ensure_ascii=False)}\n".encode()


def _with_own_rule(source: str) -> str:
    source = _after(source, ("shipped := {\n", "checks := {\n"), _CHECK)
    source = _after(source, ("texts := {\n",), _TEXT)
    return _after(source, ("import data.registry.licences\n",), "import data.registry.own\n")


def _after(source: str, lines: tuple[str, ...], addition: str) -> str:
    for line in lines:
        if source.count(f"\n{line}") == 1:
            return source.replace(f"\n{line}", f"\n{line}{addition}")
    raise ConfigurationError(
        f"{GATE} has no place for a rule of one's own ({lines[-1].strip()})",
        advice="Install the package and its policies in the same version.",
    )


def _rows(config: Mapping[str, Any]) -> Iterator[str]:
    told = _descriptions()
    for key, value in config.items():
        shown = json.dumps(value, ensure_ascii=False)
        shown = f"`{shown}`" if len(shown) <= 60 else "see there"
        meaning = told.get(key, "").replace("|", "\\|").replace("\n", " ")
        yield f"| `{key}` | {shown} | {meaning} |"


def _descriptions() -> Mapping[str, str]:
    found = config_schema.schema()["properties"]
    return {key: str(value.get("description", "")) for key, value in found.items()}
