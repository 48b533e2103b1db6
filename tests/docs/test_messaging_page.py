"""The programs on the page on messaging do what the page says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from saga_es.node.node import Node
from saga_es.node.settings import Settings
from saga_es.store.publishers import Publishers
from tests.brokers.test_published import here
from tests.docs.pages import DOCS
from tests.support.queues import new_queue
from tests.support.trips import until

PAGE = (DOCS / "messaging.md").read_text()
PUBLISHING, BEHIND_A_QUEUE = re.findall(r"^```python\n(.*?)^```$", PAGE, flags=re.DOTALL | re.MULTILINE)


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
