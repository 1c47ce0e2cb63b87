"""Provenance: how each thing that was made of a file was made. Rows are only added."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Identity, Index, func, select
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.base import Base


class Provenance(Base):
    """One step: what it was made from and of, with which code, and what came out.

    With the source's bytes, the parameters and the same versions (`code`) anybody can make
    the output again and compare its SHA-256.
    """

    __tablename__ = "provenance"
    __table_args__ = (
        Index("ix_provenance_transfer_id", "transfer_id", "id"),
        CheckConstraint("outcome IN ('made', 'failed', 'skipped')", name="outcome"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    transfer_id: Mapped[UUID] = mapped_column(ForeignKey("transfers.id", ondelete="CASCADE"))
    at: Mapped[datetime] = mapped_column(server_default=func.now())
    agent_id: Mapped[UUID | None]
    step: Mapped[str]
    parameters: Mapped[dict[str, Any]] = mapped_column(JSONB)
    outcome: Mapped[str]
    source_sha256: Mapped[str | None]
    output_sha256: Mapped[str | None]
    code: Mapped[dict[str, Any]] = mapped_column(JSONB)
    detail: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))


def note(
    session: Session,
    transfer_id: UUID,
    *,
    step: str,
    parameters: Mapping[str, Any],
    source_sha256: str | None,
    output_sha256: str | None,
    outcome: str = "made",
    code: Mapping[str, str] | None = None,
    agent_id: UUID | None = None,
    detail: Mapping[str, Any] | None = None,
) -> None:
    """Add a step. `outcome` is made, failed or skipped; `code` names versions."""
    session.add(
        Provenance(
            transfer_id=transfer_id,
            step=step,
            parameters=dict(parameters),
            outcome=outcome,
            source_sha256=source_sha256,
            output_sha256=output_sha256,
            code=dict(code or {}),
            agent_id=agent_id,
            detail=dict(detail) if detail else None,
        )
    )


def steps_of(session: Session, transfer_id: UUID) -> list[dict[str, Any]]:
    """Every step of a transfer in the order it was done, as plain JSON."""
    query = select(Provenance).where(Provenance.transfer_id == transfer_id).order_by(Provenance.id)
    return [_document(step) for step in session.scalars(query)]


def _document(step: Provenance) -> dict[str, Any]:
    names = ("step", "parameters", "outcome", "source_sha256", "output_sha256", "code", "detail")
    return {"at": step.at.isoformat()} | {name: getattr(step, name) for name in names}
