"""What a saga needs of a participant, as checks for any service over HTTP or behind a queue.

Each check makes the calls that a saga would make when something goes wrong, with keys of its own, and undoes what it
did. It reports what was expected, what came, and why it matters. A check makes only calls that a saga makes. So it
learns from the answers alone what the participant did, unless there is a probe.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from enum import StrEnum
from functools import partial
from typing import Any

import msgspec

from saga_es.definition.credentials import NONE, Credentials
from saga_es.definition.requests import Participant
from saga_es.errors import DefinitionError
from saga_es.participant.trial import MANY_ATTEMPTS, CannotName, Reply, Step, Subject
from saga_es.queues.transport import QueueTransport
from saga_es.queues.url import is_queue
from saga_es.runtime.calls.transport import HttpTransport, Transport, WsgiApp, WsgiTransport

AT_ONCE = 16
ROUNDS = 6
"""How often a call and its undo are sent at once: chance decides which arrives first."""

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
        expected: What a saga expects.
        came: The unexpected answer, or why the check was not tried; empty if the check passed.
        why: Why it matters for a saga.
    """

    check: str
    verdict: Verdict
    expected: str
    came: str
    why: str


class Report(msgspec.Struct, frozen=True):
    """How all checks ended.

    Attributes:
        conforms: Whether no check failed.
        checks: One finding for each check.
    """

    conforms: bool
    checks: list[Finding]


class _Wrong(Exception):
    """The participant's answer was not the expected one."""


class _NotTried(Exception):
    """There is nothing to try."""


class _Trials:
    """Makes the steps that try a participant, and undoes what they did."""

    def __init__(self, transport: Transport, subject: Subject, timeout_s: float) -> None:
        self.subject = subject
        self._transport = transport
        self._timeout_s = timeout_s

    @contextmanager
    def step(self, *, learns_answer: bool = True) -> Iterator[Step]:
        """A step with keys of its own. It is undone at the end, as far as possible."""
        step = Step(self._transport, self.subject, self._timeout_s, learns_answer=learns_answer)
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
    shown: Participant | None = None,
) -> Report:
    """Run every check on a participant, with the calls that a saga makes when something goes wrong.

    Args:
        where: The participant's base URL, the URL of its queue, or a WSGI application, which is called in this process.
        action: The action as method and path: `POST /rooms`.
        compensation: The call that undoes the action: `DELETE /rooms/{action_key}`. It may also name `{answer[...]}`.
        body: The JSON body of the action. A text `{action_key}` in it stands for the key.
        compensation_body: The JSON body of the compensation. A text in it may also be `{answer[...]}`.
        probe: The call that says, by 2xx or 404, whether the action has happened: `GET /rooms/{action_key}`. With it,
            the checks look at the effect itself; without it, only at the participant's answers.
        timeout_s: Seconds to wait for the answer to one call.
        shown: Says by its `auth`, `sign`, `ca`, `cert` and `key` what calls over HTTP show; its name does not matter.

    Raises:
        DefinitionError: One of the calls is not a method and a path, or the URL cannot be called.
        NotReachable: No server answers there.
        NotInstalled: The client of the broker is not.
    """
    subject = Subject.of(action, compensation, body, compensation_body, probe)
    if not isinstance(where, str):
        return _checked(WsgiTransport(where), subject, timeout_s)
    with closing(_over_network(where, NONE if shown is None else shown.credentials)) as transport:
        return _checked(transport, subject, timeout_s)


def _checked(transport: Transport, subject: Subject, timeout_s: float) -> Report:
    trials = _Trials(transport, subject, timeout_s)
    findings: list[Finding] = []
    for one in _CHECKS:
        can_act = not findings or findings[0].verdict is Verdict.PASSED
        verdict, came = _tried(one, trials) if can_act else (Verdict.NOT_TRIED, "the action is not done at all")
        findings.append(Finding(one.name, verdict, one.expected, came, one.why))
    return Report(all(finding.verdict is not Verdict.FAILED for finding in findings), findings)


def _over_network(url: str, credentials: Credentials) -> HttpTransport | QueueTransport:
    try:
        return QueueTransport(url) if is_queue(url) else HttpTransport(url, credentials=credentials)
    except ValueError as error:
        raise DefinitionError(str(error)) from error


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
        replies = _at_once(*[partial(step.act, MANY_ATTEMPTS)] * AT_ONCE)
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
        with trials.step(learns_answer=False) as step:
            calls = [partial(step.act, MANY_ATTEMPTS), partial(step.undo, MANY_ATTEMPTS)]
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
        "Nothing else can be tried if the action is not done: check that the call and its body are right.",
        _acts,
    ),
    _Check(
        "answers are JSON",
        "JSON, or nothing, in the body of every 2xx",
        "A saga learns nothing from an unreadable answer: it repeats the call, and aborts in the end.",
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
        "one answer for all; after 408, 425, 429 or 5xx a call is repeated",
        "A call that timed out is repeated while it still acts. If the repetition is refused for good while the first "
        "call acts, its effect is never undone.",
        _repeats_at_once,
    ),
    _Check(
        "compensation",
        "2xx; and 404 or 410 from the probe",
        "If a compensation fails, the saga ends FAILED, and a person has to undo the action.",
        _undoes,
    ),
    _Check(
        "repeated compensation",
        "2xx, each time",
        "A compensation whose answer was lost is repeated. If the repetition is refused, the saga ends "
        "FAILED although everything is undone.",
        _undoes_again,
    ),
    _Check(
        "action after its compensation",
        f"the first answer, or {_REFUSED}",
        "A network may deliver a call again, much later. Nothing undoes its effect then.",
        _acts_no_more,
    ),
    _Check(
        "compensation of nothing",
        "2xx for a key that was never seen",
        "A call may be lost before it arrives. The saga cannot know that, and compensates the call.",
        _undoes_nothing,
    ),
    _Check(
        "late action",
        f"{_REFUSED}, once its key was compensated",
        "A call may arrive after its compensation, which had nothing to undo. Nothing undoes its effect then.",
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
        "A 5xx means that the action may have been done: the saga repeats in vain a call that can never be read.",
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
    """Check the answer of the probe, if there is one."""
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
