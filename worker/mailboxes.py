"""The queues of messages to agents: declared and bound with the fleet's own rights.

RabbitMQ lets no agent bind: who could, could have a message that it got dead-lettered to
somebody else, who would find the name of the first sender on it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import amqp  # type: ignore[import-untyped]
from kombu import Connection

from argosy.mailbox import dead_letters, mailbox
from argosy.settings import FleetSettings
from worker.unready import BrokerUnready

CONNECT_SECONDS = 10


def open_mailbox(settings: FleetSettings, name: str) -> None:
    """Make the agent's two queues, so that what is sent before it starts waits for it.

    Safe to repeat. Raises BrokerUnready when the broker is away, or has a queue of that
    name with other arguments.
    """
    with _at_the_broker(settings, f"The queues of agent {name}'s messages") as connection:
        _open(connection, name)


def open_mailboxes(
    settings: FleetSettings, names: Iterable[str], *, dry_run: bool = False
) -> list[str]:
    """Make the queues of these agents that are not there, and say which, a line each.

    A broker that lost its data has none. Raises BrokerUnready as `open_mailbox` does.
    """
    made: list[str] = []
    with _at_the_broker(settings, "The queues of agents' messages") as connection:
        for name in names:
            missing = _missing(connection, name)
            made += [f"queue {queue}: made" for queue in missing]
            if missing and not dry_run:
                _open(connection, name)
    return made


def missing_queues(settings: FleetSettings, name: str) -> list[str]:
    """Which of its queues are not there. Raises what the broker's client raises."""
    with Connection(settings.broker_url, connect_timeout=CONNECT_SECONDS) as connection:
        return _missing(connection, name)


@contextmanager
def _at_the_broker(settings: FleetSettings, what: str) -> Iterator[Any]:
    connection = Connection(settings.broker_url, connect_timeout=CONNECT_SECONDS)
    refusals = (*connection.connection_errors, *connection.channel_errors)
    try:
        with connection:
            yield connection
    except refusals as error:
        raise BrokerUnready(
            f"{what} cannot be declared at BROKER_URL ({type(error).__name__}: {error}): "
            "put that right and run the command again."
        ) from None


def _open(connection: Any, name: str) -> None:
    with connection.channel() as channel:
        for queue in (mailbox(name, bound=True), dead_letters(name, bound=True)):
            queue(channel).declare()


def _missing(connection: Any, name: str) -> list[str]:
    queues = (mailbox(name), dead_letters(name))
    return [one.name for one in queues if not _is_there(connection, one.name)]


def _is_there(connection: Any, queue: str) -> bool:
    channel = connection.channel()
    try:
        channel.queue_declare(queue, passive=True)
    except amqp.NotFound:  # which has closed the channel
        return False
    channel.close()
    return True
