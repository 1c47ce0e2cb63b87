"""Whoever may write to the queue of requests may not end a worker, nor have it say anything."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import amqp
import pytest
from celery.canvas import signature
from kombu import Connection
from kombu.message import Message
from kombu.simple import SimpleQueue

from argosy.errors import InvalidRequest, NotSignedIn
from tasks.messages import INTERNAL
from tasks.request import UnknownSendersRequest
from tasks.seal import SEAL_HEADER, seal
from tests.conftest import RESULT_SECONDS, Sender
from tests.deployment import Deployment, remote, until
from tests.integration.test_bad_input import new_agent
from tests.security.wire import (
    Audit,
    RawMessage,
    Workers,
    body,
    message,
    post,
    table,
    text_value,
)

pytestmark = pytest.mark.skipif(remote(), reason="looks at the processes of the local stack")

FAR = (datetime.now(UTC) + timedelta(days=300)).isoformat()
PAST = (datetime.now(UTC) - timedelta(days=300)).isoformat()


def nested(depth: int) -> str:
    return f"[{'[' * depth}{']' * depth}, {{}}, null]"


def deep_array(depth: int) -> bytes:
    """A header's value: lists in lists, as AMQP writes them."""
    value = b"V"
    for _ in range(depth):
        value = b"A" + struct.pack(">I", len(value)) + value
    return value


def version_1(**fields: Any) -> amqp.Message:
    """Celery's old protocol: everything is in the body."""
    return amqp.Message(
        json.dumps(fields), content_type="application/json", content_encoding="utf-8"
    )


MALFORMED: dict[str, Callable[[], amqp.Message]] = {
    # Each of the first twelve ended the main process of stock Celery 5.7.
    "a task that is a list": lambda: message(task=["transfer.upload"]),
    "a task that is a table": lambda: message(task={"transfer": "upload"}),
    "an id that is a list": lambda: message(id=["x"]),
    "no id": lambda: message(without=["id"]),
    "an unknown task without an id": lambda: message("[]", task="nobody.knows", without=["id"]),
    "an unknown task whose id is a list": lambda: message(task="nobody.knows", id=["x"]),
    "a body of one": lambda: message("[1]"),
    "a body that is null": lambda: message("null"),
    "arguments nested deeper than pickle goes": lambda: message(nested(600)),
    "version 1 with a list for a task": lambda: version_1(task=["x"], id="1"),
    "a date after the year 9999": lambda: RawMessage(
        body(), table((b"id", text_value(b"x")), (b"at", b"T" + struct.pack(">Q", 2**63)))
    ),
    "a content type that is no text": lambda: RawMessage(body(), b"\x80\x00\x01\xff"),
    "a correlation id that is no text": lambda: RawMessage(body(), b"\x04\x00\x01\xff"),
    "headers nested deeper than Python goes": lambda: RawMessage(
        body(), table((b"deep", deep_array(20_000)))
    ),
    # These left a worker's slot taken for good.
    "what rides along is a list": lambda: message("[[], {}, [1]]"),
    "what rides along is text": lambda: message('[[], {}, "abc"]'),
    "text instead of JSON": lambda: message("abc", content_type="application/data"),
    # The rest is only strange.
    "no properties at all": lambda: amqp.Message("hello"),
    "an empty body": lambda: message(""),
    "a header whose name is no text": lambda: RawMessage(
        body(), table((b"\xff", text_value(b"x")))
    ),
    "a task that is bytes": lambda: RawMessage(
        body(), table((b"task", b"x\x00\x00\x00\x01\xff"), (b"id", text_value(b"x")))
    ),
    "a token that is deep": lambda: RawMessage(
        body(),
        table(
            (b"task", text_value(b"transfer.upload")),
            (b"id", text_value(b"x")),
            (b"argosy_token", deep_array(700)),
            content_type=b"application/json",
        ),
    ),
    "a task that is a deep list": lambda: RawMessage(
        body(),
        table(
            (b"task", deep_array(700)),
            (b"id", deep_array(700)),
            content_type=b"application/json",
        ),
    ),
    "an id of 300 characters": lambda: message(id="x" * 300),
    "no task": lambda: message(without=["task"]),
    "retries that are text": lambda: message(retries="many"),
    "an eta that is a number": lambda: message(eta=5),
    "an expiry that is a list": lambda: message(expires=[5]),
    "arguments that are a table": lambda: message("[{}, {}, null]"),
    "options that are a list": lambda: message("[[], [], null]"),
    "more that rides along than there is": lambda: message(
        body(rides={"id": "another", "delivery_info": {"is_eager": True}})
    ),
    "callbacks that are text": lambda: message(body(rides={"callbacks": "x"})),
    "a chord that is a list": lambda: message(body(rides={"chord": [1]})),
    "arguments nested for ever": lambda: message(nested(100_000)),
    "a bomb": lambda: message(zlib.compress(b"[" * 100_000_000, 9), compression="zlib"),
    "compressed with what nobody has": lambda: message(compression="no-such-thing"),
    "pickle": lambda: message(
        b"\x80\x04\x95\x1d\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system\x94\x93\x94.",
        content_type="application/x-python-serialize",
        content_encoding="binary",
    ),
    "yaml": lambda: message("!!python/object/apply:os.abort []", content_type="application/x-yaml"),
    "msgpack": lambda: message(
        b"\x93\x90\x80\xc0", content_type="application/x-msgpack", content_encoding="binary"
    ),
    "JSON that says it is pickle": lambda: message(content_type="application/x-python-serialize"),
    "JSON with a charset": lambda: message(content_type="application/json; charset=utf-7"),
    "no JSON": lambda: message("{["),
    "bytes that are no UTF-8": lambda: message(b'[["\xff\xfe"], {}, null]'),
    "UTF-16": lambda: message(body().encode("utf-16"), content_encoding="utf-16"),
    # This one kept the main process busy for minutes; a longer one for hours.
    "a body to be decoded slowly": lambda: message(
        b"-" + b"a" * 3_000_000, content_encoding="punycode"
    ),
    "a codec that is none": lambda: message(b"{", content_encoding="no-such-codec"),
    "a byte order mark": lambda: message(b"\xef\xbb\xbf" + body().encode()),
    "a number of 10,000 digits": lambda: message(f"[[{'9' * 10_000}], {{}}, null]"),
    "two documents": lambda: message(body() + body()),
    "a type that kombu does not know": lambda: message(
        '[[{"__type__": "os.system", "__value__": "true"}], {}, null]'
    ),
    "2 MiB": lambda: message(body(["x" * 2 * 1024 * 1024])),
    "10 MiB": lambda: message(body(["x" * 10 * 1024 * 1024])),
    "version 1": lambda: version_1(task="transfer.upload", id="1", args=["/x"], kwargs={}),
    "version 1 with callbacks": lambda: version_1(
        task="transfer.upload", id="1", args=5, kwargs=[], errbacks=[{"task": "x"}]
    ),
    "half of version 1": lambda: message('{"args": [], "kwargs": {}}'),
}

UNKNOWN: dict[str, Callable[[], amqp.Message]] = {
    name: lambda name=name: message(task=name)  # type: ignore[misc]
    for name in (
        "nobody.knows",
        "transfer.",
        "transfer.upload ",
        "Transfer.Upload",
        "transfer\u2024upload",
        "celery.group",
        "celery.chord",
        "celery.chain",
        "celery.map",
        "celery.starmap",
        "celery.chunks",
        "celery.accumulate",
        "celery.chord_unlock",
        "celery.backend_cleanup",
        "celery.ping",
        "os.system",
        "x\0y",
        "😀" * 60,
    )
}


def _forged(deployment: Deployment, victim: str) -> list[amqp.Message]:
    """Every internal task: unsealed, with a seal that is no seal, or with another's."""
    internal = {
        "transfer.plan": [victim],
        "transfer.chunk": [victim, 1],
        "transfer.digest": [victim],
        "transfer.reassemble": [victim],
        "transfer.cleanup": [victim],
        "transfer.resume": [],
        "transfer.reconcile": [],
        "transfer.forget": [],
        "transfer.bury": [],
    }
    another = seal(deployment.settings, "transfer.plan", (str(uuid4()),))
    marks = [{}, {SEAL_HEADER: "0" * 64}, {SEAL_HEADER: another}, {SEAL_HEADER: [another]}]
    odd = [{"__type__": "datetime", "__value__": "2026-01-01T00:00:00"}]  # not plain JSON
    made = [
        message(body(arguments), task=task, id=victim, **mark)
        for task, arguments in internal.items()
        for mark in marks
    ]
    return [*made, message(body(odd), task="transfer.cleanup", id=victim)]


def test_no_message_ends_a_worker(deployment: Deployment, sender: Sender, spool: Path) -> None:
    """All of them at once; a row in the audit for each, and then the fleet works as before."""
    theirs = sender.upload(deployment.make_file("theirs.bin", 10))
    reference = theirs.get(timeout=RESULT_SECONDS)
    forged = _forged(deployment, theirs.id)
    workers, audit = Workers(deployment), Audit(deployment)
    with post(deployment) as send:
        for make in (*MALFORMED.values(), *UNKNOWN.values()):
            send(make())
        for made in forged:
            send(made)
        for made in forged:  # and past the exchange, where the fleet's own messages are
            send(made, exchange=INTERNAL, routing_key="argosy.chunks")
    rows = audit.has(len(MALFORMED) + len(UNKNOWN) + 2 * len(forged))
    assert not [(row.request_id, row.detail) for row in rows if row.name != "message.refused"]
    assert audit.reasons() == {
        "malformed_message": len(MALFORMED),
        "unknown_task": len(UNKNOWN),
        "not_sealed": 2 * len(forged),
    }
    assert all(row.worker and row.detail for row in rows)
    _works(deployment, sender)
    workers.are_unharmed()
    assert theirs.get(timeout=RESULT_SECONDS) == reference
    assert deployment.objects(sender.agent)
    assert len(audit.rows()) == len(rows)


def _works(deployment: Deployment, sender: Sender) -> None:
    """Every child takes requests, and their order shows that what came before is done."""
    sources = [deployment.make_file(f"good-{number}.bin", 10) for number in range(8)]
    for result in [sender.upload(source) for source in sources]:
        result.get(timeout=RESULT_SECONDS)


def test_a_flood_keeps_nobody_waiting_long(
    deployment: Deployment, sender: Sender, spool: Path
) -> None:
    workers, audit = Workers(deployment), Audit(deployment)
    source = deployment.make_file("good.bin", 10)
    with post(deployment) as send:
        for _ in range(1500):
            send(message("{["))
    sender.upload(source).get(timeout=20)
    audit.has(1500)
    workers.are_unharmed()


# What Celery's main process would do for a sender before anybody has looked at the token


@pytest.fixture
def letterbox(deployment: Deployment) -> Iterator[SimpleQueue]:
    """A queue of somebody's; whatever the fleet is made to send there arrives."""
    with Connection(deployment.environment["BROKER_URL"]) as connection:
        queue = connection.SimpleQueue(f"letterbox-{uuid4().hex[:8]}")
        yield queue
        queue.queue.delete()
        queue.close()


def _rides(deployment: Deployment, queue: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Everything by which Celery publishes more, and the headers of a chord of one."""
    note = signature("somebody.note", immutable=True, options={"queue": queue})
    group_id = str(uuid4())
    deployment.app.backend.set_chord_size(group_id, 1)
    told = dict(note.set(task_id=str(uuid4())))
    rides = {"callbacks": [told], "errbacks": [told], "chain": [told], "chord": told}
    return rides, {"group": group_id, "group_index": 0}


TIMES: dict[str, dict[str, Any]] = {
    "nothing more": {},
    "expired": {"expires": PAST},
    "due in a year": {"eta": FAR},
    "due long ago": {"eta": PAST},
    "an eta that is none": {"eta": "soon"},
    "an expiry that is none": {"expires": "never"},
    "due on a day that does not exist": {"eta": "2026-02-31T00:00:00+00:00"},
    "a time limit": {"timelimit": [0.0001, 0.0001]},
    "a time limit below zero": {"timelimit": [-1, -1]},
    "a time limit that is text": {"timelimit": "ab"},
    "a time limit of a year": {"timelimit": [1e9, 1e9]},
    "stamps": {"stamped_headers": ["id"], "stamps": {"id": "x"}},
    "stamps that are none": {"stamped_headers": 5, "stamps": "x"},
    "no result wanted": {"ignore_result": True},
    "many retries": {"retries": 2**40},
    "fields of Celery's own": {
        "get": "x",
        "update": "x",
        "called_directly": True,
        "is_eager": True,
        "_protected": 1,
        "set_aside": {},
        "sent_by": "x",
        "acting_for": "x",
        "delivery_info": {"is_eager": True},
        "callbacks": [{"task": "x"}],
        "errbacks": [{"task": "x"}],
    },
    "a shadow": {"shadow": "transfer.resume", "root_id": "x", "parent_id": "x", "origin": "x"},
    "a long account of itself": {"argsrepr": "x" * 100_000, "kwargsrepr": "\0" * 100},
}


ASKED: dict[str, tuple[list[Any], dict[str, Any]]] = {
    "no token": (["/nowhere"], {}),
    "no arguments": ([], {}),
    "too many arguments": (list(range(20)), {}),
    "an argument named self": (["/nowhere"], {"self": 1}),
    "arguments named as Celery's own": (["/nowhere"], {"request": 1, "uuid": 1, "task": 1}),
    "a token among the arguments": ([f"/eyJhbGciOiJI.eyJzdWIiOiIx.{'x' * 43}"], {}),
    "dates": ([{"__type__": "datetime", "__value__": "2026-01-01"}], {}),
}


@pytest.mark.parametrize("where", ASKED)
def test_the_fleet_says_nothing_for_a_stranger(
    deployment: Deployment, sender: Sender, letterbox: SimpleQueue, spool: Path, where: str
) -> None:
    arguments, named = ASKED[where]
    workers, audit = Workers(deployment), Audit(deployment)
    ids = [str(uuid4()) for _ in TIMES]
    with post(deployment) as send:
        for task_id, headers in zip(ids, TIMES.values(), strict=True):
            rides, chord = _rides(deployment, letterbox.queue.name)
            told = {**chord, **headers, "id": task_id}
            send(message(body(arguments, named, rides), **told))
    rows = audit.has(len(TIMES))
    assert {row.request_id for row in rows} == set(ids)
    _works(deployment, sender)
    assert letterbox.qsize() == 0
    workers.are_unharmed()
    for task_id, case in zip(ids, TIMES, strict=True):
        state = deployment.app.AsyncResult(task_id).state
        assert state == ("PENDING" if case == "no result wanted" else "FAILURE"), case


def test_a_revoked_message_of_a_stranger_says_nothing(
    deployment: Deployment, sender: Sender, letterbox: SimpleQueue, spool: Path
) -> None:
    """An operator has revoked the id; its message comes with a chord."""
    task_id = str(uuid4())
    replies = deployment.app.control.revoke(task_id, reply=True, timeout=30, limit=2)
    assert len(replies) >= 2
    rides, chord = _rides(deployment, letterbox.queue.name)
    with post(deployment) as send:
        send(message(body(["/nowhere"], rides=rides), id=task_id, **chord))
    _works(deployment, sender)
    result = deployment.app.AsyncResult(task_id)
    until(lambda: result.state == "REVOKED", what="the revocation")
    assert letterbox.qsize() == 0


def test_nothing_rides_along_in_the_main_process(deployment: Deployment) -> None:
    """Whatever Celery's main process does with a request, it does it with this context."""
    rides, chord = _rides(deployment, "nobody")
    told = {"id": "x", "task": "transfer.upload", "timelimit": [1, 1], "eta": FAR, "expires": PAST}
    text = body(["/nowhere"], rides=rides)
    made = Message(text, content_type="application/json", content_encoding="utf-8", headers={})
    task = deployment.app.Task()
    request = UnknownSendersRequest(
        made, headers={**told, **chord}, app=deployment.app, task=task, body=text
    )
    context = request._context
    for name in ("chain", "callbacks", "errbacks", "chord", "group"):
        assert getattr(context, name) is None, name
    assert (request.eta, request.expires, request.time_limits) == (None, None, (None, None))
    assert request.request_dict["expires"] == PAST  # the child is told, and refuses
    assert request.revoked() is False


def test_requests_that_wait_in_no_worker_keep_no_place(
    deployment: Deployment, sender: Sender, spool: Path
) -> None:
    """An ETA would be held, unacknowledged, by whichever worker took it."""
    audit = Audit(deployment)
    with post(deployment) as send:
        for _ in range(100):
            send(message(body(["/nowhere"]), eta=FAR))
    audit.has(100)
    _works(deployment, sender)
    result = sender.upload(deployment.make_file("later.bin", 1))
    result.get(timeout=RESULT_SECONDS)


# What an honest sender is told


@pytest.mark.parametrize("option", [{"countdown": 3600}, {"eta": FAR}, {"expires": PAST}], ids=min)
def test_a_request_for_another_time_is_refused_in_words(
    deployment: Deployment, sender: Sender, spool: Path, option: dict[str, Any]
) -> None:
    source = deployment.make_file("cargo.bin", 10)
    if "expires" in option:
        option = {"expires": datetime.now(UTC) - timedelta(seconds=1)}
    result = deployment.app.send_task(
        "transfer.upload",
        (str(source),),
        headers=sender.headers,
        exchange="argosy.requests",
        routing_key="argosy.requests",
        **option,
    )
    with pytest.raises(InvalidRequest, match=r"later|expired"):
        result.get(timeout=RESULT_SECONDS)
    assert deployment.objects(sender.agent) == []


def test_a_request_that_has_not_expired_is_carried_out(
    deployment: Deployment, sender: Sender, spool: Path
) -> None:
    source = deployment.make_file("cargo.bin", 10)
    result = deployment.app.send_task(
        "transfer.upload",
        (str(source),),
        headers=sender.headers,
        exchange="argosy.requests",
        routing_key="argosy.requests",
        expires=600,
        soft_time_limit=0.001,
        time_limit=0.002,
    )
    result.get(timeout=RESULT_SECONDS)


# The seal of beat


def test_beats_seal_is_in_no_configuration(deployment: Deployment) -> None:
    """Flower shows the configuration of every worker."""
    audit = Audit(deployment)
    mark = seal(deployment.settings, "transfer.resume", ())
    inspect = deployment.app.control.inspect(timeout=1)
    told = until(lambda: inspect.conf(with_defaults=True), what="a worker's configuration")
    shown = json.dumps(told, default=repr)
    assert "transfer.resume" in shown
    assert mark not in shown
    assert SEAL_HEADER not in shown
    kept = Path(deployment.environment["ARGOSY_STATE_DIR"]).rglob("*")
    assert not [path for path in kept if path.is_file() and mark.encode() in path.read_bytes()]

    def resumed() -> int:
        stats = deployment.app.control.inspect(timeout=1).stats() or {}
        return sum(worker["total"].get("transfer.resume", 0) for worker in stats.values())

    before = resumed()
    until(lambda: resumed() > before, what="a tick of beat that a worker took")
    assert audit.rows() == []


def test_a_stranger_is_nobody(deployment: Deployment, spool: Path) -> None:
    """The rows of a refused request name its worker, its reason and its id, and nothing else."""
    audit = Audit(deployment)
    agent = new_agent(deployment)
    result = deployment.app.send_task(
        "transfer.upload",
        (str(deployment.make_file("cargo.bin", 10)),),
        headers={"sent_by": str(agent.id), "acting_for": str(agent.id)},
        exchange="argosy.requests",
        routing_key="argosy.requests",
    )
    with pytest.raises(NotSignedIn):
        result.get(timeout=RESULT_SECONDS)
    (row,) = audit.has(1)
    assert (row.name, row.reason) == ("request.refused", "not_signed_in")
    assert (row.agent_id, row.transfer_id) == (None, None)
    assert row.request_id == result.id
