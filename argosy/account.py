"""An agent as the client library sees it: who it is, and Storage as it may see it."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from argosy.errors import InvalidToken
from argosy.settings import AgentSettings
from argosy.storage.control import ControlPlane
from argosy.storage.pool import PoolSettings, client
from argosy.storage.retry import RetryPolicy
from argosy.storage.s3 import Endpoint, ObjectStore
from argosy.storage.streams import Streams


@dataclass(frozen=True)
class Account:
    """One agent. `token` gives its access token of that moment; it may be asked by any thread."""

    settings: AgentSettings
    token: Callable[[], str] = field(repr=False)
    streams: Streams = field(default_factory=Streams, repr=False, compare=False)
    """How fast one was, of those that went by this account."""

    @property
    def agent_id(self) -> UUID:
        """The agent's id: the subject of its token. Raises InvalidToken, and what `token` raises.

        Read without a check: Storage and the fleet check it.
        """
        return subject_of(self.token())

    @property
    def agent_name(self) -> str:
        """The agent's name, by the same token. Raises what `agent_id` raises."""
        return name_of(self.token())

    def store(self, retries: RetryPolicy | None = None) -> ObjectStore:
        """The data plane, as this agent; row-level security decides."""
        settings = self.settings
        endpoint = Endpoint(
            url=f"{settings.supabase_url}/storage/v1/s3",
            project_ref=settings.project_ref,
            anon_key=settings.supabase_anon_key.get_secret_value(),
            region=settings.supabase_region,
        )
        retries = retries or self.retries()
        return ObjectStore(endpoint, self.token, http=client(self._pool), retries=retries)

    def control(self, retries: RetryPolicy | None = None) -> ControlPlane:
        """Listings and removals, as this agent. Its token is of now: make one for each call."""
        return ControlPlane(
            self.settings.supabase_url,
            self.token(),
            client(self._pool),
            api_key=self.settings.supabase_anon_key.get_secret_value(),
            retries=retries or self.retries(),
        )

    def retries(self) -> RetryPolicy:
        """How one request is repeated."""
        settings = self.settings
        return RetryPolicy(
            attempts=settings.storage_attempts, deadline_seconds=settings.storage_deadline_seconds
        )

    @property
    def _pool(self) -> PoolSettings:
        return PoolSettings(max_connections=self.settings.connections)


def subject_of(token: str) -> UUID:
    """The `sub` of a JWT (RFC 7519, 4.1.2). Raises InvalidToken."""
    try:
        return UUID(_claims(token)["sub"])
    except (IndexError, KeyError, TypeError, ValueError, AttributeError):
        raise InvalidToken("The access token names no agent: sign in again.") from None


def name_of(token: str) -> str:
    """The agent that Auth knows by the token's address. Raises InvalidToken."""
    try:
        name = str(_claims(token)["email"]).partition("@")[0]
    except (IndexError, KeyError, TypeError, ValueError, AttributeError):
        name = ""
    if not name:
        raise InvalidToken("The access token has no agent's name: sign in again.")
    return name


def _claims(token: str) -> Any:
    payload = token.split(".")[1]
    return json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
