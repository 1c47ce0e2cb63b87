"""A broker, or a result store, that takes connections and says nothing."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator

import pytest

from argosy import fleet
from argosy.deadline import Deadline
from argosy.direct.crew import Job
from argosy.errors import DeadlineExceeded, TransferCancelled
from argosy.fleet import Fleet
from argosy.settings import AgentSettings

CALLS: dict[str, Callable[[Fleet], object]] = {
    "ask": lambda fleet: fleet.ask("usage", deadline=Deadline(0.5)),
    "wait": lambda fleet: fleet.wait("no-such-task", Deadline(0.5)),
}


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> Iterator[Fleet]:
    monkeypatch.setattr(fleet, "LOOK_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        port = server.getsockname()[1]
        settings = AgentSettings(
            supabase_url="http://127.0.0.1:1",
            supabase_anon_key="anon-key",
            broker_url=f"amqp://127.0.0.1:{port}//",
            result_url=f"redis://127.0.0.1:{port}/0",
        )
        yield Fleet(settings, lambda: "token")


@pytest.mark.parametrize("call", CALLS)
def test_a_call_ends_at_its_deadline(silent: Fleet, call: str) -> None:
    job = Job(lambda: CALLS[call](silent))
    assert job.done.wait(20), "it waits for a silent server"
    with pytest.raises(DeadlineExceeded):
        job.result()


def test_what_is_called_off_while_it_signs_in_is_not_sent(silent: Fleet) -> None:
    """Else the request would be done after its caller was told that it was not."""
    deadline = Deadline()
    silent._token = lambda: deadline.cancel() or "token"  # type: ignore[func-returns-value]
    job = Job(lambda: silent._send("usage", (), {}, "some-id", deadline.check))
    assert job.done.wait(20), "it waits for a silent broker"
    with pytest.raises(TransferCancelled):
        job.result()
