"""RabbitMQ users of agents: what each may do is in deploy/rabbitmq/agent.json, and nothing else.

This makes it so through the management API.
"""

from __future__ import annotations

import json
import re
import secrets
from functools import cache
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote, urlsplit

from kombu.utils.url import url_to_parts

from argosy.errors import InvalidRequest
from argosy.settings import FleetSettings
from worker.broker_api import BrokerApi

RULES = Path(__file__).resolve().parent.parent / "deploy" / "rabbitmq" / "agent.json"


@cache
def _rules() -> dict[str, Any]:
    rules: dict[str, Any] = json.loads(RULES.read_text())
    return rules


def user_of(name: str) -> str:
    """The RabbitMQ user of an agent; the prefix keeps it apart from users of other kinds."""
    return str(_rules()["user"]).replace("NAME", name)


def permissions_of(name: str) -> dict[str, str]:
    """What that user may do on the fleet's virtual host, as three regular expressions."""
    return _named(_rules()["permissions"], name)


def topic_permissions_of(name: str) -> dict[str, dict[str, str]]:
    """The routing keys that it may write and read, by the exchange that they are of."""
    found: dict[str, dict[str, str]] = _rules()["topic_permissions"]
    return {exchange: _named(patterns, name) for exchange, patterns in found.items()}


def _named(patterns: dict[str, str], name: str) -> dict[str, str]:
    return {kind: pattern.replace("NAME", re.escape(name)) for kind, pattern in patterns.items()}


def rights_of(name: str) -> dict[str, Any]:
    """All of it, in the form in which `BrokerUsers.rights` says what is so."""
    return {**permissions_of(name), "topics": topic_permissions_of(name)}


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


class BrokerUsers:
    """The users of one broker. Raises BrokerApiError when its API refuses or is away.

    `reached_at` is the broker's URL as agents have it, whatever user it names.
    """

    def __init__(self, api: BrokerApi, reached_at: str) -> None:
        self._api = api
        self._reached_at = reached_at

    @classmethod
    def of(cls, settings: FleetSettings) -> Self | None:
        """Those of the fleet's broker; None where no API is named, or Valkey is the broker."""
        api = BrokerApi.of(settings)
        return cls(api, settings.agent_broker or settings.broker_url) if api else None

    def take_in(self, name: str) -> str:
        """Make the agent's user, or give it a new password; returns the agent's broker URL.

        Connections with the old password end. Raises InvalidRequest when the user
        is somebody else's.
        """
        user, password = user_of(name), secrets.token_urlsafe(32)
        self._refuse_others(user)
        self._api.ask("PUT", f"users/{user}", {"password": password, "tags": _rules()["tags"]})
        for limit, value in _rules()["limits"].items():
            self._api.ask("PUT", f"user-limits/{user}/{limit}", {"value": value})
        self._end_connections(user)
        return url_for(self._reached_at, user, password)

    def grant(self, name: str) -> bool:
        """Give it its permissions; False when it has no user."""
        user = user_of(name)
        if self._api.ask("GET", f"users/{user}", may_fail=404).status_code == 404:
            return False
        # First the routing keys: who has no topic permission may use every one.
        for exchange, patterns in topic_permissions_of(name).items():
            self._api.ask("PUT", self._topics(user), {"exchange": exchange, **patterns})
        self._api.ask("PUT", self._permissions(user), permissions_of(name))
        return True

    def rights(self, name: str) -> dict[str, Any] | None:
        """What its user may do now; None where there is none, or it may do nothing."""
        user = user_of(name)
        found = self._api.ask("GET", self._permissions(user), may_fail=404)
        if not found.is_success:
            return None
        topics = {
            one["exchange"]: {"write": one["write"], "read": one["read"]}
            for one in self._api.ask("GET", f"users/{user}/topic-permissions").json()
            if one["vhost"] == self._api.vhost
        }
        return {**{kind: found.json()[kind] for kind in permissions_of(name)}, "topics": topics}

    def shut_out(self, name: str) -> None:
        """Take its permissions, and end its connections: each has cached what it may do.

        Those for routing keys stay: alone they allow nothing, and without them a
        connection that has not ended yet could use every key.
        """
        user = user_of(name)
        self._api.ask("DELETE", self._permissions(user), may_fail=404)
        self._end_connections(user)

    def _refuse_others(self, user: str) -> None:
        found = self._api.ask("GET", f"users/{user}", may_fail=404)
        if found.is_success and (found.json()["tags"] or self._is_used_elsewhere(user)):
            raise InvalidRequest(
                f"RabbitMQ has a user {user!r} that is not this fleet's agent, for it has tags "
                "or another virtual host: choose another name."
            )

    def _is_used_elsewhere(self, user: str) -> bool:
        """By the fleet itself, or by another one on the same broker."""
        may = self._api.ask("GET", f"users/{user}/permissions").json()
        is_fleets = user == url_to_parts(self._api.broker_url).username
        return is_fleets or any(one["vhost"] != self._api.vhost for one in may)

    def _permissions(self, user: str) -> str:
        return self._api.in_vhost("permissions", user)

    def _topics(self, user: str) -> str:
        return self._api.in_vhost("topic-permissions", user)

    def _end_connections(self, user: str) -> None:
        self._api.ask("DELETE", f"connections/username/{user}", may_fail=404)
