"""Files whose time is over: what a retention sweep would remove, and what it would keep."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from models.agent import Agent
from models.moments import iso
from models.pins import is_pinned
from models.transfer import FILES, State, Transfer

BATCH = 500
"""Rows in memory at once."""


@dataclass(frozen=True)
class Overdue:
    """One file past its time; `size` in bytes."""

    transfer: UUID
    place: str
    agent: str
    size: int | None
    expires_at: datetime
    is_pinned: bool

    @property
    def act(self) -> str:
        """What a sweep does with it."""
        return "keep" if self.is_pinned else "remove"

    @property
    def why(self) -> str:
        """Why, in words."""
        if self.is_pinned:
            return "a message that is on its way names it"
        return "its time has ended, and no message names it"

    def document(self) -> dict[str, Any]:
        """As plain JSON types."""
        return {
            "act": self.act,
            "file": self.place,
            "transfer": str(self.transfer),
            "agent": self.agent,
            "size": self.size,
            "expires_at": iso(self.expires_at),
            "why": self.why,
        }


def overdue(session: Session, bucket: str, *, pin_days: float) -> Iterator[Overdue]:
    """Every file of the bucket whose time has ended, the longest over first.

    By `ix_transfers_expiry`, in batches. A file that its agent has deleted is not there.
    """
    query = (
        select(
            Transfer.id,
            Transfer.bucket,
            Transfer.object_name,
            Agent.name,
            Transfer.size,
            Transfer.expires_at,
            is_pinned(pin_days).label("is_pinned"),
        )
        .join(Agent, Agent.id == Transfer.agent_id)
        .where(Transfer.state == State.COMPLETED, Transfer.kind.in_(FILES))
        .where(Transfer.bucket == bucket, Transfer.expires_at <= func.now())
        .order_by(Transfer.expires_at)
    )
    for row in session.execute(query.execution_options(yield_per=BATCH)):
        yield Overdue(
            row.id,
            f"{row.bucket}/{row.object_name}",
            row.name,
            row.size,
            row.expires_at,
            row.is_pinned,
        )
