"""What a decoding process does: one job, whose bytes it asks for over the line."""

from __future__ import annotations

import io
import socket
from typing import Annotated, BinaryIO

from pydantic import Field, TypeAdapter

from argosy.errors import MediaError
from media.source import SourceFile, TrafficExceeded
from media.thumbnail import Thumbnail, ThumbnailOptions, thumbnails
from media.wire import (
    ANSWER,
    BLOCK,
    HEAD,
    LARGEST_BODY,
    LARGEST_READ,
    READ,
    SPENT,
    Answer,
    InspectJob,
    Refusal,
    ThumbnailHead,
    ThumbnailJob,
    receive,
)

Job = Annotated[ThumbnailJob | InspectJob, Field(discriminator="work")]
JOB: TypeAdapter[ThumbnailJob | InspectJob] = TypeAdapter(Job)


class AskingSource:
    """A file of `size` bytes at the other end of `line`."""

    def __init__(self, line: socket.socket, size: int) -> None:
        self._line = line
        self.size = size

    def read(self, offset: int, length: int) -> bytes:
        """Ask for `length` bytes from `offset`.

        Raises:
            TrafficExceeded: As many were fetched as may be.
            ConnectionError: The worker is gone.
        """
        self._line.sendall(HEAD.pack(READ, offset, min(length, LARGEST_READ)))
        (found,) = BLOCK.unpack(receive(self._line, BLOCK.size))
        if found == SPENT:
            raise TrafficExceeded("no more of the file may be fetched")
        return receive(self._line, found)


def work(line: socket.socket) -> None:
    """Do the job that comes over `line` and answer it."""
    (length,) = BLOCK.unpack(receive(line, BLOCK.size))
    job = JOB.validate_json(receive(line, length))
    file = io.BufferedReader(SourceFile(AskingSource(line, job.size)))
    answer, body = _answered(job, file)
    document = answer.model_dump_json(exclude_none=True).encode()
    line.sendall(HEAD.pack(ANSWER, len(body), len(document)) + document)
    line.sendall(body)


def _answered(job: ThumbnailJob | InspectJob, file: BinaryIO) -> tuple[Answer, bytes]:
    try:
        return _done(job, file)
    except MediaError as error:
        return _refused(error.code, error.message)
    except MemoryError:
        return _refused("decoder_stopped", "The decoder needed more memory than it may have")
    except TrafficExceeded:
        return _refused("decoder_stopped", "The decoder needed more of the file than it may fetch")
    except Exception as error:  # Nobody sees a traceback from here: the worker gets its words.
        words = f"The decoder failed on the file: {type(error).__name__}: {error}"
        return _refused("decoder_stopped", words)


def _refused(code: str, message: str) -> tuple[Answer, bytes]:
    words = "".join(one if one.isprintable() else " " for one in message[:1000]) or code
    refusal = Refusal.model_validate({"code": code, "message": words})
    return Answer(refusal=refusal), b""


def _done(job: ThumbnailJob | InspectJob, file: BinaryIO) -> tuple[Answer, bytes]:
    if isinstance(job, InspectJob):
        from media.inspect import inspect

        facts = inspect(
            file, job.size, name=job.name, declared_type=job.declared_type, private=job.private
        )
        return Answer(facts=facts), b""
    options = ThumbnailOptions(job.sizes, job.format, job.quality, job.allow_truncated)
    return _packed(thumbnails(file, job.size, options, pixels=job.pixels))


def _packed(made: list[Thumbnail]) -> tuple[Answer, bytes]:
    body = b"".join(one.data for one in made)
    if len(body) > LARGEST_BODY:
        words = f"The thumbnails have {len(body):,} bytes: more than {LARGEST_BODY:,} are too many"
        return _refused("decoder_stopped", words)
    heads = tuple(
        ThumbnailHead.model_validate(
            {
                "edge": one.edge,
                "width": one.width,
                "height": one.height,
                "content_type": one.content_type,
                "length": len(one.data),
            }
        )
        for one in made
    )
    return Answer(thumbnails=heads), body
