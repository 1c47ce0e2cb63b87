"""Pins: a message that is on its way keeps the files that it names."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, Index, UniqueConstraint, func
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base


class Pin(Base):
    """One message's claim on one file.

    `agent_id` sent the message, `recipient_id` gets it: either may take the claim
    back. Message ids are their senders' to choose, so that one agent's says nothing
    of another's.
    """

    __tablename__ = "pins"
    __table_args__ = (
        # Also the index of what takes a message's pins back.
        UniqueConstraint(
            "message_id",
            "agent_id",
            "recipient_id",
            "bucket",
            "path",
            name="uq_pins_once",
            postgresql_nulls_not_distinct=True,
        ),
        Index("ix_pins_file", "bucket", "path"),
        Index("ix_pins_at", "at"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=func.gen_random_uuid())
    message_id: Mapped[UUID]
    agent_id: Mapped[UUID] = mapped_column(ForeignKey("agents.id", ondelete="CASCADE"))
    recipient_id: Mapped[UUID | None] = mapped_column(ForeignKey("agents.id", ondelete="CASCADE"))
    bucket: Mapped[str]
    path: Mapped[str]
    at: Mapped[datetime] = mapped_column(server_default=func.now())
