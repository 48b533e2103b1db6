"""The reckoning after the kills: what the log, the views and the participants' ledger must agree on."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from saga_es.core import events as e
from saga_es.core.invariants import violations
from saga_es.core.state import SagaState, SagaStatus
from saga_es.store.database import Database
from saga_es.store.log.codec import SAGA
from saga_es.store.log.entries import Recorded
from saga_es.store.log.log import Log
from saga_es.store.sagas import Sagas
from saga_es.store.views.kinds import Projection
from tests.torture.ledger import REFUSED, opened


class Found(msgspec.Struct):
    """What the log of a campaign tells.

    Attributes:
        ends: Sagas by their status.
        interrupted: Takeovers by what the kill had fallen into.
        faults: What is wrong, a line each.
    """

    ends: Counter[str] = msgspec.field(default_factory=Counter)
    interrupted: Counter[str] = msgspec.field(default_factory=Counter)
    faults: list[str] = msgspec.field(default_factory=list)

    def add(self, other: Found) -> None:
        """Count another campaign in."""
        self.ends += other.ends
        self.interrupted += other.interrupted
        self.faults += other.faults


def reckon(log: Log, views: Sequence[Projection], ledger: Path, acknowledged: Mapping[str, bool]) -> Found:
    """Look at everything.

    Args:
        log: The log.
        views: All that is projected from it.
        ledger: What the participants wrote down.
        acknowledged: The sagas whose start was acknowledged, and whether their cancel was.
    """
    found = Found()
    streams: dict[str, Sequence[Recorded]] = {}
    standing = _standing(ledger)
    for state, history in streams_of(log):
        streams[state.saga_id] = history
        found.ends[state.status] += 1
        found.interrupted.update(interruptions(history))
        found.faults += broken_rules(state, history)
        found.faults += _wrong_end(state, history, standing.pop(state.saga_id, set()))
    found.faults += [f"effects of saga {saga_id}, which the log does not know" for saga_id in standing]
    found.faults += _broken_promises(streams, acknowledged)
    found.faults += _wrong_calls(ledger) + wrong_views(log, views)
    return found


def streams_of(log: Log) -> Iterator[tuple[SagaState, Sequence[Recorded]]]:
    """Every saga with its events."""
    streams: dict[str, list[Recorded]] = defaultdict(list)
    for entry in log.walk():
        if entry.category == SAGA:
            streams[entry.stream_id].append(log.decode(entry))
    sagas = Sagas(log)
    for history in streams.values():
        state = sagas.folded(history)
        assert state is not None, "the stream of a saga begins with its start"
        yield state, history


def broken_rules(state: SagaState, history: Sequence[Recorded]) -> list[str]:
    """What must hold of every stream, and does not of this one; and whether it has ended."""
    broken = violations(state.saga_id, state.plan, [(recorded.version, recorded.event) for recorded in history])
    unended = [] if state.status.ended else [f"saga {state.saga_id} is {state.status}, and nobody is at work any more"]
    return [str(violation) for violation in broken] + unended


def interruptions(history: Sequence[Recorded]) -> Iterator[str]:
    """Into what each kill fell, by what the log says was under way when the next worker took over."""
    out: dict[tuple[str, str], str] = {}
    for before, recorded in zip([None, *history], history, strict=False):
        match recorded.event:
            case e.StepStarted(step):
                out["action", step] = "an action"
            case e.CompensationStarted(step):
                out["compensation", step] = "a compensation"
            case e.StepCompleted(step) | e.StepFailed(step):
                out.pop(("action", step), None)
            case e.CompensationCompleted(step) | e.CompensationFailed(step):
                out.pop(("compensation", step), None)
            case e.SagaTakenOver():
                is_again = before is not None and isinstance(before.event, e.SagaTakenOver)
                yield "a takeover" if is_again else next(iter(out.values()), "a wait")
            case _:
                pass


def _wrong_end(state: SagaState, history: Sequence[Recorded], standing: set[str]) -> list[str]:
    mishaps: dict[str, str | None] = state.input["mishaps"]
    is_cancelled = any(isinstance(recorded.event, e.SagaCancelled) for recorded in history)
    turns = is_cancelled or REFUSED in mishaps.values()
    wanted = SagaStatus.COMPENSATED if turns else SagaStatus.COMPLETED
    steps = set() if turns else set(mishaps)
    faults = [] if state.status is wanted else [f"saga {state.saga_id} is {state.status}, not {wanted}: {state.error}"]
    return faults + (
        [] if standing == steps else [f"saga {state.saga_id} is {state.status}, and there stand {standing}"]
    )


def _broken_promises(streams: Mapping[str, Sequence[Recorded]], acknowledged: Mapping[str, bool]) -> Iterator[str]:
    for saga_id, is_cancelled in acknowledged.items():
        history = streams.get(saga_id, ())
        if not history:
            yield f"saga {saga_id} was acknowledged, and is not in the log"
        elif is_cancelled and not any(isinstance(recorded.event, e.SagaCancelled) for recorded in history):
            yield f"the cancel of saga {saga_id} was acknowledged, and is not in the log"


def _standing(ledger: Path) -> dict[str, set[str]]:
    """The steps of each saga that were done and not undone; a saga of which nothing stands has none."""
    standing: dict[str, set[str]] = defaultdict(set)
    with opened(ledger) as connection:
        for saga_id, step, stands in connection.execute("SELECT saga_id, step, done AND NOT undone FROM effects"):
            standing[saga_id].update({step} if stands else ())
    return standing


def _wrong_calls(ledger: Path) -> list[str]:
    with opened(ledger) as connection:
        keys = connection.execute(
            "SELECT saga_id, step, direction, count(DISTINCT key) AS keys FROM calls "
            "GROUP BY saga_id, step, direction HAVING keys > 1"
        ).fetchall()
        shared = connection.execute(
            "SELECT key, count(DISTINCT saga_id || step || direction) AS calls FROM calls GROUP BY key HAVING calls > 1"
        ).fetchall()
        early = connection.execute("SELECT saga_id, step, direction FROM calls WHERE NOT is_intended").fetchall()
    return [
        *(f"saga {saga_id}: the {direction} of {step} has {count} keys" for saga_id, step, direction, count in keys),
        *(f"key {key} stands for {count} calls" for key, count in shared),
        *(
            f"saga {saga_id}: the {direction} of {step} was called before its intent"
            for saga_id, step, direction in early
        ),
    ]


# ── Views ────────────────────────────────────────────────────────────────────────────────────────────────


def wrong_views(log: Log, views: Sequence[Projection]) -> list[str]:
    """The rows in which a view differs from the same view made anew, elsewhere, from the log alone."""
    with TemporaryDirectory() as folder:
        blank = Database(f"sqlite:///{folder}/blank.sqlite")
        try:
            with blank.writing() as scratch, log._database.reading() as connection:
                return [fault for view in views for fault in _differences(view, log, connection, scratch)]
        finally:
            blank.close()


def _differences(view: Projection, log: Log, connection: Connection, scratch: Connection) -> Iterator[str]:
    view.create(scratch)
    position = 0
    while entries := log.after(connection, position, 1000):
        view.apply(scratch, [log.decode(entry) for entry in entries if entry.category in view.categories])
        position = entries[-1].position
    there, wanted = _rows(view.table, connection), _rows(view.table, scratch)
    yield from (f"view {view.name} holds {row}, which the log does not tell" for row in there - wanted)
    yield from (f"view {view.name} lacks {row}" for row in wanted - there)


def _rows(table: sa.Table, connection: Connection) -> set[str]:
    return {repr(tuple(row)) for row in connection.execute(sa.select(table))}
