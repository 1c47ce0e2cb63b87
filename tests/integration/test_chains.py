"""What agents build around a transfer with Celery's own means; and messages that come twice."""

from __future__ import annotations

import filecmp
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from celery import Signature, chord, group
from celery.exceptions import ChordError
from celery.result import AsyncResult, result_from_tuple
from kombu import Queue

from argosy import FileReference, errors
from argosy.auth import TOKEN_HEADER
from tasks import transfer
from tasks.messages import INTERNAL, REQUESTS
from tests.agent_tasks import QUEUE
from tests.conftest import MB, RESULT_SECONDS, Sender
from tests.deployment import AgentInTest, Deployment, until
from tests.integration.test_bad_input import new_agent

ROOT = Path(__file__).resolve().parents[2]
SIZES = [1000, 101 * MB]
"""One that is moved by the request's own task, one that is moved in parts."""


@pytest.fixture(scope="module")
def agents_worker(
    deployment: Deployment, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[int]:
    """An agent's own Celery worker; gives its pid."""
    log = tmp_path_factory.mktemp("agents-worker") / "log"
    command = [sys.executable, "-m", "celery", "-A", "tests.agent_tasks", "worker"]
    options = ["-Q", f"{QUEUE},celery", "--pool", "solo", "-n", "own@%h", "--without-mingle"]
    names = ("BROKER_URL", "RESULT_URL")
    environment = {**os.environ, **{name: deployment.environment[name] for name in names}}
    with log.open("wb") as output:
        worker = subprocess.Popen(
            [*command, *options], cwd=ROOT, env=environment, stdout=output, stderr=output
        )
    try:
        until(lambda: worker.poll() is not None or _answers(deployment), what="the agent's worker")
        assert worker.poll() is None, log.read_text()
        yield worker.pid
    finally:
        worker.terminate()
        worker.wait(30)


@pytest.fixture
def agent(deployment: Deployment) -> AgentInTest:
    """As conftest's, without a process for each."""
    return new_agent(deployment)


def _answers(deployment: Deployment) -> bool:
    return bool(
        deployment.app.control.broadcast(
            "ping", reply=True, timeout=0.5, limit=1, pattern="own@*", matcher="glob"
        )
    )


def upload(sender: Sender, source: Path | str, **named: Any) -> Signature:
    return transfer.upload.s(str(source), **named).set(headers=sender.headers)


def own(deployment: Deployment, task: str, *arguments: Any, **options: Any) -> Signature:
    """A task of the agent's own, as somebody without this code base names it."""
    made: Signature = deployment.app.signature(task, arguments, **options)
    return made.set(queue=QUEUE)


def get(result: AsyncResult) -> Any:
    return result.get(timeout=RESULT_SECONDS)


# Chains


@pytest.mark.parametrize("size", SIZES)
def test_an_agents_own_task_follows(
    deployment: Deployment, sender: Sender, spool: Path, agents_worker: int, size: int
) -> None:
    source = deployment.make_file("cargo.bin", size)
    result = (upload(sender, source) | own(deployment, "agents.size_of")).delay()
    assert get(result) == size
    reference = FileReference.parse(get(result.parent))
    assert str(reference.id) == result.parent.id


@pytest.mark.parametrize("size", SIZES)
def test_a_task_that_names_no_queue_follows_by_the_senders_routes(
    deployment: Deployment, sender: Sender, spool: Path, agents_worker: int, size: int
) -> None:
    source = deployment.make_file("cargo.bin", size)
    follower = deployment.app.signature("agents.size_of")
    assert get((upload(sender, source) | follower).delay()) == size


@pytest.mark.parametrize("size", SIZES)
def test_a_longer_chain(
    deployment: Deployment, sender: Sender, spool: Path, agents_worker: int, size: int
) -> None:
    source = deployment.make_file("cargo.bin", size)
    result = (
        upload(sender, source)
        | own(deployment, "agents.size_of")
        | own(deployment, "agents.note", "after")
        | own(deployment, "agents.note", "that")
    ).delay()
    assert get(result) == [[size, "after"], "that"]


def test_many_files_follow_one(deployment: Deployment, sender: Sender, spool: Path) -> None:
    names = [str(deployment.make_file(f"{name}.bin", 1000)) for name in ("one", "two", "three")]
    many = transfer.upload_many.si(names[1:]).set(headers=sender.headers)
    result = (upload(sender, names[0]) | many).delay()
    found = [FileReference.parse(one) for one in get(result)]
    assert [one.name for one in found] == ["two.bin", "three.bin"]


@pytest.mark.parametrize("size", SIZES)
def test_a_download_follows_as_the_same_agent(
    deployment: Deployment, sender: Sender, spool: Path, agents_worker: int, size: int
) -> None:
    """The fleet sends the second request: nobody else holds a token then."""
    source = deployment.make_file("cargo.bin", size)
    target = spool / "back.bin"
    chain = upload(sender, source) | transfer.download.s(str(target))
    result = (chain | own(deployment, "agents.note")).delay()
    assert get(result) == [str(target)]
    assert filecmp.cmp(source, target, shallow=False)
    row = deployment.transfer(result.parent.id)
    assert (row.kind, row.agent_id) == ("download", sender.agent.id)


def test_callbacks(deployment: Deployment, sender: Sender, spool: Path, agents_worker: int) -> None:
    for size in SIZES:
        source = deployment.make_file(f"cargo-{size}.bin", size)
        called = own(deployment, "agents.size_of")
        called.freeze()
        upload(sender, source).apply_async(link=called)
        assert get(deployment.app.AsyncResult(called.id)) == size


@pytest.mark.parametrize("size", SIZES)
def test_a_callback_on_failure(
    deployment: Deployment, sender: Sender, spool: Path, agents_worker: int, size: int
) -> None:
    called = own(deployment, "agents.note", "it failed", immutable=False)
    called.freeze()
    source, bucket = _failing(deployment, spool, size)
    result = upload(sender, source, bucket=bucket).apply_async(link_error=called)
    with pytest.raises(errors.Error):
        get(result)
    told = until(lambda: _noted(deployment, called), what="the call back")
    assert told == [result.id, "it failed"]


def _failing(deployment: Deployment, spool: Path, size: int) -> tuple[Path, str | None]:
    """A small file that is not there; a large one for a bucket that agents may not write to."""
    if size < MB:
        return spool / "missing.bin", None
    name = f"closed-{uuid4().hex[:12]}"
    insert = "INSERT INTO storage.buckets (id, name) VALUES (:name, :name) RETURNING id"
    deployment.query(insert, name=name)
    return deployment.make_file("cargo.bin", size), name


def _noted(deployment: Deployment, called: Signature) -> Any:
    """An error's callback runs under an id of its own choosing: look for any result of it."""
    result = deployment.app.AsyncResult(called.id)
    return result.result if result.successful() else None


def test_a_failure_ends_the_chain_with_its_error(
    deployment: Deployment, sender: Sender, spool: Path, agents_worker: int
) -> None:
    result = (
        upload(sender, spool / "missing.bin")
        | own(deployment, "agents.size_of")
        | own(deployment, "agents.note")
    ).delay()
    with pytest.raises(errors.SourceMissing):
        get(result)


# Groups and chords


def test_a_group_of_uploads(deployment: Deployment, sender: Sender, spool: Path) -> None:
    sizes = [10, 101 * MB, 0, 102 * MB]
    sources = [deployment.make_file(f"cargo-{n}.bin", size) for n, size in enumerate(sizes)]
    results = group(upload(sender, source) for source in sources).delay()
    references = [FileReference.parse(one) for one in get(results)]
    assert [reference.size for reference in references] == sizes
    assert len(deployment.objects(sender.agent)) == 4


@pytest.mark.parametrize("sizes", [[10, 20, 30], [10, 101 * MB, 102 * MB]], ids=["small", "large"])
def test_a_chord_of_uploads(
    deployment: Deployment,
    sender: Sender,
    spool: Path,
    agents_worker: int,
    sizes: list[int],
) -> None:
    sources = [deployment.make_file(f"cargo-{n}.bin", size) for n, size in enumerate(sizes)]
    header = [upload(sender, source) for source in sources]
    assert get(chord(header)(own(deployment, "agents.sizes_of"))) == sizes


def test_a_chord_with_an_upload_that_fails(
    deployment: Deployment, sender: Sender, spool: Path, agents_worker: int
) -> None:
    good = deployment.make_file("cargo.bin", 101 * MB)
    header = [upload(sender, good), upload(sender, spool / "missing.bin")]
    result = chord(header)(own(deployment, "agents.sizes_of"))
    with pytest.raises((errors.SourceMissing, ChordError)):
        get(result)
    until(lambda: AsyncResult(result.id).failed(), what="the failure of the body")


def test_a_group_follows_an_upload(
    deployment: Deployment, sender: Sender, spool: Path, agents_worker: int
) -> None:
    for size in SIZES:
        source = deployment.make_file(f"cargo-{size}.bin", size)
        both = group(
            transfer.download.s(str(spool / f"back-{size}.bin")),
            own(deployment, "agents.size_of"),
        )
        back, known = get((upload(sender, source) | both).delay())
        assert filecmp.cmp(source, back, shallow=False)
        assert known == size


# Results


@pytest.mark.parametrize("size", SIZES)
def test_anybody_with_the_id_gets_the_result(
    deployment: Deployment, sender: Sender, spool: Path, size: int
) -> None:
    source = deployment.make_file("cargo.bin", size)
    first = sender.upload(source)
    second, third = AsyncResult(first.id), result_from_tuple(first.as_tuple(), deployment.app)
    references = [FileReference.parse(get(result)) for result in (second, third, first)]
    assert references[0] == references[1] == references[2]
    assert FileReference.parse(get(AsyncResult(first.id))) == references[0]


def test_a_failure_reaches_everybody_too(sender: Sender, spool: Path) -> None:
    first = sender.upload(spool / "missing.bin")
    for result in (first, AsyncResult(first.id)):
        with pytest.raises(errors.SourceMissing):
            get(result)
    assert AsyncResult(first.id).state == "FAILURE"


# The same message twice


def _publish(
    deployment: Deployment, sender: Sender, task_id: str, source: Path, **options: Any
) -> None:
    deployment.app.send_task(
        "transfer.upload",
        (str(source),),
        task_id=task_id,
        headers=sender.headers,
        exchange=REQUESTS,
        routing_key=REQUESTS,
        **options,
    )


def _is_one(deployment: Deployment, sender: Sender, task_id: str, size: int) -> FileReference:
    reference = FileReference.parse(get(AsyncResult(task_id)))
    assert (str(reference.id), reference.size) == (task_id, size)
    rows = deployment.query(
        "SELECT id, state FROM argosy.transfers WHERE agent_id = :id", id=sender.agent.id
    )
    assert [(str(row.id), row.state) for row in rows] == [(task_id, "completed")]
    assert deployment.objects(sender.agent) == [reference.path]
    assert not deployment.unfinished_uploads(sender.agent)
    return reference


@pytest.mark.parametrize("size", SIZES)
def test_the_same_message_twice_at_once(
    deployment: Deployment, sender: Sender, spool: Path, size: int
) -> None:
    task_id, source = str(uuid4()), deployment.make_file("cargo.bin", size)
    for _ in range(4):
        _publish(deployment, sender, task_id, source)
    _is_one(deployment, sender, task_id, size)
    _all_are_through(deployment)
    _is_one_of_many(deployment, sender, task_id)


@pytest.mark.parametrize("size", SIZES)
def test_the_same_message_again_later(
    deployment: Deployment, sender: Sender, spool: Path, size: int
) -> None:
    task_id, source = str(uuid4()), deployment.make_file("cargo.bin", size)
    _publish(deployment, sender, task_id, source)
    first = _is_one(deployment, sender, task_id, size)
    source.unlink()  # nothing looks at it any more
    _publish(deployment, sender, task_id, source)
    assert _is_one(deployment, sender, task_id, size) == first
    _all_are_through(deployment)
    assert FileReference.parse(get(AsyncResult(task_id))) == first


def _all_are_through(deployment: Deployment) -> None:
    """What was sent before is done: later requests are, on every worker."""
    later = deployment.make_file("later.bin", 1)
    other = Sender(new_agent(deployment))
    for result in [other.upload(later) for _ in range(8)]:
        get(result)
    later.unlink()


def _is_one_of_many(deployment: Deployment, sender: Sender, task_id: str) -> None:
    states = deployment.query(
        "SELECT to_state FROM argosy.events WHERE transfer_id = :id AND to_state IS NOT NULL "
        "ORDER BY id",
        id=task_id,
    )
    found = [row.to_state for row in states]
    assert found == ["queued", "planned", "moving", "assembling", "completed"]
    assert len(deployment.objects(sender.agent)) == 1
    assert AsyncResult(task_id).state == "SUCCESS"


def test_a_failed_message_again_fails_the_same_way(
    deployment: Deployment, sender: Sender, spool: Path
) -> None:
    task_id = str(uuid4())
    for _ in range(3):
        _publish(deployment, sender, task_id, spool / "missing.bin")
    with pytest.raises(errors.SourceMissing):
        get(AsyncResult(task_id))
    _all_are_through(deployment)
    with pytest.raises(errors.SourceMissing):
        get(AsyncResult(task_id))
    names = deployment.query(
        "SELECT name FROM argosy.events WHERE transfer_id = :id AND name = 'transfer.failed'",
        id=task_id,
    )
    assert len(names) == 1


def test_every_internal_message_twice(deployment: Deployment, sender: Sender, spool: Path) -> None:
    """Two workers on the same chunk, and on the same assembly: one object, no error seen."""
    source = deployment.make_file("cargo.bin", 150 * MB)
    uploaded = sender.upload(source)
    until(lambda: deployment.chunks(uploaded.id), what="the plan")
    for number in range(1, 10):
        _internal(deployment, "transfer.chunk", "argosy.chunks", uploaded.id, number)
    _internal(deployment, "transfer.digest", "argosy.chunks", uploaded.id)
    until(lambda: _assembles(deployment, uploaded.id), what="the assembly")
    for _ in range(3):
        _internal(
            deployment, "transfer.reassemble", "argosy.finish", uploaded.id, task_id=uploaded.id
        )
        _internal(deployment, "transfer.cleanup", "argosy.finish", uploaded.id)
    reference = FileReference.parse(get(uploaded))
    _all_are_through(deployment)
    target = spool / "back.bin"
    assert filecmp.cmp(source, get(sender.download(reference, target)), shallow=False)
    assert deployment.objects(sender.agent) == [reference.path]
    assert not deployment.unfinished_uploads(sender.agent)
    assert deployment.transfer(uploaded.id).bytes_done == 150 * MB
    assert uploaded.state == "SUCCESS"


def _assembles(deployment: Deployment, transfer_id: str) -> bool:
    return deployment.transfer(transfer_id).state in ("assembling", "completed")


def _internal(
    deployment: Deployment, task: str, queue: str, *arguments: Any, **options: Any
) -> AsyncResult:
    return deployment.app.send_task(
        task, arguments, exchange=INTERNAL, routing_key=queue, **options
    )


# What agents may not send


@pytest.fixture
def theirs(deployment: Deployment, shared_agent: AgentInTest) -> FileReference:
    """A file of another agent's."""
    source = deployment.make_file("theirs.bin", 1000)
    return FileReference.parse(get(Sender(shared_agent).upload(source)))


def _nothing(deployment: Deployment, *results: AsyncResult) -> None:
    """Once everything is through there is no result that an agent could use."""
    _all_are_through(deployment)
    assert not [result.result for result in results if result.successful()]


def test_an_internal_task_is_not_taken_from_an_agent(
    deployment: Deployment, sender: Sender, spool: Path, theirs: FileReference
) -> None:
    ways: list[dict[str, Any]] = [
        {"exchange": REQUESTS, "routing_key": REQUESTS},
        {"queue": Queue(REQUESTS, no_declare=True)},
        {"queue": Queue("argosy.finish", no_declare=True)},
        {"queue": Queue("argosy.chunks", no_declare=True)},
    ]
    arguments = (str(theirs.id),)
    results = [
        deployment.app.send_task("transfer.reassemble", arguments, headers=sender.headers, **way)
        for way in ways
    ]
    _nothing(deployment, *results)


@pytest.mark.parametrize("authentic", [True, False], ids=["signed in", "not signed in"])
@pytest.mark.parametrize("where", ["chain", "link", "link_error", "group", "chord", "body"])
def test_an_internal_task_is_not_smuggled_in_behind_a_request(
    deployment: Deployment,
    sender: Sender,
    spool: Path,
    theirs: FileReference,
    where: str,
    *,
    authentic: bool,
) -> None:
    """The fleet publishes what follows a request: it must not lend its own rights."""
    stolen = spool / f"stolen-{uuid4().hex}.bin"
    inner = deployment.app.signature("transfer.reassemble", (str(theirs.id),), immutable=True)
    follower = inner | transfer.download.s(str(stolen))
    first = upload(sender, deployment.make_file("cargo.bin", 10))
    if not authentic:
        first.set(headers={TOKEN_HEADER: "forged"})
    task_id, second = first.freeze().id, first.clone()  # Celery makes a chain of a chord of one
    second.options.pop("task_id")
    body = own(deployment, "agents.note").on_error(follower)
    send = {
        "chain": (first | follower).delay,
        "link": lambda: first.apply_async(link=follower),
        "link_error": lambda: first.apply_async(link_error=follower),
        "group": (first | group(follower, follower)).delay,
        "chord": lambda: chord([first, second])(follower),
        "body": lambda: chord([first, second])(body),
    }[where]
    send()
    with pytest.raises(errors.InvalidRequest if authentic else errors.InvalidToken):
        get(AsyncResult(task_id))
    _all_are_through(deployment)
    assert not stolen.exists()
    assert not _downloads_to(deployment, stolen)
    assert deployment.objects(sender.agent) == []


def _downloads_to(deployment: Deployment, path: Path) -> list[Any]:
    return deployment.query("SELECT id FROM argosy.transfers WHERE path = :path", path=str(path))


BUILT_IN = {
    "celery.group": lambda inner: {
        "tasks": [inner],
        "result": [[str(uuid4()), None], [[[str(uuid4()), None], None]]],
        "group_id": str(uuid4()),
        "partial_args": [],
        "add_to_parent": False,
    },
    "celery.chord": lambda inner: {"header": [inner], "body": inner},
    "celery.starmap": lambda inner: {"task": inner, "it": [inner["args"]]},
    "celery.map": lambda inner: {"task": inner, "it": inner["args"]},
}


@pytest.mark.parametrize("name", BUILT_IN)
def test_celerys_own_tasks_are_no_way_round(
    deployment: Deployment, sender: Sender, spool: Path, theirs: FileReference, name: str
) -> None:
    inner_id, stolen = str(uuid4()), spool / f"stolen-{uuid4().hex}.bin"
    download = transfer.download.s(str(stolen))
    inner = {
        "task": "transfer.reassemble",
        "args": [str(theirs.id)],
        "kwargs": {},
        "options": {"task_id": inner_id, "link": [dict(download)]},
        "subtask_type": None,
        "immutable": True,
    }
    deployment.app.send_task(
        name,
        (),
        BUILT_IN[name](inner),
        headers=sender.headers,
        exchange=REQUESTS,
        routing_key=REQUESTS,
    )
    _nothing(deployment, AsyncResult(inner_id))
    assert not stolen.exists()
    assert not _downloads_to(deployment, stolen)
