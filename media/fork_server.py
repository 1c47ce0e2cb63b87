"""The process that decoders are forked from: small, of one thread, with no key in its memory.

It is started once, loads every decoder, and then forks a child for each job: that costs
milliseconds, where starting Python and loading the decoders costs a second. It reads no byte
of any file itself.

A job comes over the control socket, as its limits with two file descriptors: the child's line
to the worker, and one over which the server tells how the child ended. Where the worker closes
that one, the child is killed; where the control socket is closed, all are and the server ends.
"""

from __future__ import annotations

import gc
import importlib
import os
import selectors
import signal
import socket
import struct
from collections.abc import Callable

from media import confinement, landlock

Work = Callable[[socket.socket], None]
"""Does the one job that comes over the line, and answers it."""
JOB = struct.Struct(">II")
"""Limits of a job: MB of memory, seconds of processor time."""
END = struct.Struct(">iQd")
"""How a child ended: status of wait(2), most bytes resident, seconds of processor time."""
READY = b"ready"
LOOK_SECONDS = 2.0
TEXT_BYTES = 64 * 1024 * 1024
LINE = 3
"""The child's line to the worker has this descriptor: all above it are closed."""
LOADED = (
    "encodings.idna",
    "media.inspect",
    "media.pdf_page",
    "media.poster",
    "media.still",
)


def serve(control: int, decoder: str) -> None:
    """Fork children that do `work` of module `decoder`, until the worker closes `control` or is
    gone. Does not return."""
    work = _loaded(decoder)
    os.environ.clear()  # Python itself sets one for its locale.
    _silence()
    server = _Server(socket.socket(fileno=control), work, landlock.ruleset())
    gc.collect()
    gc.freeze()
    server.run()


def _loaded(decoder: str) -> Work:
    from PIL import Image, PngImagePlugin

    Image.init()
    # Whole drawings and profiles lie in there; what a child may hold is bounded in any case.
    PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY = TEXT_BYTES
    for name in LOADED:
        importlib.import_module(name)
    work: Work = importlib.import_module(decoder).work
    return work


def _silence() -> None:
    """Decoders write to stderr what they think of a file: nobody reads it."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)
    os.close(nothing)


class _Server:
    def __init__(self, control: socket.socket, work: Work, rules: int | None) -> None:
        self._control = control
        self._work = work
        self._rules = rules
        self._worker = os.getppid()
        self._ends: dict[int, socket.socket] = {}
        self._wake, wake = socket.socketpair()
        self._wake.setblocking(False)
        wake.setblocking(False)
        self._waker = wake
        self._selector = selectors.DefaultSelector()
        self._selector.register(control, selectors.EVENT_READ)
        self._selector.register(self._wake, selectors.EVENT_READ)

    def run(self) -> None:
        """Until the worker is gone."""
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._waker.fileno())
        self._control.sendall(READY)
        while os.getppid() == self._worker and self._turn():
            pass
        for pid in self._ends:
            os.killpg(pid, signal.SIGKILL)
        os._exit(0)

    def _turn(self) -> bool:
        for key, _ in self._selector.select(LOOK_SECONDS):
            if key.fileobj is self._control:
                if not self._start():
                    return False
            elif key.fileobj is self._wake:
                self._wake.recv(4096)
            else:
                self._give_up(key.data)
        self._reap()
        return True

    def _start(self) -> bool:
        message, descriptors, _, _ = socket.recv_fds(self._control, JOB.size, 2)
        if len(message) < JOB.size or len(descriptors) != 2:
            return False
        line, end = descriptors
        server = os.getpid()
        pid = os.fork()
        if pid == 0:
            _be_child(self._work, line, server, self._rules, JOB.unpack(message))
        os.setpgid(pid, pid)
        os.close(line)
        self._ends[pid] = socket.socket(fileno=end)
        self._selector.register(self._ends[pid], selectors.EVENT_READ, pid)
        return True

    def _give_up(self, pid: int) -> None:
        """The worker wants no answer any more."""
        self._selector.unregister(self._ends[pid])
        os.killpg(pid, signal.SIGKILL)

    def _reap(self) -> None:
        for pid in list(self._ends):
            if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                os.killpg(pid, signal.SIGKILL)  # What it may have left behind.
                _, status, used = os.wait4(pid, 0)
                cpu = used.ru_utime + used.ru_stime
                self._tell(pid, END.pack(status, used.ru_maxrss * 1024, cpu))

    def _tell(self, pid: int, end: bytes) -> None:
        with self._ends.pop(pid) as told:
            if told.fileno() in self._selector.get_map():
                self._selector.unregister(told)
            try:
                told.send(end, socket.MSG_DONTWAIT)
            except OSError:
                return  # The worker has ended meanwhile.


def _be_child(
    work: Work, line: int, server: int, rules: int | None, limits: tuple[int, int]
) -> None:
    """Be the decoder of one job. Does not return."""
    code = 1
    try:
        os.setpgid(0, 0)
        signal.set_wakeup_fd(-1)
        for one in (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM):
            signal.signal(one, signal.SIG_DFL)
        confinement.die_with(server)
        if rules is not None:
            landlock.confine(rules)
        os.dup2(line, LINE)
        os.closerange(LINE + 1, 4096)
        confinement.limit(*limits)
        work(socket.socket(fileno=LINE))
        code = 0
    finally:
        os._exit(code)
