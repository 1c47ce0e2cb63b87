"""Nothing of a failed or cancelled transfer is left: not in Storage, not on disk."""

from __future__ import annotations

from uuid import UUID

import structlog
from sqlalchemy import exists, func, select, update
from sqlalchemy.orm import Session

from argosy.errors import AccessError, BucketNotFound, DestinationError, Error
from models import Chunk, Kind, State, Transfer
from models.transitions import record
from tasks.fleet import fleet
from tasks.spool import Partial

log = structlog.get_logger(__name__)


def clean(transfer_id: UUID) -> bool:
    """Remove what a failed transfer left behind; True once nothing can be left.

    While a worker still holds a chunk its bytes may yet arrive: then the
    transfer stays due, and `transfer.resume` has it cleaned again.
    """
    transfer, busy = fleet().transact(lambda session: _look(session, transfer_id))
    if transfer.cleaned_at or transfer.state not in (State.FAILED, State.CANCELLED):
        return bool(transfer.cleaned_at)
    try:
        if transfer.kind == Kind.UPLOAD:
            _clean_storage(transfer)
        else:
            Partial(fleet().spool, transfer.path, str(transfer.id)).remove()
    except (BucketNotFound, DestinationError, AccessError):
        log.info("transfer.nothing_to_clean")
    except Error as error:
        log.warning("transfer.not_cleaned", code=error.code)
        return False
    if not busy:
        fleet().transact(lambda session: _enter(session, transfer))
    return not busy


def _look(session: Session, transfer_id: UUID) -> tuple[Transfer, bool]:
    held = exists().where(Chunk.transfer_id == transfer_id, Chunk.lease_until > func.now())
    return session.get_one(Transfer, transfer_id), bool(session.scalar(select(held)))


def _clean_storage(transfer: Transfer) -> None:
    store = fleet().store_for(transfer.agent_id)
    if transfer.upload_id:
        store.abort_multipart(transfer.bucket, transfer.object_name, transfer.upload_id)
    for pending in store.multipart_uploads(transfer.bucket, transfer.object_name):
        if pending.key == transfer.object_name:
            store.abort_multipart(transfer.bucket, pending.key, pending.upload_id)
    store.delete(transfer.bucket, transfer.object_name)


def _enter(session: Session, transfer: Transfer) -> None:
    cleaned = session.execute(
        update(Transfer)
        .where(Transfer.id == transfer.id, Transfer.cleaned_at.is_(None))
        .values(cleaned_at=func.now())
        .returning(Transfer.id)
        .execution_options(synchronize_session=False)
    ).one_or_none()
    if cleaned is not None:
        record(session, "transfer.cleaned", transfer)
