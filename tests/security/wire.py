"""Messages as no Celery client makes them, and what became of the workers that met them."""

from __future__ import annotations

import json
import struct
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import amqp
from kombu import Connection

from tasks.messages import REQUESTS
from tests.deployment import Deployment, until

WORKERS = ("one", "two")
TROUBLE = ('"level": "critical"', ".surprise", "WorkerLost", "Pool callback raised", "exited with")
"""What a worker's log says of a message that it was not made for."""


class RawMessage(amqp.Message):
    """A message with properties that the library would not write."""

    def __init__(self, body: bytes | str, properties: bytes) -> None:
        super().__init__(body)
        self._raw = properties

    def _serialize_properties(self) -> bytes:
        return self._raw


def body(arguments: Any = (), named: Any = None, rides: Any = None) -> str:
    """The body of Celery's protocol 2."""
    nothing = dict.fromkeys(("callbacks", "errbacks", "chain", "chord"))
    return json.dumps([list(arguments), named or {}, {**nothing, **(rides or {})}])


def message(
    text: bytes | str | None = None,
    content_type: str = "application/json",
    content_encoding: str = "utf-8",
    *,
    without: Iterable[str] = (),
    **headers: Any,
) -> amqp.Message:
    """A task message, by default of an upload that names no file."""
    usual = {
        "lang": "py",
        "task": "transfer.upload",
        "id": str(uuid4()),
        "retries": 0,
        "timelimit": [None, None],
        "argsrepr": "()",
        "kwargsrepr": "{}",
    }
    told = {name: value for name, value in {**usual, **headers}.items() if name not in without}
    return amqp.Message(
        body() if text is None else text,
        content_type=content_type,
        content_encoding=content_encoding,
        application_headers=told,
    )


def table(*items: tuple[bytes, bytes], content_type: bytes = b"") -> bytes:
    """Message properties that are little but headers: names, and values with their type."""
    inside = b"".join(bytes([len(name)]) + name + value for name, value in items)
    kind = bytes([len(content_type)]) + content_type if content_type else b""
    flags = 0xA000 if content_type else 0x2000
    return struct.pack(">H", flags) + kind + struct.pack(">I", len(inside)) + inside


def text_value(value: bytes) -> bytes:
    """A value of such a header."""
    return b"S" + struct.pack(">I", len(value)) + value


@contextmanager
def post(deployment: Deployment) -> Iterator[Any]:
    """A function that has the broker take a message."""
    options = {"confirm_publish": True}
    with Connection(deployment.environment["BROKER_URL"], transport_options=options) as connection:
        channel = connection.channel()

        def send(made: amqp.Message, exchange: str = REQUESTS, routing_key: str = REQUESTS) -> None:
            channel.basic_publish_confirm(made, exchange, routing_key, confirm_timeout=30)

        yield send


class Audit:
    """The messages and requests whose refusal was recorded since this was made."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        last = "SELECT coalesce(max(id), 0) AS last FROM argosy.events"
        self._since = deployment.query(last)[0].last

    def rows(self) -> list[Any]:
        return self._deployment.query(
            "SELECT * FROM argosy.events WHERE id > :since AND outcome = 'refused' "
            "AND name IN ('message.refused', 'request.refused') ORDER BY id",
            since=self._since,
        )

    def reasons(self) -> Counter[str]:
        return Counter(row.reason for row in self.rows())

    def has(self, count: int) -> list[Any]:
        """Wait for so many refusals; more than that are one too many."""
        rows = self.at_least(count)
        assert len(rows) == count, Counter((row.name, row.reason, row.request_id) for row in rows)
        return rows

    def at_least(self, count: int) -> list[Any]:
        """Wait for so many, or more."""
        until(lambda: len(self.rows()) >= count, what=f"{count} rows in the audit")
        return self.rows()


class Workers:
    """The workers of a deployment: which processes they are, and what they complain of."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._mains = self._main_pids()
        self._read = {name: self._log(name).stat().st_size for name in WORKERS}

    def are_unharmed(self) -> None:
        """The same main processes, and nothing in the logs that should not be there.

        Children may be others: one that has grown is replaced after its task.
        """
        assert self._main_pids() == self._mains
        assert self.complaints() == []

    def complaints(self) -> list[str]:
        return [line for line in self._lines() if any(word in line for word in TROUBLE)]

    def _lines(self) -> list[str]:
        found: list[str] = []
        for name, start in self._read.items():
            with self._log(name).open("rb") as log:
                log.seek(start)
                found += log.read().decode(errors="replace").splitlines()
        return found

    def _main_pids(self) -> list[int]:
        return [self._deployment.stack_of(name).pid for name in WORKERS]

    def _log(self, name: str) -> Path:
        log: Path = self._deployment.stack_of(name).log_path
        return log
