"""The Celery application of the fleet."""

from __future__ import annotations

from typing import Any

import structlog
from celery import Celery
from celery.signals import setup_logging, worker_process_init, worker_process_shutdown
from kombu import Connection

from argosy.settings import FleetSettings, fleet_settings
from worker import child, measuring
from worker.events import FleetEvents
from worker.logs import configure_logging
from worker.queues import ROUTES, FleetAMQP, agents_route, declare, read_by
from worker.results import fleet_results
from worker.schedule import schedule

log = structlog.get_logger(__name__)

TASK_MODULES = (
    "tasks.upload",
    "tasks.upload_many",
    "tasks.chunk",
    "tasks.digest",
    "tasks.reassemble",
    "tasks.download",
    "tasks.share",
    "tasks.unshare",
    "tasks.delete",
    "tasks.inspect",
    "tasks.thumbnail",
    "tasks.compress",
    "tasks.processing",
    "tasks.provenance",
    "tasks.copy",
    "tasks.persist",
    "tasks.cancel",
    "tasks.pause",
    "tasks.unpause",
    "tasks.retry",
    "tasks.status",
    "tasks.history",
    "tasks.usage",
    "tasks.register",
    "tasks.pin",
    "tasks.unpin",
    "tasks.extend",
    "tasks.set_out",
    "tasks.cleanup",
    "tasks.resume",
    "tasks.reconcile",
    "tasks.sweep",
    "tasks.forget",
    "tasks.bury",
)


def configuration(settings: FleetSettings) -> dict[str, Any]:
    """Celery's settings; each that is not the default has a reason in `docs/celery.md`."""
    return {
        "broker_url": settings.broker_url,
        "result_backend": fleet_results(settings.result_url),
        "result_backend_always_retry": True,
        "result_backend_max_retries": 10,
        "redis_socket_timeout": 10,
        "redis_socket_connect_timeout": 5,
        "imports": TASK_MODULES,
        "accept_content": ["json"],
        "task_serializer": "json",
        "result_serializer": "json",
        "task_queues": read_by(settings),
        "task_routes": (ROUTES, agents_route(settings.agent_queue or "celery")),
        "task_default_queue": "argosy.upkeep",
        "task_default_exchange": "argosy.internal",
        "task_default_routing_key": "argosy.upkeep",
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "worker_consumer": "worker.consumer:FleetConsumer",
        "worker_prefetch_multiplier": 1,
        "worker_detect_quorum_queues": True,
        "worker_cancel_long_running_tasks_on_connection_loss": True,
        "worker_hijack_root_logger": False,
        "worker_max_memory_per_child": settings.child_memory_mb * 1024,
        "worker_send_task_events": True,
        "broker_connection_retry_on_startup": True,
        "broker_transport_options": {"confirm_publish": True},
        "result_expires": 7 * 24 * 3600,
        "beat_schedule": schedule(settings),
        "beat_scheduler": "worker.beat:SealingScheduler",
        "beat_schedule_filename": str(settings.state_dir / "beat-schedule"),
    }


def make_app(settings: FleetSettings) -> Celery:
    """The application, not connected to anything yet."""
    made = Celery("argosy", amqp=FleetAMQP, events=FleetEvents, set_as_current=True)
    made.conf.update(configuration(settings))
    return made


def declare_topology(settings: FleetSettings) -> None:
    """Declare exchanges and queues, dead letters included, before anybody publishes.

    Waits for a broker that is away: servers that are started together come up in any order.
    """
    with Connection(settings.broker_url) as connection:
        connection.ensure_connection(errback=_say_that_it_waits)
        declare(connection.default_channel, settings)


def _say_that_it_waits(error: Exception, seconds: float) -> None:
    log.warning("broker.away", error=str(error), next_try_in=seconds)


@setup_logging.connect
def _set_up_logging(**_: Any) -> None:
    configure_logging()


measuring.date_messages()
worker_process_init.connect(child.begin)
worker_process_shutdown.connect(child.end)
app = make_app(fleet_settings())
