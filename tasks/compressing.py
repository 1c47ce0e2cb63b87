"""Making a compressed copy of a stored file, where that pays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from sqlalchemy.orm import Session

from argosy.coding.expansion import most_expanded
from argosy.coding.worth import Verdict, is_worth, sample_ranges
from argosy.derived import Encoding, Stored
from argosy.errors import (
    ChecksumMismatch,
    CompressionStopped,
    Error,
    InternalError,
    UploadNotFound,
)
from argosy.storage.checksum import Checksums
from argosy.storage.s3 import StoredPart
from media.sniff import content_type_of
from media.versions import versions
from models import Making, Transfer
from models.provenance import note
from tasks.describe import add_metadata, metadata_of
from tasks.encode import Sent, Target, encoded_part_size, send_encoded
from tasks.fleet import fleet
from tasks.lease import PASS_SECONDS, OutOfTime
from tasks.making import Output, Work
from tasks.steps import CompressStep, compressing

SUFFIXES = {"zstd": "zst", "gzip": "gz"}
HEAD_BYTES = 4096
COMPLETE_SECONDS = 360
"""Of the time of a copy, left to Storage: putting it together may take 15 minutes."""


def compress(work: Work, step: CompressStep) -> Sequence[Output]:
    """Store the file once more, compressed; or say why not.

    Raises CompressionStopped where one message is too short for it: another would begin anew.
    """
    one = work.derivatives[0]
    if reason := _reason_against(work, step):
        return [Output(one, reason=reason)]
    path = work.place(one, f"compress-{step.level}.{SUFFIXES[step.encoding]}")
    copying = _Copying(work, step, path)
    work.lease.begin_pass(COMPLETE_SECONDS)
    try:
        sent = copying.send()
        copying.complete(sent)
    except NotWorth as verdict:
        copying.clear()
        return [Output(one, {"object_name": None}, reason=verdict.reason)]
    except UploadNotFound as error:  # a worker that is too late has ended it: begin anew
        raise InternalError(error.message) from error
    except OutOfTime as over:
        copying.clear()
        raise _stopped(step) from over
    except BaseException:
        copying.clear()
        raise
    return [Output(one, copying.columns(sent))]


class NotWorth(Exception):
    """A file is not to be compressed after all; the message says why.

    `file` is what it comes to, None where its time was over before that was found out.
    """

    def __init__(self, reason: str, file: Checksums | None) -> None:
        super().__init__(reason)
        self.reason, self.file = reason, file


def _stopped(step: CompressStep) -> CompressionStopped:
    minutes = (PASS_SECONDS - COMPLETE_SECONDS) // 60
    return CompressionStopped(
        f"it could not be compressed within the {minutes} minutes that a worker may be at it "
        f"({step.encoding}, level {step.level}); it is stored as it was. A lower level "
        "(ARGOSY_COMPRESS_LEVEL) takes less. Over a slow line, have it compressed as it is "
        "uploaded: that may take several turns."
    )


def too_slow(transfer: Transfer) -> str:
    """Why a file is not compressed on its way up that would take longer than a worker may."""
    return (
        f"It could not be compressed within the {PASS_SECONDS // 60} minutes that a worker may be "
        f"at it ({transfer.encoding}, level {transfer.encoding_level}): a lower level "
        "(ARGOSY_COMPRESS_LEVEL) takes less."
    )


def _reason_against(work: Work, step: CompressStep) -> str | None:
    transfer = work.transfer
    if transfer.encoding:
        return f"The file is stored as {transfer.encoding} already."
    content, size = work.content(), transfer.size or 0

    def read(start: int, length: int) -> bytes:
        return b"".join(content.get(start, length))

    verdict = judge(transfer, read, size, step)
    return None if verdict.worth else verdict.reason


def judge(
    transfer: Transfer, read: Callable[[int, int], bytes], size: int, step: CompressStep
) -> Verdict:
    """Whether compression pays, by the type of the bytes and a sample of them."""
    samples = [read(start, length) for start, length in sample_ranges(size)]
    found = content_type_of(samples[0][:HEAD_BYTES]) if samples else transfer.content_type
    content_type = transfer.content_type if found == "application/octet-stream" else found
    return is_worth(
        content_type,
        samples,
        encoding=step.encoding,
        level=step.level,
        saving=fleet().settings.compress_saving,
        size=size,
        expansion=fleet().settings.expansion,
    )


def note_skipped(session: Session, transfer: Transfer, reason: str) -> None:
    """Say in a file's provenance why it was not compressed on its way up."""
    _note_upload(session, transfer, Making.SKIPPED, {"reason": reason})


def note_compressed(session: Session, transfer: Transfer) -> None:
    """Say in a file's provenance how it was compressed on its way up."""
    _note_upload(session, transfer, Making.MADE, None)


def _note_upload(
    session: Session, transfer: Transfer, outcome: Making, detail: dict[str, str] | None
) -> None:
    is_gzip = "gzip" in (transfer.encoding, transfer.compress)
    encoding: Encoding = "gzip" if is_gzip else "zstd"
    planned = compressing(fleet().settings, encoding)
    step = planned.model_copy(update={"level": transfer.encoding_level or planned.level})
    note(
        session,
        transfer.id,
        step=step.step,
        parameters=step.parameters()[0],
        source_sha256=transfer.sha256,
        output_sha256=transfer.stored_sha256,
        outcome=outcome,
        code=versions("compress"),
        agent_id=transfer.agent_id,
        detail=detail,
    )


def check_worth(file: Checksums, stored: Checksums) -> None:
    """Raise NotWorth where too little is saved: the sample had promised more."""
    least = fleet().settings.compress_saving
    saved = 1 - stored.size / file.size
    if saved < least:
        raise NotWorth(
            f"All of the file gets {saved:.1%} smaller: less than the {least:.1%} it must save.",
            file,
        )


def check_expansion(file: Checksums, stored: Checksums) -> None:
    """Raise NotWorth where whoever receives the file would take it for a bomb."""
    most = fleet().settings.expansion
    if file.size > most_expanded(stored.size, most):
        raise NotWorth(
            f"It would expand to more than {most} times its stored size (ARGOSY_EXPANSION).",
            file,
        )


class _Copying:
    """One compressed copy on its way into the file's folder."""

    def __init__(self, work: Work, step: CompressStep, path: str) -> None:
        self._work, self._step, self._path = work, step, path
        self._store = work.store
        self._size = work.transfer.size or 0
        self._part_size = encoded_part_size(self._size)
        self._upload_id: str | None = None

    def send(self) -> Sent:
        """Encode the file and send it. Raises ChecksumMismatch if it is not what it was."""
        transfer = self._work.transfer
        if self._size > self._part_size:
            self._abort_older()
            self._upload_id = self._store.create_multipart(
                transfer.bucket,
                self._path,
                content_type=transfer.content_type,
                metadata=metadata_of(transfer, encoding=self._step.encoding),
            )
        target = Target(
            store=self._store,
            bucket=transfer.bucket,
            path=self._path,
            content_type=transfer.content_type,
            part_size=self._part_size,
            metadata=self._metadata,
            upload_id=self._upload_id,
            approve=self._approve,
        )
        blocks = self._work.blocks()
        step = self._step
        return send_encoded(target, blocks, step.encoding, step.level, self._work.lease.check)

    def _approve(self, file: Checksums, stored: Checksums) -> None:
        """Raise ChecksumMismatch if it is not what it was, NotWorth."""
        transfer = self._work.transfer
        if file.sha256 != transfer.sha256:
            raise ChecksumMismatch(
                f"{transfer.name} has SHA-256 {file.sha256} in Storage, it was "
                f"{transfer.sha256} when it was uploaded: upload it again."
            )
        check_worth(file, stored)
        check_expansion(file, stored)
        self._work.lease.check()

    def complete(self, sent: Sent) -> None:
        """Have Storage make the object of its parts, and say of it what is known now."""
        if not self._upload_id:
            return
        transfer = self._work.transfer
        parts = [StoredPart(part.number, part.etag) for part in sent.parts]
        self._store.complete_multipart(
            transfer.bucket,
            self._path,
            self._upload_id,
            parts,
            size=sent.stored.size,
            md5=sent.stored.md5,
        )
        place, said = (transfer.bucket, self._path), self._metadata(sent.file, sent.stored)
        agent_id = self._work.agent_id
        fleet().transact(
            lambda session: add_metadata(session, agent_id, place, said, transfer.name)
        )

    def clear(self) -> None:
        """Abort what was begun, as far as Storage lets us: nobody will know of it."""
        if self._upload_id:
            with suppress(Error):
                bucket = self._work.transfer.bucket
                self._store.abort_multipart(bucket, self._path, self._upload_id)

    def columns(self, sent: Sent) -> dict[str, Any]:
        """Of the derivative's row."""
        return {
            "object_name": self._path,
            "content_type": self._work.transfer.content_type,
            "size": sent.stored.size,
            "sha256": sent.stored.sha256,
            "md5": sent.stored.md5,
            "detail": {
                "encoding": self._step.encoding,
                "part_size": self._part_size if self._upload_id else sent.stored.size,
                "part_count": len(sent.parts),
            },
        }

    def _abort_older(self) -> None:
        """What a worker has left that died in the middle."""
        bucket = self._work.transfer.bucket
        for pending in self._store.multipart_uploads(bucket, self._path):
            if pending.key == self._path:
                self._store.abort_multipart(bucket, pending.key, pending.upload_id)

    def _metadata(self, file: Checksums, stored: Checksums) -> dict[str, str]:
        return metadata_of(
            self._work.transfer,
            encoding=self._step.encoding,
            size=file.size,
            stored=Stored(size=stored.size, sha256=stored.sha256, md5=stored.md5),
        )
