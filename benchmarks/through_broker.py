"""`python -m benchmarks.through_broker send|receive …`: a file as messages of RabbitMQ.

As one would do it with Celery's own library: persistent messages of a quorum queue, each
confirmed, each acknowledged. The address of the broker is in BROKER_URL.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from kombu import Connection, Message, Queue

_SECONDS = 60


def queue_named(name: str) -> Queue:
    """The queue that the file goes through."""
    return Queue(name, queue_arguments={"x-queue-type": "quorum"})


def send(connection: Connection, name: str, path: Path, size: int) -> None:
    """Publish the file in messages of `size` bytes."""
    producer = connection.Producer(routing_key=name, auto_declare=False)
    with path.open("rb") as file:
        while block := file.read(size):
            producer.publish(block, content_type="application/data", content_encoding="binary")


def receive(connection: Connection, name: str, path: Path, size: int) -> None:
    """Write what arrives to a file, until it has `size` bytes."""
    with path.open("wb") as file:

        def write(body: bytes, message: Message) -> None:
            file.write(body)
            message.ack()

        with connection.Consumer(
            [queue_named(name)], on_message=lambda message: write(message.body, message)
        ) as consumer:
            consumer.qos(prefetch_count=4)
            while file.tell() < size:
                connection.drain_events(timeout=_SECONDS)


WAYS = {"send": send, "receive": receive}


def main(way: str, name: str, path: str, size: str) -> None:
    """Do one of the two."""
    options = {"confirm_publish": True}
    with Connection(os.environ["BROKER_URL"], transport_options=options) as connection:
        WAYS[way](connection, name, Path(path), int(size))


if __name__ == "__main__":
    main(*sys.argv[1:])
