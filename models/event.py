"""The audit: who did what to which object, and how it ended. Rows are added, never changed."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Identity, Index, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base


class Outcome(StrEnum):
    """How it ended."""

    OK = "ok"
    REFUSED = "refused"
    FAILED = "failed"


class Event(Base):
    """One thing that happened. No foreign keys: a record outlives what it is about.

    `name` is the operation, `object` is `bucket/name`, `reason` is an error's
    code, and `request_id` is the id of the task or request that asked.
    """

    __tablename__ = "events"
    __table_args__ = (
        Index(None, "transfer_id", "id"),
        Index(None, "agent_id", "id"),
        Index(None, "at"),
        Index("ix_events_deleted", "object", postgresql_where=text("name = 'file.deleted'")),
        CheckConstraint("outcome IN ('ok', 'refused', 'failed')", name="outcome"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    name: Mapped[str]
    agent_id: Mapped[UUID | None]
    transfer_id: Mapped[UUID | None]
    object: Mapped[str | None]
    outcome: Mapped[str] = mapped_column(server_default=Outcome.OK)
    reason: Mapped[str | None]
    request_id: Mapped[str | None]
    from_state: Mapped[str | None]
    to_state: Mapped[str | None]
    epoch: Mapped[int | None]
    worker: Mapped[str | None]
    detail: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
