"""A session with Supabase Auth: a short access token, and the token that renews it."""

from __future__ import annotations

import random
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import httpx
from pydantic import BaseModel, Field, ValidationError

from argosy.errors import StorageUnavailable
from argosy.settings import AgentSettings
from argosy.storage.traits import retry_after

REFRESH_FROM, REFRESH_AT = 0.7, 0.8
"""A token is renewed after a random share of its life between these two:
processes that share a session, or started together, do not all ask at once."""

CLOCK_SKEW_SECONDS = 10
_TIMEOUT = httpx.Timeout(15, connect=5)
_REFUSALS = (400, 401, 403, 422)
"""What Auth says no with. Any other status (409: refreshed too often at once) is no answer."""


def _draw_share() -> float:
    return random.uniform(REFRESH_FROM, REFRESH_AT)  # noqa: S311 - spreads load, hides nothing


@dataclass(frozen=True)
class Session:
    """What Auth gave. Times are seconds since 1970, by this machine's clock."""

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    issued_at: float
    expires_at: float
    refresh_share: float = field(default_factory=_draw_share, compare=False, repr=False)

    def is_good(self, now: float) -> bool:
        """Whether the access token holds. A clock that was set back makes that doubtful: no."""
        return self.issued_at - CLOCK_SKEW_SECONDS <= now < self.expires_at

    def is_fresh(self, now: float) -> bool:
        """Whether it need not be renewed yet: at least a fifth of its life is left."""
        life = self.expires_at - self.issued_at
        return self.is_good(now) and now < self.issued_at + life * self.refresh_share


class Refused(Exception):
    """Auth said no, with its code (`invalid_credentials`, ...) and its words."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message


class _Answer(BaseModel):
    """What is needed of Auth's answer; `expires_in` is in seconds."""

    access_token: str = Field(min_length=1)
    refresh_token: str | None = None
    expires_in: float = Field(gt=0, allow_inf_nan=False)


def open_session(settings: AgentSettings, email: str, password: str, now: float) -> Session:
    """Sign in. Raises Refused, and StorageUnavailable when Auth cannot answer."""
    return _ask(settings, "password", {"email": email, "password": password}, now)


def refresh(settings: AgentSettings, refresh_token: str, now: float) -> Session:
    """Exchange a refresh token, which is spent by that, for a new session.

    The answer may be lost: Auth gives the same successor again to the parent of
    the session's newest token. Raises what open_session raises.
    """
    return _ask(settings, "refresh_token", {"refresh_token": refresh_token}, now)


def _ask(settings: AgentSettings, grant: str, body: dict[str, str], now: float) -> Session:
    try:
        response = httpx.post(
            f"{settings.supabase_url}/auth/v1/token",
            params={"grant_type": grant},
            headers={"apikey": settings.supabase_anon_key.get_secret_value()},
            json=body,
            timeout=_TIMEOUT,
        )
    except httpx.HTTPError as error:
        raise StorageUnavailable(
            f"Supabase Auth cannot be reached ({type(error).__name__}): try again."
        ) from None
    if response.status_code in _REFUSALS:
        raise _refusal(response)
    return _session(response, now)


def _refusal(response: httpx.Response) -> Refused:
    document = _document(response)
    code = str(document.get("error_code") or f"HTTP {response.status_code}")
    message = str(document.get("msg") or document.get("message") or "no reason given")
    printable = "".join(letter if letter.isprintable() else " " for letter in message)
    return Refused(code[:100], printable[:200].rstrip(". "))


def _session(response: httpx.Response, now: float) -> Session:
    if response.status_code == 200:
        with suppress(ValidationError):
            answer = _Answer.model_validate_json(response.content)
            expires_at = now + answer.expires_in
            return Session(answer.access_token, answer.refresh_token or "", now, expires_at)
    raise StorageUnavailable(
        f"Supabase Auth answered {response.status_code} without a session: try again later, "
        "and check SUPABASE_URL if that does not help.",
        None,
        retry_after(response.headers),
    )


def _document(response: httpx.Response) -> dict[str, Any]:
    try:
        document = response.json()
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}
