"""Requests that are done at once and move no bytes: a share, a deletion."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import Index, func
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base


class Act(Base):
    """One such request: the same id again must be the same request of the same agent."""

    __tablename__ = "acts"
    __table_args__ = (Index(None, "at"),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    agent_id: Mapped[UUID]
    request_sha256: Mapped[str]
    at: Mapped[datetime] = mapped_column(server_default=func.now())
