"""`saga-es archive` and `import`, killed at any moment: nothing is lost, and run again they finish."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import sqlalchemy as sa

from saga_es.core import events as e
from saga_es.core.plan import plan_id
from saga_es.store.admin import migrate
from saga_es.store.archive.bundle import streams_in
from saga_es.store.database import Database
from saga_es.store.log.codec import IMPORT, PLAN, SAGA
from saga_es.store.log.entries import Draft, Entry
from saga_es.store.tables import saga_archives
from tests.conftest import AT, Store
from tests.e2e.conftest import environment, run_cli
from tests.support.processes import ROOT
from tests.support.story import ABC

SAGAS = 1500


def filled(url: str) -> Store:
    """A log of finished sagas."""
    store = Store.at(Database(url))
    migrate.upgrade(store.database, store.log, store.views)
    store.write(*(Draft(id_, PLAN, 0, (plan,), AT) for id_, plan in store.sagas.unrecorded([ABC])))
    started = e.SagaStarted("order", plan_id(ABC), {"name": "Show"}, "w1")
    done = (started, e.StepStarted("a", 1), e.StepCompleted("a", "x" * 200), e.SagaCompleted())
    store.write(*(Draft(f"s-{number}", SAGA, 0, done, AT) for number in range(SAGAS)))
    return store


def run_and_kill(arguments: list[str], url: str, when: Callable[[], bool]) -> None:
    """Run a command, and end it from one moment to the next, as soon as something is so."""
    process = subprocess.Popen(
        [sys.executable, "-m", "saga_es", *arguments],
        cwd=ROOT,
        env=environment(SAGA_ES_DATABASE_URL=url),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    while not when():
        assert process.poll() is None, process.communicate()
        time.sleep(0.001)
    process.kill()
    process.communicate()


def archived(store: Store) -> int:
    with store.database.reading() as connection:
        return connection.scalar(sa.select(sa.func.count()).select_from(saga_archives)) or 0


def everywhere(store: Store, folder: Path) -> dict[str, list[Entry]]:
    """Every saga: from the log, or from the archive that the log names for it."""
    found: dict[str, list[Entry]] = {}
    for entry in store.log.entries():
        if entry.category == SAGA:
            found.setdefault(entry.stream_id, []).append(entry)
    with store.database.reading() as connection:
        stones = {row.stream_id: row.archive for row in connection.execute(saga_archives.select())}
    assert not stones.keys() & found.keys(), "a saga is here or there"
    for archive in sorted(set(stones.values())):
        for entries in streams_in(folder / archive):
            if stones.get(entries[0].stream_id) == archive:
                found[entries[0].stream_id] = entries
    return found


def test_an_archive_and_an_import_that_are_killed_lose_nothing(tmp_path: Path) -> None:
    """After every kill each saga is whole, in the log or in the file that the log names."""
    url, folder = f"sqlite:///{tmp_path / 'saga.db'}", tmp_path / "archives"
    folder.mkdir()
    store = filled(url)
    whole, log = everywhere(store, folder), store.log.entries()
    assert len(whole) == SAGAS

    archive = ["archive", "--before", "2030-01-01", "--folder", str(folder)]
    moments: list[Callable[[], bool]] = [
        lambda: bool([*folder.glob("*.part")]),
        lambda: bool([*folder.glob("*.gz")]),
        lambda: archived(store) > 0,
        lambda: archived(store) >= SAGAS // 2,
    ]
    for moment in moments:
        run_and_kill(archive, url, moment)
        assert everywhere(store, folder) == whole
    assert SAGAS // 2 <= archived(store) < SAGAS, "the last was killed in the middle"
    done = run_cli(*archive, "--json", settings={"SAGA_ES_DATABASE_URL": url})
    assert json.loads(done.stdout)["moved_on"] == 0, done.stderr
    assert [entry.category for entry in store.log.entries()] == [PLAN]
    assert everywhere(store, folder) == whole

    archives = sorted(folder.glob("*.gz"))
    for left in (SAGAS - 1, SAGAS // 2):
        run_and_kill(["import", str(archives[0])], url, lambda left=left: archived(store) <= left)  # type: ignore[misc]
        assert everywhere(store, folder) == whole
    for path in archives:
        assert run_cli("import", str(path), settings={"SAGA_ES_DATABASE_URL": url}).returncode == 0
    entries = store.log.entries()
    assert [entry for entry in entries if entry.category != IMPORT] == log
    assert sum(entry.category == IMPORT for entry in entries) == SAGAS, "one for each, whenever it was killed"
    store.database.close()
