"""The worker's end of its fork server."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

from argosy.errors import InternalError
from media.fork_server import JOB, READY
from media.wire import receive

START_SECONDS = 60
END_SECONDS = 5
PROGRAM = (
    "import sys; sys.path[:] = sys.argv[3:]; "
    "from media.fork_server import serve; serve(int(sys.argv[1]), sys.argv[2])"
)


class Server:
    """One fork server, of module `decoder`.

    It ends with `close`, and when this process ends in whatever way.

    It is no member of this process's group or session: a signal to the worker's group does not
    end decoders in the middle of a job that the worker finishes.

    Raises:
        InternalError: It does not start.
    """

    def __init__(self, decoder: str) -> None:
        self._control, theirs = socket.socketpair()
        with theirs:
            self._process = _started(theirs.fileno(), decoder)
        try:
            self._control.settimeout(START_SECONDS)
            receive(self._control, len(READY))
            self._control.settimeout(None)
        except OSError as error:
            self.close()
            raise InternalError(
                "The process that decoders are forked from did not start; the worker's stderr "
                "says why"
            ) from error

    @property
    def pid(self) -> int:
        """Of the server."""
        return self._process.pid

    def fork(self, memory_mb: int, cpu_seconds: int) -> tuple[socket.socket, socket.socket]:
        """A new child: the line to it, and the socket that tells how it ended.

        Raises:
            OSError: The server is gone.
        """
        line, child_line = socket.socketpair()
        end, server_end = socket.socketpair()
        with child_line, server_end:
            try:
                sent = [child_line.fileno(), server_end.fileno()]
                socket.send_fds(self._control, [JOB.pack(memory_mb, cpu_seconds)], sent)
            except OSError:
                line.close()
                end.close()
                raise
        return line, end

    def close(self) -> None:
        """End it, and every child that it has."""
        self._control.close()
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def forget(self) -> None:
        """Let go of a server that belongs to the process that this one was forked from."""
        self._control.close()
        self._process.returncode = 0  # It is not ours to wait for.


def _started(control: int, decoder: str) -> subprocess.Popen[bytes]:
    """With no variable of the environment: what decodes has no key even by accident."""
    path = [str(Path(entry).absolute()) for entry in sys.path]
    return subprocess.Popen(
        [sys.executable, "-I", "-c", PROGRAM, str(control), decoder, *path],
        env={},
        cwd=os.sep,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        pass_fds=(control,),
        start_new_session=True,
    )
