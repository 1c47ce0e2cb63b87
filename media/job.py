"""One job of a decoding process, from the worker's side."""

from __future__ import annotations

import os
import select
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

from argosy.errors import DecoderStopped
from argosy.media_settings import MediaSettings
from media.fork_server import END
from media.source import ByteSource
from media.wire import (
    ANSWER,
    BLOCK,
    HEAD,
    LARGEST_BODY,
    LARGEST_DOCUMENT,
    LARGEST_READ,
    READ,
    SPENT,
    Head,
)

CHECK_SECONDS = 0.5
END_SECONDS = 10.0


@dataclass(frozen=True)
class Limits:
    """What one file may cost.

    Address space in MB (the decoders themselves take some 200 of it), processor time and time
    in seconds, pixels of a picture.
    """

    memory_mb: int = 1024
    cpu_seconds: int = 60
    seconds: float = 300
    pixels: int = 90_000_000

    @classmethod
    def of(cls, settings: MediaSettings) -> Limits:
        """As the settings have them."""
        return cls(
            memory_mb=settings.decoder_memory_mb,
            cpu_seconds=settings.decoder_cpu_seconds,
            seconds=settings.decoder_seconds,
            pixels=settings.image_pixels,
        )


@dataclass(frozen=True)
class End:
    """How a child ended: as wait(2) says; most bytes it had resident; processor seconds."""

    status: int
    memory: int
    cpu: float


class Gone(Exception):
    """The child has closed its line without an answer."""


class Job:
    """Serves a child the bytes that it asks for, until it answers or must be stopped."""

    def __init__(
        self,
        line: socket.socket,
        source: ByteSource,
        limits: Limits,
        *,
        check: Callable[[], None],
        traffic: int | None,
    ) -> None:
        self._line = line
        self._source = source
        self._limits = limits
        self._check = check
        self._traffic = traffic
        self._heard = bytearray()
        self._checked = time.monotonic()
        self._deadline = self._checked + limits.seconds
        line.setblocking(False)

    def run(self, job: bytes) -> tuple[bytes, bytes]:
        """The child's answer to `job`: document and raw bytes, both still to be doubted.

        Raises:
            Gone: The child has ended.
            DecoderStopped: It takes too long, or babbles.
        """
        self._send(BLOCK.pack(len(job)) + job)
        while True:
            head = Head(*HEAD.unpack(self._receive(HEAD.size)))
            if head.kind == READ:
                self._serve(head.first, head.second)
            elif head.kind != ANSWER or not _is_small(head):
                raise DecoderStopped("The decoder answered what no decoder answers")
            else:
                document = self._receive(head.second)
                return document, self._receive(head.first)

    def _serve(self, offset: int, length: int) -> None:
        length = min(length, LARGEST_READ, max(self._source.size - offset, 0))
        if self._traffic is not None and length > self._traffic:
            self._send(BLOCK.pack(SPENT))
            return
        found = self._source.read(offset, length) if length else b""
        if self._traffic is not None:
            self._traffic -= len(found)
        self._send(BLOCK.pack(len(found)))
        self._send(found)

    def _send(self, message: bytes) -> None:
        left = memoryview(message)
        while left:
            self._wait(select.POLLOUT)
            try:
                left = left[self._line.send(left) :]
            except BlockingIOError:
                continue
            except OSError as error:
                raise Gone from error

    def _receive(self, length: int) -> bytes:
        while len(self._heard) < length:
            self._wait(select.POLLIN)
            try:
                piece = self._line.recv(256 * 1024)
            except BlockingIOError:
                continue
            except OSError as error:
                raise Gone from error
            if not piece:
                raise Gone
            self._heard += piece
        found = bytes(self._heard[:length])
        del self._heard[:length]
        return found

    def _wait(self, event: int) -> None:
        poll = select.poll()
        poll.register(self._line, event)
        while True:
            now = time.monotonic()
            if now >= self._deadline:
                raise DecoderStopped(
                    f"The decoder took more than {self._limits.seconds:g} s for the file"
                )
            if now >= self._checked + CHECK_SECONDS:
                self._check()
                self._checked = now
            if poll.poll(1000 * min(CHECK_SECONDS, self._deadline - now)):
                return


def end_of(end: socket.socket) -> End | None:
    """Have the child killed if it still runs, and hear how it ended; None if nobody knows."""
    with end:
        end.settimeout(END_SECONDS)
        try:
            end.shutdown(socket.SHUT_WR)
            told = end.recv(END.size)
        except OSError:
            return None
    return End(*END.unpack(told)) if len(told) == END.size else None


def why(end: End, limits: Limits) -> str:
    """A sentence of why a child ended without an answer."""
    if not os.WIFSIGNALED(end.status):
        code = os.waitstatus_to_exitcode(end.status)
        return f"The decoder ended with {code} and no answer; it may have {limits.memory_mb} MB"
    number = os.WTERMSIG(end.status)
    if number == signal.SIGXCPU or end.cpu >= limits.cpu_seconds:
        return f"The decoder took more than {limits.cpu_seconds} s of processor time for the file"
    known = number in set(signal.Signals)  # a real-time signal has no name
    name = signal.Signals(number).name if known else f"signal {number}"
    return f"The decoder died of {name} on the file; it may have {limits.memory_mb} MB"


def _is_small(head: Head) -> bool:
    return head.first <= LARGEST_BODY and head.second <= LARGEST_DOCUMENT
