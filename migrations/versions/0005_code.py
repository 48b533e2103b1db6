"""Each worker says what code it has, so that anybody can tell which worker can run a saga.

The column may be empty: a process of an earlier version inserts its row without it, during and after the upgrade.

Revision: 0005, after 0004
"""

import sqlalchemy as sa
from alembic import op

from saga_es.store.drivers.columns import JsonText
from saga_es.store.drivers.names import full, ours

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

COMMENT = "what it can run; NULL: a process of an earlier version"


def upgrade() -> None:
    """Add the column, unless a killed upgrade has added it."""
    bind = op.get_bind()
    columns = {column["name"] for column in sa.inspect(bind).get_columns(full(bind, "saga_workers"))}
    if "code" not in columns:
        op.add_column(ours("saga_workers"), sa.Column("code", JsonText, nullable=True, comment=COMMENT))


def downgrade() -> None:
    """Drop the column."""
    op.drop_column(ours("saga_workers"), "code")
