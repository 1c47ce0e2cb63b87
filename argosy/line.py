"""One connection on which messages come in."""

from __future__ import annotations

import struct
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import amqp  # type: ignore[import-untyped]

from argosy.broker import LOST, Address, close
from argosy.errors import AccessDenied
from argosy.mailbox import USER

HEARTBEAT_SECONDS = 30
"""The broker, or we, give a connection up that was silent for twice as long."""


@dataclass(frozen=True)
class Delivery:
    """A message as it came, for one handler."""

    body: bytes
    properties: dict[str, Any]
    redelivered: bool
    tag: int
    line: Line = field(repr=False)

    @property
    def failures(self) -> int:
        """How often it was delivered before, and not acknowledged: RabbitMQ counts."""
        count = (self.properties.get("application_headers") or {}).get("x-delivery-count", 0)
        return count if self.redelivered and isinstance(count, int) else 0

    @property
    def sender(self) -> str | None:
        """The agent for whom the broker vouches."""
        user = str(self.properties.get("user_id") or "")
        return user.removeprefix(USER) if user.startswith(USER) else None


_UNREADABLE = (ValueError, ArithmeticError, LookupError, RecursionError, struct.error)
"""What py-amqp raises about the properties of a message that it cannot decode."""


class Line:
    """A consumer of one queue, on a connection of its own. For one thread."""

    def __init__(self, address: Address, queue: str, prefetch: int) -> None:
        """Raises AccessDenied, amqp.NotFound without the queue, and errors of LOST."""
        self._arrived: deque[Delivery] = deque()
        self._connection = address.connect(HEARTBEAT_SECONDS)
        try:
            self._channel = self._connection.channel()
            self._channel.auto_decode = False  # by the sender's word
            self._channel.basic_qos(0, prefetch, a_global=False)
            self._tag: str | None = self._channel.basic_consume(queue, callback=self._take)
        except BaseException as error:
            close(self._connection)
            if isinstance(error, amqp.AccessRefused):
                raise AccessDenied(
                    f"RabbitMQ does not let this agent read {queue}: the broker's user must be "
                    "the agent's own, or give the inbox another name."
                ) from None
            raise

    def listen(self, seconds: float) -> None:
        """Take what comes within so long, and keep the connection alive. Raises errors of LOST."""
        end = time.monotonic() + seconds
        with suppress(TimeoutError):
            self._drain(max(seconds, 0.001))
            while not self._arrived and (left := end - time.monotonic()) > 0:
                self._drain(left)
        self._connection.heartbeat_tick()

    def _drain(self, seconds: float) -> None:
        """Take what comes. A message that cannot be read costs the connection, not the inbox.

        The broker counts that as a delivery, and puts the message aside in the end.
        """
        try:
            self._connection.drain_events(timeout=seconds)
        except _UNREADABLE as error:
            name = type(error).__name__
            raise amqp.FrameSyntaxError(f"a message's properties: {name}") from error

    def next(self) -> Delivery | None:
        """What has come first, if anything has."""
        return self._arrived.popleft() if self._arrived else None

    def hold(self) -> None:
        """Let nothing more come: what comes and is given back counts as delivered."""
        if self._tag is not None:
            self._channel.basic_cancel(self._tag)
            self._tag = None

    def acknowledge(self, delivery: Delivery) -> None:
        """Have the broker forget a message."""
        self._channel.basic_ack(delivery.tag)

    def give_back(self, delivery: Delivery) -> None:
        """Have the broker deliver a message again, to whomever."""
        self._channel.basic_reject(delivery.tag, requeue=True)

    def close(self) -> None:
        """The broker delivers again what was not acknowledged."""
        close(self._connection)

    def _take(self, message: Any) -> None:
        body = message.body
        self._arrived.append(
            Delivery(
                body=body.encode() if isinstance(body, str) else bytes(body),
                properties=message.properties,
                redelivered=bool(message.delivery_info["redelivered"]),
                tag=message.delivery_tag,
                line=self,
            )
        )


__all__ = ["HEARTBEAT_SECONDS", "LOST", "Delivery", "Line"]
