"""Writes docs/reference/*.md from the code, so that they cannot say something else.

``make docs`` runs it. ``tests/unit/docs/test_reference.py`` fails when a page differs from what
the code gives. MLflow is not imported.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import reference_checks
import reference_conformance
import reference_variables

ROOT = Path(__file__).resolve().parent.parent
OUTPUT = ROOT / "docs" / "reference"
_WIDTH = 96
_NOTE = (
    "<!-- Written by docs/reference.py from the code: change the code, then run `make docs`. -->"
)


def commands() -> str:
    """Every command with its own help."""
    from mlflow_governance.cli.main import cli

    blocks = [
        f"## {' '.join(path)}\n\n```\n{text}\n```"
        for path, text in _helps(cli, ("mlflow-governance",))
    ]
    return _page("Commands", "\n\n".join(blocks))


def _helps(command: click.Command, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    # click keeps the help option of whoever asked first, under whatever names it had there.
    command._help_option = None
    context = click.Context(
        command,
        info_name=" ".join(path),
        terminal_width=_WIDTH,
        help_option_names=["-h", "--help"],
    )
    lines = command.get_help(context).splitlines()
    yield path, "\n".join(line.rstrip() for line in lines)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            if found is None:
                raise LookupError(f"{name} is listed and cannot be loaded")
            yield from _helps(found, (*path, name))


def settings() -> str:
    """The keys of config.yaml: name, type, default, meaning."""
    from mlflow_governance import config
    from mlflow_governance.outbox import checkpoint_options
    from mlflow_governance.outbox.interface import Target
    from mlflow_governance.outbox.log_options import LogOptions
    from mlflow_governance.policy.process import Budget

    webhook = [
        ("`name`", "str", "required", "names the receiver in the queue; a new name starts anew"),
        ("`url`", "str", "required", "http or https, without user name and password"),
        ("`secret_file`", "str", "", "file that holds the secret, relative to the home folder"),
        ("`secret_variable`", "str", "", "environment variable that holds it, instead"),
        ("`timeout_seconds`", "float", "`10.0`", "for connecting, and between two packets"),
        ("`acts`", "list", "`[]`", "the [acts](events.md) it is told of; empty means all"),
    ]
    if {row[0].strip("`") for row in webhook} != set(_webhook_keys()):
        raise LookupError("config.yaml reads other keys of a webhook than this page has")
    parts = [
        "`config.yaml` in the home folder. Every key is optional. An unknown key or a wrong type "
        "stops the server. It is read once, at the start.",
        settings_table(),
        f"## `opa`\n\n{_paragraph(config.OpaServer)}",
        _fields(config.OpaServer),
        f"## `policy_budget`\n\n{_paragraph(Budget)}",
        _fields(Budget),
        f"## `decision_log`\n\n{_paragraph(LogOptions)}",
        _fields(LogOptions),
        f"## `checkpoints`\n\n{_paragraph(checkpoint_options.CheckpointOptions)}",
        _fields(checkpoint_options.CheckpointOptions),
        f"An entry of `destinations`. {_paragraph(checkpoint_options.DestinationOptions)}",
        _fields(checkpoint_options.DestinationOptions),
        f"`timestamping`. {_paragraph(checkpoint_options.StampOptions)}",
        f"An entry of `witnesses`. {_paragraph(checkpoint_options.WitnessOptions)}",
        _fields(checkpoint_options.WitnessOptions),
        f"## An entry of `webhooks`\n\nA secret is `whsec_` and base64. {_seconds(Target)}",
        _table(("key", "type", "default", "meaning"), webhook),
    ]
    return _page("Settings", "\n\n".join(parts))


def _fields(options: type[Any]) -> str:
    rows = [(f"`{f.name}`", _type(f), _default(f)) for f in dataclasses.fields(options)]
    return _table(("key", "type", "default"), rows)


def settings_table() -> str:
    """The table of config.yaml's keys; it stands in operations.md, too."""
    from mlflow_governance import config

    told = _arguments(config.Settings)
    rows = [
        (f"`{field.name}`", _type(field), _default(field), told[field.name])
        for field in dataclasses.fields(config.Settings)
        if field.name != "home"
    ]
    return _table(("key", "type", "default", "meaning"), rows)


def operations() -> str:
    """docs/operations.md as it stands, with the table of settings as it should be."""
    text = (ROOT / "docs" / "operations.md").read_text("utf-8")
    table = settings_table().replace("(#opa)", "(reference/settings.md#opa)")
    for section in ("an-entry", "policy_budget", "decision_log", "checkpoints"):
        table = table.replace(f"(#{section}", f"(reference/settings.md#{section}")
    head, begin, rest = text.partition("<!-- settings: written by docs/reference.py -->\n")
    _, end, tail = rest.partition("<!-- /settings -->")
    if not end:
        raise LookupError("docs/operations.md has no place for the settings")
    return f"{head}{begin}{table}\n{end}{tail}"


def _webhook_keys() -> Iterable[str]:
    # The reader holds entries to one literal set of keys.
    from mlflow_governance import config

    tree = ast.parse(inspect.getsource(config._target))
    sets = (node for node in ast.walk(tree) if isinstance(node, ast.Set))
    return ast.literal_eval(next(sets))


def _seconds(target: type[Any]) -> str:
    seconds = next(f.default for f in dataclasses.fields(target) if f.name == "timeout_seconds")
    return f"A receiver has {seconds:.0f} s to answer."


def rest() -> str:
    """The HTTP interface, from the table that serves it."""
    from mlflow_governance.web.api import AJAX, API, ROUTES

    parts = [
        f"Each path is served below `{API}` and, for the pages, below `{AJAX}`. A GET takes its "
        "fields from the query, a POST from a JSON object (`Content-Type: application/json`). "
        "Authentication is MLflow's own: everybody who is logged in may read. "
        "A refusal is `{code, message, advice}` and further "
        "members; [errors](errors.md) has the codes. `GET /openapi.json` describes all of it to "
        "programs.",
    ]
    for route in ROUTES:
        summary = (route.view.__doc__ or "This description, as OpenAPI 3.1.").splitlines()[0]
        answer = ", ".join(f"`{name}`" for name in (route.answer or {}).get("properties", ()))
        public = " Open to everybody: no login." if route.public else ""
        parts.append(f"## {route.method} {route.path}\n\n{summary}{public}")
        if route.fields:
            rows = [
                (f"`{f.name}`", f.kind, _json(f.default), f.about, _bounds(f)) for f in route.fields
            ]
            parts.append(_table(("field", "type", "default", "meaning", "bounds"), rows))
        parts.append(f"Answers {answer or ('bytes' if route.answer is None else 'JSON')}.")
    return _page("HTTP interface", "\n\n".join(parts))


def _bounds(field: Any) -> str:
    if field.kind == "integer":
        return f"{field.least} to {field.most}"
    if field.choices:
        return " or ".join(f"`{choice}`" for choice in field.choices)
    return f"{field.longest} characters"


def policy_checks() -> str:
    """Every check of the bundle that ships, with its message and its fix."""
    parts = [
        "What the bundle that ships (`policies/`) asks. A decision lists each check as passed or "
        "not; a refusal names each failed one with its message, the verifier's own sentence, and "
        "the mending command. Another bundle may have other checks.",
    ]
    for gate, situations, rows in reference_checks.gates():
        lines = "\n".join(f"- {when}: {', '.join(codes)}" for when, codes in situations)
        parts += [f"## {gate}\n\n{lines}", _table(("check", "looks at", "message", "fix"), rows)]
    parts += [
        "## The library\n\nRules of `promote`, `accept` and `alias`, off until `library` in "
        "`data.json` asks for them for some models, steps and risk tiers; "
        "`policies/config.schema.json` says how.",
        _table(("setting", "check", "looks at", "holds when", "fix"), reference_checks.library()),
        "## Warnings",
        _table(("code", "gate", "message"), reference_checks.warnings()),
        "## Approvals\n\nBefore a word is recorded, the registry itself looks at the duties.",
        _table(("check", "looks at", "message", "fix"), reference_checks.duties()),
        "## When there is no usable answer\n\nEach is a denial.",
        _table(("code", "meaning"), reference_checks.engine_codes()),
    ]
    return _page("Policy checks", "\n\n".join(parts))


def events() -> str:
    """Every act, what it means, and what its example says."""
    from mlflow_governance.core.event import Act
    from mlflow_governance.outbox.cloudevents import TYPE_PREFIX

    folder = ROOT / "webhooks" / "events"
    table = re.findall(
        r"^\| `([a-z.]+)` \| (.+) \|$", (folder / "README.md").read_text("utf-8"), re.M
    )
    meanings = {act: meaning for act, meaning in table if "." in act}
    rows = []
    for act in Act:
        example = folder / "examples" / f"{act.value}.json"
        if not example.is_file():
            raise LookupError(f"{act.value} has no example")
        link = f"[`{act.value}`](../../webhooks/events/examples/{example.name})"
        rows.append((link, meanings[act.value]))
    intro = (
        "Every act becomes a ledger entry and, if a webhook wants it, a CloudEvent of the type "
        f"`{TYPE_PREFIX}<act>`. `allowed: false` means: it was refused and nothing changed. "
        "[The contract](../../webhooks/events/README.md) and its schema stand beside the examples."
    )
    return _page("Events", f"{intro}\n\n" + _table(("act, with its example", "when"), rows))


def validation() -> str:
    """Every check of ``mlflow-governance validate`` by its code."""
    from mlflow_governance.workflows.validation.findings import CHECKS

    rows = [
        (f"`{code}`", check.severity.value, check.meaning, check.mend)
        for code, check in CHECKS.items()
    ]
    intro = (
        "What `mlflow-governance validate` looks for. Codes are stable. An error contradicts the "
        "ledger and ends with exit code 3; a warning is worth knowing and contradicts nothing."
    )
    table = _table(("code", "severity", "what is wrong", "where to mend it"), rows)
    return _page("Validation", f"{intro}\n\n{table}")


def errors() -> str:
    """The error tree with exit codes and HTTP statuses."""
    from mlflow_governance import errors as module

    kinds = [
        kind
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, module.GovernanceError)
    ]
    rows = [
        (
            "&nbsp;" * 4 * (len(kind.__mro__) - 4) + f"`{kind.__name__}`",
            f"`{kind.code}`",
            str(kind.exit_code),
            str(kind.http_status),
            _paragraph(kind),
        )
        for kind in kinds
    ]
    intro = (
        "A command ends with the exit code; the HTTP interface answers with the status and the "
        "code. The stock MLflow client sees the same status, except that 500 comes as 409: it "
        "would repeat a 500 for minutes and then lose the message. Each error carries advice."
    )
    table = _table(("error", "code", "exit", "HTTP", "meaning"), rows)
    return _page("Errors", f"{intro}\n\n{table}\n\nExit code 0 is success.")


def environment() -> str:
    """Every environment variable that the code reads or sets."""
    parts = []
    for heading, rows in reference_variables.sections(ROOT):
        parts.append(f"## {heading}\n\n{_table(('variable', 'meaning', 'where'), rows)}")
    return _page("Environment variables", "\n\n".join(parts))


def routes() -> str:
    """Every route the server knows, by what it reaches, with the gate that decides."""
    from mlflow_governance.plugin.route_table import GROUPS, Reach
    from mlflow_governance.web.mount import exact_routes

    told = _constants(Reach)
    parts = [
        "What a governed server serves: MLflow's routes from 3.14 to 3.18 and our own. A route "
        "that is not on this page is refused with HTTP 403 and named in the log, whether MLflow "
        "or a plugin added it, before the start or after. `*/` stands for `/api/` and "
        "`/ajax-api/`, `a|b` for either word; `HEAD` goes with `GET`. `QUERY` and `MUTATION` are "
        "fields of GraphQL, `MOUNT` is an application inside the server. `make compat` compares "
        "the page with each supported MLflow.",
    ]
    for reach in Reach:
        rows = [
            (group.about, group.gate, "<br>".join(f"`{line.strip()}`" for line in _lines(group)))
            for group in GROUPS
            if group.reach is reach
        ]
        parts += [f"## {reach}\n\n{told[reach.name]}", _table(("what", "gate", "routes"), rows)]
    own = "\n".join(f"- `{route.method} {route.path}`" for route in exact_routes())
    parts.append(f"## Ours\n\nThe [HTTP interface](rest.md) and the pages.\n\n{own}")
    return _page("Routes", "\n\n".join(parts))


def conformance() -> str:
    """Every vector of others, what its authors expect and what we say."""
    parts = [
        "The test vectors of the projects whose formats we read, as `tests/vectors/` holds them, "
        "verified when this page was written and by `tests/integration/test_conformance.py`. "
        "Nothing verifies that its authors call invalid. What is refused beyond that says why.",
    ]
    for heading, about, header, rows in reference_conformance.sections():
        parts.append(f"## {heading}\n\n{about}\n\n{_table(header, rows)}")
    return _page("Conformance", "\n\n".join(parts))


def _lines(group: Any) -> list[str]:
    return str(group.lines).strip().splitlines()


def _constants(kind: type[Any]) -> dict[str, str]:
    """The docstrings below the members of an enumeration."""
    found = re.findall(r'^    (\w+) = .+\n    """(.+)"""', inspect.getsource(kind), re.M)
    return dict(found)


PAGES: Mapping[str, Callable[[], str]] = {
    "commands.md": commands,
    "settings.md": settings,
    "rest.md": rest,
    "policy-checks.md": policy_checks,
    "events.md": events,
    "validation.md": validation,
    "errors.md": errors,
    "environment.md": environment,
    "routes.md": routes,
    "conformance.md": conformance,
    "../operations.md": operations,
}


def _page(title: str, body: str) -> str:
    return f"{_NOTE}\n\n# {title}\n\n{body}\n"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(_cell(text) for text in line) + " |" for line in lines)


def _cell(text: str) -> str:
    return _one_line(text).replace("|", "\\|")


def _one_line(text: str) -> str:
    return " ".join(text.split()).replace("``", "`")


def _arguments(kind: type[Any]) -> dict[str, str]:
    """The ``Args:`` section of a docstring."""
    section = inspect.cleandoc(kind.__doc__ or "").split("Args:\n")[1]
    found = re.findall(r"^    (\w+): (.+(?:\n {8}.+)*)", section, re.M)
    return {name: _one_line(text).replace("None is", "left out:") for name, text in found}


def _paragraph(kind: type[Any]) -> str:
    """A docstring's paragraphs before any section."""
    text = inspect.cleandoc(kind.__doc__ or "").split("\nArgs:")[0].split("\nRaises:")[0]
    return _one_line(text)


def _type(field: dataclasses.Field[Any]) -> str:
    names = {
        "Path | None": "path, relative to the home folder",
        "Path | str | None": "path, relative to the home folder, or address",
        "tuple[Digest, ...]": "list of digests",
        "OpaServer | None": "mapping, [below](#opa)",
        "Quorum | None": "`{count, roles}`",
        "tuple[Target, ...]": "list, [below](#an-entry-of-webhooks)",
        "Mapping[str, str]": "mapping of texts",
        "Budget | None": "mapping, [below](#policy_budget)",
        "LogOptions | None": "mapping, [below](#decision_log)",
        "CheckpointOptions | None": "mapping, [below](#checkpoints)",
        "StampOptions | None": "mapping of `url` and `chain`, a PEM file",
        "tuple[DestinationOptions, ...]": "list",
        "tuple[WitnessOptions, ...]": "list",
        "WitnessKey": "text: NAME+ID+KEY",
        "DownloadEntries": "text or mapping",
        "Holds": "mapping of `holds` and `keep_days`",
        "Retention": "mapping of `years`, `holds` and `events_days`",
        "tuple[MaskRule, ...]": "list",
        "Downloads | float": "text or share",
    }
    return names.get(str(field.type), str(field.type))


def _default(field: dataclasses.Field[Any]) -> str:
    if dataclasses.is_dataclass(field.default) or field.type in ("DownloadEntries", "Retention"):
        return ""  # its meaning says it
    if field.default_factory is not dataclasses.MISSING:
        return _json(field.default_factory())
    return "required" if field.default is dataclasses.MISSING else _json(field.default)


def _json(value: object) -> str:
    if value is None:
        return ""
    return f"`{json.dumps(list(value) if isinstance(value, tuple) else value, default=str)}`"


def main() -> None:
    """Write every page."""
    OUTPUT.mkdir(exist_ok=True)
    for name, page in PAGES.items():
        (OUTPUT / name).write_text(page(), "utf-8")
        print((OUTPUT / name).resolve().relative_to(ROOT))


if __name__ == "__main__":
    main()
