"""Submission: from a finished MLflow run to a registered version with its evidence."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mlflow_governance.core import canonical, digest, moment
from mlflow_governance.core.digest import Digest
from mlflow_governance.core.manifest import Manifest
from mlflow_governance.core.model_ref import VersionRef, check_name
from mlflow_governance.errors import InvalidRequest
from mlflow_governance.evidence.attestation import (
    CYCLONEDX,
    DATASET,
    SLSA_PROVENANCE,
    TEST_RESULT,
    statement,
)
from mlflow_governance.evidence.hashing import directory_size, hash_directory
from mlflow_governance.evidence.keys import open_key
from mlflow_governance.evidence.sbom import check_document
from mlflow_governance.evidence.signature import MANIFEST_ITEM, manifest_file
from mlflow_governance.submission import source as sources
from mlflow_governance.submission import statements
from mlflow_governance.submission.bom import Described, dataset_ref, ml_bom
from mlflow_governance.submission.brought import BroughtBom, read_sbom
from mlflow_governance.submission.card import (
    AuthorCard,
    html,
    markdown,
    model_card,
    purl,
    read_card,
    with_author,
)
from mlflow_governance.submission.environment import (
    BaseModel,
    Environment,
    read_environment,
)
from mlflow_governance.submission.facts import Facts, read
from mlflow_governance.submission.layout import read_layout
from mlflow_governance.submission.seal import KeySeal, Seal

Progress = Callable[[int, int], None]
"""Told how many more bytes were hashed, and how many there are."""


@dataclass(frozen=True)
class SubmitOptions:
    """What a submission may bring along.

    Args:
        model_card: the author's ``model_card.yaml``.
        test_result: a report, JSON ``{"result": "PASSED"}`` or JUnit XML.
        test_key: who signs the report, a key file or reference; default: who signs the model.
        sbom: another tool's SBOM, CycloneDX or SPDX, in the place of the running environment.
        layout: folder with an in-toto layout and the links of its steps.
        datasets: data files, named by their SHA-256, besides those logged with the run.
        builder_id: who built the model, for provenance; default: this user and host.
        password: of an encrypted key, or the PIN of a token.
        register: register the model, or have it judged when it is registered already.
        progress: told as bytes are hashed.
    """

    model_card: Path | None = None
    test_result: Path | None = None
    test_key: str | Path | None = None
    sbom: Path | None = None
    layout: Path | None = None
    datasets: tuple[Path, ...] = ()
    builder_id: str = ""
    password: bytes | None = None
    register: bool = True
    progress: Progress | None = None


@dataclass(frozen=True)
class Submission:
    """What was submitted; ``version`` and ``stage`` are None when nothing was registered.

    ``warnings`` are the registry's, as lines; they deny nothing now.
    """

    model_digest: Digest
    files: tuple[str, ...]
    version: VersionRef | None = None
    stage: str | None = None
    warnings: str = ""


def submit(
    model_uri: str,
    *,
    key: Path | str | Seal,
    name: str | None = None,
    options: SubmitOptions | None = None,
) -> Submission:
    """Sign, describe, attach and register a model.

    Steps: find the model and fetch it into a private folder; hash it; sign it; write the
    statements about it; upload them beside the model with the stock client; register it, which
    judges it.

    Args:
        model_uri: ``runs:/RUN/model``, ``models:/m-ID``, or ``models:/NAME/VERSION``.
        key: what signs the model and the statements: a key file, a reference to a key such as
            ``awskms:alias/models``, or a seal (a key with certificates, an identity).
        name: the registered model; needed unless the URI names one.
        options: everything else.

    Raises:
        InvalidRequest: the URI, name or a file given is not usable.
        NotFound: MLflow does not know the model.
        VerificationError: the model's files cannot be hashed.
        Denied: the registry refused the upload, or did not accept the version; it is registered
            and has its evidence then, and the message says why.
    """
    chosen = options or SubmitOptions()
    seal = _seal(key, chosen.password) if isinstance(key, str | Path) else key
    tester = _seal(chosen.test_key, chosen.password) if chosen.test_key else seal
    layout = read_layout(chosen.layout) if chosen.layout else {}
    card = read_card(chosen.model_card)
    brought = read_sbom(chosen.sbom) if chosen.sbom else None
    source = sources.resolve(model_uri)
    model_name = name or (source.registered.name if source.registered else "")
    if not model_name:
        raise InvalidRequest("the model needs a name", advice="Give one: --name churn")
    check_name(model_name)
    with tempfile.TemporaryDirectory(prefix="mlflow-governance-") as temporary:
        folder = sources.download(source, Path(temporary))
        manifest = _hash(folder, chosen.progress)
        facts = read(source, folder)
        environment = read_environment(folder)
        extra = tuple(statements.dataset_file(path) for path in chosen.datasets)
        facts = replace(facts, datasets=(*facts.datasets, *extra))
        facts = with_author(facts, card)
        writer = _Writer(manifest, model_name, Path(temporary) / "evidence", seal)
        writer.model()
        writer.statement("provenance", SLSA_PROVENANCE, statements.provenance(
            facts, model_name, chosen.builder_id))  # fmt: skip
        writer.described(card, facts, environment, brought)
        if facts.datasets:
            writer.statement("dataset", DATASET, _dated(statements.datasets(facts.datasets)))
        if chosen.test_result:
            body = statements.test_result(chosen.test_result)
            writer.statement("test-result", TEST_RESULT, _dated(body), tester)
        writer.copies(layout)
        sources.upload(source, writer.folder)
    submission = Submission(manifest.digest, tuple(writer.files))
    return _registered(submission, source, model_name) if chosen.register else submission


def _seal(key: str | Path, password: bytes | None) -> Seal:
    return KeySeal(open_key(key, password))


def _hash(folder: Path, progress: Progress | None) -> Manifest:
    if progress is None:
        return hash_directory(folder, private=True)
    total = directory_size(folder)
    return hash_directory(folder, progress=lambda count: progress(count, total), private=True)


def _registered(submission: Submission, source: sources.Source, name: str) -> Submission:
    ref = source.registered
    if ref is None:
        ref = sources.register(source, name)
        stage = sources.accepted(ref)
    else:
        if sources.stage_of(ref) == "None":
            sources.ask_for_candidate(ref)
        stage = sources.stage_of(ref)
    told = sources.warnings_about(ref)
    return replace(submission, version=ref, stage=stage, warnings=told)


class _Writer:
    """Writes evidence files about one model."""

    def __init__(self, manifest: Manifest, name: str, folder: Path, seal: Seal) -> None:
        self.manifest = manifest
        self.name = name
        self.folder = folder
        self.files: list[str] = []
        self._seal = seal

    def model(self) -> None:
        """The manifest, whose SHA-256 is the model's digest, and the signature."""
        self._write(MANIFEST_ITEM, manifest_file(self.manifest))
        self._write("model.sig", self._seal.model(self.manifest, self.name))

    def copies(self, files: Mapping[str, bytes]) -> None:
        """Files others signed."""
        for name, data in files.items():
            self._write(name, data)

    def statement(
        self, file: str, kind: str, body: Mapping[str, Any], seal: Seal | None = None
    ) -> None:
        """A signed in-toto Statement."""
        self._write(
            f"attestations/{file}.intoto.json",
            signed_statement(self.name, self.manifest.digest, kind, body, seal or self._seal),
        )

    def described(
        self, card: AuthorCard, facts: Facts, environment: Environment, brought: BroughtBom | None
    ) -> None:
        """The model card for people, and the ML-BOM that holds it, signed."""
        text = markdown(self.name, self.manifest.digest, card, facts).encode()
        page = html(self.name, self.manifest.digest, card, facts).encode()
        self._write("model_card.md", text)
        self._write("model_card.html", page)
        refs = [dataset_ref(index) for index in range(len(facts.datasets))]
        described = Described(
            name=self.name,
            digest=self.manifest.digest,
            card=model_card(card, facts, refs),
            card_digest=digest.of_bytes(text),
            page_digest=digest.of_bytes(page),
            owner=card.owner,
            risk_tier=card.risk_tier,
            licence=card.licence,
            base_models=tuple(_base_models(card)),
            data_licences={use.name: use.licence for use in card.data if use.licence},
        )
        if brought:  # which lists what the model runs with
            environment = Environment(base_models=environment.base_models)
        document = ml_bom(described, facts, moment.now(), environment)
        document = brought.into(document) if brought else document
        check_document(document)
        self._write("sbom.cdx.json", _readable(document))
        self.statement("sbom", CYCLONEDX, document)

    def _write(self, name: str, data: bytes) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        self.files.append(name)


def _dated(body: Mapping[str, Any]) -> dict[str, Any]:
    """With when it is said, for a policy that asks how old evidence is."""
    return {**body, "at": moment.to_text(moment.now())}


def _base_models(card: AuthorCard) -> Iterator[BaseModel]:
    terms = {entry.name: entry for entry in card.base_model_terms}
    for name in card.base_models:
        said = terms.get(name)
        licence, use = (said.licence, said.use) if said else ("", "")
        yield BaseModel(purl(name), licence, use or "fine-tuning")


def signed_statement(
    name: str, subject: Digest, kind: str, body: Mapping[str, Any], seal: Seal
) -> bytes:
    """A DSSE envelope, or a bundle with one, around a Statement about a model."""
    return seal.statement(canonical.encode(statement(name, subject, kind, body)))


def _readable(document: object) -> bytes:
    return json.dumps(document, indent=1, sort_keys=True).encode()
