"""Kill -9 of processes that keep a schedule: each time is one start, and none is lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import TextIO

import pytest

from saga_es.core.schedules import ScheduleAdvanced
from saga_es.runtime.ids import schedule_id
from saga_es.store.admin import migrate
from saga_es.store.log.codec import SAGA
from tests.e2e.conftest import environment
from tests.support import processes
from tests.support.databases import fresh_database
from tests.support.processes import ROOT
from tests.support.schedule_keeper import BEGIN, MINUTES, node_at

TIMEOUT_S = 60.0


class Keepers:
    """Processes that keep the schedule at one database."""

    def __init__(self, url: str, stack: ExitStack) -> None:
        self._url, self._stack, self._number = url, stack, 0

    def start(self) -> tuple[processes.Process, TextIO]:
        """Another one; and what it says."""
        self._number += 1
        module = "tests.support.schedule_keeper"
        process, saying = processes.start(module, self._url, str(self._number), cwd=ROOT, env=environment())
        self._stack.callback(saying.close)
        self._stack.callback(_end, process)
        return process, saying


def _end(process: processes.Process) -> None:
    if process.poll() is None:
        process.kill()
        process.wait(TIMEOUT_S)


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A migrated database of each kind."""
    with fresh_database(request.param, tmp_path) as found:
        node = node_at(found)
        migrate.upgrade(node.database, node.store.log, node.views)
        node.database.close()
        yield found


def reach(saying: TextIO, minute: int) -> None:
    """Read on until that minute is said."""
    for line in saying:
        if line.strip() == str(minute):
            return
    raise AssertionError(f"it ended before minute {minute}")


def test_processes_that_are_killed_start_one_saga_for_each_time(url: str) -> None:
    """Two keep it; one is killed again and again, in the middle of what it does, and another comes in its place."""
    with ExitStack() as stack:
        keepers = Keepers(url, stack)
        others = [keepers.start() for _ in range(2)]
        for round_ in range(1, 5):
            process, saying = others.pop(0)
            reach(saying, round_ * 12)
            process.kill()
            process.wait(TIMEOUT_S)
            others.append(keepers.start())
        for process, saying in others:
            reach(saying, MINUTES)
            assert process.wait(TIMEOUT_S) == 0
    node = node_at(url)
    entries = [entry for entry in node.store.log.walk() if entry.category == SAGA]
    due = Counter(node.store.log.decode(entry).event.tags["due_at"] for entry in entries)
    minutes = [BEGIN + timedelta(minutes=minute) for minute in range(1, MINUTES + 1)]
    assert due == Counter(at.isoformat().replace("+00:00", "Z") for at in minutes)
    history = [recorded.event for recorded in node.store.log.read(schedule_id("report"))]
    said = [start for event in history if isinstance(event, ScheduleAdvanced) for start in event.started]
    assert [start.due_at for start in said] == minutes
    assert {start.saga_id for start in said} == {entry.stream_id for entry in entries}
    node.database.close()
