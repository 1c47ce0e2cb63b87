"""Which queue a chained task is given by the process that sends the request, and by the fleet."""

from __future__ import annotations

from typing import Any

import pytest
from celery import Celery

from argosy.errors import AccessDenied, InvalidRequest
from tasks.envelope import address, check_inboxes, check_signatures, send_to

FLEETS = "amqp://argosy:x@host/argosy"
AGENTS = "amqp://agent.weather:x@host/argosy"


def note(**options: Any) -> dict[str, Any]:
    return {"task": "somebody.note", "args": [], "kwargs": {}, "options": options}


def addressed(broker: str, task: dict[str, Any], **configuration: Any) -> Any:
    app = Celery("sender", broker=broker, set_as_current=False)
    app.conf.update(configuration)
    address(app, [task])
    return task["options"].get("queue")


def test_the_routes_of_the_sender_count() -> None:
    routes = {"task_routes": {"somebody.note": {"queue": "own"}}}
    for broker in (FLEETS, AGENTS):
        assert addressed(broker, note(), **routes) == "own"
        assert addressed(broker, note(), task_default_queue="default") == "default"
        assert addressed(broker, note(queue="named"), **routes) == "named"


def test_celerys_own_default_is_none_that_an_agents_user_reads() -> None:
    assert addressed(FLEETS, note()) == "celery"
    assert addressed(AGENTS, note()) is None
    assert addressed(f"{AGENTS};{AGENTS}", note()) is None
    assert addressed("redis://:x@host/1", note()) == "celery"


def test_what_is_only_data_stays_as_it_is() -> None:
    data = {"task": "sweep the floor", "by": {"task": "noon"}}
    task = {**note(), "args": [data]}
    assert addressed(FLEETS, task) == "celery"
    send_to("inbox.weather", [task])
    assert task["args"] == [{"task": "sweep the floor", "by": {"task": "noon"}}]


def test_the_fleet_names_what_nobody_has_named() -> None:
    group = {**note(), "task": "celery.group", "kwargs": {"tasks": [note(link=[note()])]}}
    chained = [note(), note(queue="own"), note(exchange="argosy.requests", routing_key="x"), group]
    send_to("inbox.weather", {"chain": chained})
    assert [one["options"].get("queue") for one in chained] == ["inbox.weather", "own", None, None]
    [inner] = group["kwargs"]["tasks"]
    assert inner["options"]["queue"] == "inbox.weather"
    assert inner["options"]["link"][0]["options"]["queue"] == "inbox.weather"


@pytest.mark.parametrize("queue", ["inbox.other", "inbox.", "inbox.weather2", "inbox.weather.x"])
def test_another_agents_inbox(queue: str) -> None:
    with pytest.raises(AccessDenied, match=r"inbox\.weather,"):
        check_inboxes({"chain": [note(link=[note(queue=queue)])]}, "weather")


def test_the_senders_inbox_and_queues_of_nobody() -> None:
    for queue in ("inbox.weather", "letterbox", "", None):
        check_inboxes({"chain": [note(queue=queue)]}, "weather")
    check_inboxes({"chain": [{**note(), "args": [{"task": "x", "options": 5}]}]}, "weather")


@pytest.mark.parametrize("queue", ["messages.weather", "messages.x.dead", "argosy.chunks"])
def test_queues_that_take_no_tasks(queue: str) -> None:
    with pytest.raises(InvalidRequest):
        check_signatures({"chain": [{**note(queue=queue), "subtask_type": None}]})
