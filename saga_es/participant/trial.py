"""The calls that a saga's step makes, to a participant that is being tried: each with the key that the saga would send.

Nothing of an engine is here: no log, no retries beyond those that a saga makes before it loses its patience.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import msgspec

from saga_es.core.outcomes import Completed, Direction, Rejected, Unavailable
from saga_es.core.paths import NOT_THERE, PATH, look_up, root_of
from saga_es.definition.requests import Request
from saga_es.errors import DefinitionError, SagaError
from saga_es.runtime.calls.outcomes import outcome_of_answer
from saga_es.runtime.calls.transport import Answer, AnswerLost, NotSent, Transport
from saga_es.runtime.ids import idempotency_key, new_id
from saga_es.runtime.waiting.backoff import Backoff

ATTEMPTS = 4
PATIENT = 10
"""Attempts where others are in the way, and a participant may well say "not now"."""

FIRST_DELAY_S = 0.05
LONGEST_DELAY_S = 1.0

STEP = "check"
"""What the step is called in `X-Saga-Step`."""

_KNOWN_TO_ACTION = ("saga_id", "key", "action_key")


class CannotName(Exception):
    """The call cannot be made, since its path or body asks for what an answer would have told."""


class NotReachable(SagaError):
    """Nobody answers there."""


class Reply(msgspec.Struct, frozen=True):
    """What came of a call in the end; without a status when no answer came.

    Attributes:
        value: The JSON of a 2xx, as a saga would keep it; None when it has no content, and text when it is not JSON.
    """

    status: int | None
    said: str
    value: Any = None
    is_readable: bool = True

    @property
    def is_done(self) -> bool:
        """Whether the participant says that it was done."""
        return self.status is not None and self.status // 100 == 2  # noqa: PLR2004 (2xx)

    @property
    def is_refused(self) -> bool:
        """Whether it says that it was refused for good."""
        return self.status is not None and isinstance(outcome_of_answer(Answer(self.status, {}, b"")), Rejected)

    def __str__(self) -> str:
        return self.said


class Subject(msgspec.Struct, frozen=True):
    """What is tried: the calls of one step.

    Attributes:
        body: The action's body, as JSON; a text in it that is `{action_key}` stands for the key. None for no body.
        compensation_body: That of the compensation; a text may also be `{answer[...]}`.
        probe: Asks whether the action has happened: 2xx, 404 or 410; None when nobody can be asked.
    """

    action: Request
    compensation: Request
    body: Any = None
    compensation_body: Any = None
    probe: Request | None = None

    @classmethod
    def of(
        cls, action: str, compensation: str, body: Any = None, compensation_body: Any = None, probe: str | None = None
    ) -> Self:
        """The calls of a step, as they are typed: `POST /rooms`, `DELETE /rooms/{action_key}`.

        Raises:
            DefinitionError: One of them cannot be read, or asks for what nobody could know.
        """
        return cls(
            _call(action, _KNOWN_TO_ACTION),
            _call(compensation, (*_KNOWN_TO_ACTION, "answer")),
            body,
            compensation_body,
            None if probe is None else _call(probe, _KNOWN_TO_ACTION),
        )


class Step:
    """A saga of its own, with the one step that is tried.

    Args:
        transport: How the participant is reached.
        subject: The calls.
        timeout_s: For the answer to one call.
        hears: Whether the compensation knows what the action answered; a saga does not when the answer came too late.
    """

    def __init__(self, transport: Transport, subject: Subject, timeout_s: float, *, hears: bool = True) -> None:
        self._transport = transport
        self._subject = subject
        self._timeout_s = timeout_s
        self._hears = hears
        self._saga_id = new_id()
        self.action_key = idempotency_key(self._saga_id, STEP, Direction.ACTION)
        self._compensation_key = idempotency_key(self._saga_id, STEP, Direction.COMPENSATION)
        self._answer: Any = None

    def act(self, attempts: int = ATTEMPTS) -> Reply:
        """Call the action, again and again until it is answered; what it answers, the compensation may ask for.

        Raises:
            CannotName: It asks for more than is known.
            NotReachable: Nobody is there.
        """
        call = self._subject.action
        reply = self._settled(lambda: self._send(call, self.action_key, self._subject.body), attempts)
        if reply.is_done and self._hears:
            self._answer = reply.value
        return reply

    def act_with(self, content: bytes) -> Reply:
        """Call the action once, with these very bytes."""
        call = self._subject.action
        return self._once(lambda: self._bytes(call, self.action_key, content))

    def undo(self, attempts: int = ATTEMPTS) -> Reply:
        """Call the compensation, again and again until it is answered.

        Raises:
            CannotName: It asks for more than is known.
            NotReachable: Nobody is there.
        """
        call, body = self._subject.compensation, self._subject.compensation_body
        return self._settled(lambda: self._send(call, self._compensation_key, body), attempts)

    def probe(self) -> bool | None:
        """Whether the action has happened, as the probe says; None when there is none, or it does not say."""
        call = self._subject.probe
        if call is None:
            return None
        reply = self._settled(lambda: self._send(call, self.action_key, None))
        return True if reply.is_done else False if reply.status in {404, 410} else None

    def _send(self, call: Request, key: str, body: Any) -> Answer:
        content = None if body is None else msgspec.json.encode(_filled(body, self._known(key)))
        return self._bytes(call, key, content)

    def _bytes(self, call: Request, key: str, content: bytes | None) -> Answer:
        try:
            path = call.url_path(self._known(key))
        except (*NOT_THERE, AttributeError) as error:
            why = "the answer to the action is not known, and may be lost to a saga, too; {action_key} always is"
            raise CannotName(f"{call.method} {call.path} cannot be sent: {why}") from error
        headers = {"Idempotency-Key": key, "X-Saga-Id": self._saga_id, "X-Saga-Step": STEP}
        if content is not None:
            headers["Content-Type"] = "application/json"
        return self._transport.send(call.method, path, headers, content, self._timeout_s)

    def _known(self, key: str) -> dict[str, Any]:
        return {"saga_id": self._saga_id, "key": key, "action_key": self.action_key, "answer": self._answer}

    def _settled(self, send: Callable[[], Answer], attempts: int = ATTEMPTS) -> Reply:
        """Repeat a call while a saga would: while it is not answered by a 2xx, or refused for good."""
        backoff = Backoff(FIRST_DELAY_S, LONGEST_DELAY_S)
        for _ in range(attempts - 1):
            try:
                answer = send()
            except (NotSent, AnswerLost):
                asked_s = 0.0
            else:
                outcome = outcome_of_answer(answer)
                if isinstance(outcome, Completed | Rejected) or _reply(answer).is_done:
                    return _reply(answer)
                asked_s = (outcome.retry_after_s or 0.0) if isinstance(outcome, Unavailable) else 0.0
            time.sleep(min(max(backoff.next_s(), asked_s), LONGEST_DELAY_S))
        return self._once(send)

    def _once(self, send: Callable[[], Answer]) -> Reply:
        try:
            return _reply(send())
        except NotSent as error:
            raise NotReachable(str(error)) from error
        except AnswerLost as error:
            return Reply(None, str(error))


def _call(text: str, known: Sequence[str]) -> Request:
    found = re.fullmatch(r"([A-Z]+) (/\S*)", text)
    if found is None:
        raise DefinitionError(f"{text!r} is not a method and a path, such as `POST /rooms`")
    call = Request("checked", found[1], found[2])
    unknown = sorted(set(call.needs) - set(known))
    if unknown:
        raise DefinitionError(f"{text!r} asks for {', '.join(unknown)}; known are {', '.join(known)}")
    return call


def _reply(answer: Answer) -> Reply:
    excerpt = " ".join(answer.body[:200].decode(errors="replace").split())
    said = f"HTTP {answer.status} {excerpt}".strip()
    match outcome_of_answer(answer):
        case Completed(value):
            return Reply(answer.status, said, value)
        case _:
            content = answer.body.decode(errors="replace")
            return Reply(answer.status, said, content, is_readable=answer.status // 100 != 2)  # noqa: PLR2004 (2xx)


def _filled(body: Any, known: Mapping[str, Any]) -> Any:
    """A body with what its `{names}` stand for."""
    match body:
        case dict():
            return {name: _filled(value, known) for name, value in body.items()}
        case list():
            return [_filled(value, known) for value in body]
        case str() if (
            body[:1] == "{" and body[-1:] == "}" and PATH.fullmatch(body[1:-1]) and root_of(body[1:-1]) in known
        ):
            try:
                return look_up(body[1:-1], known)
            except NOT_THERE as error:
                raise CannotName(f"the body cannot be sent: nothing is known of {body}") from error
        case _:
            return body
