"""A process is killed with hundreds of sagas under way: the next one has them moving, and calls a few at a time."""

from __future__ import annotations

from tests.torture.multitude import measure

SAGAS = 300


def test_hundreds_of_interrupted_sagas_are_taken_over(sqlite_url: str) -> None:
    """All of them end, and no more threads call than there should be; ten thousand: docs/reliability.md."""
    measured = measure(sqlite_url, SAGAS, call_s=0.002, call_threads=8)
    assert measured.sagas == SAGAS
    assert measured.ends == {"COMPLETED": SAGAS}
    assert 1 < measured.most_at_once <= 8
