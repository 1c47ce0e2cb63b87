"""Derivatives: what is made of a stored file, or learnt of it; each is claimed and made once."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, UniqueConstraint, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base


class Making(StrEnum):
    """Where a derivative is."""

    DUE = "due"
    MADE = "made"
    FAILED = "failed"
    SKIPPED = "skipped"


STATES = ", ".join(f"'{state}'" for state in Making)


class Derivative(Base):
    """One derivative; kind and parameters name it, so that making it twice makes one.

    `agent_id` is whose rights it is made with, `task_id` the request for which it is held.
    `object_name` is noted before anything is stored there; it is None for what was only
    learnt: then `detail` has it. `reason` says why it failed or was skipped.
    """

    __tablename__ = "derivatives"
    __table_args__ = (
        UniqueConstraint("transfer_id", "kind", "parameters"),
        CheckConstraint(f"state IN ({STATES})", name="state"),
        Index("ix_derivatives_due", "republish_at", postgresql_where=text("state = 'due'")),
        Index(
            "ix_derivatives_made",
            "object_name",
            postgresql_ops={"object_name": "text_pattern_ops"},
            postgresql_include=["size"],
            postgresql_where=text("state = 'made'"),
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=text("gen_random_uuid()"))
    transfer_id: Mapped[UUID] = mapped_column(ForeignKey("transfers.id", ondelete="CASCADE"))
    agent_id: Mapped[UUID | None] = mapped_column(ForeignKey("agents.id"))
    kind: Mapped[str]
    parameters: Mapped[str]
    state: Mapped[str] = mapped_column(server_default=Making.DUE)

    # The claim: who makes it, and until when that stands.
    epoch: Mapped[int] = mapped_column(server_default="0")
    attempts: Mapped[int] = mapped_column(server_default="0")
    lease_until: Mapped[datetime | None]
    worker: Mapped[str | None]
    task_id: Mapped[UUID | None]
    republish_at: Mapped[datetime] = mapped_column(server_default=func.now())

    # What came of it.
    object_name: Mapped[str | None]
    content_type: Mapped[str | None]
    size: Mapped[int | None] = mapped_column(BigInteger)
    sha256: Mapped[str | None]
    md5: Mapped[str | None]
    width: Mapped[int | None]
    height: Mapped[int | None]
    error_code: Mapped[str | None]
    reason: Mapped[str | None]
    detail: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))

    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())
