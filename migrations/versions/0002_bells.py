"""The table of notifications: a worker finds here that another process appended to one of its sagas.

Revision: 0002, after 0001
"""

import sqlalchemy as sa
from alembic import op

from saga_es.store.drivers.columns import key_text
from saga_es.store.drivers.names import ours

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        ours("saga_bells"),
        sa.Column("saga_id", key_text(64), primary_key=True),
        sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
        if_not_exists=True,
    )


def downgrade() -> None:
    """Drop the table. Commands that no worker has read yet wait for the next start of a worker."""
    op.drop_table(ours("saga_bells"))
