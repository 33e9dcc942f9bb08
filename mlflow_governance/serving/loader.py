"""Loading a model that has verified, and nothing else."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mlflow_governance.core.stage import Stage
from mlflow_governance.errors import InvalidRequest
from mlflow_governance.serving.settings import Requirement, ServingSettings
from mlflow_governance.serving.verify import Connections, Verified, verify

_log = logging.getLogger(__name__)


def load_model(
    uri: str,
    *,
    flavor: str = "pyfunc",
    settings: ServingSettings | None = None,
    connections: Connections | None = None,
    **kwargs: Any,
) -> Any:
    """Verify a model and load the verified copy; ``mlflow.<flavor>.load_model`` otherwise.

    Args:
        uri: ``models:/NAME/VERSION``, ``/STAGE``, ``/latest`` or ``models:/NAME@ALIAS``.
        flavor: the MLflow flavor, ``sklearn`` for example.
        settings: by default :meth:`ServingSettings.from_env`.
        connections: the world outside; by default the real one.
        kwargs: passed to MLflow, ``dst_path`` excepted: it would load from another copy.

    Raises:
        VerificationError: it does not verify; no byte of it was loaded.
        InvalidRequest: no registered version, no such flavor, or ``dst_path``.
    """
    if "dst_path" in kwargs:
        raise InvalidRequest(
            "dst_path would load another copy than the verified one", advice="Leave it out."
        )
    load = _loader(flavor)
    verified = verify(uri, settings or ServingSettings.from_env(), connections)
    warn_if_deprecated(verified)
    with _without_bytecode():
        return load(str(verified.path), **kwargs)


def warn_if_deprecated(verified: Verified) -> None:
    """Log a warning when the version is at Deprecated: it is still loaded, but not for long."""
    summary = verified.facts.get(Requirement.SUMMARY.value, {})
    if summary.get("stage") == Stage.DEPRECATED.value:
        _log.warning(
            "models:/%s/%s is deprecated; move to another version",
            verified.name,
            verified.version,
        )


def _loader(flavor: str) -> Any:
    import importlib

    if re.fullmatch(r"[a-z][a-z0-9_]{0,40}", flavor):
        try:
            load = getattr(importlib.import_module(f"mlflow.{flavor}"), "load_model", None)
        except ImportError as error:
            raise InvalidRequest(f"the MLflow flavor {flavor} cannot be used: {error}") from error
        if load is not None:
            return load
    raise InvalidRequest(f"MLflow has no flavor {flavor[:40]!r}")


@contextmanager
def _without_bytecode() -> Iterator[None]:
    # Code shipped with the model is imported from the copy. For root the copy is not read-only,
    # and a __pycache__ in it would be a file nobody signed.
    before = sys.dont_write_bytecode
    sys.dont_write_bytecode = True
    try:
        yield
    finally:
        sys.dont_write_bytecode = before
