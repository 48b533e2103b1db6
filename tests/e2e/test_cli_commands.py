"""Orders and signals from the command line: recorded without an engine, followed by whichever worker there is."""

from __future__ import annotations

import getpass
import json
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from tests.api.conftest import Served, opened
from tests.api.test_execute import body_of, status_of
from tests.e2e.conftest import assert_refused, run_cli
from tests.e2e.test_cli import UNKNOWN, data_of
from tests.support.journeys_served import app_of, at_step, begin, begun, child_of, is_now, journey, outing, stuck, when

WHY = ("--reason", "she says so")
BY_ANN = (*WHY, "--actor", "ann")


@dataclass(frozen=True)
class Journeys:
    """A node that runs journeys, and the command line beside it, which does not know them."""

    url: str
    served: Served

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command on its database."""
        return run_cli(*arguments, "--database-url", self.url)


@pytest.fixture(scope="module")
def journeys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Journeys]:
    """Each test starts sagas of its own."""
    url = f"sqlite:///{tmp_path_factory.mktemp('journeys') / 'saga.sqlite'}"
    with ExitStack() as stack:
        inner = journey()
        yield Journeys(url, opened(stack, url, app_of(inner, outing(inner))))


def line_of(done: subprocess.CompletedProcess[str]) -> str:
    """The one line that a command printed."""
    (line,) = data_of(done).splitlines()
    return line


# ── What comes of an order ───────────────────────────────────────────────────────────────────────────────


def test_a_signal_is_given_to_the_worker_that_runs_the_saga(journeys: Journeys) -> None:
    """With any JSON; one line says that it was recorded, and the saga goes on."""
    saga_id = begun(journeys.served)
    given = journeys.run("signal", saga_id, "approval", "--payload", '{"by": "Ann"}', "--key", "k")
    assert line_of(given).startswith("Recorded the signal approval. The saga ")
    ended = when(journeys.served.client, saga_id, is_now("COMPLETED"))
    assert ended["steps"][1]["result"] == {"by": "Ann"}
    again = journeys.run("signal", saga_id, "approval", "--payload", '{"by": "Ann"}', "--key", "k")
    assert line_of(again).startswith("Recorded the signal approval before. The saga has ended COMPLETED")
    other = journeys.run("signal", saga_id, "approval", "--payload", '{"by": "Eve"}', "--key", "k")
    assert (other.returncode, "another payload came under this key" in other.stderr) == (1, True)


def test_a_signal_may_carry_nothing(journeys: Journeys) -> None:
    """Then it is null."""
    saga_id = begun(journeys.served)
    line_of(journeys.run("signal", saga_id, "approval"))
    assert when(journeys.served.client, saga_id, is_now("COMPLETED"))["steps"][1]["result"] is None


def test_a_saga_is_paused_and_resumed(journeys: Journeys) -> None:
    """The line says where the saga is now; left out, the actor is the user and the host."""
    saga_id = begun(journeys.served)
    line = line_of(journeys.run("pause", saga_id, *WHY))
    assert line.startswith(
        f"Recorded the pause. The saga has been paused by cli:{getpass.getuser()}@{socket.gethostname()} since "
    )
    assert line.endswith(": she says so.")
    line = line_of(journeys.run("resume", saga_id, *BY_ANN))
    assert line == ("Recorded the end of the pause. The saga waits for the signal 'approval' for as long as it takes.")


def test_a_saga_is_cancelled_after_a_look_at_what_that_would_undo(journeys: Journeys) -> None:
    """The preview needs no reason, changes nothing, and is as JSON what the API answers."""
    saga_id = begun(journeys.served)
    heading, line = data_of(journeys.run("cancel", saga_id, "--preview")).splitlines()
    assert (heading.split(), line.split()) == (["step", "why", "title"], ["seat", "done", "The", "seat"])
    as_json = json.loads(data_of(journeys.run("cancel", saga_id, "--preview", "--json")))
    answered = journeys.served.client.get(f"/api/saga/{saga_id}/orders/cancel")
    assert as_json == body_of(answered, 200)
    assert status_of(journeys.served.client, saga_id)["status"] == "IN_PROGRESS"
    assert line_of(journeys.run("cancel", saga_id, *BY_ANN)).startswith("Recorded the cancellation. The saga ")
    ended = when(journeys.served.client, saga_id, is_now("COMPENSATED"))
    assert ended["error"] == "cancelled by ann: she says so"


def test_what_would_be_tried_again_in_an_hour_is_tried_now(journeys: Journeys) -> None:
    """The worker hears of it within a moment."""
    saga_id = begin(journeys.served, busy=True)
    when(journeys.served.client, saga_id, lambda story: story["steps"][0]["retry_at"] is not None)
    assert line_of(journeys.run("retry", saga_id, *BY_ANN)).startswith("Recorded the retry. The saga ")
    when(journeys.served.client, saga_id, at_step("approval"))


def test_a_failed_saga_is_mended(journeys: Journeys) -> None:
    """By skipping, by another input, or by hand; the line says what was recorded."""
    client = journeys.served.client
    skipped, changed, resolved = (stuck(journeys.served) for _ in range(3))
    assert "Recorded the skip of step seat. " in line_of(journeys.run("skip", skipped, "seat", *BY_ANN))
    assert "Recorded the new input of step seat. " in line_of(
        journeys.run("replace-input", changed, "seat", "--input", '{"sold": false}', *BY_ANN)
    )
    for saga_id in (skipped, changed):
        when(client, saga_id, is_now("COMPENSATED"))
    line = line_of(journeys.run("resolve", resolved, "--status", "completed", *BY_ANN))
    assert line.startswith("Recorded the resolution. The saga was resolved by hand as COMPLETED at ")
    assert status_of(client, resolved)["status"] == "COMPLETED"


def test_a_saga_is_given_up(journeys: Journeys) -> None:
    """The line says what can help then."""
    saga_id = begun(journeys.served)
    line = line_of(journeys.run("fail", saga_id, *BY_ANN))
    assert line.startswith("Recorded that the saga is given up. The saga has been FAILED since ")
    assert "given up by ann: she says so; what can help: retry, skip approval" in line


# ── explain and show ─────────────────────────────────────────────────────────────────────────────────────


def test_explain_prints_one_sentence_and_as_json_what_the_api_answers(journeys: Journeys) -> None:
    """Why the saga is not moving."""
    saga_id = begun(journeys.served)
    sentence = "The saga waits for the signal 'approval' for as long as it takes."
    assert line_of(journeys.run("explain", saga_id)) == sentence
    as_json = json.loads(data_of(journeys.run("explain", saga_id, "--json")))
    assert as_json == body_of(journeys.served.client.get(f"/api/saga/{saga_id}/explain"), 200)
    assert as_json["sentence"] == sentence


def test_show_tells_of_commands_parts_and_parents(journeys: Journeys) -> None:
    """Above the steps what holds of the saga, below each step its elements, then the sentences."""
    saga_id = begin(journeys.served, "outing", guests=["Ann", "Bob"])
    child = child_of(journeys.served.client, saga_id)
    when(journeys.served.client, child, at_step("approval"))
    line_of(journeys.run("pause", child, *BY_ANN))

    lines = data_of(journeys.run("show", child)).splitlines()
    about = [line.split()[0] for line in lines[1 : next(n for n, line in enumerate(lines) if line.startswith("step"))]]
    assert about == ["paused", "parent"]
    assert any("by ann since" in line and line.endswith(": she says so") for line in lines)
    assert any(line.endswith("The saga is paused by ann: she says so") for line in lines)

    lines = data_of(journeys.run("show", saga_id)).splitlines()
    parts = [line.split()[:2] for line in lines if line.startswith(("invite", "  invite"))]
    assert parts == [["invite", "COMPLETED"], ["invite[0]", "COMPLETED"], ["invite[1]", "SKIPPED"]]
    assert any(line.endswith(f"Step journey runs the saga journey, as {child}.") for line in lines)


# ── Exit codes ───────────────────────────────────────────────────────────────────────────────────────────

COMMANDS = [
    ("signal", UNKNOWN, "approval"),
    ("cancel", UNKNOWN, *WHY),
    ("cancel", UNKNOWN, "--preview"),
    ("pause", UNKNOWN, *WHY),
    ("resume", UNKNOWN, *WHY),
    ("retry", UNKNOWN, *WHY),
    ("skip", UNKNOWN, "seat", *WHY),
    ("replace-input", UNKNOWN, "seat", "--input", "{}", *WHY),
    ("fail", UNKNOWN, *WHY),
    ("resolve", UNKNOWN, *WHY),
    ("explain", UNKNOWN),
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_an_unknown_id_is_exit_code_3(journeys: Journeys, command: tuple[str, ...]) -> None:
    """The id is named, in one line."""
    done = journeys.run(*command)
    assert_refused(done, 3)
    assert UNKNOWN in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_command_that_the_saga_cannot_follow_is_exit_code_1(journeys: Journeys) -> None:
    """One line says why."""
    saga_id = begun(journeys.served)
    for command, why in {
        ("resume", saga_id, *WHY): "it is not paused",
        ("skip", saga_id, "seat", *WHY): "this is for a saga that is FAILED",
        ("signal", saga_id, "rain"): "there is approval",
        ("pause", saga_id, "--reason", " "): "a command's reason has 1 to 2000 characters",
    }.items():
        done = journeys.run(*command)
        assert_refused(done, 1)
        assert why in done.stderr
        assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "command",
    [
        ("cancel", UNKNOWN),
        ("pause", UNKNOWN),
        ("skip", UNKNOWN, *WHY),
        ("signal", UNKNOWN, "approval", "--payload", "{"),
        ("replace-input", UNKNOWN, "seat", *WHY),
        ("replace-input", UNKNOWN, "seat", "--input", "[]", *WHY),
        ("resolve", UNKNOWN, "--status", "FAILED", *WHY),
    ],
    ids=" ".join,
)
def test_wrong_usage_is_exit_code_2(journeys: Journeys, command: tuple[str, ...]) -> None:
    """A reason, a step or JSON is missing or unusable; no saga is looked for."""
    assert_refused(journeys.run(*command), 2)


@pytest.mark.parametrize("command", [("pause", UNKNOWN, *WHY), ("signal", UNKNOWN, "a"), ("explain", UNKNOWN)])
def test_a_database_that_is_not_migrated_is_exit_code_8(command: tuple[str, ...], sqlite_url: str) -> None:
    """And the cure is told."""
    done = run_cli(*command, "--database-url", sqlite_url)
    assert_refused(done, 8)
    assert "saga-es db upgrade" in done.stderr


# ── Without a server ─────────────────────────────────────────────────────────────────────────────────────


def test_a_command_is_recorded_while_nobody_runs_and_followed_by_the_next_worker(sqlite_url: str) -> None:
    """The line says what the saga waits for then: a worker."""
    with ExitStack() as stack:
        saga_id = begun(opened(stack, sqlite_url, app_of(journey())))
    line = line_of(run_cli("cancel", saga_id, *BY_ANN, "--database-url", sqlite_url))
    assert "which is gone, and waits for a worker that has saga 'journey' of plan plan-" in line
    assert "living: none" in line
    assert line.endswith("is compensating: cancelled by ann: she says so.")
    with ExitStack() as stack:
        when(opened(stack, sqlite_url, app_of(journey())).client, saga_id, is_now("COMPENSATED"))
