"""The HTTP client of the commands: one method per endpoint, errors as this package knows them."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

import requests

from mlflow_governance.cli.connection import ADDRESS_ADVICE, Connection
from mlflow_governance.core import canonical
from mlflow_governance.core.model_ref import DEFAULT_WORKSPACE, VersionRef
from mlflow_governance.errors import (
    ConfigurationError,
    Conflict,
    Denied,
    GovernanceError,
    InvalidRequest,
    LedgerError,
    NotFound,
    Unauthenticated,
    Unavailable,
    VerificationError,
)
from mlflow_governance.workflows.evidence_export import Asked

PREFIX = "/api/2.0/mlflow-governance"
MLFLOW_ALIAS = "/api/2.0/mlflow/registered-models/alias"
FROM_VERSION = "X-Governance-From-Version"
REASON = "X-Governance-Reason"
Document = dict[str, Any]

_CONNECT_SECONDS = 10.0
_BUNDLE_SECONDS = 3600.0
"""A bundle is complete before its first byte is sent."""
_MAX_ANSWER = 64 * 1024 * 1024
_LOG_IN = "Set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN."
_ERRORS: dict[str, type[GovernanceError]] = {
    kind.code: kind
    for kind in (
        InvalidRequest,
        NotFound,
        ConfigurationError,
        VerificationError,
        LedgerError,
        Denied,
        Unauthenticated,
        Conflict,
        Unavailable,
    )
}
_BY_STATUS: dict[int, type[GovernanceError]] = {
    400: InvalidRequest,
    401: Unauthenticated,
    403: Denied,
    404: NotFound,
    409: Conflict,
}


@dataclass(frozen=True)
class AliasSwap:
    """An alias on its way from the ``expected`` version to ``version``; None is nowhere."""

    alias: str
    expected: int | None
    version: int | None


class RegistryClient:
    """Talks to the governance interface of an MLflow server.

    Every method raises the :class:`GovernanceError` the server answered with, and
    :class:`Unavailable` when no usable answer came.

    Args:
        tracking_uri: the server; None takes ``MLFLOW_TRACKING_URI``.
        connection: how to reach it; None reads the environment.
    """

    def __init__(
        self, tracking_uri: str | None = None, *, connection: Connection | None = None
    ) -> None:
        self._connection = connection or Connection.from_environment(tracking_uri)
        self._session = requests.Session()

    def health(self) -> Document:
        """``{"status": "ok"}``."""
        return self._get("/health")

    def versions(
        self, name: str = "", stage: str = "", *, limit: int = 100, offset: int = 0
    ) -> Document:
        """``{versions, total, offset}``, newest first."""
        return self._get("/versions", name=name, stage=stage, limit=limit, offset=offset)

    def version(self, ref: VersionRef) -> Document:
        """Everything about one version."""
        return self._get("/version", **_named(ref))

    def aliases(self, name: str, workspace: str = DEFAULT_WORKSPACE) -> Document:
        """``{aliases: [{alias, version, before, at}]}``."""
        return self._get("/aliases", name=name, workspace=workspace)

    def point_alias(self, name: str, swap: AliasSwap, reason: str) -> None:
        """Point an alias elsewhere through MLflow's own interface.

        Raises:
            Conflict: it does not point at ``swap.expected`` any more.
        """
        body: dict[str, str | int] = {"name": name, "alias": swap.alias}
        headers = {FROM_VERSION: str(swap.expected or 0), REASON: reason}
        if swap.version is not None:
            body["version"] = str(swap.version)
        method = "DELETE" if swap.version is None else "POST"
        self._call(method, MLFLOW_ALIAS, body=body, headers=headers)

    def decision(self, decision_id: str) -> Document:
        """A stored decision with its dossier."""
        return self._get("/decision", id=decision_id)

    def history(
        self, name: str, version: int, start: int, workspace: str = DEFAULT_WORKSPACE
    ) -> Document:
        """``{entries, next}``: what happened to a version, or with 0 to its whole model."""
        return self._get("/history", name=name, version=version, start=start, workspace=workspace)

    def approve(
        self, ref: VersionRef, role: str, reason: str, *, decision: str = "approve"
    ) -> Document:
        """``{approval}``."""
        return self._post("/approvals", ref, role=role, reason=reason, decision=decision)

    def revoke(self, ref: VersionRef, reason: str) -> Document:
        """``{version}``."""
        return self._post("/revoke", ref, reason=reason)

    def quarantine(self, ref: VersionRef, reason: str) -> Document:
        """``{version}``."""
        return self._post("/quarantine", ref, reason=reason)

    def restore(self, ref: VersionRef, reason: str) -> Document:
        """``{version}``."""
        return self._post("/restore", ref, reason=reason)

    def judge(self, ref: VersionRef) -> Document:
        """``{decision, version}``; look at ``decision["allow"]``."""
        return self._post("/judge", ref)

    def attach(self, ref: VersionRef, file: str, data: bytes) -> Document:
        """``{file, version}``; ``file`` is ``attestations/NAME.intoto.json``."""
        return self._post("/evidence", ref, file=file, content=base64.b64encode(data).decode())

    def attachment(self, ref: VersionRef, path: str) -> bytes:
        """The bytes of one attached file."""
        return self._call("GET", "/attachment", params={**_named(ref), "path": path})

    def ledger_head(self) -> Document:
        """``{checkpoint, origin, size, root}``; verify the checkpoint, not the rest."""
        return self._get("/ledger/head")

    def ledger_entries(self, start: int, count: int = 1000) -> list[tuple[int, bytes]]:
        """Index and exact bytes of up to ``count`` entries."""
        found = self._get("/ledger/entries", start=start, count=count).get("entries")
        try:
            return [(int(e["index"]), e["entry"].encode()) for e in found or ()]
        except (TypeError, KeyError, ValueError, AttributeError) as error:
            raise self._unusable("its ledger entries are malformed") from error

    def ledger_proof(self, index: int) -> Document:
        """``{index, entry, proof}``; ``proof`` is a C2SP tlog-proof."""
        return self._get("/ledger/proof", index=index)

    def revocations(self) -> bytes:
        """The signed revocation list."""
        return self._call("GET", "/revocations")

    def trust(self) -> bytes:
        """Public trust material."""
        return self._call("GET", "/trust")

    def evidence_bundle(self, asked: Asked, to: BinaryIO) -> None:
        """Write the evidence bundle of a version or period; as whom is for the server to say."""
        said = {"pseudonymous": "yes" if asked.pseudonymous else "no", "reason": asked.reason}
        params = {**asked.of.to_document(), **said}
        with self._answer("GET", "/evidence-bundle", params=params, seconds=_BUNDLE_SECONDS) as got:
            if got.status_code != 200:
                self._read(got, ours=True)
            written = 0
            for piece in got.iter_content(256 * 1024):
                written += _written(piece, to)
            if written != int(got.headers.get("Content-Length", written)):
                raise self._unusable("it broke off")

    def policy(self) -> Document:
        """``{policy_digest, engine, files, since, by, source, approvals, …}``."""
        return self._get("/policy")

    def policy_bundle(self, digest: str) -> bytes:
        """The archive of a policy that is, was or shall be in force."""
        return self._call("GET", "/policy/bundle", params={"digest": digest})

    def policy_proposals(self) -> Document:
        """``{proposals}``, newest first."""
        return self._get("/policy/proposals")

    def propose_policy(self, reason: str, *, archive: bytes = b"", digest: str = "") -> Document:
        """``{proposal}``; give the archive, or the digest of one that was in force."""
        content = base64.b64encode(archive).decode()
        return self._do("/policy/propose", reason=reason, content=content, digest=digest)

    def speak_of_policy(self, digest: str, decision: str, reason: str) -> Document:
        """``{proposal}``; ``decision`` is ``approve`` or ``reject``."""
        return self._do("/policy/approvals", digest=digest, decision=decision, reason=reason)

    def activate_policy(self, digest: str, reason: str) -> Document:
        """What :meth:`policy` says then."""
        return self._do("/policy/activate", digest=digest, reason=reason)

    def _get(self, path: str, **params: str | int) -> Document:
        return self._object(self._call("GET", path, params=params))

    def _post(self, path: str, ref: VersionRef, **body: str) -> Document:
        return self._do(path, **_named(ref), **body)

    def _do(self, path: str, **body: str | int) -> Document:
        return self._object(self._call("POST", path, body=body))

    def _object(self, data: bytes) -> Document:
        try:
            return canonical.decode_object(data, max_bytes=_MAX_ANSWER)
        except InvalidRequest as error:
            raise self._unusable(error.message) from error

    def _call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str | int] | None = None,
        body: Mapping[str, str | int] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> bytes:
        with self._answer(method, path, params=params, body=body, headers=headers) as response:
            return self._read(response, ours=path != MLFLOW_ALIAS)

    @contextmanager
    def _answer(  # noqa: PLR0913  (a request has that many parts)
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str | int] | None = None,
        body: Mapping[str, str | int] | None = None,
        headers: Mapping[str, str] | None = None,
        seconds: float = 0,
    ) -> Iterator[requests.Response]:
        to = self._connection
        try:
            with self._session.request(
                method,
                to.base + (PREFIX if path != MLFLOW_ALIAS else "") + path,
                headers=headers,
                params=params,
                json=body,
                auth=to.auth,
                verify=to.verify,
                cert=to.certificate,
                timeout=(_CONNECT_SECONDS, max(to.timeout, seconds)),
                allow_redirects=False,
                stream=True,
            ) as response:
                yield response
        except (requests.RequestException, OSError) as error:
            raise self._unreachable(error) from error

    def _read(self, response: requests.Response, *, ours: bool) -> bytes:
        data = bytearray()
        for piece in response.iter_content(64 * 1024):
            data += piece
            if len(data) > _MAX_ANSWER:
                raise self._unusable(f"it has more than {_MAX_ANSWER} bytes")
        if response.status_code != 200:
            raise self._error(response, bytes(data), ours=ours)
        return bytes(data)

    def _error(self, response: requests.Response, data: bytes, *, ours: bool) -> GovernanceError:
        try:
            document = canonical.decode_object(data)
            if not ours and "error_code" in document:
                return _of_mlflow(response.status_code, document)
            code, message = str(document.pop("code")), str(document.pop("message"))
        except (InvalidRequest, KeyError):
            return self._foreign(response)
        advice = str(document.pop("advice", ""))
        details = {key: value for key, value in document.items() if key != "self"}
        return _ERRORS.get(code, GovernanceError)(message, advice=advice, **details)

    def _foreign(self, response: requests.Response) -> GovernanceError:
        # Something before our interface answered: MLflow's login, a proxy, another server.
        base, status = self._connection.base, response.status_code
        if status == 401:
            return Unauthenticated(f"{base} does not know who asks", advice=_LOG_IN)
        if status == 403:
            return Denied(f"{base} refused the request before it was read", advice=_LOG_IN)
        if status in (408, 429) or status >= 500:
            return Unavailable(f"{base} answers {status}", advice="Ask again in a moment.")
        moved = response.headers.get("Location", "")
        return ConfigurationError(
            f"{base} has no governance interface (it answers {status})"
            + (f" and points to {_shown(moved)}" if moved else ""),
            advice=f"Is it started with mlflow-governance server? {ADDRESS_ADVICE}",
        )

    def _unreachable(self, error: Exception) -> Unavailable:
        base = self._connection.base
        if isinstance(error, requests.exceptions.SSLError):
            return Unavailable(
                f"{base} shows a certificate that is not trusted",
                advice="Name its authority in MLFLOW_TRACKING_SERVER_CERT_PATH.",
            )
        if isinstance(error, requests.Timeout):
            return Unavailable(
                f"{base} did not answer in time",
                advice="Ask again; MLFLOW_HTTP_REQUEST_TIMEOUT sets the seconds to wait.",
            )
        return Unavailable(
            f"{base} cannot be reached ({type(error).__name__})", advice=ADDRESS_ADVICE
        )

    def _unusable(self, why: str) -> Unavailable:
        base = self._connection.base
        return Unavailable(f"the answer of {base} cannot be used: {why}", advice=ADDRESS_ADVICE)


def _written(piece: bytes, to: BinaryIO) -> int:
    try:
        return to.write(piece)
    except OSError as error:  # the disk, and not the server
        raise ConfigurationError(f"the file cannot be written: {error.strerror}") from error


def _of_mlflow(status: int, document: Document) -> GovernanceError:
    message = str(document.get("message", "")).removeprefix("governance: ")
    advice = str(document.get("advice", ""))
    message = message.removesuffix(f"\n{advice}") if advice else message
    return _BY_STATUS.get(status, GovernanceError)(message, advice=advice)


def _named(ref: VersionRef) -> dict[str, str | int]:
    return {"name": ref.name, "version": ref.version, "workspace": ref.workspace}


def _shown(location: str) -> str:
    # A redirect may carry a login ticket in its query.
    return location.split("?", 1)[0][:200]
