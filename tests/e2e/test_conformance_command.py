"""The command that tries a participant: what it prints, and how it exits."""

from __future__ import annotations

import json
import subprocess

import pytest

from saga_es import DefinitionError
from saga_es.participant import NotReachable
from tests.e2e.conftest import run_cli
from tests.e2e.test_conformance import CHECKS, checked, forwarding
from tests.support.hotels import ACTION, BODY, COMPENSATION, PROBE, CarelessHotel, Flaw
from tests.support.participants import Participant, free_port

# ── The command ──────────────────────────────────────────────────────────────────────────────────────────


def run_check(url: str, *more: str) -> subprocess.CompletedProcess[str]:
    calls = ("--action", ACTION, "--compensation", COMPENSATION, "--body", json.dumps(BODY))
    return run_cli("participant", "check", url, *calls, *more)


def test_the_command_tells_people_what_is_wrong_and_why() -> None:
    """Exit 7; a line for each check, then what was expected, what came, and why it matters."""
    with Participant(forwarding(CarelessHotel(Flaw.UNDOES_ONLY_ONCE))) as served:
        done = run_check(served.url, "--probe", PROBE)
    assert done.returncode == 7
    assert done.stderr == ""
    heading, *lines = done.stdout.splitlines()
    assert heading.split() == ["check", "result", "expected"]
    results = dict(line.split("  ", 1) for line in lines[: len(CHECKS)])
    assert set(results) == set(CHECKS)
    assert {name for name, rest in results.items() if rest.split()[0] == "failed"} == {"repeated compensation"}
    name, expected, came, why = lines[len(CHECKS) + 1 :]
    assert name == "repeated compensation"
    assert expected.split(maxsplit=1) == ["expected", "2xx, each time"]
    assert came.split(maxsplit=1)[0] == "came"
    assert "HTTP 404" in came
    assert why.split(maxsplit=1)[0] == "why"


def test_the_command_prints_the_report_as_json_also_when_it_fails() -> None:
    """Exit 7."""
    with Participant(forwarding(CarelessHotel(Flaw.CRASHES_ON_A_BAD_BODY))) as served:
        done = run_check(served.url, "--json")
    assert done.returncode == 7
    report = json.loads(done.stdout)
    assert report["conforms"] is False
    (wrong,) = [finding for finding in report["checks"] if finding["verdict"] == "failed"]
    assert set(wrong) == {"check", "verdict", "expected", "came", "why"}
    assert wrong["check"] == "unreadable body"
    assert "HTTP 500" in wrong["came"]


def test_nobody_there_is_a_failure_of_its_own() -> None:
    """Exit 1, one line on stderr."""
    done = run_check(f"http://127.0.0.1:{free_port()}")
    assert done.returncode == 1
    assert done.stdout == ""
    assert "cannot be reached" in done.stderr
    with pytest.raises(NotReachable):
        checked(f"http://127.0.0.1:{free_port()}")


@pytest.mark.parametrize(
    ("url", "more", "says"),
    [
        ("rooms.example", (), "URL"),
        ("ftp://rooms.example", (), "URL"),
        ("http://[rooms", (), "URL"),
        ("http://127.0.0.1:99999", (), "URL"),
        ("http://127.0.0.1:1", ("--body", "{"), "not JSON"),
        ("http://127.0.0.1:1", ("--action", "rooms"), "`POST /rooms`"),
        ("http://127.0.0.1:1", ("--action", "POST /rooms/{answer[room]}"), "answer"),
        ("http://127.0.0.1:1", ("--probe", "GET /rooms/{answer[room]}"), "answer"),
        ("http://127.0.0.1:1", ("--compensation", "DELETE /rooms/{room}"), "names room"),
        ("http://127.0.0.1:1", ("--compensation", "DELETE /rooms/{action_key"), "cannot be read"),
        ("http://127.0.0.1:1", ("--timeout-s", "0"), "range"),
    ],
)
def test_what_cannot_be_tried_is_a_mistake_in_usage(url: str, more: tuple[str, ...], says: str) -> None:
    """Exit 2, before anything is sent."""
    done = run_check(url, *more)
    assert done.returncode == 2, done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_a_mistake_in_a_test_of_ones_own_is_an_error() -> None:
    """Also there, before anything is sent."""
    with pytest.raises(DefinitionError, match="names room"):
        checked(CarelessHotel().app, compensation="DELETE /rooms/{room}")
