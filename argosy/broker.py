"""Connections to RabbitMQ, and publishing on them: confirmed, or refused with a reason.

Raw AMQP: what kombu's own messages do to a body (decompress, decode) is a sender's to choose.
"""

from __future__ import annotations

import atexit
import logging
import os
import random
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

import amqp  # type: ignore[import-untyped]
from kombu import Connection

from argosy.errors import AccessDenied, Error, FleetUnavailable, InvalidMessage, InvalidRequest
from argosy.mailbox import EXCHANGE, USER

log = logging.getLogger(__name__)

LOST = (amqp.AMQPError, OSError)
"""What a connection raises that is not there any more."""
CONNECT_SECONDS = 5
CONFIRM_SECONDS = 30
"""How long the broker may take to say that it has a message."""
CLOSE_SECONDS = 2
IDLE_CONNECTIONS = 4
PAUSES = (0.0, 0.2, 1.0, 3.0)
"""Seconds before another try, each at random between half and the whole of it; the first try
may only have met a connection that the broker had closed meanwhile."""


def not_let_in(url: str, error: amqp.AccessRefused | amqp.NotAllowed) -> AccessDenied:
    """What the broker has said to the agent's user or its password, and what to do."""
    return AccessDenied(
        f"RabbitMQ does not let {Connection(url).userid} in ({error.reply_text}): check "
        "BROKER_URL, and that the agent is not disabled."
    )


def is_full(error: amqp.AccessRefused | amqp.NotAllowed) -> bool:
    """Whether it is about a limit of connections: others will end."""
    return "limit" in str(error.reply_text)


def is_brokers(error: AccessDenied) -> bool:
    """Whether the broker refused: then nobody has heard of the request."""
    return isinstance(error.__cause__, amqp.AMQPError)


class NotTaken(Exception):
    """The broker has certainly not taken a message; `error` says why."""

    def __init__(self, error: Error) -> None:
        super().__init__(str(error))
        self.error = error


@dataclass(frozen=True)
class Address:
    """A broker's URL."""

    url: str

    def __post_init__(self) -> None:
        if not self.url.startswith(("amqp://", "amqps://")):
            raise InvalidRequest("Messages between agents need RabbitMQ: BROKER_URL is none.")

    def connect(self, heartbeat: int = 0, *, confirm: bool = False) -> amqp.Connection:
        """A new connection; `heartbeat` in seconds, none where 0.

        Raises AccessDenied, and an error of LOST when the broker is away.
        """
        options = {"confirm_publish": confirm}
        wanted = Connection(
            self.url,
            heartbeat=heartbeat,
            connect_timeout=CONNECT_SECONDS,
            transport_options=options,
        )
        try:
            return wanted.transport.establish_connection()
        except (amqp.AccessRefused, amqp.NotAllowed) as error:
            if is_full(error):
                raise
            raise not_let_in(self.url, error) from error

    @property
    def vouched(self) -> dict[str, str]:
        """The property that has the broker vouch for an agent's own user."""
        user = str(Connection(self.url).userid or "")
        return {"user_id": user} if user.startswith(USER) else {}


class Publisher:
    """Publishes to the exchange of messages. Any thread of one process may use it."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._idle: deque[amqp.Connection] = deque()

    def publish(
        self,
        key: str,
        body: bytes,
        *,
        message_id: str | None = None,
        headers: Mapping[str, str | int] | None = None,
    ) -> None:
        """Have the broker keep a message of JSON, by its routing key.

        Raises NotTaken, AccessDenied, and FleetUnavailable when the broker stays away: then,
        and after any other error, it may have the message or not.
        """
        properties = {
            "content_type": "application/json",
            "delivery_mode": 2,
            "timestamp": int(time.time()),
            "application_headers": dict(headers or {}),
            **({"message_id": message_id} if message_id else {}),
            **self._address.vouched,
        }
        is_unclear = False
        for pause in (*PAUSES, None):
            try:
                return self._publish(key, amqp.Message(body, **properties))
            except NotTaken as refused:
                if is_unclear:  # the try before may have been taken
                    raise refused.error from None
                raise
            except LOST as error:
                is_unclear = True
                if pause is None:
                    raise _unavailable(error) from error
                time.sleep(pause * random.uniform(0.5, 1))  # noqa: S311  spreads load
        return None

    def has_queue(self, queue: str) -> bool:
        """Whether there is such a queue. Raises AccessDenied, FleetUnavailable."""
        try:
            connection = self._address.connect()
            try:
                connection.channel().queue_declare(queue, passive=True)
            finally:
                close(connection)
        except amqp.NotFound:
            return False
        except LOST as error:
            raise _unavailable(error) from error
        return True

    def close(self) -> None:
        """Give back every connection that nobody uses."""
        while self._idle:
            close(self._idle.pop())

    def _publish(self, key: str, message: amqp.Message) -> None:
        connection = self._taken()
        try:
            _send(connection, key, message)
        except BaseException:  # its channel may still hear of this message: not for the next one
            close(connection)
            raise
        self._idle.append(connection)
        if len(self._idle) > IDLE_CONNECTIONS:
            close(self._idle.popleft())

    def _taken(self) -> amqp.Connection:
        with suppress(IndexError):  # another thread may have taken the last one
            return self._idle.pop()
        return self._address.connect(confirm=True)


def _send(connection: amqp.Connection, key: str, message: amqp.Message) -> None:
    """Raises NotTaken, and errors of LOST."""
    try:
        connection.channel(1).basic_publish(
            message,
            EXCHANGE,
            key,
            mandatory=True,
            timeout=CONFIRM_SECONDS,
            confirm_timeout=CONFIRM_SECONDS,
        )
    except amqp.AMQPError as error:
        if refusal := _refusal(key, error):
            raise NotTaken(refusal) from None
        raise
    except amqp.exceptions.MessageNacked:
        full = f"The queue of messages {key!r} is full: try again later."
        raise NotTaken(FleetUnavailable(full)) from None


def _refusal(key: str, error: amqp.AMQPError) -> Error | None:
    """What the broker's word means, where it is a refusal of this very message."""
    said = str(error.reply_text)
    match error.reply_code:
        case 312:  # no route
            return InvalidRequest(f"There is no agent that gets {key!r}: check the name.")
        case 403:
            return AccessDenied(f"RabbitMQ does not let this agent publish {key!r} ({said}).")
        case 404:
            return FleetUnavailable(f"RabbitMQ has no {EXCHANGE}: run `argosy bootstrap`.")
        case 406 if "user_id" in said:
            return AccessDenied(f"RabbitMQ does not vouch for the sender ({said}).")
        case 406 | 311:
            return InvalidMessage(f"RabbitMQ does not take the message ({said}).")
    return None


def _unavailable(error: Exception) -> FleetUnavailable:
    return FleetUnavailable(
        f"RabbitMQ cannot be reached ({type(error).__name__}): check BROKER_URL, or try again "
        "later."
    )


def close(connection: amqp.Connection) -> None:
    """In order where the broker answers; the socket is gone in any case."""
    with suppress(*LOST):
        if connection.connected:
            connection.sock.settimeout(CLOSE_SECONDS)
            connection.close()
    connection.collect()


_publishers: dict[tuple[int, str], Publisher] = {}


def publisher(url: str) -> Publisher:
    """The one of this process: a fork must not share its parent's sockets.

    Raises InvalidRequest where the broker is not RabbitMQ.
    """
    key = (os.getpid(), url)
    if key not in _publishers:
        _publishers.setdefault(key, Publisher(Address(url)))
    return _publishers[key]


@atexit.register
def _close_all() -> None:
    for (pid, _), one in list(_publishers.items()):
        if pid == os.getpid():
            one.close()
