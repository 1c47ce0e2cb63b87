"""A transfer and its state machine. The row is the truth; a message is a hint."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base
from models.lane import Lane


class Kind(StrEnum):
    """Which way the bytes go. A batch is many uploads at once: each of its files has a row too."""

    UPLOAD = "upload"
    DOWNLOAD = "download"
    COPY = "copy"
    BATCH = "batch"


FILES = frozenset({Kind.UPLOAD, Kind.COPY})
"""Kinds whose rows, once completed, stand for a file in Storage."""
STORES = FILES | {Kind.BATCH}
"""Kinds that take up room there. Of a batch `stored_size` is what has no row of its own yet."""


class Priority(StrEnum):
    """How soon a transfer wants to move; each class has queues of its own."""

    URGENT = "urgent"
    NORMAL = "normal"
    BULK = "bulk"


class State(StrEnum):
    """Where a transfer is in its life."""

    QUEUED = "queued"
    PLANNED = "planned"
    MOVING = "moving"
    ASSEMBLING = "assembling"
    COMPLETED = "completed"
    PAUSED = "paused"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


_ENDS = (State.FAILED, State.CANCELLED)

TRANSITIONS: Mapping[State, frozenset[State]] = MappingProxyType(
    {
        State.QUEUED: frozenset({State.PLANNED, State.PAUSED, *_ENDS}),
        State.PLANNED: frozenset({State.MOVING, State.PAUSED, *_ENDS}),
        State.MOVING: frozenset({State.ASSEMBLING, State.PAUSED, *_ENDS}),
        State.ASSEMBLING: frozenset({State.COMPLETED, *_ENDS}),
        State.PAUSED: frozenset({State.QUEUED, State.MOVING, *_ENDS}),
        State.COMPLETED: frozenset({State.EXPIRED}),
        State.FAILED: frozenset(),
        State.CANCELLED: frozenset(),
        State.EXPIRED: frozenset(),
    }
)
"""The machine, as data: every change of state is one of these. `docs/states.md` draws it."""

ENDED = frozenset({State.COMPLETED, State.FAILED, State.CANCELLED, State.EXPIRED})
"""States in which nothing is left to do but to tell the caller and clean up."""


RUNNING = (
    "state IN ('planned', 'moving', 'assembling') OR state = 'queued' AND admitted_at IS NOT NULL"
)
"""SQL: a transfer that takes up one of the fleet's slots."""
WAITING = "state = 'queued' AND admitted_at IS NULL"
"""SQL: a transfer that waits for its turn."""
LIVE = "state IN ('queued', 'planned', 'moving', 'assembling', 'paused')"
"""SQL: a transfer that has not ended."""


def _one_of(values: type[StrEnum]) -> str:
    return ", ".join(f"'{value}'" for value in values)


class Transfer(Base):
    """One file on its way. `id` is the id of the task that asked for it."""

    __tablename__ = "transfers"
    __table_args__ = (
        CheckConstraint(f"kind IN ({_one_of(Kind)})", name="kind"),
        CheckConstraint(f"state IN ({_one_of(State)})", name="state"),
        CheckConstraint(f"priority IN ({_one_of(Priority)})", name="priority"),
        Index(
            "uq_transfers_idempotency",
            "agent_id",
            "idempotency_key",
            unique=True,
            postgresql_where=text("idempotency_key IS NOT NULL"),
        ),
        Index(
            "ix_transfers_due",
            "republish_at",
            postgresql_where=text(
                "state = 'assembling' OR state = 'queued' AND admitted_at IS NOT NULL"
            ),
        ),
        Index(
            "ix_transfers_unclean",
            "republish_at",
            postgresql_where=text("state IN ('failed', 'cancelled') AND cleaned_at IS NULL"),
        ),
        Index("ix_transfers_agent", "agent_id", "created_at"),
        Index(
            "ix_transfers_waiting",
            "agent_id",
            "turn_at",
            "id",
            postgresql_where=text(WAITING),
        ),
        Index("ix_transfers_running", "agent_id", postgresql_where=text(RUNNING)),
        Index("ix_transfers_live", "bucket", "object_name", postgresql_where=text(LIVE)),
        Index(
            "ix_transfers_usage",
            "agent_id",
            "state",
            "started_at",
            postgresql_include=["kind", "size", "stored_size"],
        ),
        Index(
            "uq_transfers_retry_of",
            "retry_of",
            unique=True,
            postgresql_where=text("retry_of IS NOT NULL"),
        ),
        Index(
            "ix_transfers_copying",
            text("(copied_from ->> 'bucket')"),
            text("(copied_from ->> 'path')"),
            postgresql_where=text(f"kind = 'copy' AND {LIVE}"),
        ),
        Index("ix_transfers_expiry", "expires_at", postgresql_where=text("state = 'completed'")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    kind: Mapped[str]
    state: Mapped[str] = mapped_column(server_default=State.QUEUED)
    agent_id: Mapped[UUID] = mapped_column(ForeignKey("agents.id"))
    request_sha256: Mapped[str]
    idempotency_key: Mapped[str | None]

    # Its turn: `turn_at` orders what waits of one agent, `admitted_at` is when it got a slot.
    priority: Mapped[str] = mapped_column(server_default=Priority.NORMAL)
    turn_at: Mapped[datetime] = mapped_column(server_default=func.now())
    admitted_at: Mapped[datetime | None]

    # The stage's claim: who plans or assembles, and until when that stands.
    epoch: Mapped[int] = mapped_column(server_default="0")
    lease_until: Mapped[datetime | None]
    worker: Mapped[str | None]
    attempts: Mapped[int] = mapped_column(server_default="0")
    republish_at: Mapped[datetime] = mapped_column(server_default=func.now())

    # The file, here and there.
    bucket: Mapped[str]
    object_name: Mapped[str]
    name: Mapped[str]
    content_type: Mapped[str]
    # What the agent says of it itself; SQLAlchemy has its own `metadata`.
    user_metadata: Mapped[dict[str, str] | None] = mapped_column(
        "metadata", JSONB(none_as_null=True)
    )
    path: Mapped[str]
    fingerprint: Mapped[dict[str, int] | None] = mapped_column(JSONB)
    size: Mapped[int | None] = mapped_column(BigInteger)
    sha256: Mapped[str | None]
    md5: Mapped[str | None]
    etag: Mapped[str | None]
    copied_from: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))

    # Of an object that is stored compressed; `compress` is what was asked.
    compress: Mapped[str | None]
    encoding: Mapped[str | None]
    encoding_level: Mapped[int | None]
    stored_size: Mapped[int | None] = mapped_column(BigInteger)
    stored_sha256: Mapped[str | None]
    stored_md5: Mapped[str | None]

    # The parts.
    upload_id: Mapped[str | None]
    part_size: Mapped[int | None] = mapped_column(BigInteger)
    part_count: Mapped[int | None]
    chunks_left: Mapped[int | None]
    bytes_done: Mapped[int] = mapped_column(BigInteger, server_default="0")

    # The outcome.
    reference: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    error_code: Mapped[str | None]
    error_message: Mapped[str | None]
    # Of a file that is gone from Storage: when, why, by whom.
    tombstone: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    # The failed transfer that this one does over again.
    retry_of: Mapped[UUID | None]

    progress_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    expires_at: Mapped[datetime | None]
    cleaned_at: Mapped[datetime | None]

    @property
    def lane(self) -> Lane:
        """Where messages about its bytes go."""
        return Lane(self.priority, self.path)

    @property
    def object_size(self) -> int | None:
        """Bytes of the object in Storage."""
        return self.size if self.stored_size is None else self.stored_size

    @property
    def object_md5(self) -> str | None:
        """MD5 of the object in Storage, where it is known."""
        return self.md5 if self.encoding is None else self.stored_md5
