"""HTTP sessions that send to the configured address and nowhere else."""

from __future__ import annotations

from http.cookiejar import DefaultCookiePolicy

import requests


class _DirectSession(requests.Session):
    # requests reads the whole body of a redirect even when it does not follow it, however
    # large (Session.resolve_redirects). Here an answer never names another address.
    def get_redirect_target(self, resp: requests.Response) -> None:
        return None


def new_session(ca_bundle: str = "") -> requests.Session:
    """A session without redirects, cookies, or proxies and ``.netrc`` of the environment.

    Args:
        ca_bundle: a PEM file of authorities to trust instead of the public ones.
    """
    session = _DirectSession()
    session.trust_env = False
    session.verify = ca_bundle or True
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    session.headers.update({"User-Agent": "mlflow-governance", "Accept-Encoding": "identity"})
    return session
