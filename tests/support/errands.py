"""A saga of one step, which does as it is asked: for tests of what is told of sagas."""

from __future__ import annotations

from saga_es import Saga, StepRejected


def errand() -> Saga:
    """It completes with `{"ok": True}`, and is refused with `{"ok": False}`."""
    saga = Saga("errand")

    @saga.step(compensation=None)
    def run(input: dict[str, bool]) -> None:  # noqa: A002 (the name under which a saga's input is known)
        if not input["ok"]:
            raise StepRejected("closed")

    return saga
