"""The programs on the page on messaging do what the page says."""

from __future__ import annotations

import asyncio
import re
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from saga_es import SagaStatus
from saga_es.api.listening import listen
from saga_es.node.node import Node
from saga_es.node.settings import Settings
from saga_es.store.publishers import Publishers
from tests.api.conftest import opened
from tests.api.test_listening import running
from tests.api.test_replies import SECRET
from tests.brokers.test_published import here
from tests.docs.pages import DOCS
from tests.support.participants import free_port
from tests.support.queues import new_queue
from tests.support.trips import until

PAGE = (DOCS / "messaging.md").read_text()
PUBLISHING, BEHIND_A_QUEUE, LATER, AT_ONCE = re.findall(r"^```python\n(.*?)^```$", PAGE, flags=re.DOTALL | re.MULTILINE)


def test_the_end_of_an_order_is_published_in_a_form_of_ones_own(tmp_path: Path) -> None:
    """And nothing else."""
    defined: dict[str, Any] = {"__name__": __name__}
    exec(compile(PUBLISHING, f"{DOCS}/messaging.md", "exec"), defined)  # noqa: S102 (our own page)
    place = here("redis")
    node = Node(Settings.load({"database_url": f"sqlite:///{tmp_path}/log.db"}), defined["application"](place.url))
    node.open()
    try:
        node.engine.start("order", {"amount": 7}, saga_id="s-1").result(20)
        until(lambda: [row.lag for row in Publishers(node.database).all()] == [0])
    finally:
        node.close()
    (message,) = place.messages()
    assert (message["order"], sorted(message)) == ("s-1", ["id", "order", "paid_at"])


def test_a_room_is_booked_over_a_queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a service that is the same as over HTTP."""
    monkeypatch.chdir(tmp_path)
    defined: dict[str, Any] = {"__name__": __name__}
    exec(compile(BEHIND_A_QUEUE, f"{DOCS}/messaging.md", "exec"), defined)  # noqa: S102 (our own page)
    try:
        assert defined["booked"](new_queue()) == {"book": {"room": 1}}
    finally:
        defined["engine"].dispose()


@pytest.mark.parametrize("calls_back", [True, False])
def test_a_book_is_printed_later(tmp_path: Path, *, calls_back: bool) -> None:
    """The press calls back, or is asked; the two applications are served by two servers."""
    defined: dict[str, Any] = {"__name__": __name__}
    source = LATER if calls_back else LATER.replace('"Retry-After": "60"', '"Retry-After": "0"')
    exec(compile(source, f"{DOCS}/messaging.md", "exec"), defined)  # noqa: S102 (our own page)
    port, press_port = free_port(), free_port()
    given: dict[str, Any] = (
        {"callback_url": f"http://127.0.0.1:{port}", "callback_secret": SECRET} if calls_back else {}
    )
    with ExitStack() as stack:
        given["participants"] = {"press": f"http://127.0.0.1:{press_port}"}
        served = opened(stack, f"sqlite:///{tmp_path}/log.db", defined["application"], **given)
        for app, where in ((served.app, port), (defined["press"], press_port)):
            running(listen(app, "127.0.0.1", where, threads=2, payload_limit=10_000, request_timeout_s=20), stack)
        handle = served.node.engine.start("publish", {"pages": 300})
        until(lambda: bool(defined["books"]))
        (book,) = defined["books"].values()
        if calls_back:
            defined["print_next"]()
        else:
            assert book["reply_to"] is None
            book["is_printed"] = True
        assert handle.result(20).results == {"print": {"pages": 300}}


def test_a_place_is_called_by_hundreds_of_sagas_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than there are threads for calls, and no more than its limit."""
    monkeypatch.chdir(tmp_path)
    defined: dict[str, Any] = {"__name__": __name__}
    exec(compile(AT_ONCE, f"{DOCS}/messaging.md", "exec"), defined)  # noqa: S102 (our own page)
    statuses = asyncio.run(defined["visits"](300))
    assert statuses == [SagaStatus.COMPLETED] * 300
    assert 32 < defined["calls"]["most"] <= 500
