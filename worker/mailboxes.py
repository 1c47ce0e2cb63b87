"""The queues of messages to agents: declared and bound with the fleet's own rights.

RabbitMQ lets no agent bind: who could, could have a message that it got dead-lettered to
somebody else, who would find the name of the first sender on it.
"""

from __future__ import annotations

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
    connection = Connection(settings.broker_url, connect_timeout=CONNECT_SECONDS)
    refusals = (*connection.connection_errors, *connection.channel_errors)
    try:
        with connection:
            for queue in (mailbox(name, bound=True), dead_letters(name, bound=True)):
                queue(connection.channel()).declare()
    except refusals as error:
        raise BrokerUnready(
            f"The queues of agent {name}'s messages cannot be declared at BROKER_URL "
            f"({type(error).__name__}: {error}): put that right and run the command again."
        ) from None


def missing_queues(settings: FleetSettings, name: str) -> list[str]:
    """Which of its queues are not there. Raises what the broker's client raises."""
    with Connection(settings.broker_url, connect_timeout=CONNECT_SECONDS) as connection:
        queues = (mailbox(name), dead_letters(name))
        return [one.name for one in queues if not _is_there(connection, one.name)]


def _is_there(connection: Connection, queue: str) -> bool:
    try:
        connection.channel().queue_declare(queue, passive=True)
    except amqp.NotFound:
        return False
    return True
