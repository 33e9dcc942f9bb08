"""What was taken in of advisories, as a ledger entry: they decide what is let through."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlflow_governance.cli.operation import open_store, operator
from mlflow_governance.core import moment
from mlflow_governance.core.event import Act, Event

if TYPE_CHECKING:
    from mlflow_governance.config import Settings
    from mlflow_governance.evidence.advisory_index import Source
    from mlflow_governance.evidence.advisory_update import Change, Offer

Record = Callable[[Mapping[str, "Change"]], None]


@contextmanager
def recording(settings: Settings, url: str, offer: Offer, *, force: bool) -> Iterator[Record]:
    """Yields what records an update. Nothing is begun while the ledger cannot be written.

    Raises:
        GovernanceError: the ledger's key or the database is not usable.
    """
    store = open_store(settings, url)
    with store.begin():
        """Our turn came, so the database takes writes."""

    def record(changes: Mapping[str, Change]) -> None:
        with store.begin() as uow:
            uow.record(
                Event(
                    act=Act.ADVISORIES_CHANGED,
                    person=operator().person,
                    at=moment.now(),
                    before={name: _source(change.before) for name, change in changes.items()},
                    after={name: _source(change.after) for name, change in changes.items()},
                    facts={"files": _files(offer), "forced": force},
                )
            )

    yield record


def _source(source: Source) -> dict[str, Any]:
    newest = moment.to_text(source.newest) if source.newest else None
    return {"count": source.count, "newest": newest}


def _files(offer: Offer) -> dict[str, str | None]:
    given = {"advisories": offer.archive, "kev": offer.kev, "epss": offer.epss}
    return {name: _digest(path) for name, path in given.items() if path is not None}


def _digest(path: Path) -> str | None:
    if not path.is_file():  # a folder of documents has no bytes of its own
        return None
    with path.open("rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()
