"""Rows about contents and about the registry itself: what was read in files, what is in force."""

from __future__ import annotations

import sqlalchemy as sa

from mlflow_governance.core import canonical
from mlflow_governance.core.digest import Digest
from mlflow_governance.evidence.inspection import Inspection
from mlflow_governance.store.documents import DocumentWriting
from mlflow_governance.store.tables import in_force, inspections
from mlflow_governance.store.versions import Rows

# Built once: it is asked with every artifact that is handed out.
_IN_FORCE = sa.select(in_force.c.what, in_force.c.digest)


class InspectionReading(Rows):
    """Reads inspections and what is in force."""

    def inspection(self, digest: Digest) -> Inspection | None:
        """What reading the files of this content found.

        Raises:
            VerificationError: the stored record is malformed.
        """
        query = sa.select(inspections.c.document).where(inspections.c.digest == digest)
        data = self._connection.execute(query).scalar()
        return None if data is None else Inspection.from_document(canonical.decode_object(data))

    def in_force(self, what: str) -> Digest | None:
        """The digest of what was last recorded as in force."""
        if self._forced is None:  # both are asked for in every transition
            found = self._connection.execute(_IN_FORCE)
            self._forced = {row.what: row.digest for row in found}
        return self._forced.get(what)


class InspectionWriting(InspectionReading, DocumentWriting):
    """Writes them. Writers take turns, so taking away and putting in cannot collide."""

    def add_inspection(self, digest: Digest, inspection: Inspection) -> None:
        """Keep what reading the files of a content found, instead of what was known before."""
        self._connection.execute(sa.delete(inspections).where(inspections.c.digest == digest))
        row = {"digest": digest, "document": canonical.encode(inspection.to_document())}
        self._connection.execute(sa.insert(inspections), row)

    def put_in_force(self, what: str, digest: Digest, document: bytes) -> None:
        """Note what is in force now, and keep the document by its own digest."""
        self._forced = None
        self._connection.execute(sa.delete(in_force).where(in_force.c.what == what))
        self._connection.execute(sa.insert(in_force), {"what": what, "digest": digest})
        self._store([document])
