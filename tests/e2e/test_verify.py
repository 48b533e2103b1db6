"""`saga-es verify`, `seal` and `keygen`: what they print, what they write, and how they exit."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from saga_es import Saga, open_engine
from saga_es.store.database import Database
from saga_es.store.verdicts import last
from tests.e2e.conftest import TIMEOUT_S, environment, run_cli


@dataclass(frozen=True)
class Sealed:
    """A database with three sagas, a pair of keys, and a seal."""

    folder: Path

    @property
    def url(self) -> str:
        """Where it is."""
        return f"sqlite:///{self.folder / 'shop.sqlite'}"

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command on that database."""
        return run_cli(*arguments, cwd=self.folder, settings={"SAGA_ES_DATABASE_URL": self.url})

    def verify(self, *more: str) -> subprocess.CompletedProcess[str]:
        """Verify the log against the seal."""
        seal, key = str(self.folder / "seal.ndjson"), str(self.folder / "key.pub")
        return self.run("verify", "--against", seal, "--public-key", key, *more)

    def rows(self, table: str) -> int:
        """Count a table: a view that follows the log has as many rows as it had come to when the engine closed."""
        connection = sqlite3.connect(self.folder / "shop.sqlite")
        ((count,),) = connection.execute(f"SELECT count(*) FROM {table}").fetchall()
        connection.close()
        return int(count)

    def tamper(self, *statements: str) -> None:
        """Change the database as somebody could who may drop triggers."""
        connection = sqlite3.connect(self.folder / "shop.sqlite")
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            connection.execute(statement)
        connection.commit()
        connection.close()


@pytest.fixture
def shop(tmp_path: Path) -> Sealed:
    """Sealed by the commands themselves."""
    order = Saga("order")
    order.step(compensation=None)(shipment)
    made = Sealed(tmp_path)
    with open_engine(made.url, order) as engine:
        for number in (1, 2, 3):
            engine.start(order, {}, saga_id=f"order-{number}").result(20)
    key = str(tmp_path / "key")
    assert run_cli("keygen", key).returncode == 0
    sealing = made.run("seal", str(tmp_path / "seal.ndjson"), "--key", key)
    assert sealing.returncode == 0, sealing.stderr
    assert "Sealed 4 streams" in sealing.stderr
    return made


def shipment() -> None:
    """Nothing to do."""


def test_a_log_that_is_whole_verifies(shop: Sealed) -> None:
    """Exit 0, nothing on stdout; as JSON the numbers."""
    rows = shop.rows("sagas") + shop.rows("saga_figures")
    plain = shop.verify()
    assert (plain.returncode, plain.stdout) == (0, "")
    assert f"13 events, 4 sealed streams, {rows} rows of views: all is intact." in plain.stderr
    machine = shop.run("verify", "--json")
    assert machine.returncode == 0
    nothing: dict[str, Any] = {"sealed": None, "found": 0, "differences": [], "uncompared": [], "archived": None}
    assert json.loads(machine.stdout) == {"events": 13, "rows": rows, **nothing}


def verdict(shop: Sealed) -> int | None:
    """The differences of the last verification, as the metrics have them."""
    database = Database(shop.url)
    with database.reading() as connection:
        found = last(connection)
    database.close()
    return None if found is None else found[0].differences


def test_what_a_whole_verification_found_is_kept_for_the_metrics(shop: Sealed) -> None:
    """A part says nothing of the whole; where the database takes no write, that is said, and changes no exit code."""
    assert shop.run("verify", "--view", "sagas").returncode == 0
    assert verdict(shop) is None
    shop.tamper("UPDATE sagas SET status = 'FAILED' WHERE saga_id = 'order-3'")
    assert shop.run("verify").returncode == 7
    assert verdict(shop) == 1
    shop.tamper("CREATE TRIGGER no BEFORE UPDATE ON saga_checkpoints BEGIN SELECT RAISE(ABORT, 'read-only'); END")
    refused = shop.run("verify")
    assert refused.returncode == 7
    assert "The result could not be recorded for the metrics" in refused.stderr
    assert "1 differences." in refused.stderr


def test_the_seal_is_lines_that_anybody_can_read(shop: Sealed) -> None:
    """A heading, the streams, and the signature; nobody but its owner can read the private key."""
    heading, *streams, closing = map(json.loads, (shop.folder / "seal.ndjson").read_text().splitlines())
    assert heading["saga_es_seal"] == 1
    assert [(stream_id, version) for stream_id, version, _ in streams][:3] == [(f"order-{n}", 4) for n in (1, 2, 3)]
    assert closing["streams"] == len(streams) == 4
    assert (shop.folder / "key").stat().st_mode & 0o777 == 0o600
    assert not (shop.folder / "seal.ndjson.part").exists()


def test_what_was_changed_is_printed_and_the_exit_code_is_7(shop: Sealed) -> None:
    """An edited event, a stream that is gone, a view that lies: a line each on stdout, the count on stderr; as JSON."""
    shop.tamper(
        "UPDATE sagas SET status = 'FAILED' WHERE saga_id = 'order-3'",
        "UPDATE saga_events SET data = data || ' ' WHERE stream_id = 'order-1' AND version = 3",
        "DELETE FROM saga_events WHERE stream_id = 'order-2'",
    )
    plain = shop.verify()
    assert plain.returncode == 7
    assert "stream order-1 at version 3: its hash does not fit the event" in plain.stdout
    assert "stream order-2 at version 4: it was sealed, and is gone" in plain.stdout
    assert "view sagas, row order-3, column status: is 'FAILED', should be 'COMPLETED'" in plain.stdout
    machine = shop.verify("--json")
    assert machine.returncode == 7
    told = json.loads(machine.stdout)
    assert told["found"] == len(told["differences"]) == len(plain.stdout.splitlines())
    gone = {"kind": "stream", "stream_id": "order-2", "version": 4, "rule": "it was sealed, and is gone"}
    assert gone in told["differences"]
    assert [d["column"] for d in told["differences"] if d["kind"] == "view" and d["key"] == "order-3"] == ["status"]
    assert shop.run("verify", "--view", "saga_tags").returncode == 0
    one = shop.run("verify", "--stream", "order-3")
    assert (one.returncode, one.stdout) == (0, "")


def test_what_is_found_goes_where_stdout_goes_also_beside_a_bar(shop: Sealed) -> None:
    """A terminal shows the bar, and the file that stdout is sent to has the differences."""
    shop.tamper("DELETE FROM saga_events WHERE stream_id = 'order-2' AND version = 3")
    screen, its_end = os.openpty()
    try:
        done = subprocess.run(
            [sys.executable, "-m", "saga_es", "verify"],
            cwd=shop.folder,
            env=environment(SAGA_ES_DATABASE_URL=shop.url, TERM="xterm"),
            stdout=subprocess.PIPE,
            stderr=its_end,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        shown = os.read(screen, 1 << 16).decode()
    finally:
        os.close(screen)
        os.close(its_end)
    assert done.returncode == 7
    assert "stream order-2 at version 4: version 3 is missing\n" in done.stdout
    assert "Verifying the log" in shown
    assert "is missing" not in shown


def test_a_seal_that_was_changed_is_a_difference(shop: Sealed) -> None:
    """Also where the log is whole: then somebody wants it to seem otherwise, or has had his hands on both."""
    path = shop.folder / "seal.ndjson"
    path.write_text(path.read_text().replace('"order-1",4', '"order-1",3'))
    found = shop.verify()
    assert found.returncode == 7
    assert found.stdout == f"seal {path}: its lines differ from the lines that were signed\n"


def test_archives_are_verified_with_the_log(shop: Sealed) -> None:
    """All is whole after archiving; a file that was changed, or is gone, is a difference."""
    folder = shop.folder / "archives"
    folder.mkdir()
    archiving = shop.run("archive", "--before", "2999-01-01", "--folder", str(folder))
    assert archiving.returncode == 0, archiving.stderr
    whole = shop.verify("--archives", str(folder))
    assert (whole.returncode, whole.stdout) == (0, "")
    assert "4 sealed streams, 3 archived streams" in whole.stderr
    (path,) = folder.iterdir()
    events = shop.run("events", "order-1")
    assert (events.returncode, path.name in events.stderr) == (3, True), "as for who asks for its story"
    path.write_bytes(path.read_bytes()[:-9])
    assert shop.verify("--archives", str(folder)).returncode == 7
    path.unlink()
    gone = shop.verify("--archives", str(folder))
    assert (gone.returncode, path.name in gone.stdout) == (7, True)


COUNTED = """
import sqlalchemy as sa
from saga_es import App
from saga_es.events import SagaStarted
from saga_es.views import Tally, key_text

saga, times = sa.Column("saga", key_text(99), primary_key=True), sa.Column("times", sa.Integer)


def counts(recorded):
    if isinstance(recorded.event, SagaStarted):
        yield {"saga": recorded.event.saga, "times": 1}


starts = Tally(sa.Table("starts", sa.MetaData(), saga, times), "saga", counts)
app = App(name="counted", version="1", views=[starts])
"""


def test_sums_made_anew_between_archive_and_import_are_told_and_mended(shop: Sealed) -> None:
    """They lack what is back; `import` names the command after which all verifies."""
    (shop.folder / "counted.py").write_text(COUNTED)
    app = ("--app", "counted")
    assert shop.run("db", "upgrade", *app).returncode == 0
    assert shop.run("archive", "--before", "2999-01-01", *app).returncode == 0
    assert shop.run("replay", *app).returncode == 0
    (path,) = shop.folder.glob("*.gz")
    back = shop.run("import", str(path), *app)
    assert "saga-es replay --view starts" in back.stderr
    lacking = shop.run("verify", *app)
    assert (lacking.returncode, lacking.stdout) == (7, "view starts, row order: it is missing\n")
    assert shop.run("replay", "--view", "starts", *app).returncode == 0
    assert shop.run("verify", *app).returncode == 0


def test_wrong_use_is_told(shop: Sealed) -> None:
    """A seal without a key, a stream that is not there, a public key to sign with, a key that is there already."""
    seal, key = str(shop.folder / "seal.ndjson"), str(shop.folder / "key")
    lonely = shop.run("verify", "--against", seal)
    assert (lonely.returncode, "--public-key" in lonely.stderr) == (2, True)
    assert shop.run("verify", "--stream", "nobody").returncode == 3
    assert shop.run("verify", "--view", "nothing").returncode == 3
    wrong = shop.run("seal", str(shop.folder / "new"), "--key", key + ".pub")
    assert (wrong.returncode, "key" in wrong.stderr) == (1, True)
    assert not list(shop.folder.glob("new*"))
    nowhere = shop.run("seal", str(shop.folder / "nowhere" / "new"), "--key", key)
    assert (nowhere.returncode, nowhere.stderr.count("\n")) == (1, 1), "one line, and no traceback"
    assert "No such file or directory" in nowhere.stderr
    again = run_cli("keygen", key)
    assert (again.returncode, "is there already" in again.stderr) == (1, True)
