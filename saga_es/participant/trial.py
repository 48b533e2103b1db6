"""The calls of a saga's step, made to a participant that is being checked. Each has the key that a saga would send.

There is no engine and no log. A call is retried only as often as a saga would retry it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import msgspec

from saga_es.core.outcomes import Completed, Direction, Rejected, Unavailable, Unknown
from saga_es.core.paths import NOT_THERE, PATH, look_up, root_of
from saga_es.definition.requests import Request
from saga_es.errors import DefinitionError, SagaError
from saga_es.runtime.calls.answers import Answer, AnswerLost, NotSent
from saga_es.runtime.calls.outcomes import outcome_of_answer
from saga_es.runtime.calls.transport import Transport
from saga_es.runtime.ids import idempotency_key, new_id
from saga_es.runtime.waiting.backoff import Backoff

ATTEMPTS = 4
MANY_ATTEMPTS = 10
"""Attempts of a call that competes with others, so that the participant may answer "not now" several times."""

FIRST_DELAY_S = 0.05
LONGEST_DELAY_S = 1.0

STEP = "check"
"""The name of the step in `X-Saga-Step`."""

_KNOWN_TO_ACTION = ("saga_id", "key", "action_key")


class CannotName(Exception):
    """The call cannot be made: its path or body names a part of an answer that is not known."""


class NotReachable(SagaError):
    """No server answers at the participant's address."""


class Reply(msgspec.Struct, frozen=True):
    """The result of a call after its retries.

    Attributes:
        status: The HTTP status; None if no answer came.
        said: The status and the start of the body, or the error.
        value: The JSON of a 2xx, as a saga would keep it; None if it has no content, and text if it is not JSON.
        is_readable: Whether the body of a 2xx is JSON or empty.
    """

    status: int | None
    said: str
    value: Any = None
    is_readable: bool = True

    @property
    def is_done(self) -> bool:
        """Whether the answer says that the call was done: 2xx."""
        return self.status is not None and self.status // 100 == 2  # noqa: PLR2004 (2xx)

    @property
    def is_refused(self) -> bool:
        """Whether the answer says that the call was refused for good."""
        return self.status is not None and isinstance(outcome_of_answer(Answer(self.status, {}, b"")), Rejected)

    def __str__(self) -> str:
        return self.said


class Subject(msgspec.Struct, frozen=True):
    """The calls of the step that is tried.

    Attributes:
        body: The JSON body of the action; a text `{action_key}` in it stands for the key. None for no body.
        compensation_body: The JSON body of the compensation; a text may also be `{answer[...]}`.
        probe: The call that says whether the action has happened, by 2xx, 404 or 410; None if there is none.
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
        """Parse the calls of a step, such as `POST /rooms` and `DELETE /rooms/{action_key}`.

        Raises:
            DefinitionError: A call is not a method and a path, or it names something that is never known.
        """
        return cls(
            _call(action, _KNOWN_TO_ACTION),
            _call(compensation, (*_KNOWN_TO_ACTION, "answer")),
            body,
            compensation_body,
            None if probe is None else _call(probe, _KNOWN_TO_ACTION),
        )


class Step:
    """The one step of a saga, with a saga id and keys of its own.

    Args:
        transport: The transport to the participant.
        subject: The calls.
        timeout_s: Seconds to wait for the answer to one call.
        learns_answer: Whether the compensation knows the action's answer. A saga does not if the answer came too late.
    """

    def __init__(self, transport: Transport, subject: Subject, timeout_s: float, *, learns_answer: bool = True) -> None:
        self._transport = transport
        self._subject = subject
        self._timeout_s = timeout_s
        self._learns_answer = learns_answer
        self._saga_id = new_id()
        self.action_key = idempotency_key(self._saga_id, STEP, Direction.ACTION)
        self._compensation_key = idempotency_key(self._saga_id, STEP, Direction.COMPENSATION)
        self._answer: Any = None

    def act(self, attempts: int = ATTEMPTS) -> Reply:
        """Call the action, with retries. The compensation may name parts of its answer.

        Raises:
            CannotName: The call names something that is not known.
            NotReachable: No server answers.
        """
        call = self._subject.action
        reply = self._settled(lambda: self._send(call, self.action_key, self._subject.body), attempts)
        if reply.is_done and self._learns_answer:
            self._answer = reply.value
        return reply

    def act_with(self, content: bytes) -> Reply:
        """Call the action once, with these bytes as its body."""
        call = self._subject.action
        return self._once(lambda: self._bytes(call, self.action_key, content))

    def undo(self, attempts: int = ATTEMPTS) -> Reply:
        """Call the compensation, with retries.

        Raises:
            CannotName: The call names something that is not known.
            NotReachable: No server answers.
        """
        call, body = self._subject.compensation, self._subject.compensation_body
        return self._settled(lambda: self._send(call, self._compensation_key, body), attempts)

    def probe(self) -> bool | None:
        """Whether the action has happened, by the probe; None if there is no probe, or if its answer does not say."""
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
            why = "the action's answer is not known, and a saga may lose it, too; {action_key} is always known"
            raise CannotName(f"{call.method} {call.path} cannot be sent: {why}") from error
        headers = {"Idempotency-Key": key, "X-Saga-Id": self._saga_id, "X-Saga-Step": STEP}
        if content is not None:
            headers["Content-Type"] = "application/json"
        return self._transport.send(call.method, path, headers, content, self._timeout_s)

    def _known(self, key: str) -> dict[str, Any]:
        return {"saga_id": self._saga_id, "key": key, "action_key": self.action_key, "answer": self._answer}

    def _settled(self, send: Callable[[], Answer], attempts: int = ATTEMPTS) -> Reply:
        """Repeat a call as a saga would: until it is answered with a 2xx, or refused for good."""
        backoff = Backoff(FIRST_DELAY_S, LONGEST_DELAY_S)
        for _ in range(attempts - 1):
            try:
                answer = send()
            except (NotSent, AnswerLost):
                wanted_s = 0.0
            else:
                outcome = outcome_of_answer(answer)
                if isinstance(outcome, Completed | Rejected) or _reply(answer).is_done:
                    return _reply(answer)
                wanted_s = (outcome.retry_after_s or 0.0) if isinstance(outcome, Unavailable | Unknown) else 0.0
            time.sleep(min(max(backoff.next_s(), wanted_s), LONGEST_DELAY_S))
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
    unknown = sorted(set(call.asked.needs) - set(known))
    if unknown:
        raise DefinitionError(f"{text!r} names {', '.join(unknown)}; the known names are {', '.join(known)}")
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
    """A body with its `{names}` replaced by their values."""
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
                raise CannotName(f"the body cannot be sent: {body} is not known") from error
        case _:
            return body
