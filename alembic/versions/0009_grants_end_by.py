"""Of each grant the end that was said for it, beside the one that it has now.

A grant ends with its file; when the file is kept for longer, so is the grant, but not beyond this.
It may be NULL: nothing was said, or the version before has made the grant.

Revision: 0009, after 0008
"""

from __future__ import annotations

import sqlalchemy as sa

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None
OLDEST_CODE = "0006"
"""The oldest version of the fleet, by its newest migration, that works with what is then there."""


def upgrade() -> None:
    ends_by = sa.Column("ends_by", sa.DateTime(timezone=True), nullable=True)
    op.add_column("grants", ends_by, schema="argosy")


def downgrade() -> None:
    op.drop_column("grants", "ends_by", schema="argosy")
