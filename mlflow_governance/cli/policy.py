"""``policy``: write, check, test and try the bundle that decides about versions."""

from __future__ import annotations

import click

from mlflow_governance.cli.policy_check import check
from mlflow_governance.cli.policy_diff import diff
from mlflow_governance.cli.policy_eval import evaluate
from mlflow_governance.cli.policy_init import init
from mlflow_governance.cli.policy_test import test


@click.group()
def policy() -> None:
    """Write, check, test and try the policy bundle that decides about versions.

    \b
    Begin with one of your own:
      mlflow-governance policy init mine
      mlflow-governance policy check --bundle mine
      mlflow-governance policy test --bundle mine
      mlflow-governance policy eval accept --sample --bundle mine
    """


for _command in (init, check, test, evaluate, diff):
    policy.add_command(_command)
