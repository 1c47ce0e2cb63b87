"""`transfer.chunk`: one range of a file, between the spool and Storage, or inside Storage."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import structlog
from celery import shared_task
from sqlalchemy.orm import Session

from argosy.errors import Error
from argosy.files import write_at
from argosy.storage.body import FileRange
from argosy.storage.part_hashes import HashedPart
from argosy.storage.s3 import ObjectStore
from argosy.write_back import begin_write_back
from models import Chunk, Kind, Transfer
from models.chunk_claims import claim_chunk
from models.storing import Stored, store_chunk
from tasks import copying, parcel
from tasks.assemble import take_assembly
from tasks.base import FleetTask
from tasks.claims import ChunkClaim, PutBack, holding, leave
from tasks.describe import object_metadata
from tasks.fleet import fleet
from tasks.follow import follow
from tasks.lease import Lease, LeaseLost
from tasks.reading import content_of
from tasks.spool import Partial
from tasks.trail import trail

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Moved:
    """What came of a chunk's bytes: what Storage said of them, and what they hashed to."""

    etag: str | None
    xxh3: int | None = None


@shared_task(bind=True, base=FleetTask, name="transfer.chunk")
def chunk(self: FleetTask, transfer_id: str, number: int) -> None:
    """Move one chunk of a large file, and see to what follows."""
    taken = take_chunk(UUID(transfer_id), number, self.worker, takeover=self.redelivered)
    if taken is None:
        return
    transfer, claimed = taken
    try:
        stored = move(transfer, claimed)
    except (PutBack, LeaseLost, Error) as error:
        log.info("chunk.not_moved", number=number, reason=type(error).__name__)
        return
    log.info("chunk.stored", number=number, transfer_id=transfer_id, epoch=claimed.epoch)
    follow(transfer, stored)


def take_chunk(
    transfer_id: UUID, number: int, worker: str, *, takeover: bool
) -> tuple[Transfer, Chunk] | None:
    """Claim a chunk, or None when there is nothing to do: stored, held, or not wanted."""
    settings = fleet().settings

    def work(session: Session) -> tuple[Transfer, Chunk] | None:
        claimed = claim_chunk(
            session,
            transfer_id,
            number,
            lease_seconds=settings.lease_seconds,
            worker=worker,
            takeover=takeover,
        )
        return (session.get_one(Transfer, transfer_id), claimed) if claimed else None

    return fleet().transact(work)


def move(transfer: Transfer, claimed: Chunk, finisher: str | None = None) -> Stored:
    """Move a claimed chunk and enter it as stored.

    A `finisher` is the worker that goes on to assemble the transfer where this was the last
    chunk of it: that is claimed for it in the same transaction.
    Raises LeaseLost when it is somebody else's by now, PutBack when it will be
    tried again, and the Error that ended the transfer.
    """
    if transfer.kind == Kind.BATCH:
        return _move_parcel(transfer, claimed)
    with holding(ChunkClaim(transfer, claimed)) as lease:
        moved = _MOVE[Kind(transfer.kind)](transfer, claimed, lease)
    return enter(claimed, moved.etag, xxh3=moved.xxh3, finisher=finisher)


def _move_parcel(batch: Transfer, claimed: Chunk) -> Stored:
    """Its files get their rows in the transaction in which it is entered as stored."""
    try:
        with holding(ChunkClaim(batch, claimed)) as lease:
            also = parcel.send(batch, claimed, lease)
            left = Transfer.stored_size - claimed.length
            return enter(claimed, None, also=also, stored_size=left)
    except LeaseLost:
        parcel.let_go(batch, claimed.number)
        raise


def enter(
    claimed: Chunk,
    etag: str | None,
    *,
    xxh3: int | None = None,
    also: Callable[[Session], None] | None = None,
    finisher: str | None = None,
    **facts: Any,
) -> Stored:
    """Enter a chunk as stored, and `also` what came with it, in one transaction.

    `etag` and `xxh3` are columns of the chunk, `facts` of its transfer.
    The `finisher` has the transfer then, if it is to be assembled.
    Raises LeaseLost when the claim is stale; then nothing is entered.
    """
    settings = fleet().settings

    def work(session: Session) -> Stored:
        stored = store_chunk(
            session,
            claimed,
            etag,
            xxh3=xxh3,
            republish_seconds=settings.republish_seconds,
            progress_seconds=settings.progress_seconds,
            **facts,
        )
        if also and stored.won:
            also(session)
        if finisher and stored.assembling:
            taken = take_assembly(session, claimed.transfer_id, finisher)
            return replace(stored, taken=taken)
        return stored

    stored = fleet().transact(work)
    if not stored.won:
        leave(claimed.transfer_id)
        raise LeaseLost
    return stored


def _stream(transfer: Transfer, claimed: Chunk) -> AbstractContextManager[None]:
    """Within it a chunk's bytes move. Under a limit they tell nothing of the line."""
    if fleet().throttle.pace(transfer.agent_id).rate is not None:
        return nullcontext()
    return fleet().streams.measured(transfer.kind, claimed.length)


def _upload(transfer: Transfer, claimed: Chunk, lease: Lease) -> Moved:
    store = fleet().store_for(transfer.agent_id, lease)
    with (
        fleet().spool.source(transfer.path, transfer.fingerprint) as source,
        _stream(transfer, claimed),
    ):
        body = FileRange(source.fd, claimed.offset, claimed.length, lease.check)
        if transfer.upload_id:
            return _upload_part(store, transfer, transfer.upload_id, claimed.number, body)
        etag = store.put(
            transfer.bucket,
            transfer.object_name,
            body,
            content_type=transfer.content_type,
            metadata=object_metadata(transfer),
            md5=transfer.md5,
        )
    return Moved(etag)


def _upload_part(
    store: ObjectStore, transfer: Transfer, upload_id: str, number: int, body: FileRange
) -> Moved:
    part = HashedPart(body, number)
    etag = store.upload_part(transfer.bucket, transfer.object_name, upload_id, number, part)
    return Moved(etag, part.xxh3)


def _download(transfer: Transfer, claimed: Chunk, lease: Lease) -> Moved:
    if not claimed.length:
        return Moved(transfer.etag)
    content, offset = content_of(transfer), claimed.offset
    blocks = content.get(offset, claimed.length)
    with Partial(fleet().spool, transfer.path, str(transfer.id)).open() as fd:
        with _stream(transfer, claimed):
            for block in blocks:
                write_at(fd, block, offset)
                offset += len(block)
                lease.moved(int(len(block) * content.density))
        begin_write_back(fd, claimed.offset, claimed.length)
        return Moved(trail(transfer, claimed, fd, lease) or transfer.etag)


def _copy(transfer: Transfer, claimed: Chunk, lease: Lease) -> Moved:
    return Moved(copying.move(transfer, claimed, lease))


_MOVE: dict[Kind, Callable[[Transfer, Chunk, Lease], Moved]] = {
    Kind.UPLOAD: _upload,
    Kind.DOWNLOAD: _download,
    Kind.COPY: _copy,
}
