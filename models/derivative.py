"""Derivatives: files made from a transferred file, such as thumbnails."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, ForeignKey, UniqueConstraint, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base


class Derivative(Base):
    """One derivative; kind and parameters name it, so that making it twice makes one."""

    __tablename__ = "derivatives"
    __table_args__ = (UniqueConstraint("transfer_id", "kind", "parameters"),)

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=text("gen_random_uuid()"))
    transfer_id: Mapped[UUID] = mapped_column(ForeignKey("transfers.id", ondelete="CASCADE"))
    kind: Mapped[str]
    parameters: Mapped[str]
    state: Mapped[str] = mapped_column(server_default="due")
    object_name: Mapped[str | None]
    size: Mapped[int | None] = mapped_column(BigInteger)
    sha256: Mapped[str | None]
    detail: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())
