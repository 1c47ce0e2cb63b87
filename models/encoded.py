"""The ledger of a file that is compressed on its way up: its parts are known as they are stored.

The entry for the pass over the whole file is the claim; each part is entered by its holder.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from argosy.storage.parts import count_parts
from models.base import NO_SYNC
from models.chunk import DIGEST, Chunk, ChunkState
from models.ledger import lay_out
from models.transfer import State, Transfer
from models.window import open_window


def stored_etags(session: Session, transfer_id: UUID) -> dict[int, str]:
    """The ETags of the parts that are stored, by number."""
    query = select(Chunk.number, Chunk.etag).where(
        Chunk.transfer_id == transfer_id, Chunk.number != DIGEST, Chunk.etag.is_not(None)
    )
    return {number: etag for number, etag in session.execute(query) if etag}


def enter_part(
    session: Session,
    claimed: Chunk,
    number: int,
    *,
    offset: int,
    length: int,
    etag: str,
    bytes_done: int,
) -> bool:
    """Enter a stored part, and how much of the file was read; False when the claim was lost."""
    if not _is_held(session, claimed):
        return False
    facts = {"offset": offset, "length": length, "etag": etag, "stored_at": func.now()}
    row = insert(Chunk).values(
        transfer_id=claimed.transfer_id, number=number, state=ChunkState.STORED, **facts
    )
    session.execute(row.on_conflict_do_update(index_elements=["transfer_id", "number"], set_=facts))
    session.execute(
        update(Transfer)
        .where(Transfer.id == claimed.transfer_id)
        .values(bytes_done=bytes_done, progress_at=func.now())
        .execution_options(**NO_SYNC)
    )
    return True


def store_plain(
    session: Session,
    claimed: Chunk,
    *,
    part_size: int,
    upload_id: str | None,
    window: int,
    republish_seconds: float,
    **sums: str,
) -> Sequence[int] | None:
    """Have the file moved as it is instead; None when the claim was lost.

    `upload_id` is the upload that its parts go into, None where it is one body. `sums` are the
    columns of its checksums; without them a pass over the file is due too, to compute them.
    Returns the numbers whose messages are due.
    """
    if not _is_held(session, claimed):
        return None
    digest = not sums
    count = count_parts(claimed.length, part_size)
    layout = {"part_size": part_size, "part_count": count, "chunks_left": count + digest}
    plain = {"encoding": None, "compress": None, "bytes_done": 0, "upload_id": upload_id}
    moving = session.scalars(
        update(Transfer)
        .where(Transfer.id == claimed.transfer_id, Transfer.state == State.MOVING)
        .values(**layout, **plain, **sums)
        .returning(Transfer)
        .execution_options(**NO_SYNC)
    ).one_or_none()
    if moving is None:
        return None
    lay_out(session, moving.id, claimed.length, part_size, digest=digest, epoch=claimed.epoch)
    return open_window(session, moving.id, window + digest, republish_seconds)


def _is_held(session: Session, claimed: Chunk) -> bool:
    """Whether the claim stands; if so, nobody changes that before the transaction ends."""
    held = (
        select(Chunk.number)
        .where(Chunk.transfer_id == claimed.transfer_id, Chunk.number == claimed.number)
        .where(Chunk.epoch == claimed.epoch, Chunk.state == ChunkState.MOVING)
        .with_for_update()
    )
    return session.scalar(held) is not None
