"""RabbitMQ users of agents: each may write requests and read its own inbox, and nothing else.

What a user may do is in deploy/rabbitmq/agent.json; this makes it so through the management API.
"""

from __future__ import annotations

import json
import re
import secrets
from functools import cache
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote, urlsplit

import httpx
from kombu.utils.url import url_to_parts

from argosy.errors import InvalidRequest
from argosy.settings import FleetSettings

RULES = Path(__file__).resolve().parent.parent / "deploy" / "rabbitmq" / "agent.json"


class BrokerApiError(Exception):
    """RabbitMQ's management API refuses or cannot be reached; the message is a sentence."""


@cache
def _rules() -> dict[str, Any]:
    rules: dict[str, Any] = json.loads(RULES.read_text())
    return rules


def user_of(name: str) -> str:
    """The RabbitMQ user of an agent; the prefix keeps it apart from users of other kinds."""
    return str(_rules()["user"]).replace("NAME", name)


def permissions_of(name: str) -> dict[str, str]:
    """What that user may do on the fleet's virtual host, as three regular expressions."""
    found: dict[str, str] = _rules()["permissions"]
    return {kind: pattern.replace("NAME", re.escape(name)) for kind, pattern in found.items()}


def virtual_host(broker_url: str) -> str:
    """The virtual host that a broker URL names."""
    return url_to_parts(broker_url.split(";", maxsplit=1)[0]).path or "/"


def url_for(broker_url: str, user: str, password: str) -> str:
    """The same broker, or each of several, for another user."""
    return ";".join(_with_user(url, user, password) for url in broker_url.split(";"))


def _with_user(url: str, user: str, password: str) -> str:
    parts = urlsplit(url)
    if not parts.netloc:  # one more host, without a user of its own
        return url
    host = parts.netloc.rpartition("@")[2]
    return parts._replace(
        netloc=f"{quote(user, safe='')}:{quote(password, safe='')}@{host}"
    ).geturl()


def api_url(broker_api: str) -> str:
    """The management API as others want it: with `/api/` at the end."""
    return broker_api.rstrip("/").removesuffix("/api") + "/api/"


class BrokerUsers:
    """The users of one broker. Raises BrokerApiError when its API refuses or is away."""

    def __init__(self, broker_api: str, broker_url: str) -> None:
        self._broker_url = broker_url
        self._vhost = virtual_host(broker_url)
        # A connection for each request: RabbitMQ drops one after a refusal, without saying so.
        alone = httpx.Limits(max_keepalive_connections=0)
        self._api = httpx.Client(base_url=api_url(broker_api), timeout=15, limits=alone)

    @classmethod
    def of(cls, settings: FleetSettings) -> Self | None:
        """Those of the fleet's broker; None where no API is named, or Valkey is the broker."""
        if why_none(settings) or settings.broker_api is None:
            return None
        return cls(settings.broker_api, settings.broker_url)

    def take_in(self, name: str) -> str:
        """Make the agent's user, or give it a new password; returns the agent's broker URL.

        Connections with the old password end. Raises InvalidRequest when the user
        is somebody else's.
        """
        user, password = user_of(name), secrets.token_urlsafe(32)
        self._refuse_others(user)
        self._ask("PUT", f"users/{user}", {"password": password, "tags": _rules()["tags"]})
        for limit, value in _rules()["limits"].items():
            self._ask("PUT", f"user-limits/{user}/{limit}", {"value": value})
        self._end_connections(user)
        return url_for(self._broker_url, user, password)

    def grant(self, name: str) -> bool:
        """Give it its permissions; False when it has no user."""
        user = user_of(name)
        if self._ask("GET", f"users/{user}", may_fail=404).status_code == 404:
            return False
        self._ask("PUT", self._permissions(user), permissions_of(name))
        return True

    def permissions(self, name: str) -> dict[str, str] | None:
        """What its user may do now; None where there is none, or it may do nothing."""
        found = self._ask("GET", self._permissions(user_of(name)), may_fail=404)
        if not found.is_success:
            return None
        return {kind: found.json()[kind] for kind in permissions_of(name)}

    def shut_out(self, name: str) -> None:
        """Take its permissions, and end its connections: each has cached what it may do."""
        user = user_of(name)
        self._ask("DELETE", self._permissions(user), may_fail=404)
        self._end_connections(user)

    def _refuse_others(self, user: str) -> None:
        found = self._ask("GET", f"users/{user}", may_fail=404)
        if found.is_success and (found.json()["tags"] or self._is_used_elsewhere(user)):
            raise InvalidRequest(
                f"RabbitMQ has a user {user!r} that is not this fleet's agent, for it has tags "
                "or another virtual host: choose another name."
            )

    def _is_used_elsewhere(self, user: str) -> bool:
        """By the fleet itself, or by another one on the same broker."""
        may = self._ask("GET", f"users/{user}/permissions").json()
        is_fleets = user == url_to_parts(self._broker_url).username
        return is_fleets or any(one["vhost"] != self._vhost for one in may)

    def _permissions(self, user: str) -> str:
        return f"permissions/{quote(self._vhost, safe='')}/{user}"

    def _end_connections(self, user: str) -> None:
        self._ask("DELETE", f"connections/username/{user}", may_fail=404)

    def _ask(
        self, method: str, path: str, body: Any = None, *, may_fail: int = 0
    ) -> httpx.Response:
        try:
            response = self._api.request(method, path, json=body)
        except httpx.HTTPError as error:
            raise BrokerApiError(
                "RabbitMQ's management API (ARGOSY_BROKER_API) cannot be reached "
                f"({type(error).__name__}): try again."
            ) from None
        if response.is_success or response.status_code == may_fail:
            return response
        if response.status_code in (401, 403):
            raise BrokerApiError(
                "RabbitMQ's management API refuses the user of ARGOSY_BROKER_API: "
                "it needs the tag `administrator`, and the right password."
            )
        raise BrokerApiError(
            f"RabbitMQ's management API answered {response.status_code} to {method} {path}: "
            f"{response.text[:200]}"
        )


def why_none(settings: FleetSettings) -> str | None:
    """Why agents have no broker user that could be made or changed here; None where they do."""
    if not settings.broker_url.startswith("amqp"):
        return (
            "The broker is not RabbitMQ, so agents have no user of their own there: "
            "they need the fleet's BROKER_URL, and with it may do everything. For development only."
        )
    if settings.broker_api is None:
        return (
            "ARGOSY_BROKER_API is not set, so agents' users in RabbitMQ are neither made nor "
            "changed: set it, or see deploy/rabbitmq/README.md."
        )
    return None
