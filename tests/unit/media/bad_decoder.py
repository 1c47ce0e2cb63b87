"""Decoders that a hostile file has taken over, or that are broken: what the job's name says."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path

from media.child import AskingSource
from media.wire import ANSWER, BLOCK, HEAD, READ, receive

FACTS = {"facts": {"kind": "other", "content_type": "application/octet-stream"}}


def work(line: socket.socket) -> None:
    (length,) = BLOCK.unpack(receive(line, BLOCK.size))
    job = json.loads(receive(line, length))
    what = job.get("name", "lie").replace("-", "_")
    getattr(sys.modules[__name__], what)(line)


def answer(line: socket.socket, document: object, body: bytes = b"") -> None:
    content = json.dumps(document).encode()
    line.sendall(HEAD.pack(ANSWER, len(body), len(content)) + content + body)


def behave(line: socket.socket) -> None:
    answer(line, FACTS)


def say(line: socket.socket, words: object) -> None:
    answer(line, {"refusal": {"code": "damaged_file", "message": str(words)}})


def allocate(line: socket.socket) -> None:
    hoard = []
    while True:
        hoard.append(bytearray(16 * 1024 * 1024))


def spin(line: socket.socket) -> None:
    while True:
        pass


def sleep(line: socket.socket) -> None:
    time.sleep(600)


def fall(line: socket.socket) -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def leave(line: socket.socket) -> None:
    os._exit(7)


def babble(line: socket.socket) -> None:
    line.sendall(b"x" * 1000)
    sleep(line)


def boast(line: socket.socket) -> None:
    """Announce more than there is room for."""
    line.sendall(HEAD.pack(ANSWER, 2**62, 10))
    sleep(line)


def stutter(line: socket.socket) -> None:
    """Half a head, and then nothing."""
    line.sendall(struct.pack(">c", ANSWER))
    sleep(line)


def no_document(line: socket.socket) -> None:
    line.sendall(HEAD.pack(ANSWER, 0, 4) + b"\xff\xfe{]")


def wrong_code(line: socket.socket) -> None:
    answer(line, {"refusal": {"code": "internal_error", "message": "believe me"}})


def soil(line: socket.socket) -> None:
    """Words that would break a line of the log."""
    say(line, "all is well\n2026-01-01 not by the worker")


def lie(line: socket.socket) -> None:
    """Thumbnails that were not asked for."""
    head = {"edge": 9, "width": 9, "height": 9, "content_type": "image/webp", "length": 1}
    answer(line, {"thumbnails": [head]}, b"x")


def read_outside(line: socket.socket) -> None:
    line.sendall(HEAD.pack(READ, 2**60, 100))
    (length,) = BLOCK.unpack(receive(line, BLOCK.size))
    say(line, length)


def read_all(line: socket.socket) -> None:
    say(line, len(AskingSource(line, 100).read(0, 100)))


def never_read(line: socket.socket) -> None:
    """Ask for much, and do not take it."""
    for _ in range(1000):
        line.sendall(HEAD.pack(READ, 0, 4 * 1024 * 1024))
    sleep(line)


def environment(line: socket.socket) -> None:
    say(line, len(os.environ))


def descriptors(line: socket.socket) -> None:
    found = []
    for number in range(100):
        try:
            os.fstat(number)
        except OSError:
            continue
        found.append(number)
    say(line, found)


def limits(line: socket.socket) -> None:
    names = ("RLIMIT_AS", "RLIMIT_CPU", "RLIMIT_CORE", "RLIMIT_FSIZE")
    say(line, [resource.getrlimit(getattr(resource, name)) for name in names])


def write_file(line: socket.socket) -> None:
    _say_what_comes_of(line, lambda: Path("/tmp/argosy-decoder-was-here").write_text("here"))


def read_file(line: socket.socket) -> None:
    _say_what_comes_of(line, lambda: Path("/etc/passwd").read_bytes())


def read_parent(line: socket.socket) -> None:
    _say_what_comes_of(line, lambda: Path(f"/proc/{os.getppid()}/environ").read_bytes())


def connect(line: socket.socket) -> None:
    with socket.socket() as reached:
        _say_what_comes_of(line, lambda: reached.connect(("127.0.0.1", 9)))


def leave_a_child(line: socket.socket) -> None:
    """Fork what goes on when the decoder has answered."""
    pid = os.fork()
    if pid == 0:
        sleep(line)
    say(line, pid)


def _say_what_comes_of(line: socket.socket, attempt: Callable[[], object]) -> None:
    try:
        attempt()
    except OSError as error:
        say(line, type(error).__name__)
    else:
        say(line, "done")
