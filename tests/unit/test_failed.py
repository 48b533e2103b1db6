"""Which failed tests CI judges once more by themselves."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.failed import failed_tests, refusal


def test_the_tests_that_failed_are_those_that_pytest_kept(tmp_path: Path) -> None:
    """In order, each once; none before any run."""
    kept = tmp_path / "lastfailed"
    assert failed_tests(kept) == []
    kept.write_text(json.dumps({"tests/b.py::test_b[x]": True, "tests/a.py::test_a": True}))
    assert failed_tests(kept) == ["tests/a.py::test_a", "tests/b.py::test_b[x]"]


def test_a_few_failures_are_judged_again_and_many_are_not() -> None:
    """A run that failed without a failed test is not judged again either: something else went wrong."""
    assert refusal(["one"], at_most=1) is None
    assert "2 tests failed, and at most 1" in str(refusal(["one", "two"], at_most=1))
    assert "no test is known" in str(refusal([], at_most=1))
