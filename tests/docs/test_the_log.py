"""What docs/the-log.md says of the log is so: the columns, the hash computed by hand, the refusals."""

from __future__ import annotations

import re
import subprocess
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from saga_es.store.log.chain import event_hash, genesis
from saga_es.store.tables import saga_events
from tests.conftest import Store, note_draft
from tests.docs.pages import DOCS

PAGE = (DOCS / "the-log.md").read_text()
COMMANDS = re.findall(r"^\$ (printf .*)\n(.*)$", PAGE, flags=re.MULTILINE)


def test_the_columns_are_those_of_the_table() -> None:
    """All of them, in their order."""
    table = PAGE.partition("| column |")[2].partition("\n\n")[0]
    assert re.findall(r"^\| `(\w+)`", table, flags=re.MULTILINE) == [column.name for column in saga_events.columns]


def test_a_hash_can_be_computed_by_hand() -> None:
    """With nothing of ours: what the page types has the answer that it shows, and the code computes the same."""
    answers = []
    for command, shown in COMMANDS:
        done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True, timeout=30)
        assert done.stdout.rstrip("\n") == shown
        answers.append(shown.split()[0])
    at = datetime(2024, 2, 29, 23, 59, 58, 123457, tzinfo=UTC)
    event = event_hash(genesis("order-7"), "order-7", "saga", 1, "SagaStarted", 1, '{"name":"Żółć"}', at)
    assert answers == [genesis("order-7"), event]


REFUSED = {
    "UPDATE": "UPDATE saga_events SET type = 'x'",
    "DELETE": "DELETE FROM saga_events",
    "REPLACE": "REPLACE INTO saga_events SELECT * FROM saga_events",
    "TRUNCATE": "TRUNCATE saga_events",
}
COLUMN_OF = {"sqlite": 1, "postgresql": 2, "mysql": 3}


@pytest.mark.parametrize("change", REFUSED)
def test_each_database_refuses_what_the_table_says(store: Store, change: str) -> None:
    """A change that the page calls refused is; one that it says is not there is no statement of that database."""
    store.write(note_draft("n-1", "a"))
    row = next(line for line in PAGE.splitlines() if line.startswith(f"| {change}"))
    says = row.split("|")[1 + COLUMN_OF[store.database.driver.name]].strip()
    if says.startswith("not seen"):  # what the page warns of
        with store.database.engine.begin() as raw:
            raw.exec_driver_sql(REFUSED[change])
        assert store.log.entries() == []
        return
    expected = "syntax error" if says == "there is none" else "append-only"
    with pytest.raises(DBAPIError, match=expected), store.database.engine.begin() as raw:
        raw.execute(sa.text(REFUSED[change]))
    assert len(store.log.entries()) == 1
