"""What the fleet does with access tokens: verify those of agents, mint those it acts by.

They are the tokens of Supabase Auth: JWTs signed with the project's HS256 secret
or with an asymmetric key whose public half is in its JWKS.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from uuid import UUID

import jwt
from jwt.types import Options

from argosy.auth import TOKEN_HEADER
from argosy.errors import InvalidToken, NotSignedIn
from argosy.jwks import ProjectKeys
from argosy.settings import FleetSettings

AUDIENCE = "authenticated"
"""Audience and role of a signed-in user's token."""

ASYMMETRIC = ("ES256", "RS256")
"""Algorithms of keys that have a public half."""

MAX_TOKEN_LENGTH = 16 * 1024
CLOCK_SKEW_SECONDS = 10
"""How far the clocks of Auth and of the fleet may be apart."""
RENEW_AT = 0.8
"""A minted token is replaced after this share of its life."""

_LAST_SECOND = 253_402_300_799
"""The end of the year 9999: no date is later."""

_OPTIONS: Options = {
    "require": ["exp", "sub", "aud"],
    # Dates are checked here: PyJWT's leeway would hold for all three of them.
    "verify_exp": False,
    "verify_iat": False,
    "verify_nbf": False,
}

_REASONS: dict[type[Exception], str] = {
    jwt.ExpiredSignatureError: "it has expired",
    jwt.ImmatureSignatureError: "it is of the future: are the clocks right?",
    jwt.InvalidSignatureError: "it was changed, or is of another project",
    jwt.InvalidAlgorithmError: "it is not signed with a key of this project",
}


@dataclass(frozen=True)
class Identity:
    """A verified agent, and when its token expires (seconds since 1970)."""

    agent_id: UUID
    expires_at: float


class Verifier:
    """Checks access tokens of one Supabase project.

    The algorithm is pinned to the kind of key: HS256 only with the secret,
    ES256 and RS256 only with a key of the project's JWKS (RFC 8725, 3.1).
    Issuer and session are not looked at: who has the key is Auth.
    """

    def __init__(self, settings: FleetSettings) -> None:
        self._secret = settings.supabase_jwt_secret
        self._keys = ProjectKeys(settings.supabase_url)

    def verify(self, token: str | None, *, leeway_seconds: float = 0) -> Identity:
        """Who the token speaks for.

        `leeway_seconds` is how long ago it may have expired: a request waits
        in a queue. Raises NotSignedIn without a token, InvalidToken when it is
        not good, StorageUnavailable when the project's keys cannot be fetched.
        """
        if not token:
            raise NotSignedIn(
                "The request carries no access token: sign in with argosy.login(...) "
                f"or set the message header {TOKEN_HEADER!r}."
            )
        try:
            claims = self._claims(token)
            _check_dates(claims, leeway_seconds)
            return Identity(_agent_id(claims), float(claims["exp"]))
        except (jwt.PyJWTError, ValueError) as error:
            reason = _REASONS.get(type(error), type(error).__name__)
            raise InvalidToken(
                f"The access token is not accepted ({reason}): sign in again."
            ) from None

    def _claims(self, token: str) -> dict[str, Any]:
        if not isinstance(token, str) or len(token) > MAX_TOKEN_LENGTH:
            raise jwt.DecodeError("no token is like that")
        key, algorithm = self._key_for(jwt.get_unverified_header(token))
        return jwt.decode(token, key, algorithms=[algorithm], audience=AUDIENCE, options=_OPTIONS)

    def _key_for(self, header: Mapping[str, Any]) -> tuple[Any, str]:
        algorithm, key_id = header.get("alg"), header.get("kid")
        if algorithm == "HS256" and self._secret:
            return self._secret.get_secret_value(), algorithm
        if algorithm in ASYMMETRIC and key_id:
            key = self._keys.find(key_id)
            if key and key.algorithm_name == algorithm:
                return key.key, algorithm
        raise jwt.InvalidAlgorithmError(f"algorithm {algorithm!r} is not taken")


def _check_dates(claims: Mapping[str, Any], leeway_seconds: float) -> None:
    now = time.time()
    if now >= _date(claims, "exp") + leeway_seconds:
        raise jwt.ExpiredSignatureError
    for name in ("iat", "nbf"):
        if name in claims and _date(claims, name) > now + CLOCK_SKEW_SECONDS:
            raise jwt.ImmatureSignatureError


def _date(claims: Mapping[str, Any], name: str) -> int:
    """A NumericDate (RFC 7519, 2) in whole seconds, as Auth writes them."""
    value = claims[name]
    if type(value) is not int or not 0 <= value <= _LAST_SECOND:
        raise jwt.DecodeError(f"{name} is no date")
    return value


def _agent_id(claims: Mapping[str, Any]) -> UUID:
    if claims.get("role") != AUDIENCE:
        raise jwt.InvalidTokenError("not the token of a signed-in agent")
    subject = UUID(claims["sub"])
    if str(subject) != claims["sub"]:
        raise ValueError("an id is written in one way only")
    return subject


class Mint:
    """Makes short-lived tokens for the agents whose bytes the fleet moves.

    The fleet acts as the agent, never above it: row-level security decides.
    """

    def __init__(self, settings: FleetSettings) -> None:
        self._settings = settings
        self._tokens: dict[UUID, tuple[str, float]] = {}

    def token_for(self, agent_id: UUID) -> str:
        """A token with at least a fifth of its life left."""
        token, renew_at = self._tokens.get(agent_id, ("", 0.0))
        if time.time() >= renew_at:
            self._forget_spent()
            token, renew_at = self._mint(agent_id)
            self._tokens[agent_id] = token, renew_at
        return token

    def _mint(self, agent_id: UUID) -> tuple[str, float]:
        now, life = time.time(), self._settings.agent_token_seconds
        claims = {
            "sub": str(agent_id),
            "role": AUDIENCE,
            "aud": AUDIENCE,
            "iss": f"{self._settings.supabase_url}/auth/v1",
            "iat": int(now),
            "exp": int(now) + life,
        }
        key, algorithm, headers = self._key
        return jwt.encode(claims, key, algorithm, headers), now + life * RENEW_AT

    def _forget_spent(self) -> None:
        now, known = time.time(), self._tokens.copy()  # other threads may add to it
        self._tokens = {agent: kept for agent, kept in known.items() if kept[1] > now}

    @cached_property
    def _key(self) -> tuple[Any, str, dict[str, Any] | None]:
        if self._settings.supabase_jwt_signing_key:
            jwk = jwt.PyJWK.from_json(self._settings.supabase_jwt_signing_key.get_secret_value())
            return jwk.key, jwk.algorithm_name, {"kid": jwk.key_id} if jwk.key_id else None
        secret = self._settings.supabase_jwt_secret  # settings refuse to have neither
        return secret.get_secret_value() if secret else "", "HS256", None
