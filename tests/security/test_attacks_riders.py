"""What a signed-in agent chains is published by the fleet, with the fleet's own rights."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from celery.result import AsyncResult
from kombu import Connection
from kombu.simple import SimpleQueue

from argosy.errors import Error
from tests.conftest import RESULT_SECONDS, Sender
from tests.deployment import Deployment, remote, until
from tests.security.wire import Workers, body, message, post

pytestmark = pytest.mark.skipif(remote(), reason="looks at the processes of the local stack")


@pytest.fixture
def letterbox(deployment: Deployment) -> Iterator[SimpleQueue]:
    """A queue of the agent's own."""
    with Connection(deployment.environment["BROKER_URL"]) as connection:
        queue = connection.SimpleQueue(f"letterbox-{uuid4().hex[:8]}")
        yield queue
        queue.queue.delete()
        queue.close()


def _note(**changes: Any) -> dict[str, Any]:
    """A signature, as Celery writes it."""
    options = {"task_id": str(uuid4()), **changes.pop("options", {})}
    usual = {"task": "somebody.note", "args": [], "kwargs": {}, "options": options}
    return {**usual, "subtask_type": None, "immutable": True, **changes}


HOST = socket.gethostname()
WHERE: dict[str, dict[str, Any]] = {
    "the control of every worker": {"exchange": "celery.pidbox", "routing_key": ""},
    "the control of one worker": {"queue": f"one@{HOST}.celery.pidbox"},
    "the events": {"exchange": "celeryev", "routing_key": "worker.heartbeat"},
    "the fleet's own exchange": {"exchange": "argosy.internal", "routing_key": "argosy.chunks"},
    "the fleet's own queue": {"queue": "argosy.chunks"},
    "the dead letters": {"exchange": "argosy.dead", "routing_key": ""},
    "the nameless exchange": {"exchange": "amq.topic", "routing_key": "#"},
    "an exchange that is declared first": {"declare": [{"name": "argosy.internal"}]},
    "an exchange that is a table": {"exchange": {"name": "x"}},
    "a queue that is a list": {"queue": ["x"]},
    "with pickle": {"serializer": "pickle"},
    "compressed": {"compression": "zlib"},
    "later": {"countdown": 10**18},
    "at once or never": {"immediate": True},
    "for a while": {"expiration": "x"},
    "through a producer": {"producer": 1},
    "over a connection": {"connection": "x"},
    "again and again": {"retry_policy": {"max_retries": 1e9}},
    "with headers that are text": {"headers": "x"},
    "with an id that is a list": {"task_id": ["x"]},
}
WHAT: dict[str, dict[str, Any]] = {
    "Celery's map": {"task": "celery.map", "kwargs": {"task": _note(), "it": [[1]]}},
    "Celery's map, well formed": {
        "task": "celery.map",
        "kwargs": {"task": _note(task="transfer.upload"), "it": [["/x"]]},
        "subtask_type": "xmap",
    },
    "Celery's starmap": {
        "task": "celery.starmap",
        "kwargs": {"task": _note(), "it": [[1]]},
        "subtask_type": "xstarmap",
    },
    "Celery's chunks": {
        "task": "celery.chunks",
        "kwargs": {"task": _note(), "it": [[1]], "n": 1},
        "subtask_type": "chunks",
    },
    "a clean-up": {"task": "celery.backend_cleanup"},
    "a group that is none": {"task": "celery.group", "kwargs": {"tasks": []}},
    "a group with another name": {"task": "x", "kwargs": {"tasks": []}, "subtask_type": "group"},
    "a kind that nobody knows": {"subtask_type": "nonsense"},
    "arguments that are a number": {"args": 5},
    "options that are a list": {"kwargs": []},
    "an internal task": {"task": "transfer.reassemble", "args": [str(uuid4())]},
    "an internal task in a group": {
        "task": "celery.group",
        "kwargs": {"tasks": [_note(task="transfer.cleanup", args=[str(uuid4())])]},
        "subtask_type": "group",
    },
}
RIDERS = {
    **{f"to {name}": _note(options=options) for name, options in WHERE.items()},
    **{name: _note(**changes) for name, changes in WHAT.items()},
    "only a name": {"task": "x"},
}


def test_the_fleet_lends_nobody_its_rights(
    deployment: Deployment, sender: Sender, letterbox: SimpleQueue, spool: Path
) -> None:
    """Refused in words before a byte moves, and not even the good half of it is published."""
    source = deployment.make_file("cargo.bin", 10)
    workers, good = Workers(deployment), _note(options={"queue": letterbox.queue.name})
    sent = {}
    with post(deployment) as send:
        for rides in ("callbacks", "errbacks", "chain"):
            for name, rider in RIDERS.items():
                task_id = str(uuid4())
                text = body([str(source)], rides={rides: [good, rider]})
                send(message(text, id=task_id, **sender.headers))
                sent[task_id] = f"{name} ({rides})"
    ends = {name: _end(deployment, task_id) for task_id, name in sent.items()}
    assert {name: end for name, end in ends.items() if end != "invalid_request"} == {}
    assert deployment.objects(sender.agent) == []
    assert letterbox.qsize() == 0
    rows = "SELECT task_id FROM argosy.continuations c JOIN argosy.transfers t ON t.id = c.task_id"
    assert not deployment.query(f"{rows} WHERE t.agent_id = :id", id=sender.agent.id)
    workers.are_unharmed()
    assert _control_errors(deployment) == []


def _end(deployment: Deployment, task_id: str) -> str:
    try:
        AsyncResult(task_id, app=deployment.app).get(timeout=RESULT_SECONDS)
    except Error as error:
        return error.code
    return "done"


def _control_errors(deployment: Deployment) -> list[str]:
    """What a worker says of a control message that is none."""
    logs = [deployment.stack_of(name).log_path.read_text() for name in ("one", "two")]
    return [line for log in logs for line in log.splitlines() if "Control command error" in line]


def test_what_an_agent_may_chain_is_sent(
    deployment: Deployment, sender: Sender, letterbox: SimpleQueue, spool: Path
) -> None:
    source, queue = deployment.make_file("cargo.bin", 10), letterbox.queue.name
    note = _note(options={"queue": queue, "priority": 3}, args=[{"task": "sweep the floor"}])
    group = _note(task="celery.group", kwargs={"tasks": [note, note]}, subtask_type="group")
    with post(deployment) as send:
        rides = {"callbacks": [note, group], "errbacks": [note], "chain": [note, note]}
        task_id = str(uuid4())
        send(message(body([str(source)], rides=rides), id=task_id, **sender.headers))
    assert _end(deployment, task_id) == "done"
    until(lambda: letterbox.qsize() == 4, what="two callbacks, one of them a group, and a chain")
