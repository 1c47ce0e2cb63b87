"""Messages that the broker gave up: each is tied to its transfer, and shown."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Identity, Index, UniqueConstraint, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base


class DeadLetter(Base):
    """One such message, without what was in it: a body may hold anything, a header a token.

    `reason` is the broker's (`delivery_limit`, `expired`, `rejected`, `maxlen`), `queue` where
    it died, `deaths` how often it did there. `fingerprint` is of the message and its death, so
    that the same one twice is one row. No foreign key: the message of a request that was never
    accepted has no row.
    """

    __tablename__ = "dead_letters"
    __table_args__ = (
        UniqueConstraint("fingerprint"),
        Index(None, "transfer_id"),
        Index(None, "at"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    at: Mapped[datetime] = mapped_column(server_default=func.now())
    fingerprint: Mapped[str]
    queue: Mapped[str]
    reason: Mapped[str]
    task: Mapped[str | None]
    task_id: Mapped[str | None]
    transfer_id: Mapped[UUID | None]
    deaths: Mapped[int | None]
    detail: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
