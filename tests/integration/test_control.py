"""Cancel, pause, go on, look: on real servers, while real bytes move."""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psutil
import pytest
from celery import chain
from celery.result import AsyncResult

from argosy.errors import (
    AccessDenied,
    Error,
    InvalidRequest,
    InvalidState,
    NotSignedIn,
    TransferCancelled,
    TransferNotFound,
)
from argosy.reference import FileReference
from models import Chunk, Transfer
from models.chunk_claims import claim_chunk
from models.storing import store_chunk
from tasks import transfer
from tests.conftest import MB, RESULT_SECONDS, Sender
from tests.deployment import AgentInTest, Deployment, remote, until
from worker.agents import limit_agent

LARGE = 136 * MB
"""Nine parts: more than a window of them."""
SMALL = 30 * MB
"""One PUT."""
NOTICED_SECONDS = 20
"""From the word to the last trace: a part, a look at the lease, a clean-up; on a busy machine."""


class Captain(Sender):
    """Sends what steers a transfer, too."""

    def send(self, task: Any, *args: Any, **kwargs: Any) -> AsyncResult:
        return task.apply_async(args, kwargs, headers=self.headers)

    def do(self, task: Any, *args: Any, **kwargs: Any) -> Any:
        return self.send(task, *args, **kwargs).get(timeout=RESULT_SECONDS)

    def status(self, transfer_id: str) -> dict[str, Any]:
        told: dict[str, Any] = self.do(transfer.status, transfer_id)
        return told


@pytest.fixture
def captain(agent: AgentInTest) -> Captain:
    return Captain(agent)


@pytest.fixture
def other(deployment: Deployment) -> Captain:
    return Captain(deployment.add_agent())


@pytest.fixture(scope="module")
def large(deployment: Deployment, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A large file, made once, outside the spool."""
    made = deployment.make_file("large.bin", LARGE)
    kept = made.rename(tmp_path_factory.mktemp("large") / "large.bin")
    yield kept
    kept.unlink()


@pytest.fixture
def source(large: Path, spool: Path) -> Path:
    """It, in the spool."""
    (spool / "source.bin").hardlink_to(large)
    return spool / "source.bin"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _state(deployment: Deployment, transfer_id: str) -> str | None:
    rows = deployment.query("SELECT state FROM argosy.transfers WHERE id = :id", id=transfer_id)
    return rows[0].state if rows else None


def _in_state(deployment: Deployment, transfer_id: str, *states: str) -> None:
    until(lambda: _state(deployment, transfer_id) in states, what=f"state {states}")


def _moved_something(deployment: Deployment, transfer_id: str) -> None:
    done = "SELECT 1 FROM argosy.transfers WHERE id = :id AND bytes_done > 0"
    until(lambda: deployment.query(done, id=transfer_id), what="a transfer in the middle")


def _names(deployment: Deployment, transfer_id: str) -> list[str]:
    query = "SELECT name FROM argosy.events WHERE transfer_id = :id ORDER BY id"
    return [row.name for row in deployment.query(query, id=transfer_id)]


def _is_clean(deployment: Deployment, transfer_id: str) -> Transfer:
    def cleaned() -> Transfer | None:
        row = deployment.transfer(transfer_id)
        return row if row.cleaned_at else None

    return until(cleaned, what="the cleaning up")


def _left_nothing(deployment: Deployment, agent: AgentInTest, transfer_id: str) -> None:
    row = _is_clean(deployment, transfer_id)
    assert (row.state, row.error_code) == ("cancelled", "transfer_cancelled")
    assert not deployment.unfinished_uploads(agent)
    assert transfer_id not in " ".join(deployment.objects(agent))
    assert not list(deployment.spool.rglob(f".argosy-{transfer_id}*"))


def _is_cancelled(result: AsyncResult, by: str) -> None:
    with pytest.raises(TransferCancelled, match=f"Agent {by} has cancelled the transfer of"):
        result.get(timeout=RESULT_SECONDS)


def _is_idle(deployment: Deployment) -> bool:
    inspect = deployment.app.control.inspect(timeout=1.0, limit=2)
    answers = (inspect.active(), inspect.reserved())
    return all(answer and not any(answer.values()) for answer in answers)


@contextmanager
def frozen_storage(deployment: Deployment) -> Iterator[None]:
    """Storage answers nothing in here, and goes on afterwards.

    Begun once the fleet is idle: a process that waits for Storage does nothing else.
    """
    if remote():
        pytest.skip("only the local stack's Storage can be stopped")
    until(lambda: _is_idle(deployment), what="an idle fleet")
    main = psutil.Process(deployment.stack_of("supabase").pid)
    stopped = [main, *main.children(recursive=True)]
    for process in stopped:
        process.suspend()
    try:
        yield
    finally:
        for process in stopped:
            process.resume()


@contextmanager
def holding_the_last(deployment: Deployment, transfer_id: str) -> Iterator[Callable[[], None]]:
    """Be the worker that has the last part in its hands; what is given enters it as stored.

    It is the fleet's again when this ends, unless it was entered.
    """
    last = -(-LARGE // (16 << 20))
    claimed: list[Chunk] = []

    def take() -> bool:
        chunk = deployment.transact(
            lambda session: claim_chunk(
                session, UUID(transfer_id), last, lease_seconds=60, worker="test"
            )
        )
        claimed.extend([chunk] if chunk else [])
        return bool(claimed)

    def store() -> None:
        deployment.transact(
            lambda session: store_chunk(
                session, claimed[0], None, republish_seconds=4, progress_seconds=1
            )
        )

    until(take, what="the last part, in the hands of the test")
    yield store
    deployment.query(
        "UPDATE argosy.chunks SET lease_until = NULL, republish_at = now(), state = 'queued' "
        "WHERE transfer_id = :id AND worker = 'test' AND state = 'moving' RETURNING 1",
        id=transfer_id,
    )
    deployment.query(
        "UPDATE argosy.transfers SET republish_at = now() "
        "WHERE id = :id AND state = 'cancelled' RETURNING 1",
        id=transfer_id,
    )


@pytest.fixture(scope="module")
def stored(deployment: Deployment, shared_agent: AgentInTest, large: Path) -> FileReference:
    """The large file in Storage, of the shared agent."""
    source = deployment.spool / "stored.bin"
    source.hardlink_to(large)
    result = Sender(shared_agent).upload(source)
    reference = FileReference.parse(result.get(timeout=RESULT_SECONDS))
    source.unlink()
    return reference


@dataclass
class Voyage:
    """A large transfer that has begun."""

    captain: Captain
    result: AsyncResult
    kind: str


@pytest.fixture(params=["upload", "download"])
def voyage(
    request: pytest.FixtureRequest,
    captain: Captain,
    shared_agent: AgentInTest,
    source: Path,
    stored: FileReference,
    spool: Path,
) -> Voyage:
    if request.param == "upload":
        return Voyage(captain, captain.upload(source), request.param)
    reader = Captain(shared_agent)
    return Voyage(reader, reader.download(stored, spool / "back.bin"), request.param)


# Cancelling


def test_a_large_file_is_cancelled_as_it_moves(
    deployment: Deployment, voyage: Voyage, spool: Path
) -> None:
    captain, result = voyage.captain, voyage.result
    with holding_the_last(deployment, result.id):
        _moved_something(deployment, result.id)
        told = captain.do(transfer.cancel, result.id)
        assert (told["state"], told["error"]["code"]) == ("cancelled", "transfer_cancelled")
        _is_cancelled(result, captain.agent.name)
    _left_nothing(deployment, captain.agent, result.id)
    assert not (spool / "back.bin").exists()


def test_workers_notice_soon(deployment: Deployment, captain: Captain, source: Path) -> None:
    """Nobody but the fleet has a part in its hands; all are let go of, and nothing is left."""
    limit_agent(deployment.settings, captain.agent.name, bytes_per_second=24 * MB)
    result = captain.upload(source)
    _moved_something(deployment, result.id)
    captain.do(transfer.cancel, result.id)
    start = time.monotonic()
    _left_nothing(deployment, captain.agent, result.id)
    assert time.monotonic() - start < NOTICED_SECONDS
    assert not deployment.query(_IN_HANDS, id=result.id)


def test_a_small_file_in_the_hands_of_a_worker_is_cancelled(
    deployment: Deployment, captain: Captain, spool: Path
) -> None:
    """Its bytes come after the cancellation, and go."""
    with frozen_storage(deployment):
        result = captain.upload(deployment.make_file("small.bin", SMALL))
        until(lambda: deployment.query(_IN_HANDS, id=result.id), what="a worker at it")
        captain.do(transfer.cancel, result.id)
    _is_cancelled(result, captain.agent.name)
    _left_nothing(deployment, captain.agent, result.id)
    assert "transfer.completed" not in _names(deployment, result.id)


def test_a_small_file_in_the_hands_of_a_worker_is_paused(
    deployment: Deployment, captain: Captain, spool: Path
) -> None:
    source = deployment.make_file("small.bin", SMALL)
    with frozen_storage(deployment):
        result = captain.upload(source)
        until(lambda: deployment.query(_IN_HANDS, id=result.id), what="a worker at it")
        captain.do(transfer.pause, result.id)
    _goes_on(deployment, captain, result, source)


def test_a_large_file_in_the_hands_of_a_planner_is_cancelled(
    deployment: Deployment, captain: Captain, source: Path
) -> None:
    with frozen_storage(deployment):
        result = captain.upload(source)
        [why] = until(lambda: _planner(deployment, captain, result.id), what="a planner")
        assert why.startswith("being planned by ")
        captain.do(transfer.cancel, result.id)
    _is_cancelled(result, captain.agent.name)
    again = captain.do(transfer.cancel, result.id)
    assert again["error"]["message"].startswith(f"Agent {captain.agent.name} has cancelled")
    for task in (transfer.pause, transfer.unpause):
        with pytest.raises(InvalidState, match="is cancelled"):
            captain.do(task, result.id)
    _left_nothing(deployment, captain.agent, result.id)
    names = _names(deployment, result.id)
    assert names.count("transfer.cancelled") == 1
    assert "transfer.moving" not in names


def test_a_large_file_in_the_hands_of_a_planner_is_paused(
    deployment: Deployment, captain: Captain, source: Path
) -> None:
    with frozen_storage(deployment):
        result = captain.upload(source)
        until(lambda: _planner(deployment, captain, result.id), what="a planner")
        captain.do(transfer.pause, result.id)
    _goes_on(deployment, captain, result, source)


def _planner(deployment: Deployment, captain: Captain, transfer_id: str) -> list[str]:
    if _state(deployment, transfer_id) is None:
        return []
    waits = captain.status(transfer_id)["waits"]
    return [why for why in waits if why.startswith("being planned")]


def _goes_on(deployment: Deployment, captain: Captain, paused: AsyncResult, source: Path) -> None:
    until(lambda: not deployment.query(_IN_HANDS, id=paused.id), what="a worker that lets go")
    assert _state(deployment, paused.id) == "paused"
    captain.do(transfer.unpause, paused.id)
    reference = FileReference.parse(paused.get(timeout=RESULT_SECONDS))
    assert reference.sha256 == _sha256(source)
    assert deployment.objects(captain.agent) == [reference.path]
    assert not deployment.unfinished_uploads(captain.agent)


_IN_HANDS = """SELECT 1 FROM argosy.transfers t LEFT JOIN argosy.chunks c ON c.transfer_id = t.id
WHERE t.id = :id AND (t.lease_until > now() OR c.lease_until > now())"""


def test_what_has_ended_is_left_as_it_is(
    deployment: Deployment, captain: Captain, spool: Path
) -> None:
    done = captain.upload(deployment.make_file("small.bin", 100))
    reference = done.get(timeout=RESULT_SECONDS)
    for task in (transfer.cancel, transfer.pause, transfer.unpause):
        with pytest.raises(InvalidState, match=r"small\.bin is completed"):
            captain.do(task, done.id)
    told = captain.status(done.id)
    assert (told["state"], told["reference"], told["waits"]) == ("completed", reference, [])


@pytest.mark.parametrize("begin", ["upload", "download"])
def test_of_a_cancellation_and_the_end_exactly_one_wins(
    deployment: Deployment, captain: Captain, spool: Path, begin: str
) -> None:
    source = deployment.make_file("raced.bin", 2 * MB)
    reference = captain.upload(source).get(timeout=RESULT_SECONDS)
    destinations = [spool / f"back-{n}.bin" for n in range(8)]
    if begin == "upload":
        results = [captain.upload(source) for _ in destinations]
    else:
        results = [captain.download(reference, path) for path in destinations]
    with ThreadPoolExecutor(6) as threads:
        won = list(threads.map(lambda result: _cancel_soon(deployment, captain, result), results))
    for result, path, cancelled in zip(results, destinations, won, strict=True):
        names = _names(deployment, result.id)
        assert ("transfer.cancelled" in names) == cancelled
        assert ("transfer.completed" in names) != cancelled
        if cancelled:
            _is_cancelled(result, captain.agent.name)
            _left_nothing(deployment, captain.agent, result.id)
            assert not path.exists()
        else:
            assert result.get(timeout=RESULT_SECONDS)
            is_there = result.id in " ".join(deployment.objects(captain.agent))
            assert is_there if begin == "upload" else _sha256(path) == _sha256(source)


def _cancel_soon(deployment: Deployment, captain: Captain, result: AsyncResult) -> bool:
    """Cancel at any moment of a transfer's short life; whether that won."""
    until(lambda: _state(deployment, result.id), what="its row")
    time.sleep(random.uniform(0, 0.2))  # the moment is what is tried
    try:
        captain.do(transfer.cancel, result.id)
    except InvalidState:
        return False
    return True


# Pausing


def test_a_large_file_is_paused_and_goes_on(
    deployment: Deployment, voyage: Voyage, source: Path, spool: Path
) -> None:
    captain, result = voyage.captain, voyage.result
    with holding_the_last(deployment, result.id):
        _moved_something(deployment, result.id)
        told = captain.do(transfer.pause, result.id)
        assert told["state"] == "paused"
        assert told["waits"][0].startswith(f"paused by {captain.agent.name} since ")
        stored = until(lambda: _at_rest(deployment, result.id), what="parts that have arrived")
        events = _names(deployment, result.id)
    _looked_through(deployment)
    assert _at_rest(deployment, result.id) == stored
    assert _names(deployment, result.id) == events
    assert not result.ready()
    assert captain.do(transfer.unpause, result.id)["state"] == "moving"
    ended = result.get(timeout=RESULT_SECONDS)
    if voyage.kind == "upload":
        captain.download(ended, spool / "back.bin").get(timeout=RESULT_SECONDS)
    assert _sha256(spool / "back.bin") == _sha256(source)
    again = "SELECT 1 FROM argosy.chunks WHERE transfer_id = :id AND number > 0 AND attempts > 1"
    assert len(deployment.query(again, id=result.id)) <= 1  # the one that the test held


def _at_rest(deployment: Deployment, transfer_id: str) -> int | None:
    """How many parts are stored, once nobody but the test has one in its hands."""
    row = deployment.query(
        "SELECT count(*) FILTER (WHERE state = 'stored') AS stored, count(*) FILTER "
        "(WHERE state = 'moving' AND worker <> 'test') AS moving "
        "FROM argosy.chunks WHERE transfer_id = :id",
        id=transfer_id,
    )[0]
    return None if row.moving else row.stored


_LOOK = "SELECT at FROM argosy.heartbeats WHERE name = 'resume' AND at > :since"


def _looked_through(deployment: Deployment) -> None:
    """Wait until the fleet has looked, from begin to end, for what is due."""
    [since] = deployment.query("SELECT clock_timestamp() AS at")
    for _ in range(2):
        [since] = until(lambda at=since.at: deployment.query(_LOOK, since=at), what="a look")


def test_the_last_part_arrives_while_it_is_paused(
    deployment: Deployment,
    shared_agent: AgentInTest,
    stored: FileReference,
    source: Path,
    spool: Path,
) -> None:
    """A download: its bytes can be put there by the test, as the worker would."""
    captain = Captain(shared_agent)
    result = captain.download(stored, spool / "back.bin")
    with holding_the_last(deployment, result.id) as store:
        left = "SELECT 1 FROM argosy.transfers WHERE id = :id AND chunks_left = 1"
        until(lambda: deployment.query(left, id=result.id), what="all parts but the last")
        captain.do(transfer.pause, result.id)
        offset = LARGE // (16 << 20) * (16 << 20)
        [partial] = spool.glob(".argosy-*")
        with source.open("rb") as whole, partial.open("r+b") as file:
            whole.seek(offset)
            file.seek(offset)
            file.write(whole.read())
        store()
    assert captain.status(result.id)["parts"]["stored"] == 9
    assert _state(deployment, result.id) == "paused"
    told = captain.do(transfer.unpause, result.id)
    assert told["state"] in ("assembling", "completed")
    result.get(timeout=RESULT_SECONDS)
    assert _sha256(spool / "back.bin") == _sha256(source)


# Who may


STEERING = (transfer.status, transfer.cancel, transfer.pause, transfer.unpause)


def test_nobody_elses_transfer_is_there(
    deployment: Deployment, captain: Captain, other: Captain, spool: Path
) -> None:
    done = captain.upload(deployment.make_file("small.bin", 100))
    done.get(timeout=RESULT_SECONDS)
    for task in STEERING:
        for strange in (done.id, str(uuid4())):
            asked = other.send(task, strange)
            with pytest.raises(TransferNotFound) as caught:
                asked.get(timeout=RESULT_SECONDS)
            said = f"Agent {other.agent.name} has no transfer {strange}: give the id"
            assert caught.value.message.startswith(said)
            [audit] = deployment.query(_REFUSAL, id=asked.id)
            assert (audit.agent_id, audit.reason) == (other.agent.id, "transfer_not_found")
            assert audit.object == f"transfer {strange}"
    with pytest.raises(TransferNotFound):
        other.do(transfer.history, before=done.id)
    assert other.do(transfer.history) == []
    assert captain.status(done.id)["state"] == "completed"


_REFUSAL = "SELECT * FROM argosy.events WHERE name = 'request.refused' AND request_id = :id"


def test_an_admin_steers_every_transfer_and_a_paused_one_can_be_cancelled(
    deployment: Deployment, captain: Captain, source: Path
) -> None:
    admin = Captain(deployment.add_agent("admin"))
    result = captain.upload(source)
    with holding_the_last(deployment, result.id):
        _moved_something(deployment, result.id)
        told = admin.do(transfer.pause, result.id)
        assert told["agent"] == captain.agent.name
        assert told["waits"][0].startswith(f"paused by {admin.agent.name} since ")
        assert admin.do(transfer.unpause, result.id)["state"] == "moving"
        assert result.id in [one["id"] for one in admin.do(transfer.history)]
        admin.do(transfer.pause, result.id)
        admin.do(transfer.cancel, result.id)
        _is_cancelled(result, admin.agent.name)
    _left_nothing(deployment, captain.agent, result.id)
    steered = [name for name in _names(deployment, result.id) if "put_back" not in name]
    assert steered[-3:] == ["transfer.paused", "transfer.cancelled", "transfer.cleaned"]


def test_a_disabled_agent_and_a_stranger_steer_nothing(
    deployment: Deployment, captain: Captain, spool: Path
) -> None:
    done = captain.upload(deployment.make_file("small.bin", 100))
    done.get(timeout=RESULT_SECONDS)
    deployment.query(
        "UPDATE argosy.agents SET disabled_at = now() WHERE id = :id RETURNING 1",
        id=captain.agent.id,
    )
    for task in STEERING:
        with pytest.raises(AccessDenied):
            captain.do(task, done.id)
        with pytest.raises(NotSignedIn):
            _by_name(deployment, task, done.id).get(timeout=RESULT_SECONDS)


def _by_name(
    deployment: Deployment,
    task: Any,
    *args: Any,
    headers: dict[str, str] | None = None,
    **kwargs: Any,
) -> AsyncResult:
    """As a program sends it that knows no more than the task's name."""
    return deployment.app.send_task(
        task.name,
        args,
        kwargs,
        exchange="argosy.requests",
        routing_key="argosy.control",
        declare=[],
        headers=headers,
    )


RUBBISH: list[tuple[Any, tuple[Any, ...], dict[str, Any], str]] = [
    *((task, (given,), {}, "Argument transfer") for task in STEERING for given in ("x", 7, None)),
    (transfer.cancel, ({"id": str(uuid4())},), {}, "Argument transfer"),
    (transfer.cancel, (), {"transfer": ["a"]}, "Argument transfer"),
    (transfer.cancel, (), {}, "transfer.cancel: missing a required argument"),
    (transfer.status, ("a", "b"), {}, "transfer.status: too many positional arguments"),
    (transfer.history, (0,), {}, "Argument limit"),
    (transfer.history, (201,), {}, "Argument limit"),
    (transfer.history, ("5",), {}, "Argument limit"),
    (transfer.history, (True,), {}, "Argument limit"),
    (transfer.history, (), {"before": "yesterday"}, "Argument before"),
]


def test_rubbish_is_refused_in_words(deployment: Deployment, captain: Captain) -> None:
    asked = [
        (_by_name(deployment, task, *args, headers=captain.headers, **kwargs), said)
        for task, args, kwargs, said in RUBBISH
    ]
    for result, said in asked:
        with pytest.raises(InvalidRequest) as caught:
            result.get(timeout=RESULT_SECONDS)
        assert caught.value.message.startswith(said)


def test_an_answer_is_never_the_result_of_a_transfer(
    deployment: Deployment, captain: Captain, other: Captain, spool: Path
) -> None:
    done = captain.upload(deployment.make_file("small.bin", 100))
    reference = done.get(timeout=RESULT_SECONDS)
    for task, args in ((transfer.history, ()), (transfer.cancel, (done.id,))):
        task.apply_async(args, headers=other.headers, task_id=done.id)
    refused = "SELECT count(*) AS n FROM argosy.events WHERE request_id = :id AND agent_id = :who"
    until(lambda: deployment.query(refused, id=done.id, who=other.agent.id)[0].n == 2)
    assert AsyncResult(done.id).get(timeout=RESULT_SECONDS) == reference


# Looking


def test_the_status_of_a_moving_file(
    deployment: Deployment, captain: Captain, source: Path
) -> None:
    result = captain.upload(source)
    with holding_the_last(deployment, result.id):
        left = "SELECT 1 FROM argosy.transfers WHERE id = :id AND chunks_left = 1"
        until(lambda: deployment.query(left, id=result.id), what="all parts but the last")
        told = captain.status(result.id)
        assert told["parts"] == {"stored": 8, "moving": 1, "queued": 0, "waiting": 0, "total": 9}
        assert told["bytes_done"] == 8 * (16 << 20)
        left = LARGE - told["bytes_done"]
        assert told["eta_seconds"] == pytest.approx(left / told["rate"], abs=0.1)
        [why] = told["waits"]
        assert why.startswith("chunk 9 is held by test until ")
    result.get(timeout=RESULT_SECONDS)
    told = captain.status(result.id)
    assert (told["state"], told["bytes_done"]) == ("completed", LARGE)


def test_history_is_an_agents_own_and_comes_in_pages(
    deployment: Deployment, captain: Captain, spool: Path
) -> None:
    sources = [deployment.make_file(f"{number}.bin", 10) for number in range(5)]
    ids = []
    for source in sources:
        done = captain.upload(source)
        done.get(timeout=RESULT_SECONDS)
        ids.insert(0, done.id)
    pages = [captain.do(transfer.history, 2)]
    while pages[-1]:
        pages.append(captain.do(transfer.history, limit=2, before=pages[-1][-1]["id"]))
    assert [len(page) for page in pages] == [2, 2, 1, 0]
    assert [one["id"] for page in pages for one in page] == ids
    assert pages[0][0]["name"] == "4.bin"


def test_a_chain_may_steer(deployment: Deployment, captain: Captain, spool: Path) -> None:
    source = deployment.make_file("small.bin", 100)
    told = chain(transfer.upload.s(str(source)), transfer.history.si(1))
    [newest] = told.apply_async(headers=captain.headers).get(timeout=RESULT_SECONDS)
    assert (newest["name"], newest["state"]) == ("small.bin", "completed")


def test_answers_do_not_fill_the_result_store(deployment: Deployment, captain: Captain) -> None:
    result = captain.send(transfer.history)
    result.get(timeout=RESULT_SECONDS)
    backend = deployment.app.backend
    key = backend.get_key_for_task(result.id)
    until(lambda: 0 < backend.client.ttl(key) <= 600, what="an answer that goes soon")


def test_a_question_does_not_wait_behind_files(
    deployment: Deployment, captain: Captain, source: Path, spool: Path
) -> None:
    """While every process is busy and more waits, it is answered before the files are there."""
    results = [captain.upload(source, name=f"{number}.bin") for number in range(4)]
    until(lambda: _state(deployment, results[0].id) == "moving", what="a busy fleet")
    assert len(captain.do(transfer.history)) >= 1
    assert not all(result.ready() for result in results)
    for result in results:
        _cancel(captain, result)


def _cancel(captain: Captain, result: AsyncResult) -> None:
    def cancelled() -> bool:
        try:
            captain.do(transfer.cancel, result.id)
        except TransferNotFound:  # no worker has taken the request yet
            return False
        except Error as error:
            assert isinstance(error, InvalidState)
        return True

    until(cancelled, what="its end")
