"""The worker's own verification of the ledger, so that nobody has to remember to ask for it.

A process proves the entries it reads, and misses those it has seen before. An entry that somebody
files under another version, or takes away, before a process ever saw it, is missed by whoever reads
the whole ledger alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from mlflow_governance.errors import LedgerError
from mlflow_governance.ledger.merkle import CompactRange
from mlflow_governance.store.ledger_scan import Reading
from mlflow_governance.workflows.ports import Ports
from mlflow_governance.workflows.proven import alarm


class LedgerWatch:
    """Verifies the ledger and tells of what does not hold. For one thread.

    Args:
        ports: everything a workflow needs.
        verify: verifies the whole ledger as a reading says, or raises a LedgerError.
        pause: called with the seconds that a part took to read: others want the processor, too.
    """

    def __init__(
        self,
        ports: Ports,
        verify: Callable[[Reading], object],
        pause: Callable[[float], object],
    ) -> None:
        self._ports, self._verify, self._pause = ports, verify, pause
        self._since = 0.0

    def look(self) -> str:
        """Verify all of it; returns what does not hold, and nothing where all does."""
        self._since = time.monotonic()
        try:
            self._verify(Reading(processes=1, watch=self._rest))
        except LedgerError as error:
            alarm(self._ports, {}, error.message)
            return error.message
        return ""

    def _rest(self, _: CompactRange, size: int) -> None:
        self._pause(time.monotonic() - self._since)
        self._since = time.monotonic()
