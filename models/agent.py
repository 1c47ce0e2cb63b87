"""Agents: users of Supabase Auth that Argosy knows."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, func
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base


class Role(StrEnum):
    """What an agent is to the fleet."""

    ADMIN = "admin"
    WORKER = "worker"
    READER = "reader"


ROLES = ", ".join(f"'{role}'" for role in Role)


class Agent(Base):
    """One agent; `id` is its id in Supabase Auth, and its folder in every bucket.

    A limit that is None is the fleet's own, as the settings have it.
    """

    __tablename__ = "agents"
    __table_args__ = (
        CheckConstraint(f"role IN ({ROLES})", name="role"),
        CheckConstraint("weight BETWEEN 1 AND 1000", name="weight"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    role: Mapped[str] = mapped_column(server_default=Role.WORKER)
    disabled_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())

    # Its share of a busy fleet beside others', and its own limits over the fleet's.
    weight: Mapped[int] = mapped_column(server_default="1")
    max_bytes: Mapped[int | None] = mapped_column(BigInteger)
    max_transfers: Mapped[int | None]
    max_bytes_per_day: Mapped[int | None] = mapped_column(BigInteger)
    bytes_per_second: Mapped[int | None] = mapped_column(BigInteger)
