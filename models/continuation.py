"""Continuations: the callers that wait for a transfer, and what they chained."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, Index, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base


class Continuation(Base):
    """What one caller's task id is owed: its result, and the rest of its chain.

    `request` holds what Celery's Task.replace would carry. `steps` are done with the
    file before the result is given, with the rights of `agent_id` (of the transfer's own
    agent, where that is not set); the result speaks of the object that is stored with
    `encoding`. `settled_at` is set once the result was recorded under `task_id`.
    """

    __tablename__ = "continuations"
    __table_args__ = (
        Index("ix_continuations_transfer", "transfer_id"),
        Index(
            "ix_continuations_owed",
            "republish_at",
            postgresql_where=text("settled_at IS NULL"),
        ),
    )

    task_id: Mapped[UUID] = mapped_column(primary_key=True)
    transfer_id: Mapped[UUID] = mapped_column(ForeignKey("transfers.id", ondelete="CASCADE"))
    request: Mapped[dict[str, Any]] = mapped_column(JSONB)
    agent_id: Mapped[UUID | None]
    steps: Mapped[list[dict[str, Any]] | None] = mapped_column(JSONB(none_as_null=True))
    encoding: Mapped[str | None]
    publications: Mapped[int] = mapped_column(server_default="0")
    republish_at: Mapped[datetime] = mapped_column(server_default=func.now())
    settled_at: Mapped[datetime | None]
