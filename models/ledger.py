"""The ledger of a transfer: into which chunks it is cut, and what came of them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Delete,
    Uuid,
    bindparam,
    cast,
    delete,
    func,
    insert,
    literal,
    or_,
    select,
)
from sqlalchemy.orm import Session

from argosy.storage.parts import count_parts
from models.base import table_of
from models.chunk import DIGEST, Chunk
from models.transfer import Transfer

_CHUNKS = table_of(Chunk)


def lay_out(
    session: Session,
    transfer_id: UUID,
    size: int,
    part_size: int,
    *,
    digest: bool,
    parts: bool = True,
    epoch: int = 0,
) -> None:
    """Write the ledger of a transfer anew.

    `digest` adds the entry for the pass that computes the checksums of the whole, `epoch` the
    last claim on it so far: whoever still holds that holds nothing of the new one. Without
    `parts` there is only that entry: what is compressed on the way has parts of its own.
    """
    clear(session, transfer_id)
    if parts:
        _lay_out_parts(session, transfer_id, size, part_size)
    if digest:
        whole = {"transfer_id": transfer_id, "number": DIGEST, "offset": 0, "length": size}
        session.execute(insert(Chunk).values(**whole, epoch=epoch))


def clear(session: Session, transfer_id: UUID) -> None:
    """Take out what an earlier plan has left of a transfer's ledger."""
    session.execute(_clearing(), {"of_transfer": transfer_id})


@cache
def _clearing() -> Delete:
    return delete(_CHUNKS).where(_CHUNKS.c.transfer_id == bindparam("of_transfer"))


def _lay_out_parts(session: Session, transfer_id: UUID, size: int, part_size: int) -> None:
    count = count_parts(size, part_size)
    number = func.generate_series(1, count).column_valued("number")
    offset = (cast(number, BigInteger) - 1) * part_size
    length = func.least(part_size, size - offset)
    rows = select(literal(transfer_id, Uuid()), number, offset, length)
    columns = ["transfer_id", "number", "offset", "length"]
    session.execute(insert(Chunk).from_select(columns, rows))


def stored_parts(session: Session, transfer_id: UUID) -> Sequence[Chunk]:
    """The parts of a transfer in ascending order, without the digest."""
    return [entry for entry in stored_ledger(session, transfer_id) if entry.number != DIGEST]


def stored_ledger(session: Session, transfer_id: UUID) -> Sequence[Chunk]:
    """All entries of a transfer in ascending order: the digest, where it has one, and its parts.

    Not those of an earlier try to encode it, which had more of them.
    """
    return session.scalars(
        select(Chunk)
        .join(Transfer, Transfer.id == Chunk.transfer_id)
        .where(Chunk.transfer_id == transfer_id)
        .where(or_(Transfer.part_count.is_(None), Chunk.number <= Transfer.part_count))
        .order_by(Chunk.number)
    ).all()
