"""RabbitMQ's management API, by which operators make users and policies."""

from __future__ import annotations

from typing import Any, Self
from urllib.parse import quote

import httpx
from kombu.utils.url import url_to_parts

from argosy.settings import FleetSettings


class BrokerApiError(Exception):
    """RabbitMQ's management API refuses or cannot be reached; the message is a sentence."""


def virtual_host(broker_url: str) -> str:
    """The virtual host that a broker URL names."""
    return url_to_parts(broker_url.split(";", maxsplit=1)[0]).path or "/"


def api_url(broker_api: str) -> str:
    """The management API as others want it: with `/api/` at the end."""
    return broker_api.rstrip("/").removesuffix("/api") + "/api/"


class BrokerApi:
    """The management API of one broker. Raises BrokerApiError when it refuses or is away."""

    def __init__(self, broker_api: str, broker_url: str) -> None:
        self.broker_url = broker_url
        self.vhost = virtual_host(broker_url)
        # A connection for each request: RabbitMQ drops one after a refusal, without saying so.
        alone = httpx.Limits(max_keepalive_connections=0)
        self._http = httpx.Client(base_url=api_url(broker_api), timeout=15, limits=alone)

    @classmethod
    def of(cls, settings: FleetSettings) -> Self | None:
        """That of the fleet's broker; None where none is named, or Valkey is the broker."""
        if why_none(settings) or settings.broker_api is None:
            return None
        return cls(settings.broker_api, settings.broker_url)

    def in_vhost(self, kind: str, name: str) -> str:
        """The path of something that belongs to the fleet's virtual host."""
        return f"{kind}/{quote(self.vhost, safe='')}/{name}"

    def ask(self, method: str, path: str, body: Any = None, *, may_fail: int = 0) -> httpx.Response:
        """One request; an answer with status `may_fail` is the caller's to look at."""
        try:
            response = self._http.request(method, path, json=body)
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
