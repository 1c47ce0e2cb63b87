"""What a signed-in agent chains is published by the fleet, with the fleet's own rights."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from celery.result import AsyncResult
from kombu import Connection
from kombu.simple import SimpleQueue

from argosy.errors import Error
from argosy.mailbox import inbox_of
from tests.conftest import MB, RESULT_SECONDS, Sender
from tests.deployment import Deployment, remote, until
from tests.security.wire import Workers, body, message, post

pytestmark = pytest.mark.skipif(remote(), reason="looks at the processes of the local stack")


@pytest.fixture
def letterbox(deployment: Deployment) -> Iterator[SimpleQueue]:
    """A queue of the agent's own."""
    with _simple_queue(deployment, f"letterbox-{uuid4().hex[:8]}") as queue:
        yield queue


@pytest.fixture
def inbox(deployment: Deployment, sender: Sender) -> Iterator[SimpleQueue]:
    """What the agent's own worker reads."""
    with _simple_queue(deployment, inbox_of(sender.agent.name)) as queue:
        yield queue


@contextmanager
def _simple_queue(deployment: Deployment, name: str) -> Iterator[SimpleQueue]:
    with Connection(deployment.environment["BROKER_URL"]) as connection:
        queue = connection.SimpleQueue(name)
        yield queue
        queue.close()
        connection.default_channel.queue_delete(name)


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
    "an agent's messages": {"queue": "messages.weather"},
    "an agent's dead letters": {"queue": "messages.weather.dead"},
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


# Whose inbox


def _ask(deployment: Deployment, sender: Sender, arguments: list[Any], **rides: Any) -> str:
    """Send an upload with what rides along, and say how it ended."""
    task_id = str(uuid4())
    with post(deployment) as send:
        send(message(body(arguments, rides=rides), id=task_id, **sender.headers))
    return _end(deployment, task_id)


def test_another_agents_inbox_is_not_the_senders(
    deployment: Deployment, sender: Sender, inbox: SimpleQueue, spool: Path
) -> None:
    """Not even as what is to be told of a failure; nor is the good half of it published."""
    other = inbox_of(deployment.add_agent().name)
    source = str(deployment.make_file("cargo.bin", 10))
    with _simple_queue(deployment, other) as theirs:
        own, to_them = ({"queue": name} for name in (inbox.queue.name, other))
        rider = _note(options=to_them)
        group = _note(task="celery.group", kwargs={"tasks": [rider]}, subtask_type="group")
        linked = _note(options={**own, "link": [rider]})
        request = _note(task="transfer.share", options=to_them)
        for one in (rider, group, linked, request):
            for name in ("callbacks", "errbacks", "chain"):
                for arguments in ([source], [], ["/nowhere"]):
                    rides = {name: [_note(options=own), one]}
                    assert _ask(deployment, sender, arguments, **rides) in (
                        "access_denied",
                        "invalid_request",  # the request itself is none
                    )
        assert (theirs.qsize(), inbox.qsize()) == (0, 0)
    assert deployment.objects(sender.agent) == []


@pytest.mark.parametrize("size", [10, 101 * MB])
def test_what_names_no_queue_goes_to_the_senders_inbox(
    deployment: Deployment, sender: Sender, inbox: SimpleQueue, spool: Path, size: int
) -> None:
    """Celery's default queue is no agent's to read. Whoever names the inbox means the same."""
    source, data = str(deployment.make_file("cargo.bin", size)), {"task": "sweep the floor"}
    unnamed = [_note(args=[data]), _note(options={"queue": None}), _note(options={"exchange": ""})]
    named = _note(options={"queue": inbox.queue.name})
    group = _note(task="celery.group", kwargs={"tasks": unnamed}, subtask_type="group")
    rides = {"callbacks": [*unnamed, named, group], "chain": [_note(), *unnamed]}
    assert _ask(deployment, sender, [source], **rides) == "done"
    got = [inbox.get(timeout=RESULT_SECONDS) for _ in range(8)]
    assert [one.payload[0] for one in got if one.payload[0]] == [[data]] * 2  # as it was sent
    [first] = [one.payload[2]["chain"] for one in got if one.payload[2]["chain"]]
    assert {one["options"]["queue"] for one in first} == {inbox.queue.name}
    assert inbox.qsize() == 0


def test_a_failure_that_names_no_queue_is_told_in_the_senders_inbox(
    deployment: Deployment, sender: Sender, inbox: SimpleQueue, spool: Path
) -> None:
    assert _ask(deployment, sender, ["/nowhere"], errbacks=[_note()]) == "source_outside_spool"
    assert inbox.get(timeout=RESULT_SECONDS).headers["task"] == "somebody.note"


# What is no signature by its name, and one by its kind


def _nameless(kind: str, options: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
    """A signature that Celery knows by its kind alone."""
    return {"args": [], "kwargs": kwargs, "options": options, "subtask_type": kind}


def _hidden(to: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Ways to have Celery send a task there though no signature that has a name says so."""
    note = _note()
    return {
        "a chain": _nameless("chain", to, tasks=[note]),
        "a group": _nameless("group", to, tasks=[note]),
        "a map": _nameless("xmap", to, task=note, it=[[1]]),
        "a starmap": _nameless("xstarmap", to, task=note, it=[[1]]),
        "chunks": _nameless("chunks", to, task=note, it=[[1]], n=1),
        "a chord": _nameless("chord", to, header=[note], body=note, kwargs={}),
        "a chain whose name is a number": {"task": 7, **_nameless("chain", to, tasks=[note])},
        "a chain whose name is a list": {"task": [], **_nameless("chain", to, tasks=[note])},
        "a chord that says so beside its options": {
            **_nameless("chord", {}, header=[note], body=note, kwargs={}),
            **{"task": "celery.chord"},
            **to,
        },
    }


def _around(hidden: dict[str, Any], own: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Where it may stand."""
    group = {"task": "celery.group", "subtask_type": "group"}
    chain = {"task": "celery.chain", "subtask_type": "chain"}
    return {
        "in a group": _note(**group, kwargs={"tasks": [hidden]}),
        "in a chain": _note(**chain, kwargs={"tasks": [_note(options=own), hidden]}),
        "behind a task": _note(options={**own, "link": [hidden]}),
        "behind a task, and no list": _note(options={**own, "link_error": hidden}),
    }


def test_what_is_known_by_its_kind_alone_goes_nowhere(
    deployment: Deployment, sender: Sender, inbox: SimpleQueue, spool: Path
) -> None:
    """Not to another agent's inbox; nor is what is right of it sent to one's own."""
    workers, other = Workers(deployment), inbox_of(deployment.add_agent().name)
    source, own = str(deployment.make_file("cargo.bin", 10)), {"queue": inbox.queue.name}
    ends = {}
    with _simple_queue(deployment, other) as theirs:
        for way, hidden in _hidden({"queue": other}).items():
            for where, rider in _around(hidden, own).items():
                ends[f"{way} {where}"] = _ask(deployment, sender, [source], callbacks=[rider])
        assert {name: end for name, end in ends.items() if end != "invalid_request"} == {}
        assert theirs.qsize() == 0
    assert inbox.qsize() == 0
    assert deployment.objects(sender.agent) == []
    workers.are_unharmed()
