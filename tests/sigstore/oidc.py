"""An OpenID Connect issuer: discovery, keys, and tokens for the asking."""

from __future__ import annotations

import json
import time
from typing import Any

import jwt
from jwt.algorithms import ECAlgorithm

from tests.sigstore.certificates import p256, private_pem

AUDIENCE = "sigstore"


class Issuer:
    """Signs tokens with ES256."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._key = p256()

    def token(self, identity: str, **claims: Any) -> str:
        """A token for an e-mail address, or for the URI of a workload."""
        now = int(time.time())
        person = {"email": identity, "email_verified": True} if "://" not in identity else {}
        said = {"iss": self.url, "aud": AUDIENCE, "sub": identity, **person,
                "iat": now, "nbf": now - 5, "exp": now + 600, **claims}  # fmt: skip
        return jwt.encode(said, private_pem(self._key), "ES256", headers={"kid": "1"})

    def claims(self, token: str) -> dict[str, Any]:
        """What a token of ours says; raises for any other."""
        return jwt.decode(
            token, self._key.public_key(), ["ES256"], audience=AUDIENCE, issuer=self.url
        )

    def discovery(self) -> dict[str, Any]:
        """``/.well-known/openid-configuration``."""
        return {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/auth",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/keys",
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
        }

    def keys(self) -> dict[str, Any]:
        """The JSON Web Key Set."""
        key = json.loads(ECAlgorithm.to_jwk(self._key.public_key()))
        return {"keys": [{**key, "kid": "1", "alg": "ES256", "use": "sig"}]}
