"""Requests of an agent that asks for very much at once are set aside, before others wait for them.

To accept a request takes some 30 milliseconds of a worker's child. To set one aside takes the main
process one or two: it is published, as it came, to one of a few queues, from which workers take in
turn with the queue of all requests. So whoever asks for little is read at once, however much
others have asked for. An agent is told by its token, whose signature is looked at later.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import structlog
from celery import Celery
from kombu import Connection, Message, Producer
from kombu.exceptions import KombuError, OperationalError

from argosy.auth import TOKEN_HEADER
from models import Priority
from tasks.messages import ASIDE, INTERNAL, REQUESTS

log = structlog.get_logger(__name__)

AT_ONCE = 20
"""Requests that an agent may make at once before they are set aside."""
PER_SECOND = 5.0
"""And so many more each second."""
MOST_SENDERS = 10_000
"""Of whom is known how much they have asked for lately."""
PATIENCE_SECONDS = 5.0
"""How long the broker may take to confirm, and how long it is left alone where it did not."""
_COPIED = ("correlation_id", "reply_to", "expiration", "priority")
"""Properties of a message that it still has when it is set aside."""


@dataclass
class _Bucket:
    left: float
    at: float


class Allowances:
    """How much each sender may still ask for, by a token bucket each."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: OrderedDict[Any, _Bucket] = OrderedDict()

    def take(self, sender: Any) -> bool:
        """Whether this sender may ask for one thing more now."""
        now = self._clock()
        bucket = self._buckets.pop(sender, None) or _Bucket(AT_ONCE, now)
        self._buckets[sender] = bucket
        bucket.left = min(AT_ONCE, bucket.left + (now - bucket.at) * PER_SECOND)
        bucket.at = now
        if len(self._buckets) > MOST_SENDERS:
            self._buckets.popitem(last=False)
        if bucket.left < 1:
            return False
        bucket.left -= 1
        return True


class Aside:
    """Sets messages aside, over a connection of its own that is made when it is needed.

    Those that came together are confirmed together: the broker writes each to disk. Where it
    does not confirm, they are accepted like any other.
    """

    def __init__(self, app: Celery, accept: Callable[[Message], None]) -> None:
        self._app = app
        self._accept = accept
        self._allowances = Allowances()
        known = app.connection_for_write()
        self._errors = (OSError, KombuError, *known.connection_errors, *known.channel_errors)
        self._connection: Connection | None = None
        self._sent: list[Message] = []
        self._unconfirmed: set[int] = set()
        self._published = 0
        self._not_before = 0.0

    def takes(self, message: Message) -> bool:
        """Whether this message is set aside: its sender has asked for very much lately.

        Urgent requests have an allowance of their own. `settle` is to be called soon.
        """
        is_request = message.delivery_info.get("routing_key") == REQUESTS
        if not is_request or time.monotonic() < self._not_before:
            return False
        sender = hash(str(message.headers.get(TOKEN_HEADER)))
        if self._allowances.take((sender, _is_urgent(message))):
            return False
        self._sent.append(message)
        try:
            self._publish(message, ASIDE[sender % len(ASIDE)])
        except self._errors as error:
            self._give_up(error)
        return True

    def settle(self) -> None:
        """Acknowledge what was set aside, once the broker has it."""
        if not self._sent:
            return
        try:
            self._wait()
        except self._errors as error:
            self._give_up(error)
        sent, self._sent = self._sent, []
        for message in sent:
            message.ack_log_error(log, self._errors)

    def close(self) -> None:
        """End the connection; what is not confirmed is not acknowledged, and so comes again."""
        self._sent = []
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.collect(socket_timeout=1)

    def _give_up(self, error: Exception) -> None:
        """Leave the broker alone for a while. Twice the same message is one request."""
        log.warning("message.not_set_aside", error=type(error).__name__, messages=len(self._sent))
        sent = self._sent
        self.close()
        self._not_before = time.monotonic() + PATIENCE_SECONDS
        for message in sent:
            self._accept(message)

    def _publish(self, message: Message, queue: str) -> None:
        channel = self._channel()
        properties = {name: message.properties.get(name) for name in _COPIED}
        Producer(channel, auto_declare=False).publish(
            message.body,
            exchange=INTERNAL,
            routing_key=queue,
            mandatory=True,
            headers=message.headers,
            content_type=message.content_type,
            content_encoding=message.content_encoding,
            **{name: value for name, value in properties.items() if value is not None},
        )
        self._published += 1
        self._unconfirmed.add(self._published)

    def _wait(self) -> None:
        end = time.monotonic() + PATIENCE_SECONDS
        while self._connection and self._unconfirmed:
            self._connection.drain_events(timeout=max(0.001, end - time.monotonic()))

    def _channel(self) -> Any:
        if self._connection is None:
            self._connection = self._app.connection_for_write()
            self._connection.transport_options = {
                "read_timeout": PATIENCE_SECONDS,
                "write_timeout": PATIENCE_SECONDS,
            }
            channel = self._connection.default_channel
            channel.confirm_select()
            channel.events["basic_ack"].add(self._confirmed)
            channel.events["basic_nack"].add(_refused)
            self._published, self._unconfirmed = 0, set()
        return self._connection.default_channel

    def _confirmed(self, tag: int, multiple: bool) -> None:  # noqa: FBT001  py-amqp's signature
        done = {one for one in self._unconfirmed if one <= tag} if multiple else {tag}
        self._unconfirmed -= done


def _refused(tag: int, _multiple: bool) -> None:  # noqa: FBT001  the same
    raise OperationalError(f"the broker did not take message {tag}")


def _is_urgent(message: Message) -> bool:
    _, named, _ = message.decode()
    return bool(named.get("priority") == Priority.URGENT)
