"""Receiving: handled at least once, given back when that fails, put aside when it cannot work."""

from __future__ import annotations

import gzip
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from argosy import Client, Inbox, Message, line
from argosy.errors import AccessDenied, InvalidRequest
from argosy.mailbox import dead_queue_of
from tests.deployment import Deployment, remote, until
from tests.integration.client.cramped import cramped
from tests.integration.client.gate import Gate, answer
from tests.integration.client.mailing import (
    Person,
    Relay,
    operator,
    person,
    pins,
    receive,
    write,
)
from worker.agents import disable_agent

pytestmark = pytest.mark.skipif(remote(), reason="uses the local stack's RabbitMQ")

MIB = 1024 * 1024
GIB = 1024 * MIB
PROGRAM = Path(__file__).with_name("inbox_program.py")


def envelope(body: Any = None, **changes: Any) -> dict[str, Any]:
    return {
        "schema": "argosy.message/v1",
        "id": str(uuid4()),
        "from": "someone",
        "sent_at": "2026-01-02T03:04:05Z",
        "body": body,
        **changes,
    }


def running(inbox: Inbox) -> threading.Thread:
    thread = threading.Thread(target=inbox.run)
    thread.start()
    return thread


def stop(inbox: Inbox, thread: threading.Thread) -> None:
    inbox.stop()
    thread.join(20)
    assert not thread.is_alive()


# Failures


def test_it_fails_and_then_works(alice: Person, bob: Person) -> None:
    alice.client.send(bob.name, "hello")
    attempts: list[tuple[int, bool]] = []
    inbox = bob.inbox()

    @inbox.on
    def handle(message: Message) -> None:
        attempts.append((message.attempt, message.redelivered))
        if message.attempt < 3:
            raise ValueError("not yet")
        inbox.stop()

    inbox.run()
    assert attempts == [(1, False), (2, True), (3, True)]
    assert bob.waiting() == 0


def test_it_fails_until_it_is_put_aside(
    alice: Person, bob: Person, deployment: Deployment, caplog: pytest.LogCaptureFixture
) -> None:
    message_id = alice.client.send(bob.name, "poison", [b"evidence"])
    inbox = bob.inbox(attempts=3)
    tries: list[int] = []

    @inbox.on
    def handle(message: Message) -> None:
        tries.append(message.attempt)
        raise ValueError("no\nsuch thing")

    for _ in range(3):
        assert inbox.run_once(30)
    assert tries == [1, 2, 3]
    letter = bob.dead_letter()
    assert letter.headers["argosy-reason"] == "handler_failed: ValueError: no such thing"
    assert letter.headers["argosy-attempts"] == 3
    assert letter.headers["argosy-failed-at"]
    assert letter.headers["argosy-sender"] == alice.name
    assert letter.properties["message_id"] == str(message_id) == json.loads(letter.body)["id"]
    assert bob.waiting() == 0
    assert pins(deployment, message_id) == 1  # whoever looks at the letter finds its file
    assert "message.put_aside" in caplog.text


def test_a_pause_does_not_hold_up_what_is_taken_ahead(alice: Person, bob: Person) -> None:
    for body in ("fails", "goes on"):
        alice.client.send(bob.name, body)
    inbox, order = bob.inbox(prefetch=2, pause_seconds=1.0), []

    @inbox.on
    def handle(message: Message) -> None:
        order.append(message.body)
        if order == ["fails"]:
            raise ValueError
        if len(order) == 3:
            inbox.stop()

    inbox.run()
    assert order == ["fails", "goes on", "fails"]


# What cannot work


RUBBISH: dict[str, tuple[Any, dict[str, Any], str]] = {
    "no JSON": (b"{", {}, "invalid_message: The message's body is no JSON"),
    "nothing": (b"", {}, "invalid_message: "),
    "another encoding": ("ü".encode("utf-16"), {"content_encoding": "utf-16"}, "invalid_message"),
    "compressed": (
        gzip.compress(b"{}"),
        {"application_headers": {"compression": "application/x-gzip"}},
        "invalid_message",
    ),
    "NaN": (b'{"a": NaN}', {}, "invalid_message: The message's body is no JSON in UTF-8: NaN"),
    "deep": (b"[" * 50_000 + b"]" * 50_000, {}, "invalid_message"),
    "less deep": (b"[" * 300 + b"]" * 300, {}, "invalid_message: The document has lists"),
    "a newer message": (envelope(schema="argosy.message/v2"), {}, "invalid_message: "),
    "a broken envelope": (envelope(id="x"), {}, "invalid_message: This is no argosy.message/v1"),
    "a newer reference": (
        envelope([{"schema": "argosy.file/v9"}]),
        {},
        "invalid_reference: At $.body[0]: This reference is of version 9",
    ),
    "a broken reference": (
        {"mine": {"schema": "argosy.file/v1"}},
        {},
        "invalid_reference: At $.mine: ",
    ),
    "50 MB": (b'"' + b"x" * 50_000_000 + b'"', {}, "invalid_message: The message has 50,000,002"),
}


@pytest.mark.parametrize("what", RUBBISH)
def test_rubbish_is_put_aside_at_once(bob: Person, what: str) -> None:
    body, properties, reason = RUBBISH[what]
    write(bob.operator_url, bob.name, body, **properties)
    assert receive(bob, 1, attempts=3) == []
    letter = bob.dead_letter()
    assert letter.headers["argosy-reason"].startswith(reason)
    sent = json.dumps(body).encode() if isinstance(body, dict) else body
    assert as_bytes(letter.body) == sent
    assert bob.waiting() == 0


def as_bytes(body: str | bytes) -> bytes:
    return body.encode() if isinstance(body, str) else body


def test_ten_thousand_references(alice: Person, bob: Person) -> None:
    one = alice.client.upload_file(b"x").document()
    many = [{**one, "id": str(uuid4())} for _ in range(10_000)]
    write(bob.operator_url, bob.name, envelope({"files": many}))
    assert receive(bob) == []
    assert "more than 100 files" in bob.dead_letter().headers["argosy-reason"]


def test_as_many_files_as_may_be_and_a_large_body(
    alice: Person, deployment: Deployment, tmp_path: Path
) -> None:
    """The file that the body travels as is not counted."""
    with person(deployment, tmp_path, message_references=2) as careful:
        alice.client.send(careful.name, "x" * 200_000, [b"one", b"two"])
        [message] = receive(careful)
        assert len(message.files) == 2


def test_more_bytes_than_may_be_fetched(
    alice: Person, deployment: Deployment, tmp_path: Path
) -> None:
    with person(deployment, tmp_path, message_fetch_bytes=10) as careful:
        alice.client.send(careful.name, {}, [b"x" * 6, b"y" * 6])
        assert receive(careful) == []
        assert "12 bytes are to be fetched, 10" in careful.dead_letter().headers["argosy-reason"]
        alice.client.send(careful.name, {}, [b"x" * 6, b"y" * 4])
        assert len(receive(careful)) == 1


def test_a_size_that_is_a_lie(alice: Person, bob: Person) -> None:
    """No disk is filled for it, and the inbox goes on."""
    document = wrong(alice.client, size=9 * GIB)
    alice.client.share(document, [bob.name])
    write(alice.broker_url, bob.name, envelope([document]))
    alice.client.send(bob.name, "next")
    with cramped(64 * MIB):
        [message] = receive(bob, 2, attempts=3)
    assert message.body == "next"
    assert bob.dead_letter().headers["argosy-reason"].startswith("checksum_mismatch: ")


def test_a_disk_that_is_full(alice: Person, bob: Person) -> None:
    """The message fails, and is put aside in the end; those that need no room are handled."""
    alice.client.send(bob.name, "large", [os.urandom(2 * MIB)])
    alice.client.send(bob.name, "small")
    with cramped(MIB):
        [message] = receive(bob, 3, attempts=2)
    assert message.body == "small"
    letter = bob.dead_letter()
    assert letter.headers["argosy-reason"].startswith("disk_full: ")
    assert letter.headers["argosy-attempts"] == 2


def wrong(client: Client, **changes: Any) -> dict[str, Any]:
    return {**client.upload_file(os.urandom(100)).document(), **changes}


def deleted(client: Client) -> dict[str, Any]:
    reference = client.upload_file(b"soon gone")
    client.delete_file(reference)
    return reference.document()


def bomb(client: Client) -> dict[str, Any]:
    stored = {"size": 100, "sha256": "a" * 64, "md5": "b" * 32}
    return wrong(client, size=GIB, encoding="zstd", stored=stored)


USELESS: dict[str, tuple[Callable[[Client], dict[str, Any]], str]] = {
    "not readable": (wrong, "object_not_found: "),
    "deleted": (deleted, "object_not_found: "),
    "a bomb": (bomb, "expansion_too_large: "),
    "another bucket": (lambda alice: wrong(alice, bucket="nowhere"), "_not_found: "),
}


@pytest.mark.parametrize("what", USELESS)
def test_a_file_that_cannot_be_had(alice: Person, bob: Person, what: str) -> None:
    make, reason = USELESS[what]
    write(alice.broker_url, bob.name, envelope([make(alice.client)]))
    assert receive(bob, attempts=3) == []
    letter = bob.dead_letter()
    assert reason in letter.headers["argosy-reason"]
    assert letter.headers["argosy-attempts"] == 0
    assert bob.waiting() == 0


@pytest.mark.parametrize("changes", [{"sha256": "a" * 64}, {"size": 99}], ids=str)
def test_a_file_that_is_another(alice: Person, bob: Person, changes: dict[str, Any]) -> None:
    document = wrong(alice.client, **changes)
    alice.client.share(document, [bob.name])
    write(alice.broker_url, bob.name, envelope([document]))
    assert receive(bob, attempts=3) == []
    assert bob.dead_letter().headers["argosy-reason"].startswith("checksum_mismatch: ")


def test_a_body_that_is_no_json(alice: Person, bob: Person) -> None:
    held = alice.client.upload_file(b"no JSON")
    alice.client.share(held, [bob.name])
    document = envelope(body_reference=held.document())
    del document["body"]
    write(alice.broker_url, bob.name, document)
    assert receive(bob) == []
    assert "no JSON" in bob.dead_letter().headers["argosy-reason"]


# What is not ours, and still a message


def test_json_of_another_kind(alice: Person, bob: Person) -> None:
    file = alice.client.upload_file(b"content")
    alice.client.share(file, [bob.name])
    own = {"job": 1, "input": file.document()}
    write(alice.broker_url, bob.name, own, user_id=f"agent.{alice.name}")
    inbox, seen = bob.inbox(), []
    inbox.on(lambda message: seen.append((message, message.files[0].path.read_bytes())))
    assert inbox.run_once(30)
    [(message, content)] = seen
    assert (message.body, message.id, message.sender) == (own, None, alice.name)
    assert content == b"content"


def test_without_fetching(alice: Person, bob: Person) -> None:
    alice.client.send(bob.name, "x" * 200_000, [b"not fetched"])
    [message] = receive(bob, fetch=False)
    assert message.body == "x" * 200_000
    assert (len(message.attachments), message.files) == (1, ())


# Storage is away for a while


def test_patience_with_storage(alice: Person, deployment: Deployment, tmp_path: Path) -> None:
    """Storage answers 503 as often as one fetch asks, and a time more: that is no failure."""
    refusals = iter([503] * 3)

    def away(request: Any) -> bytes | None:
        if "/storage/v1/s3/" in request.target and next(refusals, None):
            return answer(503, "down")
        return None

    gate = Gate(deployment.settings.supabase_url)
    changes = {"supabase_url": gate.url, "storage_attempts": 2, "cache_bytes": 0}
    try:
        with person(deployment, tmp_path, **changes) as patient:
            alice.client.send(patient.name, {}, [b"worth waiting for"])
            gate.fault = away
            [message] = receive(patient)
            assert (message.attempt, len(message.files)) == (1, 1)
            assert next(refusals, None) is None
    finally:
        gate.close()


# Processes that end


@pytest.fixture
def start(bob: Person, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts processes that read bob's inbox."""
    started: list[subprocess.Popen[str]] = []
    settings = bob.client.settings
    environment = {
        **os.environ,
        "SUPABASE_URL": settings.supabase_url,
        "SUPABASE_ANON_KEY": settings.supabase_anon_key.get_secret_value(),
        "BROKER_URL": bob.broker_url,
        "RESULT_URL": settings.result_url,
        "ARGOSY_AGENT": bob.name,
        "ARGOSY_AGENT_KEY": bob.key,
        "ARGOSY_CACHE_DIR": str(tmp_path),
        "ARGOSY_SESSION_DIR": str(tmp_path / "session"),
    }

    def start_one(attempts: int = 5) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, PROGRAM, str(attempts)],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert said(process) == "ready"
        return process

    yield start_one
    for process in started:
        process.kill()
        process.communicate()


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline().strip()


def test_a_killed_process_loses_nothing(
    alice: Person, bob: Person, start: Callable[..., subprocess.Popen[str]]
) -> None:
    alice.client.send(bob.name, "precious")
    process = start()
    assert said(process) == "handling precious 1"
    process.kill()
    [message] = receive(bob)
    assert (message.body, message.attempt, message.redelivered) == ("precious", 2, True)


def test_what_kills_its_handler_is_put_aside(
    alice: Person, bob: Person, start: Callable[..., subprocess.Popen[str]]
) -> None:
    alice.client.send(bob.name, "deadly")
    process = start(attempts=1)
    assert said(process) == "handling deadly 1"
    process.kill()
    assert receive(bob, attempts=1) == []
    assert bob.dead_letter().headers["argosy-reason"].startswith("too_many_attempts: ")


def test_sigterm_lets_the_handler_end(
    alice: Person, bob: Person, start: Callable[..., subprocess.Popen[str]]
) -> None:
    for body in ("first", "second"):
        alice.client.send(bob.name, body)
    process = start()
    assert said(process) == "handling first 1"
    process.send_signal(signal.SIGTERM)
    assert process.stdin
    process.stdin.write("\n")
    process.stdin.flush()
    assert [said(process), said(process)] == ["handled first", "stopped"]
    assert process.wait(20) == 0
    [message] = receive(bob)
    assert (message.body, message.attempt) == ("second", 1)


# Several, and long ones


def test_two_on_one_inbox(alice: Person, bob: Person) -> None:
    together, begun, seen = threading.Barrier(2, timeout=30), itertools.count(), []
    first, second = bob.inbox(), bob.inbox()

    def handle(message: Message) -> None:
        if next(begun) < 2:
            together.wait()  # each has one of the first two
        seen.append(message.body)

    for inbox in (first, second):
        inbox.on(handle)
    threads = [running(first), running(second)]
    for number in range(20):
        alice.client.send(bob.name, number)
    until(lambda: len(seen) == 20, 30, what="20 messages")
    stop(first, threads[0])
    stop(second, threads[1])
    assert sorted(seen) == list(range(20))
    assert bob.waiting() == 0


def test_a_long_handler_keeps_its_connection(
    alice: Person, bob: Person, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The broker gives a client up that is silent for two heartbeats."""
    monkeypatch.setattr(line, "HEARTBEAT_SECONDS", 3)
    alice.client.send(bob.name, "long")
    attempts: list[int] = []
    inbox = bob.inbox()

    @inbox.on
    def handle(message: Message) -> None:
        attempts.append(message.attempt)
        time.sleep(10)  # the work itself
        inbox.stop()

    inbox.run()
    assert attempts == [1]
    assert bob.waiting() == 0
    assert "inbox.disconnected" not in caplog.text


def test_the_broker_restarts_in_the_middle(
    alice: Person, bob: Person, deployment: Deployment
) -> None:
    alice.client.send(bob.name, "before", [b"a file"])
    working, again, seen = threading.Event(), threading.Event(), []
    inbox = bob.inbox()

    @inbox.on
    def handle(message: Message) -> None:
        seen.append((message.body, message.redelivered, message.files[0].path.read_bytes()))
        working.set()
        assert again.wait(60)

    thread = running(inbox)
    try:
        assert working.wait(30)
        broker = deployment.stack_of("rabbitmq")
        broker.kill()
        broker.start()
        again.set()
        alice.client.send(bob.name, "after", [b"another"])
        until(lambda: ("after", False, b"another") in seen, 60, what="the message after")
    finally:
        again.set()
        stop(inbox, thread)
    assert seen[0] == ("before", False, b"a file")
    assert ("before", True, b"a file") in seen  # it was not acknowledged, and came again
    assert bob.waiting() == 0
    assert alice.client.history(1)  # the fleet is back as well


def through(relay: Relay, owner: Person) -> Client:
    """Its client, with the relay between itself and the broker."""
    settings = owner.client.settings.model_copy(update={"broker_url": relay.url})
    return Client(settings, agent=owner.name, key=owner.key)


def test_stopped_while_the_broker_is_away(alice: Person, bob: Person) -> None:
    """The handler ends; its message comes again, for nobody could be told."""
    alice.client.send(bob.name, "cut off")
    relay, working, again = Relay(bob.broker_url), threading.Event(), threading.Event()
    inbox = Inbox(through(relay, bob))

    @inbox.on
    def handle(_message: Message) -> None:
        working.set()
        assert again.wait(60)

    thread = running(inbox)
    assert working.wait(30)
    relay.cut()
    inbox.stop()
    thread.join(1)
    assert thread.is_alive()
    again.set()
    thread.join(20)
    assert not thread.is_alive()
    [message] = receive(bob)
    assert (message.body, message.redelivered) == ("cut off", True)


def test_the_broker_is_away_from_the_beginning(bob: Person) -> None:
    relay = Relay(bob.broker_url)
    relay.cut()
    inbox = Inbox(through(relay, bob))
    inbox.on(print)
    assert inbox.run_once(0.5) is False
    stop(inbox, running(inbox))


def test_an_agent_that_is_shut_out(alice: Person, deployment: Deployment, tmp_path: Path) -> None:
    """It does not knock for ever."""
    with person(deployment, tmp_path) as guest:
        alice.client.send(guest.name, "hello")
        inbox = guest.inbox()
        inbox.on(lambda _message: disable_agent(deployment.settings, guest.name))
        with pytest.raises(AccessDenied, match="not disabled"):
            inbox.run()


# How it is used


def test_nothing_came(bob: Person) -> None:
    inbox = bob.inbox()
    inbox.on(print)
    began = time.monotonic()
    assert inbox.run_once(0) is False
    assert inbox.run_once(0.3) is False
    assert time.monotonic() - began < 20


def test_one_at_a_time_leaves_the_others_alone(alice: Person, bob: Person) -> None:
    for number in range(3):
        alice.client.send(bob.name, number)
    got = receive(bob, 3)
    assert [(message.body, message.attempt) for message in got] == [(0, 1), (1, 1), (2, 1)]


def test_a_handler_that_ends_the_process(alice: Person, bob: Person) -> None:
    alice.client.send(bob.name, "exit")
    inbox = bob.inbox()
    inbox.on(lambda _message: sys.exit(3))
    with pytest.raises(SystemExit):
        inbox.run()
    [message] = receive(bob)
    assert message.attempt == 2


def test_handlers(bob: Person) -> None:
    for nonsense in ({"prefetch": 0}, {"attempts": 0}):
        with pytest.raises(InvalidRequest, match="1 at least"):
            bob.inbox(**nonsense)
    inbox = bob.inbox()
    with pytest.raises(InvalidRequest, match="no handler"):
        inbox.run()

    async def later(_message: Message) -> None: ...

    with pytest.raises(InvalidRequest, match=r"asyncio\.run"):
        inbox.on(later)
    assert inbox.on(print) is print
    with pytest.raises(InvalidRequest, match="has a handler"):
        inbox.on(repr)


def test_anothers_inbox(alice: Person, bob: Person) -> None:
    inbox = bob.inbox(name=alice.name)
    inbox.on(print)
    with pytest.raises(AccessDenied, match="does not let this agent read"):
        inbox.run()


def test_an_inbox_that_is_not_there(client: Client) -> None:
    inbox = Inbox(client, name="nobody")
    inbox.on(print)
    with pytest.raises(InvalidRequest, match="argosy agents enable nobody"):
        inbox.run()


def test_the_dead_letters_are_all_read(bob: Person) -> None:
    """No test of this module has left one that it did not expect."""
    with operator(bob.operator_url) as channel:
        assert channel.queue_declare(dead_queue_of(bob.name), passive=True).message_count == 0
