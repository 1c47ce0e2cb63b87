"""Who asks: agents sign in here, and the fleet verifies and mints tokens here.

Tokens are those of Supabase Auth: JWTs signed with the project's HS256 secret
or with an asymmetric key whose public half is in its JWKS.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from uuid import UUID

import httpx
import jwt
from jwt.exceptions import PyJWKClientConnectionError, PyJWKClientError, PyJWTError

from argosy.errors import AccessDenied, InvalidToken, NotSignedIn, StorageUnavailable
from argosy.settings import AgentSettings, FleetSettings, agent_settings

TOKEN_HEADER = "argosy_token"  # noqa: S105  the header's name, not a token
"""Message header that carries the agent's access token."""

AUDIENCE = "authenticated"
ASYMMETRIC = ("ES256", "RS256")
RENEW_AT = 0.8
"""A token is replaced after this share of its life."""


@dataclass(frozen=True)
class Identity:
    """A verified agent."""

    agent_id: UUID
    expires_at: float


class Verifier:
    """Checks access tokens of one Supabase project.

    The algorithm is pinned to the kind of key: HS256 only with the secret,
    ES256 and RS256 only with a key of the project's JWKS (RFC 8725, 3.1).
    """

    def __init__(self, settings: FleetSettings) -> None:
        self._secret = settings.supabase_jwt_secret
        self._jwks = jwt.PyJWKClient(
            f"{settings.supabase_url}/auth/v1/.well-known/jwks.json", timeout=10
        )

    def verify(self, token: str | None, *, leeway_seconds: float = 0) -> Identity:
        """Who the token speaks for.

        Raises NotSignedIn without one, InvalidToken when it is not good,
        StorageUnavailable when the project's public keys cannot be fetched.
        """
        if not token:
            raise NotSignedIn(
                "The request carries no access token: sign in with argosy.login(...) "
                f"or set the message header {TOKEN_HEADER!r}."
            )
        try:
            claims = self._decode(token, leeway_seconds)
            return Identity(UUID(claims["sub"]), float(claims["exp"]))
        except PyJWKClientConnectionError:
            raise StorageUnavailable(
                "The public keys of Supabase Auth cannot be fetched: try again."
            ) from None
        except (PyJWTError, PyJWKClientError, ValueError) as error:
            raise InvalidToken(
                f"The access token is not accepted ({type(error).__name__}): sign in again."
            ) from None

    def _decode(self, token: str, leeway_seconds: float) -> dict[str, Any]:
        key, algorithms = self._key_for(token)
        claims: dict[str, Any] = jwt.decode(
            token,
            key,
            algorithms=algorithms,
            audience=AUDIENCE,
            leeway=leeway_seconds,
            options={"require": ["exp", "sub", "aud"]},
        )
        if claims.get("role") != AUDIENCE:
            raise jwt.InvalidTokenError("not the token of a signed-in agent")
        return claims

    def _key_for(self, token: str) -> tuple[Any, list[str]]:
        algorithm = jwt.get_unverified_header(token).get("alg")
        if algorithm == "HS256" and self._secret:
            return self._secret.get_secret_value(), ["HS256"]
        if algorithm in ASYMMETRIC:
            key = self._jwks.get_signing_key_from_jwt(token)
            if key.algorithm_name == algorithm:
                return key.key, [algorithm]
        raise jwt.InvalidAlgorithmError(f"algorithm {algorithm!r} is not taken")


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
        now = time.time()
        self._tokens = {agent: kept for agent, kept in self._tokens.items() if kept[1] > now}

    @cached_property
    def _key(self) -> tuple[Any, str, dict[str, Any] | None]:
        if self._settings.supabase_jwt_signing_key:
            jwk = jwt.PyJWK.from_json(self._settings.supabase_jwt_signing_key.get_secret_value())
            return jwk.key, jwk.algorithm_name, {"kid": jwk.key_id} if jwk.key_id else None
        secret = self._settings.supabase_jwt_secret  # settings refuse to have neither
        return secret.get_secret_value() if secret else "", "HS256", None


def agent_email(name: str) -> str:
    """The address by which Supabase Auth knows an agent; no mail is ever sent."""
    return f"{name}@agents.argosy.invalid"


@dataclass
class SignIn:
    """An agent's session with Supabase Auth: always holds a token that is good."""

    settings: AgentSettings
    agent: str
    key: str = field(repr=False)
    _token: str = field(default="", init=False, repr=False)
    _renew_at: float = field(default=0.0, init=False, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def token(self) -> str:
        """An access token with at least a fifth of its life left.

        Raises AccessDenied when the name or key is wrong, StorageUnavailable
        when Supabase Auth cannot be reached.
        """
        with self._lock:
            if time.time() >= self._renew_at:
                self._renew()
            return self._token

    def _renew(self) -> None:
        answer = self._ask()
        life = float(answer["expires_in"])
        self._token, self._renew_at = answer["access_token"], time.time() + life * RENEW_AT

    def _ask(self) -> dict[str, Any]:
        try:
            response = httpx.post(
                f"{self.settings.supabase_url}/auth/v1/token",
                params={"grant_type": "password"},
                headers={"apikey": self.settings.supabase_anon_key.get_secret_value()},
                json={"email": agent_email(self.agent), "password": self.key},
                timeout=15,
            )
        except httpx.HTTPError as error:
            raise StorageUnavailable(
                f"Supabase Auth cannot be reached ({type(error).__name__}): try again."
            ) from None
        if response.status_code >= 500 or response.status_code == 429:
            raise StorageUnavailable(
                f"Supabase Auth answered {response.status_code}: try again later."
            )
        if not response.is_success:
            raise AccessDenied(
                f"Agent {self.agent!r} could not sign in: check ARGOSY_AGENT and ARGOSY_AGENT_KEY."
            )
        answer: dict[str, Any] = response.json()
        return answer


_signed_in: SignIn | None = None


def login(
    agent: str | None = None, key: str | None = None, settings: AgentSettings | None = None
) -> SignIn:
    """Sign this process in, so that its requests carry an access token.

    Name and key default to ARGOSY_AGENT and ARGOSY_AGENT_KEY. Raises
    NotSignedIn when there are none, and what SignIn.token raises.
    """
    global _signed_in  # noqa: PLW0603  a process acts for one agent
    settings = settings or agent_settings()
    agent = agent or settings.agent
    secret = key or (settings.agent_key.get_secret_value() if settings.agent_key else None)
    if not agent or not secret:
        raise NotSignedIn("Give an agent's name and key, or set ARGOSY_AGENT and ARGOSY_AGENT_KEY.")
    session = SignIn(settings, agent, secret)
    session.token()
    _signed_in = session
    return session


def current_token() -> str | None:
    """The token of whoever this process signed in as, or None.

    Signs in by ARGOSY_AGENT and ARGOSY_AGENT_KEY where login was not called.
    """
    if _signed_in:
        return _signed_in.token()
    settings = agent_settings()
    if settings.agent and settings.agent_key:
        return login().token()
    return None
