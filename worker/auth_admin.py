"""Agents in Supabase Auth: its admin API, with the service key."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

import httpx

from argosy.auth import agent_email
from argosy.errors import AccessDenied, InvalidRequest, StorageUnavailable
from argosy.settings import FleetSettings

_FOR_GOOD = "876000h"
"""A century: Auth knows no ban without an end."""
_PAGE = 1000
_OURS = {"argosy": True}
"""Metadata that only the service key can set: a stranger who signs up is none of ours."""


class AuthAdmin:
    """Raises AccessDenied when the service key is wrong, StorageUnavailable when Auth is away."""

    def __init__(self, settings: FleetSettings) -> None:
        self._users = f"{settings.supabase_url}/auth/v1/admin/users"
        key = settings.supabase_service_role_key.get_secret_value()
        self._headers = {"apikey": key, "Authorization": f"Bearer {key}"}

    def take_in(
        self, name: str, key: str, *, is_agent: Callable[[UUID], bool] = lambda _: False
    ) -> UUID:
        """Create the agent's user, or take over the one that an interrupted command left.

        One that such a command did not make, or that `is_agent` already, is left
        alone. Raises InvalidRequest then, and when Auth refuses the name or the key.
        """
        facts = {"password": key, "email_confirm": True, "app_metadata": _OURS}
        response = self._ask("POST", "", {"email": agent_email(name), **facts})
        if response.is_success:
            return UUID(response.json()["id"])
        left = self._find(agent_email(name))
        if left is None:
            raise InvalidRequest(f"Supabase Auth refuses agent {name!r}: {_words(response)}.")
        left_id = UUID(left["id"])
        if not _is_ours(left) or is_agent(left_id):
            raise InvalidRequest(
                f"Supabase Auth has a user {agent_email(name)} ({left_id}) that is not left from "
                f"an interrupted `argosy agents add {name}`: remove it in Supabase Auth, or choose "
                "another name."
            )
        self._change(left_id, {**facts, "ban_duration": "none"})
        return left_id

    def set_key(self, agent_id: UUID, key: str) -> None:
        """Give a new key; Auth ends the sessions of the old one."""
        self._change(agent_id, {"password": key})

    def ban(self, agent_id: UUID) -> None:
        """Let it neither sign in nor renew a session."""
        self._change(agent_id, {"ban_duration": _FOR_GOOD})

    def unban(self, agent_id: UUID) -> None:
        """Let it sign in again."""
        self._change(agent_id, {"ban_duration": "none"})

    def check(self) -> None:
        """Look at one user: raises what the other calls raise, where they would."""
        self._ask("GET", "?page=1&per_page=1")

    def _change(self, agent_id: UUID, facts: dict[str, Any]) -> None:
        response = self._ask("PUT", f"/{agent_id}", facts)
        if not response.is_success:
            raise InvalidRequest(
                f"Supabase Auth refuses the change of user {agent_id}: {_words(response)}."
            )

    def _find(self, email: str) -> dict[str, Any] | None:
        """Auth has no search by address: page by page."""
        page = 1
        while users := self._page(page):
            for user in users:
                if user.get("email") == email:
                    return user
            page += 1
        return None

    def _page(self, number: int) -> list[dict[str, Any]]:
        response = self._ask("GET", f"?page={number}&per_page={_PAGE}")
        users: list[dict[str, Any]] = response.json()["users"] if response.is_success else []
        return users

    def _ask(self, method: str, path: str, facts: dict[str, Any] | None = None) -> httpx.Response:
        try:
            response = httpx.request(
                method, self._users + path, headers=self._headers, json=facts, timeout=15
            )
        except httpx.HTTPError as error:
            raise StorageUnavailable(
                f"Supabase Auth cannot be reached ({type(error).__name__}): try again."
            ) from None
        if response.status_code in (401, 403):
            raise AccessDenied(
                "Supabase Auth refuses the service key: check SUPABASE_SERVICE_ROLE_KEY."
            )
        if response.status_code >= 500 or response.status_code == 429:
            raise StorageUnavailable(f"Supabase Auth answered {response.status_code}: try again.")
        return response


def _is_ours(user: dict[str, Any]) -> bool:
    told = user.get("app_metadata") or {}
    return all(told.get(name) == value for name, value in _OURS.items())


def _words(response: httpx.Response) -> str:
    """Why, in Auth's own words."""
    try:
        body = response.json()
    except ValueError:
        return f"HTTP {response.status_code}"
    said = body.get("msg") or body.get("message") or f"HTTP {response.status_code}"
    return str(said).rstrip(".")
