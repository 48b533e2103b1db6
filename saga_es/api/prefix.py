"""The prefix under which a proxy serves us: `Location`, the pages and the OpenAPI document begin with it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from saga_es.runtime.calls.transport import WsgiApp

_PREFIX = re.compile(r"(/[A-Za-z0-9._~%!$&'()*+,;=:@-]+)+")


class Prefixed:
    """An application behind proxies: `X-Forwarded-Prefix` becomes `SCRIPT_NAME`.

    Anybody can send that header, so it counts only as far as the proxies are trusted: the header's last value is that
    of the nearest proxy.

    Args:
        app: The application.
        proxies: How many proxies stand in front of it.
    """

    def __init__(self, app: WsgiApp, proxies: int) -> None:
        self._app = app
        self._proxies = proxies

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Answer a request."""
        given = [value.strip() for value in environ.pop("HTTP_X_FORWARDED_PREFIX", "").split(",")]
        prefix = given[-self._proxies].rstrip("/") if len(given) >= self._proxies else ""
        if _PREFIX.fullmatch(prefix) and not {".", ".."} & set(prefix.split("/")):
            environ["SCRIPT_NAME"] = prefix
        return self._app(environ, start_response)
