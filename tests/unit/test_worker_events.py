"""What a worker tells Flower never keeps it from its work."""

from __future__ import annotations

from typing import Any

from celery import Celery

from worker.events import FleetEvents


class _Deaf:
    """A producer whose connection is gone."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    def publish(self, *_: Any, **named: Any) -> None:
        self.asked.append(named)


def test_a_heartbeat_is_sent_once_or_not_at_all() -> None:
    app = Celery("argosy", broker="memory://", events=FleetEvents, set_as_current=False)
    dispatcher = app.events.Dispatcher(enabled=False)
    dispatcher.enabled, dispatcher.producer = True, _Deaf()
    dispatcher.send("worker-heartbeat", retry=True)
    assert [named["retry"] for named in dispatcher.producer.asked] == [False]
