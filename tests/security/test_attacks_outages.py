"""Refusals while the database is away, and while a worker ends: none is lost, nobody waits."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from kombu import Connection

from argosy.auth import TOKEN_HEADER
from tests.conftest import RESULT_SECONDS, Sender
from tests.deployment import Deployment, deployed, remote, until
from tests.security.wire import WORKERS, Audit, Workers, body, message, post

pytestmark = pytest.mark.skipif(remote(), reason="stops the servers of the local stack")


@pytest.fixture(scope="module")
def fragile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A deployment of this module's own, to be broken."""
    with deployed(tmp_path_factory.mktemp("outages")) as made:
        yield made


def _flood(deployment: Deployment, count: int) -> None:
    with post(deployment) as send:
        for _ in range(count):
            send(message("{["))


@contextmanager
def _flooding(deployment: Deployment) -> Iterator[list[int]]:
    """Send without end; what it gives is as long as what was sent."""
    sent: list[int] = []
    done = threading.Event()

    def flood() -> None:
        with post(deployment) as send:
            while not done.is_set():
                send(message("{["))
                sent.append(len(sent))

    thread = threading.Thread(target=flood)
    thread.start()
    yield sent
    done.set()
    thread.join()


def _waiting(deployment: Deployment) -> int:
    with Connection(deployment.environment["BROKER_URL"]) as connection:
        found = connection.default_channel.queue_declare("argosy.requests", passive=True)
    return int(found.message_count)


def test_a_refusal_does_not_wait_for_the_database(fragile: Deployment) -> None:
    workers, audit = Workers(fragile), Audit(fragile)
    fragile.stack_of("postgres").kill()
    _flood(fragile, 200)
    until(lambda: _waiting(fragile) == 0, what="the refusal of them all")
    until(lambda: fragile.app.control.ping(timeout=1), what="a worker that answers")
    fragile.stack_of("postgres").start()
    audit.has(200)
    workers.are_unharmed()
    sender = Sender(fragile.add_agent())
    sender.upload(fragile.make_file("cargo.bin", 10)).get(timeout=RESULT_SECONDS)


def test_a_worker_that_ends_leaves_no_refusal_unwritten(fragile: Deployment) -> None:
    """Each message is in the audit or still in the queue, and not in both."""
    audit = Audit(fragile)
    with _flooding(fragile) as sent:
        for name in WORKERS:
            audit.at_least(len(sent) + 100)
            fragile.stack_of(name).stop()
    assert len(audit.rows()) == len(sent) - _waiting(fragile)
    for name in WORKERS:
        fragile.start_worker(name)
    audit.has(len(sent))


def test_a_key_that_nobody_knows_holds_no_worker(fragile: Deployment) -> None:
    """While Auth does not say which keys there are: refused after a while, and gone."""
    key = ec.generate_private_key(ec.SECP256R1())
    token = jwt.encode({"sub": "nobody"}, key, "ES256", {"kid": "of its own invention"})
    workers, audit = Workers(fragile), Audit(fragile)
    fragile.stack_of("supabase").kill()
    try:
        with post(fragile) as send:
            for _ in range(4):
                send(message(body(["/nowhere"]), **{TOKEN_HEADER: token}))
        rows = audit.has(4)
        assert {(row.name, row.reason) for row in rows} == {
            ("request.refused", "storage_unavailable")
        }
        assert _waiting(fragile) == 0
    finally:
        fragile.stack_of("supabase").start()
    workers.are_unharmed()
