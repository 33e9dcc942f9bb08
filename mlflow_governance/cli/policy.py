"""``policy``: write, check, test and try the policy bundle, and put it into force."""

from __future__ import annotations

import click

from mlflow_governance.cli import policy_bundle, policy_change
from mlflow_governance.cli.explain import explain_command
from mlflow_governance.cli.policy_check import check
from mlflow_governance.cli.policy_diff import diff
from mlflow_governance.cli.policy_differences import differences
from mlflow_governance.cli.policy_eval import evaluate
from mlflow_governance.cli.policy_init import init
from mlflow_governance.cli.policy_log import log
from mlflow_governance.cli.policy_rates import rates
from mlflow_governance.cli.policy_replay import replay
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

    \b
    Before it comes into force, and after:
      mlflow-governance policy replay --bundle mine --since 90d     who would be denied
      mlflow-governance policy propose --bundle mine --reason WHY   where others must approve
      mlflow-governance policy status                               what is in force
      mlflow-governance explain DECISION                            why, and made again
    """


_WRITING = (init, check, test, evaluate, diff)
_LOOKING_BACK = (replay, explain_command, rates, differences, log)
for _command in (*_WRITING, *policy_bundle.COMMANDS, *policy_change.COMMANDS, *_LOOKING_BACK):
    policy.add_command(_command)
