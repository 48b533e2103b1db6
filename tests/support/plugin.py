"""The part of a run of pytest that servers have: the process that begins the run finds them, its workers use them.

At the end it is said on which servers the tests ran, and which tests were left out.

What a test leaves open (a connection, a file, a process) is collected in the test itself, where its warning is an
error. Left to chance, the collector would blame whichever test runs at that moment.
"""

from __future__ import annotations

import gc
import warnings
from collections.abc import Generator, Iterator
from dataclasses import astuple
from itertools import count
from typing import Any

import pytest

from tests.support import servers
from tests.support.left_out import CURE, missing

_SERVERS = "servers"

TESTS_BETWEEN_WHOLE_COLLECTIONS = 300


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Find all servers before a worker of pytest-xdist begins, and tell it where they are."""
    node.workerinput[_SERVERS] = {kind: astuple(servers.found(kind)) for kind in servers.SERVERS}


def pytest_configure(config: pytest.Config) -> None:
    """In a worker, use those servers."""
    servers.adopt(getattr(config, "workerinput", {}).get(_SERVERS, {}))


def pytest_collection_finish() -> None:
    """Leave thousands of collected tests and all modules out of the collections to come, which last milliseconds so."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _nothing_left_open() -> Iterator[None]:
    """Collect what a test left when its other fixtures have ended; a fixture of a plugin is the first and ends last."""
    yield
    gc.collect()


_ended = count(1)


def pytest_runtest_logfinish() -> None:
    """What is still alive when pytest has let go of a test is not looked at again: the next collection is as short.

    Every few hundred tests all of it is: what has died meanwhile was alive when its test was judged.
    """
    if next(_ended) % TESTS_BETWEEN_WHOLE_COLLECTIONS == 0:
        gc.unfreeze()
        with warnings.catch_warnings(action="ignore", category=ResourceWarning):
            gc.collect()
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> Generator[None]:
    """After everything else that pytest says of the tests."""
    yield
    if there := [server for server in servers.known() if server.url]:
        terminalreporter.section("servers")
        for server in there:
            terminalreporter.line(f"{server.name}: {server.how}")
    if left_out := missing(terminalreporter.stats.get("skipped", [])):
        terminalreporter.section("not tested here")
        for what, tests in left_out.items():
            terminalreporter.line(f"{what} ({tests} tests were left out)")
        terminalreporter.line(f"The cure: {CURE}.")
