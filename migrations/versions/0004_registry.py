"""The registry: which tables saga_es made, so that it never touches one that it did not.

Revision: 0004, after 0003
"""

import sqlalchemy as sa
from alembic import op

from saga_es.store.drivers.columns import JsonText, UtcDateTime, key_text
from saga_es.store.drivers.names import ours

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table, unless saga_es made it before it called Alembic, to record what Alembic makes."""
    op.create_table(
        ours("saga_tables"),
        sa.Column("name", key_text(64), primary_key=True),
        sa.Column("fingerprint", key_text(64), primary_key=True, comment="of its columns"),
        sa.Column("kind", key_text(16), nullable=False),
        sa.Column("columns", JsonText, nullable=False),
        sa.Column("made_at", UtcDateTime, nullable=False),
        sa.Column("made_by", key_text(64), nullable=False, comment="the version of saga_es"),
        if_not_exists=True,
    )


def downgrade() -> None:
    """Leave the table: it still says which tables are ours."""
