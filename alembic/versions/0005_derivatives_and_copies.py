"""derivatives as work that is claimed, copies, compressed objects, provenance.

Revision: 0005, after 0004
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

JSONB = postgresql.JSONB(astext_type=sa.Text())
NOW = sa.text("now()")


def upgrade() -> None:
    _derivatives()
    _transfers()
    for column in (
        sa.Column("agent_id", sa.Uuid()),
        sa.Column("steps", JSONB),
        sa.Column("encoding", sa.String()),
    ):
        op.add_column("continuations", column, schema="argosy")
    op.create_table(
        "provenance",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("transfer_id", sa.Uuid(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=NOW, nullable=False),
        sa.Column("agent_id", sa.Uuid(), nullable=True),
        sa.Column("step", sa.String(), nullable=False),
        sa.Column("parameters", JSONB, nullable=False),
        sa.Column("outcome", sa.String(), nullable=False),
        sa.Column("source_sha256", sa.String(), nullable=True),
        sa.Column("output_sha256", sa.String(), nullable=True),
        sa.Column("code", JSONB, nullable=False),
        sa.Column("detail", JSONB, nullable=True),
        sa.CheckConstraint(
            "outcome IN ('made', 'failed', 'skipped')", name=op.f("ck_provenance_outcome")
        ),
        sa.ForeignKeyConstraint(
            ["transfer_id"],
            ["argosy.transfers.id"],
            name=op.f("fk_provenance_transfer_id_transfers"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_provenance")),
        schema="argosy",
    )
    op.create_index(
        "ix_provenance_transfer_id", "provenance", ["transfer_id", "id"], schema="argosy"
    )


def _derivatives() -> None:
    for column in (
        sa.Column(
            "agent_id",
            sa.Uuid(),
            sa.ForeignKey("argosy.agents.id", name=op.f("fk_derivatives_agent_id_agents")),
        ),
        sa.Column("content_type", sa.String()),
        sa.Column("md5", sa.String()),
        sa.Column("width", sa.Integer()),
        sa.Column("height", sa.Integer()),
        sa.Column("error_code", sa.String()),
        sa.Column("reason", sa.String()),
        sa.Column("epoch", sa.Integer(), server_default="0", nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True)),
        sa.Column("worker", sa.String()),
        sa.Column("task_id", sa.Uuid()),
        sa.Column("republish_at", sa.DateTime(timezone=True), server_default=NOW, nullable=False),
    ):
        op.add_column("derivatives", column, schema="argosy")
    op.execute(
        "ALTER TABLE argosy.derivatives ADD CONSTRAINT ck_derivatives_state "
        "CHECK (state IN ('due', 'made', 'failed', 'skipped'))"
    )
    op.create_index(
        "ix_derivatives_due",
        "derivatives",
        ["republish_at"],
        schema="argosy",
        postgresql_where=sa.text("state = 'due'"),
    )


def _transfers() -> None:
    for name, kind in (
        ("compress", sa.String()),
        ("encoding", sa.String()),
        ("encoding_level", sa.Integer()),
        ("stored_size", sa.BigInteger()),
        ("stored_sha256", sa.String()),
        ("stored_md5", sa.String()),
        ("copied_from", JSONB),
    ):
        op.add_column("transfers", sa.Column(name, kind), schema="argosy")
    _kinds("'upload', 'download', 'copy'")


def _kinds(kinds: str) -> None:
    op.execute(
        "ALTER TABLE argosy.transfers DROP CONSTRAINT ck_transfers_kind, "
        f"ADD CONSTRAINT ck_transfers_kind CHECK (kind IN ({kinds}))"
    )


def downgrade() -> None:
    op.drop_table("provenance", schema="argosy")
    for name in ("encoding", "steps", "agent_id"):
        op.drop_column("continuations", name, schema="argosy")
    op.execute("DELETE FROM argosy.transfers WHERE kind = 'copy'")
    _kinds("'upload', 'download'")
    for name in ("copied_from", "stored_md5", "stored_sha256", "stored_size"):
        op.drop_column("transfers", name, schema="argosy")
    for name in ("encoding_level", "encoding", "compress"):
        op.drop_column("transfers", name, schema="argosy")
    op.drop_index("ix_derivatives_due", "derivatives", schema="argosy")
    op.execute("ALTER TABLE argosy.derivatives DROP CONSTRAINT ck_derivatives_state")
    for name in ("republish_at", "task_id", "worker", "lease_until", "attempts", "epoch", "reason"):
        op.drop_column("derivatives", name, schema="argosy")
    for name in ("error_code", "height", "width", "md5", "content_type", "agent_id"):
        op.drop_column("derivatives", name, schema="argosy")
