"""A private Sigstore in this process."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

from tests.sigstore import fulcio, tsa
from tests.sigstore.certificates import pem
from tests.sigstore.ct import CtLog
from tests.sigstore.deployment import Answer, Http, Parts, as_json
from tests.sigstore.fulcio import Fulcio
from tests.sigstore.oidc import Issuer
from tests.sigstore.rekor import Rekor
from tests.sigstore.tsa import Tsa

ORIGIN = "rekor.example.test"


class PrivateSigstore:
    """Every service of Sigstore, as far as a client can see them.

    ::

        with PrivateSigstore(folder) as sigstore:
            token = sigstore.token("trainer@example.com")
            sigstore.client_trust_config, sigstore.trusted_root   # files
        # stopped: what was signed still verifies
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.ct = CtLog()
        self.fulcio = Fulcio(fulcio.authority(), self.ct)
        self.rekor = Rekor(ORIGIN)
        self.tsa = Tsa(tsa.authority())
        self._http = Http(
            {
                "GET /.well-known/openid-configuration": self._discovery,
                "GET /keys": lambda *_: (200, *as_json(self._oidc.keys())),
                "POST /api/v2/signingCert": self._signing_cert,
                "POST /api/v2/log/entries": self._log_entry,
                "POST /api/v1/timestamp": self._time_stamp,
            }
        )
        self.issuer = self._http.url
        self._oidc = Issuer(self.issuer)
        self.tsa_url = f"{self.issuer}/api/v1/timestamp"
        self.tsa_chain = pem(*self.tsa.holder.chain)
        self.parts = self._parts()
        self.client_trust_config, self.trusted_root = self.parts.write(folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def token(self, identity: str, **claims: Any) -> str:
        """A token of the issuer for an e-mail address or a workload's URI."""
        return self._oidc.token(identity, **claims)

    def stop(self) -> None:
        """Stop every service; twice is fine."""
        self._http.stop()

    def _parts(self) -> Parts:
        url = self.issuer
        return Parts(
            since=datetime.now(UTC) - timedelta(days=1),
            urls={"fulcio": url, "oidc": url, "rekor": url, "ct": f"{url}/ct", "tsa": self.tsa_url},
            fulcio=self.fulcio.holder.chain,
            ct=(self.ct.key.public_key(), self.ct.log_id),
            rekor=(self.rekor.key.public_key(), self.rekor.log_id, ORIGIN, "PKIX_ED25519"),
            tsa=self.tsa.holder.chain,
        )

    def _discovery(self, body: bytes, headers: dict[str, str]) -> Answer:
        return 200, *as_json(self._oidc.discovery())

    def _signing_cert(self, body: bytes, headers: dict[str, str]) -> Answer:
        claims = self._oidc.claims(headers["Authorization"].removeprefix("Bearer "))
        return 200, *as_json(self.fulcio.signing_cert(claims, json.loads(body)))

    def _log_entry(self, body: bytes, headers: dict[str, str]) -> Answer:
        return 201, *as_json(self.rekor.add(json.loads(body)))

    def _time_stamp(self, body: bytes, headers: dict[str, str]) -> Answer:
        return 201, "application/timestamp-reply", self.tsa.reply(body)
