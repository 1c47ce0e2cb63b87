"""A file of the spool into Storage compressed, in one pass that is an entry of the ledger."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any, cast

import structlog
from sqlalchemy.orm import Session

from argosy.derived import Encoding
from argosy.storage.body import read_range
from argosy.storage.checksum import Checksums
from models import Chunk, Transfer
from models.encoded import enter_part, store_plain, stored_etags
from tasks.compressing import (
    NotWorth,
    check_expansion,
    check_worth,
    note_skipped,
    too_slow,
)
from tasks.describe import metadata_of, object_metadata
from tasks.encode import Part, Sent, Target, send_encoded
from tasks.fleet import fleet
from tasks.follow import report_progress
from tasks.lease import Lease, LeaseLost, OutOfTime
from tasks.messages import send_chunks
from tasks.multipart import abandon, begin_upload
from tasks.window import window_of

log = structlog.get_logger(__name__)


def encode_upload(transfer: Transfer, claimed: Chunk, lease: Lease) -> dict[str, Any] | None:
    """Store the file compressed; columns of its row, or None when it will be moved as it is.

    Another worker that takes over encodes it again, and sends only the parts that are not
    there: the same file gives the same bytes. So does the next one where the file takes longer
    than one message may, unless it would get no further: then the file is moved as it is. So
    each pass but the last adds a part, and a file has only so many. Raises what ends or puts
    back the claim.
    """
    there = fleet().transact(lambda session: stored_etags(session, transfer.id))
    going = _Encoding(transfer, claimed, lease, there)
    try:
        return going.run()
    except NotWorth as verdict:
        log.info("upload.not_compressed", reason=verdict.reason)
        _store_plain(transfer, claimed, verdict)
    return None


def _store_plain(transfer: Transfer, claimed: Chunk, verdict: NotWorth) -> None:
    """Have the file moved as it is, in an upload of its own where it goes in parts.

    In the one there is, encoded parts count towards the bucket's limit, and one that comes late
    would take the place of a plain one. It is ended with all others of the object at the end.
    """
    upload_id = None
    if transfer.upload_id:
        upload_id = begin_upload(transfer, metadata_of(transfer, encoding=None))
    numbers = fleet().transact(
        lambda session: _enter_plain(session, transfer, claimed, verdict, upload_id)
    )
    if numbers is None:
        if upload_id:
            abandon(transfer, upload_id)
        raise LeaseLost
    send_chunks(transfer.id, transfer.lane, numbers)


def _enter_plain(
    session: Session,
    transfer: Transfer,
    claimed: Chunk,
    verdict: NotWorth,
    upload_id: str | None,
) -> Sequence[int] | None:
    size = transfer.size or 0
    # What goes in parts is read for its sums once more: a pass that knows them ties them.
    file = None if upload_id else verdict.file
    numbers = store_plain(
        session,
        claimed,
        part_size=transfer.part_size or 1 if upload_id else size,
        upload_id=upload_id,
        window=window_of(session, transfer.agent_id),
        republish_seconds=fleet().settings.republish_seconds,
        **({"sha256": file.sha256, "md5": file.md5} if file else {}),
    )
    if numbers is not None:
        note_skipped(session, transfer, verdict.reason)
    return numbers


class _Encoding:
    """One pass on its way."""

    def __init__(
        self, transfer: Transfer, claimed: Chunk, lease: Lease, there: dict[int, str]
    ) -> None:
        self._transfer, self._claimed, self._lease = transfer, claimed, lease
        self._there = there
        self._read = 0
        self._is_further = False
        self._began, self._waited = time.monotonic(), 0.0

    def run(self) -> dict[str, Any]:
        """Read, encode and send it all. Raises NotWorth, OutOfTime."""
        if self._transfer.upload_id:  # one body is little work, and cannot be gone on with
            self._lease.begin_pass()
        try:
            sent = self._send()
        except OutOfTime:
            self._check_goes_on()
            raise
        return {
            "sha256": sent.file.sha256,
            "md5": sent.file.md5,
            "stored_size": sent.stored.size,
            "stored_sha256": sent.stored.sha256,
            "stored_md5": sent.stored.md5,
            "part_count": len(sent.parts),
        }

    def _send(self) -> Sent:
        transfer = self._transfer
        encoding, level = cast(Encoding, transfer.encoding), transfer.encoding_level or 0  # planned
        with fleet().spool.source(transfer.path, transfer.fingerprint) as source:
            blocks = self._blocks(source.fd)
            return send_encoded(self._target(), blocks, encoding, level, self._lease.check)

    def _check_goes_on(self) -> None:
        """Raise NotWorth where another pass would get no further, though it has less to send.

        That is where no part is new, and where reading and encoding alone have used up more
        of the time than of the file: all of it takes them longer than a pass.
        """
        took = time.monotonic() - self._began
        is_too_slow = (took - self._waited) * self._claimed.length > took * self._read
        if is_too_slow or not self._is_further:
            raise NotWorth(too_slow(self._transfer), None)

    def _blocks(self, fd: int) -> Iterator[bytes]:
        for block in read_range(fd, 0, self._claimed.length):
            self._read += len(block)
            yield block

    def _target(self) -> Target:
        transfer = self._transfer
        return Target(
            store=fleet().store_for(transfer.agent_id, self._lease),
            bucket=transfer.bucket,
            path=transfer.object_name,
            content_type=transfer.content_type,
            part_size=transfer.part_size or 0,
            metadata=self._metadata,
            upload_id=transfer.upload_id,
            there=self._there,
            on_part=self._enter,
            on_wait=self._wait,
            approve=self._approve,
        )

    def _approve(self, file: Checksums, stored: Checksums) -> None:
        """Raise NotWorth."""
        check_expansion(file, stored)
        if self._transfer.compress == "auto":
            check_worth(file, stored)

    def _metadata(self, file: Checksums, stored: Checksums) -> dict[str, str]:
        known = self._transfer
        known.sha256, known.md5 = file.sha256, file.md5
        known.stored_size = stored.size
        known.stored_sha256, known.stored_md5 = stored.sha256, stored.md5
        return object_metadata(known)

    def _enter(self, part: Part) -> None:
        """Raises LeaseLost when the file is somebody else's by now."""
        entered = fleet().transact(
            lambda session: enter_part(
                session,
                self._claimed,
                part.number,
                offset=part.offset,
                length=part.length,
                etag=part.etag,
                bytes_done=self._read,
            )
        )
        if not entered:
            raise LeaseLost
        self._is_further |= part.number not in self._there
        report_progress(self._transfer, self._read)

    def _wait(self, seconds: float) -> None:
        self._waited += seconds
