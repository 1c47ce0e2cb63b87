"""How a worker tells Flower what it does, without ever waiting for the broker to hear it."""

from __future__ import annotations

from typing import Any

from celery.app.events import Events
from celery.events.dispatcher import EventDispatcher


class Telling(EventDispatcher):
    """Celery's dispatcher, which never tries a second time.

    Celery sends a heartbeat again and again on a connection that it makes anew each time, from
    within the loop that would restart the worker's own connection: where the exchange is still
    declared on the old one this goes on for ever, and the worker does nothing else.
    """

    def _publish(self, *args: Any, **named: Any) -> Any:
        return super()._publish(*args, **{**named, "retry": False})


class FleetEvents(Events):
    """Celery's events, sent by `Telling`."""

    dispatcher_cls = Telling
