"""The audit: what happened, in order. Rows are added, never changed."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Identity, Index, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base


class Event(Base):
    """One thing that happened. No foreign keys: a record outlives what it is about."""

    __tablename__ = "events"
    __table_args__ = (Index(None, "transfer_id", "id"), Index(None, "at"))

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    name: Mapped[str]
    agent_id: Mapped[UUID | None]
    transfer_id: Mapped[UUID | None]
    from_state: Mapped[str | None]
    to_state: Mapped[str | None]
    epoch: Mapped[int | None]
    worker: Mapped[str | None]
    detail: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
