"""pins, and what an agent says of its own file.

Revision: 0004, after 0003
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "pins",
        sa.Column("id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("message_id", sa.Uuid(), nullable=False),
        sa.Column("agent_id", sa.Uuid(), nullable=False),
        sa.Column("recipient_id", sa.Uuid(), nullable=True),
        sa.Column("bucket", sa.String(), nullable=False),
        sa.Column("path", sa.String(), nullable=False),
        sa.Column(
            "at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.ForeignKeyConstraint(
            ["agent_id"],
            ["argosy.agents.id"],
            name=op.f("fk_pins_agent_id_agents"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["recipient_id"],
            ["argosy.agents.id"],
            name=op.f("fk_pins_recipient_id_agents"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pins")),
        sa.UniqueConstraint(
            "message_id",
            "agent_id",
            "recipient_id",
            "bucket",
            "path",
            name="uq_pins_once",
            postgresql_nulls_not_distinct=True,
        ),
        schema="argosy",
    )
    op.create_index("ix_pins_file", "pins", ["bucket", "path"], schema="argosy")
    op.create_index("ix_pins_at", "pins", ["at"], schema="argosy")
    # Without a default: nothing of the table is written anew.
    op.add_column(
        "transfers",
        sa.Column("metadata", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        schema="argosy",
    )


def downgrade() -> None:
    op.drop_column("transfers", "metadata", schema="argosy")
    op.drop_table("pins", schema="argosy")
