"""What a request shows of the caller: the headers that credentials add to it, made when it is sent."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from saga_es.definition.credentials import Credentials
from saga_es.runtime.calls.address import Address, url_of
from saga_es.runtime.calls.answers import Answer
from saga_es.runtime.calls.credentials import authorization, unrepeated
from saga_es.runtime.calls.oauth2 import Client, Grant, Tokens
from saga_es.runtime.calls.signing import signed

UNAUTHORIZED = 401


class Shown:
    """The headers of requests to one participant.

    Args:
        credentials: What it is shown.
        address: Where it is: a signature covers the whole URL.
        reach: Makes the client for a token endpoint, by its base URL.
    """

    def __init__(self, credentials: Credentials, address: Address, reach: Callable[[str], Client]) -> None:
        self._tokens = Tokens(reach)
        self._auth = credentials.auth
        self._sign = credentials.sign
        self._base_url = url_of(address)

    def headers(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None, timeout_s: float
    ) -> Mapping[str, str]:
        """The headers of a request, with what shows who calls. They are made anew for each attempt.

        Args:
            method: The method.
            path: The path and the query, below the participant's base URL.
            headers: The headers so far.
            body: The body.
            timeout_s: Seconds that it may take to fetch a token.

        Raises:
            NoCredentials: There is nothing to show.
        """
        if self._auth is not None:

            def token(grant: Grant) -> str:
                return self._tokens.token(grant, timeout_s).text

            headers = {**headers, "Authorization": authorization(self._auth, token)}
        if self._sign is not None:
            headers = signed(self._sign, method, self._base_url + path, headers, body)
        return headers

    def is_to_be_renewed(self, answer: Answer, headers: Mapping[str, str], since_s: float) -> bool:
        """Whether to send the request again, with another token: the participant refused this one, and did nothing.

        Args:
            answer: Its answer.
            headers: The headers that it was sent.
            since_s: When the attempt began, by `elapsed_s`.
        """
        if answer.status != UNAUTHORIZED or self._auth is None:
            return False
        return self._tokens.drop(headers["Authorization"].partition(" ")[2], since_s)

    def unrepeated(self, answer: Answer, headers: Mapping[str, str]) -> Answer:
        """The answer to a request with these headers, without what it repeats of them."""
        if self._auth is None:
            return answer
        return msgspec.structs.replace(answer, body=unrepeated(answer.body, headers["Authorization"]))
