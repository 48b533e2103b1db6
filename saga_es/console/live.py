"""Live pages: a stream of server-sent events for each visible tab, or a question every few seconds.

A stream takes a thread of the server. So there are at most as many as `Turns` allows, a stream ends after a while, and
the tab that gets none asks every few seconds instead. Other servers than ours may have few threads, or one: there,
every tab asks.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from http import HTTPStatus

import msgspec
from flask import Blueprint, Response, current_app, g, request

from saga_es.access.permissions import Permission, permits
from saga_es.api.access import principal, scope
from saga_es.api.responses import check_seen, json_response, node
from saga_es.api.waiting import place_of_a_stream
from saga_es.console.feed import Change, Feed
from saga_es.console.guard import LANGUAGE_COOKIE
from saga_es.errors import StoreUnavailable
from saga_es.node.node import Node
from saga_es.store.host_time import monotonic_s

FEED = "saga_es.console.feed"
POSITION = "saga_es_position"
BEAT_S = 10.0
"""Seconds of silence after which a stream says that it is there."""

LOOK_S = 1.0
"""How often a stream without news looks whether its viewer has left."""

PAUSE_S = 0.25
"""The least time between two messages of a stream."""

OLDEST_S = 600.0
"""How long a stream lasts; its viewer then asks for another, and another may get the place."""

REFRESH_S = 1.0
MOST_KEPT = 100


def add_to(blueprint: Blueprint) -> None:
    """Add the route, and have each page know up to where the log was read before the page was."""
    blueprint.add_url_rule("/live", "live", live)
    blueprint.before_request(_note_position)


def _note_position() -> None:
    if request.method == "GET" and request.endpoint and not request.endpoint.endswith((".static", ".live")):
        with suppress(StoreUnavailable):  # the page itself says so
            setattr(g, POSITION, feed_of(node()).position())


def feed_of(here: Node) -> Feed:
    """The feed of this application."""
    found: Feed | None = current_app.extensions.get(FEED)
    if found is None:
        has_scopes = here.authenticate is not None
        new = Feed(here.database, here.whole.store.log, here.closing, has_scopes=has_scopes)  # one for all viewers
        found = current_app.extensions.setdefault(FEED, new)
        if found is new:
            here.readers.append(new.end)
    return found


@permits(Permission.READ)
def live() -> Response:
    """What was appended after a position: as a stream, or in one answer to who does not accept a stream."""
    here = node()
    feed, stream_id = feed_of(here), request.args.get("saga") or None
    text = request.headers.get("Last-Event-ID") or request.args.get("after", "")
    seen = scope()
    if stream_id is not None and seen is not None:
        check_seen(stream_id)
    after = int(text) if text.isascii() and text.isdigit() and len(text) < LONGEST_POSITION else feed.position()
    if "text/event-stream" not in request.headers.get("Accept", ""):
        return json_response(feed.since(after, stream_id, seen))
    leave = place_of_a_stream(request.environ)
    if leave is None:
        return Response(status=HTTPStatus.NO_CONTENT)  # a browser does not ask for this stream again
    gone: Callable[[], bool] = request.environ.get("waitress.client_disconnected", bool)
    wait = partial(feed.wait, stream_id=stream_id, timeout_s=LOOK_S, scope=seen)
    messages = _messages(wait, after, lambda: gone() or here.closing.is_set())
    response = Response(messages, content_type="text/event-stream")
    response.headers["X-Accel-Buffering"] = "no"  # nginx passes on what comes
    response.call_on_close(leave)
    return response


LONGEST_POSITION = 19


def _messages(wait: Callable[[int], Change], after: int, is_over: Callable[[], bool]) -> Iterator[str]:
    yield "retry: 2000\n\n"
    said_at = began_at = monotonic_s()
    while monotonic_s() - began_at < OLDEST_S:
        change = wait(after)
        after = change.position
        if is_over():
            return
        if change.changed:
            yield f"id: {after}\ndata: {msgspec.json.encode(change).decode()}\n\n"
            time.sleep(PAUSE_S)
        elif monotonic_s() - said_at >= BEAT_S:
            yield f"id: {after}\n: still here\n\n"
        else:
            continue
        said_at = monotonic_s()


# ── Parts of pages that many look at ─────────────────────────────────────────────────────────────────────


class Kept:
    """Answers that many viewers ask for at once: each is made at most once a second."""

    def __init__(self) -> None:
        self._making = threading.Lock()
        self._found: dict[object, tuple[float, str]] = {}

    def get(self, key: object, make: Callable[[], str]) -> str:
        """The answer of this key: the one that was just made, else a new one."""
        with self._making:
            at, text = self._found.get(key, (-REFRESH_S, ""))
            if monotonic_s() - at >= REFRESH_S:
                text = make()
                if len(self._found) >= MOST_KEPT:
                    self._found.clear()
                self._found[key] = (monotonic_s(), text)
            return text


def same_for() -> tuple[object, ...]:
    """Whose answers may be the same as this request's: its address, its language, and who asks."""
    chosen, accepted = request.cookies.get(LANGUAGE_COOKIE), request.headers.get("Accept-Language", "")
    return (request.script_root, request.full_path, chosen, accepted, principal())
