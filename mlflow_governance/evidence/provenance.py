"""Where a model comes from: SLSA provenance v1.

Data sets are the resolved dependencies whose ``uri`` is :data:`DATASET_URI` and a digest; the
source is the one dependency with a ``gitCommit`` (in-toto DigestSet).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from mlflow_governance.errors import VerificationError
from mlflow_governance.evidence import dataset, instant
from mlflow_governance.evidence.attestation import (
    DATASET,
    SLSA_PROVENANCE,
    Purpose,
    VerifiedStatement,
    find_statements,
)
from mlflow_governance.evidence.interface import Case, Kind

DATASET_URI = "urn:mlflow-governance:dataset:"
_MAX_TEXT = 1024


class ProvenanceVerifier:
    """Proves who built the model, and how.

    Facts: ``builder_id``, ``build_type``, ``invocation_id`` (empty when not given), ``signers``
    (names), ``resolved_dependencies`` (how many), ``datasets`` (``[{name, digest}]``, sorted),
    ``source`` (``{uri, commit}``; null unless exactly one commit is named), ``finished_at``
    (``metadata.finishedOn``; null where it does not say; of several statements the instant since
    which as many tell it as a threshold asks for) and the same as ``at``, as in other kinds.
    """

    kind = Kind.PROVENANCE

    def verify(self, case: Case) -> Mapping[str, Any]:
        """The facts of the provenance; several statements must tell the same story.

        Raises:
            EvidenceMissing: there is no provenance.
            VerificationError: none counts, they contradict each other, or they name data that
                the dataset statements keep quiet about.
        """
        found = find_statements(case, SLSA_PROVENANCE)
        stories = [_story(entry.statement.predicate) for entry in found]
        if any(story != stories[0] for story in stories):
            files = ", ".join(entry.item_name for entry in found)
            raise VerificationError(f"the provenance statements contradict each other: {files}")
        _check_datasets(case, stories[0]["datasets"])
        finished = [(_finished(case, entry), entry.signers) for entry in found]
        at = instant.text(instant.since(case, Purpose.PROVENANCE, finished))
        return {
            **stories[0],
            "signers": sorted({name for entry in found for name in entry.signers}),
            "finished_at": at,
            "at": at,
        }


def _finished(case: Case, entry: VerifiedStatement) -> datetime | None:
    details = entry.statement.predicate["runDetails"]
    return instant.of(entry, details.get("metadata", {}).get("finishedOn"), case.now)


def _story(body: Mapping[str, Any]) -> dict[str, Any]:
    definition, details = body["buildDefinition"], body["runDetails"]
    dependencies = definition.get("resolvedDependencies", [])
    return {
        "builder_id": details["builder"]["id"],
        "build_type": definition["buildType"],
        "invocation_id": details.get("metadata", {}).get("invocationId", ""),
        "resolved_dependencies": len(dependencies),
        "datasets": [
            {"name": name, "digest": digest}
            for name, digest in sorted(set(_datasets(dependencies)))
        ],
        "source": _source(dependencies),
    }


def _datasets(dependencies: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """Name and digest of each data set.

    Raises:
        VerificationError: its ``uri`` and its ``digest`` name different bytes.
    """
    for entry in dependencies:
        uri = entry.get("uri", "")
        if not uri.startswith(DATASET_URI):
            continue
        value = uri.removeprefix(DATASET_URI)
        sha256 = entry.get("digest", {}).get("sha256")
        if sha256 is not None and value != f"sha256:{sha256}":
            raise VerificationError(f"the provenance names a data set by two digests: {uri[:120]}")
        yield entry.get("name", "")[:_MAX_TEXT], value[:_MAX_TEXT]


def _source(dependencies: list[dict[str, Any]]) -> dict[str, str] | None:
    commits = {
        (entry.get("uri", "")[:_MAX_TEXT], entry["digest"]["gitCommit"][:_MAX_TEXT])
        for entry in dependencies
        if "gitCommit" in entry.get("digest", {})
    }
    if len(commits) != 1:
        return None
    ((uri, commit),) = commits
    return {"uri": uri, "commit": commit}


def _check_datasets(case: Case, named: list[dict[str, str]]) -> None:
    """Hold the dataset statements to the provenance: data it names may not be left out of them.

    Otherwise a statement without the personal data would satisfy a policy about personal data.
    Statements that do not verify are the business of the dataset verifier.
    """
    if not named:
        return
    try:
        attested = dataset.digests(find_statements(case, DATASET))
    except VerificationError:  # EvidenceMissing among them
        return
    for entry in named:
        if entry["digest"] not in attested:
            raise VerificationError(
                f"the dataset statements leave out {entry['name'][:120]!r} ({entry['digest']}), "
                "which the provenance names",
                advice="Submit the model again: mlflow-governance submit MODEL_URI",
            )
