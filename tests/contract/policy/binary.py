"""The real opa, where there is one."""

from __future__ import annotations

import subprocess

import pytest

from mlflow_governance.policy.opa_process import find_binary

OPA = str(find_binary() or "")

needs_opa = pytest.mark.skipif(
    not OPA, reason="no opa binary on PATH, in $OPA or at .tools/bin/opa"
)


def run(*arguments: str, **options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [OPA, *arguments], capture_output=True, text=True, check=False, timeout=60, **options
    )
