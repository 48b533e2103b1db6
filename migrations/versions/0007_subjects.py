"""The keys of the subjects of sagas, wrapped: a table that no archive and no export has.

Revision: 0007, after 0006; processes since 0003 can work on: they leave encrypted sagas alone
"""

import sqlalchemy as sa
from alembic import op

from saga_es.store.drivers.columns import UtcDateTime, key_text
from saga_es.store.drivers.names import ours

revision = "0007_since_0003"
down_revision = "0006_since_0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        ours("saga_subjects"),
        sa.Column("key_id", key_text(64), primary_key=True),
        sa.Column("tenant", key_text(255), nullable=False),
        sa.Column("subject", key_text(255), nullable=False),
        sa.Column("wrapped", key_text(1024), nullable=False, comment="the key, wrapped by another"),
        sa.Column("wrapped_by", key_text(255), nullable=False, comment="the name of the other key"),
        sa.Column("made_at", UtcDateTime, nullable=False),
        sa.UniqueConstraint("tenant", "subject"),
        if_not_exists=True,
    )


def downgrade() -> None:
    """Drop the table. Nobody can read what is encrypted any more."""
    op.drop_table(ours("saga_subjects"))
