"""Each worker says up to which migration it knows the tables, so that newer ones know beside whom they work.

The column may be empty: 0.1.0 inserts its rows without it, during and after the upgrade.

Revision: 0006, after 0005; processes since 0003 can work on
"""

import sqlalchemy as sa
from alembic import op

from saga_es.store.drivers.columns import key_text
from saga_es.store.drivers.names import full, ours

revision = "0006_since_0003"
down_revision = "0005"
branch_labels = None
depends_on = None

COMMENT = "up to which migration it knows the tables; NULL: 0003"


def upgrade() -> None:
    """Add the column, unless a killed upgrade has added it."""
    bind = op.get_bind()
    columns = {column["name"] for column in sa.inspect(bind).get_columns(full(bind, "saga_workers"))}
    if "migration" not in columns:
        op.add_column(ours("saga_workers"), sa.Column("migration", key_text(16), nullable=True, comment=COMMENT))


def downgrade() -> None:
    """Drop the column."""
    op.drop_column(ours("saga_workers"), "migration")
