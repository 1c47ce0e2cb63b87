"""Exchanges and queues. Agents write requests, and messages to each other; the rest is the fleet's.

Queues are quorum queues with a dead-letter exchange. The delivery limit is high:
each time that a lost database makes a task hand its message back counts as one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from celery.app.amqp import AMQP, Queues
from kombu import Exchange, Queue

from argosy import mailbox
from argosy.settings import FleetSettings
from models import Priority
from tasks.messages import ASIDE, CHUNKS, CONTROL, DEAD, FINISH, INTERNAL, MEDIA, REQUESTS, to_queue
from tasks.spools import at_spool, own_spools

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
    *(_queue(name, internal) for name in ASIDE),
    *(_queue(name, internal) for name in CHUNKS.values()),
    _queue(FINISH, internal),
    _queue(MEDIA, internal),
    _queue("argosy.upkeep", internal),
)


_SPOOLED = (*CHUNKS.values(), FINISH)
"""The queues of which each spool has one of its own."""


def queues_of_spools(spools: Iterable[str]) -> tuple[Queue, ...]:
    """Those of the work that only workers with one of these spools can do."""
    return tuple(_queue(at_spool(name, spool), internal) for spool in spools for name in _SPOOLED)


def with_own_spools(settings: FleetSettings, names: Sequence[str]) -> Sequence[str]:
    """These queues, and those of the same work in the spools that this process has."""
    spools = own_spools(settings)
    return [*names, *(at_spool(one, its) for one in names if one in _SPOOLED for its in spools)]


def unknown_among(settings: FleetSettings, names: Iterable[str]) -> list[str]:
    """Those that are no queue for the fleet's workers; RabbitMQ would end a worker of them."""
    known = names_for_workers(settings)
    return [name for name in names if name not in known]


def names_for_workers(settings: FleetSettings) -> list[str]:
    """The queues that a worker may be told to read, those of named spools at the end."""
    return [queue.name for queue in (*QUEUES, *queues_of_spools(settings.spools))]


def read_by(settings: FleetSettings) -> tuple[Queue, ...]:
    """The queues that a worker with these settings reads, unless it is told otherwise."""
    return (*QUEUES, *queues_of_spools(own_spools(settings)))


def all_queues(settings: FleetSettings) -> tuple[Queue, ...]:
    """Every queue of the fleet's, dead letters included."""
    return (DEAD_LETTERS, *QUEUES, *queues_of_spools(settings.spools))


def declare(channel: Any, settings: FleetSettings) -> None:
    """Declare every exchange and queue of the fleet's, also those of others' spools.

    Safe to repeat. What is sent to a queue that is not there yet would be lost.
    """
    for exchange in EXCHANGES:
        exchange(channel).declare()
    for queue in all_queues(settings):
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
    "transfer.reassemble": to_queue(FINISH),
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
