"""Batches: many uploads by one request; which file a copy that is on its way is of.

Revision: 0007, after 0006
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None
OLDEST_CODE = "0006"
"""The oldest version of the fleet, by its newest migration, that works with what is then there."""

COPYING = "ix_transfers_copying"
LIVE_COPY = "kind = 'copy' AND state IN ('queued', 'planned', 'moving', 'assembling', 'paused')"


def upgrade() -> None:
    op.create_table(
        "parcels",
        sa.Column("transfer_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("files", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("share_with", sa.ARRAY(sa.String()), server_default="{}", nullable=False),
        sa.ForeignKeyConstraint(
            ["transfer_id"],
            ["argosy.transfers.id"],
            name=op.f("fk_parcels_transfer_id_transfers"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("transfer_id", "number", name=op.f("pk_parcels")),
        schema="argosy",
    )
    _kinds("'upload', 'download', 'copy', 'batch'")
    # A sweep asks for each file whether it is being copied. Only copies on their way are in it.
    op.create_index(
        COPYING,
        "transfers",
        [sa.text("(copied_from ->> 'bucket')"), sa.text("(copied_from ->> 'path')")],
        schema="argosy",
        postgresql_where=sa.text(LIVE_COPY),
    )


def downgrade() -> None:
    op.drop_index(COPYING, "transfers", schema="argosy")
    op.execute("DELETE FROM argosy.transfers WHERE kind = 'batch'")
    _kinds("'upload', 'download', 'copy'")
    op.drop_table("parcels", schema="argosy")


def _kinds(kinds: str) -> None:
    op.execute(
        "ALTER TABLE argosy.transfers DROP CONSTRAINT ck_transfers_kind, "
        f"ADD CONSTRAINT ck_transfers_kind CHECK (kind IN ({kinds}))"
    )
