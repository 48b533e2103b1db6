"""What a saga needs of a participant, as checks that any HTTP service can be put to.

Each check makes the calls that a saga would make when something goes wrong, with keys of its own, undoes what it did,
and says what was expected, what came, and why it matters. A participant is asked nothing but what a saga asks; so
what it did is known from its answers alone, unless there is a probe.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from enum import StrEnum
from functools import partial
from typing import Any

import msgspec

from saga_es.participant.trial import PATIENT, CannotName, Reply, Step, Subject
from saga_es.runtime.calls.transport import HttpTransport, Transport, WsgiApp, WsgiTransport

AT_ONCE = 16
ROUNDS = 6
"""How often a call and its undo are sent at once: which comes first is up to chance."""

UNREADABLE = b'{"saga": '
"""What is left of a JSON body that was cut off."""


class Verdict(StrEnum):
    """How a check ended."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_TRIED = "not tried"


class Finding(msgspec.Struct, frozen=True):
    """How one check ended.

    Attributes:
        came: What came that was not expected; or why it was not tried.
        why: Why it matters for a saga.
    """

    check: str
    verdict: Verdict
    expected: str
    came: str
    why: str


class Report(msgspec.Struct, frozen=True):
    """How all checks ended."""

    conforms: bool
    checks: list[Finding]


class _Wrong(Exception):
    """What came was not expected."""


class _NotTried(Exception):
    """There is nothing to try."""


class _Trials:
    """Makes steps to try a participant with, and undoes what they did."""

    def __init__(self, transport: Transport, subject: Subject, timeout_s: float) -> None:
        self.subject = subject
        self._transport = transport
        self._timeout_s = timeout_s

    @contextmanager
    def step(self, *, hears: bool = True) -> Iterator[Step]:
        """A step with keys of its own; it is undone in the end, as far as that is possible."""
        step = Step(self._transport, self.subject, self._timeout_s, hears=hears)
        try:
            yield step
        finally:
            with suppress(CannotName):
                step.undo(attempts=1)


class _Check(msgspec.Struct, frozen=True):
    name: str
    expected: str
    why: str
    run: Callable[[_Trials], None]


def check_participant(
    where: str | WsgiApp,
    *,
    action: str,
    compensation: str,
    body: Any = None,
    compensation_body: Any = None,
    probe: str | None = None,
    timeout_s: float = 10.0,
) -> Report:
    """Put a participant to every check, with calls as a saga makes them when something goes wrong.

    Args:
        where: Its base URL, or a WSGI application, which is called in this process.
        action: The action as method and path: `POST /rooms`.
        compensation: What undoes it: `DELETE /rooms/{action_key}`. It may also name `{answer[...]}`.
        body: The JSON body of the action. A text in it that is `{action_key}` stands for the key.
        compensation_body: That of the compensation; a text in it may also be `{answer[...]}`.
        probe: What says whether the action has happened, by 2xx or 404: `GET /rooms/{action_key}`. With it, the effect
            itself is looked at; without, only what the participant says.
        timeout_s: For the answer to one call.

    Raises:
        DefinitionError: One of the calls cannot be read.
        NotReachable: Nobody is there.
    """
    transport = HttpTransport(where) if isinstance(where, str) else WsgiTransport(where)
    trials = _Trials(transport, Subject.of(action, compensation, body, compensation_body, probe), timeout_s)
    findings: list[Finding] = []
    for one in _CHECKS:
        can_act = not findings or findings[0].verdict is Verdict.PASSED
        verdict, came = _tried(one, trials) if can_act else (Verdict.NOT_TRIED, "the action is not done at all")
        findings.append(Finding(one.name, verdict, one.expected, came, one.why))
    return Report(all(finding.verdict is not Verdict.FAILED for finding in findings), findings)


def _tried(one: _Check, trials: _Trials) -> tuple[Verdict, str]:
    try:
        one.run(trials)
    except (_Wrong, CannotName) as error:
        return Verdict.FAILED, str(error)
    except _NotTried as error:
        return Verdict.NOT_TRIED, str(error)
    return Verdict.PASSED, ""


# ── The checks ───────────────────────────────────────────────────────────────────────────────────────────


def _acts(trials: _Trials) -> None:
    with trials.step() as step:
        _done(step.act(attempts=2), "the action")
        _seen(step, there=True)


def _answers_json(trials: _Trials) -> None:
    with trials.step() as step:
        replies = [step.act(), step.undo()]
    unreadable = [str(reply) for reply in replies if reply.is_done and not reply.is_readable]
    if unreadable:
        raise _Wrong(f"not JSON: {', '.join(unreadable)}")


def _repeats(trials: _Trials) -> None:
    with trials.step() as step:
        first = step.act()
        for _ in range(2):
            _same(step.act(), first)


def _repeats_at_once(trials: _Trials) -> None:
    with trials.step() as step:
        replies = _at_once(*[partial(step.act, PATIENT)] * AT_ONCE)
        refused = [reply for reply in replies if not reply.is_done]
        if refused:
            raise _Wrong(f"{len(refused)} of {AT_ONCE} were not done; one was answered {refused[0]}")
        answers = {msgspec.json.encode(reply.value, order="sorted") for reply in replies}
        if len(answers) > 1:
            some = " and ".join(answer.decode() for answer in sorted(answers)[:2])
            raise _Wrong(f"{len(answers)} different answers: {some}")


def _undoes(trials: _Trials) -> None:
    with trials.step() as step:
        step.act()
        _done(step.undo(), "the compensation")
        _seen(step, there=False)


def _undoes_again(trials: _Trials) -> None:
    with trials.step() as step:
        step.act()
        step.undo()
        for _ in range(2):
            _done(step.undo(), "the repeated compensation")


def _acts_no_more(trials: _Trials) -> None:
    with trials.step() as step:
        first = step.act()
        step.undo()
        again = step.act()
        if not again.is_refused:
            _same(again, first)
        _seen(step, there=False)


def _undoes_nothing(trials: _Trials) -> None:
    with trials.step() as step:
        _done(step.undo(), "the compensation")


def _refuses_late(trials: _Trials) -> None:
    with trials.step() as step:
        step.undo()
        late = step.act()
        if not late.is_refused:
            raise _Wrong(f"the late action was answered {late}")
        _seen(step, there=False)


def _ends_undone(trials: _Trials) -> None:
    for round_ in range(ROUNDS):
        with trials.step(hears=False) as step:
            calls = [partial(step.act, PATIENT), partial(step.undo, PATIENT)]
            first, second = _at_once(*(calls if round_ % 2 else reversed(calls)))
            acted, undone = (first, second) if round_ % 2 else (second, first)
            _done(undone, "the compensation")
            if not acted.is_done and not acted.is_refused:
                raise _Wrong(f"the action was answered {acted}")
            again = step.act()
            if not again.is_refused:
                _same(again, acted)
            _seen(step, there=False)


def _refuses_unreadable(trials: _Trials) -> None:
    if trials.subject.body is None:
        raise _NotTried("the action has no body")
    with trials.step() as step:
        reply = step.act_with(UNREADABLE)
        if not reply.is_refused:
            raise _Wrong(f"the body {UNREADABLE.decode()} was answered {reply}")


_REFUSED = "refused for good: 4xx other than 408, 425, 429"

_CHECKS = (
    _Check(
        "action",
        "2xx; and 2xx from the probe",
        "Nothing else can be tried with an action that is not done: see that the call and its body are right.",
        _acts,
    ),
    _Check(
        "answers are JSON",
        "JSON, or nothing, in the body of every 2xx",
        "An answer that cannot be read says nothing: the saga repeats the call, and aborts in the end.",
        _answers_json,
    ),
    _Check(
        "repeated action",
        "the first answer, each time",
        "A saga repeats a call whose answer was lost. What is done twice is undone once.",
        _repeats,
    ),
    _Check(
        f"action {AT_ONCE} times at once",
        "one answer for all; those told 408, 425, 429 or 5xx ask again",
        "A call that timed out is repeated while it still acts. One that is then refused for good, though the other "
        "acts, is never undone.",
        _repeats_at_once,
    ),
    _Check(
        "compensation",
        "2xx; and 404 or 410 from the probe",
        "A saga whose compensation fails ends FAILED, and a person has to undo it.",
        _undoes,
    ),
    _Check(
        "repeated compensation",
        "2xx, each time",
        "A compensation whose answer was lost is repeated. If that is refused, the saga ends "
        "FAILED though all is undone.",
        _undoes_again,
    ),
    _Check(
        "action after its compensation",
        f"the first answer, or {_REFUSED}",
        "A network may deliver a call once more, long after. What it does then, nobody undoes.",
        _acts_no_more,
    ),
    _Check(
        "compensation of nothing",
        "2xx for a key that was never seen",
        "A call may be lost before it arrives; the saga cannot know, and compensates it.",
        _undoes_nothing,
    ),
    _Check(
        "late action",
        f"{_REFUSED}, once its key was compensated",
        "A call may arrive after its compensation, which had nothing to undo. What it does then, nobody undoes.",
        _refuses_late,
    ),
    _Check(
        "action and compensation at once",
        "2xx for the compensation, and nothing is left of the action",
        "A call that timed out may still act while it is compensated.",
        _ends_undone,
    ),
    _Check(
        "unreadable body",
        _REFUSED,
        "A 5xx means that it may have been done: the saga repeats in vain what can never be read.",
        _refuses_unreadable,
    ),
)


# ── What they have in common ─────────────────────────────────────────────────────────────────────────────


def _done(reply: Reply, call: str) -> None:
    if not reply.is_done:
        raise _Wrong(f"{call} was answered {reply}")


def _same(reply: Reply, first: Reply) -> None:
    if not reply.is_done or reply.value != first.value:
        raise _Wrong(f"first {first}, then {reply}")


def _seen(step: Step, *, there: bool) -> None:
    """What the probe says, if there is one."""
    seen = step.probe()
    if seen is not None and seen is not there:
        raise _Wrong(f"the probe says that it {'has' if seen else 'has not'} happened")


def _at_once(*calls: Callable[[], Reply]) -> list[Reply]:
    start = threading.Barrier(len(calls))

    def one(call: Callable[[], Reply]) -> Reply:
        start.wait()
        return call()

    with ThreadPoolExecutor(len(calls)) as threads:
        return list(threads.map(one, calls))
