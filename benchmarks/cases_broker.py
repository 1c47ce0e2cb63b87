"""What the fleet replaces: a file sent through RabbitMQ itself, in messages."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from uuid import uuid4

from kombu import Connection

from benchmarks.cargo import BenchmarkFailed, Cargo
from benchmarks.deployment import Deployment
from benchmarks.grid import size_text
from benchmarks.measure import MIB, Block, Sample, Series
from benchmarks.processes import TOOL
from benchmarks.through_broker import queue_named

GROUP = "through RabbitMQ"
MESSAGES = (MIB, 16 * MIB, 128 * MIB)
"""Bytes of one message; RabbitMQ takes no more than the last, and since 4.0 no more than 16 MiB."""
_SECONDS = 600


class ThroughBroker:
    """Files from one process to another; `remarks` says what the broker would not take."""

    def __init__(self, deployment: Deployment, folder: Path) -> None:
        self._deployment = deployment
        self._folder = folder
        self.remarks: list[str] = []

    def block(self, cargo: Cargo) -> Block:
        """The file in messages of each size; nothing where the broker is not RabbitMQ."""
        if not self._deployment.stack.rabbitmq:
            self.remarks.append("The broker is not RabbitMQ: nothing was sent through it")
            return Block(GROUP, nullcontext, [])
        return Block(GROUP, nullcontext, [partial(self._case, cargo, size) for size in MESSAGES])

    def _case(self, cargo: Cargo, size: int) -> Iterator[Sample]:
        back, name = self._folder / "through-broker.back", f"benchmark-{uuid4()}"
        series = Series(GROUP, f"messages of {size_text(size)}", "there", cargo.size, TOOL)
        with Connection(self._deployment.stack.broker_url) as connection:
            queue = queue_named(name)(connection)
            queue.declare()
            try:
                work = partial(self._carry, name, cargo, size, back)
                yield self._deployment.gauged(series, work)[0]
                cargo.must_equal(back)
            except BenchmarkFailed as error:
                self.remarks.append(f"Messages of {size_text(size)}: {error}")
            finally:
                queue.delete()
                back.unlink(missing_ok=True)

    def _carry(self, name: str, cargo: Cargo, size: int, back: Path) -> None:
        receiver = self._start("receive", name, back, cargo.size)
        sender = self._start("send", name, cargo.path, size)
        try:
            if sender.wait(_SECONDS) or receiver.wait(_SECONDS):
                raise BenchmarkFailed("the broker did not take them")
        finally:
            for one in (sender, receiver):
                one.kill()
                one.wait()

    def _start(self, way: str, name: str, path: Path, size: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "benchmarks.through_broker", way, name, str(path), str(size)],
            env={**os.environ, "BROKER_URL": self._deployment.stack.broker_url},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
