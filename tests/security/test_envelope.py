"""What rides along with a request is nobody's word until its sender is known."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from celery.canvas import signature
from kombu import Connection
from kombu.simple import SimpleQueue

from argosy.errors import Error
from tasks.progress import store_progress
from tests.conftest import RESULT_SECONDS, Sender
from tests.deployment import Deployment, until


@pytest.fixture
def letterbox(deployment: Deployment) -> Iterator[SimpleQueue]:
    """A queue of somebody's; whatever the fleet is made to send there arrives."""
    with Connection(deployment.environment["BROKER_URL"]) as connection:
        queue = connection.SimpleQueue(f"letterbox-{uuid4().hex[:8]}")
        yield queue
        queue.queue.delete()
        queue.close()


def _note(letterbox: SimpleQueue) -> signature:
    return signature("somebody.note", immutable=True, options={"queue": letterbox.queue.name})


REQUESTS = {
    "wrong arguments": ((), {}),
    "nobody's": (("/nowhere",), {}),
}


@pytest.mark.parametrize("request_", REQUESTS)
@pytest.mark.parametrize("rides", ["link_error", "link", "chain"])
def test_nothing_is_sent_for_a_sender_that_is_not_known(
    deployment: Deployment, sender: Sender, letterbox: SimpleQueue, request_: str, rides: str
) -> None:
    args, kwargs = REQUESTS[request_]
    task_id = str(uuid4())
    deployment.app.send_task(
        "transfer.upload",
        args,
        kwargs,
        task_id=task_id,
        exchange="argosy.requests",
        routing_key="argosy.requests",
        headers={"acting_for": str(sender.agent.id)},
        **{rides: [_note(letterbox)]},
    )
    result = deployment.app.AsyncResult(task_id)
    with pytest.raises(Error):
        result.get(timeout=RESULT_SECONDS)
    _a_round_trip(deployment, sender)
    assert letterbox.qsize() == 0


def test_a_header_makes_nobody_an_agent(
    deployment: Deployment, sender: Sender, letterbox: SimpleQueue, spool: Path
) -> None:
    """`acting_for` is how a running task knows its agent; off the wire it says nothing."""
    reference = sender.upload(deployment.make_file("secret.bin", 10)).get(timeout=RESULT_SECONDS)
    theft = signature("transfer.download", (reference, str(spool / "stolen")), immutable=True)
    task_id = str(uuid4())
    deployment.app.send_task(
        "transfer.upload",
        (),
        task_id=task_id,
        exchange="argosy.requests",
        routing_key="argosy.requests",
        headers={"acting_for": str(sender.agent.id)},
        link_error=[theft],
    )
    with pytest.raises(Error):
        deployment.app.AsyncResult(task_id).get(timeout=RESULT_SECONDS)
    _a_round_trip(deployment, sender)
    assert not (spool / "stolen").exists()
    assert not deployment.query(
        "SELECT id FROM argosy.transfers WHERE kind = 'download' AND agent_id = :id",
        id=sender.agent.id,
    )


def test_a_known_sender_is_called_back(
    deployment: Deployment, sender: Sender, letterbox: SimpleQueue, spool: Path
) -> None:
    failing = sender.upload(spool / "missing.bin")
    with pytest.raises(Error):
        failing.get(timeout=RESULT_SECONDS)
    task = deployment.app.send_task(
        "transfer.upload",
        (str(spool / "missing.bin"),),
        exchange="argosy.requests",
        routing_key="argosy.requests",
        headers=sender.headers,
        link_error=[_note(letterbox)],
    )
    with pytest.raises(Error):
        task.get(timeout=RESULT_SECONDS)
    until(lambda: letterbox.qsize() == 1, what="the callback of a known sender")


def test_progress_never_covers_an_outcome(deployment: Deployment) -> None:
    backend = deployment.app.backend
    for state in ("SUCCESS", "FAILURE"):
        task_id = str(uuid4())
        assert store_progress(backend, task_id, {"bytes_done": 1, "bytes_total": 2})
        assert backend.get_task_meta(task_id, cache=False)["status"] == "PROGRESS"
        backend.store_result(task_id, ValueError("x") if state == "FAILURE" else 1, state)
        assert not store_progress(backend, task_id, {"bytes_done": 2, "bytes_total": 2})
        assert backend.get_task_meta(task_id, cache=False)["status"] == state


def _a_round_trip(deployment: Deployment, sender: Sender) -> None:
    """Let the fleet do something else meanwhile: what it was to send, it has sent."""
    for _ in range(4):
        source = deployment.make_file(f"{uuid4().hex}.bin", 10)
        sender.upload(source).get(timeout=RESULT_SECONDS)
