"""Sending: what arrives is what was sent, and what is refused leaves nothing behind."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from argosy import Client, FileReference, LocalFile, Message, UploadOptions
from argosy.broker import publisher
from argosy.errors import (
    AccessDenied,
    FleetUnavailable,
    InvalidMessage,
    InvalidReference,
    InvalidRequest,
    ObjectNotFound,
    StorageUnavailable,
)
from argosy.mailbox import queue_of
from argosy.messages import MAX_BODY_BYTES
from tests.deployment import Deployment, remote, until
from tests.integration.client.conftest import MakeClient
from tests.integration.client.gate import Passing, answer, gate_to
from tests.integration.client.mailing import Person, operator, pins, receive, write
from worker.broker_api import api_url

pytestmark = pytest.mark.skipif(remote(), reason="uses the local stack's RabbitMQ")


def test_there_and_back(alice: Person, bob: Person, deployment: Deployment, tmp_path: Path) -> None:
    """A path, bytes, a file object, a reference and its document, and one in the body."""
    source = tmp_path / "Fähre.txt"
    source.write_text("by path")
    known = alice.client.upload_file(b"by reference")
    named = alice.client.upload_file(b"in the body")
    body = {"do": ["print", 2, None, 1.5, "ü"], "deep": [{"file": named.document()}]}
    attached = [source, b"as bytes", io.BytesIO(b"as a file"), known, known.document()]
    message_id = alice.client.send(bob.name, body, attached)
    assert pins(deployment, message_id) == 5
    seen: list[tuple[Message, list[bytes]]] = []
    inbox = bob.inbox()
    inbox.on(lambda message: seen.append((message, [f.path.read_bytes() for f in message.files])))
    assert inbox.run_once(30)
    [(message, contents)] = seen
    assert (message.id, message.body) == (message_id, body)
    assert (message.sender, message.claimed_sender) == (alice.name, alice.name)
    assert (message.attempt, message.redelivered) == (1, False)
    assert contents == [b"by path", b"as bytes", b"as a file", b"by reference", b"in the body"]
    assert message.files[0].reference.name == "Fähre.txt"
    assert [file.reference for file in message.files] == [*message.attachments[:4], named]
    assert not any(file.path.exists() for file in message.files)
    until(lambda: pins(deployment, message_id) == 0, what="the end of the pins")


def test_what_is_on_the_wire(alice: Person, bob: Person) -> None:
    message_id = alice.client.send(bob.name, "hello")
    with operator(bob.operator_url) as channel:
        got = until(lambda: channel.basic_get(queue_of(bob.name), no_ack=True))
    document = json.loads(got.body)
    assert document.pop("sent_at")
    assert document == {
        "schema": "argosy.message/v1",
        "id": str(message_id),
        "from": alice.name,
        "body": "hello",
        "attachments": [],
    }
    properties = {name: got.properties[name] for name in ("message_id", "user_id", "delivery_mode")}
    assert properties == {
        "message_id": str(message_id),
        "user_id": f"agent.{alice.name}",
        "delivery_mode": 2,
    }


@pytest.mark.parametrize("body", [None, True, 0, -1.5, "", "ü\U0001f600\0", [], {}, [[{"a": []}]]])
def test_any_json_is_a_body(alice: Person, bob: Person, body: Any) -> None:
    alice.client.send(bob.name, body)
    [message] = receive(bob)
    assert message.body == body
    assert type(message.body) is type(body)


# Claim check


def test_a_large_body_travels_as_a_file(alice: Person, bob: Person, deployment: Deployment) -> None:
    named = alice.client.upload_file(b"inside")
    body = {"rows": [f"row {number}" for number in range(20_000)], "file": named.document()}
    message_id = alice.client.send(bob.name, body)
    assert pins(deployment, message_id) == 2
    with operator(bob.operator_url) as channel:
        got = until(lambda: channel.basic_get(queue_of(bob.name)))
        document = json.loads(got.body)
        assert "body" not in document
        assert len(got.body) < 2000
        channel.basic_reject(got.delivery_tag, requeue=True)
    [message] = receive(bob)
    assert message.body == body
    assert [file.reference for file in message.files] == [named]
    until(lambda: pins(deployment, message_id) == 0, what="the end of the pins")


def test_a_body_of_50_mb(alice: Person, bob: Person) -> None:
    body = "x" * 50_000_000
    alice.client.send(bob.name, body)
    [message] = receive(bob)
    assert message.body == body


def test_a_body_that_nobody_should_hold_in_memory(client: Client) -> None:
    with pytest.raises(InvalidRequest, match="attach it as a file"):
        client.send("anybody", "x" * MAX_BODY_BYTES)


# What is refused before anything happens

endless: list[Any] = []
endless.append(endless)
deep: Any = []
for _ in range(5000):
    deep = [deep]

NO_JSON: dict[str, Any] = {
    "NaN": float("nan"),
    "infinity": [float("inf")],
    "bytes": b"x",
    "a set": {1},
    "a path": Path("x"),
    "a number as a name": {"a": [{1: 2}]},
    "nothing as a name": {None: 1},
    "endless": endless,
    "deep": deep,
    "half a pair": "\ud800",
}


@pytest.mark.parametrize("what", NO_JSON)
def test_a_body_that_is_no_json(client: Client, what: str) -> None:
    with pytest.raises(InvalidRequest, match="no JSON"):
        client.send("anybody", NO_JSON[what])


@pytest.mark.parametrize("to", ["", "A", "a b", "to.*", "#", "ü", "a/b", "x" * 64])
def test_no_agents_name(client: Client, to: str) -> None:
    with pytest.raises(InvalidRequest, match="no agent's name"):
        client.send(to, {})


def test_attachments_are_a_list(client: Client) -> None:
    reference = client.upload_file(b"x")
    for one in ("report.bin", b"bytes", Path("x"), reference, reference.document()):
        with pytest.raises(InvalidRequest, match="a list"):
            client.send("anybody", {}, one)  # type: ignore[arg-type]


def test_too_many_files(client: Client) -> None:
    reference = client.upload_file(b"x").document()
    many = [{**reference, "id": str(uuid4())} for _ in range(10_000)]
    with pytest.raises(InvalidMessage, match="more than 100 files"):
        client.send("anybody", {"files": many})
    with pytest.raises(InvalidMessage, match="more than 100 files"):
        client.send("anybody", {"files": many[:60]}, [b"x"] * 41)


def test_a_broken_reference(client: Client) -> None:
    document = {**client.upload_file(b"x").document(), "size": -1}
    with pytest.raises(InvalidReference, match=r"\$.*: .*size"):
        client.send("anybody", {"file": document})
    with pytest.raises(InvalidReference, match="size"):
        client.send("anybody", {}, [document])


def test_one_name_for_two_attachments(client: Client) -> None:
    with pytest.raises(InvalidRequest, match="cannot all"):
        client.send("anybody", {}, [b"x", b"y"], options=UploadOptions(name="z"))


# What is refused later, and leaves nothing behind


def objects(deployment: Deployment, client: Client) -> list[str]:
    rows = deployment.query(
        "SELECT name FROM storage.objects WHERE name LIKE :folder", folder=f"{client.agent_id}/%"
    )
    return [row.name for row in rows]


def test_to_nobody(client: Client, deployment: Deployment) -> None:
    for attached in ([], [b"x"]):
        with pytest.raises(InvalidRequest, match=r"There is no agent 'nobody': check the name"):
            client.send("nobody", {}, attached)
    assert objects(deployment, client) == []


def test_a_file_that_is_not_ours(alice: Person, bob: Person, deployment: Deployment) -> None:
    theirs = bob.client.upload_file(b"private")
    before = objects(deployment, alice.client)
    with pytest.raises(ObjectNotFound, match="nothing is pinned"):
        alice.client.send(bob.name, {"file": theirs.document()}, [b"uploaded for it"])
    until(lambda: objects(deployment, alice.client) == before, what="the attachment's end")
    assert bob.waiting() == 0


def test_storage_goes_away_between_two_files(alice: Person, deployment: Deployment) -> None:
    """The sender may try again: what was uploaded the first time does not stay."""
    before = objects(deployment, alice.client)

    def second_is_refused(passing: Passing) -> bytes | None:
        puts = [each for each in gate.passed if each.is_put]
        return answer(503, "down") if passing.is_put and len(puts) > 1 else None

    with gate_to(deployment.settings.supabase_url) as gate:
        gate.fault = second_is_refused
        changes = {"supabase_url": gate.url, "storage_attempts": 1}
        settings = alice.client.settings.model_copy(update=changes)
        with (
            Client(settings, agent=alice.name, key=alice.key) as sender,
            pytest.raises(StorageUnavailable),
        ):
            sender.send(alice.name, {}, [b"first", b"second", b"third"])
        assert next(each.status for each in gate.passed if each.is_put) == 200
    until(lambda: objects(deployment, alice.client) == before, what="the first one's end")


def test_a_full_queue(alice: Person, bob: Person, deployment: Deployment) -> None:
    """The sender hears of it, and its files are let go."""
    name, before = f"full-{bob.name}", objects(deployment, alice.client)
    policy = {
        "pattern": f"^{queue_of(bob.name)}$",
        "definition": {"max-length": 1, "overflow": "reject-publish"},
        "priority": 100,
        "apply-to": "queues",
    }
    with httpx.Client(base_url=api_url(deployment.settings.broker_api or ""), timeout=15) as api:
        api.put(f"policies/argosy/{name}", json=policy).raise_for_status()
        try:
            until(lambda: refused(alice, bob), what="a full queue")
        finally:
            api.delete(f"policies/argosy/{name}").raise_for_status()
            receive(bob, bob.waiting())
    until(lambda: objects(deployment, alice.client) == before, what="the attachments' end")
    until(lambda: not pins_of(deployment, alice), what="the pins' end")


def pins_of(deployment: Deployment, sender: Person) -> int:
    sent = "SELECT count(*) FROM argosy.pins WHERE agent_id = :id"
    return int(deployment.query(sent, id=sender.client.agent_id)[0][0])


def refused(alice: Person, bob: Person) -> bool:
    """A quorum queue lets a few more in than it should, before it says no."""
    try:
        alice.client.send(bob.name, {})
    except FleetUnavailable as error:
        assert "full" in error.message
        with pytest.raises(FleetUnavailable, match="full"):
            alice.client.send(bob.name, {}, [b"x"])
        return True
    return False


def test_the_broker_is_away(make_client: MakeClient, alice: Person, deployment: Deployment) -> None:
    away = make_client(deployment.add_agent(), broker_url="amqp://127.0.0.1:1")
    with pytest.raises(FleetUnavailable, match="BROKER_URL"):
        away.send(alice.name, {}, [b"x"])
    assert objects(deployment, away) == []


def test_a_wrong_password(make_client: MakeClient, alice: Person, deployment: Deployment) -> None:
    wrong = alice.broker_url.replace("agent.", "agent.no-")
    with pytest.raises(AccessDenied, match="does not let"):
        make_client(deployment.add_agent(), broker_url=wrong).send(alice.name, {})


def test_not_rabbitmq(make_client: MakeClient, deployment: Deployment) -> None:
    client = make_client(deployment.add_agent(), broker_url="redis://127.0.0.1:1/0")
    with pytest.raises(InvalidRequest, match="need RabbitMQ"):
        client.send("anybody", {})


# Who has sent it


def test_the_envelope_is_only_a_word(alice: Person, bob: Person) -> None:
    forged = {
        "schema": "argosy.message/v1",
        "id": str(uuid4()),
        "from": "boss",
        "sent_at": "2026-01-02T03:04:05Z",
        "body": "pay me",
    }
    write(alice.broker_url, bob.name, forged, user_id=f"agent.{alice.name}")
    write(alice.broker_url, bob.name, forged)
    vouched, anonymous = receive(bob, 2)
    assert (vouched.sender, vouched.claimed_sender) == (alice.name, "boss")
    assert (anonymous.sender, anonymous.claimed_sender) == (None, "boss")


def test_the_broker_refuses_a_forged_sender(
    alice: Person, bob: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = publisher(alice.broker_url)
    forged = {"user_id": f"agent.{bob.name}"}
    monkeypatch.setattr(type(broker._address), "vouched", property(lambda _self: forged))
    with pytest.raises(AccessDenied, match="does not vouch"):
        alice.client.send(bob.name, "from bob to bob")
    assert bob.waiting() == 0


def test_the_fleets_own_user_is_no_agent(client: Client, bob: Person) -> None:
    client.send(bob.name, "hello")
    [message] = receive(bob)
    assert message.sender is None
    assert message.claimed_sender


# Connections


def test_a_connection_that_the_broker_closed(alice: Person, bob: Person) -> None:
    alice.client.send(bob.name, 1)
    idle = publisher(alice.broker_url)._idle
    assert idle
    for connection in idle:
        connection.sock.close()
    alice.client.send(bob.name, 2)
    assert [message.body for message in receive(bob, 2)] == [1, 2]


def test_a_forked_child_has_its_own(alice: Person, bob: Person) -> None:
    alice.client.send(bob.name, "before")
    child = os.fork()
    if child == 0:
        try:
            alice.client.send(bob.name, "in the child")
            os._exit(0)
        finally:
            os._exit(2)
    _, outcome = os.waitpid(child, 0)
    alice.client.send(bob.name, "after")
    assert os.waitstatus_to_exitcode(outcome) == 0
    bodies = [message.body for message in receive(bob, 3)]
    assert bodies == ["before", "in the child", "after"]


def test_a_message_is_typed(alice: Person, bob: Person) -> None:
    sent = alice.client.send(bob.name, {}, [b"x"])
    [message] = receive(bob)
    assert isinstance(message.id, UUID)
    assert message.id == sent
    assert isinstance(message.attachments[0], FileReference)
    assert isinstance(message.files[0], LocalFile)
    assert message.sent_at
    assert message.sent_at.tzinfo
