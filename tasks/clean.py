"""Nothing of a failed or cancelled transfer is left: not in Storage, not on disk."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from uuid import UUID

import structlog
from sqlalchemy import exists, func, or_, select, update
from sqlalchemy.orm import Session

from argosy.errors import (
    AccessError,
    BucketNotFound,
    DestinationOutsideSpool,
    DestinationUnwritable,
    Error,
)
from argosy.naming import object_name
from argosy.storage.s3 import ObjectStore
from models import DIGEST, FILES, Chunk, Kind, State, Transfer
from models.chunk_claims import retire_chunks
from models.derivatives import of_file
from models.following import give_up
from models.grants import revoke_all
from models.parcels import begun
from models.transitions import record
from tasks.breaker import Away
from tasks.fleet import fleet
from tasks.spool import Partial

log = structlog.get_logger(__name__)


def clean(transfer_id: UUID) -> bool:
    """Remove what a failed transfer left behind; True once nothing can be left.

    While a worker may still be at it, its bytes may yet arrive: then the
    transfer stays due, and `transfer.resume` has it cleaned again.
    """
    left, busy = fleet().transact(lambda session: _look(session, transfer_id))
    transfer = left.transfer
    if transfer.cleaned_at or transfer.state not in (State.FAILED, State.CANCELLED):
        return bool(transfer.cleaned_at)
    try:
        _remove(left)
    except Away:
        return False
    except Error as error:
        log.warning("transfer.not_cleaned", code=error.code)
        return False
    if not busy:
        fleet().transact(lambda session: _enter(session, transfer))
    return not busy


@dataclass(frozen=True)
class Left:
    """What a transfer may have left: whether it has `stored` anything, and objects beside its own.

    Those are copies of what was derived of the original; of a batch, which has no object, its
    files that have no row.
    """

    transfer: Transfer
    stored: bool
    beside: Sequence[str]

    @property
    def paths(self) -> Sequence[str]:
        """Every object."""
        own = () if self.transfer.kind == Kind.BATCH else (self.transfer.object_name,)
        return (*self.beside, *own)


def _look(session: Session, transfer_id: UUID) -> tuple[Left, bool]:
    """What may be left, and whether somebody is still at it."""
    transfer = session.get_one(Transfer, transfer_id)
    chunk = Chunk.transfer_id == transfer_id
    at_it = exists().where(Transfer.id == transfer_id, Transfer.lease_until > func.now())
    held = or_(at_it, exists().where(chunk, Chunk.lease_until > func.now()))
    stored = exists().where(chunk, Chunk.number != DIGEST, Chunk.etag.is_not(None))
    no_ledger = ~exists().where(chunk)  # of a batch's file another try may have stored it
    busy, any_stored = session.execute(select(held, or_(stored, no_ledger))).one()
    beside = _beside(session, transfer)
    any_stored |= transfer.upload_id is not None or transfer.kind == Kind.BATCH
    return Left(transfer, any_stored, beside), busy


def _beside(session: Session, transfer: Transfer) -> Sequence[str]:
    if transfer.kind == Kind.BATCH:
        files = begun(session, transfer.id)
        return [object_name(transfer.agent_id, file.id, file.name) for file in files]
    return [one.object_name for one in of_file(session, transfer.id) if one.object_name]


def _remove(left: Left) -> None:
    transfer = left.transfer
    if transfer.kind == Kind.DOWNLOAD:
        _remove_partial(transfer)
        return
    fleet().breaker.check()
    with fleet().breaker.watching(), suppress(BucketNotFound):
        _remove_stored(left)


def _remove_stored(left: Left) -> None:
    try:
        _remove_objects(fleet().store_for(left.transfer.agent_id), left)
    except AccessError:
        # Its agent may do nothing any more; what this transfer left must go all the same.
        if left.stored:
            _remove_objects(fleet().store_as_service(), left)


def _remove_partial(transfer: Transfer) -> None:
    try:
        Partial(fleet().spool, transfer.path, str(transfer.id)).remove()
    except DestinationOutsideSpool:
        return
    except DestinationUnwritable as error:
        if not isinstance(error.__cause__, FileNotFoundError):
            raise


def _remove_objects(store: ObjectStore, left: Left) -> None:
    transfer = left.transfer
    if transfer.upload_id:
        store.abort_multipart(transfer.bucket, transfer.object_name, transfer.upload_id)
    for path in left.paths:
        if transfer.kind != Kind.BATCH:  # those are never sent in parts
            abort_uploads(store, transfer.bucket, path)
        store.delete(transfer.bucket, path)


def abort_uploads(store: ObjectStore, bucket: str, path: str) -> None:
    """End every unfinished upload of this object: an answer was lost once, or a worker."""
    for pending in store.multipart_uploads(bucket, path):
        if pending.key == path:
            store.abort_multipart(bucket, pending.key, pending.upload_id)


def _enter(session: Session, transfer: Transfer) -> None:
    cleaned = session.execute(
        update(Transfer)
        .where(Transfer.id == transfer.id, Transfer.cleaned_at.is_(None))
        .where(Transfer.epoch == transfer.epoch)
        .values(cleaned_at=func.now())
        .returning(Transfer.id)
        .execution_options(synchronize_session=False)
    ).one_or_none()
    if cleaned is not None:
        retire_chunks(session, transfer.id)
        if transfer.kind in FILES:
            give_up(session, transfer.id)
            revoke_all(session, bucket=transfer.bucket, path=transfer.object_name)
        record(session, "transfer.cleaned", transfer)
