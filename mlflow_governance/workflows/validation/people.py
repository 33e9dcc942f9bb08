"""Names and reasons behind the ledger's commitments, and the erasures that took some of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby, islice
from operator import itemgetter

from mlflow_governance.core import canonical
from mlflow_governance.ledger.entry import commitments_of, opens
from mlflow_governance.ledger.redaction import commit
from mlflow_governance.workflows.validation.books import Books, Scene
from mlflow_governance.workflows.validation.findings import Finding, each, found

_BATCH = 2000


def check_private(scene: Scene, books: Books) -> Iterator[Finding]:
    """What stands behind each commitment: VAL-080 and VAL-081."""
    entries = iter(books.entries(0, scene.told.size))
    while batch := list(islice(entries, _BATCH)):
        yield from each([batch], lambda rows: _behind(books, rows), lambda r: f"entry {r[0][0]}")


def _behind(books: Books, rows: Iterable[tuple[int, bytes]]) -> Iterator[Finding]:
    said: dict[str, tuple[int, str]] = {}
    for index, data in rows:
        document = canonical.decode_object(data)
        said |= {one: (index, name) for name, one in commitments_of(document).items()}
    behind = books.private(said)
    for commitment, (index, what) in said.items():
        known = behind.get(commitment)
        subject = f"entry {index}:{what}"
        if known is None:
            yield found("VAL-080", subject, None, commitment)
        elif known[0] and not opens(commitment, *known):
            yield found("VAL-081", subject, "another text", commitment)


def check_erasures(scene: Scene, books: Books) -> Iterator[Finding]:
    """What stands as erased, erasure by erasure: VAL-082."""
    told = dict(scene.told.erasures)
    for index, rows in groupby(books.redactions(), key=itemgetter(0)):
        if index >= scene.told.size:
            continue  # recorded since
        really, record = commit(pair for _, pair in rows), told.pop(index, None)
        if really != record:
            yield found("VAL-082", f"erasure {index}", really, record or "no erasure")
    nothing = commit(())
    for index, record in told.items():
        if record != nothing:
            yield found("VAL-082", f"erasure {index}", None, record)
