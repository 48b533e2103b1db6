"""A test that cannot run on this machine is left out and named at the end, or fails where all is required."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from typing import NoReturn

import pytest

REQUIRE = "SAGA_ES_TEST_REQUIRE"
"""Set to `all`, it makes a failure of each test that would be left out."""

CURE = "`make services` installs with apt what is missing"
_NOT_HERE = "not tested here: "


def left_out(name: str, why: str) -> NoReturn:
    """End a test that cannot run here.

    Args:
        name: What is missing.
        why: Why it is.
    """
    if os.environ.get(REQUIRE) == "all":
        pytest.fail(f"{name} is missing, and {REQUIRE}=all requires it: {why}; {CURE}", pytrace=False)
    pytest.skip(f"{_NOT_HERE}{name}: {why}")


def missing(skipped: Iterable[pytest.TestReport]) -> Counter[str]:
    """What is missing and why, with how many of the skipped tests were left out for it."""
    reasons = (report.longrepr[2] for report in skipped if isinstance(report.longrepr, tuple))
    ours = (reason.partition(_NOT_HERE)[2] for reason in reasons)
    return Counter(what for what in ours if what)
