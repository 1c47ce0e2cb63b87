"""Exchanges and queues. Agents write requests, and messages to each other; the rest is the fleet's.

Queues are quorum queues with a dead-letter exchange. The delivery limit is high:
each time that a lost database makes a task hand its message back counts as one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from celery.app.amqp import AMQP, Queues
from kombu import Exchange, Queue

from argosy import mailbox
from models import Priority
from tasks.messages import CHUNKS, CONTROL, DEAD, INTERNAL, MEDIA, REQUESTS, to_queue

DELIVERY_LIMIT = 200

requests = Exchange(REQUESTS, type="direct", durable=True)
internal = Exchange(INTERNAL, type="direct", durable=True)
dead = Exchange(DEAD, type="fanout", durable=True)
EXCHANGES = (dead, mailbox.exchange)
"""Those that are declared although no queue of the fleet's says so."""

_ARGUMENTS = {
    "x-queue-type": "quorum",
    "x-delivery-limit": DELIVERY_LIMIT,
    "x-dead-letter-exchange": DEAD,
}


def _queue(name: str, exchange: Exchange) -> Queue:
    return Queue(name, exchange, routing_key=name, queue_arguments=dict(_ARGUMENTS))


DEAD_LETTERS = Queue(DEAD, dead, routing_key="", queue_arguments={"x-queue-type": "quorum"})
QUEUES = (
    _queue(REQUESTS, requests),
    _queue(CONTROL, requests),
    *(_queue(name, internal) for name in CHUNKS.values()),
    _queue("argosy.finish", internal),
    _queue(MEDIA, internal),
    _queue("argosy.upkeep", internal),
)


def declare(channel: Any) -> None:
    """Declare every exchange and queue of the fleet's, dead letters included; safe to repeat."""
    for exchange in EXCHANGES:
        exchange(channel).declare()
    for queue in (DEAD_LETTERS, *QUEUES):
        queue(channel).declare()


class _Queues(Queues):
    """Queues that are named in somebody's chain belong to agents: never declared here."""

    def new_missing(self, name: str) -> Queue:
        return Queue(name, routing_key=name, no_declare=True)


class FleetAMQP(AMQP):
    """Celery's way to the broker, with queues of agents left as they are."""

    queues_cls = _Queues


ROUTES = {
    "transfer.plan": to_queue(CHUNKS[Priority.NORMAL]),
    "transfer.chunk": to_queue(CHUNKS[Priority.NORMAL]),
    "transfer.digest": to_queue(CHUNKS[Priority.NORMAL]),
    "transfer.reassemble": to_queue("argosy.finish"),
    "transfer.cleanup": to_queue("argosy.upkeep"),
    "transfer.resume": to_queue("argosy.upkeep"),
    "transfer.reconcile": to_queue("argosy.upkeep"),
    "transfer.sweep": to_queue("argosy.upkeep"),
    "transfer.forget": to_queue("argosy.upkeep"),
    "transfer.bury": to_queue("argosy.upkeep"),
}


def agents_route(agent_queue: str) -> Callable[..., dict[str, str] | None]:
    """Route a chained task that the fleet does not know to the queue of the agents' workers."""

    def route(name: str, *_: Any, **__: Any) -> dict[str, str] | None:
        ours = name.startswith(("transfer.", "celery."))
        return None if ours else {"queue": agent_queue}

    return route
