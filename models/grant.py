"""Grants: what an agent, or every agent of a role, may do with somebody else's files."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, func
from sqlalchemy.orm import Mapped, mapped_column

from models.agent import ROLES
from models.base import Base


class Access(StrEnum):
    """What a grant allows; write is create, replace and delete, and reading too."""

    READ = "read"
    WRITE = "write"


class Grant(Base):
    """One grant. `path` is an object's name, or a folder's when it ends with a slash.

    The empty path is the whole bucket. A grant that was made for one transfer's
    file goes with its row, and never outlives the file. `ends_by` is the end that was said for
    it, which may be later than the file's.
    """

    __tablename__ = "grants"
    __table_args__ = (
        CheckConstraint("(agent_id IS NULL) <> (role IS NULL)", name="one_grantee"),
        CheckConstraint(f"role IN ({ROLES})", name="role"),
        CheckConstraint("access IN ('read', 'write')", name="access"),
        # Also the index of a decision: one path of one grantee is one look-up.
        UniqueConstraint(
            "bucket",
            "path",
            "agent_id",
            "role",
            "access",
            name="uq_grants_once",
            postgresql_nulls_not_distinct=True,
        ),
        # An agent may have thousands: never found by the agent alone.
        Index("ix_grants_agent", "agent_id", "bucket", "path"),
        Index("ix_grants_transfer", "transfer_id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=func.gen_random_uuid())
    bucket: Mapped[str]
    path: Mapped[str]
    agent_id: Mapped[UUID | None] = mapped_column(ForeignKey("agents.id", ondelete="CASCADE"))
    role: Mapped[str | None]
    access: Mapped[str]
    granted_by: Mapped[UUID]
    transfer_id: Mapped[UUID | None] = mapped_column(ForeignKey("transfers.id", ondelete="CASCADE"))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    expires_at: Mapped[datetime | None]
    ends_by: Mapped[datetime | None]
