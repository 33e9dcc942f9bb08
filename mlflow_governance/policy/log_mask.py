"""The bundle's own say in what the decision log must not hold: the rule ``registry.log.mask``.

Its input is the record, as OPA gives it to ``data.system.log.mask``; that package lies outside the
roots of this registry's bundles.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from mlflow_governance.core import canonical
from mlflow_governance.core.digest import Digest
from mlflow_governance.policy.interface import PolicyEngine

MASK_RULE = "registry.log.mask"
_PACKAGE = re.compile(rb"^[ \t]*package[ \t]+registry\.log\s", re.MULTILINE)


class LogMask:
    """Asks the bundle in force for the masks of a record.

    Args:
        current: the engine and the files of the bundle in force.
    """

    def __init__(self, current: Callable[[], tuple[PolicyEngine, Mapping[str, bytes]]]) -> None:
        self._current = current
        self._known: tuple[Digest, bool] | None = None

    def __call__(self, record: Mapping[str, Any]) -> object:
        """The value of the rule; an empty list where the bundle has none.

        Raises:
            EngineError: the rule gives no answer.
            InvalidRequest: the record has no canonical form.
        """
        engine, files = self._current()
        known = self._known
        if known is None or known[0] != engine.policy_digest:
            known = self._known = engine.policy_digest, has_mask(files)
        return engine.query(MASK_RULE, canonical.encode(record)) if known[1] else []


def has_mask(files: Mapping[str, bytes]) -> bool:
    """Whether a bundle has a package for its masks."""
    return any(map(_PACKAGE.search, files.values()))
