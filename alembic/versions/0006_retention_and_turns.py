"""Tombstones, turns and limits, dead letters, rounds.

Every column may be left out by a worker of the version before: it knows nothing of them.

Revision: 0006, after 0005
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None
OLDEST_CODE = "0005"
"""The oldest version of the fleet, by its newest migration, that works with what is then there."""

JSONB = postgresql.JSONB(astext_type=sa.Text())
NOW = sa.text("now()")
INDEXES = {
    "ix_transfers_waiting": (
        ["agent_id", "turn_at", "id"],
        "state = 'queued' AND admitted_at IS NULL",
    ),
    "ix_transfers_running": (
        ["agent_id"],
        "state IN ('planned', 'moving', 'assembling') "
        "OR state = 'queued' AND admitted_at IS NOT NULL",
    ),
    "ix_transfers_live": (
        ["bucket", "object_name"],
        "state IN ('queued', 'planned', 'moving', 'assembling', 'paused')",
    ),
}
"""Each has the rows on their way only: quickly made, however many have ended."""
USAGE = "ix_transfers_usage"
"""What an agent has stored and moved, without a look at its rows; it has all of them."""
WHOLE_INDEXES = {f"transfers.{USAGE}"}
"""Nobody writes while it is made. No version was released before, so that no table is large."""
DERIVED = "ix_derivatives_made"
LIMITS = {
    "max_bytes": sa.BigInteger,
    "max_transfers": sa.Integer,
    "max_bytes_per_day": sa.BigInteger,
    "bytes_per_second": sa.BigInteger,
}


def upgrade() -> None:
    _transfers()
    op.add_column(
        "agents",
        sa.Column("weight", sa.Integer(), server_default="1", nullable=False),
        schema="argosy",
    )
    op.execute(
        "ALTER TABLE argosy.agents ADD CONSTRAINT ck_agents_weight "
        "CHECK (weight BETWEEN 1 AND 1000)"
    )
    for name, kind in LIMITS.items():
        op.add_column("agents", sa.Column(name, kind()), schema="argosy")
    _usage()
    _dead_letters()
    _rounds()
    # Few events are of deletions: a row whose object is gone is looked up among them alone.
    op.create_index(
        "ix_events_deleted",
        "events",
        ["object"],
        schema="argosy",
        postgresql_where=sa.text("name = 'file.deleted'"),
    )


def _transfers() -> None:
    for column in (
        sa.Column("priority", sa.String(), server_default="normal", nullable=False),
        sa.Column("turn_at", sa.DateTime(timezone=True), server_default=NOW, nullable=False),
        sa.Column("admitted_at", sa.DateTime(timezone=True)),
        sa.Column("tombstone", JSONB),
        sa.Column("retry_of", sa.Uuid()),
    ):
        op.add_column("transfers", column, schema="argosy")
    op.execute(
        "ALTER TABLE argosy.transfers ADD CONSTRAINT ck_transfers_priority "
        "CHECK (priority IN ('urgent', 'normal', 'bulk'))"
    )
    for name, (columns, where) in INDEXES.items():
        op.create_index(
            name, "transfers", columns, schema="argosy", postgresql_where=sa.text(where)
        )
    op.create_index(
        "uq_transfers_retry_of",
        "transfers",
        ["retry_of"],
        unique=True,
        schema="argosy",
        postgresql_where=sa.text("retry_of IS NOT NULL"),
    )
    _due("state = 'assembling' OR state = 'queued' AND admitted_at IS NOT NULL")


def _due(where: str) -> None:
    """What is to be sent again: nothing of those that wait, of which there may be very many."""
    op.drop_index("ix_transfers_due", "transfers", schema="argosy")
    op.create_index(
        "ix_transfers_due",
        "transfers",
        ["republish_at"],
        schema="argosy",
        postgresql_where=sa.text(where),
    )


def _usage() -> None:
    op.create_index(
        USAGE,
        "transfers",
        ["agent_id", "state", "started_at"],
        schema="argosy",
        postgresql_include=["kind", "size", "stored_size"],
    )
    op.create_index(
        DERIVED,
        "derivatives",
        ["object_name"],
        schema="argosy",
        postgresql_ops={"object_name": "text_pattern_ops"},
        postgresql_include=["size"],
        postgresql_where=sa.text("state = 'made'"),
    )


def _dead_letters() -> None:
    op.create_table(
        "dead_letters",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=NOW, nullable=False),
        sa.Column("fingerprint", sa.String(), nullable=False),
        sa.Column("queue", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("task", sa.String()),
        sa.Column("task_id", sa.String()),
        sa.Column("transfer_id", sa.Uuid()),
        sa.Column("deaths", sa.Integer()),
        sa.Column("detail", JSONB),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dead_letters")),
        sa.UniqueConstraint("fingerprint", name=op.f("uq_dead_letters_fingerprint")),
        schema="argosy",
    )
    for column in ("transfer_id", "at"):
        op.create_index(
            op.f(f"ix_dead_letters_{column}"), "dead_letters", [column], schema="argosy"
        )


def _rounds() -> None:
    op.create_table(
        "rounds",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), server_default=NOW, nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True)),
        sa.Column("counts", JSONB),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rounds")),
        schema="argosy",
    )
    op.create_index(op.f("ix_rounds_name_id"), "rounds", ["name", "id"], schema="argosy")


def downgrade() -> None:
    op.drop_index("ix_events_deleted", "events", schema="argosy")
    op.drop_table("rounds", schema="argosy")
    op.drop_table("dead_letters", schema="argosy")
    op.drop_index(DERIVED, "derivatives", schema="argosy")
    op.drop_index(USAGE, "transfers", schema="argosy")
    op.execute("ALTER TABLE argosy.agents DROP CONSTRAINT ck_agents_weight")
    for name in (*LIMITS, "weight"):
        op.drop_column("agents", name, schema="argosy")
    _due("state IN ('queued', 'assembling')")
    for name in (*INDEXES, "uq_transfers_retry_of"):
        op.drop_index(name, "transfers", schema="argosy")
    op.execute("ALTER TABLE argosy.transfers DROP CONSTRAINT ck_transfers_priority")
    for name in ("retry_of", "tombstone", "admitted_at", "turn_at", "priority"):
        op.drop_column("transfers", name, schema="argosy")
