"""The command line: what it prints where, and how it exits."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

import services
from tests.api.conftest import Served, opened
from tests.api.test_execute import EXECUTE, body_of
from tests.e2e.conftest import TIMEOUT_S, assert_refused, environment, run_cli
from tests.support.processes import ROOT

UNKNOWN = "5f2a3f0e-93a1-4d0c-8f0d-2c5e7d0f1a11"


@dataclass(frozen=True)
class Shelf:
    """A database with a completed saga and one that failed at the venue."""

    url: str
    served: Served
    completed: str
    failed: str

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command on it."""
        return run_cli(*arguments, "--database-url", self.url)


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shelf]:
    """The tests of this module only read it."""
    url = f"sqlite:///{tmp_path_factory.mktemp('shelf') / 'saga.sqlite'}"
    with ExitStack() as stack:
        served = opened(stack, url, services.app)
        completed = body_of(served.client.post(EXECUTE, json={"name": "Concert"}), 200)
        failed = body_of(served.client.post(EXECUTE, json={"name": "Concert", "fail_at_step": "venue"}), 409)
        yield Shelf(url, served, completed["transaction_id"], failed["transaction_id"])


def data_of(done: subprocess.CompletedProcess[str]) -> str:
    """What a command printed to stdout; it went well and had nothing else to say."""
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


# ── list ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_list_prints_one_line_a_saga_newest_first(shelf: Shelf) -> None:
    """With id, name, status and error; nothing is cut off when it goes to a pipe."""
    heading, *lines = data_of(shelf.run("list")).splitlines()
    assert heading.split()[:3] == ["id", "name", "status"]
    assert [line.split()[:3] for line in lines] == [
        [shelf.failed, "create-event", "COMPENSATED"],
        [shelf.completed, "create-event", "COMPLETED"],
    ]
    assert "simulate_failure" in lines[0]


def test_list_as_json_is_what_the_api_answers(shelf: Shelf) -> None:
    """The same members and order, also with a filter and on the second page."""
    assert json.loads(data_of(shelf.run("list", "--json"))) == shelf.served.client.get("/api/saga/list").get_json()
    only = json.loads(data_of(shelf.run("list", "--json", "--status", "COMPLETED", "--name", "create-event")))
    assert [saga["transaction_id"] for saga in only["transactions"]] == [shelf.completed]
    page = json.loads(data_of(shelf.run("list", "--json", "--limit", "1")))
    rest = json.loads(data_of(shelf.run("list", "--json", "--limit", "1", "--cursor", page["next_cursor"])))
    assert [saga["transaction_id"] for saga in rest["transactions"]] == [shelf.completed]
    assert rest["next_cursor"] is None


def test_the_cursor_for_people_goes_to_stderr(shelf: Shelf) -> None:
    """Stdout holds the table and nothing else."""
    done = shelf.run("list", "--limit", "1")
    assert done.returncode == 0
    assert "--cursor" in done.stderr
    assert "--cursor" not in done.stdout


def test_list_at_a_position_shows_the_sagas_as_they_were_there(shelf: Shelf) -> None:
    """When the first saga had begun there was no other, and it ran; filters hold as ever."""
    begun = shelf.served.client.get(f"/api/saga/{shelf.completed}/events").get_json()["events"][0]["position"]
    (saga,) = json.loads(data_of(shelf.run("list", "--at", str(begun), "--json")))["transactions"]
    assert (saga["transaction_id"], saga["status"]) == (shelf.completed, "IN_PROGRESS")
    assert data_of(shelf.run("list", "--at", str(begun), "--status", "COMPLETED")).strip() == "No sagas."
    assert data_of(shelf.run("list", "--at", "0")).strip() == "No sagas."
    assert_refused(shelf.run("list", "--at", "99999999"), 3)


# ── show ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_show_tells_the_story_of_a_failed_saga_in_sentences_and_in_order(shelf: Shelf) -> None:
    """From its start over the failure at the venue to the last thing undone, numbered like the log."""
    lines = data_of(shelf.run("show", shelf.failed)).splitlines()

    story = lines[lines.index("") + 1 :]
    sentences = [
        "The saga create-event began on worker-",
        "Step event is called.",
        "Step event is done: ",
        "Step event_details is called.",
        "Step event_details is done: ",
        "Step venue is called.",
        "Step venue failed for good at attempt 1 (rejected): HTTP 409: Venue was asked to fail",
        "The saga aborts because of step venue: what was done is undone, last first.",
        "Step event_details is being undone.",
        "Step event_details is undone.",
        "Step event is being undone.",
        "Step event is undone.",
        "The saga is compensated: everything that was done is undone.",
    ]
    assert len(story) == len(sentences)
    for number, (line, sentence) in enumerate(zip(story, sentences, strict=True), start=1):
        version, _, rest = line.strip().partition("  ")
        assert int(version) == number
        assert sentence in rest


def test_show_heads_the_story_with_the_saga_and_its_steps(shelf: Shelf) -> None:
    """Name, id and status, why it failed, and a line for each step."""
    lines = data_of(shelf.run("show", shelf.failed)).splitlines()
    assert lines[0].split() == ["create-event", shelf.failed, "COMPENSATED"]
    assert "simulate_failure" in lines[1]
    steps = [line.split()[:2] for line in lines[3 : lines.index("")]]
    assert steps == [
        ["event", "COMPENSATED"],
        ["event_details", "COMPENSATED"],
        ["venue", "FAILED"],
        ["ticket", "PENDING"],
    ]


def test_show_as_json_is_what_the_api_answers(shelf: Shelf) -> None:
    """The status, byte for byte."""
    for saga in (shelf.completed, shelf.failed):
        answered = shelf.served.client.get(f"/api/saga/status/{saga}").get_data(as_text=True)
        assert data_of(shelf.run("show", saga, "--json")).strip() == answered


def test_show_at_a_version_tells_how_it_was_then(shelf: Shelf) -> None:
    """After six events the venue was being called, and nothing had failed yet."""
    story = json.loads(data_of(shelf.run("show", shelf.failed, "--at", "6", "--json")))
    assert (story["status"], story["version"], story["error"]) == ("IN_PROGRESS", 6, None)
    assert [step["status"] for step in story["steps"]] == ["COMPLETED", "COMPLETED", "IN_PROGRESS", "PENDING"]


def test_a_version_that_a_saga_has_not_reached_is_exit_code_3(shelf: Shelf) -> None:
    """For `show` and for `diff`; both numbers are told."""
    for arguments in (("show", shelf.failed, "--at", "99"), ("diff", shelf.failed, "2", "99")):
        done = shelf.run(*arguments)
        assert_refused(done, 3)
        assert "has 13 events; there is no version 99" in done.stderr


# ── diff ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_diff_tells_what_changed_and_the_events_that_changed_it(shelf: Shelf) -> None:
    """From the call of the venue to its refusal; what did not change is not told."""
    lines = data_of(shelf.run("diff", shelf.failed, "6", "9")).splitlines()
    assert lines[0].split() == ["create-event", shelf.failed, "from", "version", "6", "to", "9"]
    rows = {line.split()[0]: line.split()[1:] for line in lines[2 : lines.index("")]}
    assert rows["status"] == ["IN_PROGRESS", "COMPENSATING"]
    assert rows["steps.venue.status"] == ["IN_PROGRESS", "FAILED"]
    assert rows["steps.event_details.status"] == ["COMPLETED", "COMPENSATING"]
    assert not any(path.startswith("steps.ticket") for path in rows)
    assert [line.split()[0] for line in lines[lines.index("") + 1 :]] == ["7", "8", "9"]


def test_diff_as_json_names_every_change_with_both_values(shelf: Shelf) -> None:
    """And the events as they stand in the log; a version does not differ from itself."""
    told = json.loads(data_of(shelf.run("diff", shelf.failed, "6", "9", "--json")))
    assert (told["transaction_id"], told["from_version"], told["to_version"]) == (shelf.failed, 6, 9)
    assert {"path": "steps.venue.status", "before": "IN_PROGRESS", "after": "FAILED"} in told["changes"]
    stood = shelf.served.client.get(f"/api/saga/{shelf.failed}/events").get_json()["events"][6:9]
    assert [event["type"] for event in told["events"]] == [event["type"] for event in stood]
    assert [event["data"] for event in told["events"]] == [event["data"] for event in stood]
    same = json.loads(data_of(shelf.run("diff", shelf.failed, "6", "6", "--json")))
    assert (same["changes"], same["events"]) == ([], [])


# ── events ───────────────────────────────────────────────────────────────────────────────────────────────


def test_events_of_a_saga_as_json_are_one_object_a_line(shelf: Shelf) -> None:
    """The same events that the API answers."""
    printed = [json.loads(line) for line in data_of(shelf.run("events", shelf.failed, "--json")).splitlines()]
    answered = shelf.served.client.get(f"/api/saga/{shelf.failed}/events").get_json()["events"]
    assert [{name: event[name] for name in answered[0]} for event in printed] == answered
    assert {event["category"] for event in printed} == {"saga"}
    assert {event["stream_id"] for event in printed} == {shelf.failed}


def test_events_without_an_id_are_the_whole_log_in_order(shelf: Shelf) -> None:
    """Sagas, records and plans, by position; in lines for people too."""
    printed = [json.loads(line) for line in data_of(shelf.run("events", "--json")).splitlines()]
    positions = [event["position"] for event in printed]
    assert positions == sorted(set(positions))
    assert {event["category"] for event in printed} == {"plan", "saga", "event", "event_details", "venue", "ticket"}
    for line, event in zip(data_of(shelf.run("events")).splitlines(), printed, strict=True):
        assert line.split()[0] == str(event["position"])
        assert event["type"] in line


def test_events_of_a_record_are_its_stream(shelf: Shelf) -> None:
    """Registered, and for the failed saga's event also rolled back."""
    step = shelf.served.client.get(f"/api/saga/status/{shelf.failed}").get_json()["steps"][0]
    printed = data_of(shelf.run("events", step["result"]["event_id"], "--json")).splitlines()
    assert [json.loads(line)["type"] for line in printed] == ["RecordRegistered", "RecordRolledBack"]


def test_events_can_be_followed_until_interrupted(tmp_path: Path) -> None:
    """New events come out as they are appended, and Ctrl-C ends it well."""
    url = f"sqlite:///{tmp_path / 'saga.sqlite'}"
    with ExitStack() as stack:
        client = opened(stack, url, services.app).client
        following = stack.enter_context(
            subprocess.Popen(
                # A shell that runs us in the background may have told us to ignore the signal this is about.
                [
                    "env",
                    "--default-signal=INT",
                    sys.executable,
                    "-m",
                    "saga_es",
                    "events",
                    "--follow",
                    "--json",
                    "--database-url",
                    url,
                ],
                cwd=ROOT,
                env=environment(),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        stack.callback(following.kill)
        assert following.stdout is not None
        assert json.loads(following.stdout.readline())["category"] == "plan", "what is there already comes first"
        started = body_of(client.post(EXECUTE, json={"name": "Concert"}), 200)["transaction_id"]
        seen: list[dict[str, Any]] = []
        while not seen or seen[-1]["type"] != "SagaCompleted":
            seen.append(json.loads(following.stdout.readline()))
        assert [event["version"] for event in seen if event["stream_id"] == started] == list(range(1, 11))
        following.send_signal(signal.SIGINT)
        _, said = following.communicate(timeout=TIMEOUT_S)
        assert following.returncode == 0
        assert said == ""


# ── db ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_database_is_upgraded_and_says_where_it_is(tmp_path: Path) -> None:
    """Before: exit 8; after: exit 0 and the revision; upgrading again changes nothing."""
    settings = {"SAGA_ES_DATABASE_URL": f"sqlite:///{tmp_path / 'saga.sqlite'}"}
    before = run_cli("db", "current", settings=settings)
    assert (before.returncode, before.stdout) == (8, "none\n")
    assert "db upgrade" in before.stderr
    for _ in range(2):
        upgraded = run_cli("db", "upgrade", settings=settings)
        assert (upgraded.returncode, upgraded.stdout) == (0, ""), upgraded.stderr
    revision = data_of(run_cli("db", "current", settings=settings)).strip()
    assert revision
    assert revision in upgraded.stderr
    assert data_of(run_cli("list", settings=settings)).strip() == "No sagas."


# ── Exit codes ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "arguments", [("show", UNKNOWN), ("show", UNKNOWN, "--json"), ("events", UNKNOWN), ("diff", UNKNOWN, "1", "2")]
)
def test_an_unknown_id_is_exit_code_3(shelf: Shelf, arguments: tuple[str, ...]) -> None:
    """The id is named."""
    done = shelf.run(*arguments)
    assert_refused(done, 3)
    assert UNKNOWN in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("show",),
        ("dance",),
        ("list", "--status", "DONE"),
        ("list", "--limit", "0"),
        ("list", "--limit", "501"),
        ("list", "--cursor", "zzz"),
        ("list", "--colour"),
        ("show", UNKNOWN, "--at", "0"),
        ("diff", UNKNOWN, "2", "1"),
        ("diff", UNKNOWN, "0", "1"),
        ("list", "--at", "-1"),
        ("archive", "--before", "0001-01-01T00:00:00+14:00"),
        ("serve", "--only", "event,cinema"),
        ("serve", "--only", ""),
        ("list", "--app", "no_such_module"),
    ],
    ids=" ".join,
)
def test_wrong_usage_is_exit_code_2(shelf: Shelf, arguments: tuple[str, ...]) -> None:
    """Missing, unknown or impossible arguments."""
    assert_refused(shelf.run(*arguments), 2)


@pytest.mark.parametrize("command", [("list",), ("show", UNKNOWN), ("events",)], ids=" ".join)
def test_a_database_that_is_not_migrated_is_exit_code_8(tmp_path: Path, command: tuple[str, ...]) -> None:
    """And the cure is told."""
    done = run_cli(*command, "--database-url", f"sqlite:///{tmp_path / 'empty.sqlite'}")
    assert_refused(done, 8)
    assert "saga-es db upgrade" in done.stderr


@pytest.mark.parametrize("url", ["postgresql://nobody@127.0.0.1:1/none", "mariadb://nobody@127.0.0.1:1/none"])
def test_a_database_that_cannot_be_reached_is_exit_code_8(url: str) -> None:
    """In one line, for reading and for upgrading."""
    for command in (("list",), ("db", "upgrade"), ("db", "current")):
        done = run_cli(*command, "--database-url", url)
        assert_refused(done, 8)
        assert len(done.stderr.splitlines()) == 1, done.stderr


# ── Settings ─────────────────────────────────────────────────────────────────────────────────────────────


def test_a_flag_wins_over_a_variable_and_stands_before_or_behind_the_command(shelf: Shelf, tmp_path: Path) -> None:
    """The variable names an empty database, the flag the one with sagas."""
    settings = {"SAGA_ES_DATABASE_URL": f"sqlite:///{tmp_path / 'empty.sqlite'}"}
    for arguments in (("list", "--database-url", shelf.url), ("--database-url", shelf.url, "list")):
        assert shelf.completed in data_of(run_cli(*arguments, settings=settings))


def test_help_tells_the_commands_and_the_exit_codes() -> None:
    """Without a database, and on stdout."""
    text = data_of(run_cli("--help"))
    for word in ("serve", "list", "show", "events", "db", "Exit codes"):
        assert word in text
    assert data_of(run_cli("--version")).strip().endswith(version("saga-es"))


def test_looking_makes_no_database(tmp_path: Path) -> None:
    """A misspelt path is told with exit code 8, and leaves no empty file behind."""
    file = tmp_path / "misspelt.db"
    done = run_cli("list", "--database-url", f"sqlite:///{file}")
    assert done.returncode == 8
    assert not file.exists()
