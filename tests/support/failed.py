"""Say which tests failed in the last run, and refuse when they are too many to be accidents: `make again`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

LAST_FAILED = Path(".pytest_cache/v/cache/lastfailed")
"""Where pytest keeps them: a JSON object whose keys are the tests."""


def failed_tests(kept: Path = LAST_FAILED) -> list[str]:
    """The tests that failed in the last run, in order; none if there was no run."""
    return sorted(json.loads(kept.read_text(encoding="utf-8"))) if kept.exists() else []


def refusal(failed: list[str], at_most: int) -> str | None:
    """Why these tests are not run again; None if they are."""
    if not failed:
        return "no test is known to have failed, so what went wrong was something else; read the output above"
    if len(failed) > at_most:
        return f"{len(failed)} tests failed, and at most {at_most} are run again: this is no accident"
    return None


if __name__ == "__main__":
    tests = failed_tests()
    if why := refusal(tests, int(sys.argv[1])):
        sys.exit(why)
    sys.stdout.write("\n  ".join(["These tests failed beside others and are judged by themselves now:", *tests, ""]))
