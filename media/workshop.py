"""Work on strangers' files, each in a process of its own that may die."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass

from pydantic import ValidationError

from argosy.closing import Closing
from argosy.errors import BY_CODE, DecoderStopped, InternalError
from argosy.facts import Facts
from media.job import End, Gone, Job, Limits, end_of, why
from media.server import Server
from media.source import ByteSource
from media.thumbnail import Thumbnail, ThumbnailOptions
from media.wire import Answer, InspectJob, ThumbnailJob

__all__ = ["Limits", "Usage", "Workshop"]


@dataclass
class Usage:
    """What the jobs have cost so far: most bytes that one had resident, processor seconds."""

    jobs: int = 0
    stopped: int = 0
    memory: int = 0
    cpu: float = 0.0


def _nothing() -> None:
    """The check of who has nothing to check."""


class Workshop(Closing):
    """Inspects and pictures files, each in a process of its own with `limits`.

    Threads may share one. After a fork the child starts processes of its own. `decoder` is the
    module whose `work` they do.
    """

    def __init__(self, limits: Limits, *, decoder: str = "media.child") -> None:
        self.limits = limits
        self._decoder = decoder
        self._server: Server | None = None
        self._reset()

    def inspect(
        self,
        source: ByteSource,
        *,
        name: str,
        declared_type: str,
        private: bool,
        traffic: int,
        check: Callable[[], None] = _nothing,
    ) -> Facts:
        """What the bytes of `source` say, of which no more than `traffic` are read.

        `check` is called about twice a second: what it raises ends the job, as does what
        `source.read` raises.

        Raises:
            MediaError: The file's bytes do not allow it.
            DecoderStopped: The decoder died, or passed a limit.
            InternalError: The machine does not let decoders run: nothing is wrong with the file.
        """
        job = InspectJob(size=source.size, name=name, declared_type=declared_type, private=private)
        answer, _ = self._answer(job, source, check, traffic)
        if answer.facts is None:
            raise DecoderStopped("The decoder answered what it was not asked")
        return answer.facts

    def thumbnails(
        self,
        source: ByteSource,
        options: ThumbnailOptions,
        *,
        check: Callable[[], None] = _nothing,
        traffic: int | None = None,
    ) -> list[Thumbnail]:
        """A thumbnail of `source` in each of the sizes, the largest first.

        Raises:
            UnsupportedType: No thumbnail is made of such bytes.
            DamagedFile: The bytes are cut short or are not what their type says.
            TooManyPixels: The picture is larger than `limits.pixels`.
            DecoderStopped: The decoder died, or passed a limit.
            InternalError: The machine does not let decoders run: nothing is wrong with the file.
        """
        job = ThumbnailJob(
            size=source.size,
            sizes=options.sizes,
            format=options.format,
            quality=options.quality,
            allow_truncated=options.allow_truncated,
            pixels=self.limits.pixels,
        )
        answer, body = self._answer(job, source, check, traffic)
        return _unpacked(answer, body, options)

    @property
    def usage(self) -> Usage:
        """What the jobs of this process have cost so far."""
        with self._lock:
            return Usage(**vars(self._usage))

    @property
    def server_pid(self) -> int | None:
        """The process that decoders are forked from; None before the first job."""
        return self._server.pid if self._server else None

    def close(self) -> None:
        """End its processes. Using it again starts new ones."""
        if self._pid == os.getpid():
            with self._lock:
                server = self._server
                self._server = None
            if server:
                server.close()

    def _answer(
        self,
        job: InspectJob | ThumbnailJob,
        source: ByteSource,
        check: Callable[[], None],
        traffic: int | None,
    ) -> tuple[Answer, bytes]:
        line, end = self._forked()
        try:
            with line:
                running = Job(line, source, self.limits, check=check, traffic=traffic)
                document, body = running.run(job.model_dump_json().encode())
            answer = Answer.model_validate_json(document)
        except Gone as error:
            ended = self._count(end_of(end), stopped=True)
            if ended is None:
                raise InternalError("The process that decoders are forked from ended") from error
            raise DecoderStopped(why(ended, self.limits)) from error
        except ValidationError as error:
            self._count(end_of(end), stopped=True)
            raise DecoderStopped("The decoder answered what no decoder answers") from error
        except BaseException:
            self._count(end_of(end), stopped=True)
            raise
        self._count(end_of(end), stopped=False)
        if answer.refusal:
            raise BY_CODE[answer.refusal.code](answer.refusal.message)
        return answer, body

    def _forked(self) -> tuple[socket.socket, socket.socket]:
        """A child for one job; the server is started where there is none (any more)."""
        if self._pid != os.getpid():
            self._leave()
        with self._lock:
            for _ in range(2):
                self._server = self._server or Server(self._decoder)
                try:
                    return self._server.fork(self.limits.memory_mb, self.limits.cpu_seconds)
                except OSError:
                    self._server.close()
                    self._server = None
        raise InternalError("The process that decoders are forked from ends as soon as it starts")

    def _leave(self) -> None:
        """This process was forked from the one that the server belongs to."""
        if self._server:
            self._server.forget()
        self._reset()

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._server = None
        self._usage = Usage()

    def _count(self, end: End | None, *, stopped: bool) -> End | None:
        with self._lock:
            self._usage.jobs += 1
            self._usage.stopped += stopped
            if end:
                self._usage.memory = max(self._usage.memory, end.memory)
                self._usage.cpu += end.cpu
        return end


def _unpacked(answer: Answer, body: bytes, options: ThumbnailOptions) -> list[Thumbnail]:
    """The thumbnails, if they are what was asked for."""
    heads = answer.thumbnails or ()
    asked = sorted(set(options.sizes), reverse=True)
    if [head.edge for head in heads] != asked or sum(head.length for head in heads) != len(body):
        raise DecoderStopped("The decoder answered what it was not asked")
    made, at = [], 0
    for head in heads:
        data = body[at : at + head.length]
        at += head.length
        if (
            head.content_type != f"image/{options.format}"
            or max(head.width, head.height) > head.edge
        ):
            raise DecoderStopped("The decoder answered what it was not asked")
        made.append(Thumbnail(head.edge, head.width, head.height, head.content_type, data))
    return made
