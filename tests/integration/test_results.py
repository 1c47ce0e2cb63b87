"""Results that cannot be recorded, or told on: nobody hears of trouble that is the fleet's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import pytest
import redis
from celery import Celery
from celery.app.trace import build_tracer
from celery.backends.redis import RedisBackend
from celery.exceptions import Reject
from kombu import Connection, Queue
from kombu.exceptions import OperationalError

from argosy import FileReference
from tasks import transfer
from tests.conftest import RESULT_SECONDS, Sender
from tests.deployment import Deployment, remote, until
from worker.results import fleet_results

pytestmark = [
    pytest.mark.skipif(remote(), reason="uses the local stack's Valkey"),
    # Celery warns of what its tracer did not expect: here that is what is looked at.
    pytest.mark.filterwarnings("ignore:Exception raised outside body:RuntimeWarning"),
]

NOWHERE = "amqp://nobody@127.0.0.1:1//"


@contextmanager
def _full(deployment: Deployment) -> Iterator[None]:
    """Valkey answers each write with an error, as it does when its memory is used up."""
    assert deployment.stack
    with redis.Redis.from_url(deployment.stack.valkey.url(0)) as operator:
        operator.config_set("maxmemory", 1)
        try:
            yield
        finally:
            operator.config_set("maxmemory", 0)


def _is_left(deployment: Deployment, task_id: str) -> bool:
    """Whether a worker has left a result to its message."""
    logs = [deployment.stack_of(name).log_path.read_text() for name in ("one", "two")]
    lines = [line for log in logs for line in log.splitlines()]
    return any("result.not_recorded" in line and task_id in line for line in lines)


def test_a_full_result_store_is_waited_for(
    deployment: Deployment, sender: Sender, spool: Any
) -> None:
    """Neither a file that is stored has failed, nor a question that was answered."""
    known = sender.upload(deployment.make_file("known.bin", 100))
    known.get(timeout=RESULT_SECONDS)
    with _full(deployment):
        sent = sender.upload(deployment.make_file("cargo.bin", 100))
        asked = transfer.status.s(known.id).apply_async(headers=sender.headers)
        for result in (sent, asked):
            until(lambda: _is_left(deployment, result.id), what="a result that is left")  # noqa: B023  called at once
    assert asked.get(timeout=RESULT_SECONDS)["state"] == "completed"
    assert FileReference.parse(sent.get(timeout=RESULT_SECONDS)).size == 100


# In a worker's child: its tracer, and the fleet's result store


@pytest.fixture
def app(deployment: Deployment) -> Iterator[Celery]:
    """An application like the fleet's, whose broker is not there."""
    assert deployment.stack
    made = Celery("fleet", broker=NOWHERE, set_as_current=False)
    made.conf.update(
        result_backend=fleet_results(deployment.stack.valkey.url(0)),
        result_backend_always_retry=True,
        broker_connection_timeout=0.2,
    )
    yield made
    made.close()


def _nothing() -> None:
    """What a task does whose work is beside the point."""


def _task(app: Celery, work: Callable[[], None] = _nothing, **options: Any) -> Any:
    return app.task(name="ours", shared=False, **options)(work)


def _run(app: Celery, task: Any, **request: Any) -> str:
    """Run a task as a child does; its id."""
    task_id = str(uuid4())
    headers = {"id": task_id, "task": task.name, "delivery_info": {}, **request}
    build_tracer(task.name, task, app=app)(task_id, (), {}, headers)
    return task_id


@pytest.mark.parametrize("ends", ["well", "badly"])
def test_what_is_chained_waits_for_a_broker(app: Celery, ends: str) -> None:
    """It is not said to have failed: the message comes again, and tells."""
    ended: list[str] = []

    def ours() -> None:
        if ends == "badly":
            raise ValueError("it")

    task = _task(app, ours, after_return=lambda status, *_: ended.append(status))
    told = app.signature("theirs").set(task_id=str(uuid4()))
    rides = {"chain": [dict(told)]} if ends == "well" else {"errbacks": [dict(told)]}
    with pytest.raises(Reject) as left:
        _run(app, task, **rides)
    assert left.value.requeue
    assert ended == []
    assert app.AsyncResult(told.options["task_id"]).state == "PENDING"


def test_a_queue_that_takes_nothing_is_its_owners_affair(
    deployment: Deployment, app: Celery
) -> None:
    """The work is done, and again and again it could not be told on: its sender is told that."""
    app.conf.broker_url = deployment.environment["BROKER_URL"]
    app.conf.broker_transport_options = {"confirm_publish": True}

    with _full_queue(deployment) as name:
        theirs = app.signature("theirs").set(queue=Queue(name, no_declare=True))
        result = app.AsyncResult(_run(app, _task(app), chain=[dict(theirs)]))
    assert (result.state, type(result.result)) == ("FAILURE", OperationalError)


@contextmanager
def _full_queue(deployment: Deployment) -> Iterator[str]:
    name = f"argosy-test.full.{uuid4()}"
    arguments = {"x-max-length": 1, "x-overflow": "reject-publish"}
    with Connection(deployment.environment["BROKER_URL"]) as connection:
        queue = connection.SimpleQueue(name, queue_args=arguments)
        queue.put("the one that it holds")
        try:
            yield name
        finally:
            queue.queue.delete()
            queue.close()


def test_a_member_of_a_chord_waits_for_valkey(app: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    """Valkey goes between a result and its count: the member has not failed."""

    def lost(*_: Any, **__: Any) -> None:
        raise redis.ConnectionError("lost")

    monkeypatch.setattr(RedisBackend, "on_chord_part_return", lost)

    with pytest.raises(Reject):
        _run(app, _task(app), group=str(uuid4()), chord=dict(app.signature("body")))
