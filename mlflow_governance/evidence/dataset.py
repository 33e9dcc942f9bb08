"""The data the model was made from, by digest.

One place is believed: a signed statement of the type ``urn:mlflow-governance:dataset:v1`` with
the predicate ``{datasets: [{name, digest, source, profile?}]}``. A digest is
``sha256:<64 hex>`` over the bytes, or ``mlflow:<digest>`` as MLflow computed it, which is short
and made from a sample; policy can tell them apart. ``attestations/predicates/`` has the schema.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlflow_governance.evidence import attestation
from mlflow_governance.evidence.attestation import DATASET
from mlflow_governance.evidence.interface import Case, Kind


class DatasetVerifier:
    """Proves which datasets a trusted signer says the model was made from.

    Facts: ``{datasets: [{name, digest}]}``, sorted; statements of several signers are joined.
    """

    kind = Kind.DATASET

    def verify(self, case: Case) -> Mapping[str, Any]:
        """The datasets attested.

        Raises:
            EvidenceMissing: there is no dataset statement.
            VerificationError: none counts.
        """
        pairs = {
            (entry["name"], entry["digest"])
            for found in attestation.find_statements(case, DATASET)
            for entry in found.statement.predicate["datasets"]
        }
        return {"datasets": [{"name": name, "digest": value} for name, value in sorted(pairs)]}
