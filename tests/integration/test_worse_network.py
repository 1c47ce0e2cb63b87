"""The network of the benchmarks delays, narrows and cuts as it says, and changes no byte."""

from __future__ import annotations

import hashlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from local.network.apart import Network, network
from local.network.line import BURST_BYTES, Conditions
from local.network.proxy import SET_UP_ROUND_TRIPS
from local.ports import HOST

SECONDS = 20
MIB = 1024**2


class Echo:
    """Sends back what it gets, until the end of it."""

    def __init__(self) -> None:
        self._listener = socket.create_server((HOST, 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            try:
                while block := connection.recv(MIB):
                    connection.sendall(block)
            except OSError:
                return


@pytest.fixture(scope="module")
def way() -> Iterator[Network]:
    with ExitStack() as stack:
        echo = Echo()
        stack.callback(echo.close)
        yield stack.enter_context(network(echo.port))


def connect(way: Network) -> socket.socket:
    return socket.create_connection((HOST, int(way.url.rpartition(":")[2])), timeout=SECONDS)


def there_and_back(connection: socket.socket, data: bytes) -> bytes:
    """Send it, end, and read until the other end does."""

    def send() -> None:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)

    sender = threading.Thread(target=send)
    sender.start()
    received = bytearray()
    while block := connection.recv(MIB):
        received += block
    sender.join()
    return bytes(received)


def took(way: Network, data: bytes) -> float:
    """Seconds that it took, and it must come back as it was."""
    began = time.monotonic()
    with connect(way) as connection:
        received = there_and_back(connection, data)
    seconds = time.monotonic() - began
    assert hashlib.sha256(received).digest() == hashlib.sha256(data).digest()
    return seconds


@pytest.mark.parametrize(
    "conditions",
    [Conditions(), Conditions(round_trip=0.02), Conditions(round_trip=0.02, rate=20 * MIB)],
    ids=["nothing", "late", "late and narrow"],
)
def test_no_byte_is_changed(way: Network, conditions: Conditions) -> None:
    way.change(conditions)
    took(way, os.urandom(8 * MIB + 1))
    took(way, b"")


def test_an_answer_takes_a_round_trip_and_a_new_connection_some_more(way: Network) -> None:
    way.change(Conditions(round_trip=0.1))
    with connect(way) as connection:
        for round_trips in (SET_UP_ROUND_TRIPS + 1, 1, 1):
            began = time.monotonic()
            connection.sendall(b"?")
            assert connection.recv(1) == b"?"
            assert time.monotonic() - began >= round_trips * 0.1 - 0.01


def test_no_more_passes_than_the_rate(way: Network) -> None:
    way.change(Conditions(rate=2 * MIB))
    data = os.urandom(2 * MIB)
    assert took(way, data) >= (len(data) - BURST_BYTES) / (2 * MIB) - 0.01


def test_a_connection_is_reset_in_the_middle(way: Network) -> None:
    way.change(Conditions(rate=MIB, lives=(0.2, 0.4)))
    began = time.monotonic()
    with pytest.raises(ConnectionResetError), connect(way) as connection:
        talk(connection)
    assert time.monotonic() - began >= 0.2 - 0.01


def talk(connection: socket.socket) -> None:
    """Until it is cut."""
    while True:
        connection.sendall(b"?")
        assert connection.recv(1), "it ended in order"


def test_a_change_resets_what_is_open(way: Network) -> None:
    way.change(Conditions())
    with connect(way) as connection:
        connection.sendall(b"?")
        assert connection.recv(1) == b"?"
        way.change(Conditions(round_trip=0.01))
        with pytest.raises(ConnectionResetError):
            talk(connection)


def test_a_server_that_is_away_is_told_by_a_reset(way: Network) -> None:
    with socket.socket() as nobody:
        nobody.bind((HOST, 0))
        with (
            network(nobody.getsockname()[1]) as elsewhere,
            pytest.raises(ConnectionResetError),
            connect(elsewhere) as connection,
        ):
            talk(connection)
