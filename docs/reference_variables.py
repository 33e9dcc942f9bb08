"""What docs/reference.py says about environment variables.

The meanings stand here; which variables there are, and where, is read from the source. Either
list lacking one of the other is an error.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

_VARIABLE = re.compile(r"_?MLFLOW_[A-Z_]+[A-Z]")
_SOURCES = ("mlflow_governance", "webhooks")

# Names MLflow imports as objects rather than reads as text are its own business.
_SECTIONS: dict[str, dict[str, str]] = {
    "A server and its worker": {
        "MLFLOW_GOVERNANCE_HOME": "the home folder, where `--home` is not given; "
        "default `./.mlflow-governance`",
        "MLFLOW_GOVERNANCE_AUTH": "`basic` or `none`; overrides `auth` of config.yaml",
        "MLFLOW_GOVERNANCE_REGISTRY_URI": "`governance+<database URI>` for `worker`",
        "MLFLOW_AUTH_ADMIN_PASSWORD": "password of the first administrator; when it is not set, "
        "the first start makes one in `keys/admin.password`",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "MLflow's own; set to `false` unless you set it",
    },
    "Commands that ask a server": {
        "MLFLOW_TRACKING_URI": "the server, http or https",
        "MLFLOW_TRACKING_USERNAME": "who asks",
        "MLFLOW_TRACKING_PASSWORD": "their password",
        "MLFLOW_TRACKING_TOKEN": "a bearer token, used when there is no user and password",
        "MLFLOW_TRACKING_SERVER_CERT_PATH": "PEM file of the authorities to trust",
        "MLFLOW_TRACKING_CLIENT_CERT_PATH": "a client certificate with its key, PEM",
        "MLFLOW_TRACKING_INSECURE_TLS": "`true` checks no certificate; only for a test",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "seconds to wait for an answer; default 120",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "MLflow's own; commands whose output is no "
        "terminal set it to `false`, unless you set it",
    },
    "Commands that sign (`submit`, `attest`)": {
        "MLFLOW_GOVERNANCE_PIN": "the PIN of a token, where neither `?pin-source=FILE` nor "
        "`--password` gives it",
    },
    "Where models are loaded (`guard`, `load_model`, `models:/` in plain MLflow)": {
        "MLFLOW_GOVERNANCE_TRUST": "the trust policy, from `mlflow-governance trust export`; set, "
        "plain MLflow verifies every `models:/NAME/…` it loads; `guard` needs it",
        "MLFLOW_GOVERNANCE_CACHE": "verified copies; a folder of this user alone; default "
        "`$XDG_CACHE_HOME/mlflow-governance/models`",
        "MLFLOW_GOVERNANCE_OFFLINE": "`true`: reach for no server, use the last verified copy",
        "MLFLOW_GOVERNANCE_REVOCATIONS": "URL or file of the revocation list; default: the server",
        "MLFLOW_GOVERNANCE_POLICY_DIGESTS": "policies whose word counts, separated by commas; "
        "default: what the server says",
        "MLFLOW_GOVERNANCE_REQUIRE": "what must verify, separated by commas: `signature`, "
        "`provenance`, `verification-summary`; default all, and the summary alone is the "
        "registry's word; the revocation list is never optional",
        "MLFLOW_REGISTRY_URI": "asked before `MLFLOW_TRACKING_URI` when it is http or https",
    },
    "The webhook receiver (`python -m webhooks.receiver`)": {
        "MLFLOW_GOVERNANCE_WEBHOOK_SECRET": "`whsec_…`, as in the registry's webhook target",
        "MLFLOW_WEBHOOK_SECRET": "the secret given to MLflow's own webhook",
    },
    "Set by `mlflow-governance server` for its processes": {
        "MLFLOW_AUTH_CONFIG_PATH": "`basic_auth.ini` in the home folder",
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "from `keys/flask.key`",
        "MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY": "from `keys/webhook_encryption.key`",
        "_MLFLOW_SERVER_ARTIFACT_DESTINATION": "the guarded artifact destination",
        "_MLFLOW_SERVER_SERVE_ARTIFACTS": "`true`: every artifact is proxied",
        "_MLFLOW_SERVER_ARTIFACT_ROOT": "MLflow's default artifact root; `validate` sets it as "
        "the server does",
        "_MLFLOW_SERVER_FILE_STORE": "MLflow's database; `validate` sets it as the server does",
        "_MLFLOW_SERVER_REGISTRY_STORE": "set by MLflow: tells a governed server's process from a "
        "client's",
        "_MLFLOW_AUTH_ADMIN_BOOTSTRAPPED": "MLflow's own since 3.15: the first administrator is "
        "there",
        "_MLFLOW_SERVER_READ_REPLICA_BACKEND_STORE": "MLflow's read replica, passed on to it; "
        "governance reads from the primary only",
    },
}


def sections(root: Path) -> Iterator[tuple[str, list[tuple[str, str, str]]]]:
    """Each heading with rows ``(variable, meaning, modules that name it)``.

    Raises:
        LookupError: the code has a variable nobody explained, or lacks one that is explained.
    """
    used = _used(root)
    told = {name for section in _SECTIONS.values() for name in section}
    if told != set(used):
        unknown, idle = sorted(set(used) - told), sorted(told - set(used))
        raise LookupError(f"not explained: {unknown}; not in the code: {idle}")
    for heading, section in _SECTIONS.items():
        rows = [
            (f"`{name}`", meaning, ", ".join(f"`{m}`" for m in used[name]))
            for name, meaning in section.items()
        ]
        yield heading, rows


def _used(root: Path) -> dict[str, list[str]]:
    found: dict[str, set[str]] = {}
    for source in _SOURCES:
        for path in sorted((root / source).rglob("*.py")):
            module = ".".join(path.relative_to(root).with_suffix("").parts)
            for name in _names(path):
                found.setdefault(name, set()).add(module)
    return {name: sorted(modules) for name, modules in found.items()}


def _names(path: Path) -> Iterator[str]:
    # A text that is exactly a variable's name; messages and docstrings mention them in sentences.
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and _VARIABLE.fullmatch(node.value)
        ):
            yield node.value
