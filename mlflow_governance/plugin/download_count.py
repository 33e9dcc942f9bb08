"""Has the downloads a server permits counted into the ledger."""

from __future__ import annotations

import atexit
import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from mlflow_governance.workflows.download_count import DownloadCount

if TYPE_CHECKING:
    from mlflow_governance.config import Settings
    from mlflow_governance.core.decision import Decision
    from mlflow_governance.core.dossier import Dossier
    from mlflow_governance.workflows.ports import Ports

_log = logging.getLogger(__name__)


def counting_downloads(settings: Settings, ports: Ports) -> Ports:
    """The ports, counting permitted downloads where the settings ask for it."""
    options = settings.download_entries
    if not options.minutes and not options.sample:
        return ports
    count, also = DownloadCount(ports.store, options, ports.clock), ports.permitted

    def permitted(decision: Decision, dossier: Dossier) -> None:
        count(decision, dossier)
        also(decision, dossier)

    atexit.register(_flush, count)
    return replace(ports, permitted=permitted)


def _flush(count: DownloadCount) -> None:
    try:
        count.flush()
    except Exception as error:
        _log.warning("the last permitted downloads are not recorded: %s", error)
