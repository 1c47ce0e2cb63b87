"""A server that ends by itself is reported and started again."""

from __future__ import annotations

import os
import signal

from local.processes import wait_until
from local.stack import Stack
from local.watch import Watch


def end(stack: Stack) -> None:
    os.kill(stack.valkey.pid, signal.SIGKILL)
    assert wait_until(lambda: not stack.valkey.is_running(), seconds=20)


def test_it_is_reported_and_started_again(small_stack: Stack) -> None:
    small_stack.valkey.start()
    said: list[str] = []
    watch = Watch(lambda: small_stack.servers, said.append)
    watch.look()
    assert said == []
    before = small_stack.valkey.pid
    end(small_stack)
    watch.look()
    assert f"valkey (pid {before}) ended by itself" in said[0]
    assert "Ready to accept connections" in said[0]
    assert said[1] == f"valkey runs again (pid {small_stack.valkey.pid})"
    assert small_stack.valkey.is_running()


def test_one_that_ends_again_and_again_is_let_alone(small_stack: Stack) -> None:
    small_stack.valkey.start()
    said: list[str] = []
    watch = Watch(lambda: [small_stack.valkey], said.append)
    for _ in range(7):
        if small_stack.valkey.is_running():
            end(small_stack)
        watch.look()
    assert said[-1] == "valkey ends again and again: it is left alone"
    assert sum("runs again" in line for line in said) == 5
    assert not small_stack.valkey.is_running()
