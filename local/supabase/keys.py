"""JSON Web Tokens: the keys of the project, minting and verifying."""

from __future__ import annotations

import json
import time
from typing import Any

import jwt
from jwt.algorithms import ECAlgorithm

from local.supabase import errors
from local.supabase.config import Config

Claims = dict[str, Any]
TEN_YEARS = 10 * 365 * 24 * 3600


def make_keys(secret: str) -> tuple[str, str]:
    """Mint the project's two long-lived keys: (anon key, service-role key)."""
    now = int(time.time())
    anon, service = (
        jwt.encode(
            {"iss": "supabase", "role": role, "iat": now, "exp": now + TEN_YEARS},
            secret,
            algorithm="HS256",
        )
        for role in ("anon", "service_role")
    )
    return anon, service


class KeyRing:
    """The project's secret and, when it has one, its ES256 signing key."""

    def __init__(self, config: Config) -> None:
        self._secret = config.jwt_secret
        self._private: Any = None
        self._public: Any = None
        self._public_jwk: dict[str, Any] = {}
        if config.jwt_signing_key:
            self._load(json.loads(config.jwt_signing_key))

    def _load(self, jwk: dict[str, Any]) -> None:
        self._private = ECAlgorithm.from_jwk(jwk)
        public = {name: jwk[name] for name in ("kty", "crv", "x", "y")}
        self._public = ECAlgorithm.from_jwk(public)
        self._public_jwk = {
            **public,
            "kid": jwk.get("kid", "local"),
            "alg": "ES256",
            "use": "sig",
            "key_ops": ["verify"],
        }

    def jwks(self) -> dict[str, list[dict[str, Any]]]:
        """Return the public keys, as /.well-known/jwks.json publishes them."""
        return {"keys": [self._public_jwk] if self._public_jwk else []}

    def sign(self, claims: Claims) -> str:
        """Sign an access token with the project's current key."""
        if self._private is None:
            return self.sign_with_secret(claims)
        headers = {"kid": self._public_jwk["kid"]}
        return jwt.encode(claims, self._private, algorithm="ES256", headers=headers)

    def sign_with_secret(self, claims: Claims) -> str:
        """Sign with the shared secret: signed URLs are read by nobody but this server."""
        return jwt.encode(claims, self._secret, algorithm="HS256")

    def verify(self, token: str) -> Claims:
        """Return the claims of a valid token; neither issuer nor audience is checked."""
        try:
            return self._decode(token)
        except jwt.ExpiredSignatureError as error:
            raise errors.access_denied('"exp" claim timestamp check failed') from error
        except jwt.InvalidSignatureError as error:
            raise errors.access_denied("signature verification failed") from error
        except jwt.PyJWTError as error:
            raise errors.access_denied("Invalid Compact JWS") from error

    def _decode(self, token: str) -> Claims:
        # The algorithm belongs to the key, never to the token's header.
        algorithm = jwt.get_unverified_header(token).get("alg")
        if algorithm == "ES256" and self._public is not None:
            key: Any = self._public
        else:
            key, algorithm = self._secret, "HS256"
        options: Any = {"verify_aud": False, "verify_iss": False, "verify_sub": False}
        options["verify_iat"] = False
        return jwt.decode(token, key, algorithms=[algorithm], options=options)
