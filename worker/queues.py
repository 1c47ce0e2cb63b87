"""Exchanges and queues. Agents write to one exchange; the rest is the fleet's own.

Queues are quorum queues with a dead-letter exchange. The delivery limit is high:
each time that a lost database makes a task hand its message back counts as one.
"""

from __future__ import annotations

from kombu import Exchange, Queue

from tasks.messages import INTERNAL, REQUESTS

DEAD = "argosy.dead"
DELIVERY_LIMIT = 200

requests = Exchange(REQUESTS, type="direct", durable=True)
internal = Exchange(INTERNAL, type="direct", durable=True)
dead = Exchange(DEAD, type="fanout", durable=True)

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
    _queue("argosy.chunks", internal),
    _queue("argosy.finish", internal),
    _queue("argosy.upkeep", internal),
)

ROUTES = {
    "transfer.plan": {"queue": "argosy.chunks"},
    "transfer.chunk": {"queue": "argosy.chunks"},
    "transfer.digest": {"queue": "argosy.chunks"},
    "transfer.reassemble": {"queue": "argosy.finish"},
    "transfer.cleanup": {"queue": "argosy.finish"},
    "transfer.resume": {"queue": "argosy.upkeep"},
}
