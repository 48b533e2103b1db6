"""`saga-es erase` and `rotate`, killed before and after each statement: no key is lost, none is half gone."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from saga_es.store.proof.verify import verify_streams
from tests.conftest import migrated
from tests.e2e.conftest import TIMEOUT_S, environment, run_cli
from tests.support import processes
from tests.support.databases import fresh_database
from tests.support.encrypted import input_of, key_file, key_line, opened, purchase
from tests.support.processes import ROOT

KILLED = """
import os, signal, sys
import sqlalchemy as sa
from saga_es.cli import main

left, begun = int(sys.argv[1]), False

def count(connection, *more):
    global left, begun
    begun = begun or any("saga_subjects" in word for word in more if isinstance(word, str))
    left -= begun
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)

for moment in ("before_cursor_execute", "after_cursor_execute", "commit"):
    sa.event.listen(sa.engine.Engine, moment, count)
main(sys.argv[2:])
"""
"""A command that is killed at the n-th moment after the first statement about keys: before a statement, after it, and
before a commit."""

MOST_MOMENTS = 40


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with fresh_database(request.param, tmp_path, migrated) as url:
        yield url


def killed_at(moment: int, *words: str, **settings: str) -> bool:
    """Run a command; whether it was killed at this moment, and did not end before it."""
    done = processes.run("-c", KILLED, str(moment), *words, cwd=ROOT, env=environment(**settings), timeout=TIMEOUT_S)
    assert done.returncode in {0, -signal.SIGKILL}, done.stderr
    return done.returncode != 0


def test_an_erasure_that_is_killed_leaves_key_and_event_or_neither(database_url: str, tmp_path: Path) -> None:
    """At every moment; repeated, it finishes, and the log is whole."""
    keys = key_file(tmp_path)
    with opened(database_url, keys, purchase()) as node:
        saga_id = node.engine.start("purchase", input_of()).saga_id
    erasing = ("erase", "ada", "--reason", "request 17")
    states = []
    for moment in range(MOST_MOMENTS):
        was_killed = killed_at(moment, *erasing, SAGA_ES_DATABASE_URL=database_url)
        with opened(database_url, keys) as node:
            is_there = node.store.log.read(saga_id)[0].event.input == input_of()
            events = [entry for entry in node.store.log.entries() if entry.type == "SubjectErased"]
            assert len(events) == (0 if is_there else 1)
            with node.database.snapshot() as connection:
                assert list(verify_streams(connection, node.store.sagas, lambda _: None)) == []
        states.append(is_there)
        if not (was_killed and is_there):
            break
    assert states == sorted(states, reverse=True)
    assert len(states) > 4, "it was killed in between"
    again = run_cli(*erasing, settings={"SAGA_ES_DATABASE_URL": database_url})
    assert again.returncode == 3, again.stderr


def test_a_rotation_that_is_killed_leaves_every_key_readable(database_url: str, tmp_path: Path) -> None:
    """At every moment, with both lines; when it ends, the new line alone is enough."""
    old, new = key_line(), key_line()
    names = ("ada", "bob", "kim")
    with opened(database_url, key_file(tmp_path, old), purchase()) as node:
        ids = [node.engine.start("purchase", input_of(name)).saga_id for name in names]
    both = key_file(tmp_path, new, old)
    settings = {"SAGA_ES_DATABASE_URL": database_url, "SAGA_ES_ENCRYPTION_KEY_FILE": str(both)}
    kills = 0
    while killed_at(kills % 9, "rotate", **settings):  # each goes on where the one before was killed
        kills += 1
        with opened(database_url, both) as node:
            assert [node.store.log.read(id_)[0].event.input for id_ in ids] == list(map(input_of, names))
        assert kills < MOST_MOMENTS
    assert kills > 4, "it was killed in between"
    with opened(database_url, key_file(tmp_path, new)) as node:
        assert [node.store.log.read(id_)[0].event.input for id_ in ids] == list(map(input_of, names))
