"""Where a model's bytes are, and how evidence gets beside them, through the stock client."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlflow_governance.core.model_ref import VersionRef
from mlflow_governance.errors import Denied, GovernanceError, InvalidRequest, NotFound, Unavailable

if TYPE_CHECKING:
    import requests

EVIDENCE = "governance/evidence"
_LOGGED = re.compile(r"models:/m-[0-9a-f]{32}")
"""A logged model. Any other name that begins so is one of the registry."""
_CODES: dict[str, type[GovernanceError]] = {
    "RESOURCE_DOES_NOT_EXIST": NotFound,
    "PERMISSION_DENIED": Denied,
    "INVALID_PARAMETER_VALUE": InvalidRequest,
}
_STATUSES: dict[int, type[GovernanceError]] = {
    400: InvalidRequest, 401: Denied, 403: Denied, 404: NotFound,
}  # fmt: skip


@dataclass(frozen=True)
class Source:
    """A model as MLflow keeps it.

    ``uri`` is what gets registered, ``location`` the artifact URI of the directory.
    ``model_id`` is None for models of MLflow 2, which lie among a run's artifacts at ``path``.
    """

    uri: str
    location: str
    run_id: str | None = None
    model_id: str | None = None
    path: str = ""
    registered: VersionRef | None = None


def resolve(model_uri: str) -> Source:
    """Find the directory behind ``runs:/…``, ``models:/m-…`` or ``models:/name/version``.

    Raises:
        InvalidRequest: another kind of URI.
        NotFound: MLflow does not know it.
    """
    with translated(model_uri):
        if model_uri.startswith("runs:/"):
            return _of_run(model_uri)
        if _LOGGED.fullmatch(model_uri):
            return _of_model(model_uri.removeprefix("models:/"), model_uri)
        if model_uri.startswith("models:/"):
            return _of_version(VersionRef.parse(model_uri))
    raise InvalidRequest(
        f"not a model that can be submitted: {model_uri[:120]!r}",
        advice="Name runs:/RUN_ID/model, models:/m-MODEL_ID or models:/NAME/VERSION.",
    )


def download(source: Source, folder: Path) -> Path:
    """Fetch the model directory as it is stored.

    ``models:/…`` is not used for it: MLflow adds a file of its own on that way.
    """
    import mlflow

    with translated(source.uri):
        found = mlflow.artifacts.download_artifacts(
            artifact_uri=source.location, dst_path=str(folder)
        )
    return Path(found)


def upload(source: Source, folder: Path) -> None:
    """Put the files of ``folder`` beside the model, in ``governance/evidence``."""
    from mlflow import MlflowClient

    client = MlflowClient()
    with translated(source.uri):
        if source.model_id is not None:
            client.log_model_artifacts(source.model_id, str(folder), EVIDENCE)
        else:
            client.log_artifacts(str(source.run_id), str(folder), f"{source.path}/{EVIDENCE}")


def register(source: Source, name: str) -> VersionRef:
    """Register the model with the stock client; registration judges it.

    Raises:
        Denied: the registry keeps no version that is not accepted, and this is none.
    """
    import mlflow

    with translated(name):
        try:
            version = mlflow.register_model(source.uri, name)
        except mlflow.MlflowException as error:
            if "FAILED_REGISTRATION" in error.message:  # judged by the worker, and said no
                raise Denied(error.message) from error
            raise
    return VersionRef(name, int(version.version))


def stage_of(ref: VersionRef) -> str:
    """The stage a version is in now."""
    from mlflow import MlflowClient

    with translated(str(ref)):
        return str(MlflowClient().get_model_version(ref.name, str(ref.version)).current_stage)


def accepted(ref: VersionRef) -> str:
    """The stage a version has just been registered at; None in a registry nobody governs.

    Raises:
        Denied: it is registered and not accepted, with the reasons the registry wrote beside it.
    """
    from mlflow import MlflowClient

    with translated(str(ref)):
        version = MlflowClient().get_model_version(ref.name, str(ref.version))
    stage, missing = str(version.current_stage), version.tags.get("governance.missing", "")
    if stage == "None" and missing:
        raise Denied(
            f"{ref} is registered with its evidence and not accepted:\n{_listed(missing)}",
            advice=f"Mend that, then: mlflow-governance submit models:/{ref} --key KEY.pem",
        )
    return stage


def warnings_about(ref: VersionRef) -> str:
    """What the registry remarks on a version beside its verdict, as lines; empty if nothing."""
    from mlflow import MlflowClient

    with translated(str(ref)):
        tags = MlflowClient().get_model_version(ref.name, str(ref.version)).tags
    return _listed(tags.get("governance.warnings", ""))


def _listed(text: str) -> str:
    """The lines of a tag, each check with its fix below it."""
    lines = text.replace(" | fix: ", "\n      fix: ").splitlines()
    return "\n".join(line if line.startswith(" ") else f"  - {line}" for line in lines if line)


def ask_for_candidate(ref: VersionRef) -> None:
    """Have a version that is registered already judged.

    Raises:
        Denied: the accept gate said no.
    """
    import warnings

    from mlflow import MlflowClient

    with translated(str(ref)), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # stages are where governance lives
        MlflowClient().transition_model_version_stage(ref.name, str(ref.version), "Candidate")


def _of_run(uri: str) -> Source:
    from mlflow import MlflowClient

    run_id, _, path = uri.removeprefix("runs:/").partition("/")
    client = MlflowClient()
    run = client.get_run(run_id)
    outputs = run.outputs.model_outputs if run.outputs else []
    for output in outputs:
        if client.get_logged_model(output.model_id).name == path:
            return _of_model(output.model_id, uri)
    return Source(uri, f"{run.info.artifact_uri}/{path}", run_id, None, path)


def _of_model(model_id: str, uri: str) -> Source:
    from mlflow import MlflowClient

    model = MlflowClient().get_logged_model(model_id)
    return Source(uri, model.artifact_location, model.source_run_id, model_id)


def _of_version(ref: VersionRef) -> Source:
    from dataclasses import replace

    from mlflow import MlflowClient

    client = MlflowClient()
    version = client.get_model_version(ref.name, str(ref.version))
    location = version.source
    if location == f"models:/{ref}":
        # Where unreleased bytes are is told to whoever registered them; the gate knows, too.
        location = client.get_model_version_download_uri(ref.name, str(ref.version))
    return replace(_at(location, version.run_id), registered=ref)


def _at(location: str, run_id: str | None) -> Source:
    from mlflow import MlflowClient

    if logged := re.search(r"/models/(m-[0-9a-f]{32})/artifacts$", location):
        return _of_model(logged[1], f"models:/{logged[1]}")
    if location.startswith(("models:/", "runs:/")):
        return resolve(location)
    root = str(MlflowClient().get_run(run_id).info.artifact_uri) if run_id else ""
    path = location.removeprefix(root + "/")
    if not root or path == location:
        raise InvalidRequest(
            f"no run is known that logged {location}",
            advice="Name the run or the logged model instead: runs:/RUN/PATH or models:/m-ID",
        )
    return Source(f"runs:/{run_id}/{path}", location, run_id, None, path)


class translated:  # noqa: N801  (reads as a phrase after "with")
    """Turns what MLflow's client raises into errors of ours, about ``subject``."""

    def __init__(self, subject: str) -> None:
        self._subject = subject

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        """Translate."""
        from mlflow.exceptions import MlflowException
        from requests import HTTPError

        if isinstance(error, HTTPError) and error.response is not None:
            kind = _STATUSES.get(error.response.status_code, Unavailable)
            raise kind(f"{self._subject}: {_said(error.response)}") from error
        if isinstance(error, MlflowException):
            family = _CODES.get(error.error_code, GovernanceError)
            raise family(f"{self._subject}: {error.message}") from error
        if isinstance(error, OSError):
            raise Unavailable(
                f"{self._subject} cannot be reached: {error}",
                advice="export MLFLOW_TRACKING_URI=http://127.0.0.1:5000",
            ) from error


def _said(response: requests.Response) -> str:
    # MLflow's client leaves the answers of the artifact routes unread.
    try:
        return str(response.json()["message"])
    except (ValueError, TypeError, KeyError):
        return f"{response.status_code} {response.text[:500]}"
