"""Of each chunk the hash that ties the parts that were sent to the whole that was hashed.

It may be NULL: the version before leaves it out, and what it had a hand in is not compared.

Revision: 0008, after 0007
"""

from __future__ import annotations

import sqlalchemy as sa

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None
OLDEST_CODE = "0006"
"""The oldest version of the fleet, by its newest migration, that works with what is then there."""


def upgrade() -> None:
    op.add_column("chunks", sa.Column("xxh3", sa.BigInteger(), nullable=True), schema="argosy")


def downgrade() -> None:
    op.drop_column("chunks", "xxh3", schema="argosy")
