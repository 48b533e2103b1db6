"""Commands that take many sagas, and a log that is read on from where it was left."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from saga_es import Saga, open_engine
from tests.e2e.conftest import TIMEOUT_S, environment, run_cli
from tests.support.processes import ROOT

SAGAS = [f"trip-{number}" for number in range(3)]
WHY = ("--reason", "the venue burnt down", "--actor", "ann")


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A database with three sagas that wait for a signal, and no engine."""
    made = f"sqlite:///{tmp_path}/saga.db"
    trip = Saga("trip")
    trip.wait_for("approval", timeout_s=None)
    with open_engine(made, trip) as engine:
        for saga_id in SAGAS:
            engine.start(trip, saga_id=saga_id)
    return made


def run(url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run_cli(*arguments, "--database-url", url)


def events(url: str, *arguments: str) -> list[dict[str, object]]:
    done = run(url, "events", "--json", *arguments)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def paused(url: str) -> set[object]:
    return {event["stream_id"] for event in events(url, "--type", "SagaPaused")}


def test_a_command_takes_several_ids(url: str) -> None:
    """Each once, in one process, with a line for each that begins with its id."""
    done = run(url, "pause", *SAGAS[:2], SAGAS[0], *WHY)
    assert done.returncode == 0, done.stderr
    assert [line.partition(":")[0] for line in done.stdout.splitlines()] == SAGAS[:2]
    assert all(": Recorded the pause. The saga has been paused by ann" in line for line in done.stdout.splitlines())
    assert paused(url) == set(SAGAS[:2])


def test_what_is_refused_for_one_saga_stops_no_other(url: str) -> None:
    """The refusal stands on stderr with the id; the exit code is 1, and the last line has the numbers."""
    done = run(url, "pause", "nobody", SAGAS[1], *WHY)
    assert (done.returncode, paused(url)) == (1, {SAGAS[1]})
    first, last = done.stderr.splitlines()
    assert first.startswith("nobody: ")
    assert last == "saga-es: 1 of 2 sagas were left as they are"


def test_ids_come_from_stdin(url: str) -> None:
    """`-` stands for the words on stdin; none is a wrong usage."""
    command = [sys.executable, "-m", "saga_es", "pause", "-", *WHY, "--database-url", url]
    about = {"cwd": ROOT, "env": environment(), "capture_output": True, "text": True, "timeout": TIMEOUT_S * 3}
    done = subprocess.run(command, input="\n".join(SAGAS), check=False, **about)  # type: ignore[call-overload]
    assert (done.returncode, paused(url)) == (0, set(SAGAS)), done.stderr
    done = subprocess.run(command, input=" \n", check=False, **about)  # type: ignore[call-overload]
    assert (done.returncode, done.stderr) == (2, "saga-es: stdin: there is no id on it\n")


def test_events_are_read_on_from_a_position(url: str) -> None:
    """Page by page gives the whole log, no event twice; a type is a filter; both hold for one saga, too."""
    whole = events(url)
    pages: list[dict[str, object]] = []
    while page := events(url, "--limit", "2", "--after", str(pages[-1]["position"] if pages else 0)):
        assert len(page) <= 2
        pages += page
    assert pages == whole
    assert len({event["type"] for event in whole}) > 1
    started = events(url, "--type", "SagaStarted", "--type", "WaitStarted", SAGAS[2])
    assert started == [e for e in whole if e["stream_id"] == SAGAS[2] and e["type"] in {"SagaStarted", "WaitStarted"}]


def test_a_log_that_is_followed_goes_on_after_a_position(url: str) -> None:
    """As reading does: the first that is printed is the next one, and --limit ends it."""
    whole = events(url)
    assert events(url, "--follow", "--after", str(whole[1]["position"]), "--limit", "2") == whole[2:4]


@pytest.mark.parametrize(("flags", "code"), [([], 2), (["--before", "2100-01-01", "--older-than", "1d"], 2)])
def test_an_archive_has_one_end(url: str, flags: list[str], code: int) -> None:
    """A date or an age: neither or both is a wrong usage, in one line with the cure."""
    done = run(url, "archive", "--dry-run", *flags)
    assert (done.returncode, done.stderr) == (
        code,
        "saga-es: give --before DATE or --older-than AGE: one of the two\n",
    )


def test_an_archive_takes_what_ended_so_long_ago(tmp_path: Path) -> None:
    """A saga of just now is older than no time, and not older than 90 days."""
    url = f"sqlite:///{tmp_path}/saga.db"
    done = Saga("done")
    done.delay("moment", 0.001)
    with open_engine(url, done) as engine:
        engine.start(done).result(TIMEOUT_S)
    for age, many in (("90d", 0), ("0", 1)):
        told = json.loads(run(url, "archive", "--older-than", age, "--dry-run", "--json").stdout)
        assert told == {"would_archive": many}
