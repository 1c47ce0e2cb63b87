"""The ledger of a transfer's chunks: each is claimed, moved and stored once."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, func, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base

DIGEST = 0
"""Number of the ledger's entry for the checksums of the whole file; parts count from 1."""


class ChunkState(StrEnum):
    """Where a chunk is."""

    WAITING = "waiting"
    QUEUED = "queued"
    MOVING = "moving"
    STORED = "stored"


STATES = ", ".join(f"'{state}'" for state in ChunkState)


class Chunk(Base):
    """One range of the file, or (number 0) the pass that computes its checksums.

    `lease_until` is the claim of the worker that moves it; `republish_at` says
    when a message that nobody answered is sent again. `xxh3` is the hash of a part of an upload
    as it was sent (`argosy.storage.part_hashes`), and in entry 0 the fold of all of them as the
    pass over the whole saw them; NULL where it was not taken: by a worker of the version before,
    of what goes in one piece or is encoded, of downloads, copies and batches.
    """

    __tablename__ = "chunks"
    __table_args__ = (
        CheckConstraint(f"state IN ({STATES})", name="state"),
        Index(
            "ix_chunks_due",
            "republish_at",
            postgresql_where=text("state IN ('queued', 'moving')"),
        ),
    )

    transfer_id: Mapped[UUID] = mapped_column(
        ForeignKey("transfers.id", ondelete="CASCADE"), primary_key=True
    )
    number: Mapped[int] = mapped_column(primary_key=True)
    offset: Mapped[int] = mapped_column(BigInteger)
    length: Mapped[int] = mapped_column(BigInteger)
    state: Mapped[str] = mapped_column(server_default=ChunkState.WAITING)
    epoch: Mapped[int] = mapped_column(server_default="0")
    lease_until: Mapped[datetime | None]
    worker: Mapped[str | None]
    attempts: Mapped[int] = mapped_column(server_default="0")
    publications: Mapped[int] = mapped_column(server_default="0")
    republish_at: Mapped[datetime] = mapped_column(server_default=func.now())
    etag: Mapped[str | None]
    xxh3: Mapped[int | None] = mapped_column(BigInteger)
    last_error: Mapped[str | None]
    stored_at: Mapped[datetime | None]
