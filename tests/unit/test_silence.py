"""Whose heartbeat stands still, and when the database's clock says nothing about it."""

from __future__ import annotations

from saga_es.store.silence import LOOKED_AWAY_S, Silence

LEASE_S = 10.0


class Watch:
    """A process that looks at one worker's heartbeat, and the clocks of both."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.leapt_s = 5_000_000.0
        self.beat_s = self.database_s
        self.silence = Silence(LEASE_S, lambda: self.now_s)
        self.look()

    @property
    def database_s(self) -> float:
        """What the database's clock says."""
        return self.now_s + self.leapt_s

    def look(self, *, after_s: float = 0.0, beats: bool = False) -> None:
        """Look after so many seconds, in which the worker sent a heartbeat or did not."""
        self.now_s += after_s
        if beats:
            self.beat_s = self.database_s
        self.silence.look({"w-1": self.beat_s}, self.database_s)

    @property
    def stands_still(self) -> bool:
        """Whether the heartbeat does."""
        return self.silence.stands_still("w-1")


def test_a_heartbeat_stands_still_after_a_lease() -> None:
    """Just below, it does not; and one that moved begins anew."""
    watch = Watch()
    for _ in range(4):
        watch.look(after_s=2.5)
    assert not watch.stands_still
    watch.look(after_s=0.1)
    assert watch.stands_still
    watch.look(after_s=1.0, beats=True)
    assert not watch.stands_still


def test_a_heartbeat_that_goes_back_has_moved() -> None:
    """The clock went back, and the worker lives."""
    watch = Watch()
    for _ in range(8):
        watch.leapt_s -= 3600
        watch.look(after_s=2.5, beats=True)
        assert not watch.stands_still


def test_a_heartbeat_of_tomorrow_stands_still_too() -> None:
    """Who died while the clock was a day ahead is gone after a lease, not after a day."""
    watch = Watch()
    watch.leapt_s -= 86_400
    for _ in range(5):
        watch.look(after_s=2.5)
    assert watch.stands_still


def test_after_a_jump_the_database_is_not_asked_for_a_lease() -> None:
    """In either direction. Then all who live have sent a heartbeat by the new time."""
    for leap_s in (86_400.0, -86_400.0, 2.6):
        watch = Watch()
        watch.look(after_s=2.5)
        assert watch.silence.trusts_database
        watch.leapt_s += leap_s
        for _ in range(4):
            watch.look(after_s=2.5)
            assert not watch.silence.trusts_database
        watch.look(after_s=2.5)
        assert watch.silence.trusts_database


def test_a_small_step_of_the_clock_changes_nothing() -> None:
    """Four heartbeats make a lease: less than a quarter makes nobody look gone. Nor does a look that took long."""
    watch = Watch()
    watch.leapt_s += 2.4
    watch.look(after_s=2.5)
    watch.leapt_s -= 20
    watch.now_s += 20
    watch.silence.look({"w-1": watch.beat_s}, watch.database_s, took_s=20)
    assert watch.silence.trusts_database


def test_who_was_stopped_itself_has_seen_nobodys_silence() -> None:
    """A process that was frozen, as all others may have been, gives them another lease."""
    watch = Watch()
    watch.look(after_s=max(LEASE_S, LOOKED_AWAY_S) + 600)
    assert not watch.stands_still
    for _ in range(5):
        watch.look(after_s=2.5)
    assert watch.stands_still
