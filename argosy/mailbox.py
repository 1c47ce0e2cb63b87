"""Where messages between agents go: the exchange, and the two queues of each agent.

The fleet's operator declares them (`argosy agents add`), agents read and write them. Who
declares a queue with other arguments than are written here is refused by the broker.
"""

from __future__ import annotations

from typing import Any

from kombu import Exchange, Queue

EXCHANGE = "argosy.messages"
INBOX = "inbox."
MESSAGES = "messages."
USER = "agent."
"""How the names of agents' queues, and of their users on RabbitMQ, begin."""
DELIVERY_LIMIT = 50
"""After so many deliveries that nobody acknowledged, RabbitMQ puts a message aside."""

exchange = Exchange(EXCHANGE, type="topic", durable=True)


def inbox_of(name: str) -> str:
    """The queue of an agent's own Celery worker: what it chains to a transfer goes there."""
    return f"{INBOX}{name}"


def queue_of(name: str) -> str:
    """The queue of an agent's messages."""
    return f"{MESSAGES}{name}"


def dead_queue_of(name: str) -> str:
    """The queue of those of its messages that could not be handled."""
    return f"{queue_of(name)}.dead"


def key_to(name: str) -> str:
    """The routing key of a message to an agent."""
    return f"to.{name}"


def dead_key_of(name: str) -> str:
    """The routing key of a message that the agent could not handle."""
    return f"dead.{name}"


def mailbox(name: str, *, bound: bool = False) -> Queue:
    """An agent's messages.

    `bound` binds it to the exchange when it is declared, which RabbitMQ lets the operator
    do and no agent: see deploy/rabbitmq/README.md.
    """
    arguments = {
        "x-queue-type": "quorum",
        "x-delivery-limit": DELIVERY_LIMIT,
        "x-dead-letter-exchange": EXCHANGE,
        "x-dead-letter-routing-key": dead_key_of(name),
    }
    return _queue(queue_of(name), arguments, key_to(name) if bound else None)


def dead_letters(name: str, *, bound: bool = False) -> Queue:
    """Those that it could not handle; `bound` as for `mailbox`."""
    arguments = {"x-queue-type": "quorum"}
    return _queue(dead_queue_of(name), arguments, dead_key_of(name) if bound else None)


def _queue(name: str, arguments: dict[str, Any], key: str | None) -> Queue:
    if key is None:
        return Queue(name, durable=True, queue_arguments=arguments)
    return Queue(name, exchange, routing_key=key, durable=True, queue_arguments=arguments)
