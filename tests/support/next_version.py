"""A version of saga_es that comes after this one: this tree, with what a next version may bring.

It adds a column that may be empty to the log, to the workers and to a built-in view, which it fills; and it knows an
event more. Its migration says that processes of this version can work on.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from saga_es.store.revision import HEAD, number
from tests.support.processes import ROOT

NEXT = f"{int(number(HEAD)) + 1:04}"
REVISION = f"{NEXT}_since_{number(HEAD)}"

MIGRATION = f"""
import sqlalchemy as sa
from alembic import op

from saga_es.store.drivers.names import ours

revision = "{REVISION}"
down_revision = "{HEAD}"


def upgrade() -> None:
    for table in ("saga_events", "saga_workers"):
        op.add_column(ours(table), sa.Column("zone", sa.String(9), nullable=True))
"""

CHANGES = (
    ("saga_es/store/revision.py", f'HEAD = "{HEAD}"', f'HEAD = "{REVISION}"'),
    (
        "saga_es/store/views/saga_view.py",
        '    sa.Column("deadline_at", UtcDateTime, comment="when it aborts"),\n',
        '    sa.Column("deadline_at", UtcDateTime, comment="when it aborts"),\n    sa.Column("zone", key_text(9)),\n',
    ),
    (
        "saga_es/store/views/saga_view.py",
        '        "deadline_at": started.deadline_at,\n',
        '        "deadline_at": started.deadline_at,\n        "zone": "here",\n',
    ),
    (
        "saga_es/store/log/codec.py",
        "        for category, event_type, _ in self._upcasters:\n",
        (
            '        self._decoders[SAGA, "SignalHeard"] = msgspec.json.Decoder(e.SignalReceived)\n'
            "        for category, event_type, _ in self._upcasters:\n"
        ),
    ),
)


def made(folder: Path) -> Path:
    """The next version, in a folder."""
    for name in ("saga_es", "migrations"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name, before, after in CHANGES:
        path = folder / name
        text = path.read_text()
        assert text.count(before) == 1, f"{name} has changed: {before!r}"
        path.write_text(text.replace(before, after))
    (folder / "migrations" / "versions" / f"{NEXT}_zone.py").write_text(MIGRATION)
    return folder
