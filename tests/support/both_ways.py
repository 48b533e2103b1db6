"""Requests over the network, sent on a thread and on an event loop: the tests of both are the same."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from saga_es.runtime.calls.answers import Answer
from saga_es.runtime.calls.transport import HttpTransport


@pytest.fixture(params=["on a thread", "on a loop"])
def each_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test that uses this runs twice."""
    if request.param == "on a loop":
        monkeypatch.setattr(HttpTransport, "send", _send_on_loop)


def _send_on_loop(
    transport: HttpTransport, method: str, path: str, headers: Mapping[str, str], body: bytes | None, timeout_s: float
) -> Answer:
    return asyncio.run(transport.begin(method, path, headers, body, timeout_s)())
