"""Connects the decision log to a store: the relay of the worker, the downloads of a server."""

from __future__ import annotations

import atexit
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from mlflow_governance.bootstrap import decision_recorder

if TYPE_CHECKING:
    from mlflow_governance.config import Settings
    from mlflow_governance.outbox.decision_event import Recorder
    from mlflow_governance.outbox.decision_log import DecisionRelay
    from mlflow_governance.policy.interface import PolicyEngine
    from mlflow_governance.workflows.ports import Ports
    from mlflow_governance.workflows.queue import DecisionFeed

_LAST_SECONDS = 2.0
"""How long a server that ends waits for the sinks."""


def decision_relay(
    settings: Settings, ports: Ports, feed: DecisionFeed | None
) -> DecisionRelay | None:
    """What takes recorded decisions to the sinks; None where no log is kept.

    Raises:
        ConfigurationError: a secret of the log is not usable.
    """
    from mlflow_governance.outbox.decision_log import DecisionRelay
    from mlflow_governance.outbox.log_sinks import sinks_of

    options = settings.decision_log
    if options is None or feed is None:
        return None
    return DecisionRelay(feed, sinks_of(options), _recorder(settings, ports), options.downloads)


def logging_downloads(settings: Settings, ports: Ports, feed: DecisionFeed) -> Ports:
    """The ports, telling the log of permitted downloads where the settings ask for them.

    Raises:
        ConfigurationError: a secret of the log is not usable.
    """
    from mlflow_governance.outbox.decision_log import DownloadLog
    from mlflow_governance.outbox.log_sinks import sinks_of

    options = settings.decision_log
    if options is None or options.share == 0:
        return ports
    log = DownloadLog(sinks_of(options), _recorder(settings, ports), options.share, feed.lost)
    atexit.register(log.flush, _LAST_SECONDS)
    return replace(ports, permitted=log)


def _recorder(settings: Settings, ports: Ports) -> Recorder:
    def current() -> tuple[PolicyEngine, Mapping[str, bytes]]:
        policy = ports.policy.current()
        return policy.engine, policy.bundle.files

    return decision_recorder(settings, current)
