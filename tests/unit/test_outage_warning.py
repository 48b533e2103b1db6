"""What is put off while the database is away is said, and not at every look."""

from __future__ import annotations

from saga_es.errors import StoreUnavailable
from saga_es.runtime.waiting.outage import WARN_EVERY_S, OutageWarning
from saga_es.testing.clock import VirtualClock
from tests.support.logged import captured_logs

AWAY = StoreUnavailable("connection refused")


def test_what_is_put_off_is_said_at_once_and_then_now_and_then() -> None:
    """Looks are many and an outage may take hours: its log lines must not bury the others."""
    clock = VirtualClock()
    warn = OutageWarning(clock)
    with captured_logs() as logs:
        for _ in range(300):  # half a minute of looks
            warn("recovery", AWAY)
            clock.sleep(WARN_EVERY_S / 100)
    assert [log["what"] for log in logs] == ["recovery"] * 3
    assert {log["reason"] for log in logs} == {str(AWAY)}


def test_each_thing_that_is_put_off_is_said() -> None:
    """One does not hide the other."""
    warn = OutageWarning(VirtualClock())
    with captured_logs() as logs:
        warn("recovery", AWAY)
        warn("a heartbeat", AWAY)
    assert [log["what"] for log in logs] == ["recovery", "a heartbeat"]
