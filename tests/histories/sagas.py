"""Sagas that meet everything an event can tell of; run once for each released schema by `record.py`, and never again.

What each was is told by its history for ever. Change them as you like: what is recorded does not need them.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from saga_es import RetryPolicy, Saga, StepContext, StepRejected, StepUnavailable

ONCE = RetryPolicy(attempts=1)
QUICK = RetryPolicy(attempts=3, first_delay_s=0.01)
SLOW = RetryPolicy(attempts=3, first_delay_s=600)

STATE: dict[str, int] = {}
"""How often each call was made, by its idempotency key."""


def _count(key: str) -> int:
    STATE[key] = STATE.get(key, 0) + 1
    return STATE[key]


# ── Forward: conditions, lists, waits, a child, a probe ──────────────────────────────────────────────────

letter = Saga("letter")


@letter.step(compensation=None)
def post(input: dict[str, Any]) -> dict[str, Any]:  # noqa: A002 (the name a step asks for)
    """Post it, wherever."""
    return {"posted": input["to"], "ß": "\u2028\U0001f600"}


outing = Saga("outing", deadline_s=timedelta(days=1).total_seconds())


@outing.step(compensation=None, when=lambda input: input["wanted"])  # noqa: A006 (the name)
def tea() -> None:
    """Not always wanted."""


@outing.step(over="input[guests]", retry=QUICK)
def seat(item: str, key: str) -> dict[str, str]:
    """Each guest has one; the first time there is none."""
    if _count(key) == 1:
        raise StepUnavailable("no seat just now")
    return {"seat": item}


@outing.compensates(seat)
def unseat(seat: Any) -> None:
    """Free again."""


outing.delay("pause", seconds=0.01)
outing.wait_for("approval", timeout_s=600)
outing.child("invitation", letter, input=lambda input: {"to": input["guests"][0]})  # noqa: A006 (the name)


@outing.step(compensation=None, retry=QUICK)
def charge(key: str) -> int:
    """Its first answer is lost."""
    if _count(key) == 1:
        raise RuntimeError("the answer was lost")
    return _count(key)


@outing.probes(charge)
def charged(key: str) -> int | None:
    """It had happened."""
    return STATE.get(key)


# ── Back ─────────────────────────────────────────────────────────────────────────────────────────────────

trip = Saga("trip")


@trip.step
def flight() -> str:
    """Booked."""
    return "LH-1"


@trip.compensates(flight, retry=QUICK)
def cancel_flight(action_key: str) -> None:
    """The first time it cannot be cancelled."""
    if _count(f"undo {action_key}") == 1:
        raise StepUnavailable("the airline sleeps")


@trip.step(compensation=None)
def hotel() -> None:
    """Full."""
    raise StepRejected("no room")


stuck = Saga("stuck")


@stuck.step
def deposit() -> int:
    """Paid."""
    return 100


@stuck.compensates(deposit, retry=ONCE)
def give_back() -> None:
    """Never works."""
    raise StepRejected("the bank refuses")


@stuck.step(compensation=None, retry=ONCE)
def key_handed_over(input: dict[str, Any]) -> None:  # noqa: A002
    """Refused."""
    raise StepRejected(f"nobody there for {input}")


pivoted = Saga("pivoted")


@pivoted.step(kind="pivot", compensation=None)
def commit(input: dict[str, Any]) -> str:  # noqa: A002
    """The point of no return, which a wrong input never passes."""
    return f"committed {input['n']}"


@pivoted.step(kind="retriable", compensation=None)
def tell(input: dict[str, Any]) -> str:  # noqa: A002
    """Cannot be told without a name."""
    if "name" not in input:
        raise StepRejected("whom?")
    return str(input["name"])


slow = Saga("slow")


@slow.step(compensation=None, retry=SLOW)
def again(key: str) -> None:
    """Works the second time, which is long after the first."""
    if _count(key) == 1:
        raise StepUnavailable("come back later")


load = Saga("load")


@load.step
def read_all(context: StepContext) -> int:
    """Says how far it is."""
    context.progress({"rows": 10_000, "of": "Köln \u2713"})
    return 10_000


@load.compensates(read_all)
def forget_all(context: StepContext) -> None:
    """Says it, too."""
    context.progress()


@load.step(compensation=None)
def check_all() -> None:
    """They are not."""
    raise StepRejected("one row is wrong")


def moved(version: int) -> Saga:
    """A saga whose second version has another name for its last step, and one step more."""
    saga = Saga("moved")
    saga.step(compensation=None)(_named("pack"))
    saga.wait_for("approval", timeout_s=600)
    saga.step(compensation=None)(_named("ship" if version == 1 else "deliver"))
    if version > 1:
        saga.replaces("deliver", "ship")
        saga.step(compensation=None)(_named("thank"))
    return saga


def _named(name: str) -> Any:
    def step() -> str:
        return name

    step.__name__ = name
    return step


ALL = (letter, outing, trip, stuck, pivoted, slow, load)
