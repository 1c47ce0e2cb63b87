"""The beginning of a file that has arrived, chunk by chunk, and whether it can be relied on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any
from uuid import UUID

from sqlalchemy import and_, func, select
from sqlalchemy.orm import Session

from models.chunk import DIGEST, Chunk, ChunkState

FIRST = 1
"""Number of the chunk that the file begins with; its entry says what the whole comes to."""
_SAID = "sha256:"
_LOOK = 64
"""Chunks that are looked at together."""


@dataclass(frozen=True)
class Prefix:
    """What has arrived from the first byte on: its last chunk, its bytes.

    `is_whole` says that nothing is behind it, `movers` how many chunks behind it are in
    somebody's hands now. `is_clean` is False once a chunk that was looked at was claimed twice.
    """

    number: int
    end: int
    is_whole: bool = False
    movers: int = 0
    is_clean: bool = True


def longer_prefix(session: Session, transfer_id: UUID, known: Prefix) -> Prefix:
    """The prefix as it is by now; the chunks of the `known` one are not read again."""
    columns = (
        Chunk.number,
        (Chunk.offset + Chunk.length).label("end"),
        (Chunk.state == ChunkState.STORED).label("is_stored"),
        and_(Chunk.state == ChunkState.MOVING, Chunk.lease_until > func.now()).label("is_held"),
        (Chunk.epoch > 1).label("is_again"),
    )
    behind = (
        select(*columns)
        .where(Chunk.transfer_id == transfer_id, Chunk.number > known.number)
        .order_by(Chunk.number)
        .limit(_LOOK)
    )
    return _grown(known, session.execute(behind).all())


def _grown(known: Prefix, rows: Sequence[Any]) -> Prefix:
    stored = list(takewhile(lambda row: row.is_stored, rows))
    behind = rows[len(stored) :]
    return Prefix(
        stored[-1].number if stored else known.number,
        stored[-1].end if stored else known.end,
        is_whole=len(stored) == len(rows) < _LOOK,
        movers=sum(bool(row.is_held) for row in behind),
        is_clean=known.is_clean and not any(row.is_again for row in rows),
    )


def entry_of(digest: str) -> str:
    """What the first chunk's entry says, in place of an ETag, of the SHA-256 of the whole."""
    return _SAID + digest


def digest_of(session: Session, transfer_id: UUID) -> str | None:
    """The SHA-256 that was computed while the chunks arrived; None where it says nothing.

    It says nothing once a chunk was claimed twice: whoever lost it may have written after it
    was read. All chunks of a transfer that is being assembled are stored, and no such chunk
    is claimed again: what is true then stays true.
    """
    again = func.count().filter(Chunk.epoch != 1)
    said = func.max(Chunk.etag).filter(Chunk.number == FIRST)
    counts = select(again, said).where(Chunk.transfer_id == transfer_id, Chunk.number != DIGEST)
    claimed_again, entry = session.execute(counts).one()
    if claimed_again or not entry or not entry.startswith(_SAID):
        return None
    return str(entry.removeprefix(_SAID))
