"""access by grants: grants, acts, buckets, heartbeats, and an audit with outcomes.

The functions and policies move to deploy/supabase, which `argosy bootstrap` applies. Until then
those of 0002 go on: to drop a policy would lock Storage's table, and nobody could read or write.

Revision: 0003, after 0002
"""

from __future__ import annotations

import sqlalchemy as sa

from alembic import context, op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

POLICIES = {
    "storage.objects": ("argosy_select", "argosy_insert", "argosy_update", "argosy_delete"),
    "storage.s3_multipart_uploads": ("argosy_uploads_select",),
    "storage.s3_multipart_uploads_parts": ("argosy_parts_select",),
}
FUNCTIONS = (
    "can_write(text, text)",
    "can_read(text, text)",
    "decide(uuid, text, text, text)",
    "covering(text)",
    "is_plain(text)",
    "token_issued(jsonb)",
    "password_attempted(jsonb)",
    "owns(uuid, text)",
    "is_enabled(uuid)",
)


def upgrade() -> None:
    _add_tables()
    _widen_the_audit()


def _drop_policies() -> None:
    """Those of 0002 and those of deploy/supabase, whichever are there."""
    for table, policies in POLICIES.items():
        for policy in policies:
            op.execute(f"DROP POLICY IF EXISTS {policy} ON {table}")
    for function in FUNCTIONS:
        op.execute(f"DROP FUNCTION IF EXISTS argosy.{function}")


def _add_tables() -> None:
    op.create_table(
        "buckets",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("retention_days", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_buckets")),
        schema="argosy",
    )
    op.create_table(
        "heartbeats",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_heartbeats")),
        schema="argosy",
    )
    op.create_table(
        "acts",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("agent_id", sa.Uuid(), nullable=False),
        sa.Column("request_sha256", sa.String(), nullable=False),
        sa.Column(
            "at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_acts")),
        schema="argosy",
    )
    op.create_index(op.f("ix_acts_at"), "acts", ["at"], schema="argosy")
    op.create_table(
        "grants",
        sa.Column("id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("bucket", sa.String(), nullable=False),
        sa.Column("path", sa.String(), nullable=False),
        sa.Column("agent_id", sa.Uuid(), nullable=True),
        sa.Column("role", sa.String(), nullable=True),
        sa.Column("access", sa.String(), nullable=False),
        sa.Column("granted_by", sa.Uuid(), nullable=False),
        sa.Column("transfer_id", sa.Uuid(), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(agent_id IS NULL) <> (role IS NULL)", name=op.f("ck_grants_one_grantee")
        ),
        sa.CheckConstraint("role IN ('admin', 'worker', 'reader')", name=op.f("ck_grants_role")),
        sa.CheckConstraint("access IN ('read', 'write')", name=op.f("ck_grants_access")),
        sa.ForeignKeyConstraint(
            ["agent_id"],
            ["argosy.agents.id"],
            name=op.f("fk_grants_agent_id_agents"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["transfer_id"],
            ["argosy.transfers.id"],
            name=op.f("fk_grants_transfer_id_transfers"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_grants")),
        sa.UniqueConstraint(
            "bucket",
            "path",
            "agent_id",
            "role",
            "access",
            name="uq_grants_once",
            postgresql_nulls_not_distinct=True,
        ),
        schema="argosy",
    )
    op.create_index("ix_grants_agent", "grants", ["agent_id", "bucket", "path"], schema="argosy")
    op.create_index("ix_grants_transfer", "grants", ["transfer_id"], schema="argosy")


def _widen_the_audit() -> None:
    """What takes long comes before what locks; existing rows have the default, so none is checked."""
    op.create_index(op.f("ix_events_agent_id_id"), "events", ["agent_id", "id"], schema="argosy")
    op.add_column("events", sa.Column("object", sa.String(), nullable=True), schema="argosy")
    op.add_column(
        "events",
        sa.Column("outcome", sa.String(), server_default="ok", nullable=False),
        schema="argosy",
    )
    op.add_column("events", sa.Column("reason", sa.String(), nullable=True), schema="argosy")
    op.add_column("events", sa.Column("request_id", sa.String(), nullable=True), schema="argosy")
    op.execute(
        "ALTER TABLE argosy.events ADD CONSTRAINT ck_events_outcome "
        "CHECK (outcome IN ('ok', 'refused', 'failed')) NOT VALID"
    )


def downgrade() -> None:
    op.drop_index(op.f("ix_events_agent_id_id"), table_name="events", schema="argosy")
    for column in ("request_id", "reason", "outcome", "object"):
        op.drop_column("events", column, schema="argosy")
    for table in ("grants", "acts", "heartbeats", "buckets"):
        op.drop_table(table, schema="argosy")
    _drop_policies()
    earlier = context.script.get_revision("0002").module
    op.execute(earlier.FUNCTIONS)
    op.execute(earlier.POLICIES)
