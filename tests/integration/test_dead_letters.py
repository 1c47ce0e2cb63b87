"""Messages that RabbitMQ gave up: each becomes a row, and nobody waits for one for ever."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import amqp
import jwt
import pytest
from celery import Celery
from celery.result import AsyncResult
from kombu import Connection, Queue

from argosy.auth import TOKEN_HEADER
from argosy.errors import InternalError, InvalidRequest, TooManyAttempts
from argosy.reference import FileReference
from models import DeadLetter
from models.dead_letters import drop_old
from tasks import bury, transfer
from tasks import fleet as fleet_module
from tasks.fleet import Fleet
from tasks.letter import read
from tasks.messages import DEAD
from tasks.seal import SEAL_HEADER, seal
from tests.conftest import RESULT_SECONDS, Sender
from tests.deployment import ARGOSY, Deployment, remote, until
from tests.security.test_forged_messages import MALFORMED, UNKNOWN
from tests.security.wire import Workers, body, message
from worker.results import fleet_results

pytestmark = pytest.mark.skipif(remote(), reason="declares queues of its own on the broker")

DYING = "argosy-test.dying"
Kill = Callable[..., None]


@contextmanager
def _dying(deployment: Deployment, **arguments: Any) -> Iterator[tuple[Any, str]]:
    """A queue whose messages die, and a channel to it."""
    with Connection(deployment.environment["BROKER_URL"]) as connection:
        channel = connection.channel()
        wanted = {"x-queue-type": "quorum", "x-dead-letter-exchange": DEAD, **arguments}
        name = f"{DYING}.{uuid4()}"
        queue = Queue(name, no_ack=False, queue_arguments=wanted)(channel)
        queue.declare()
        try:
            yield channel, name
        finally:
            queue.delete()


@pytest.fixture
def expire(deployment: Deployment) -> Iterator[Kill]:
    """Have a message expire in a queue, for real; returns once it is with the dead."""
    with _dying(deployment, **{"x-message-ttl": 1}) as (channel, name):

        def kill(made: amqp.Message) -> None:
            channel.basic_publish(made, "", name)
            until(lambda: channel.queue_declare(name, passive=True).message_count == 0)

        yield kill


@pytest.fixture
def wear_out(deployment: Deployment) -> Iterator[Kill]:
    """Have a message handed back until RabbitMQ gives it up."""
    with _dying(deployment, **{"x-delivery-limit": 2}) as (channel, name):

        def kill(made: amqp.Message) -> None:
            channel.basic_publish(made, "", name)
            for _ in range(3):
                taken = until(lambda: channel.basic_get(name), what="a delivery")
                channel.basic_reject(taken.delivery_tag, requeue=True)

        yield kill


def _letters(deployment: Deployment, **wanted: Any) -> list[Any]:
    where = " AND ".join(f"{name} = :{name}" for name in wanted) or "true"
    query = f"SELECT * FROM argosy.dead_letters WHERE {where} ORDER BY id"
    return deployment.query(query, **wanted)


def _letter(deployment: Deployment, **wanted: Any) -> Any:
    [found] = until(lambda: _letters(deployment, **wanted), what="a letter's row")
    return found


def _upload(token: str | None, task_id: str | None = None, **headers: Any) -> amqp.Message:
    ours = {TOKEN_HEADER: token} if token else {}
    return message(body(["/nowhere/lost.bin"]), id=task_id or str(uuid4()), **ours, **headers)


def _id(made: amqp.Message) -> str:
    return str(made.properties["application_headers"]["id"])


def _stored(deployment: Deployment, sender: Sender) -> FileReference:
    sent = sender.upload(deployment.make_file("small.bin", 100))
    return FileReference.parse(sent.get(timeout=RESULT_SECONDS))


# Requests that never became a row


def test_a_request_that_was_worn_out_is_answered(
    deployment: Deployment, sender: Sender, wear_out: Kill
) -> None:
    made = _upload(sender.headers[TOKEN_HEADER])
    wear_out(made)
    with pytest.raises(TooManyAttempts, match=r"The request transfer\.upload was in") as caught:
        AsyncResult(_id(made)).get(timeout=RESULT_SECONDS)
    assert "send it again" in caught.value.message
    row = _letter(deployment, task_id=_id(made))
    assert (row.reason, row.task, row.transfer_id) == ("delivery_limit", "transfer.upload", None)
    assert (row.queue.startswith(DYING), row.deaths) == (True, 1)
    [audit] = deployment.query(_REFUSAL, id=_id(made))
    assert (audit.agent_id, audit.reason) == (sender.agent.id, "too_many_attempts")


_REFUSAL = "SELECT * FROM argosy.events WHERE name = 'request.refused' AND request_id = :id"


def test_a_request_that_expired_is_answered_and_so_is_what_was_chained(
    deployment: Deployment, sender: Sender, expire: Kill
) -> None:
    chained = transfer.inspect.s().set(task_id=str(uuid4()))
    rides = {"chain": [json.loads(json.dumps(chained))]}
    made = message(
        body(["/nowhere/lost.bin"], rides=rides), **{TOKEN_HEADER: sender.headers[TOKEN_HEADER]}
    )
    expire(made)
    for waited_for in (_id(made), chained.options["task_id"]):
        with pytest.raises(InvalidRequest, match="for longer than its sender allowed"):
            AsyncResult(waited_for).get(timeout=RESULT_SECONDS)


def test_a_tick_that_the_next_one_overtook_is_no_letter(
    deployment: Deployment, expire: Kill
) -> None:
    mark = seal(deployment.settings, "transfer.resume", ())
    tick = message(body([]), task="transfer.resume", **{SEAL_HEADER: mark})
    forged = message(body([]), task="transfer.resume", **{SEAL_HEADER: "0" * len(mark)})
    for made in (tick, forged):
        expire(made)
    assert _letter(deployment, task_id=_id(forged)).task == "transfer.resume"
    assert not _letters(deployment, task_id=_id(tick))


def test_a_token_that_expired_long_ago_still_says_who_asked(
    deployment: Deployment, sender: Sender, expire: Kill
) -> None:
    made = _upload(_token(deployment, sender, expired_ago=timedelta(days=40)))
    expire(made)
    with pytest.raises(InvalidRequest):
        AsyncResult(_id(made)).get(timeout=RESULT_SECONDS)


def _token(deployment: Deployment, sender: Sender, expired_ago: timedelta, secret: str = "") -> str:
    ours = deployment.settings.supabase_jwt_secret
    key = secret or (ours.get_secret_value() if ours else "")
    ended = int((datetime.now(UTC) - expired_ago).timestamp())
    claims = {"sub": str(sender.agent.id), "role": "authenticated", "aud": "authenticated"}
    return jwt.encode({**claims, "iat": ended - 60, "exp": ended}, key, "HS256")


def test_a_letter_of_nobody_known_is_entered_and_not_answered(
    deployment: Deployment, sender: Sender, expire: Kill
) -> None:
    forged = _token(deployment, sender, timedelta(days=-1), secret="not the project's: " + "x" * 32)
    for token in (None, "nonsense", forged):
        made = _upload(token)
        expire(made)
        assert _letter(deployment, task_id=_id(made)).transfer_id is None
        assert AsyncResult(_id(made)).state == "PENDING"
        assert not deployment.query(_REFUSAL, id=_id(made))


def test_the_outcome_of_a_transfer_is_never_replaced(
    deployment: Deployment, sender: Sender, expire: Kill
) -> None:
    reference = _stored(deployment, sender)
    stranger = Sender(deployment.add_agent())
    for who, tied in ((sender, reference.id), (stranger, None)):
        expire(_upload(who.headers[TOKEN_HEADER], str(reference.id), origin=who.agent.name))
        rows = until(lambda: _letters(deployment, task_id=str(reference.id)), what="its row")
        assert rows[-1].transfer_id == tied
        deployment.query(
            "DELETE FROM argosy.dead_letters WHERE id = :id RETURNING 1", id=rows[0].id
        )
    assert AsyncResult(str(reference.id)).get(timeout=RESULT_SECONDS)["id"] == str(reference.id)
    assert not deployment.query(_REFUSAL, id=str(reference.id))


def test_an_act_that_was_begun_is_answered_to_its_own_agent(
    deployment: Deployment, sender: Sender, wear_out: Kill
) -> None:
    """As a deletion that killed each worker after it was entered."""
    stranger = deployment.add_agent()
    ids = {who: str(uuid4()) for who in (sender.agent.id, stranger.id)}
    for who, task_id in ids.items():
        deployment.query(
            "INSERT INTO argosy.acts (id, agent_id, request_sha256) "
            "VALUES (:id, :who, 'transfer.delete:0') RETURNING id",
            id=task_id,
            who=who,
        )
        token = sender.headers[TOKEN_HEADER]
        wear_out(message(task="transfer.delete", id=task_id, **{TOKEN_HEADER: token}))
        _letter(deployment, task_id=task_id)
    with pytest.raises(TooManyAttempts):
        AsyncResult(ids[sender.agent.id]).get(timeout=RESULT_SECONDS)
    until(lambda: _waiting(deployment) == 0, what="an empty queue of the dead")
    assert AsyncResult(ids[stranger.id]).state == "PENDING"


# Messages of the fleet's own


def _chunk(deployment: Deployment, transfer_id: str, seal_of: str | None = None) -> amqp.Message:
    mark = seal(deployment.settings, "transfer.chunk", (seal_of or transfer_id, 1))
    return message(body([transfer_id, 1]), task="transfer.chunk", **{SEAL_HEADER: mark})


def test_a_letter_of_the_fleets_is_told_of_with_its_transfer(
    deployment: Deployment, sender: Sender, wear_out: Kill
) -> None:
    reference = _stored(deployment, sender)
    made = _chunk(deployment, str(reference.id))
    wear_out(made)
    assert _letter(deployment, task_id=_id(made)).transfer_id == reference.id
    asked = transfer.status.apply_async((str(reference.id),), headers=sender.headers)
    [told] = asked.get(timeout=RESULT_SECONDS)["dead_letters"]
    assert (told["task"], told["reason"]) == ("transfer.chunk", "delivery_limit")
    listed = transfer.history.apply_async(headers=sender.headers).get(timeout=RESULT_SECONDS)
    assert listed[0]["dead_letters"] == [told]
    assert f"died       transfer.chunk in {told['queue']} at " in deployment.run(
        "status", str(reference.id)
    )
    [line] = deployment.run("dead", "--json", "--transfer", str(reference.id)).splitlines()
    assert json.loads(line) == told
    assert str(reference.id) in deployment.run("dead")


def test_nobody_else_can_tie_a_letter_to_a_transfer(
    deployment: Deployment, sender: Sender, expire: Kill
) -> None:
    victim = str(_stored(deployment, sender).id)
    made = _chunk(deployment, victim, seal_of=str(uuid4()))
    expire(made)
    assert _letter(deployment, task_id=_id(made)).transfer_id is None


# Rubbish


def test_whatever_it_is_it_is_entered_and_harms_nobody(
    deployment: Deployment, expire: Kill
) -> None:
    workers = Workers(deployment)
    [last] = deployment.query("SELECT coalesce(max(id), 0) AS id FROM argosy.dead_letters")
    rubbish = {**MALFORMED, **UNKNOWN}
    for make in rubbish.values():
        expire(make())
    until(lambda: _waiting(deployment) == 0, what="an empty queue of the dead")
    wanted = len(rubbish) - UNREADABLE + 1

    def entered() -> list[Any]:
        return [row for row in _letters(deployment) if row.id > last.id]

    until(lambda: len(entered()) == wanted, what="a row for each")
    assert {row.transfer_id for row in entered()} == {None}
    workers.are_unharmed()


UNREADABLE = 4
"""Messages whose properties cannot be read: with the same body they are all one."""


def _waiting(deployment: Deployment) -> int:
    with Connection(deployment.environment["BROKER_URL"]) as connection:
        return int(connection.channel().queue_declare(DEAD, passive=True).message_count)


def test_nothing_of_a_body_or_a_token_is_kept(
    deployment: Deployment, sender: Sender, expire: Kill
) -> None:
    token = sender.headers[TOKEN_HEADER]
    made = _upload(token, shadow="a-secret-shadow", task="transfer.nothing")
    expire(made)
    kept = " ".join(map(str, _letter(deployment, task_id=_id(made))))
    assert not any(word in kept for word in (token, "/nowhere", "a-secret-shadow"))


# Coming again


@pytest.fixture
def fleet(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> Fleet:
    """The fleet, as a worker of this process would have it."""
    made = Fleet(deployment.settings)
    monkeypatch.setattr(fleet_module, "_fleets", {os.getpid(): made})
    return made


def test_a_letter_that_comes_again_is_one_row(
    deployment: Deployment, fleet: Fleet, expire: Kill
) -> None:
    """Entered by one who died before it was acknowledged."""
    made = _upload(None)
    with _dying(deployment, **{"x-dead-letter-exchange": ""}) as (channel, name):
        channel.basic_publish(made, "", name)
        taken = until(lambda: channel.basic_get(name), what="the message")
        again = read(taken.properties, taken.body)
        bury._bury(bury.bury, [again, again])
        bury._bury(bury.bury, [read(taken.properties, taken.body)])
        channel.basic_ack(taken.delivery_tag)
    _letter(deployment, task_id=_id(made))


def test_a_letter_waits_for_the_result_store(
    deployment: Deployment, sender: Sender, fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its caller is told once Valkey is back: what is acknowledged is told to nobody."""
    nowhere = Celery("fleet", broker=deployment.environment["BROKER_URL"], set_as_current=False)
    nowhere.conf.update(
        result_backend=fleet_results("redis://127.0.0.1:1/0"),
        result_backend_always_retry=True,
        result_backend_max_retries=0,
    )
    monkeypatch.setattr(deployment.app.tasks["transfer.upload"], "_backend", nowhere.backend)
    made = _upload(sender.headers[TOKEN_HEADER])
    with _dying(deployment, **{"x-dead-letter-exchange": ""}) as (channel, name):
        channel.basic_publish(made, "", name)
        taken = until(lambda: channel.basic_get(name), what="the message")
        with pytest.raises(bury.AWAY):
            bury._bury(bury.bury, [read(taken.properties, taken.body)])
        channel.basic_ack(taken.delivery_tag)


def test_old_letters_go_in_batches(deployment: Deployment) -> None:
    old = datetime.now(UTC) - timedelta(days=31)

    def add(session: Any) -> None:
        for number in range(7):
            mark = f"{uuid4()}"
            at = old if number < 5 else datetime.now(UTC)
            row = DeadLetter(fingerprint=mark, queue="old", reason="expired", at=at)
            session.add(row)

    deployment.transact(add)
    assert deployment.transact(lambda session: drop_old(session, days=30, limit=0)) == 0
    until(lambda: len(_letters(deployment, queue="old")) == 2, what="the old ones' end")


def test_an_unknown_death_is_told_in_words(deployment: Deployment, sender: Sender) -> None:
    """Put there by hand: no word of the broker's is on it."""
    made = _upload(sender.headers[TOKEN_HEADER])
    with Connection(deployment.environment["BROKER_URL"]) as connection:
        connection.channel().basic_publish(made, DEAD, "")
    with pytest.raises(InternalError, match=r"was put aside \(unknown\)"):
        AsyncResult(_id(made)).get(timeout=RESULT_SECONDS)
    assert _letter(deployment, task_id=_id(made)).deaths is None


def test_the_command_without_a_database(deployment: Deployment) -> None:
    nowhere = {**os.environ, **deployment.operator_environment}
    nowhere |= dict.fromkeys(
        ("DATABASE_URL", "ARGOSY_OPERATOR_DATABASE_URL"), "postgresql://x@127.0.0.1:1/x"
    )
    done = subprocess.run([ARGOSY, "dead"], env=nowhere, capture_output=True, check=False)
    assert done.returncode != 0
    assert b"Traceback" not in done.stderr
