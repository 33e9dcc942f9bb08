"""Asking the registry to judge a version."""

from __future__ import annotations

import requests
from requests.adapters import HTTPAdapter
from urllib3.util.retry import Retry

from mlflow_governance.core.model_ref import VersionRef
from mlflow_governance.errors import Unavailable
from mlflow_governance.outbox.session import new_session
from webhooks.receiver.settings import Registry

_PATH = "/api/2.0/mlflow-governance/judge"


def judge(registry: Registry, ref: VersionRef) -> None:
    """Have the registry judge a version; it records the decision itself.

    Asked at most three times: judging twice changes nothing, so a repeat is safe.

    Raises:
        Unavailable: no answer, or another answer than 2xx.
    """
    try:
        with _session(registry) as session:
            response = session.post(
                registry.url.rstrip("/") + _PATH,
                json={"name": ref.name, "version": ref.version, "workspace": ref.workspace},
                timeout=registry.timeout_seconds,
                allow_redirects=False,
                stream=True,  # the answer's body is of no interest, whatever its size
            )
    except requests.RequestException as error:
        raise Unavailable(f"the registry does not answer: {type(error).__name__}") from error
    if not 200 <= response.status_code < 300:
        raise Unavailable(f"the registry answered {response.status_code} to a judge request")


def _session(registry: Registry) -> requests.Session:
    session = new_session(registry.ca_bundle)
    if registry.username:
        session.auth = (registry.username, registry.password)
    retry = Retry(
        total=2,
        allowed_methods={"POST"},
        status_forcelist={429, 500, 502, 503, 504},
        backoff_factor=0.2,
        respect_retry_after_header=False,
        raise_on_status=False,
    )
    for prefix in ("http://", "https://"):
        session.mount(prefix, HTTPAdapter(max_retries=retry))
    return session
