"""Calls that a participant took with 202 (RFC 9110, 15.3.3): it tells later what they came to, or is asked.

Nobody who waits here holds a thread, or a place in front of the participant. How long a step may take is its time-out,
as for every call; whoever asked ends the wait then.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from functools import partial
from typing import NamedTuple
from urllib.parse import unquote, urljoin, urlsplit

from saga_es.core.outcomes import Outcome, Rejected, Unknown
from saga_es.definition.requests import Form, Request
from saga_es.runtime.calls.address import Address, BadAddress, address_of, url_of
from saga_es.runtime.calls.answers import Answer, AnswerLost, NotSent
from saga_es.runtime.calls.opening import on_own_thread
from saga_es.runtime.calls.outcomes import NOT_NOW, outcome_of_answer, retry_after_s
from saga_es.runtime.calls.transport import HttpTransport, Transport
from saga_es.runtime.waiting.backoff import Backoff

TAKEN = 202
SEE_OTHER = 303
IN_PROCESS = Address(is_tls=False, host="localhost", port=80, prefix="")
"""Where an application in this process is, in what it says of itself."""

FIRST_LOOK_S = 0.5
LONGEST_LOOK_S = 30.0
"""The waits between two looks double from the first to the longest, unless the participant says when."""

SOONEST_LOOK_S = 0.1
LOOK_TIMEOUT_S = 30.0

_OF_THE_LOOK = frozenset({401, 403, 404, 405, 406, 410})
"""Refusals that are about the look: they do not say what became of the call."""

_ITS_TROUBLE = 500
"""From this status on, the participant has trouble with the look, which is repeated."""

_UNSENDABLE = re.compile(r"[\x00-\x20\x7f-\U0010ffff\\]")

_ABOUT_A_BODY = frozenset({"Content-Type", "Prefer", "X-Saga-Reply-To"})
"""Headers of a call that a look does not have."""


class Sent(NamedTuple):
    """A request that was sent, and how to ask what came of it.

    Attributes:
        path: Below the participant's base URL.
    """

    transport: Transport
    request: Request
    path: str
    headers: Mapping[str, str]

    def is_taken_by(self, answer: Answer) -> bool:
        """Whether an answer says that the participant took the call, and that its end comes later."""
        return self.request.accepts_202 and answer.status == TAKEN

    async def look(self, path: str) -> Answer:
        """Get a path below the participant's base URL.

        Raises:
            NotSent: Nothing was sent.
            AnswerLost: No readable answer came.
        """
        headers = {name: value for name, value in self.headers.items() if name not in _ABOUT_A_BODY}
        transport = self.transport
        if not isinstance(transport, HttpTransport):
            send = partial(transport.send, "GET", path, headers, None, LOOK_TIMEOUT_S)
            return await on_own_thread(send, "saga-es-look")
        begin = partial(transport.begin, "GET", path, headers, None, LOOK_TIMEOUT_S)
        return await (await on_own_thread(begin, "saga-es-look") if transport.may_block else begin())()


async def end_of(sent: Sent, answer: Answer) -> Answer:
    """The answer that says what a call came to that was taken, found by looking where the first one says.

    Args:
        sent: The call.
        answer: The answer with 202.

    Raises:
        AnswerLost: The participant says to look nowhere, or elsewhere.
    """
    backoff, path = Backoff(FIRST_LOOK_S, LONGEST_LOOK_S), sent.path
    address = sent.transport.address if isinstance(sent.transport, HttpTransport) else IN_PROCESS
    is_over = False
    while not is_over:
        path = _place(answer, path, address)
        answer, is_over = await _looked_at(path, answer, sent, backoff)
    return answer


async def _looked_at(path: str, before: Answer, sent: Sent, backoff: Backoff) -> tuple[Answer, bool]:
    """Look at a place until it says how the call ended (then True), or to look at another place."""
    said = retry_after_s(before.headers.get("retry-after"))
    while True:
        await asyncio.sleep(max(backoff.next_s() if said is None else said, SOONEST_LOOK_S))
        said = None
        try:
            answer = await sent.look(path)
        except (NotSent, AnswerLost):
            continue
        if answer.status == SEE_OTHER:
            return answer, False
        if answer.status != TAKEN and answer.status not in NOT_NOW and answer.status < _ITS_TROUBLE:
            return answer, True
        said = retry_after_s(answer.headers.get("retry-after"))


def _place(answer: Answer, path: str, address: Address) -> str:
    """The path, below the participant's base URL, at which an answer says to look.

    Args:
        answer: The answer.
        path: The path that was asked.
        address: Where the participant is.

    Raises:
        AnswerLost: There is none, or it is elsewhere, where the credentials of this participant do not belong.
    """
    location = answer.headers.get("location", "").strip()
    if not location:
        nobody = "no SAGA_ES_CALLBACK_URL tells it where to reply" if answer.status == TAKEN else "it has to say where"
        raise AnswerLost(f"it answered {answer.status} without a Location, and {nobody}")
    try:
        whole = urljoin(f"{url_of(address)}{path}", location)
        parts = urlsplit(whole)
        there = address_of(f"{parts.scheme}://{parts.netloc}")
    except (BadAddress, ValueError) as error:
        raise AnswerLost(f"it answered {answer.status}, and its Location is no URL of HTTP") from error
    is_same = (there.is_tls, there.host.lower(), there.port) == (address.is_tls, address.host.lower(), address.port)
    is_plain = not _UNSENDABLE.search(whole) and {".", ".."}.isdisjoint(unquote(parts.path).split("/"))
    if not (is_same and is_plain and parts.path.startswith(f"{address.prefix}/")):
        raise AnswerLost(f"it answered {answer.status}, and its Location is not below its base URL")
    return parts.path[len(address.prefix) :] + (f"?{parts.query}" if parts.query else "")


def outcome_of_end(answer: Answer, form: Form) -> Outcome:
    """The outcome of a call that was taken, by what was found where its end stands."""
    outcome = outcome_of_answer(answer, form)
    if isinstance(outcome, Rejected) and answer.status in _OF_THE_LOOK:
        return Unknown(f"what became of the call cannot be found: {outcome.error}", (f"HTTP {answer.status}",))
    return outcome
